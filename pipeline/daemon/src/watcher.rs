//! Who is watched: from the configuration's names to the kernel's cgroups and programs, kept up to date
//! as they come and go.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use graven_abi::CallSet;
use graven_abi::layout::WATCHES;
use graven_capture::{Capture, Cgroup2, Expected, Ring, RingSlot, Watch as KernelWatch};
use graven_config::{Ledger, Syscalls, Watch};
use graven_stages::{Agent, Agents, Watched, clock};

use crate::control::{TargetStatus, WatchOrder, WatchStatus};
use crate::ring_thread::Gauge;

/// Depth to which a unit's cgroup is looked for: slices nest, but not deeper than this.
const UNIT_DEPTH_MAX: usize = 12;

/// Watches at a time, those of all ledgers together.
#[expect(clippy::cast_possible_truncation, reason = "a few dozen")]
const LIMIT: u32 = WATCHES as u32;

/// The kernel program, and what it is told to watch.
#[derive(Debug)]
pub(crate) struct Watcher {
    capture: Capture,
    cgroups: Cgroup2,
    watches: BTreeMap<u32, Active>,
    /// Ended ones, whose records may still be in their ring.
    retired: Vec<Retired>,
}

/// One watch of the kernel's.
#[derive(Debug)]
struct Active {
    /// Who asked for it.
    origin: Origin,
    post: Post,
    targets: Vec<Target>,
}

/// An index that is free again once its last record is out of the ring.
#[derive(Debug)]
struct Retired {
    index: u32,
    post: Post,
    since_ns: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// The configuration: the calls that these settings name.
    Configured(Watch),
    /// The same, where its calls are only counted.
    Excluded(Watch),
    /// A client, until it closes its side: the trace id.
    Ordered(String),
}

#[derive(Debug)]
struct Target {
    kind: TargetKind,
    name: String,
    /// The directories, with their inodes, that are watched for it now.
    cgroups: Vec<(PathBuf, u64)>,
    waiting: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TargetKind {
    Cgroup,
    Unit,
    Executable,
}

/// What a ledger needs to be watched for.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) ledger: String,
    pub(crate) slot: RingSlot,
    pub(crate) agents: Agents,
    pub(crate) gauge: Arc<Gauge>,
}

