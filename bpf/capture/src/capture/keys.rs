//! Maps from a text to the watch that it leads to.

use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle};

use super::claims::{Claim, Claims};

/// Bytes of a text, padded with zeros.
pub(super) const KEY_BYTES: usize = 256;

pub(super) type Key = [u8; KEY_BYTES];

/// What is in such a map, with the watches that claim it.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: Claims<Key>,
}

impl Keys {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.known.keys().len()).unwrap_or(u32::MAX)
    }

    /// Adds a claim as [`Claims::add`] does; [`Self::tell`] the program of it.
    pub(super) fn claim(
        &mut self,
        key: Key,
        claim: Claim,
        instead_of: Option<u32>,
    ) -> Result<(), u32> {
        self.known.add(key, claim, instead_of)
    }

    /// Writes who has the key by now.
    pub(super) fn tell(&self, map: &MapHandle, key: &Key) -> libbpf_rs::Result<()> {
        match self.known.holder(key) {
            Some(index) => map.update(key, &index.to_le_bytes(), MapFlags::ANY),
            None => match map.delete(key) {
                // It had not fitted in.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                deleted => deleted,
            },
        }
    }

    /// Takes away the claim of watch `index`, if it has one.
    pub(super) fn remove(
        &mut self,
        map: &MapHandle,
        key: &Key,
        index: u32,
    ) -> libbpf_rs::Result<()> {
        if self.known.remove(key, index) { self.tell(map, key) } else { Ok(()) }
    }

    /// Takes away all claims of watch `index`.
    pub(super) fn forget(&mut self, map: &MapHandle, index: u32) -> libbpf_rs::Result<()> {
        let keys = self.known.of_watch(index);
        keys.iter().try_for_each(|key| self.remove(map, key, index))
    }
}

/// The key of `text`; `None` if it is empty or leaves no room for a zero.
pub(super) fn key_of(text: &[u8]) -> Option<Key> {
    let mut key = [0; KEY_BYTES];
    let fits = !text.is_empty() && text.len() < KEY_BYTES;
    key.get_mut(..text.len()).filter(|_| fits)?.copy_from_slice(text);
    Some(key)
}
