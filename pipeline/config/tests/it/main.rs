//! The settings from outside: files in, settings or problems out.

mod configs;
mod differences;
mod hostile;
mod schema;
mod support;
