//! Whole paths, end to end, through the command line: each ends with both verifiers.

mod append;
mod check;
mod daemon;
mod exec;
mod exit_codes;
mod faults;
mod kill;
mod operators;
mod schema;
mod seeing;
mod strace;
mod support;
mod tour;
mod worm;
