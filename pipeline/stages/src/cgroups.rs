//! The names of cgroups, each found once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

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

/// The names that are known. The kernel never gives an id again, so a name stays true.
pub(crate) struct Cgroups {
    names: HashMap<u64, Arc<CgroupName>>,
    lookup: CgroupLookup,
    /// Removed since the last tick, and before it.
    removed: Vec<u64>,
    removed_before: Vec<u64>,
}

impl fmt::Debug for Cgroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cgroups").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Cgroups {
    pub(crate) fn new(lookup: CgroupLookup) -> Self {
        let (removed, removed_before) = (Vec::new(), Vec::new());
        Self { names: HashMap::new(), lookup, removed, removed_before }
    }

    /// The name of a cgroup.
    pub(crate) fn name(&mut self, id: u64) -> Arc<CgroupName> {
        let Self { names, lookup, .. } = self;
        let name = names.entry(id).or_insert_with(|| {
            // Removed before it could be looked up: its id still tells it apart.
            CgroupName::of(lookup(id).unwrap_or_else(|| format!("unresolved:{id}").into_bytes()))
        });
        Arc::clone(name)
    }

    /// Learns the name of a cgroup from the kernel's own word, and gives it. What is gone already could be
    /// looked up no more.
    pub(crate) fn learn(&mut self, id: u64, parent: u64, name: &[u8]) -> Arc<CgroupName> {
        let known = self.names.get(&id).is_some_and(|name| name.is_resolved());
        if !known && !name.is_empty() {
            let parent = self.name(parent);
            if parent.is_resolved() {
                let above = parent.path.strip_suffix(b"/").unwrap_or(&parent.path);
                self.names.insert(id, CgroupName::of([above, name].join(&b'/')));
            }
        }
        self.name(id)
    }

    /// Takes note that a cgroup is gone. Its name is kept for the records that are still to come.
    pub(crate) fn remove(&mut self, id: u64) {
        self.removed.push(id);
    }

    /// Forgets what was removed two ticks ago: the ring has been emptied since.
    pub(crate) fn tick(&mut self) {
        for id in std::mem::take(&mut self.removed_before) {
            self.names.remove(&id);
        }
        self.removed_before = std::mem::take(&mut self.removed);
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
    fn a_removed_name_outlives_its_cgroup_by_two_ticks() {
        let mut cgroups = cgroups();
        cgroups.learn(10, 2, b"x");
        cgroups.tick();
        cgroups.remove(10);
        cgroups.tick();
        assert_eq!(cgroups.name(10).path, b"/a/x");
        cgroups.tick();
        assert_eq!(cgroups.name(10).path, b"unresolved:10");
    }
}
