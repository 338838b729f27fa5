//! The kernel program, loaded, and what it is told to watch.

mod claims;
mod expected;
mod follower;
mod kernel;
mod keys;
mod reader;
mod ring;
mod subtree;
mod watch;

use std::fmt;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Arc;

use libbpf_rs::Iter;
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};

use crate::error::CaptureError;
use crate::probe::check_rights;
use crate::skeleton::{CaptureSkel, CaptureSkelBuilder, OpenCaptureSkel, types};
use claims::Claim;
pub use expected::Expected;
use expected::in_first_namespace;
pub use follower::Follower;
use kernel::{Kernel, change};
use keys::Keys;
pub use ring::{Ring, RingSlot};
use subtree::{Lookup, Subtrees};
pub use watch::Watch;
use watch::{Watches, executable_key};

/// Size of a ring between kernel and recorder, in bytes: 8 MiB, some 50,000 records.
pub const RING_BYTES_DEFAULT: u32 = 8 << 20;
/// Smallest ring, in bytes: room for a few records of the largest size.
pub const RING_BYTES_MIN: u32 = 64 << 10;
/// Pending bytes from which the kernel wakes the reader of a ring before its time is up; a quarter of the
/// ring where that is less.
pub const WAKE_BYTES: u32 = 64 << 10;

/// The kernel program at work; it ends when this is dropped.
///
/// It says who is watched, and where their records go. It can be changed while it runs: a thread of its own
/// may own it, while each [`Ring`] is read by another.
pub struct Capture {
    skeleton: CaptureSkel<'static>,
    kernel: Arc<Kernel>,
    subtrees: Subtrees,
    expected: Keys,
    executables: Keys,
}

impl fmt::Debug for Capture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Capture")
            .field("subtrees", &self.subtrees)
            .field("expected", &self.expected.len())
            .field("executables", &self.executables.len())
            .finish_non_exhaustive()
    }
}

