//! Every bound and default, named.
//!
//! The crate links no stage and no kernel interface, so what they define is repeated here; a test of the
//! command line's compares.

/// Largest settings file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Most ledgers: each has a ring of its own, and the kernel program has as many slots.
pub const LEDGERS_MAX: usize = 32;

/// Most watches, over all ledgers: the kernel program's table has as many lines.
pub const WATCHES_MAX: usize = 64;

/// Most names in any list of a setting.
pub const LIST_MAX: usize = 512;

/// Longest name of a ledger or an agent, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Longest path of a watched executable, in bytes: the kernel program's key has 256 with its end.
pub const EXECUTABLE_BYTES_MAX: usize = 255;

/// Longest path of a socket, in bytes: `sun_path` has 108 with its end (unix(7)).
pub const SOCKET_BYTES_MAX: usize = 107;

/// The control socket.
pub const SOCKET: &str = "/run/graven/control.sock";

/// Seconds between two heartbeats.
pub const HEARTBEAT_S: u64 = 60;
/// Longest time between two heartbeats, in seconds: a day.
pub const HEARTBEAT_S_MAX: u64 = 86_400;

/// Age at which a block is sealed, in milliseconds.
pub const BLOCK_MS_MAX: u64 = 1_000;
/// Least such age, in milliseconds: each seal costs a few syncs.
pub const BLOCK_MS_LEAST: u64 = 10;
/// Greatest such age, in milliseconds: a minute without a signature.
pub const BLOCK_MS_MOST: u64 = 60_000;

/// Raw bytes on their way at once.
pub const BUDGET_BYTES: usize = 4 << 20;
/// Least such budget, in bytes: the largest batch.
pub const BUDGET_BYTES_MIN: usize = 256 << 10;
/// Greatest such budget, in bytes.
pub const BUDGET_BYTES_MAX: usize = 1 << 30;

/// Least budget of disk, in bytes, where there is one: a hundredth and more is kept for Graven's own records.
pub const DISK_BYTES_MIN: u64 = 16 << 20;
/// Greatest budget of disk, in bytes: a pebibyte.
pub const DISK_BYTES_MAX: u64 = 1 << 50;

/// Size at which a segment is closed, in bytes.
pub const SEGMENT_BYTES: u64 = 256 << 20;
/// Least such size, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// Greatest such size, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 4 << 30;

/// The ring between kernel and ledger, in bytes.
pub const RING_BYTES: u32 = 8 << 20;
/// Smallest ring, in bytes.
pub const RING_BYTES_MIN: u32 = 64 << 10;
/// Largest ring, in bytes.
pub const RING_BYTES_MAX: u32 = 1 << 31;

/// Environment variables that decide which code runs under a program's name: interpreters' search paths,
/// preloaded code, and start-up scripts.
///
/// Left out on purpose: what may carry a secret (`JAVA_TOOL_OPTIONS` with a key store's password, proxies
/// with credentials). A ledger cannot forget.
pub const EXEC_ENV: [&str; 14] = [
    "BASH_ENV",
    "ENV",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "NODE_OPTIONS",
    "PATH",
    "PERL5LIB",
    "PERL5OPT",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RUBYLIB",
    "RUBYOPT",
];
