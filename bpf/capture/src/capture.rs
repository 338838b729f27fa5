//! The kernel program, loaded: its records and its counters.

mod ring;

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::time::Duration;

use graven_abi::CpuCounters;
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, Program};
use zerocopy::FromBytes;

use crate::error::CaptureError;
use crate::probe::check_rights;
use crate::skeleton::{CaptureSkel, CaptureSkelBuilder, OpenCaptureSkel, types};
use ring::Ring;

/// Size of the ring between kernel and recorder, in bytes: 8 MiB, some 50,000 records.
pub const RING_BYTES_DEFAULT: u32 = 8 << 20;
/// Smallest ring, in bytes: room for a few records of the largest size.
pub const RING_BYTES_MIN: u32 = 64 << 10;
/// Pending bytes from which the kernel wakes the recorder before its time is up.
pub const WAKE_BYTES: u32 = 64 << 10;

/// What to capture.
#[derive(Debug, Clone, Copy)]
pub struct CaptureOptions {
    /// Inode of the watched cgroup, from [`crate::AgentCgroup::id`].
    pub cgroup_id: u64,
    /// Its depth below the root of the cgroup file system, from [`crate::AgentCgroup::level`].
    pub cgroup_level: u32,
    /// Size of the ring in bytes, a power of two; [`RING_BYTES_DEFAULT`].
    pub ring_bytes: u32,
}

/// A running capture; it ends when this is dropped.
///
/// It cannot be sent to another thread: load it in the thread that polls it.
pub struct Capture {
    skeleton: CaptureSkel<'static>,
    ring: Ring,
}

impl fmt::Debug for Capture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Capture").field("ring", &self.ring).finish_non_exhaustive()
    }
}

impl Capture {
    /// Loads the kernel program and starts it.
    ///
    /// Load it before the command is started. Calls in progress in tasks that come under watch later
    /// are not recorded but counted.
    ///
    /// # Errors
    ///
    /// [`CaptureError::NotPermitted`], [`CaptureError::NoBtf`], [`CaptureError::RingBytes`],
    /// [`CaptureError::Refused`] or [`CaptureError::Load`].
    pub fn load(options: CaptureOptions) -> Result<Self, CaptureError> {
        if !options.ring_bytes.is_power_of_two() || options.ring_bytes < RING_BYTES_MIN {
            return Err(CaptureError::RingBytes { bytes: options.ring_bytes.into() });
        }
        check_rights()?;
        // The error that is returned says what matters; the rest is for the log.
        libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Warn, |_, message| {
            tracing::debug!("{}", message.trim_end());
        })));
        // The skeleton borrows its object for as long as it lives. A capture lives as long as the
        // run, so the few hundred bytes are given away rather than tied up in a self-reference.
        let object = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut open = CaptureSkelBuilder::default().open(object).map_err(load_error)?;
        configure(&mut open, options)?;
        let mut skeleton = open.load().map_err(load_error)?;
        skeleton.attach().map_err(load_error)?;
        let ring = Ring::new(skeleton.maps.ring.as_fd(), options.ring_bytes)?;
        Ok(Self { skeleton, ring })
    }

    /// Waits until [`WAKE_BYTES`] are pending or `timeout` has passed, then hands over what there is.
    ///
    /// Returns the number of records. Waking for every record would cost the watched command seven
    /// times what the record costs; so `timeout` is the delay of a quiet command's records. Five to ten
    /// milliseconds suit.
    ///
    /// A record's sequence number orders it among those of its CPU. Records of one CPU may come in
    /// another order where one task displaced another while it wrote.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Read`] if waiting fails.
    pub fn poll(
        &mut self,
        timeout: Duration,
        on_record: impl FnMut(&[u8]),
    ) -> Result<usize, CaptureError> {
        self.ring.wait(timeout)?;
        Ok(self.ring.consume(on_record))
    }

    /// Hands over what there is without waiting; returns the number of records.
    pub fn consume(&mut self, on_record: impl FnMut(&[u8])) -> usize {
        self.ring.consume(on_record)
    }

    /// Bytes that wait in the ring; its size is [`Self::ring_bytes`].
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.ring.pending_bytes()
    }

    /// Size of the ring, in bytes.
    #[must_use]
    pub fn ring_bytes(&self) -> u32 {
        self.ring.bytes()
    }

    /// The counters of each CPU since loading; index = CPU number.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Read`] if the kernel does not give them.
    pub fn counters(&self) -> Result<Vec<CpuCounters>, CaptureError> {
        let map = &self.skeleton.maps.counters;
        let values = map
            .lookup_percpu(&[0; 4], MapFlags::ANY)
            .map_err(|source| CaptureError::Read { operation: "read the counters", source })?;
        let counters = values.unwrap_or_default();
        Ok(counters
            .iter()
            .filter_map(|bytes| CpuCounters::read_from_prefix(bytes).ok())
            .map(|(counters, _)| counters)
            .collect())
    }

    /// Events that the kernel did not pass to the program because it was running on that CPU already.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Read`] if the kernel does not give the number.
    pub fn recursion_misses(&self) -> Result<u64, CaptureError> {
        let progs = &self.skeleton.progs;
        [&progs.on_sys_enter, &progs.on_sys_exit, &progs.on_fork, &progs.on_exec, &progs.on_exit]
            .into_iter()
            .try_fold(0, |sum, program| Ok(sum + misses_of(program)?))
    }
}

fn configure(
    open: &mut OpenCaptureSkel<'static>,
    options: CaptureOptions,
) -> Result<(), CaptureError> {
    open.maps.ring.set_max_entries(options.ring_bytes).map_err(load_error)?;
    // Absent only if the program had no constants at all.
    if let Some(constants) = open.maps.rodata_data.as_deref_mut() {
        constants.watched_cgroup_id = options.cgroup_id;
        constants.watched_level = options.cgroup_level;
        constants.wake_bytes = WAKE_BYTES.min(options.ring_bytes / 4);
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
    Ok(())
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

#[expect(unsafe_code, reason = "libbpf-rs has no safe call for one program's information")]
fn misses_of(program: &Program<'_>) -> Result<u64, CaptureError> {
    use libbpf_rs::libbpf_sys::{bpf_obj_get_info_by_fd, bpf_prog_info};
    use std::os::fd::AsRawFd;

    let mut info = bpf_prog_info::default();
    let mut bytes = u32::try_from(size_of::<bpf_prog_info>()).unwrap_or(u32::MAX);
    // SAFETY: the descriptor is open while `program` is borrowed; `info` is a writable structure of
    // `bytes` bytes, all of whose bit patterns are valid, and its pointers are null.
    let result = unsafe {
        bpf_obj_get_info_by_fd(
            program.as_fd().as_raw_fd(),
            std::ptr::from_mut(&mut info).cast(),
            &raw mut bytes,
        )
    };
    if result == 0 {
        return Ok(info.recursion_misses);
    }
    Err(CaptureError::Read {
        operation: "read the program's counters",
        source: libbpf_rs::Error::from_raw_os_error(-result),
    })
}
