//! What must hold of any bytes: the bodies of the fuzz targets.
//!
//! Each says whether the bytes were admitted, and panics where something does not hold.

mod call;
mod event;
mod ledger;
mod note;
mod parse;

pub use call::call;
pub use event::event;
pub use ledger::ledger;
pub use note::note;
pub use parse::parse;
