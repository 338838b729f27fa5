//! Maps from a text to the watch that it leads to.

use std::collections::BTreeMap;

use libbpf_rs::{MapCore, MapFlags, MapHandle};

/// Bytes of a text, padded with zeros.
pub(super) const KEY_BYTES: usize = 256;

pub(super) type Key = [u8; KEY_BYTES];

/// What is in such a map.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: BTreeMap<Key, u32>,
}

impl Keys {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.known.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn add(&mut self, map: &MapHandle, key: Key, index: u32) -> libbpf_rs::Result<()> {
        map.update(&key, &index.to_le_bytes(), MapFlags::ANY)?;
        self.known.insert(key, index);
        Ok(())
    }

    pub(super) fn remove(&mut self, map: &MapHandle, key: &Key) -> libbpf_rs::Result<()> {
        if self.known.remove(key).is_some() {
            map.delete(key)?;
        }
        Ok(())
    }

    /// Removes all that lead to watch `index`.
    pub(super) fn forget(&mut self, map: &MapHandle, index: u32) -> libbpf_rs::Result<()> {
        let gone = self.known.extract_if(.., |_, known| *known == index);
        gone.into_iter().try_for_each(|(key, _)| map.delete(&key))
    }
}

/// The key of `text`; `None` if it is empty or leaves no room for a zero.
pub(super) fn key_of(text: &[u8]) -> Option<Key> {
    let mut key = [0; KEY_BYTES];
    let fits = !text.is_empty() && text.len() < KEY_BYTES;
    key.get_mut(..text.len()).filter(|_| fits)?.copy_from_slice(text);
    Some(key)
}
