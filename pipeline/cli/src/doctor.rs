//! `graven doctor`: what works on this machine, and what to do about the rest.

use std::fs;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use graven_capture::{CallSet, Capture, CaptureError, Cgroup2, RING_BYTES_MIN, Watch};
use graven_stages::clock;
use rustix::fs::{StatVfs, statvfs};
use rustix::system::uname;

use crate::exit;

/// Show what works on this machine, and what to do about the rest.
///
/// Tries what can be tried: it loads the kernel program on an empty cgroup and syncs a small file. It leaves
/// nothing behind. Exits with 0 where capture works, with 2 where it does not.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sudo graven doctor --dir /var/lib/graven")]
pub(crate) struct DoctorArgs {
    /// Directory whose disk is looked at: where the ledger is or will be.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// Works, but less than it could.
    Weak,
    Missing,
}

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    state: State,
    found: String,
    /// What to do about it.
    remedy: Option<String>,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, state: State::Good, found: found.into(), remedy: None }
    }

    fn other(what: &'static str, state: State, found: impl Into<String>, remedy: &str) -> Self {
        Self { what, state, found: found.into(), remedy: Some(remedy.to_owned()) }
    }
}

/// Oldest kernel on which the program was seen to load.
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Free space below which a ledger will not last long, in bytes.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// Syncs that are timed.
const SYNCS: usize = 21;

pub(crate) fn run(args: &DoctorArgs, out: &mut impl Write) -> io::Result<u8> {
    let capture = capture();
    let works = capture.state == State::Good;
    let findings = [
        kernel(),
        types(),
        lockdown(),
        cgroups(),
        capture,
        space(&args.dir),
        sync(&args.dir),
        time(),
    ];
    let colour = io::stdout().is_terminal();
    for finding in &findings {
        write_finding(out, finding, colour)?;
    }
    Ok(if works { exit::GOOD } else { exit::USAGE })
}

fn write_finding(out: &mut impl Write, finding: &Finding, colour: bool) -> io::Result<()> {
    let (mark, code) = match finding.state {
        State::Good => ("ok", "32"),
        State::Weak => ("weak", "33"),
        State::Missing => ("MISSING", "31"),
    };
    let (begin, end) =
        if colour { (format!("\x1b[{code}m"), "\x1b[0m") } else { (String::new(), "") };
    writeln!(out, "{:<10} {begin}{mark:<8}{end} {}", finding.what, finding.found)?;
    match &finding.remedy {
        Some(remedy) => writeln!(out, "{:<19} → {remedy}", ""),
        None => Ok(()),
    }
}

fn kernel() -> Finding {
    let name = uname();
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let found = format!("Linux {release} on {}", name.machine().to_string_lossy());
    if version >= KERNEL_MIN {
        Finding::good("kernel", found)
    } else {
        Finding::other(
            "kernel",
            State::Weak,
            found,
            "Linux 6.1 is the oldest that was tried: use that or a newer one",
        )
    }
}

fn types() -> Finding {
    let path = Path::new("/sys/kernel/btf/vmlinux");
    match fs::metadata(path) {
        Ok(metadata) => {
            Finding::good("types", format!("{}, {} bytes", path.display(), metadata.len()))
        }
        Err(_) => Finding::other(
            "types",
            State::Missing,
            "no type information (BTF)",
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y",
        ),
    }
}

fn lockdown() -> Finding {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = text.split(['[', ']']).nth(1);
    match mode {
        Some("confidentiality") => Finding::other(
            "lockdown",
            State::Missing,
            "confidentiality",
            "boot with lockdown=integrity or none: this mode forbids reading the callers' memory",
        ),
        Some(mode) => Finding::good("lockdown", mode),
        None => {
            Finding::good("lockdown", "not reported (securityfs is not mounted, or there is none)")
        }
    }
}

fn cgroups() -> Finding {
    match Cgroup2::find() {
        Ok(cgroups) => {
            Finding::good("cgroups", format!("version 2 at {}", cgroups.mount().display()))
        }
        Err(error) => {
            Finding::other("cgroups", State::Missing, "no version 2 hierarchy", &error.to_string())
        }
    }
}

/// Loads the kernel program on an empty cgroup.
fn capture() -> Finding {
    let tried = Cgroup2::find()
        .and_then(|cgroups| cgroups.create(&format!("doctor-{}", std::process::id())))
        .and_then(|cgroup| {
            let watched = watch(cgroup.path());
            cgroup.remove()?;
            watched
        });
    match tried {
        Ok(()) => Finding::good("capture", "the kernel program loads: tier `observe` works"),
        Err(error) => {
            let tiers = graven_capture::probe().into_iter();
            let reason = tiers.filter(|tier| tier.name == "observe").find_map(|tier| tier.reason);
            let error = format!("{:#}", anyhow::Error::from(error));
            Finding::other(
                "capture",
                State::Missing,
                "no tier works",
                reason.as_deref().unwrap_or(&error),
            )
        }
    }
}

fn watch(cgroup: &Path) -> Result<(), CaptureError> {
    let mut capture = Capture::load()?;
    let ring = capture.open_ring(RING_BYTES_MIN)?;
    let watch = Watch { ring: ring.slot(), recorded: CallSet::ALL, environment: false };
    capture.set_watch(0, &watch)?;
    capture.watch_cgroup(cgroup, 0)
}

fn space(dir: &Path) -> Finding {
    let of = |it: StatVfs| it.f_bavail.saturating_mul(it.f_frsize);
    match statvfs(dir).map(of) {
        Ok(free) if free >= FREE_BYTES_MIN => {
            Finding::good("disk", format!("{} GiB free at {}", free >> 30, dir.display()))
        }
        Ok(free) => Finding::other(
            "disk",
            State::Weak,
            format!("{} MiB free at {}", free >> 20, dir.display()),
            "a full disk ends the run: make room, or name another directory",
        ),
        Err(error) => Finding::other(
            "disk",
            State::Missing,
            format!("{}: {error}", dir.display()),
            "name a directory that exists with --dir",
        ),
    }
}

/// Times what every commit waits for.
fn sync(dir: &Path) -> Finding {
    let path = dir.join(format!(".graven-doctor-{}", std::process::id()));
    let time = || -> io::Result<Vec<u64>> {
        let mut file = fs::File::create_new(&path)?;
        let mut times_us = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let begin_ns = clock::mono_ns();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            times_us.push((clock::mono_ns() - begin_ns) / 1_000);
        }
        times_us.sort_unstable();
        Ok(times_us)
    };
    let times = time();
    // Made above, or not there.
    drop(fs::remove_file(&path));
    match times.as_deref() {
        Ok([least, .., most]) => {
            let median = times.as_ref().map_or(0, |times| times[SYNCS / 2]);
            Finding::good(
                "sync",
                format!(
                    "4 KiB in {median} µs (from {least} to {most}): what a lone record waits for"
                ),
            )
        }
        Ok(_) => Finding::good("sync", "not timed"),
        Err(error) => Finding::other(
            "sync",
            State::Missing,
            format!("{}: {error}", dir.display()),
            "name a directory that can be written with --dir",
        ),
    }
}

fn time() -> Finding {
    let sample = clock::sample();
    if sample.synchronised {
        let error_us = sample.max_error_ns / 1_000;
        return Finding::good("clock", format!("synchronised, true to {error_us} µs"));
    }
    Finding::other(
        "clock",
        State::Weak,
        "not synchronised: each record says so instead of claiming an interval",
        "run chrony or systemd-timesyncd, and see it synchronised",
    )
}
