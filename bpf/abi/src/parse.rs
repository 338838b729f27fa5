//! From bytes to a record, without a panic and without a copy of what the record carries.

use zerocopy::FromBytes;

use crate::layout::{
    CallBody, ExecBody, ExitBody, ForkBody, Header, ItemHeader, flag, item_kind, kind,
};

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

/// A record from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelRecord<'a> {
    /// A system call, with its result where it has one.
    Call(Call<'a>),
    /// A new process or thread.
    Fork(Fork),
    /// A new program in a process.
    Exec(Exec<'a>),
    /// The end of a thread.
    Exit(Exit),
}

impl KernelRecord<'_> {
    /// The part that all kinds share.
    #[must_use]
    pub const fn header(&self) -> &Header {
        match self {
            Self::Call(call) => &call.header,
            Self::Fork(fork) => &fork.header,
            Self::Exec(exec) => &exec.header,
            Self::Exit(exit) => &exit.header,
        }
    }
}

/// A system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// Who, when and where.
    pub header: Header,
    /// Number, arguments, result.
    pub body: CallBody,
    /// Which table the number belongs to.
    pub arch: Arch,
    /// What the arguments point to.
    pub items: Items<'a>,
}

impl Call<'_> {
    /// The kernel's result, or `None` for a call that did not return.
    #[must_use]
    pub const fn result(&self) -> Option<i64> {
        if self.header.flags & flag::NO_RETURN == 0 { Some(self.body.ret) } else { None }
    }

    /// Nanoseconds from entry to exit, or `None` where either was not seen.
    #[must_use]
    pub const fn duration_ns(&self) -> Option<u64> {
        if self.header.flags & (flag::NO_RETURN | flag::EXIT_ONLY) == 0 {
            Some(self.body.exit_ns.saturating_sub(self.header.entry_ns))
        } else {
            None
        }
    }
}

/// A new process or thread; the header is the parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The parent.
    pub header: Header,
    /// The child.
    pub body: ForkBody,
}

impl Fork {
    /// Whether the child is a thread of the same process.
    #[must_use]
    pub const fn is_thread(&self) -> bool {
        self.body.child_pid == self.header.pid
    }
}

/// A new program in a process; the header is the process as it is after the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exec<'a> {
    /// The process.
    pub header: Header,
    /// What it was.
    pub body: ExecBody,
    /// The executable.
    pub items: Items<'a>,
}

impl Exec<'_> {
    /// Absolute path of the executable in its mount namespace; empty where it is not known.
    #[must_use]
    pub fn executable(&self) -> Vec<u8> {
        self.items
            .find(0, item_kind::EXE)
            .map(|item| crate::path::directory(&item))
            .unwrap_or_default()
    }
}

/// The end of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The thread.
    pub header: Header,
    /// Its status.
    pub body: ExitBody,
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

    fn check(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            let (item, after) = split_item(rest).ok_or(ParseError::ItemRange { offset })?;
            if !(item_kind::STRING..=item_kind::EXE).contains(&item.header.kind) {
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
            let items = items(rest, usize::try_from(body.items_bytes).unwrap_or(usize::MAX))?;
            Ok(KernelRecord::Exec(Exec { header, body, items }))
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

fn items(bytes: &[u8], stated: usize) -> Result<Items<'_>, ParseError> {
    if bytes.len() == stated {
        Items::check(bytes)
    } else {
        Err(ParseError::ItemsSize { stated, actual: bytes.len() })
    }
}
