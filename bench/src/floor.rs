//! What the machine can do without Graven: the floor that a ledger stands on.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::thread;

use crossbeam_channel::bounded;
use graven_bench::samples::{RECORD_BYTES, record};
use graven_ledger::Frontier;
use graven_record::{Hash, leaf_hash, sha256};
use graven_stages::clock;

use crate::limit::Limit;
use crate::stats::{Figure, Quantiles, float, per_second};

pub(crate) const GROUP: &str = "records made durable";

const GROUP_BYTES: usize = 1 << 20;
const PAGE: [u8; 4_096] = [b'x'; 4_096];

/// Passes over the group whose hashes are timed.
const HASH_PASSES: u64 = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appends {
    /// Write and sync, no more.
    Plain,
    /// Hash each record too, on the same thread.
    Hashed,
    /// On a thread of its own put into each record the hash of the one before, hash it, and grow a Merkle
    /// tree: what this ledger's promise costs at the least.
    Chained,
}

/// Records a second, durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate(f64);

impl Rate {
    pub(crate) fn figure(self, name: &str) -> Figure {
        Figure::new(GROUP, name.to_owned(), "records/s", self.0)
    }

    /// Bytes a second, newlines included.
    pub(crate) fn bytes(self) -> f64 {
        self.0 * float(RECORD_BYTES as u64 + 1)
    }
}

/// Lines of one group.
fn group() -> Vec<u8> {
    let mut lines = Vec::with_capacity(GROUP_BYTES);
    for n in 0..GROUP_BYTES / (RECORD_BYTES + 1) {
        lines.extend_from_slice(&record(n));
        lines.push(b'\n');
    }
    lines
}

fn hash_all(group: &[u8]) {
    for line in group.chunks_exact(RECORD_BYTES + 1) {
        black_box(leaf_hash(&line[..RECORD_BYTES]));
    }
}

/// Appends groups of records to a growing file and syncs each: what any ledger at least has to do.
pub(crate) fn appends(dir: &Path, limit: Limit, how: Appends) -> anyhow::Result<Rate> {
    let mut file = File::create_new(dir.join("appends"))?;
    let mut group = group();
    let records_in_group = (group.len() / (RECORD_BYTES + 1)) as u64;
    let (mut records, since_ns) = (0, clock::mono_ns());
    let mut write = |group: &[u8]| -> anyhow::Result<bool> {
        file.write_all(group)?;
        file.sync_data()?;
        records += records_in_group;
        Ok(limit.allows(records, since_ns))
    };
    match how {
        Appends::Plain => while write(&group)? {},
        Appends::Hashed => loop {
            hash_all(&group);
            if !write(&group)? {
                break;
            }
        },
        Appends::Chained => thread::scope(|scope| {
            let (to_write, chained) = bounded(1);
            let (free, to_chain) = bounded(2);
            free.send(group.clone())?;
            free.send(std::mem::take(&mut group))?;
            scope.spawn(move || {
                let (mut tree, mut head) = (Frontier::default(), sha256(b""));
                for mut group in to_chain {
                    chain(&mut group, &mut tree, &mut head);
                    if to_write.send(group).is_err() {
                        break;
                    }
                }
                black_box(tree.root());
            });
            for group in chained {
                if !write(&group)? {
                    break;
                }
                // It is wanted again unless the other thread has gone, which ends this loop too.
                drop(free.send(group));
            }
            anyhow::Ok(())
        })?,
    }
    Ok(Rate(per_second(records, clock::mono_ns() - since_ns)))
}

/// Chains the records of a group, each by as many bytes as the ledger puts into it.
fn chain(group: &mut [u8], tree: &mut Frontier, head: &mut Hash) {
    for line in group.chunks_exact_mut(RECORD_BYTES + 1) {
        line[..Hash::TEXT_BYTES].copy_from_slice(&head.to_text());
        *head = leaf_hash(&line[..RECORD_BYTES]);
        tree.push(*head);
    }
}

/// The disk's own latency: 4 KiB appended and synced, one after the other.
pub(crate) fn sync_latency(dir: &Path, limit: Limit) -> anyhow::Result<Quantiles> {
    let mut file = File::create_new(dir.join("syncs"))?;
    let (mut times_ns, since_ns) = (Vec::new(), clock::mono_ns());
    while limit.allows(times_ns.len() as u64, since_ns) {
        let begun_ns = clock::mono_ns();
        file.write_all(&PAGE)?;
        file.sync_data()?;
        times_ns.push(clock::mono_ns() - begun_ns);
    }
    Ok(Quantiles::of(times_ns))
}

/// SHA-256 of records on one core.
pub(crate) fn hashes() -> Figure {
    let group = group();
    hash_all(&group);
    let since_ns = clock::mono_ns();
    for _ in 0..HASH_PASSES {
        hash_all(&group);
    }
    let records = HASH_PASSES * (group.len() / (RECORD_BYTES + 1)) as u64;
    let rate = per_second(records, clock::mono_ns() - since_ns);
    Figure::new("verified", "SHA-256 alone, one core".into(), "records/s", rate)
}
