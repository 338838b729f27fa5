//! The strict reader of canonical bytes: one pass that accepts RFC 8785 text, and nothing else.
//!
//! A verifier hashes the stored bytes; this pass shows that the same bytes are the only spelling of
//! what they say. Source: RFC 8785, sections 3.2.2 and 3.2.3, restricted to integers.

use std::borrow::Cow;

use crate::{DEPTH_MAX, INTEGER_MAX};

/// Where and why bytes are not canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not canonical at byte {at_byte}: {why}")]
pub struct NotCanonical {
    /// Offset from the first byte given.
    pub at_byte: usize,
    /// What was found, in words.
    pub why: &'static str,
}

/// Reads one canonical object and hands each of its own members to `member`, as the key's raw text
/// and the value's bytes, in order.
///
/// # Errors
///
/// [`NotCanonical`] at the first byte that RFC 8785 would have written otherwise, or at which the
/// bytes are no JSON object at all. Members before it were handed over.
pub fn object<'a>(
    bytes: &'a [u8],
    member: impl FnMut(&'a [u8], &'a [u8]),
) -> Result<(), NotCanonical> {
    object_like(bytes, |_| None, member)
}

/// As [`object`], where some values are likely to be known: `known` gives, for a key, a value that was
/// accepted before. Where the same bytes stand again they are not read a second time.
///
/// # Errors
///
/// Those of [`object`].
pub fn object_like<'a, 'k>(
    bytes: &'a [u8],
    known: impl FnMut(&'a [u8]) -> Option<&'k [u8]>,
    member: impl FnMut(&'a [u8], &'a [u8]),
) -> Result<(), NotCanonical> {
    std::str::from_utf8(bytes)
        .map_err(|error| NotCanonical { at_byte: error.valid_up_to(), why: "invalid UTF-8" })?;
    Scanner::<true>::whole(bytes, known, member)
}

/// Hands over the members of an object that stands inside bytes which [`object`] has accepted: what was
/// checked there is not checked again. Of other bytes it hands over some members, or none.
pub fn members<'a>(object: &'a [u8], member: impl FnMut(&'a [u8], &'a [u8])) {
    // Without order and UTF-8 to check there is nothing to find fault with.
    Scanner::<false>::whole(object, |_| None, member).unwrap_or_default();
}

/// The text of a canonical JSON string, or `None` where `value` is something else.
#[must_use]
pub fn string(value: &[u8]) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        return serde_json::from_slice(value).ok().map(Cow::Owned);
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

/// Whether `value` is the canonical JSON string of `text`, which needs no escape.
#[must_use]
pub fn is_string(value: &[u8], text: &str) -> bool {
    value.len() == text.len() + 2
        && value.first() == Some(&b'"')
        && value.last() == Some(&b'"')
        && &value[1..value.len() - 1] == text.as_bytes()
}

/// The value of a canonical non-negative integer, or `None` where `value` is something else.
#[must_use]
pub fn unsigned(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Start and end of a stretch of bytes.
type Span = (usize, usize);

/// One byte in each place of a word.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// How many of the eight bytes at the low end of `word` stand for themselves in a string: up to the first
/// quote, backslash or control character.
///
/// Source: "Determine if a word has a zero byte" in Sean Eron Anderson's Bit Twiddling Hacks; what it may
/// flag wrongly lies above the first that it flags rightly.
const fn ordinary_of_word(word: u64) -> usize {
    const HIGH: u64 = each(0x80);
    let (quote, backslash) = (word ^ each(b'"'), word ^ each(b'\\'));
    let special = quote.wrapping_sub(each(1)) & !quote
        | backslash.wrapping_sub(each(1)) & !backslash
        | word.wrapping_sub(each(0x20)) & !word;
    ((special & HIGH).trailing_zeros() / u8::BITS) as usize
}

/// How many bytes from the first on stand for themselves in a string.
pub(crate) fn ordinary(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let ordinary = ordinary_of_word(u64::from_le_bytes(*word));
        if ordinary < size_of_val(word) {
            return at * size_of_val(word) + ordinary;
        }
    }
    let special = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    bytes.len() - rest.len() + special.unwrap_or(rest.len())
}

