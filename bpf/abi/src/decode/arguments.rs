//! The arguments of a call that the table names.

use std::borrow::Cow;

use super::numbers::{
    enumerated, identity, low_half, number, socket_options, text, u32_at, u64_at,
};
use syscalls::x86_64::Sysno;

use super::{ArgValue, DecodedCall, Subject, Weakened};
use crate::flags::OPEN;
use crate::flags::processes::CAPABILITY;
use crate::layout::{item_flag, item_kind};
use crate::parse::Item;
use crate::record::Call;
use crate::structures::Structure;
use crate::table::{Kind, Syscall};
use crate::{address, path};

const AT_FDCWD: i32 = -100;
/// `_LINUX_CAPABILITY_VERSION_1`.
const CAPABILITY_VERSION_1: u32 = 0x1998_0330;
/// Bit of `O_TMPFILE` that is not `O_DIRECTORY`.
const TMPFILE_BIT: u64 = 0o20_000_000;

/// Fills in arguments, subject, host and what weakens them.
pub(super) fn describe<'a>(call: &Call<'a>, line: &Syscall, decoded: &mut DecodedCall<'a>) {
    let mut scribe = Scribe { call, line, decoded };
    for (index, (name, kind)) in (0u8..).zip(line.params) {
        if let Some(value) = scribe.value(index, *kind) {
            scribe.decoded.args.push((name, value));
        }
    }
    scribe.root();
    if line.about_caller {
        let id = Cow::Owned(call.header.pid.to_string().into_bytes());
        decoded.subject = Some(Subject { kind: "process", id });
    }
}

struct Scribe<'call, 'a> {
    call: &'call Call<'a>,
    line: &'call Syscall,
    decoded: &'call mut DecodedCall<'a>,
}

