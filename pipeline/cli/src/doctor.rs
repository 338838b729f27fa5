//! `graven doctor`: what works on this machine, and what to do about the rest.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anstyle::Style;
use clap::Args;
use graven_capture::{CallSet, Capture, CaptureError, Cgroup2, RING_BYTES_MIN, Watch};
use graven_daemon::warden;
use graven_stages::clock;
use graven_verify::screen::{BAD, DIM, GOOD, WEAK, bytes, count, painted, span};
use rustix::fs::{StatVfs, statvfs};
use rustix::system::uname;
use serde_json::json;

use crate::exit;

/// Show what works on this machine, and what to do about the rest.
///
/// Tries what can be tried: it loads the kernel program on an empty cgroup and syncs a small file. It leaves
/// nothing behind. Exits with 0 where capture works and the directory can hold a ledger, and with 2 otherwise.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sudo graven doctor --dir /var/lib/graven")]
pub(crate) struct DoctorArgs {
    /// Directory whose disk is looked at: where the ledger is or will be.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// It could not be found out, and need not be.
    Unknown,
    /// Works, but less than it could.
    Weak,
    Missing,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Unknown => "unknown",
            Self::Weak => "weak",
            Self::Missing => "MISSING",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Good => GOOD,
            Self::Unknown => DIM,
            Self::Weak => WEAK,
            Self::Missing => BAD,
        }
    }
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

pub(crate) fn run(args: &DoctorArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let findings = [
        kernel(),
        types(),
        lockdown(),
        cgroups(),
        capture(),
        space(&args.dir),
        sync(&args.dir),
        worm(&args.dir),
        time(),
    ];
    let lacks = |what| findings.iter().any(|it| it.what == what && it.state == State::Missing);
    let works = !lacks("capture");
    if args.json {
        writeln!(out, "{}", to_json(&findings, works))?;
    } else {
        findings.iter().try_for_each(|finding| write_finding(out, finding))?;
        writeln!(out, "\n{}", closing(&findings, works))?;
    }
    Ok(if works && !lacks("disk") && !lacks("sync") { exit::GOOD } else { exit::USAGE })
}

fn write_finding(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let Finding { what, state, found, remedy } = finding;
    let mark = painted(state.style(), format!("{:<8}", state.word()));
    writeln!(out, "{what:<10} {mark} {found}")?;
    match remedy {
        Some(remedy) => writeln!(out, "{:<19} → {remedy}", ""),
        None => Ok(()),
    }
}

/// `capture works; 1 thing to improve`.
fn closing(findings: &[Finding], works: bool) -> String {
    let verdict = if works {
        painted(GOOD, "capture works")
    } else {
        painted(BAD, "capture does not work here")
    };
    let to_do = findings.iter().filter(|finding| finding.remedy.is_some()).count();
    match u64::try_from(to_do).unwrap_or(u64::MAX) {
        0 => format!("{verdict}; nothing to improve"),
        to_do => format!("{verdict}; {} to improve", count(to_do, "thing")),
    }
}

fn to_json(findings: &[Finding], works: bool) -> serde_json::Value {
    let findings = findings.iter().map(|Finding { what, state, found, remedy }| {
        let state = state.word().to_lowercase();
        json!({ "found": found, "remedy": remedy, "state": state, "what": what })
    });
    json!({ "capture": works, "findings": findings.collect::<Vec<_>>() })
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
            Finding::good("types", format!("{}, {}", path.display(), bytes(metadata.len())))
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
        None => Finding {
            what: "lockdown",
            state: State::Unknown,
            found: "not reported (securityfs is not mounted, or there is none)".to_owned(),
            remedy: None,
        },
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
            Finding::good("disk", format!("{} free at {}", bytes(free), dir.display()))
        }
        Ok(free) => Finding::other(
            "disk",
            State::Weak,
            format!("{} free at {}", bytes(free), dir.display()),
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
        let mut times_ns = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let begin_ns = clock::mono_ns();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            times_ns.push(clock::mono_ns() - begin_ns);
        }
        times_ns.sort_unstable();
        Ok(times_ns)
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
                    "4 KiB in {} (from {} to {}): what a lone record waits for",
                    span(median),
                    span(*least),
                    span(*most)
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

fn worm(dir: &Path) -> Finding {
    match warden::probe(dir) {
        Ok(()) => Finding::good("worm", "sealed segments can be append-only and immutable"),
        Err(why) => Finding::other(
            "worm",
            State::Weak,
            format!("sealed segments can be changed by their owner: {why}"),
            "use ext4, xfs or btrfs, and root with CAP_LINUX_IMMUTABLE; without, changes are found all the same",
        ),
    }
}

fn time() -> Finding {
    let sample = clock::sample();
    if sample.synchronised {
        let error = span(sample.max_error_ns);
        return Finding::good("clock", format!("synchronised, true to {error}"));
    }
    Finding::other(
        "clock",
        State::Weak,
        "not synchronised: each record says so instead of claiming an interval",
        "run chrony or systemd-timesyncd, and see it synchronised",
    )
}
