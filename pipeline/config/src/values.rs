//! What a single value must be, whatever stands around it.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use jiff::{SignedDuration, Span, SpanRelativeTo};
use syscalls::x86_64::Sysno;

use crate::fault::Fault;
use crate::limits::{DISK_BYTES_MIN, EXECUTABLE_BYTES_MAX, NAME_BYTES_MAX, SOCKET_BYTES_MAX};
use crate::nearest::nearest;

/// Longest path, in bytes: `PATH_MAX` with its end.
const PATH_BYTES_MAX: usize = 4_095;

/// Kinds of systemd units that have a cgroup.
const UNIT_KINDS: [&str; 6] = ["service", "scope", "slice", "socket", "mount", "swap"];

/// Longest name of a unit, in bytes (systemd.unit(5)).
const UNIT_BYTES_MAX: usize = 255;

/// Words in the name of a variable that holds a secret.
const SECRET_WORDS: [&str; 11] = [
    "SECRET",
    "SECRETS",
    "TOKEN",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "CREDENTIALS",
    "KEY",
    "APIKEY",
    "COOKIE",
];

pub(crate) fn ledger_name(name: &str) -> Result<String, Fault> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed) {
        return Ok(name.to_owned());
    }
    Err(Fault::new(
        format!("`{name}` is no name for a ledger"),
        format!("use lower-case letters, digits and `-`, at most {NAME_BYTES_MAX} characters"),
    ))
}

pub(crate) fn agent(name: &str) -> Result<String, Fault> {
    if !name.trim().is_empty() && name.len() <= NAME_BYTES_MAX {
        return Ok(name.to_owned());
    }
    Err(Fault::new(
        "this is no name for an agent",
        format!("use 1 to {NAME_BYTES_MAX} bytes: it stands on every record"),
    ))
}

/// An absolute path that is spelt in only one way, so that equal paths are equal texts.
pub(crate) fn path(text: &str) -> Result<PathBuf, Fault> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err(Fault::new(format!("`{text}` is not absolute"), "begin it with `/`"));
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(Fault::new(
            format!("the path has {} bytes", text.len()),
            format!("use at most {PATH_BYTES_MAX} bytes"),
        ));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Fault::new(format!("`{text}` leads through `..`"), "write where it leads to"));
    }
    let plain: PathBuf = path.components().collect();
    if plain.as_os_str() == path.as_os_str() {
        return Ok(path);
    }
    Err(Fault::new(
        format!("`{text}` has a `/` or a `.` too many"),
        format!("write `{}`", plain.display()),
    ))
}

pub(crate) fn socket(text: &str) -> Result<PathBuf, Fault> {
    bounded_path(text, SOCKET_BYTES_MAX, "the kernel takes no longer one for a socket")
}

pub(crate) fn executable(text: &str) -> Result<PathBuf, Fault> {
    bounded_path(text, EXECUTABLE_BYTES_MAX, "the kernel program compares no longer ones")
}

fn bounded_path(text: &str, bytes_max: usize, why: &str) -> Result<PathBuf, Fault> {
    let path = path(text)?;
    let bytes = path.as_os_str().len();
    if bytes <= bytes_max {
        return Ok(path);
    }
    Err(Fault::new(
        format!("the path has {bytes} bytes"),
        format!("use at most {bytes_max} bytes: {why}"),
    ))
}

pub(crate) fn cgroup(text: &str) -> Result<String, Fault> {
    if let Ok(below) = Path::new(text).strip_prefix("/sys/fs/cgroup") {
        return Err(Fault::new(
            format!("`{text}` begins where the cgroups are mounted"),
            format!("write it as in /proc/self/cgroup: `/{}`", below.display()),
        ));
    }
    if text == "/" {
        return Err(Fault::new(
            "the root holds every process, Graven's own too",
            "name the cgroups below it, for instance `/system.slice` and `/user.slice`",
        ));
    }
    path(text).map(|_| text.to_owned())
}

pub(crate) fn unit(text: &str) -> Result<String, Fault> {
    let (stem, kind) = text.rsplit_once('.').unwrap_or((text, ""));
    if !UNIT_KINDS.contains(&kind) {
        return Err(Fault::new(
            format!("`{text}` is no unit with processes"),
            format!("end it with its kind, as in `{text}.service`; {} have processes", {
                UNIT_KINDS.map(|kind| format!(".{kind}")).join(", ")
            }),
        ));
    }
    if stem.ends_with('@') {
        return Err(Fault::new(
            format!("`{text}` is a template, which never runs"),
            format!("name its instances, as in `{stem}1.{kind}`"),
        ));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":_.\\-@".contains(&byte);
    if !stem.is_empty() && text.len() <= UNIT_BYTES_MAX && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(
        format!("`{text}` is no name for a unit"),
        format!(
            "use letters, digits and `:_.\\-@`, at most {UNIT_BYTES_MAX} characters; see systemd-escape(1)"
        ),
    ))
}

