//! Prints one table: what Graven does on this machine, beside what the machine itself can do.
//!
//! Every measurement of the ledger runs in a process of its own, so that no memory of one is counted
//! for another. A round measures everything once, floor and ledger side by side; the table gives the
//! median over the rounds.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

mod added;
mod compile;
mod floor;
mod goals;
mod idle;
mod latency;
mod ledgers;
mod limit;
mod machine;
mod part;
mod peers;
mod process;
mod recorder;
mod rig;
mod service;
mod soak;
mod start;
mod stats;
mod submit;
mod sustained;
mod table;
mod throughput;
mod verification;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Parser};
use rustix::fs::syncfs;

use floor::{Appends, Rate};
use latency::Submitters;
use limit::Limit;
use machine::Machine;
use part::Part;
use stats::Figure;
use sustained::Way;
use table::Table;
use throughput::Kind;

/// Measure Graven on this machine, beside the machine's own limits.
#[derive(Debug, Parser)]
#[command(disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Args)]
struct Settings {
    /// Rounds; the table gives their medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    limit: Limit,
    /// Where to write: on the disk that is to be measured. Everything is removed at the end.
    #[arg(long, value_name = "DIR", default_value = "target")]
    dir: PathBuf,
    /// Only the subjects below whose name holds TEXT, such as "cargo build" or "idle".
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Only other ledgers, with Graven beside them: `bench/peers/run install` has to come first.
    #[arg(long, conflicts_with = "only")]
    peers: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.part {
        Some(part) => println!("{}", part.measure()?),
        None => measure(&cli.settings)?,
    }
    Ok(())
}

fn measure(settings: &Settings) -> anyhow::Result<()> {
    fs::create_dir_all(&settings.dir)
        .with_context(|| format!("failed to create {}", settings.dir.display()))?;
    let dir = tempfile::Builder::new()
        .prefix("graven-bench-")
        .tempdir_in(&settings.dir)
        .with_context(|| format!("failed to write to {}", settings.dir.display()))?;
    let machine = Machine::look(dir.path())?;
    let mut table = Table::new(machine, settings);
    for run in 1..=settings.runs {
        eprintln!("graven-bench: round {run} of {}", settings.runs);
        round(dir.path(), settings, &mut table)?;
    }
    table.ended();
    dir.close().context("failed to remove what was measured")?;
    if settings.json {
        println!("{}", table.to_json()?);
    } else {
        print!("{table}");
    }
    Ok(())
}

/// Measures everything once.
fn round(dir: &Path, settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    if settings.peers {
        ledgers::measure(dir, settings.limit, table)?;
    }
    let only = if settings.peers { Some(AUDIT) } else { settings.only.as_deref() };
    if only.is_none_or(|only| LEDGER.contains(only)) {
        ledger(dir, settings.limit, table)?;
    }
    for Subject { name, figures } in SUBJECTS {
        if !only.is_none_or(|only| name.contains(only)) {
            continue;
        }
        match settled(dir, |dir| Ok(figures(dir)))? {
            Ok(figures) => table.add(figures),
            Err(reason) => {
                let skipped = format!("SKIPPED: {name}: {reason:#}");
                eprintln!("graven-bench: {skipped}");
                table.skip(skipped);
            }
        }
    }
    Ok(())
}

/// The ledger, beside what the disk and the processor do by themselves.
fn ledger(dir: &Path, limit: Limit, table: &mut Table) -> anyhow::Result<()> {
    let floor = floors(dir, limit, table)?;
    let hashes = floor::hashes();
    let mut later = Vec::new();
    let mut half_rate = 0;
    for kind in [Kind::Made, Kind::Events, Kind::Calls] {
        settled(dir, |dir| {
            let run = throughput::in_a_process(dir, limit, kind)?;
            table.add(run.rates(kind, floor));
            later.extend(run.memory(kind));
            later.extend(verification::figures(dir, kind, &hashes)?);
            if kind == Kind::Made {
                half_rate = run.half_rate();
                later.extend(start::figures(dir)?);
            }
            Ok(())
        })?;
    }
    latencies(dir, limit, half_rate, table)?;
    table.add([hashes]);
    table.add(later);
    Ok(())
}

/// What the disk and the processor do by themselves; gives what a chained ledger can do at the most.
fn floors(dir: &Path, limit: Limit, table: &mut Table) -> anyhow::Result<Rate> {
    // Not counted: where a hypervisor has taken memory back, the first to use it again pays for that, and
    // the floor must not be the one who does.
    settled(dir, |dir| floor::appends(dir, limit, Appends::Plain))?;
    let plain = settled(dir, |dir| floor::appends(dir, limit, Appends::Plain))?;
    let hashed = settled(dir, |dir| floor::appends(dir, limit, Appends::Hashed))?;
    let chained = settled(dir, |dir| floor::appends(dir, limit, Appends::Chained))?;
    table.add([
        plain.figure("plain appends, 1 MiB groups"),
        hashed.figure("  and SHA-256 of each"),
        chained.figure("  chained, and a Merkle tree, on a second thread"),
    ]);
    Ok(chained)
}

fn latencies(dir: &Path, limit: Limit, half_rate: u64, table: &mut Table) -> anyhow::Result<()> {
    let disk = settled(dir, |dir| floor::sync_latency(dir, limit))?;
    table.add(latency::figures("the disk: 4 KiB and fdatasync", disk));
    for submitters in [Submitters(1), Submitters(16), Submitters(64)] {
        table.add(settled(dir, |dir| latency::measure(dir, limit, submitters))?);
    }
    let paced = settled(dir, |dir| latency::paced_in_a_process(dir, limit, half_rate))?;
    table.add(latency::figures("ledger, at half its rate", paced));
    table.add([latency::ratio(paced, disk)]);
    Ok(())
}

/// What takes rights, or a program, that the machine may not have.
struct Subject {
    name: &'static str,
    figures: fn(&Path) -> anyhow::Result<Vec<Figure>>,
}

/// What takes neither.
const LEDGER: &str = "the ledger by itself";

/// The one subject that belongs to `--peers` too.
const AUDIT: &str = "the same by the kernel's audit";

const SUBJECTS: [Subject; 7] = [
    Subject { name: "nanoseconds added to a system call", figures: added::figures },
    Subject { name: "the same by strace", figures: peers::strace },
    Subject { name: AUDIT, figures: peers::audit },
    Subject {
        name: "a process's calls to the decoder",
        figures: |dir| sustained::figures(dir, Way::Decoder),
    },
    Subject {
        name: "a process's calls to the ledger",
        figures: |dir| sustained::figures(dir, Way::Ledger),
    },
    Subject { name: "cargo build", figures: compile::figures },
    Subject { name: "graven run, idle", figures: idle::figures },
];

/// Runs `work` in an empty directory, on a disk that has nothing left to write from before.
fn settled<T>(dir: &Path, work: impl FnOnce(&Path) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let dir = tempfile::tempdir_in(dir)?;
    syncfs(fs::File::open(dir.path())?)?;
    let result = work(dir.path())?;
    dir.close()?;
    Ok(result)
}
