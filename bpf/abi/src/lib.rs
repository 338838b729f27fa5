//! What the kernel program writes, and what it means.
//!
//! - [`layout`] is the structures, byte for byte the same as in the C header.
//! - [`parse()`] turns the bytes of one record into a [`KernelRecord`]; it cannot panic.
//! - [`table`] names system calls and their arguments; [`fetch_plan`] derives from it what the kernel
//!   program reads, and [`decode()`] how a call is written down.
//! - [`CallSet`] says which calls a watch puts on record.
//! - [`encode`] makes records in user space, for tests and replays.
//!
//! Pure: no file, no clock, no system call.

mod address;
mod calls;
mod decode;
pub mod encode;
pub mod flags;
pub mod layout;
mod parse;
mod path;
mod plan;
mod record;
pub mod structures;
pub mod table;

pub use calls::{CallSet, UnknownCall};
pub use decode::{ArgValue, DecodedCall, Subject, Weakened, decode, name};
pub use layout::{CpuCounters, Header};
pub use parse::{Arch, Item, Items, ParseError, Strings, parse};
pub use plan::fetch_plan;
pub use record::{Call, Cgroup, Exec, Exit, Fork, KernelRecord, Moved, Reason, Task};
