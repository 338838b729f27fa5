//! From bytes to a record, without a panic and without a copy of what the record carries.

use zerocopy::FromBytes;

use crate::layout::{
    CallBody, CgroupBody, ExecBody, ExitBody, ForkBody, Header, ItemHeader, MovedBody, TaskBody,
    item_flag, item_kind, kind,
};
use crate::record::{Call, Cgroup, Exec, Exit, Fork, KernelRecord, Moved, Reason, Task};

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes end inside a fixed part.
    #[error("the record ends after {actual} bytes, inside a part that needs {needed}")]
    Short {
        /// Bytes that the part needs, from its beginning.
        needed: usize,
        /// Bytes there are, from its beginning.
        actual: usize,
    },
    /// The header names another size than there is.
    #[error("the record says it has {stated} bytes, but has {actual}")]
    Size {
        /// Size in the header.
        stated: u32,
        /// Bytes there are.
        actual: usize,
    },
    /// The items do not fill the record.
    #[error("the items are said to have {stated} bytes, but have {actual}")]
    ItemsSize {
        /// Size in the body.
        stated: usize,
        /// Bytes there are.
        actual: usize,
    },
    /// An item runs past the end.
    #[error("the item at byte {offset} of the items runs past their end")]
    ItemRange {
        /// Offset from the first item.
        offset: usize,
    },
    /// No such kind of record.
    #[error("unknown kind of record {0}")]
    Kind(u16),
    /// No such kind of item.
    #[error("unknown kind of item {0}")]
    ItemKind(u8),
    /// No such architecture.
    #[error("unknown architecture {0}")]
    Arch(u16),
    /// No such reason for a task to come under watch.
    #[error("unknown reason {0} for a task to come under watch")]
    Reason(u32),
}

/// Which table of numbers a call was made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit.
    X86_64,
    /// 32-bit (`int 0x80`, compatibility mode).
    I386,
    /// 64-bit with 32-bit pointers.
    X32,
}

impl Arch {
    /// The name on the record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::I386 => "i386",
            Self::X32 => "x32",
        }
    }

    /// The number in [`CallBody::arch`].
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::X86_64 => 1,
            Self::I386 => 2,
            Self::X32 => 3,
        }
    }

    const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::X86_64),
            2 => Some(Self::I386),
            3 => Some(Self::X32),
            _ => None,
        }
    }
}

/// Strings that lie one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strings<'a> {
    bytes: &'a [u8],
    /// Whether there were more, or the last is cut short.
    pub is_truncated: bool,
}

impl<'a> Strings<'a> {
    /// Each string without its NUL.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes.strip_suffix(b"\0").unwrap_or(self.bytes);
        bytes.split(|byte| *byte == 0).take(if self.bytes.is_empty() { 0 } else { usize::MAX })
    }
}

/// One thing that was read for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// Argument, kind, error and flags.
    pub header: ItemHeader,
    /// The bytes; none where `header.err` is not 0.
    pub bytes: &'a [u8],
}

impl Item<'_> {
    /// Whether bit `flag` of [`crate::layout::item_flag`] is set.
    #[must_use]
    pub const fn has(&self, flag: u16) -> bool {
        self.header.flags & flag != 0
    }
}

/// The items of a record; checked when the record was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Items<'a> {
    bytes: &'a [u8],
}

