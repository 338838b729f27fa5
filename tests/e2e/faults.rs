//! Faults from outside: each with a control first, each ending with the verifier.

mod copies;
mod disks;
mod injected;
mod limits;
mod recorder;
mod small_disk;
