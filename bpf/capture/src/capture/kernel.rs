//! The program's maps, shared by the [`Capture`](super::Capture) and its rings.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use graven_abi::layout::{RINGS, WATCHES, WatchEntry};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle};
use zerocopy::IntoBytes;

use crate::error::CaptureError;
use crate::skeleton::CaptureSkel;

/// Handles of the maps and programs, and which slots of them are in use.
pub(super) struct Kernel {
    pub(super) watches: MapHandle,
    pub(super) watched: MapHandle,
    pub(super) executables: MapHandle,
    pub(super) expected: MapHandle,
    pub(super) rings: MapHandle,
    pub(super) counters: MapHandle,
    pub(super) left_out: MapHandle,
    /// The program that lists followers, attached.
    pub(super) list_followers: Option<Link>,
    programs: Vec<OwnedFd>,
    slots: Mutex<Slots>,
}

/// What user space knows of the watches and rings.
pub(super) struct Slots {
    pub(super) watches: [WatchEntry; WATCHES],
    /// Generations given out so far, by index.
    generations: [u32; WATCHES],
    rings: [bool; RINGS],
    next_ring: usize,
}

impl Slots {
    /// A free ring slot: the one that was free the longest, so that a record on its way to a ring that was
    /// just closed does not end up in a new one.
    pub(super) fn take_ring(&mut self) -> Option<usize> {
        let free = (0..RINGS).map(|step| (self.next_ring + step) % RINGS);
        let slot = free.into_iter().find(|slot| !self.rings[*slot])?;
        self.rings[slot] = true;
        self.next_ring = (slot + 1) % RINGS;
        Some(slot)
    }

    pub(super) fn free_ring(&mut self, slot: usize) {
        self.rings[slot] = false;
    }

    /// The generation of a watch that is set: the same one if it was set before.
    pub(super) fn generation(&mut self, index: usize) -> u32 {
        if self.watches[index].generation == 0 {
            self.generations[index] = self.generations[index].wrapping_add(1).max(1);
        }
        self.generations[index]
    }
}

pub(super) fn change(operation: &'static str) -> impl Fn(libbpf_rs::Error) -> CaptureError {
    move |source| CaptureError::Change { operation, source }
}

impl Kernel {
    pub(super) fn of(skeleton: &mut CaptureSkel<'static>) -> Result<Self, CaptureError> {
        let (maps, progs) = (&skeleton.maps, &skeleton.progs);
        let programs = [
            &progs.on_sys_enter,
            &progs.on_sys_exit,
            &progs.on_fork,
            &progs.on_exec,
            &progs.on_exit,
            &progs.on_cgroup_mkdir,
            &progs.on_cgroup_rmdir,
        ];
        let fail = change("share the program's maps");
        let handle = |map: &libbpf_rs::Map<'_>| MapHandle::try_from(map).map_err(&fail);
        let share = |program: &&libbpf_rs::ProgramMut<'_>| program.as_fd().try_clone_to_owned();
        Ok(Self {
            watches: handle(&maps.watches)?,
            watched: handle(&maps.watched)?,
            executables: handle(&maps.executables)?,
            expected: handle(&maps.expected)?,
            rings: handle(&maps.rings)?,
            counters: handle(&maps.counters)?,
            left_out: handle(&maps.left_out)?,
            list_followers: skeleton.links.list_followers.take(),
            programs: programs
                .iter()
                .map(share)
                .collect::<Result<_, _>>()
                .map_err(|error| fail(error.into()))?,
            slots: Mutex::new(Slots {
                watches: [WatchEntry::default(); WATCHES],
                generations: [0; WATCHES],
                rings: [false; RINGS],
                next_ring: 0,
            }),
        })
    }

    pub(super) fn slots(&self) -> MutexGuard<'_, Slots> {
        // A slot is marked before the kernel is told, so a panic in between leaves nothing half done.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the program of the entry of watch `index`.
    pub(super) fn write_watch(&self, index: u32, entry: &WatchEntry) -> Result<(), CaptureError> {
        self.watches
            .update(&index.to_le_bytes(), entry.as_bytes(), MapFlags::ANY)
            .map_err(change("change a watch"))
    }

    /// Where watch `index` is kept, provided that it is set.
    pub(super) fn require_watch(&self, index: u32) -> Result<usize, CaptureError> {
        let at = usize::try_from(index).ok();
        let slots = self.slots();
        at.filter(|at| slots.watches.get(*at).is_some_and(|entry| entry.generation != 0))
            .ok_or(CaptureError::NoWatch { index })
    }

    /// Events that the kernel did not pass to a program because it was running on that CPU already.
    pub(super) fn recursion_misses(&self) -> Result<u64, CaptureError> {
        self.programs.iter().try_fold(0, |sum, program| Ok(sum + misses_of(program.as_fd())?))
    }
}

#[expect(unsafe_code, reason = "libbpf-rs has no safe call for one program's information")]
fn misses_of(program: BorrowedFd<'_>) -> Result<u64, CaptureError> {
    use libbpf_rs::libbpf_sys::{bpf_obj_get_info_by_fd, bpf_prog_info};

    let mut info = bpf_prog_info::default();
    let mut bytes = u32::try_from(size_of::<bpf_prog_info>()).unwrap_or(u32::MAX);
    // SAFETY: the descriptor is open while `program` is borrowed; `info` is a writable structure of
    // `bytes` bytes, all of whose bit patterns are valid, and its pointers are null.
    let result = unsafe {
        bpf_obj_get_info_by_fd(
            program.as_raw_fd(),
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
