//! Where units are: each that runs has a cgroup of its name.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::inode;

/// Depth to which units are looked for: slices nest, but not deeper than this.
const DEPTH_MAX: usize = 12;

/// By the unit's name its cgroups: their directories, with their inodes.
pub(super) type Units = BTreeMap<String, Vec<(PathBuf, u64)>>;

/// Finds the cgroups of the units `names`, wherever they are below `mount`: a unit's lies in its slice. One walk
/// finds all of them, and there is none without names.
pub(super) fn find<'a>(mount: &Path, names: impl Iterator<Item = &'a str>) -> Units {
    let mut units: Units = names.map(|name| (name.to_owned(), Vec::new())).collect();
    let mut level = if units.is_empty() { Vec::new() } else { vec![mount.to_owned()] };
    for _ in 0..DEPTH_MAX {
        level = level.iter().flat_map(|directory| directories_in(directory)).collect();
        for path in &level {
            let name = path.file_name().and_then(OsStr::to_str);
            let Some(found) = name.and_then(|name| units.get_mut(name)) else { continue };
            // What is below a watched one is watched with it.
            if !found.iter().any(|(above, _)| path.starts_with(above)) {
                found.extend(inode(path));
            }
        }
    }
    units
}

/// None where it cannot be read: it is gone again.
fn directories_in(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_walk_finds_each_unit_wherever_it_is() {
        let mount = tempfile::tempdir().unwrap();
        let at = |path: &str| mount.path().join(path);
        // Beside each other, below each other, twice, below its own name, and too deep.
        let deep = format!("{}deep.service", "slice/".repeat(DEPTH_MAX));
        for path in ["one.service/two.service", "slice/two.service/two.service", &deep] {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at("file.service"), "").unwrap();
        let names = ["one.service", "two.service", "deep.service", "file.service", "none.service"];
        let units = find(mount.path(), names.into_iter());
        let found = |name: &str| {
            let mut paths: Vec<_> = units[name].iter().map(|(path, _)| path.clone()).collect();
            paths.sort();
            paths
        };
        assert_eq!(found("one.service"), [at("one.service")]);
        assert_eq!(found("two.service"), [at("one.service/two.service"), at("slice/two.service")]);
        for name in &names[2..] {
            assert_eq!(found(name), [] as [PathBuf; 0], "{name}");
        }
        assert_eq!(units["one.service"], Vec::from_iter(inode(&at("one.service"))));
        assert!(find(mount.path(), std::iter::empty()).is_empty());
    }
}
