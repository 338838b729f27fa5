//! Canonical JSON, written by hand: a record is made in one pass over what it says, into one buffer.

use std::borrow::Cow;

use crate::canonical::ordinary;

/// What writes itself as RFC 8785 text.
pub trait Canonical {
    /// Appends the text.
    fn write(&self, out: &mut Vec<u8>);

    /// The text.
    fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

impl Canonical for str {
    /// Source: RFC 8785, section 3.2.2.2.
    fn write(&self, out: &mut Vec<u8>) {
        let mut rest = self.as_bytes();
        out.push(b'"');
        loop {
            let plain = ordinary(rest);
            out.extend_from_slice(&rest[..plain]);
            let Some(byte) = rest.get(plain) else { break };
            write_escape(*byte, out);
            rest = &rest[plain + 1..];
        }
        out.push(b'"');
    }
}

/// Writes a quote, a backslash or a control character.
fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            let digit = |nibble: u8| DIGITS[usize::from(nibble & 0x0f)];
            let escape = [b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)];
            return out.extend_from_slice(&escape);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

impl Canonical for Cow<'_, str> {
    fn write(&self, out: &mut Vec<u8>) {
        str::write(self, out);
    }
}

impl Canonical for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
    }
}

impl Canonical for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
    }
}

impl Canonical for u32 {
    fn write(&self, out: &mut Vec<u8>) {
        u64::from(*self).write(out);
    }
}

impl Canonical for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

impl<T: Canonical + ?Sized> Canonical for &T {
    fn write(&self, out: &mut Vec<u8>) {
        (**self).write(out);
    }
}

/// `null` for none.
impl<T: Canonical> Canonical for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write(out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

impl<T: Canonical> Canonical for [T] {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (index, item) in self.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            item.write(out);
        }
        out.push(b']');
    }
}

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

    /// Writes a member.
    pub fn member(&mut self, key: &'static str, value: &(impl Canonical + ?Sized)) {
        value.write(self.key(key));
    }

    /// Writes a member, if there is one.
    pub fn optional(&mut self, key: &'static str, value: Option<&(impl Canonical + ?Sized)>) {
        if let Some(value) = value {
            self.member(key, value);
        }
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push(b'}');
    }
}
