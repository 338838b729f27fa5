//! Which means of capture this machine offers.

use std::path::Path;

use rustix::thread::{CapabilitySet, capabilities};

use crate::cgroup::Cgroup2;
use crate::error::CaptureError;

const BTF: &str = "/sys/kernel/btf/vmlinux";
const NOT_BUILT: &str = "not part of this version";

/// A means of capture or enforcement, and whether it is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// `observe`, `network`, `committed` or `lsm`.
    pub name: &'static str,
    /// Whether it can be used.
    pub available: bool,
    /// Why it cannot; `None` where it can.
    pub reason: Option<String>,
}

/// Checks each tier, from the weakest to the strongest.
///
/// `observe` (a record of each call at its end) is checked as far as that is possible without loading
/// the program: rights, type information, cgroup file system.
#[must_use]
pub fn probe() -> Vec<Tier> {
    let observe = check_rights().and_then(|()| Cgroup2::find().map(|_| ()));
    let reason = observe.err().map(|error| error.to_string());
    let mut tiers = vec![Tier { name: "observe", available: reason.is_none(), reason }];
    tiers.extend(["network", "committed", "lsm"].map(|name| Tier {
        name,
        available: false,
        reason: Some(NOT_BUILT.to_owned()),
    }));
    tiers
}

/// Whether this process may load the program, and the kernel has the types that it needs.
pub(crate) fn check_rights() -> Result<(), CaptureError> {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let enough = held.contains(CapabilitySet::SYS_ADMIN)
        || held.contains(CapabilitySet::BPF | CapabilitySet::PERFMON);
    if !enough {
        return Err(CaptureError::NotPermitted);
    }
    let btf = Path::new(BTF);
    if btf.exists() { Ok(()) } else { Err(CaptureError::NoBtf { path: btf.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tier_that_is_missing_says_why() {
        let tiers = probe();
        assert_eq!(
            tiers.iter().map(|tier| tier.name).collect::<Vec<_>>(),
            ["observe", "network", "committed", "lsm"]
        );
        assert!(tiers.iter().all(|tier| tier.available == tier.reason.is_none()));
    }
}
