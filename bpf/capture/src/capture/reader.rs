//! The reading end of the ring, by the layout that the kernel documents.
//!
//! libbpf's own reader fixes the callback when it is built and runs it inside C, where a panic ends
//! the process; this one lends each record to a closure of the caller's.
//!
//! Source: Documentation/bpf/ringbuf.rst and `kernel/bpf/ringbuf.c`.

#![expect(unsafe_code, reason = "memory shared with the kernel")]

use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use graven_abi::layout::RECORD_BYTES_MAX;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::error::CaptureError;

/// Set while the kernel is still writing the record.
const BUSY: u32 = 1 << 31;
/// Set if the kernel gave the record up.
const DISCARDED: u32 = 1 << 30;
/// Length and page offset, before each record.
const HEADER_BYTES: usize = 8;

/// A region of the ring's memory, unmapped when dropped.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn new(map: BorrowedFd<'_>, offset: u64, bytes: usize, writable: bool) -> Result<Self, Errno> {
        let protection =
            if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start = unsafe {
            mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, map, offset)?
        };
        let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { start, bytes })
    }
}

// SAFETY: the mapping belongs to this value alone, and is of no thread in particular.
unsafe impl Send for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the region was mapped by `new`, and nothing borrowed from it outlives `self`.
        let _unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// The reading end.
#[derive(Debug)]
pub(super) struct Reader {
    /// One page: how far the reader has come.
    consumer: Mapping,
    /// One page with how far the kernel has come, then the data, then its beginning once more, so that a
    /// record that runs over the end is still in one piece. (The kernel offers the whole twice; each page
    /// that is mapped counts as resident, so only what a record can need is taken.)
    producer: Mapping,
    page_bytes: usize,
    /// Bytes of the beginning that are mapped once more.
    overlap_bytes: usize,
    bytes: u32,
    epoll: OwnedFd,
}

impl Reader {
    pub(super) fn new(map: BorrowedFd<'_>, ring_bytes: u32) -> Result<Self, CaptureError> {
        Self::open(map, ring_bytes).map_err(|errno| read_error("map the ring", errno))
    }

    fn open(map: BorrowedFd<'_>, ring_bytes: u32) -> Result<Self, Errno> {
        let page_bytes = rustix::param::page_size();
        let ring = usize::try_from(ring_bytes).map_err(|_| Errno::NOMEM)?;
        let overlap_bytes =
            (HEADER_BYTES + RECORD_BYTES_MAX).next_multiple_of(page_bytes).min(ring);
        let consumer = Mapping::new(map, 0, page_bytes, true)?;
        let producer =
            Mapping::new(map, page_bytes as u64, page_bytes + ring + overlap_bytes, false)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Edge-triggered: only the kernel's own wake-ups count. Otherwise any single pending record
        // would end the wait at once, and each record would cost a round.
        let events = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, map, epoll::EventData::new_u64(0), events)?;
        Ok(Self { consumer, producer, page_bytes, overlap_bytes, bytes: ring_bytes, epoll })
    }

    pub(super) const fn bytes(&self) -> u32 {
        self.bytes
    }

    pub(super) fn pending_bytes(&self) -> u64 {
        let (consumed, produced) = self.positions();
        let consumed = consumed.load(Ordering::Relaxed);
        produced.load(Ordering::Acquire).saturating_sub(consumed)
    }

    /// Waits for a wake-up, or until `timeout` has passed. A signal ends it early, and is no error.
    pub(super) fn wait(&self, timeout: Duration) -> Result<(), CaptureError> {
        let timeout = Timespec::try_from(timeout)
            .map_err(|_| read_error("wait for records", Errno::INVAL))?;
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }];
        match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(read_error("wait for records", errno)),
        }
    }

    /// Lends each finished record to `on_record`; returns how many there were.
    ///
    /// At most one ring's worth: under a flood the caller still gets its turn.
    pub(super) fn consume(&mut self, mut on_record: impl FnMut(&[u8])) -> usize {
        let (consumed, produced) = self.positions();
        let mut records = 0;
        let mut position = consumed.load(Ordering::Relaxed);
        let end = produced.load(Ordering::Acquire);
        while position < end {
            let Some(length) = self.finished_length(position) else {
                break;
            };
            let bytes = (length & !DISCARDED) as usize;
            if length & DISCARDED == 0 {
                records += 1;
                on_record(self.record(position, bytes));
            }
            position += (bytes + HEADER_BYTES).next_multiple_of(8) as u64;
            // Given back at once: the longer the kernel waits, the sooner it has to drop.
            consumed.store(position, Ordering::Release);
        }
        records
    }

    /// Length word of the record at `position`, or `None` while the kernel writes it.
    fn finished_length(&self, position: u64) -> Option<u32> {
        // SAFETY: the offset is below the size of the data, and a multiple of 8 as the kernel aligns
        // records; the mapping is page-aligned and lives as long as `self`.
        let word = unsafe { AtomicU32::from_ptr(self.data(position).cast().as_ptr()) };
        let length = word.load(Ordering::Acquire);
        (length & BUSY == 0).then_some(length)
    }

    fn record(&self, position: u64, bytes: usize) -> &[u8] {
        let bytes = bytes.min(self.overlap_bytes - HEADER_BYTES);
        // SAFETY: behind the data its beginning is mapped once more, so `HEADER_BYTES + bytes`, which is at
        // most `overlap_bytes`, stays inside the mapping from any offset below the ring's size. The kernel writes
        // there again only after the consumer's position has moved past it, which happens after
        // this borrow has ended.
        unsafe { slice::from_raw_parts(self.data(position).add(HEADER_BYTES).as_ptr(), bytes) }
    }

    fn data(&self, position: u64) -> NonNull<u8> {
        // Below 2^32, whatever the position.
        let offset = usize::try_from(position & u64::from(self.bytes - 1)).unwrap_or(0);
        // SAFETY: the offset is inside the producer's mapping: one page, the ring, and what comes again.
        unsafe { self.producer.start.add(self.page_bytes + offset) }
    }

    fn positions(&self) -> (&AtomicU64, &AtomicU64) {
        // SAFETY: each mapping begins with an aligned 64-bit position, shared with the kernel, and
        // lives as long as `self`. The producer's is only ever read.
        unsafe {
            (
                AtomicU64::from_ptr(self.consumer.start.cast().as_ptr()),
                AtomicU64::from_ptr(self.producer.start.cast().as_ptr()),
            )
        }
    }
}

fn read_error(operation: &'static str, errno: Errno) -> CaptureError {
    let source = libbpf_rs::Error::from_raw_os_error(errno.raw_os_error());
    CaptureError::Read { operation, source }
}
