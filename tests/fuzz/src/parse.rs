//! Records from the kernel: any bytes are answered, and what parses is what `encode` writes.

use graven_abi::layout::ItemHeader;
use graven_abi::{Items, KernelRecord, decode, encode};

/// Parses, decodes and encodes.
pub fn parse(bytes: &[u8]) -> bool {
    let Ok(record) = graven_abi::parse(bytes) else {
        return false;
    };
    let (encoded, items) = match record {
        KernelRecord::Call(call) => {
            let decoded = decode(&call);
            assert!(decoded.args.is_sorted_by_key(|(name, _)| *name), "{decoded:?}");
            let items = specs(&call.items);
            (encode::call(call.header, call.body, &items), items)
        }
        KernelRecord::Exec(exec) => {
            let _path = exec.executable();
            let items = specs(&exec.items);
            (encode::exec(exec.header, exec.body, &items), items)
        }
        KernelRecord::Fork(fork) => (encode::fork(fork.header, fork.body), Vec::new()),
        KernelRecord::Task(task) => {
            let _read = (task.executable(), task.argv());
            let items = specs(&task.items);
            (encode::task(task.header, task.body, &items), items)
        }
        KernelRecord::Cgroup(cgroup) => {
            let items = specs(&cgroup.items);
            (encode::cgroup(cgroup.header, cgroup.body, &items), items)
        }
        KernelRecord::Moved(moved) => (encode::moved(moved.header, moved.body), Vec::new()),
        KernelRecord::Exit(exit) => (encode::exit(exit.header, exit.body), Vec::new()),
    };
    assert_eq!(encoded, with_clear_padding(bytes, &items));
    true
}

fn specs<'a>(items: &Items<'a>) -> Vec<encode::ItemSpec<'a>> {
    items.iter().map(|item| (item.header, item.bytes)).collect()
}

/// The kernel program leaves what was in the padding behind an item; nobody reads it.
fn with_clear_padding(bytes: &[u8], items: &[encode::ItemSpec<'_>]) -> Vec<u8> {
    let length = |payload: &[u8]| size_of::<ItemHeader>() + payload.len().next_multiple_of(8);
    let mut bytes = bytes.to_vec();
    let mut start = bytes.len() - items.iter().map(|(_, payload)| length(payload)).sum::<usize>();
    for (_, payload) in items {
        let end = start + length(payload);
        bytes[start + size_of::<ItemHeader>() + payload.len()..end].fill(0);
        start = end;
    }
    bytes
}