/// `CHECKED` where order and depth are still to be shown.
struct Scanner<'a, const CHECKED: bool> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a, const CHECKED: bool> Scanner<'a, CHECKED> {
    /// Reads all of `bytes` as one object.
    fn whole<'k>(
        bytes: &'a [u8],
        mut known: impl FnMut(&'a [u8]) -> Option<&'k [u8]>,
        mut member: impl FnMut(&'a [u8], &'a [u8]),
    ) -> Result<(), NotCanonical> {
        let mut scanner = Self { bytes, at: 0, depth: 0 };
        if scanner.peek() != Some(b'{') {
            return Err(scanner.fault("expected an object"));
        }
        scanner.object(
            &mut |key: Span| known(&bytes[key.0..key.1]),
            &mut |key: Span, value: Span| {
                member(&bytes[key.0..key.1], &bytes[value.0..value.1]);
            },
        )?;
        if scanner.at == bytes.len() {
            Ok(())
        } else {
            Err(scanner.fault("bytes after the object"))
        }
    }

    fn fault(&self, why: &'static str) -> NotCanonical {
        NotCanonical { at_byte: self.at, why }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8, why: &'static str) -> Result<(), NotCanonical> {
        if self.peek() != Some(byte) {
            return Err(self.fault(why));
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self) -> Result<(), NotCanonical> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.integer(),
            Some(b'{') => self.object(&mut |_| None, &mut |_, _| {}),
            Some(b'[') => self.array(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => Err(self.fault("expected a value without white space")),
        }
    }

