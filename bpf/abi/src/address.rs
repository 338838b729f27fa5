//! Socket addresses as text.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// An address: its text, and the host where it is an IP address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) text: Cow<'a, [u8]>,
    pub(crate) host: Option<String>,
}

const UNSPEC: u16 = 0;
const UNIX: u16 = 1;
const INET: u16 = 2;
const INET6: u16 = 10;
const NETLINK: u16 = 16;

/// Writes a `struct sockaddr` as text.
///
/// `127.0.0.1:80`, `[::1]:80`, `[fe80::1%2]:80`, `unix:/path`, `unix:@abstract` (bytes as they are),
/// `netlink:<port>:<groups>`; any other family, and one cut short, is `family:<number>:<hex>`.
pub(crate) fn text(bytes: &[u8]) -> Address<'_> {
    let known = match family(bytes) {
        Some(UNSPEC) => Some(plain("unspec".to_owned())),
        Some(UNIX) => Some(unix(bytes)),
        Some(INET) => inet(bytes),
        Some(INET6) => inet6(bytes),
        Some(NETLINK) => netlink(bytes),
        _ => None,
    };
    known.unwrap_or_else(|| unknown(bytes))
}

fn family(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|field| u16::from_le_bytes(*field))
}

fn plain(text: String) -> Address<'static> {
    Address { text: Cow::Owned(text.into_bytes()), host: None }
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

fn inet(bytes: &[u8]) -> Option<Address<'static>> {
    let port = u16::from_be_bytes(field(bytes, 2)?);
    let ip = Ipv4Addr::from(field::<4>(bytes, 4)?);
    Some(Address { host: Some(ip.to_string()), ..plain(format!("{ip}:{port}")) })
}

fn inet6(bytes: &[u8]) -> Option<Address<'static>> {
    let port = u16::from_be_bytes(field(bytes, 2)?);
    let ip = Ipv6Addr::from(field::<16>(bytes, 8)?);
    // Without the scope the structure is the 24 bytes of RFC 2133, which the kernel takes too.
    let scope = field(bytes, 24).map_or(0, u32::from_le_bytes);
    let text = if scope == 0 { format!("[{ip}]:{port}") } else { format!("[{ip}%{scope}]:{port}") };
    Some(Address { host: Some(ip.to_string()), ..plain(text) })
}

fn netlink(bytes: &[u8]) -> Option<Address<'static>> {
    let port = u32::from_le_bytes(field(bytes, 4)?);
    let groups = u32::from_le_bytes(field(bytes, 8)?);
    Some(plain(format!("netlink:{port}:{groups:#x}")))
}

fn unix(bytes: &[u8]) -> Address<'static> {
    let name = bytes.get(2..).unwrap_or_default();
    let mut text = b"unix:".to_vec();
    match name.strip_prefix(b"\0") {
        // Abstract: every byte counts, NUL included.
        Some(rest) if !rest.is_empty() => {
            text.push(b'@');
            text.extend_from_slice(rest);
        }
        _ => text.extend(name.iter().take_while(|byte| **byte != 0)),
    }
    Address { text: Cow::Owned(text), host: None }
}

fn unknown(bytes: &[u8]) -> Address<'static> {
    let mut text =
        family(bytes).map_or_else(|| "family:".to_owned(), |number| format!("family:{number}:"));
    for byte in bytes.get(2..).unwrap_or_default() {
        // Writing to a string cannot fail.
        let _ok = write!(text, "{byte:02x}");
    }
    plain(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        String::from_utf8_lossy(&text(bytes).text).into_owned()
    }

    #[test]
    fn addresses_as_text() {
        assert_eq!(shown(&[2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), "127.0.0.1:80");
        let mut six = [0u8; 28];
        six[0] = 10;
        six[3] = 80;
        six[23] = 1;
        assert_eq!(shown(&six), "[::1]:80");
        six[24] = 2;
        assert_eq!(shown(&six), "[::1%2]:80");
        assert_eq!(text(&six).host.as_deref(), Some("::1"));
        assert_eq!(shown(b"\x01\0/run/x.sock\0junk"), "unix:/run/x.sock");
        assert_eq!(shown(b"\x01\0\0name"), "unix:@name");
        assert_eq!(shown(b"\x01\0"), "unix:");
        assert_eq!(shown(&[16, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0]), "netlink:7:0x1");
    }

    #[test]
    fn what_is_cut_short_is_left_in_hexadecimal() {
        assert_eq!(shown(&[2, 0, 0, 80]), "family:2:0050");
        assert_eq!(shown(&[2]), "family:");
        assert_eq!(shown(&[]), "family:");
    }
}
