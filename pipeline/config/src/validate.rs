//! From the file to settings that hold together.
//!
//! Every check goes on after a fault, with an empty value in its place; whoever calls gives the settings
//! away only if there was none.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::{Budget, Config, Control, Ledger, Metrics, Release, Syscalls, Watch};
use crate::fault::{Fault, Findings};
use crate::key::Key;
use crate::limits::WATCHES_MAX;
use crate::raw::{RawConfig, RawControl, RawLedger, RawMetrics, RawRelease, RawWatch};
use crate::values;

/// The settings, and all that is wrong with them.
pub(crate) fn validate(raw: RawConfig) -> (Config, Findings) {
    let mut checks = Checks::default();
    let top = Key::default();
    let control = checks.control(&raw.control, &top.name("control"));
    let metrics = raw.metrics.and_then(|raw| checks.metrics(raw, &top.name("metrics")));
    let mut ledgers = Vec::new();
    for (index, raw) in raw.ledger.unwrap_or_default().into_iter().enumerate() {
        ledgers.push(checks.ledger(raw, &top.name("ledger").item(index)));
    }
    checks.places();
    ledgers.sort_by(|a, b| a.name.cmp(&b.name));
    (Config { control, metrics, ledgers }, checks.findings)
}

/// Values that may stand in the file once, and where each stands.
#[derive(Debug)]
struct Once {
    /// What to do about a value that stands there twice.
    remedy: &'static str,
    seen: BTreeMap<OsString, Key>,
}

impl Once {
    const fn new(remedy: &'static str) -> Self {
        Self { remedy, seen: BTreeMap::new() }
    }

    fn claim(&mut self, findings: &mut Findings, value: impl Into<OsString>, key: &Key) {
        let value = value.into();
        // Empty is what stands for a value with a fault.
        if value.is_empty() {
            return;
        }
        if let Some(first) = self.seen.get(&value) {
            let what = format!("`{}` is `{first}` already", value.display());
            findings.note(key, Fault::new(what, self.remedy));
        } else {
            self.seen.insert(value, key.clone());
        }
    }

    /// Judges each item of a list, and claims it; the result is sorted.
    fn list<T: Clone + Default + Ord + Into<OsString>>(
        &mut self,
        findings: &mut Findings,
        raw: &[String],
        key: &Key,
        judge: fn(&str) -> Result<T, Fault>,
    ) -> Vec<T> {
        let mut items = Vec::new();
        for (index, text) in raw.iter().enumerate() {
            let key = key.item(index);
            let item = findings.take(&key, judge(text));
            self.claim(findings, item.clone(), &key);
            items.push(item);
        }
        items.sort();
        items
    }
}

#[derive(Debug)]
struct Checks {
    findings: Findings,
    names: Once,
    cgroups: Once,
    units: Once,
    executables: Once,
    watches: usize,
    /// The ledgers' directories.
    dirs: Vec<(Key, PathBuf)>,
    /// Files that Graven makes or holds: none may be two things, or lie in a ledger.
    files: Vec<(Key, PathBuf)>,
}

impl Default for Checks {
    fn default() -> Self {
        const ONE_WATCH: &str =
            "name it in one watch: a process's record goes to one ledger, under one agent";
        Self {
            findings: Findings::default(),
            names: Once::new("give each ledger its own name"),
            cgroups: Once::new(ONE_WATCH),
            units: Once::new(ONE_WATCH),
            executables: Once::new(ONE_WATCH),
            watches: 0,
            dirs: Vec::new(),
            files: Vec::new(),
        }
    }
}

impl Checks {
    fn control(&mut self, raw: &RawControl, key: &Key) -> Control {
        let key = key.name("socket");
        let socket = self.findings.take(&key, values::socket(&raw.socket));
        self.files.push((key, socket.clone()));
        Control { socket }
    }

    fn metrics(&mut self, raw: RawMetrics, key: &Key) -> Option<Metrics> {
        let listen = self
            .findings
            .take(&key.name("listen"), raw.listen.map(|text| values::listen(&text)).transpose())?;
        Some(Metrics { listen })
    }

    fn ledger(&mut self, raw: RawLedger, key: &Key) -> Ledger {
        let name_key = key.name("name");
        let name = raw.name.as_deref().map(values::ledger_name).transpose();
        let name = self.findings.take(&name_key, name).unwrap_or_default();
        self.names.claim(&mut self.findings, &name, &name_key);
        let dir = self.path(raw.dir.as_deref(), &key.name("dir"));
        if !dir.as_os_str().is_empty() {
            self.dirs.push((key.name("dir"), dir.clone()));
        }
        let private = match &raw.key {
            Some(text) => self.path(Some(text), &key.name("key")),
            None => key_beside(&dir),
        };
        self.files.push((key.name("key"), private.clone()));
        let mirror = raw.mirror.as_deref().map(|text| self.path(Some(text), &key.name("mirror")));
        self.files.extend(mirror.clone().map(|path| (key.name("mirror"), path)));
        let ring_bytes =
            self.findings.take(&key.name("ring_bytes"), values::ring_bytes(raw.ring_bytes));
        let bytes_max = values::disk_bytes(raw.budget.bytes_max);
        let budget = Budget {
            bytes_max: self.findings.take(&key.name("budget").name("bytes_max"), bytes_max),
            free_bytes_min: Some(raw.budget.free_bytes_min).filter(|bytes| *bytes > 0),
        };
        let release = self.release(&raw.release, mirror.is_some(), &key.name("release"));
        let payload_fields =
            self.list(&raw.payload_fields, &key.name("payload_fields"), values::field);
        let mut agents = Once::new("put both into one watch, or rename one");
        let mut watches = Vec::new();
        for (index, raw) in raw.watch.into_iter().enumerate() {
            let watch_key = key.name("watch").item(index);
            let watch = self.watch(raw, &watch_key);
            agents.claim(&mut self.findings, &watch.agent, &watch_key.name("agent"));
            watches.push(watch);
        }
        watches.sort_by(|a, b| a.agent.cmp(&b.agent));
        Ledger {
            name,
            dir,
            key: private,
            mirror,
            heartbeat_s: raw.heartbeat_s,
            block_ms_max: raw.block_ms_max,
            budget_bytes: raw.budget_bytes,
            budget,
            segment_bytes: raw.segment_bytes,
            release,
            ring_bytes,
            worm: raw.worm,
            payload_fields,
            watches,
        }
    }

