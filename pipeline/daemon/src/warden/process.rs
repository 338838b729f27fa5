//! What the warden's own process does.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use anyhow::Context as _;
use graven_ledger::Paths;
use graven_stages::clock;
use rustix::fs::{
    FileType, IFlags, Mode, OFlags, Stat, fchmod, fstat, ioctl_getflags, open, openat,
};
use rustix::io::Errno;
use rustix::ioctl::opcode;
use rustix::thread::CapabilitySet;
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::{SeccompCmpOp, SeccompCondition, SeccompRule};

use super::attributes::{CLOSED, add, lift};
use super::order::{Order, REQUEST_BYTES, Request, answer};
use crate::privileges;

/// The segments of a ledger as the warden is told of them when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ward {
    /// The directory of the segments.
    pub segments: PathBuf,
    /// Age in seconds at which a closed segment may be released; `None`: never.
    pub retention_s: Option<u64>,
}

/// Stands on the command line where nothing is ever released.
const FOR_EVER: &str = "-";

impl Ward {
    /// Two arguments: the retention, and the directory.
    pub(super) fn arguments(&self) -> [OsString; 2] {
        let retention = self.retention_s.map_or(FOR_EVER.to_owned(), |it| it.to_string());
        [retention.into(), self.segments.clone().into()]
    }

    fn parse(retention: &OsString, segments: &OsString) -> anyhow::Result<Self> {
        let retention_s = match retention.to_str() {
            Some(FOR_EVER) => None,
            Some(text) => Some(text.parse().context("a retention is a number of seconds")?),
            None => anyhow::bail!("a retention is a number of seconds"),
        };
        Ok(Self { segments: segments.into(), retention_s })
    }
}

/// The warden's process: obeys orders from standard input, answers on standard output, and ends with its input.
///
/// `arguments` are those that [`super::Warden::start`] gives: retention and directory of each ledger.
///
/// # Errors
///
/// If a directory cannot be opened, rights cannot be given up, or the recorder is not heard any more.
pub fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let (pairs, []) = arguments.as_chunks::<2>() else {
        anyhow::bail!("each ledger has a retention and a directory")
    };
    let mut posts = Vec::new();
    for [retention, segments] in pairs {
        posts.push(Post::open(Ward::parse(retention, segments)?)?);
    }
    privileges::keep(CapabilitySet::LINUX_IMMUTABLE)?;
    privileges::confine(allowed()?).context("failed to confine the warden")?;
    let (mut orders, mut answers) = (io::stdin().lock(), io::stdout().lock());
    let mut bytes = [0; REQUEST_BYTES];
    // The first answer is to nobody's order: it says that the warden is ready.
    let mut outcome = Ok(());
    loop {
        answers.write_all(&answer(outcome))?;
        answers.flush()?;
        match orders.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        outcome = Request::from_bytes(bytes).ok_or(Errno::INVAL).and_then(|request| {
            let post = posts.get(usize::from(request.ledger)).ok_or(Errno::INVAL)?;
            post.obey(request.order, request.first)
        });
    }
}

/// A ledger's segments. The directory stays the one that it was at the start, whatever its name leads to later.
#[derive(Debug)]
struct Post {
    segments: OwnedFd,
    retention_s: Option<u64>,
}

impl Post {
    fn open(ward: Ward) -> anyhow::Result<Self> {
        let Ward { segments: path, retention_s } = ward;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let segments = open(&path, flags, Mode::empty())
            .with_context(|| format!("failed to open {}", path.display()))?;
        Ok(Self { segments, retention_s })
    }

    fn obey(&self, order: Order, first: u64) -> Result<(), Errno> {
        let file = self.segment(first)?;
        match order {
            Order::AppendOnly => add(&file, IFlags::APPEND),
            Order::Close => close(&file),
            Order::Release => self.release(&file),
        }
    }

    /// Opens a segment by its name alone: so nothing outside the directory can be meant.
    fn segment(&self, first: u64) -> Result<OwnedFd, Errno> {
        let name = Paths::segment_name(first);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.segments, name, flags, Mode::empty())?;
        // A second name would be a way to hold a file that lies elsewhere.
        let Stat { st_mode, st_nlink, .. } = fstat(&file)?;
        let is_segment = FileType::from_raw_mode(st_mode) == FileType::RegularFile && st_nlink == 1;
        if is_segment { Ok(file) } else { Err(Errno::PERM) }
    }

    /// Only an immutable file's time of change is believed: its owner can set any other's.
    fn release(&self, file: &OwnedFd) -> Result<(), Errno> {
        let retention_s = self.retention_s.ok_or(Errno::PERM)?;
        let changed_s = u64::try_from(fstat(file)?.st_mtime).map_err(|_| Errno::PERM)?;
        let is_over = clock::unix_s().checked_sub(changed_s).is_some_and(|age| age >= retention_s);
        if ioctl_getflags(file)?.contains(IFlags::IMMUTABLE) && is_over {
            lift(file)
        } else {
            Err(Errno::PERM)
        }
    }
}

/// Makes a segment immutable. Its mode becomes 0444 only where it was not append-only: to change the mode of one
/// that is, the attribute would have to be lifted, and a recorder that was taken over waits for such a moment.
fn close(file: impl AsFd) -> Result<(), Errno> {
    if !ioctl_getflags(&file)?.intersects(CLOSED) {
        fchmod(&file, Mode::RUSR | Mode::RGRP | Mode::ROTH)?;
    }
    add(&file, CLOSED)
}

/// The calls that orders need, each as narrow as it can be told: files are opened for reading alone, and of all
/// that ioctl(2) does there are the attributes.
fn allowed() -> anyhow::Result<privileges::Rules> {
    let reading = u64::from((OFlags::ACCMODE | OFlags::CREATE | OFlags::TRUNC).bits());
    let rule = |argument, operator, value| -> anyhow::Result<SeccompRule> {
        Ok(SeccompRule::new(vec![SeccompCondition::new(argument, Dword, operator, value)?])?)
    };
    let attributes =
        [opcode::read::<libc::c_long>(b'f', 1), opcode::write::<libc::c_long>(b'f', 2)]
            .map(|code| rule(1, SeccompCmpOp::Eq, u64::from(code)))
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
    let mut rules: privileges::Rules = [
        libc::SYS_brk,
        libc::SYS_clock_gettime,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_fchmod,
        libc::SYS_fstat,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_read,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_write,
    ]
    .map(|call| (call, Vec::new()))
    .into();
    rules.insert(libc::SYS_ioctl, attributes);
    rules.insert(libc::SYS_openat, vec![rule(2, SeccompCmpOp::MaskedEq(reading), 0)?]);
    Ok(rules)
}