impl<'a> Items<'a> {
    /// First item of this argument and kind.
    #[must_use]
    pub fn find(&self, arg: u8, kind: u8) -> Option<Item<'a>> {
        self.iter().find(|item| item.header.arg == arg && item.header.kind == kind)
    }

    /// All items, in the order in which they were read.
    pub fn iter(&self) -> impl Iterator<Item = Item<'a>> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (item, after) = split_item(rest)?;
            rest = after;
            Some(item)
        })
    }

    pub(crate) fn executable(&self) -> Vec<u8> {
        self.find(0, item_kind::EXE).map(|item| crate::path::directory(&item)).unwrap_or_default()
    }

    pub(crate) fn strings(&self, kind: u8) -> Option<Strings<'a>> {
        let item = self.find(0, kind).filter(|item| item.header.err == 0)?;
        Some(Strings { bytes: item.bytes, is_truncated: item.has(item_flag::TRUNCATED) })
    }

    fn check(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            let (item, after) = split_item(rest).ok_or(ParseError::ItemRange { offset })?;
            if !(item_kind::STRING..=item_kind::ENV).contains(&item.header.kind) {
                return Err(ParseError::ItemKind(item.header.kind));
            }
            rest = after;
        }
        Ok(Self { bytes })
    }
}

fn split_item(bytes: &[u8]) -> Option<(Item<'_>, &[u8])> {
    let (header, rest) = ItemHeader::read_from_prefix(bytes).ok()?;
    let len = usize::from(header.len);
    let payload = rest.get(..len)?;
    let after = rest.get(len.next_multiple_of(8)..)?;
    Some((Item { header, bytes: payload }, after))
}

/// Reads one record.
///
/// # Errors
///
/// [`ParseError`] names what does not fit; such bytes count as lost in the decoder.
pub fn parse(bytes: &[u8]) -> Result<KernelRecord<'_>, ParseError> {
    let (header, rest) = take::<Header>(bytes)?;
    if usize::try_from(header.size) != Ok(bytes.len()) {
        return Err(ParseError::Size { stated: header.size, actual: bytes.len() });
    }
    match header.kind {
        kind::CALL => {
            let (body, rest) = take::<CallBody>(rest)?;
            let arch = Arch::from_number(body.arch).ok_or(ParseError::Arch(body.arch))?;
            let items = items(rest, usize::from(body.items_bytes))?;
            Ok(KernelRecord::Call(Call { header, body, arch, items }))
        }
        kind::EXEC => {
            let (body, rest) = take::<ExecBody>(rest)?;
            let items = items(rest, size(body.items_bytes))?;
            Ok(KernelRecord::Exec(Exec { header, body, items }))
        }
        kind::TASK => {
            let (body, rest) = take::<TaskBody>(rest)?;
            let reason = Reason::from_number(body.reason).ok_or(ParseError::Reason(body.reason))?;
            let items = items(rest, size(body.items_bytes))?;
            Ok(KernelRecord::Task(Task { header, body, reason, items }))
        }
        kind::MOVED => {
            let (body, rest) = take::<MovedBody>(rest)?;
            items(rest, 0)?;
            Ok(KernelRecord::Moved(Moved { header, body }))
        }
        kind::CGROUP => {
            let (body, rest) = take::<CgroupBody>(rest)?;
            let items = items(rest, size(body.items_bytes))?;
            Ok(KernelRecord::Cgroup(Cgroup { header, body, items }))
        }
        kind::FORK => {
            let (body, rest) = take::<ForkBody>(rest)?;
            items(rest, 0)?;
            Ok(KernelRecord::Fork(Fork { header, body }))
        }
        kind::EXIT => {
            let (body, rest) = take::<ExitBody>(rest)?;
            items(rest, 0)?;
            Ok(KernelRecord::Exit(Exit { header, body }))
        }
        other => Err(ParseError::Kind(other)),
    }
}

fn take<T: FromBytes>(bytes: &[u8]) -> Result<(T, &[u8]), ParseError> {
    T::read_from_prefix(bytes)
        .map_err(|_| ParseError::Short { needed: size_of::<T>(), actual: bytes.len() })
}

/// A size too large for this machine fits no record either.
fn size(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn items(bytes: &[u8], stated: usize) -> Result<Items<'_>, ParseError> {
    if bytes.len() == stated {
        Items::check(bytes)
    } else {
        Err(ParseError::ItemsSize { stated, actual: bytes.len() })
    }
}