    fn release(&mut self, raw: &RawRelease, mirror: bool, key: &Key) -> Option<Release> {
        let sinks_key = key.name("required_sinks");
        let required_sinks = self.list(&raw.required_sinks, &sinks_key, values::sink);
        if !mirror && required_sinks.iter().any(|sink| sink == "mirror") {
            let fault =
                Fault::new("the ledger has no mirror", "set `mirror`, or take the item out");
            self.findings.note(&sinks_key, fault);
        }
        let retention_key = key.name("retention");
        let retention = raw.retention.as_deref().map(values::retention).transpose();
        let retention = self.findings.take(&retention_key, retention)?;
        if required_sinks.is_empty() != raw.without_copy {
            let fault = if raw.without_copy {
                Fault::new(
                    "sinks are required, and none is",
                    "take out `without_copy` or the sinks",
                )
            } else {
                Fault::new(
                    "what is released would be nowhere else",
                    "name `required_sinks`, or say `without_copy = true`",
                )
            };
            self.findings.note(&retention_key, fault);
        }
        Some(Release { retention, required_sinks, without_copy: raw.without_copy })
    }

    fn watch(&mut self, raw: RawWatch, key: &Key) -> Watch {
        // The kernel keeps an exclusion as a watch of its own.
        self.watches += 1 + usize::from(!raw.exclude_cgroups.is_empty());
        if self.watches > WATCHES_MAX {
            let what = format!("this is watch {} of the file", self.watches);
            let remedy = format!(
                "use at most {WATCHES_MAX}, where one with `exclude_cgroups` counts twice: put some together"
            );
            self.findings.note(key, Fault::new(what, remedy));
        }
        if raw.cgroups.is_empty() && raw.units.is_empty() && raw.executables.is_empty() {
            let remedy = "name at least one of `cgroups`, `units`, `executables`";
            self.findings.note(key, Fault::new("nothing is watched", remedy));
        }
        let agent = raw.agent.as_deref().map(values::agent).transpose();
        let agent = self.findings.take(&key.name("agent"), agent).unwrap_or_default();
        let findings = &mut self.findings;
        let (cgroups, units, executables) =
            (key.name("cgroups"), key.name("units"), key.name("executables"));
        let cgroups = self.cgroups.list(findings, &raw.cgroups, &cgroups, values::cgroup);
        let units = self.units.list(findings, &raw.units, &units, values::unit);
        let executables =
            self.executables.list(findings, &raw.executables, &executables, values::executable);
        let syscalls = match raw.syscalls {
            Syscalls::Only(names) => {
                Syscalls::Only(self.list(&names, &key.name("syscalls"), values::syscall))
            }
            word => word,
        };
        Watch {
            agent,
            cgroups,
            units,
            executables,
            syscalls,
            exclude_cgroups: self.list(
                &raw.exclude_cgroups,
                &key.name("exclude_cgroups"),
                values::cgroup,
            ),
            exclude_paths: self.list(
                &raw.exclude_paths,
                &key.name("exclude_paths"),
                values::path_glob,
            ),
            exec_env: self.list(&raw.exec_env, &key.name("exec_env"), values::variable),
        }
    }

    fn path(&mut self, text: Option<&str>, key: &Key) -> PathBuf {
        self.findings.take(key, text.map(values::path).transpose()).unwrap_or_default()
    }

    /// A list that names nothing twice.
    fn list(
        &mut self,
        raw: &[String],
        key: &Key,
        judge: fn(&str) -> Result<String, Fault>,
    ) -> Vec<String> {
        Once::new("name it once").list(&mut self.findings, raw, key, judge)
    }

    /// No ledger lies in another, no file in a ledger, and no file is two things.
    fn places(&mut self) {
        for (at, (key, dir)) in self.dirs.iter().enumerate() {
            let earlier = self.dirs.iter().take(at);
            for (other_key, other) in
                earlier.filter(|(_, other)| dir.starts_with(other) || other.starts_with(dir))
            {
                let fault = Fault::new(
                    format!(
                        "`{}` and `{}` (`{other_key}`) are the same or one in the other",
                        dir.display(),
                        other.display()
                    ),
                    "give each ledger a directory of its own, beside the others",
                );
                self.findings.note(key, fault);
            }
        }
        let mut seen = Once::new("name another file");
        for (key, file) in &self.files {
            if let Some((dir_key, dir)) = self.dirs.iter().find(|(_, dir)| file.starts_with(dir)) {
                let fault = Fault::new(
                    format!(
                        "`{}` lies in the ledger `{}` (`{dir_key}`)",
                        file.display(),
                        dir.display()
                    ),
                    "name a file elsewhere: a ledger holds evidence alone, and is copied as a whole",
                );
                self.findings.note(key, fault);
            }
            seen.claim(&mut self.findings, file, key);
        }
    }
}

/// Where `graven init` puts the key of the ledger in `dir`: `DIR.key`.
fn key_beside(dir: &Path) -> PathBuf {
    if dir.as_os_str().is_empty() {
        return PathBuf::new();
    }
    let mut key = OsString::from(dir);
    key.push(".key");
    key.into()
}