impl Watcher {
    /// Loads the kernel program; it watches nothing yet.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let cgroups = Cgroup2::find()?;
        Ok(Self {
            capture: Capture::load()?,
            cgroups,
            watches: BTreeMap::new(),
            retired: Vec::new(),
        })
    }

    pub(crate) fn open_ring(&mut self, bytes: u32) -> anyhow::Result<Ring> {
        Ok(self.capture.open_ring(bytes)?)
    }

    pub(crate) fn cgroups(&self) -> &Cgroup2 {
        &self.cgroups
    }

    /// Brings the watches of one ledger to what its settings say: those that stay the same stay untouched.
    pub(crate) fn configure(&mut self, post: &Post, settings: &Ledger) -> anyhow::Result<()> {
        let wanted: Vec<Origin> = settings
            .watches
            .iter()
            .flat_map(|watch| {
                let excluded =
                    (!watch.exclude_cgroups.is_empty()).then(|| Origin::Excluded(watch.clone()));
                [Some(Origin::Configured(watch.clone())), excluded].into_iter().flatten()
            })
            .collect();
        let gone = self.select(|active| {
            active.post.ledger == post.ledger
                && !matches!(active.origin, Origin::Ordered(_))
                && !wanted.contains(&active.origin)
        });
        for index in gone {
            self.drop_watch(index)?;
        }
        for origin in wanted {
            let known =
                |active: &Active| active.post.ledger == post.ledger && active.origin == origin;
            if self.watches.values().any(known) {
                continue;
            }
            let (Origin::Configured(watch) | Origin::Excluded(watch)) = &origin else { continue };
            let watched = Watched {
                excluded: watch.excluded_paths()?,
                environment: watch.exec_env.clone(),
                ..Watched::new(agent(&watch.agent, crate::new_trace_id()), "graven run")
            };
            let targets = targets_of(&origin);
            self.add(post, origin, watched, targets)?;
        }
        self.follow()
    }

    /// Ends all watches of a ledger.
    pub(crate) fn dismiss(&mut self, ledger: &str) -> anyhow::Result<()> {
        for index in self.select(|active| active.post.ledger == ledger) {
            self.drop_watch(index)?;
        }
        Ok(())
    }

    /// Watches a cgroup for a client.
    pub(crate) fn order(&mut self, post: &Post, order: &WatchOrder) -> anyhow::Result<u32> {
        let below = order.cgroup.strip_prefix(self.cgroups.mount()).with_context(|| {
            format!(
                "{} is no cgroup below {}",
                order.cgroup.display(),
                self.cgroups.mount().display()
            )
        })?;
        let name = format!("/{}", below.display());
        let target = Target::new(TargetKind::Cgroup, name);
        let origin = Origin::Ordered(order.trace_id.clone());
        let watched = Watched::new(agent(&order.agent, order.trace_id.clone()), "graven exec");
        let index = self.add(post, origin, watched, vec![target])?;
        self.follow()?;
        Ok(index)
    }

    /// Ends what [`Self::order`] began.
    pub(crate) fn countermand(&mut self, trace_id: &str) -> anyhow::Result<()> {
        let ordered = Origin::Ordered(trace_id.to_owned());
        for index in self.select(|active| active.origin == ordered) {
            self.drop_watch(index)?;
        }
        Ok(())
    }

    /// The watch and the ledger of a client's order.
    pub(crate) fn ordered(&self, trace_id: &str) -> Option<(u32, &str)> {
        let ordered = Origin::Ordered(trace_id.to_owned());
        let found = self.watches.iter().find(|(_, active)| active.origin == ordered);
        found.map(|(index, active)| (*index, active.post.ledger.as_str()))
    }

    /// Looks where the named cgroups and units are by now. Call it every second or so.
    ///
    /// It is for those that were there before, and for the status: what is made later, and what is made below
    /// a watched one, the kernel program follows by itself.
    pub(crate) fn follow(&mut self) -> anyhow::Result<()> {
        self.retired.retain(|Retired { index, post, since_ns }| {
            let over = post.gauge.emptied_ns() > *since_ns;
            if over {
                post.agents.remove(*index);
            }
            !over
        });
        let mut found = false;
        let Self { capture, cgroups, watches, .. } = self;
        for (index, active) in watches {
            for target in &mut active.targets {
                found |= target.follow(*index, capture, cgroups.mount())?;
            }
        }
        if found {
            self.capture.inventory()?;
        }
        Ok(())
    }

    pub(crate) fn status(&self, ledger: &str) -> Vec<WatchStatus> {
        let of_ledger = self.watches.values().filter(|active| active.post.ledger == ledger);
        of_ledger
            .filter_map(|active| {
                let agent = match &active.origin {
                    Origin::Configured(watch) => watch.agent.clone(),
                    Origin::Ordered(trace_id) => format!("graven exec {trace_id}"),
                    Origin::Excluded(_) => return None,
                };
                let targets = active.targets.iter().map(|target| TargetStatus {
                    name: target.name.clone(),
                    waiting: target.waiting.clone(),
                });
                Some(WatchStatus { agent, targets: targets.collect() })
            })
            .collect()
    }

    fn add(
        &mut self,
        post: &Post,
        origin: Origin,
        watched: Watched,
        targets: Vec<Target>,
    ) -> anyhow::Result<u32> {
        let retired = |index| self.retired.iter().any(|retired| retired.index == index);
        let free = |index: &u32| !self.watches.contains_key(index) && !retired(*index);
        let Some(index) = (0..LIMIT).find(free) else {
            bail!("{LIMIT} watches are in use: end some, or take some out of the configuration");
        };
        let recorded = match &origin {
            Origin::Configured(watch) => calls_of(&watch.syscalls)?,
            Origin::Excluded(_) => CallSet::NONE,
            Origin::Ordered(_) => CallSet::ALL,
        };
        let environment = !watched.environment.is_empty();
        // Before the kernel's first record under this index.
        post.agents.set(index, watched);
        self.capture.set_watch(index, &KernelWatch { ring: post.slot, recorded, environment })?;
        for target in &targets {
            target.expect(index, &mut self.capture);
        }
        self.watches.insert(index, Active { origin, post: post.clone(), targets });
        Ok(index)
    }

    fn select(&self, which: impl Fn(&Active) -> bool) -> Vec<u32> {
        self.watches.iter().filter(|(_, active)| which(active)).map(|(index, _)| *index).collect()
    }

    fn drop_watch(&mut self, index: u32) -> anyhow::Result<()> {
        let Some(active) = self.watches.remove(&index) else { return Ok(()) };
        for target in &active.targets {
            if target.kind == TargetKind::Executable {
                self.capture.unwatch_executable(Path::new(&target.name))?;
            }
            for (cgroup, _) in &target.cgroups {
                self.capture.unwatch_cgroup(cgroup)?;
            }
        }
        self.capture.drop_watch(index)?;
        self.retired.push(Retired { index, post: active.post, since_ns: clock::mono_ns() });
        Ok(())
    }
}

