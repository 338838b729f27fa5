//! Ten minutes of builds under a watching daemon: does anything grow, and is all of it on the record?

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;
use graven_capture::AgentCgroup;
use graven_stages::clock;

use crate::compile::Crate;
use crate::recorder;
use crate::rig;
use crate::service::{self, Service};
use crate::stats::{Spread, float, slope};

/// Between two samples.
const SAMPLE: Duration = Duration::from_secs(5);
/// Part of the samples, from the first on, in which memory may still grow: one in so many.
const WARM_UP: usize = 4;
/// Most that the line through the resident sizes after that may rise, from its first sample to its last.
const RISE_KIB_MAX: f64 = 2_048.0;
/// The same for descriptors and threads: one may happen to be there when it is counted.
const RISE_COUNT_MAX: f64 = 1.0;

/// What is counted in each sample besides.
const COUNTS: [(&str, Count); 2] =
    [("descriptors", |it| it.descriptors), ("threads", |it| it.threads)];

type Count = fn(&Sample) -> u64;

#[derive(Debug, Args)]
pub(crate) struct SoakArgs {
    /// How long to build.
    #[arg(long, value_name = "MIN", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Where to write; all is removed at the end. Ten minutes may take some gigabytes.
    #[arg(long, value_name = "DIR", default_value = "target")]
    dir: PathBuf,
}

/// The daemon at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at_s: f64,
    resident_kib: u64,
    descriptors: u64,
    threads: u64,
    lost: u64,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Soaked {
    samples: Vec<Sample>,
    builds: u64,
    records: u64,
    bytes: u64,
    lost: u64,
    peak_kib: u64,
    cpu_s: f64,
}

impl SoakArgs {
    /// Builds, samples, and verifies the ledger; a fault in it or a loss that no gap tells is an error.
    pub(crate) fn run(&self) -> anyhow::Result<Soaked> {
        std::fs::create_dir_all(&self.dir)?;
        let dir = tempfile::Builder::new().prefix("graven-soak-").tempdir_in(&self.dir)?;
        let soaked = soak(dir.path(), self.minutes * 60_000_000_000)?;
        dir.close().context("failed to remove what was recorded")?;
        Ok(soaked)
    }
}

fn soak(dir: &Path, span_ns: u64) -> anyhow::Result<Soaked> {
    let built = Crate::write(dir)?;
    let cgroup = recorder::cgroup("soak")?;
    let service = Service::start(dir, &[&cgroup], "")?;
    let over = AtomicBool::new(false);
    let (samples, builds) = thread::scope(|scope| {
        let building = scope.spawn(|| build_until(&over, &built, &cgroup));
        let samples = sample(&service, span_ns, || building.is_finished());
        over.store(true, Ordering::Release);
        let builds = building.join().map_err(|_| anyhow::anyhow!("the builder panicked"))??;
        anyhow::Ok((samples?, builds))
    })?;
    let (peak_kib, cpu_ns) = (service.process().resident()?.peak_kib, service.process().cpu_ns()?);
    service.stop()?;
    let ledger = service::ledger(dir, 0);
    let report = rig::verified(&ledger)?;
    let lost = rig::lost_in_gaps(&ledger)?;
    let counted = samples.last().map_or(0, |last| last.lost);
    ensure!(lost >= counted, "gaps tell of {lost} lost records, the kernel of {counted}");
    Ok(Soaked {
        samples,
        builds,
        records: report.records,
        bytes: rig::segment_bytes(&ledger)?,
        lost,
        peak_kib,
        cpu_s: float(cpu_ns) / 1e9,
    })
}

fn build_until(over: &AtomicBool, built: &Crate, cgroup: &AgentCgroup) -> anyhow::Result<u64> {
    let mut builds = 0;
    while !over.load(Ordering::Acquire) {
        built.clean()?;
        let status = built.watched(cgroup)?;
        ensure!(status.success(), "a build ended with {status}");
        builds += 1;
    }
    Ok(builds)
}

