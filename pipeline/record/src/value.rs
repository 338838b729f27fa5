//! JSON from outside, read strictly.

use std::cell::RefCell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use crate::write::Canonical;
use crate::{DEPTH_MAX, INTEGER_MAX};

/// A JSON value that a record can hold.
///
/// Serialised by `serde_json` it is in RFC 8785 canonical form: members stand in UTF-16 order, and
/// `serde_json`'s compact strings and integers are those of RFC 8785.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer within ±(2^53−1).
    Integer(i64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object, its members in canonical order.
    Object(Vec<(String, Value)>),
}

/// Why a text is refused, and at which member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ValueError {
    /// The member, as a path such as `payload.after.price`; empty for the whole.
    pub member: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.member.is_empty() {
            write!(f, "`{}`: ", self.member)?;
        }
        f.write_str(&self.problem)
    }
}

impl ValueError {
    /// An error at `member`.
    #[must_use]
    pub fn at(member: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { member: member.into(), problem: problem.into() }
    }
}

impl Value {
    /// Reads one JSON text.
    ///
    /// # Errors
    ///
    /// [`ValueError`] for what is no JSON, and for what a record cannot hold: invalid UTF-8,
    /// repeated keys, lone surrogates, numbers that are not integers within ±(2^53−1), and nesting
    /// deeper than [`DEPTH_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ValueError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            ValueError::at("", format!("invalid UTF-8 at byte {}", error.valid_up_to()))
        })?;
        let path = Path::default();
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = Strict { path: &path, depth: 0 }
            .deserialize(&mut reader)
            .and_then(|value| reader.end().map(|()| value));
        value.map_err(|error| ValueError::at(path.to_string(), plain(&error)))
    }

    /// The kind of value, in words.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// The parser's message for a single line: the line number says nothing.
fn plain(error: &serde_json::Error) -> String {
    let text = error
        .to_string()
        .replace("unexpected end of hex escape", "lone surrogate in hex escape")
        .replace(" at line 1 column ", " at byte ");
    if error.is_data() { text } else { format!("is not JSON ({text})") }
}

/// Canonical order: by UTF-16 code units, which for ASCII is by bytes.
fn sort(members: &mut [(String, Value)]) {
    if members.iter().all(|(key, _)| key.is_ascii()) {
        members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    } else {
        members.sort_unstable_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    }
}

/// The way to the member at which reading failed, put together on the way out of it.
#[derive(Default)]
struct Path(RefCell<Vec<String>>);

impl Path {
    fn within<T, E>(
        &self,
        step: impl FnOnce() -> String,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        read().inspect_err(|_| self.0.borrow_mut().push(step()))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.0.borrow();
        let path: Vec<&str> = steps.iter().rev().map(String::as_str).collect();
        f.write_str(&path.join("."))
    }
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    path: &'a Path,
    depth: usize,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_MAX}")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > INTEGER_MAX.unsigned_abs() {
            return Err(E::custom(format_args!(
                "number {value} is beyond 2^53-1: send it as a string"
            )));
        }
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => {
                Err(E::custom(format_args!("number {value} is beyond 2^53-1: send it as a string")))
            }
        }
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value, E> {
        Err(E::custom(
            "number is not a plain integer within 2^53-1 (fraction, exponent, -0 or too large): send it as a string",
        ))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) =
            self.path.within(|| items.len().to_string(), || access.next_element_seed(seed))?
        {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut members: Vec<(String, Value)> = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = self.path.within(|| key.clone(), || access.next_value_seed(seed))?;
            members.push((key, value));
        }
        sort(&mut members);
        if let Some(twice) = members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return self
                .path
                .within(|| twice[0].0.clone(), || Err(A::Error::custom("the key is given twice")));
        }
        Ok(Value::Object(members))
    }
}

impl Canonical for Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(value) => value.write(out),
            Self::Integer(value) => value.write(out),
            Self::String(value) => value.as_str().write(out),
            Self::Array(items) => items.write(out),
            Self::Object(members) => {
                out.push(b'{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    key.as_str().write(out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

impl Value {
    /// An object of `members`, put in canonical order.
    #[must_use]
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let mut members: Vec<_> =
            members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        sort(&mut members);
        Self::Object(members)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<Vec<Self>> for Value {
    fn from(items: Vec<Self>) -> Self {
        Self::Array(items)
    }
}

impl From<u64> for Value {
    /// A number, or a decimal string where a JSON number would not be exact.
    fn from(number: u64) -> Self {
        match i64::try_from(number) {
            Ok(integer) if integer <= INTEGER_MAX => Self::Integer(integer),
            _ => Self::String(number.to_string()),
        }
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
