//! Who is watched: from the configuration's names to the kernel's cgroups and programs, kept up to date
//! as they come and go.

mod units;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use graven_abi::CallSet;
use graven_abi::layout::WATCHES;
use graven_capture::{Capture, Cgroup2, Expected, Ring, RingSlot, Watch as KernelWatch};
use graven_config::{Ledger, Syscalls, Watch};
use graven_stages::{Agent, Agents, Watched, clock};

use crate::control::{TargetStatus, WatchOrder, WatchStatus};
use crate::ring_thread::Gauge;
use units::Units;

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
    /// Of an executable: whether the kernel knows of it.
    set: bool,
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

    /// Changes the watches of one ledger whose agents stay, and ends those that its settings no longer name. Do so
    /// for every ledger before [`Self::install`]: what one gives up another may take.
    pub(crate) fn retire(&mut self, post: &Post, settings: &Ledger) -> anyhow::Result<()> {
        for watch in &settings.watches {
            self.amend(post, watch)?;
        }
        let wanted = origins_of(settings);
        let gone = self.select(|active| {
            active.post.ledger == post.ledger
                && !matches!(active.origin, Origin::Ordered(_))
                && !wanted.contains(&active.origin)
        });
        gone.into_iter().try_for_each(|index| self.drop_watch(index))
    }

    /// Gives the watch of an agent that stays its new settings, with no moment unwatched: its tasks, those that
    /// have executed a watched program too, stay under it.
    fn amend(&mut self, post: &Post, settings: &Watch) -> anyhow::Result<()> {
        let of_agent = |active: &Active| {
            let same = |old: &Watch| old.agent == settings.agent && old != settings;
            active.post.ledger == post.ledger
                && matches!(&active.origin, Origin::Configured(old) if same(old))
        };
        let Some(index) = self.select(of_agent).first().copied() else { return Ok(()) };
        let run = post.agents.get(index);
        let trace_id = run.map_or_else(crate::new_trace_id, |agent| agent.trace_id);
        self.tell(post, index, calls_of(&settings.syscalls)?, watched(settings, trace_id)?)?;
        let Self { capture, watches, .. } = self;
        let Some(active) = watches.get_mut(&index) else { return Ok(()) };
        active.origin = Origin::Configured(settings.clone());
        let mut targets = targets_of(&active.origin);
        for old in std::mem::take(&mut active.targets) {
            match targets.iter_mut().find(|new| (new.kind, &new.name) == (old.kind, &old.name)) {
                Some(new) => *new = old,
                None => old.give_up(index, capture)?,
            }
        }
        targets.iter().filter(|new| new.is_new()).for_each(|new| new.expect(index, capture));
        active.targets = targets;
        Ok(())
    }

    /// Tells recorder and kernel what is recorded under watch `index`: the recorder first.
    fn tell(
        &mut self,
        post: &Post,
        index: u32,
        recorded: CallSet,
        watched: Watched,
    ) -> anyhow::Result<()> {
        let environment = !watched.environment.is_empty();
        post.agents.set(index, watched);
        Ok(self
            .capture
            .set_watch(index, &KernelWatch { ring: post.slot, recorded, environment })?)
    }

    /// How many watches [`Self::install`] would begin.
    pub(crate) fn wanted(&self, post: &Post, settings: &Ledger) -> usize {
        let known = |origin: &Origin| {
            self.watches.values().any(|it| it.post.ledger == post.ledger && it.origin == *origin)
        };
        origins_of(settings).iter().filter(|origin| !known(origin)).count()
    }

    /// How many watches may be begun.
    pub(crate) fn room(&mut self) -> usize {
        self.release();
        WATCHES - self.watches.len() - self.retired.len()
    }

    /// Begins the watches of one ledger that its settings name anew; those that stay the same stay untouched.
    pub(crate) fn install(&mut self, post: &Post, settings: &Ledger) -> anyhow::Result<()> {
        for origin in origins_of(settings) {
            let known =
                |active: &Active| active.post.ledger == post.ledger && active.origin == origin;
            if self.watches.values().any(known) {
                continue;
            }
            let (Origin::Configured(watch) | Origin::Excluded(watch)) = &origin else { continue };
            let watched = watched(watch, crate::new_trace_id())?;
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

    /// Watches a cgroup for a client; returns the watch's index.
    pub(crate) fn order(&mut self, post: &Post, order: &WatchOrder) -> anyhow::Result<u32> {
        let WatchOrder { agent: name, trace_id, cgroup, cgroup_id, .. } = order;
        let mount = self.cgroups.mount();
        let below = cgroup.strip_prefix(mount).ok().filter(|below| {
            below.components().all(|part| matches!(part, Component::Normal(_)))
                && below.components().next().is_some()
        });
        let below = below.with_context(|| {
            format!("{} is no cgroup below the daemon's {}", cgroup.display(), mount.display())
        })?;
        let target = Target::new(TargetKind::Cgroup, format!("/{}", below.display()));
        let origin = Origin::Ordered(trace_id.clone());
        if self.watches.values().any(|active| active.origin == origin) {
            bail!("a watch of the run {trace_id} is at work already");
        }
        let watched = Watched::new(agent(name, trace_id.clone()), "graven exec");
        let index = self.add(post, origin, watched, vec![target])?;
        let followed = self.follow();
        let standing = self.watches.get(&index).and_then(|active| active.targets.first());
        let found = standing.is_some_and(|it| it.cgroups.iter().any(|(_, id)| id == cgroup_id));
        if let (Ok(()), true) = (&followed, found) {
            return Ok(index);
        }
        self.drop_watch(index)?;
        followed?;
        bail!(
            "{} is not the same cgroup here: the daemon and this command must see one cgroup file system",
            cgroup.display()
        )
    }

    /// Ends what [`Self::order`] began.
    pub(crate) fn countermand(&mut self, index: u32) -> anyhow::Result<()> {
        self.drop_watch(index)
    }

    /// Looks where the named cgroups and units are by now. Call it every second or so.
    ///
    /// It is for those that were there before, and for the status: what is made later, and what is made below
    /// a watched one, the kernel program follows by itself.
    pub(crate) fn follow(&mut self) -> anyhow::Result<()> {
        self.release();
        let mut found = false;
        let Self { capture, cgroups, watches, .. } = self;
        let targets = watches.values().flat_map(|active| &active.targets);
        let wanted = targets.filter(|target| target.kind == TargetKind::Unit);
        let units = units::find(cgroups.mount(), wanted.map(|target| target.name.as_str()));
        for (index, active) in watches {
            for target in &mut active.targets {
                let standing = target.standing(cgroups.mount(), &units);
                // One that cannot be watched says so in the status, and holds nobody else up.
                match target.follow(*index, capture, standing) {
                    Ok(new) => found |= new,
                    Err(error) => target.waiting = Some(format!("{error:#}")),
                }
            }
        }
        if found {
            self.capture.inventory()?;
        }
        Ok(())
    }

    pub(crate) fn status(&self, ledger: &str) -> Vec<WatchStatus> {
        let of_ledger = self.watches.iter().filter(|(_, active)| active.post.ledger == ledger);
        of_ledger
            .filter_map(|(index, active)| {
                let (agent, run) = match &active.origin {
                    Origin::Configured(watch) => (watch.agent.clone(), None),
                    Origin::Ordered(trace_id) => {
                        let agent = active.post.agents.get(*index)?;
                        // The beginning tells runs of one agent apart.
                        let run = trace_id.get(..8).unwrap_or(trace_id);
                        ("exec".to_owned(), Some(format!("{} ({run})", agent.id)))
                    }
                    Origin::Excluded(_) => return None,
                };
                let targets = active.targets.iter().map(|target| TargetStatus {
                    name: run.clone().unwrap_or_else(|| target.name.clone()),
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
        self.release();
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
        if let Err(error) = self.tell(post, index, recorded, watched) {
            post.agents.remove(index);
            return Err(error);
        }
        // A client's cgroup is there already.
        let configured = !matches!(origin, Origin::Ordered(_));
        for target in targets.iter().filter(|_| configured) {
            target.expect(index, &mut self.capture);
        }
        self.watches.insert(index, Active { origin, post: post.clone(), targets });
        Ok(index)
    }

    /// Frees the indices of ended watches whose last record is out of the ring.
    fn release(&mut self) {
        self.retired.retain(|Retired { index, post, since_ns }| {
            let over = post.gauge.emptied_ns() > *since_ns;
            if over {
                post.agents.remove(*index);
            }
            !over
        });
    }

    fn select(&self, which: impl Fn(&Active) -> bool) -> Vec<u32> {
        self.watches.iter().filter(|(_, active)| which(active)).map(|(index, _)| *index).collect()
    }

    fn drop_watch(&mut self, index: u32) -> anyhow::Result<()> {
        let Some(active) = self.watches.remove(&index) else { return Ok(()) };
        self.capture.drop_watch(index)?;
        self.retired.push(Retired { index, post: active.post, since_ns: clock::mono_ns() });
        Ok(())
    }
}

/// The watches that a ledger's settings ask for.
fn origins_of(settings: &Ledger) -> Vec<Origin> {
    let of_watch = |watch: &Watch| {
        let excluded = (!watch.exclude_cgroups.is_empty()).then(|| Origin::Excluded(watch.clone()));
        [Some(Origin::Configured(watch.clone())), excluded].into_iter().flatten()
    };
    settings.watches.iter().flat_map(of_watch).collect()
}

fn agent(id: &str, trace_id: String) -> Agent {
    Agent { id: id.to_owned(), trace_id }
}

fn watched(settings: &Watch, trace_id: String) -> anyhow::Result<Watched> {
    Ok(Watched {
        excluded: settings.excluded_paths()?,
        environment: settings.exec_env.clone(),
        ..Watched::new(agent(&settings.agent, trace_id), "graven run")
    })
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
        let waiting = Some("not looked for yet".to_owned());
        Self { kind, name, cgroups: Vec::new(), waiting, set: false }
    }

    /// Not looked for yet.
    fn is_new(&self) -> bool {
        self.cgroups.is_empty() && !self.set
    }

    fn expected(&self) -> Option<Expected> {
        match self.kind {
            TargetKind::Cgroup => Some(Expected::Path(Path::new("/").join(&self.name))),
            TargetKind::Unit => Some(Expected::Name(self.name.clone())),
            TargetKind::Executable => None,
        }
    }

    /// Has it watched no longer; who is followed already stays so.
    fn give_up(&self, index: u32, capture: &mut Capture) -> anyhow::Result<()> {
        if self.set {
            capture.unwatch_executable(Path::new(&self.name), index)?;
        }
        if let Some(expected) = self.expected() {
            capture.expect_no_more(&expected, index)?;
        }
        for (cgroup, _) in self.cgroups.iter().filter(|(cgroup, _)| cgroup.exists()) {
            capture.unwatch_cgroup(cgroup, index)?;
        }
        Ok(())
    }

    /// Has it watched from the moment it is made, should that be still to come.
    fn expect(&self, index: u32, capture: &mut Capture) {
        let Some(expected) = self.expected() else { return };
        if let Err(error) = capture.expect(&expected, index) {
            tracing::warn!(%error, "`{}` is looked for once a second instead", self.name);
        }
    }

    /// The cgroups that it means now, with their inodes.
    fn standing(&self, mount: &Path, units: &Units) -> Vec<(PathBuf, u64)> {
        match self.kind {
            TargetKind::Cgroup => {
                inode(&mount.join(self.name.trim_start_matches('/'))).into_iter().collect()
            }
            TargetKind::Unit => units.get(&self.name).cloned().unwrap_or_default(),
            TargetKind::Executable => Vec::new(),
        }
    }

    /// Has it watched where it stands now, if that is new; true where something was found that may run already.
    fn follow(
        &mut self,
        index: u32,
        capture: &mut Capture,
        standing: Vec<(PathBuf, u64)>,
    ) -> anyhow::Result<bool> {
        if self.kind == TargetKind::Executable {
            let path = Path::new(&self.name);
            if !self.set {
                capture.watch_executable(path, index)?;
                self.set = true;
            }
            self.waiting = (!path.exists()).then(|| "there is no such file now".to_owned());
            return Ok(false);
        }
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
