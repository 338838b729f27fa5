//! A crate, built by `cargo build` alone and while Graven records it.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, ensure};
use graven_capture::AgentCgroup;
use graven_stages::clock;
use rustix::fs::syncfs;

use crate::process::Process;
use crate::service::{self, Service};
use crate::stats::{Figure, float};
use crate::{part, recorder, rig};

pub(crate) const GROUP: &str = "cargo build of a crate of 1,900 lines";

/// Modules of the crate; each has some 300 lines.
const MODULES: u32 = 6;
/// Times that each way is measured in a round, all ways in turn and then in the opposite order.
const TURNS: usize = 2;

/// A crate that depends on nothing.
#[derive(Debug)]
pub(crate) struct Crate(PathBuf);

impl Crate {
    /// Writes it to `dir`.
    pub(crate) fn write(dir: &Path) -> anyhow::Result<Self> {
        let dir = fs::canonicalize(dir)?.join("crate");
        fs::create_dir_all(dir.join("src"))?;
        // A workspace of its own, wherever it lies.
        let manifest =
            "[package]\nname = \"built\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
        fs::write(dir.join("Cargo.toml"), manifest)?;
        let mut main = String::new();
        for n in 0..MODULES {
            fs::write(dir.join(format!("src/module_{n}.rs")), module(n)?)?;
            writeln!(main, "mod module_{n};")?;
        }
        main.push_str("fn main() {\n");
        for n in 0..MODULES {
            writeln!(main, "    println!(\"{{}}\", module_{n}::sum());")?;
        }
        main.push_str("}\n");
        fs::write(dir.join("src/main.rs"), main)?;
        Ok(Self(dir))
    }

    /// Throws away what was built, and lets the disk finish.
    pub(crate) fn clean(&self) -> anyhow::Result<()> {
        let target = self.0.join("target");
        if target.exists() {
            fs::remove_dir_all(target)?;
        }
        Ok(syncfs(fs::File::open(&self.0)?)?)
    }

    /// `cargo build`, after the words in `before`.
    pub(crate) fn command(&self, before: &[&str]) -> anyhow::Result<Command> {
        let target = self.0.join("target");
        let words = [before, &["cargo", "build", "--offline", "--quiet", "--target-dir"]].concat();
        let (program, rest) = words.split_first().context("a command has a program")?;
        let mut command = graven_capture::command(program.as_ref())?;
        command.args(rest).arg(target).current_dir(&self.0).stdin(Stdio::null());
        Ok(command)
    }

    /// Builds in `cgroup`.
    pub(crate) fn watched(&self, cgroup: &AgentCgroup) -> anyhow::Result<ExitStatus> {
        Ok(graven_capture::spawn(&mut self.command(&[])?, cgroup)?.wait()?)
    }
}