fn agent(id: &str, trace_id: String) -> Agent {
    Agent { id: id.to_owned(), trace_id }
}

fn calls_of(syscalls: &Syscalls) -> anyhow::Result<CallSet> {
    Ok(match syscalls {
        Syscalls::All => CallSet::ALL,
        Syscalls::Security => CallSet::security(),
        Syscalls::Only(names) => CallSet::of(names.iter().map(String::as_str))?,
    })
}

fn targets_of(origin: &Origin) -> Vec<Target> {
    let target = |kind| move |name: &String| Target::new(kind, name.clone());
    match origin {
        Origin::Configured(watch) => {
            let executables = watch.executables.iter().map(|path| path.display().to_string());
            let executables: Vec<String> = executables.collect();
            let cgroups = watch.cgroups.iter().map(target(TargetKind::Cgroup));
            let units = watch.units.iter().map(target(TargetKind::Unit));
            cgroups
                .chain(units)
                .chain(executables.iter().map(target(TargetKind::Executable)))
                .collect()
        }
        Origin::Excluded(watch) => {
            watch.exclude_cgroups.iter().map(target(TargetKind::Cgroup)).collect()
        }
        Origin::Ordered(_) => Vec::new(),
    }
}

impl Target {
    fn new(kind: TargetKind, name: String) -> Self {
        Self { kind, name, cgroups: Vec::new(), waiting: Some("not looked for yet".to_owned()) }
    }

    /// Has it watched from the moment it is made, should that be still to come.
    fn expect(&self, index: u32, capture: &mut Capture) {
        let expected = match self.kind {
            TargetKind::Cgroup => Expected::Path(Path::new("/").join(&self.name)),
            TargetKind::Unit => Expected::Name(self.name.clone()),
            TargetKind::Executable => return,
        };
        if let Err(error) = capture.expect(&expected, index) {
            tracing::warn!(%error, "`{}` is looked for once a second instead", self.name);
        }
    }

    /// Finds it, and has it watched if it is new; true where something was found that may run already.
    fn follow(&mut self, index: u32, capture: &mut Capture, mount: &Path) -> anyhow::Result<bool> {
        if self.kind == TargetKind::Executable {
            if self.waiting.take().is_some() {
                capture.watch_executable(Path::new(&self.name), index)?;
            }
            return Ok(false);
        }
        let standing = match self.kind {
            TargetKind::Unit => find_named(mount, &self.name),
            _ => inode(&mount.join(self.name.trim_start_matches('/'))).into_iter().collect(),
        };
        let mut found = false;
        for (path, inode) in &standing {
            if !self.cgroups.contains(&(path.clone(), *inode)) {
                // It may be gone again; then the next look finds nothing.
                match capture.watch_cgroup(path, index) {
                    Ok(()) => found = true,
                    Err(error) if path.exists() => return Err(error.into()),
                    Err(_) => {}
                }
            }
        }
        self.waiting = standing.is_empty().then(|| match self.kind {
            TargetKind::Unit => "no cgroup has this unit's name: it is not running".to_owned(),
            _ => "there is no such cgroup now".to_owned(),
        });
        self.cgroups = standing;
        Ok(found)
    }
}

fn inode(path: &Path) -> Option<(PathBuf, u64)> {
    fs::metadata(path).ok().map(|metadata| (path.to_owned(), metadata.ino()))
}

/// The cgroups of that name, wherever they are in the hierarchy: a unit's lies in its slice.
fn find_named(mount: &Path, name: &str) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut level = vec![mount.to_owned()];
    for _ in 0..UNIT_DEPTH_MAX {
        let mut below = Vec::new();
        for directory in &level {
            let Ok(entries) = fs::read_dir(directory) else { continue };
            let entries =
                entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            for entry in entries {
                if entry.file_name() == name {
                    found.extend(inode(&entry.path()));
                } else {
                    below.push(entry.path());
                }
            }
        }
        level = below;
    }
    found
}
