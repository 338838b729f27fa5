//! A pair of programs that do nothing at both ends of every call: what attaching costs by itself.

use std::fmt;
use std::mem::MaybeUninit;

use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};

use crate::error::CaptureError;
use crate::skeleton::empty::{EmptySkel, EmptySkelBuilder};

/// The pair, attached until this is dropped. For measurements.
pub struct EmptyPair {
    _skeleton: EmptySkel<'static>,
}

impl fmt::Debug for EmptyPair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EmptyPair").finish_non_exhaustive()
    }
}

impl EmptyPair {
    /// Loads and attaches it.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Load`] if the kernel does not take it.
    pub fn load() -> Result<Self, CaptureError> {
        let failed = |source| CaptureError::Load { source };
        // Given away for the same reason as in `Capture::load`.
        let object = Box::leak(Box::new(MaybeUninit::uninit()));
        let open = EmptySkelBuilder::default().open(object).map_err(failed)?;
        let mut skeleton = open.load().map_err(failed)?;
        skeleton.attach().map_err(failed)?;
        Ok(Self { _skeleton: skeleton })
    }
}