/// Rust enough for the compiler to have something to do: types, generics, traits, closures, matches.
fn module(n: u32) -> Result<String, fmt::Error> {
    let mut text = String::from("use std::collections::BTreeMap;\nuse std::fmt;\n");
    for item in 0..10 {
        let name = format!("Item{n}x{item}");
        write!(
            text,
            "
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct {name}<T> {{ key: u64, name: String, values: Vec<T>, next: Option<Box<{name}<T>>> }}
impl<T: Clone + Default + fmt::Debug> {name}<T> {{
    pub fn push(&mut self, value: T) -> &mut Self {{
        self.values.push(value.clone());
        if self.values.len() % 7 == {item} {{ self.next = Some(Box::new(Self::default())); }}
        self
    }}
    pub fn fold<A>(&self, start: A, step: impl Fn(A, &T) -> A) -> A {{
        self.values.iter().fold(start, |sum, value| step(sum, value))
    }}
}}
impl<T: fmt::Debug> fmt::Display for {name}<T> {{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {{
        match (self.key % 3, &self.next) {{
            (0, Some(next)) => write!(f, \"{{}} then {{next:?}}\", self.name),
            (1, _) => write!(f, \"{{:?}}\", self.values),
            _ => f.write_str(\"{name}\"),
        }}
    }}
}}
pub fn sum_{item}() -> u64 {{
    let mut all = BTreeMap::new();
    for key in 0..{item}_u64 {{
        let mut it = {name}::<u64> {{ key, ..Default::default() }};
        it.push(key).push({n});
        all.insert(it.to_string(), it);
    }}
    all.values().map(|it| it.fold(0, |sum, value| sum + value)).sum()
}}
"
        )?;
    }
    let sums: Vec<_> = (0..10).map(|item| format!("sum_{item}()")).collect();
    writeln!(text, "pub fn sum() -> u64 {{ {} }}", sums.join(" + "))?;
    Ok(text)
}

/// How a build was watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Alone,
    Exec,
    Run,
}

/// What a build took, and what is on the record of it.
#[derive(Debug, Clone, Copy, Default)]
struct Built {
    took: Took,
    records: u64,
    lost: u64,
    /// CPU time of the service while it was built.
    service_cpu_s: f64,
}

/// Time on the clock, and CPU time of the command and all that it started: a busy machine stretches the first
/// more than the second.
#[derive(Debug, Clone, Copy, Default)]
struct Took {
    seconds: f64,
    cpu_s: f64,
}

/// How long the build took each way, side by side.
pub(crate) fn figures(dir: &Path) -> anyhow::Result<Vec<Figure>> {
    let built = Crate::write(dir)?;
    // Not counted: what the first build reads is in the page cache for all that follow.
    timed(&built, || Ok(built.command(&[])?.status()?))?;
    let mut figures = Vec::new();
    for turn in 0..TURNS {
        let dir = tempfile::tempdir_in(dir)?;
        let mut ways = [Way::Alone, Way::Exec, Way::Run];
        if turn % 2 == 1 {
            ways.reverse();
        }
        let mut builds = [Built::default(); 3];
        for way in ways {
            builds[way as usize] = match way {
                Way::Alone => Built {
                    took: timed(&built, || Ok(built.command(&[])?.status()?))?,
                    ..Built::default()
                },
                Way::Exec => under_exec(&built, dir.path())?,
                Way::Run => under_run(&built, dir.path())?,
            };
        }
        figures.extend(rows(builds));
    }
    Ok(figures)
}

fn rows([alone, exec, run]: [Built; 3]) -> [Figure; 11] {
    let row = |name: &str, unit, value| Figure::new(GROUP, name.into(), unit, value);
    let seconds = |built: Built| built.took.seconds / alone.took.seconds;
    let cpu = |built: Built| built.took.cpu_s / alone.took.cpu_s;
    [
        row("alone", "s", alone.took.seconds),
        row("alone, its CPU", "s", alone.took.cpu_s),
        row("under graven exec", "s", exec.took.seconds),
        row("under graven exec, of the time alone", "x", seconds(exec)),
        row("under graven exec, its CPU and the recorder's, of its CPU alone", "x", cpu(exec)),
        row("watched by graven run", "s", run.took.seconds),
        row("watched by graven run, of the time alone", "x", seconds(run)),
        row("watched by graven run, its CPU, of its CPU alone", "x", cpu(run)),
        row("records of a build", "records", float(run.records)),
        row("lost, both ways", "records", float(exec.lost + run.lost)),
        row("CPU of graven run for it", "s", run.service_cpu_s),
    ]
}

/// Builds from nothing by what `make` does.
fn timed(built: &Crate, make: impl FnOnce() -> anyhow::Result<ExitStatus>) -> anyhow::Result<Took> {
    built.clean()?;
    let this = Process::this();
    let (since_ns, cpu_ns) = (clock::mono_ns(), this.children_cpu_ns()?);
    let status = make()?;
    let (elapsed_ns, cpu_ns) = (clock::mono_ns() - since_ns, this.children_cpu_ns()? - cpu_ns);
    ensure!(status.success(), "the build ended with {status}");
    Ok(Took { seconds: float(elapsed_ns) / 1e9, cpu_s: float(cpu_ns) / 1e9 })
}

/// All that the command does is in the time, from loading the kernel program to the last sync.
fn under_exec(built: &Crate, dir: &Path) -> anyhow::Result<Built> {
    let ledger = rig::ledger_dir(dir);
    rig::create(&ledger)?;
    let (graven, dir) = (part::graven()?, ledger.to_string_lossy());
    let exec = [&*graven.to_string_lossy(), "exec", "--ledger", &dir, "--"];
    let took = timed(built, || Ok(built.command(&exec)?.status()?))?;
    recorded(&ledger, took, 0)
}

fn under_run(built: &Crate, dir: &Path) -> anyhow::Result<Built> {
    let cgroup = recorder::cgroup("build")?;
    let service = Service::start(dir, &[&cgroup], "")?;
    let process = service.process();
    let cpu_ns = process.cpu_ns()?;
    let took = timed(built, || built.watched(&cgroup))?;
    let cpu_ns = process.cpu_ns()? - cpu_ns;
    service.stop()?;
    recorded(&service::ledger(dir, 0), took, cpu_ns)
}

fn recorded(ledger: &Path, took: Took, service_cpu_ns: u64) -> anyhow::Result<Built> {
    let records = rig::verified(ledger)?.records;
    let lost = rig::lost_in_gaps(ledger)?;
    Ok(Built { took, records, lost, service_cpu_s: float(service_cpu_ns) / 1e9 })
}
