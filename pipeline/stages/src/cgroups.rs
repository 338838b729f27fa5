//! The names of cgroups.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::container::container;

/// Finds a cgroup's path by its id.
pub type CgroupLookup = Box<dyn FnMut(u64) -> Option<Vec<u8>> + Send>;

/// What a cgroup is called.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CgroupName {
    /// Its path below the root of the file system; `unresolved:<id>` where that is not known.
    pub(crate) path: Vec<u8>,
    /// The container that the path names.
    pub(crate) container: Option<String>,
}

impl CgroupName {
    fn of(path: Vec<u8>) -> Arc<Self> {
        let container = container(&path);
        Arc::new(Self { path, container })
    }

    fn is_resolved(&self) -> bool {
        self.path.starts_with(b"/")
    }

    /// Bytes that it takes on a record.
    pub(crate) fn bytes_len(&self) -> usize {
        self.path.len() + self.container.as_ref().map_or(0, String::len)
    }
}

/// Names that are kept: those of the cgroups that records came from last. A few hundred bytes each.
const NAMES_MAX: NonZeroUsize = NonZeroUsize::new(8192).expect("not 0");

/// The names that are known. The kernel never gives an id again, so a name stays true; it outlives its cgroup,
/// for the records that are still to come.
pub(crate) struct Cgroups {
    names: LruCache<u64, Arc<CgroupName>>,
    lookup: CgroupLookup,
    /// Those that were not found since the last tick: the next one may find them.
    unresolved: Vec<u64>,
}

impl fmt::Debug for Cgroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cgroups").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Cgroups {
    pub(crate) fn new(lookup: CgroupLookup) -> Self {
        Self { names: LruCache::new(NAMES_MAX), lookup, unresolved: Vec::new() }
    }

    /// The name of a cgroup.
    pub(crate) fn name(&mut self, id: u64) -> Arc<CgroupName> {
        let Self { names, lookup, unresolved } = self;
        let name = names.get_or_insert(id, || {
            // Removed before it could be looked up: its id still tells it apart.
            CgroupName::of(lookup(id).unwrap_or_else(|| {
                unresolved.push(id);
                format!("unresolved:{id}").into_bytes()
            }))
        });
        Arc::clone(name)
    }

    /// Learns the name of a cgroup from the kernel's own word, and gives it. What is gone already could be
    /// looked up no more.
    pub(crate) fn learn(&mut self, id: u64, parent: u64, name: &[u8]) -> Arc<CgroupName> {
        let known = self.names.peek(&id).is_some_and(|name| name.is_resolved());
        if !known && !name.is_empty() {
            let parent = self.name(parent);
            if parent.is_resolved() {
                let above = parent.path.strip_suffix(b"/").unwrap_or(&parent.path);
                self.names.put(id, CgroupName::of([above, name].join(&b'/')));
            }
        }
        self.name(id)
    }

    /// Forgets what was not found, so that it is looked up once more. Call it every tenth of a second or so.
    pub(crate) fn tick(&mut self) {
        for id in self.unresolved.drain(..) {
            // Meanwhile the kernel may have told.
            if self.names.peek(&id).is_some_and(|name| !name.is_resolved()) {
                self.names.pop(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lookup knows the root (1) and `/a` (2) alone: whatever else is named was learnt.
    fn cgroups() -> Cgroups {
        Cgroups::new(Box::new(|id| match id {
            1 => Some(b"/".to_vec()),
            2 => Some(b"/a".to_vec()),
            _ => None,
        }))
    }

    #[test]
    fn names_are_learnt_without_a_lookup() {
        let mut cgroups = cgroups();
        assert_eq!(cgroups.learn(10, 1, b"x").path, b"/x");
        assert_eq!(cgroups.learn(11, 2, b"x").path, b"/a/x");
        assert_eq!(cgroups.learn(12, 11, b"y").path, b"/a/x/y");
        assert_eq!(cgroups.name(12).path, b"/a/x/y");
        assert_eq!(cgroups.name(13).path, b"unresolved:13");
        assert_eq!(cgroups.learn(13, 2, b"late").path, b"/a/late");
        assert_eq!(cgroups.learn(14, 99, b"x").path, b"unresolved:14", "its parent is not known");
        assert_eq!(cgroups.learn(15, 2, b"").path, b"unresolved:15", "its name was not read");
    }

    #[test]
    fn what_was_not_found_is_looked_up_at_the_next_tick() {
        let mut asked = 0;
        let mut cgroups = Cgroups::new(Box::new(move |id| {
            asked += 1;
            (asked > 2).then(|| format!("/{id}").into_bytes())
        }));
        for _ in 0..3 {
            assert_eq!(cgroups.name(10).path, b"unresolved:10", "one look-up a tick");
        }
        cgroups.tick();
        assert_eq!(cgroups.name(10).path, b"unresolved:10");
        cgroups.tick();
        assert_eq!(cgroups.name(10).path, b"/10");
        cgroups.tick();
        assert_eq!(cgroups.name(10).path, b"/10");
    }

    #[test]
    fn no_more_names_are_kept_than_there_may_be() {
        let mut cgroups = cgroups();
        cgroups.learn(10, 2, b"x");
        for id in 100..100 + NAMES_MAX.get() as u64 {
            assert_eq!(cgroups.name(10).path, b"/a/x", "what is in use stays");
            cgroups.name(id);
        }
        assert_eq!(cgroups.names.len(), NAMES_MAX.get());
        assert_eq!(cgroups.name(100).path, b"unresolved:100", "control: the oldest was forgotten");
    }
}
