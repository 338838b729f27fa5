//! Canonical JSON, written member by member.

use serde::Serialize;

/// Writes one JSON object; the caller gives the members in canonical order.
#[derive(Debug)]
pub struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
    #[cfg(debug_assertions)]
    last_key: Option<&'static str>,
}

impl<'a> ObjectWriter<'a> {
    /// Opens the object.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            first: true,
            #[cfg(debug_assertions)]
            last_key: None,
        }
    }

    /// Writes a key, which needs no escape, and returns the buffer for its value.
    pub fn key(&mut self, key: &'static str) -> &mut Vec<u8> {
        #[cfg(debug_assertions)]
        {
            assert!(self.last_key < Some(key), "{key} is out of canonical order");
            self.last_key = Some(key);
        }
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Writes a member whose `Serialize` gives canonical JSON.
    pub fn member(&mut self, key: &'static str, value: &(impl Serialize + ?Sized)) {
        serde_json::to_writer(self.key(key), value).expect("plain data serialises into a Vec");
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push(b'}');
    }
}