pub(crate) fn syscall(name: &str) -> Result<String, Fault> {
    if name.parse::<Sysno>().is_ok() {
        return Ok(name.to_owned());
    }
    let likely = nearest(name, Sysno::iter().map(|sysno| sysno.name()));
    Err(Fault::new(
        format!("unknown system call `{name}`"),
        likely.map_or_else(
            || "use the names of syscalls(2), as on x86-64".to_owned(),
            |likely| format!("did you mean `{likely}`?"),
        ),
    ))
}

/// Checks a glob of absolute paths, as in `exclude_paths`, and gives it back.
///
/// # Errors
///
/// [`Fault`] where it can match no absolute path, or is no glob.
pub fn path_glob(text: &str) -> Result<String, Fault> {
    if !text.starts_with('/') {
        return Err(Fault::new(
            format!("`{text}` matches no absolute path"),
            format!("begin it with `/`, as in `/**/{text}`"),
        ));
    }
    match crate::config::excluded(&[text]) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Fault::new(
            format!("`{text}` is no glob: {}", error.kind()),
            "write `[[]`, `[{]`, `[*]` or `[?]` for the character itself",
        )),
    }
}

pub(crate) fn variable(name: &str) -> Result<String, Fault> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let digit_first = name.starts_with(|first: char| first.is_ascii_digit());
    if name.is_empty() || digit_first || !name.bytes().all(allowed) {
        return Err(Fault::new(
            format!("`{name}` is no name of a variable"),
            "use letters, digits and `_`",
        ));
    }
    if name.split('_').any(|word| SECRET_WORDS.contains(&&*word.to_ascii_uppercase())) {
        return Err(Fault::new(
            format!("`{name}` sounds like a secret"),
            "leave it out: a ledger cannot forget, and is made to be shown",
        ));
    }
    Ok(name.to_owned())
}

pub(crate) fn field(name: &str) -> Result<String, Fault> {
    if name.is_empty() {
        return Err(Fault::new("a field needs a name", "write it, or take the item out"));
    }
    Ok(name.to_owned())
}

pub(crate) fn ring_bytes(bytes: u32) -> Result<u32, Fault> {
    if bytes.is_power_of_two() {
        return Ok(bytes);
    }
    let below = 1_u32 << bytes.checked_ilog2().unwrap_or_default();
    Err(Fault::new(
        format!("{bytes} is no power of two"),
        format!("use {below} or {}: the kernel takes no other ring", below.saturating_mul(2)),
    ))
}

pub(crate) fn disk_bytes(bytes: u64) -> Result<Option<u64>, Fault> {
    if bytes == 0 || bytes >= DISK_BYTES_MIN {
        return Ok(Some(bytes).filter(|bytes| *bytes > 0));
    }
    Err(Fault::new(
        format!("{bytes} bytes are too few for a ledger"),
        format!("use at least {DISK_BYTES_MIN}, or 0 for no limit"),
    ))
}

/// Sinks that a ledger can have, as the settings name them.
const SINKS: [&str; 1] = ["mirror"];

pub(crate) fn sink(name: &str) -> Result<String, Fault> {
    if SINKS.contains(&name) {
        return Ok(name.to_owned());
    }
    let what = format!("`{name}` is no sink that a ledger can have");
    Err(Fault::new(what, format!("use one of `{}`", SINKS.join("`, `"))))
}

/// A duration of fixed length: months and years have none.
pub(crate) fn retention(text: &str) -> Result<SignedDuration, Fault> {
    let span = text.parse::<Span>().ok();
    let fixed = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    fixed.filter(SignedDuration::is_positive).ok_or_else(|| {
        let what = format!("`{text}` is no duration of days, hours, minutes and seconds");
        Fault::new(what, "write it as in `P7D` or `PT12H`; six years are `P2192D`")
    })
}

pub(crate) fn listen(text: &str) -> Result<SocketAddr, Fault> {
    const EXAMPLE: &str = "127.0.0.1:9464";
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(Fault::new(
            format!("`{text}` is no address with a port"),
            format!("write one as in `{EXAMPLE}` or `[::1]:9464`"),
        ));
    };
    if !address.ip().is_loopback() {
        return Err(Fault::new(
            format!("{} can be reached from other machines", address.ip()),
            format!(
                "listen on `127.0.0.1:{}`: the figures tell what the agents are doing and nobody is asked \
                 for a password; let a proxy on this machine do that",
                address.port()
            ),
        ));
    }
    if address.port() == 0 {
        return Err(Fault::new("port 0 is another one at every start", "name a port"));
    }
    Ok(address)
}