impl Capture {
    /// Loads the kernel program and starts it, watching nothing.
    ///
    /// # Errors
    ///
    /// [`CaptureError::NotPermitted`], [`CaptureError::NoBtf`], [`CaptureError::Refused`] or
    /// [`CaptureError::Load`].
    pub fn load() -> Result<Self, CaptureError> {
        check_rights()?;
        // The error that is returned says what matters; the rest is for the log.
        libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Warn, |_, message| {
            tracing::debug!("{}", message.trim_end());
        })));
        // The skeleton borrows its object for as long as it lives. A capture lives as long as the
        // run, so the few hundred bytes are given away rather than tied up in a self-reference.
        let object = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut open = CaptureSkelBuilder::default().open(object).map_err(load_error)?;
        configure(&mut open);
        let mut skeleton = open.load().map_err(load_error)?;
        skeleton.attach().map_err(load_error)?;
        let kernel = Arc::new(Kernel::of(&mut skeleton)?);
        Ok(Self {
            skeleton,
            kernel,
            subtrees: Subtrees::default(),
            expected: Keys::default(),
            executables: Keys::default(),
        })
    }

    /// Opens a ring of `bytes`, a power of two: one for each ledger, so that a stalled one costs only
    /// itself. Dropping it closes it, and drops the watches that feed it.
    ///
    /// # Errors
    ///
    /// [`CaptureError::RingBytes`] for a size that the kernel does not take, [`CaptureError::NoRing`] if
    /// [`graven_abi::layout::RINGS`] are open, or [`CaptureError::Change`].
    pub fn open_ring(&mut self, bytes: u32) -> Result<Ring, CaptureError> {
        Ring::open(&self.kernel, bytes)
    }

    /// Sets or changes watch `index`. Nothing comes under a new one yet: see [`Self::watch_cgroup`] and
    /// [`Self::watch_executable`]. All that is under one that is changed, tasks included, goes over to the new
    /// settings, and ring, at once.
    ///
    /// # Errors
    ///
    /// [`CaptureError::NoWatch`] for an index from [`graven_abi::layout::WATCHES`] on;
    /// [`CaptureError::Change`].
    pub fn set_watch(&mut self, index: u32, watch: &Watch) -> Result<(), CaptureError> {
        Watches::set(&self.kernel, index, watch)
    }

    /// Ends watch `index` with its cgroups, there or expected, and executables. Its tasks are let go at their
    /// next call; records made before that stay in the ring.
    ///
    /// # Errors
    ///
    /// [`CaptureError::NoWatch`] if it is not set; [`CaptureError::Change`].
    pub fn drop_watch(&mut self, index: u32) -> Result<(), CaptureError> {
        Watches::drop(&self.kernel, index)?;
        let ended = change("end a watch");
        self.expected.forget(&self.kernel.expected, index).map_err(&ended)?;
        self.executables.forget(&self.kernel.executables, index).map_err(&ended)?;
        self.count()?;
        let (subtrees, mut cgroups) = self.cgroups()?;
        subtrees.forget(&mut cgroups, index)
    }

    /// Puts the cgroup at `path` and all cgroups below it, now and later, under watch `index`.
    ///
    /// A cgroup below that has a watch of its own keeps it. Where watches that record nothing
    /// ([`Watch::recorded`]) ask for the same cgroup, one that records has it. Tasks come under watch with
    /// their next call, and those that are already under another watch when they next change their cgroup;
    /// for tasks that may not make a call for long, take the [`Self::inventory`].
    ///
    /// # Errors
    ///
    /// [`CaptureError::NoWatch`], [`CaptureError::Cgroup`] if `path` is no cgroup (version 2) or cannot be
    /// listed, [`CaptureError::Taken`] if another watch records this very cgroup,
    /// [`CaptureError::Change`] if there are too many.
    pub fn watch_cgroup(&mut self, path: &Path, index: u32) -> Result<(), CaptureError> {
        let claim = Claim::of(&self.kernel, index)?;
        let (subtrees, mut cgroups) = self.cgroups()?;
        subtrees.add(&mut cgroups, path, claim, None)
    }

    /// Takes watch `index` off the cgroup at `path` and those below it. Another watch that asked for it has
    /// it then, or else that of a cgroup above. Tasks that are watched already stay so: see
    /// [`Self::drop_watch`]. What is another watch's stays as it is.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Cgroup`] if it cannot be listed; [`CaptureError::Change`].
    pub fn unwatch_cgroup(&mut self, path: &Path, index: u32) -> Result<(), CaptureError> {
        let (subtrees, mut cgroups) = self.cgroups()?;
        subtrees.remove(&mut cgroups, path, index)
    }

    /// Puts the cgroup at `path` under watch `to` in place of watch `from`, with no moment between them: as
    /// [`Self::watch_cgroup`], but what `from` has is not in the way. Drop `from` afterwards, and its tasks
    /// there come under `to` with their next call.
    ///
    /// # Errors
    ///
    /// As [`Self::watch_cgroup`].
    pub fn hand_over_cgroup(
        &mut self,
        path: &Path,
        from: u32,
        to: u32,
    ) -> Result<(), CaptureError> {
        let claim = Claim::of(&self.kernel, to)?;
        let (subtrees, mut cgroups) = self.cgroups()?;
        subtrees.add(&mut cgroups, path, claim, Some(from))
    }

    /// Puts each cgroup that is made from now on where or as `expected` says under watch `index`, with those
    /// below it, before a task can enter it.
    ///
    /// A path goes before a name, and both before the watch of a cgroup above. Of cgroups of version 1 none is
    /// meant. Those that are there already are for [`Self::watch_cgroup`].
    ///
    /// # Errors
    ///
    /// [`CaptureError::NoWatch`]; [`CaptureError::Expected`] if `expected` is too long or none such;
    /// [`CaptureError::Taken`] if another watch that records expects it;
    /// [`CaptureError::CgroupNamespace`] in another namespace than the machine's own, whose names are not the
    /// kernel's; [`CaptureError::Change`] if there are too many.
    pub fn expect(&mut self, expected: &Expected, index: u32) -> Result<(), CaptureError> {
        let claim = Claim::of(&self.kernel, index)?;
        if !in_first_namespace() {
            return Err(CaptureError::CgroupNamespace);
        }
        let key = expected.key()?;
        let taken = |other| CaptureError::Taken { path: expected.as_path().to_owned(), other };
        self.expected.claim(key, claim, None).map_err(taken)?;
        self.expected.tell(&self.kernel.expected, &key).map_err(change("expect a cgroup"))?;
        self.count()
    }

    /// Expects it no longer for watch `index`; another that expects it goes on. Where it was made meanwhile,
    /// its watch goes on.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Expected`] or [`CaptureError::Change`].
    pub fn expect_no_more(&mut self, expected: &Expected, index: u32) -> Result<(), CaptureError> {
        let removed = self.expected.remove(&self.kernel.expected, &expected.key()?, index);
        removed.map_err(change("expect a cgroup no longer"))?;
        self.count()
    }

    /// Puts whoever executes the file at `path` from now on under watch `index`, with all its descendants.
    ///
    /// The file is known by its path in the mount namespace of the one that executes it, symbolic links
    /// resolved (here and now). Of a script, that is the interpreter.
    ///
    /// # Errors
    ///
    /// [`CaptureError::NoWatch`]; [`CaptureError::Executable`] if the path is relative or has more than
    /// 255 bytes; [`CaptureError::Taken`] if another watch has it; [`CaptureError::Change`] if there are too
    /// many.
    pub fn watch_executable(&mut self, path: &Path, index: u32) -> Result<(), CaptureError> {
        self.take_executable(path, index, None)
    }

    /// Takes watch `index` off the file at `path`; what is another watch's stays as it is. Tasks that are
    /// watched already stay so.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Executable`] or [`CaptureError::Change`].
    pub fn unwatch_executable(&mut self, path: &Path, index: u32) -> Result<(), CaptureError> {
        let key = executable_key(path)?;
        let removed = self.executables.remove(&self.kernel.executables, &key, index);
        removed.map_err(change("take the watch off an executable"))?;
        self.count()
    }

    /// Puts whoever executes the file at `path` from now on under watch `to` in place of watch `from`, with no
    /// moment between them. Those that have executed it stay under `from` until that is dropped, and are let go
    /// then; where they are to stay watched, change `from` itself by [`Self::set_watch`].
    ///
    /// # Errors
    ///
    /// As [`Self::watch_executable`].
    pub fn hand_over_executable(
        &mut self,
        path: &Path,
        from: u32,
        to: u32,
    ) -> Result<(), CaptureError> {
        self.take_executable(path, to, Some(from))
    }

    fn take_executable(
        &mut self,
        path: &Path,
        index: u32,
        instead_of: Option<u32>,
    ) -> Result<(), CaptureError> {
        let claim = Claim::of(&self.kernel, index)?;
        let key = executable_key(path)?;
        let taken = |other| CaptureError::Taken { path: path.to_owned(), other };
        self.executables.claim(key, claim, instead_of).map_err(taken)?;
        let told = self.executables.tell(&self.kernel.executables, &key);
        told.map_err(change("watch an executable"))?;
        self.count()
    }

    /// Takes every task that runs in a watched cgroup under watch at once, sleeping ones included.
    ///
    /// There is a record for each process; each of its threads is watched. The call that a task is in
    /// is not recorded, but counted as [`graven_abi::CpuCounters::skipped_mid_call`] when it returns.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Change`] if the kernel does not go through with it.
    pub fn inventory(&mut self) -> Result<(), CaptureError> {
        let failed =
            |source| CaptureError::Change { operation: "take the inventory of tasks", source };
        let Some(link) = &self.skeleton.links.take_inventory else {
            return Ok(());
        };
        let mut tasks = Iter::new(link).map_err(failed)?;
        // The program writes nothing: reading to the end is what makes it run.
        let read = tasks.read_to_end(&mut Vec::new());
        read.map(|_| ()).map_err(|error| failed(error.into()))
    }

    /// Tells the program how much there is to look up: where there is nothing, it does not look.
    fn count(&mut self) -> Result<(), CaptureError> {
        let variables = variables(&mut self.skeleton)?;
        variables.executables_known = self.executables.len();
        variables.expected_known = self.expected.len();
        Ok(())
    }

    /// The subtrees, and where they are written.
    fn cgroups(&mut self) -> Result<(&mut Subtrees, Lookup<'_>), CaptureError> {
        let perhaps = &mut variables(&mut self.skeleton)?.perhaps_watched;
        Ok((&mut self.subtrees, Lookup { watched: &self.kernel.watched, perhaps }))
    }
}

