//! On whose behalf a watch is: the control thread says so, the drain thread looks it up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use globset::GlobSet;

/// On whose behalf a watched process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The agent's name: the actor of its records.
    pub id: String,
    /// UUID of this run of the agent.
    pub trace_id: String,
}

/// What is known of a watch.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The agent.
    pub agent: Agent,
    /// Through what it came under watch, such as `graven exec`; `None` where that is not known.
    pub via: Option<&'static str>,
    /// Calls on files that match are left out, and counted.
    pub excluded: GlobSet,
    /// Names of the environment variables that go on record.
    pub environment: Vec<String>,
}

impl Watched {
    /// A watch that excludes nothing, and puts no environment on record.
    #[must_use]
    pub fn new(agent: Agent, via: &'static str) -> Self {
        Self { agent, via: Some(via), excluded: GlobSet::empty(), environment: Vec::new() }
    }

    /// What is said of a watch that nobody has told of, or that is over: its records are kept, but
    /// nobody's run is claimed.
    fn unregistered(watch: u32) -> Self {
        let agent = Agent {
            id: format!("unregistered watch {watch}"),
            trace_id: uuid::Uuid::nil().to_string(),
        };
        Self { agent, via: None, excluded: GlobSet::empty(), environment: Vec::new() }
    }
}

/// The watches of one ledger, by their index in the kernel. Clones share one registry.
///
/// Register a watch before the kernel is told of it, and remove it once the kernel was told and the ring
/// has been emptied: records that come in outside that time are recorded under a name that says so.
#[derive(Debug, Clone, Default)]
pub struct Agents(Arc<Registry>);

#[derive(Debug, Default)]
struct Registry {
    /// Grows with each change, so that a reader need not lock to see that there was none.
    version: AtomicU64,
    watched: Mutex<BTreeMap<u32, Arc<Watched>>>,
}

impl Agents {
    /// Says what is known of `watch`, from the next record on.
    pub fn set(&self, watch: u32, watched: Watched) {
        self.change(|all| drop(all.insert(watch, Arc::new(watched))));
    }

    /// The agent under `watch`, while it is registered.
    #[must_use]
    pub fn get(&self, watch: u32) -> Option<Agent> {
        let watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.get(&watch).map(|watched| watched.agent.clone())
    }

    /// Forgets `watch`.
    pub fn remove(&self, watch: u32) {
        self.change(|all| drop(all.remove(&watch)));
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<u32, Arc<Watched>>)) {
        let mut watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut watched);
        self.0.version.fetch_add(1, Ordering::Release);
    }
}

/// The registry as the drain thread knows it: a copy, so that a record costs no lock.
#[derive(Debug)]
pub(crate) struct AgentsView {
    agents: Agents,
    version: u64,
    watched: BTreeMap<u32, Arc<Watched>>,
}

impl AgentsView {
    pub(crate) fn new(agents: Agents) -> Self {
        let mut view = Self { agents, version: u64::MAX, watched: BTreeMap::new() };
        view.renew();
        view
    }

    /// Takes over what has changed; true if anything has.
    pub(crate) fn renew(&mut self) -> bool {
        let Registry { version, watched } = &*self.agents.0;
        if version.load(Ordering::Acquire) == self.version {
            return false;
        }
        let watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that it belongs to what is copied.
        self.version = version.load(Ordering::Acquire);
        self.watched.clone_from(&watched);
        true
    }

    /// What is known of `watch`.
    pub(crate) fn of(&mut self, watch: u32) -> Arc<Watched> {
        let known = self.watched.entry(watch);
        Arc::clone(known.or_insert_with(|| Arc::new(Watched::unregistered(watch))))
    }

    pub(crate) fn knows(&self, watch: u32) -> bool {
        self.watched.contains_key(&watch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_has_its_name_while_it_is_registered() {
        let agents = Agents::default();
        let mut view = AgentsView::new(agents.clone());
        assert_eq!(view.of(3).agent.id, "unregistered watch 3");
        assert!(!view.renew());

        let agent = Agent { id: "builder".into(), trace_id: "t".into() };
        agents.set(3, Watched::new(agent, "graven exec"));
        assert!(view.renew());
        assert_eq!(view.of(3).agent.id, "builder");
        assert_eq!(view.of(4).agent.id, "unregistered watch 4");

        agents.remove(3);
        assert!(view.renew());
        assert!(!view.knows(3));
        assert_eq!((view.of(3).agent.id.as_str(), view.of(3).via), ("unregistered watch 3", None));
    }
}