/// Samples for `span_ns`, or until the builds have ended of themselves.
fn sample(
    service: &Service,
    span_ns: u64,
    has_ended: impl Fn() -> bool,
) -> anyhow::Result<Vec<Sample>> {
    let (mut samples, since_ns) = (Vec::new(), clock::mono_ns());
    let process = service.process();
    while clock::mono_ns() - since_ns < span_ns && !has_ended() {
        thread::sleep(SAMPLE);
        let ledgers = service.status()?.ledgers;
        let figures = ledgers.iter().filter_map(|ledger| ledger.figures.as_ref());
        let kernel = figures.map(|figures| figures.kernel);
        samples.push(Sample {
            at_s: float(clock::mono_ns() - since_ns) / 1e9,
            resident_kib: process.resident()?.kib,
            descriptors: process.descriptors()?,
            threads: process.threads()?,
            lost: kernel.map(|it| it.dropped + it.stash_failed + it.recursion_misses).sum(),
        });
    }
    Ok(samples)
}

impl Soaked {
    /// The samples after the warm-up.
    fn steady(&self) -> &[Sample] {
        &self.samples[self.samples.len() / WARM_UP..]
    }

    /// How far the line through what `of` gives rises, from the end of the warm-up to the last sample.
    fn rise(&self, of: Count) -> f64 {
        let points: Vec<_> = self.steady().iter().map(|it| (it.at_s, float(of(it)))).collect();
        let span_s =
            points.first().zip(points.last()).map_or(0.0, |(first, last)| last.0 - first.0);
        slope(&points) * span_s
    }

    fn is_flat(&self) -> bool {
        self.rise(|it| it.resident_kib) <= RISE_KIB_MAX
            && self.rise(|it| it.descriptors) <= RISE_COUNT_MAX
            && self.rise(|it| it.threads) <= RISE_COUNT_MAX
    }

    /// The median resident size of each quarter of the time, in MiB.
    fn quarters(&self) -> String {
        let quarter = self.samples.len().div_ceil(WARM_UP).max(1);
        let medians = self.samples.chunks(quarter).filter_map(|samples| {
            let sizes: Vec<_> = samples.iter().map(|it| float(it.resident_kib) / 1024.0).collect();
            Some(format!("{:.1}", Spread::of(&sizes)?.median))
        });
        medians.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Soaked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, builds, records, bytes, lost, peak_kib, cpu_s } = self;
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
            return f.write_str("no samples: the builds ended at once");
        };
        let mib = |kib: u64| float(kib) / 1024.0;
        let a_second = float(*records) / last.at_s;
        writeln!(f, "builds       {builds} in {:.0} s", last.at_s)?;
        writeln!(f, "records      {records}, {a_second:.0}/s, {:.0} MB", float(*bytes) / 1e6)?;
        writeln!(f, "lost         {lost}, each in a gap; the ledger verifies")?;
        writeln!(
            f,
            "resident     {:.1} MiB first, {:.1} last, {:.1} at most; quarters {}; rise {:+.0} KiB",
            mib(first.resident_kib),
            mib(last.resident_kib),
            mib(*peak_kib),
            self.quarters(),
            self.rise(|it| it.resident_kib)
        )?;
        for (name, of) in COUNTS {
            let (first, last) = (of(first), of(last));
            writeln!(f, "{name:12} {first} first, {last} last; rise {:+.1}", self.rise(of))?;
        }
        writeln!(f, "CPU          {:.1} % of a core", cpu_s / last.at_s * 100.0)?;
        let word = if self.is_flat() { "FLAT" } else { "NOT FLAT" };
        write!(
            f,
            "{word}: flat is where the lines through the samples after the first quarter rise by at most {RISE_KIB_MAX:.0} KiB, {RISE_COUNT_MAX} descriptor and {RISE_COUNT_MAX} thread"
        )
    }
}
