//! Events through a running `graven run`: lines over its socket, as `graven append` sends them.

use std::collections::VecDeque;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, bail};
use crossbeam_channel::bounded;
use graven_bench::samples::{EVENTS_IN_BATCH, event_line};
use graven_daemon::Client;
use graven_daemon::control::{Answer, Request};
use graven_stages::clock;

use crate::ledgers::{MANY, Measured, Shape};
use crate::limit::Limit;
use crate::part;
use crate::process::Process;
use crate::service;
use crate::stats::Quantiles;

/// Chunks of lines whose receipts may be outstanding; the daemon stops reading long before.
const OUTSTANDING: usize = 1_024;
/// Distinct chunks, sent in turn.
const CHUNKS: usize = 32;

/// Sends to the service in `dir` from a process of its own.
pub(crate) fn in_a_process(dir: &Path, shape: Shape, limit: Limit) -> anyhow::Result<Measured> {
    part::run("submit", dir, [shape.to_string()].into_iter().chain(limit.to_args()))
}

/// Sends, and measures until the last receipt has come.
pub(crate) fn run(dir: &Path, shape: Shape, limit: Limit) -> anyhow::Result<Measured> {
    let (records, elapsed_ns, times_ns) = match shape {
        Shape::Full => streamed(dir, limit)?,
        Shape::One => line_by_line(dir, limit, 1)?,
        Shape::Many => line_by_line(dir, limit, MANY)?,
    };
    let Quantiles { p50_ns, p99_ns, .. } = Quantiles::of(times_ns);
    let resident_kib = Process::this().resident()?.peak_kib;
    Ok(Measured { records, elapsed_ns, p50_ns, p99_ns, resident_kib })
}

/// Line after line on one connection; returns records, nanoseconds, and those of each chunk.
fn streamed(dir: &Path, limit: Limit) -> anyhow::Result<(u64, u64, Vec<u64>)> {
    let chunks: Vec<_> = (0..CHUNKS).map(chunk).collect();
    let (mut client, mut sender) = connect(dir)?;
    let (sent, waiting) = bounded(OUTSTANDING);
    let since_ns = clock::mono_ns();
    let times_ns = thread::scope(|scope| {
        let writer = scope.spawn(move || -> anyhow::Result<()> {
            let mut records = 0;
            for chunk in chunks.iter().cycle() {
                if !limit.allows(records, since_ns) || sent.send(clock::mono_ns()).is_err() {
                    break;
                }
                sender.write_all(chunk.as_bytes())?;
                records += EVENTS_IN_BATCH as u64;
            }
            Ok(())
        });
        let mut times_ns = Vec::new();
        for begun_ns in waiting {
            for _ in 0..EVENTS_IN_BATCH {
                receipt(&mut client)?;
            }
            times_ns.push(clock::mono_ns() - begun_ns);
        }
        writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
        anyhow::Ok(times_ns)
    })?;
    let records = (times_ns.len() * EVENTS_IN_BATCH) as u64;
    Ok((records, clock::mono_ns() - since_ns, times_ns))
}

/// Chunk number `n` of lines: as many as a batch of the ledger takes.
fn chunk(n: usize) -> String {
    (n * EVENTS_IN_BATCH..).take(EVENTS_IN_BATCH).map(|n| event_line(n).0 + "\n").collect()
}

/// Line by line on one connection, so many without a receipt; returns the same, of each line.
fn line_by_line(
    dir: &Path,
    limit: Limit,
    outstanding: usize,
) -> anyhow::Result<(u64, u64, Vec<u64>)> {
    let line = event_line(0).0 + "\n";
    let (mut client, mut sender) = connect(dir)?;
    let (mut times_ns, mut waiting) = (Vec::new(), VecDeque::new());
    let (mut records, since_ns) = (0, clock::mono_ns());
    loop {
        while waiting.len() < outstanding && limit.allows(records, since_ns) {
            waiting.push_back(clock::mono_ns());
            sender.write_all(line.as_bytes())?;
            records += 1;
        }
        let Some(begun_ns) = waiting.pop_front() else { break };
        receipt(&mut client)?;
        times_ns.push(clock::mono_ns() - begun_ns);
    }
    Ok((records, clock::mono_ns() - since_ns, times_ns))
}

fn connect(dir: &Path) -> anyhow::Result<(Client, UnixStream)> {
    let ledger = service::ledger(dir, 0).canonicalize().context("the service has no ledger")?;
    let request = Request::Append { ledger, strict: false };
    let mut client = Client::ask(&service::socket(dir), &request)?;
    match client.answer()? {
        Answer::Ready { .. } => {}
        other => bail!("the daemon was asked to append, and says {other:?}"),
    }
    let sender = client.sender()?;
    Ok((client, sender))
}

fn receipt(client: &mut Client) -> anyhow::Result<()> {
    match client.answer()? {
        Answer::Receipt { .. } => Ok(()),
        other => bail!("an event was not taken: {other:?}"),
    }
}
