//! One ledger's ring: its records and its counters.

use std::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use graven_abi::CpuCounters;
use graven_abi::layout::{PLANS, WatchEntry};
use libbpf_rs::libbpf_sys::bpf_map_create_opts;
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};
use zerocopy::FromBytes;

use super::kernel::{Kernel, change};
use super::reader::Reader;
use super::{RING_BYTES_MIN, WAKE_BYTES};
use crate::error::CaptureError;

/// Which ring a watch feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingSlot {
    pub(super) index: u32,
    pub(super) wake_bytes: u32,
}

/// The reading end of one ring. It can be sent to the thread that reads it.
///
/// Its counters begin at zero. Dropped, it drops the watches that feed it.
pub struct Ring {
    pub(super) kernel: Arc<Kernel>,
    reader: Reader,
    slot: RingSlot,
    /// Misses before it was opened.
    misses_before: u64,
}

impl fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Ring")
            .field("slot", &self.slot)
            .field("bytes", &self.ring_bytes())
            .finish_non_exhaustive()
    }
}

impl Ring {
    pub(super) fn open(kernel: &Arc<Kernel>, bytes: u32) -> Result<Self, CaptureError> {
        if !bytes.is_power_of_two() || bytes < RING_BYTES_MIN {
            return Err(CaptureError::RingBytes { bytes: bytes.into() });
        }
        let fail = change("open a ring");
        let options = bpf_map_create_opts {
            sz: size_of::<bpf_map_create_opts>() as libbpf_rs::libbpf_sys::size_t,
            ..Default::default()
        };
        let map = MapHandle::create(MapType::RingBuf, Some("graven_ring"), 0, 0, bytes, &options)
            .map_err(&fail)?;
        // The mapping outlives the descriptor.
        let reader = Reader::new(map.as_fd(), bytes)?;
        let misses_before = kernel.recursion_misses()?;
        let mut slots = kernel.slots();
        let at = slots.take_ring().ok_or(CaptureError::NoRing)?;
        let index = u32::try_from(at).unwrap_or(u32::MAX);
        // From here on, dropping it gives the slot back.
        drop(slots);
        let slot = RingSlot { index, wake_bytes: WAKE_BYTES.min(bytes / 4) };
        let ring = Self { kernel: Arc::clone(kernel), reader, slot, misses_before };
        let key = index.to_le_bytes();
        let cpus = libbpf_rs::num_possible_cpus().map_err(&fail)?;
        let zero = |bytes: usize| vec![vec![0; bytes]; cpus];
        let counters = zero(size_of::<CpuCounters>());
        kernel.counters.update_percpu(&key, &counters, MapFlags::ANY).map_err(&fail)?;
        let left_out = zero(size_of::<[u64; PLANS]>());
        kernel.left_out.update_percpu(&key, &left_out, MapFlags::ANY).map_err(&fail)?;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&map.as_fd());
        kernel.rings.update(&key, &fd.to_le_bytes(), MapFlags::ANY).map_err(&fail)?;
        Ok(ring)
    }

    /// What a [`super::Watch`] names to feed this ring.
    #[must_use]
    pub const fn slot(&self) -> RingSlot {
        self.slot
    }

    /// Waits until [`WAKE_BYTES`] are pending or `timeout` has passed, then hands over what there is.
    ///
    /// Returns the number of records. Waking for every record would cost the watched tasks seven
    /// times what the record costs; so `timeout` is the delay of a quiet task's records. Five to ten
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
        self.reader.wait(timeout)?;
        Ok(self.reader.consume(on_record))
    }

    /// Hands over what there is without waiting; returns the number of records.
    pub fn consume(&mut self, on_record: impl FnMut(&[u8])) -> usize {
        self.reader.consume(on_record)
    }

    /// Bytes that wait in the ring; its size is [`Self::ring_bytes`].
    #[must_use]
    pub fn pending_bytes(&self) -> u64 {
        self.reader.pending_bytes()
    }

    /// Size of the ring, in bytes.
    #[must_use]
    pub fn ring_bytes(&self) -> u32 {
        self.reader.bytes()
    }

    /// The counters of each CPU since the ring was opened; index = CPU number.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Read`] if the kernel does not give them.
    pub fn counters(&self) -> Result<Vec<CpuCounters>, CaptureError> {
        let values = self.values(&self.kernel.counters, "read the counters")?;
        let counters = values.iter().filter_map(|bytes| CpuCounters::read_from_prefix(bytes).ok());
        Ok(counters.map(|(counters, _)| counters).collect())
    }

    /// How many calls the watches of this ring left out since it was opened; index = number of the
    /// `x86_64` call, 0 to 511.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Read`] if the kernel does not give them.
    pub fn left_out(&self) -> Result<Vec<u64>, CaptureError> {
        let mut calls = vec![0; PLANS];
        for bytes in self.values(&self.kernel.left_out, "read what was left out")? {
            let (words, _) = bytes.as_chunks();
            for (call, count) in calls.iter_mut().zip(words) {
                *call += u64::from_le_bytes(*count);
            }
        }
        Ok(calls)
    }

    /// Events that the kernel did not pass to the program because it was running on that CPU already, since
    /// the ring was opened. They are of the whole machine: whose they were is not known.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Read`] if the kernel does not give the number.
    pub fn recursion_misses(&self) -> Result<u64, CaptureError> {
        Ok(self.kernel.recursion_misses()?.saturating_sub(self.misses_before))
    }

    fn values(
        &self,
        map: &MapHandle,
        operation: &'static str,
    ) -> Result<Vec<Vec<u8>>, CaptureError> {
        let values = map
            .lookup_percpu(&self.slot.index.to_le_bytes(), MapFlags::ANY)
            .map_err(|source| CaptureError::Read { operation, source })?;
        Ok(values.unwrap_or_default())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let mut slots = self.kernel.slots();
        for (index, entry) in (0..).zip(&mut slots.watches) {
            if entry.generation != 0 && entry.ring == self.slot.index {
                *entry = WatchEntry::default();
                if let Err(error) = self.kernel.write_watch(index, entry) {
                    tracing::warn!(%error, index, "a closed ring's watch goes on, and fills nothing");
                }
            }
        }
        // Never filled if opening it failed half-way.
        let removed = self.kernel.rings.delete(&self.slot.index.to_le_bytes());
        tracing::debug!(?removed, slot = self.slot.index, "ring closed");
        slots.free_ring(usize::try_from(self.slot.index).unwrap_or(0));
    }
}