    fn enter(&mut self) -> Result<(), NotCanonical> {
        if self.depth == DEPTH_MAX {
            return Err(self.fault("nested deeper than 32"));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn object<'k>(
        &mut self,
        known: &mut impl FnMut(Span) -> Option<&'k [u8]>,
        member: &mut impl FnMut(Span, Span),
    ) -> Result<(), NotCanonical> {
        self.enter()?;
        let mut previous: Option<Span> = None;
        while self.peek() != Some(b'}') {
            if previous.is_some() {
                self.expect(b',', "expected `,` or `}` without white space")?;
            }
            let key_at = self.at;
            let key = self.string()?;
            if CHECKED
                && let Some(previous) = previous
                && !self.ascends(previous, key)
            {
                return Err(NotCanonical { at_byte: key_at, why: "key repeated or out of order" });
            }
            self.expect(b':', "expected `:` without white space")?;
            let value_at = self.at;
            if !known(key).is_some_and(|known| self.passes(known)) {
                self.value()?;
            }
            member(key, (value_at, self.at));
            previous = Some(key);
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// Steps over `known`, a whole value, if it stands here as a whole value.
    fn passes(&mut self, known: &[u8]) -> bool {
        let end = self.at + known.len();
        let is_here = self.bytes[self.at..].starts_with(known)
            && matches!(self.bytes.get(end), Some(b',' | b'}'));
        if is_here {
            self.at = end;
        }
        is_here
    }

    fn array(&mut self) -> Result<(), NotCanonical> {
        self.enter()?;
        let mut first = true;
        while self.peek() != Some(b']') {
            if !first {
                self.expect(b',', "expected `,` or `]` without white space")?;
            }
            first = false;
            self.value()?;
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// Reads a string and returns the span between its quotes.
    fn string(&mut self) -> Result<Span, NotCanonical> {
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        loop {
            self.at += ordinary(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok((start, self.at - 1));
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.fault("control character not escaped")),
                None => return Err(self.fault("string not closed")),
            }
        }
    }

    /// The escapes of RFC 8785, section 3.2.2.2: the short ones, and `\u00xx` in lower case for
    /// the other control characters.
    fn escape(&mut self) -> Result<(), NotCanonical> {
        const WHY: &str = "escape that RFC 8785 does not write";
        let rest = &self.bytes[self.at..];
        let length = match rest.get(1) {
            Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => match rest.get(2..6) {
                // \b, \t, \n, \f and \r have short forms.
                Some(
                    [b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f']
                    | [b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f'],
                ) => 6,
                _ => return Err(self.fault(WHY)),
            },
            _ => return Err(self.fault(WHY)),
        };
        self.at += length;
        Ok(())
    }

    fn integer(&mut self) -> Result<(), NotCanonical> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let digits_at = self.at;
        let mut magnitude: i64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            magnitude = magnitude.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = &self.bytes[digits_at..self.at];
        let plain = match digits {
            [] => false,
            [b'0'] => digits_at == start,
            [first, ..] => *first != b'0',
        };
        if !plain || magnitude > INTEGER_MAX {
            return Err(NotCanonical { at_byte: start, why: "not a plain integer within 2^53-1" });
        }
        if let Some(b'.' | b'e' | b'E') = self.peek() {
            return Err(self.fault("number with a fraction or an exponent"));
        }
        Ok(())
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), NotCanonical> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.fault("expected a value without white space"));
        }
        self.at += word.len();
        Ok(())
    }

    /// True when key `b` sorts after key `a` by UTF-16 code units (RFC 8785, section 3.2.3).
    fn ascends(&self, a: Span, b: Span) -> bool {
        let (raw_a, raw_b) = (&self.bytes[a.0..a.1], &self.bytes[b.0..b.1]);
        let same = raw_a.iter().zip(raw_b).take_while(|(a, b)| a == b && **a != b'\\').count();
        let plain = |byte: &u8| byte.is_ascii() && *byte != b'\\';
        match (raw_a.get(same), raw_b.get(same)) {
            // Where keys first differ in ASCII that stands for itself, their bytes sort as they do.
            (Some(a), Some(b)) if plain(a) && plain(b) => a < b,
            (None, b) => b.is_some(),
            (Some(_), None) => false,
            _ => self.ascends_decoded(a, b),
        }
    }

    #[cold]
    fn ascends_decoded(&self, a: Span, b: Span) -> bool {
        let quoted = |span: Span| string(&self.bytes[span.0 - 1..=span.1]);
        match (quoted(a), quoted(b)) {
            (Some(a), Some(b)) => a.encode_utf16().lt(b.encode_utf16()),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Two keys are in order where their UTF-16 code units are, however they are spelled.
        #[test]
        fn keys_ascend_by_utf16(a in key(), b in key()) {
            let text = format!("{{{}:1,{}:2}}", quoted(&a), quoted(&b));
            let ascends = a.encode_utf16().lt(b.encode_utf16());
            prop_assert_eq!(check(&text).is_ok(), ascends, "{}", text);
        }

        /// A string ends at its first bare quote, wherever in a word that stands.
        #[test]
        fn strings_are_read_to_their_end(value in "\\PC{0,40}|[\"\\\\\u{0}-\u{20}a]{0,20}") {
            let text = quoted(&value);
            let object_text = format!("{{\"k\":{text}}}");
            let mut seen = Vec::new();
            object(object_text.as_bytes(), |_, value| seen.push(value)).unwrap();
            prop_assert_eq!(&seen, &[text.as_bytes()]);
            prop_assert_eq!(string(seen[0]).map(Cow::into_owned), Some(value.clone()));
            let is_plain = text.len() == value.len() + 2;
            prop_assert_eq!(is_string(seen[0], &value), is_plain);
        }

        /// Inside canonical bytes both readers see the same.
        #[test]
        fn members_are_those_of_the_object(keys in proptest::collection::btree_set("[a-e]{1,3}", 0..6)) {
            let inner: Vec<_> = keys.iter().map(|key| format!("{}:[{{}},\"{key}\"]", quoted(key))).collect();
            let text = format!("{{{}}}", inner.join(","));
            let (mut checked, mut again) = (Vec::new(), Vec::new());
            object(text.as_bytes(), |key, value| checked.push((key, value))).unwrap();
            members(text.as_bytes(), |key, value| again.push((key, value)));
            prop_assert_eq!(checked.len(), keys.len());
            prop_assert_eq!(checked, again);
        }

        /// Whatever is known, the same bytes are accepted, and the same members seen.
        #[test]
        fn what_is_known_changes_nothing(
            known in "(0|-?[1-9][0-9]{0,2}|\"[a-c]{0,3}\"|\\[[12]\\]|\\{\\}|null)",
            value in "(0|-?[1-9][0-9]{0,2}|\"[a-c]{0,3}\"|\\[[12]\\]|\\{\\}|null|[0-9]{0,3}|,)",
            end in "(\\}|,\"l\":[0-9]{0,2}\\}|)",
        ) {
            let text = format!("{{\"k\":{value}{end}");
            let (mut plain, mut like) = (Vec::new(), Vec::new());
            let expected = object(text.as_bytes(), |key, value| plain.push((key, value)));
            let actual = object_like(
                text.as_bytes(),
                |_| Some(known.as_bytes()),
                |key, value| like.push((key, value)),
            );
            prop_assert_eq!(actual, expected);
            prop_assert_eq!(like, plain);
        }

        /// The reader that checks nothing takes anything.
        #[test]
        fn members_of_anything_do_no_harm(bytes: Vec<u8>) {
            members(&bytes, |key, value| assert!(key.len() + value.len() < bytes.len()));
        }
    }

    /// Keys that share beginnings and need every kind of spelling.
    fn key() -> impl Strategy<Value = String> {
        "[ab\"\\\\\n\u{1}\u{7f}\u{e9}\u{fb33}\u{1f600}]{0,4}"
    }

    fn quoted(text: &str) -> String {
        serde_json_canonicalizer::to_string(&text).unwrap()
    }

    fn check(text: &str) -> Result<(), NotCanonical> {
        object(text.as_bytes(), |_, _| {})
    }

    #[test]
    fn canonical_text_passes() {
        for text in [
            "{}",
            r#"{"a":0,"b":[true,false,null,-1,9007199254740991],"c":{"":""}}"#,
            r#"{"a":"\b\t\n\f\r\"\\\u0000\u000b\u001f"}"#,
            // UTF-16 order: U+1F600 is d83d…, before U+FB33.
            "{\"\u{1f600}\":1,\"\u{fb33}\":2}",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for (text, at_byte) in [
            ("[]", 0),
            ("{} ", 2),
            (r#"{ "a":1}"#, 1),
            (r#"{"a": 1}"#, 5),
            (r#"{"a":1,"a":2}"#, 7),
            (r#"{"b":1,"a":2}"#, 7),
            ("{\"\u{fb33}\":1,\"\u{1f600}\":2}", 9),
            (r#"{"a":1.0}"#, 6),
            (r#"{"a":1e3}"#, 6),
            (r#"{"a":-0}"#, 5),
            (r#"{"a":01}"#, 5),
            (r#"{"a":-}"#, 5),
            (r#"{"a":9007199254740992}"#, 5),
            (r#"{"a":99999999999999999999999999}"#, 5),
            (r#"{"a":"\u0041"}"#, 6),
            (r#"{"a":"\u000A"}"#, 6),
            (r#"{"a":"\u000a"}"#, 6),
            (r#"{"a":"\/"}"#, 6),
            (r#"{"a":"\ud800"}"#, 6),
            ("{\"a\":\"\t\"}", 6),
            (r#"{"a":"x"#, 7),
            (r#"{"a":tru}"#, 5),
            (r#"{"a":1"#, 6),
            (r#"{"a":1,}"#, 7),
            (r#"{"a":[1,]}"#, 8),
            ("", 0),
        ] {
            assert_eq!(check(text).map_err(|e| e.at_byte), Err(at_byte), "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}", |_, _| {}).map_err(|e| e.at_byte), Err(6));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| {
            format!("{}{}{}", "{\"a\":".repeat(depth - 1), "{}", "}".repeat(depth - 1))
        };
        assert_eq!(check(&nested(32)), Ok(()));
        assert!(check(&nested(33)).is_err());
    }

    #[test]
    fn members_are_handed_over_in_order() {
        let mut seen = Vec::new();
        object(br#"{"a":[1],"b":"x"}"#, |key, value| seen.push((key, value))).unwrap();
        assert_eq!(seen, [(&b"a"[..], &b"[1]"[..]), (b"b", b"\"x\"")]);
        assert_eq!(string(seen[1].1).as_deref(), Some("x"));
    }
}
