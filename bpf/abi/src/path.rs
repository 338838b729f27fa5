//! Paths from the components that the kernel program collected.

use std::borrow::Cow;

use crate::layout::item_flag;
use crate::parse::Item;

/// The path of a directory item.
///
/// A file in no directory (memfd) has its bare name, which begins with no `/`; a pipe or a socket has
/// none: empty. What is not below the task's root begins with `(unreachable)`, as in getcwd(2).
pub(crate) fn directory(item: &Item<'_>) -> Vec<u8> {
    let components = item.bytes.strip_suffix(b"\0").unwrap_or(item.bytes);
    if item.has(item_flag::DETACHED) {
        // The last component is the root of a tree that is mounted nowhere.
        return components.split(|byte| *byte == 0).rev().collect::<Vec<_>>().join(&b'/');
    }
    let mut path = Vec::with_capacity(item.bytes.len() + 16);
    if item.has(item_flag::UNREACHABLE) {
        path.extend_from_slice(b"(unreachable)");
    }
    if components.is_empty() {
        path.push(b'/');
        return path;
    }
    for component in components.split(|byte| *byte == 0).rev() {
        path.push(b'/');
        path.extend_from_slice(component);
    }
    path
}

/// `path` as seen from `directory`: made absolute by joining, and in no other way.
///
/// `..` stays, since what it leads to depends on symbolic links.
pub(crate) fn join<'a>(directory: &[u8], path: &'a [u8]) -> Cow<'a, [u8]> {
    if path.starts_with(b"/") {
        return Cow::Borrowed(path);
    }
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    Cow::Owned([directory, path].join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{ItemHeader, item_kind};

    fn item(bytes: &[u8], flags: u16) -> Item<'_> {
        let header = ItemHeader { arg: 0, kind: item_kind::DIR, err: 0, len: 0, flags };
        Item { header, bytes }
    }

    #[test]
    fn components_come_deepest_first() {
        assert_eq!(directory(&item(b"c\0b\0a\0", 0)), b"/a/b/c");
        assert_eq!(directory(&item(b"", 0)), b"/");
        assert_eq!(directory(&item(b"a\0", item_flag::UNREACHABLE)), b"(unreachable)/a");
        assert_eq!(directory(&item(b"memfd:x\0", item_flag::DETACHED)), b"memfd:x");
    }

    #[test]
    fn join_keeps_what_symbolic_links_decide() {
        assert_eq!(&*join(b"/a", b"../b"), b"/a/../b");
        assert_eq!(&*join(b"/", b"b"), b"/b");
        assert_eq!(&*join(b"/a", b"/b"), b"/b");
    }
}
