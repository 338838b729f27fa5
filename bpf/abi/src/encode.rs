//! Records as the kernel program writes them, made in user space: for tests and replays.

use zerocopy::IntoBytes;

use crate::layout::{
    CallBody, CgroupBody, ExecBody, ExitBody, ForkBody, Header, ItemHeader, MovedBody, TaskBody,
    kind,
};

/// An item to be encoded: its header, whose `len` is filled in, and its bytes.
pub type ItemSpec<'a> = (ItemHeader, &'a [u8]);

/// A call's record. Kind, sizes and lengths are filled in.
///
/// Items whose bytes exceed `u16::MAX` in all do not fit the format and make a record that
/// [`crate::parse`] refuses.
#[must_use]
pub fn call(header: Header, body: CallBody, items: &[ItemSpec<'_>]) -> Vec<u8> {
    let items = encode_items(items);
    let items_bytes = u16::try_from(items.len()).unwrap_or(u16::MAX);
    record(header, kind::CALL, CallBody { items_bytes, ..body }.as_bytes(), &items)
}

/// A fork's record.
#[must_use]
pub fn fork(header: Header, body: ForkBody) -> Vec<u8> {
    record(header, kind::FORK, body.as_bytes(), &[])
}

/// An exec's record.
#[must_use]
pub fn exec(header: Header, body: ExecBody, items: &[ItemSpec<'_>]) -> Vec<u8> {
    let (items, items_bytes) = counted(items);
    record(header, kind::EXEC, ExecBody { items_bytes, ..body }.as_bytes(), &items)
}

/// The record of a task that came under watch.
#[must_use]
pub fn task(header: Header, body: TaskBody, items: &[ItemSpec<'_>]) -> Vec<u8> {
    let (items, items_bytes) = counted(items);
    record(header, kind::TASK, TaskBody { items_bytes, ..body }.as_bytes(), &items)
}

/// The record of a task that was moved.
#[must_use]
pub fn moved(header: Header, body: MovedBody) -> Vec<u8> {
    record(header, kind::MOVED, body.as_bytes(), &[])
}

/// A cgroup's record.
#[must_use]
pub fn cgroup(header: Header, body: CgroupBody, items: &[ItemSpec<'_>]) -> Vec<u8> {
    let (items, items_bytes) = counted(items);
    record(header, kind::CGROUP, CgroupBody { items_bytes, ..body }.as_bytes(), &items)
}

/// An exit's record.
#[must_use]
pub fn exit(header: Header, body: ExitBody) -> Vec<u8> {
    record(header, kind::EXIT, body.as_bytes(), &[])
}

fn record(header: Header, kind: u16, body: &[u8], items: &[u8]) -> Vec<u8> {
    let bytes = size_of::<Header>() + body.len() + items.len();
    let header = Header { kind, size: u32::try_from(bytes).unwrap_or(u32::MAX), ..header };
    [header.as_bytes(), body, items].concat()
}

fn counted(items: &[ItemSpec<'_>]) -> (Vec<u8>, u32) {
    let items = encode_items(items);
    let bytes = u32::try_from(items.len()).unwrap_or(u32::MAX);
    (items, bytes)
}

fn encode_items(items: &[ItemSpec<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (header, payload) in items {
        let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(ItemHeader { len, ..*header }.as_bytes());
        bytes.extend_from_slice(payload);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}
