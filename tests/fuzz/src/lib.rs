//! What must hold of any bytes: the bodies of the fuzz targets.
//!
//! Each says whether the bytes were admitted, and panics where something does not hold.

mod call;
mod config;
mod event;
mod header;
mod ledger;
mod line;
mod note;
mod parse;
mod proof;
mod tile;

pub use call::call;
pub use config::config;
pub use event::event;
pub use header::header;
pub use ledger::ledger;
pub use line::line;
pub use note::note;
pub use parse::parse;
pub use proof::proof;
pub use tile::tile;