/// The program's variables, in memory that it shares.
fn variables<'a>(
    skeleton: &'a mut CaptureSkel<'static>,
) -> Result<&'a mut types::bss, CaptureError> {
    // Absent only if the program had no variable at all.
    let absent =
        || change("reach the program's variables")(io::Error::from(io::ErrorKind::NotFound).into());
    skeleton.maps.bss_data.as_deref_mut().ok_or_else(absent)
}

fn configure(open: &mut OpenCaptureSkel<'static>) {
    // Absent only if the program had no constants at all.
    if let Some(constants) = open.maps.rodata_data.as_deref_mut() {
        for (slot, plan) in constants.plans.iter_mut().zip(graven_abi::fetch_plan()) {
            slot.ops = plan.map(|op| types::graven_op {
                kind: op.kind,
                arg: op.arg,
                other: op.other,
                scale: op.scale,
                max_bytes: op.max_bytes,
                reserved: op.reserved,
            });
        }
    }
}

/// EPERM comes from lockdown, a security module or a container. EACCES, which has the same kind, comes
/// from the verifier: the program does not suit the kernel. libbpf-rs shows the number in its text alone.
fn load_error(source: libbpf_rs::Error) -> CaptureError {
    if source.to_string().contains("(os error 1)") {
        CaptureError::Refused { source }
    } else {
        CaptureError::Load { source }
    }
}