impl<'a> Scribe<'_, 'a> {
    fn raw(&self, index: u8) -> u64 {
        self.call.body.args.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// The kernel takes descriptors and identifiers from the lower half of the register.
    fn int(&self, index: u8) -> i32 {
        low_half(self.raw(index)).cast_signed()
    }

    fn value(&mut self, index: u8, kind: Kind) -> Option<ArgValue<'a>> {
        let raw = self.raw(index);
        Some(match kind {
            // NULL where it is allowed; a string there is one all the same.
            Kind::PathOrNull | Kind::StrOrNull | Kind::StructOrNull(_) if self.is_null(index) => {
                ArgValue::Hex(0)
            }
            Kind::PathAtOrNull(_) if self.is_null(index) => {
                if self.takes_null_path() {
                    self.file_behind(index)
                } else {
                    ArgValue::Hex(0)
                }
            }
            Kind::Path | Kind::PathOrNull | Kind::PathAt(_) | Kind::PathAtOrNull(_) => {
                self.path(index)
            }
            Kind::Str | Kind::StrOrNull => {
                self.string(index).map_or(ArgValue::Hex(raw), |item| text(item.bytes))
            }
            Kind::Bytes { .. } => self.counted_text(index),
            Kind::Argv => self.argv(index),
            Kind::Dirfd if self.int(index) == AT_FDCWD => text(b"AT_FDCWD"),
            Kind::FdPath => {
                self.descriptor_path(index);
                number(kind, raw)
            }
            Kind::SocketOption { level } => enumerated(socket_options(self.int(level)), raw),
            Kind::CreateMode(flags) if !creates(self.raw(flags)) => return None,
            Kind::Mode | Kind::CreateMode(_) => ArgValue::Octal(low_half(raw)),
            Kind::Struct(structure) | Kind::StructOrNull(structure) => {
                self.structure(index, structure)
            }
            Kind::Capabilities { header } => self.capabilities(index, header),
            Kind::Gids { .. } => self.groups(index),
            Kind::Pid => {
                self.about_process(self.int(index).to_string());
                number(kind, raw)
            }
            Kind::PidOrSelf => {
                match self.int(index) {
                    0 => self.about_process(self.call.header.pid.to_string()),
                    pid @ 1.. => self.about_process(pid.to_string()),
                    _ => {}
                }
                number(kind, raw)
            }
            Kind::PeerMessages { count } => {
                let value = self.address(index, Side::Peer, false);
                if self.int(count) > 1 && matches!(value, ArgValue::Text(_)) {
                    self.decoded.weakened.insert(Weakened::TRUNCATED);
                }
                value
            }
            Kind::LocalAddr { .. } => self.address(index, Side::Local, false),
            Kind::LocalAddrOut { .. } => self.address(index, Side::Local, true),
            Kind::PeerAddr { .. } | Kind::PeerMessage => self.address(index, Side::Peer, false),
            Kind::PeerAddrOut { .. } | Kind::PeerMessageOut => {
                self.address(index, Side::Peer, true)
            }
            _ => number(kind, raw),
        })
    }

    /// Whether the argument is NULL, and nothing was read there.
    fn is_null(&self, index: u8) -> bool {
        let read = |item: &Item<'_>| {
            item.header.arg == index
                && item.header.err == 0
                && matches!(item.header.kind, item_kind::STRING | item_kind::BYTES)
        };
        self.raw(index) == 0 && !self.call.items.iter().any(|item| read(&item))
    }

    fn about_process(&mut self, pid: String) {
        self.about("process", Cow::Owned(pid.into_bytes()));
    }

    /// Names the subject, unless an earlier argument has.
    fn about(&mut self, kind: &'static str, id: Cow<'a, [u8]>) {
        if self.decoded.subject.is_none() {
            self.decoded.subject = Some(Subject { kind, id });
        }
    }

    /// An item that was read; its flags are put down, and so is its absence.
    fn item(&mut self, index: u8, kind: u8) -> Option<Item<'a>> {
        let item = self.call.items.find(index, kind).filter(|item| item.header.err == 0);
        let Some(item) = item else {
            self.decoded.weakened.insert(Weakened::UNREAD);
            return None;
        };
        self.note(&item);
        Some(item)
    }

    fn note(&mut self, item: &Item<'a>) {
        if item.has(item_flag::TRUNCATED) {
            self.decoded.weakened.insert(Weakened::TRUNCATED);
        }
        if item.has(item_flag::AT_EXIT) {
            self.decoded.weakened.insert(Weakened::READ_AT_EXIT);
        }
    }

    fn string(&mut self, index: u8) -> Option<Item<'a>> {
        self.item(index, item_kind::STRING)
    }

    /// The directory that argument `index` starts from, or the file that it is open on.
    ///
    /// `None` for a descriptor that is not open: then the call fails, and nothing is missing.
    fn directory(&mut self, index: u8) -> Option<Vec<u8>> {
        let item = self.call.items.find(index, item_kind::DIR)?;
        if item.header.err != 0 {
            return None;
        }
        self.note(&item);
        Some(path::directory(&item))
    }

    fn path(&mut self, index: u8) -> ArgValue<'a> {
        let Some(item) = self.string(index) else {
            return ArgValue::Hex(self.raw(index));
        };
        let bytes = self.as_given(index, item.bytes);
        let absolute = if bytes.starts_with(b"/") {
            Cow::Borrowed(bytes)
        } else if bytes.is_empty() && !self.takes_empty_path() {
            // The kernel refuses it: no file is meant.
            return text(b"");
        } else {
            match self.directory(index) {
                Some(directory) if bytes.is_empty() => Cow::Owned(directory),
                Some(directory) => path::join(&directory, bytes),
                None => return text(bytes),
            }
        };
        self.about("file", absolute.clone());
        ArgValue::Text(absolute)
    }

    /// The file behind the descriptor that a path of NULL leaves as the only name.
    fn file_behind(&mut self, index: u8) -> ArgValue<'a> {
        let Some(path) = self.directory(index).filter(|path| !path.is_empty()) else {
            return ArgValue::Hex(0);
        };
        let path: Cow<'a, [u8]> = Cow::Owned(path);
        self.about("file", path.clone());
        ArgValue::Text(path)
    }

    /// The path as the caller gave it.
    ///
    /// Where it could not be read before execveat(2) succeeded, it is the kernel's name for the program:
    /// `/dev/fd/<dirfd>`, then the path. The directory is on record then, which it never is beside a
    /// path that was read and is absolute.
    fn as_given(&self, index: u8, bytes: &'a [u8]) -> &'a [u8] {
        let Some((_, Kind::PathAt(dirfd))) = self.line.params.get(usize::from(index)) else {
            return bytes;
        };
        if !self.line.about_caller || self.call.items.find(index, item_kind::DIR).is_none() {
            return bytes;
        }
        let prefix = format!("/dev/fd/{}", self.int(*dirfd));
        match bytes.strip_prefix(prefix.as_bytes()) {
            Some([]) => b"",
            Some([b'/', rest @ ..]) => rest,
            _ => bytes,
        }
    }

    /// Whether NULL means the descriptor's file: stat calls want to be asked for it.
    fn takes_null_path(&self) -> bool {
        !matches!(self.line.sysno, Sysno::statx | Sysno::newfstatat) || self.takes_empty_path()
    }

    fn takes_empty_path(&self) -> bool {
        (0u8..).zip(self.line.params).any(|(index, (_, kind))| match kind {
            Kind::Flags(table) => table.has(self.raw(index), "AT_EMPTY_PATH"),
            _ => false,
        })
    }

    fn descriptor_path(&mut self, index: u8) {
        let Some(path) = self.directory(index).filter(|path| !path.is_empty()) else {
            return;
        };
        let path: Cow<'a, [u8]> = Cow::Owned(path);
        self.about("file", path.clone());
        self.decoded.args.push(("path", ArgValue::Text(path)));
    }

    fn root(&mut self) {
        let root = self.call.items.iter().find(|item| item.header.kind == item_kind::ROOT);
        if let Some(item) = root {
            self.note(&item);
            let path = Cow::Owned(path::directory(&item));
            self.decoded.args.push(("root", ArgValue::Text(path)));
        }
    }

    fn argv(&mut self, index: u8) -> ArgValue<'a> {
        let Some(item) = self.item(index, item_kind::ARGV) else {
            return ArgValue::Hex(self.raw(index));
        };
        if item.bytes.is_empty() {
            return ArgValue::List(Vec::new());
        }
        let strings = item.bytes.strip_suffix(b"\0").unwrap_or(item.bytes);
        ArgValue::List(strings.split(|byte| *byte == 0).map(Cow::Borrowed).collect())
    }

    fn counted_text(&mut self, index: u8) -> ArgValue<'a> {
        match self.item(index, item_kind::BYTES) {
            Some(item) => text(item.bytes.strip_suffix(b"\0").unwrap_or(item.bytes)),
            None => ArgValue::Hex(self.raw(index)),
        }
    }

    /// The members of a structure, as far as it reaches.
    fn structure(&mut self, index: u8, structure: &Structure) -> ArgValue<'a> {
        let Some(item) = self.item(index, item_kind::BYTES) else {
            return ArgValue::Hex(self.raw(index));
        };
        let members = structure.members.iter().filter_map(|member| {
            let raw = match member.width {
                4 => u64::from(u32_at(item.bytes, member.offset)?),
                _ => u64_at(item.bytes, member.offset)?,
            };
            Some((member.name, number(member.kind, raw)))
        });
        ArgValue::Object(members.collect())
    }

    fn capabilities(&mut self, index: u8, header: u8) -> ArgValue<'a> {
        let Some(item) = self.item(index, item_kind::BYTES) else {
            return ArgValue::Hex(self.raw(index));
        };
        let version = self.call.items.find(header, item_kind::BYTES);
        let version = version.and_then(|item| u32_at(item.bytes, 0));
        // The first version has 32 capabilities, and nothing of it lies behind them.
        let two_words = version != Some(CAPABILITY_VERSION_1);
        let set = |offset: usize| {
            let low = u64::from(u32_at(item.bytes, offset)?);
            let high = u32_at(item.bytes, offset + 12).filter(|_| two_words).unwrap_or(0);
            Some(ArgValue::Flags(CAPABILITY.names(low | u64::from(high) << 32)))
        };
        let members = [("effective", 0), ("inheritable", 8), ("permitted", 4)];
        let members = members.into_iter().filter_map(|(name, offset)| Some((name, set(offset)?)));
        ArgValue::Object(members.collect())
    }

    fn groups(&mut self, index: u8) -> ArgValue<'a> {
        if self.raw(index) == 0 {
            return ArgValue::Ints(Vec::new());
        }
        let Some(item) = self.item(index, item_kind::BYTES) else {
            return ArgValue::Hex(self.raw(index));
        };
        let (groups, _) = item.bytes.as_chunks();
        ArgValue::Ints(groups.iter().map(|group| identity(u32::from_le_bytes(*group))).collect())
    }

    /// An address; the pointer itself where there is none, as in send(2) on a connected socket.
    fn address(&mut self, index: u8, side: Side, written_by_call: bool) -> ArgValue<'a> {
        let found = self.call.items.find(index, item_kind::BYTES);
        let Some(item) = found.filter(|item| item.header.err == 0) else {
            let failed = written_by_call && self.call.result().is_none_or(|ret| ret < 0);
            let message = self.line.params.get(usize::from(index));
            let nameless = found.is_none()
                && matches!(
                    message,
                    Some((_, Kind::PeerMessage | Kind::PeerMessageOut | Kind::PeerMessages { .. }))
                );
            if self.raw(index) != 0 && !failed && !nameless {
                self.decoded.weakened.insert(Weakened::UNREAD);
            }
            return ArgValue::Hex(self.raw(index));
        };
        self.note(&item);
        // recvfrom(2) on a connected socket: the kernel wrote a length of 0.
        if item.bytes.is_empty() {
            return text(b"");
        }
        let address = address::text(item.bytes);
        self.about("socket", address.text.clone());
        if matches!(side, Side::Peer) {
            self.decoded.target_host = address.host;
        }
        ArgValue::Text(address.text)
    }
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Local,
    Peer,
}

fn creates(flags: u64) -> bool {
    OPEN.has(flags, "O_CREAT") || flags & TMPFILE_BIT != 0
}
