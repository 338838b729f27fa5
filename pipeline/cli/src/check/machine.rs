//! What this machine lacks for settings that are good in themselves.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use graven_capture::Cgroup2;
use graven_config::{Config, Ledger, Setting, Watch, Worm};
use graven_daemon::warden::probe;
use graven_ledger::{LedgerInfo, Paths};

/// Where systemd looks for units, with those that it made itself (systemd.unit(5)).
const UNIT_DIRS: [&str; 7] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/transient",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Something that the settings name and the machine has not.
#[derive(Debug)]
pub(super) struct Warning {
    pub(super) setting: Setting,
    pub(super) found: String,
    /// What to do about it.
    pub(super) remedy: String,
}

/// Everything that the machine lacks, in the order of the settings.
pub(super) fn look(config: &Config) -> Vec<Warning> {
    let mut machine = Machine { cgroups: Cgroup2::find().ok(), warnings: Vec::new() };
    for ledger in &config.ledgers {
        let setting = |key: &str| Setting {
            ledger: Some(ledger.name.clone()),
            watch: None,
            key: Some(key.to_owned()),
        };
        if machine.ledger(ledger, setting("dir")) {
            machine.key(&ledger.key, setting("key"));
            machine.worm(ledger, setting("worm"));
        }
        if let Some(mirror) = &ledger.mirror {
            machine.mirror(mirror, setting("mirror"));
        }
        for watch in &ledger.watches {
            machine
                .watch(watch, |key| Setting { watch: Some(watch.agent.clone()), ..setting(key) });
        }
    }
    machine.warnings
}

struct Machine {
    cgroups: Option<Cgroup2>,
    warnings: Vec<Warning>,
}

impl Machine {
    fn warn(&mut self, setting: Setting, found: impl Into<String>, remedy: impl Into<String>) {
        self.warnings.push(Warning { setting, found: found.into(), remedy: remedy.into() });
    }

    /// False where none was made yet: then there is no key either.
    fn ledger(&mut self, ledger: &Ledger, setting: Setting) -> bool {
        let (dir, key) = (ledger.dir.display(), ledger.key.display());
        match fs::read(Paths::new(&ledger.dir).info()) {
            Ok(info) => {
                if let Err(problem) = LedgerInfo::parse(&info) {
                    let found = format!("{dir}: `ledger.json` is damaged: {problem}");
                    self.warn(setting, found, "keep a copy of the ledger and run `graven verify`");
                }
            }
            Err(error) if is_absent(&error) => {
                let remedy = format!("make it with `graven init {dir} --key {key}`");
                self.warn(setting, format!("{dir} is not a ledger"), remedy);
                return false;
            }
            Err(error) => self.unreadable(setting, &ledger.dir, &error),
        }
        true
    }

    fn key(&mut self, path: &Path, setting: Setting) {
        match File::open(path).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                let mode = metadata.permissions().mode() & 0o777;
                let found = format!("{} can be read by others (mode {mode:04o})", path.display());
                self.warn(setting, found, format!("run `chmod 600 {}`", path.display()));
            }
            Ok(_) => {}
            Err(error) if is_absent(&error) => {
                let found = format!("{} does not exist", path.display());
                self.warn(setting, found, "name the key that `graven init` made");
            }
            Err(error) => self.unreadable(setting, path, &error),
        }
    }

    /// Where holding is required, or a retention is promised that nothing would keep.
    fn worm(&mut self, ledger: &Ledger, setting: Setting) {
        let lost = match (ledger.worm, &ledger.release) {
            (Worm::Required, _) => "the daemon will not start, for sealed segments cannot be held",
            (Worm::Auto, Some(_)) => "nothing holds segments until `release.retention` is over",
            _ => return,
        };
        if let Err(why) = probe(&Paths::new(&ledger.dir).segments()) {
            let remedy = "keep it on ext4, xfs or btrfs, and run daemon and check as root with CAP_LINUX_IMMUTABLE";
            self.warn(setting, format!("{lost}: {why}"), remedy);
        }
    }

    fn unreadable(&mut self, setting: Setting, path: &Path, error: &io::Error) {
        let found = format!("{}: {error}", path.display());
        self.warn(setting, found, "check again as the user that the daemon runs as");
    }

    fn mirror(&mut self, path: &Path, setting: Setting) {
        let parent = path.parent().unwrap_or(path);
        if !parent.is_dir() {
            let found = format!("the directory {} does not exist", parent.display());
            self.warn(setting, found, "make it, or mount the disk that it is on");
        }
    }

    fn watch(&mut self, watch: &Watch, setting: impl Fn(&str) -> Setting) {
        for path in &watch.executables {
            self.executable(path, setting("executables"));
        }
        if watch.cgroups.is_empty() && watch.units.is_empty() {
            return;
        }
        let Some(mount) = self.cgroups.as_ref().map(|cgroups| cgroups.mount().to_owned()) else {
            let found = "there is no cgroup hierarchy of version 2";
            return self.warn(setting("cgroups"), found, "see what `graven doctor` says");
        };
        for cgroup in &watch.cgroups {
            if !mount.join(cgroup.trim_start_matches('/')).is_dir() {
                let found = format!("there is no cgroup {cgroup} now");
                let remedy = "start what runs in it; or name its unit under `units`, which is found later too";
                self.warn(setting("cgroups"), found, remedy);
            }
        }
        for unit in &watch.units {
            if !is_known(unit) && !holds(&mount, unit) {
                let found = format!("systemd has no unit {unit}");
                self.warn(setting("units"), found, "compare with `systemctl list-units --all`");
            }
        }
    }

    fn executable(&mut self, path: &Path, setting: Setting) {
        let name = path.display();
        let looked = path.canonicalize().and_then(|real| Ok((real, is_program(path)?)));
        match looked {
            Err(error) => {
                self.warn(setting, format!("{name}: {error}"), "install it, or correct the path");
            }
            // The kernel knows a program by where it is, not by the links that led there.
            Ok((real, _)) if real != path => {
                let found = format!("{name} leads to {} through a symbolic link", real.display());
                self.warn(setting, found, format!("name `{}`", real.display()));
            }
            Ok((_, false)) => {
                let found =
                    format!("{name} is no program: a script is executed by its interpreter");
                self.warn(setting, found, "watch the unit or the cgroup in which it runs");
            }
            Ok((_, true)) => {}
        }
    }
}

/// Whether the kernel executes the file itself.
fn is_program(path: &Path) -> io::Result<bool> {
    let metadata = path.metadata()?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Ok(false);
    }
    let mut magic = [0; 2];
    let read = File::open(path)?.read(&mut magic)?;
    Ok(magic.get(..read) != Some(b"#!"))
}

/// Whether nothing is there.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether systemd has a file for the unit, or for the template that it is an instance of.
fn is_known(unit: &str) -> bool {
    let template = unit.split_once('@').and_then(|(name, instance)| {
        instance.rsplit_once('.').map(|(_, kind)| format!("{name}@.{kind}"))
    });
    let has = |name: &str| UNIT_DIRS.iter().any(|dir| Path::new(dir).join(name).exists());
    has(unit) || template.is_some_and(|template| has(&template))
}

/// Whether there is a cgroup of that name in `directory` or below.
fn holds(directory: &Path, name: &str) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .any(|entry| entry.file_name() == name || holds(&entry.path(), name))
}
