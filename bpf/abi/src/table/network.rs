//! Calls that name addresses.

use syscalls::x86_64::Sysno;

use super::Kind::{
    Count, Enum, Fd, Flags, Hex, Int, LocalAddr, LocalAddrOut, PeerAddr, PeerAddrOut, PeerMessage,
    PeerMessageOut, PeerMessages, SocketOption,
};
use super::{Syscall, calls};
use crate::flags::network::{SHUTDOWN, SOCKET_LEVEL};
use crate::flags::{ACCEPT, FAMILY, MESSAGE, SOCKET_TYPE};

calls! {
    socket(domain: Enum(FAMILY), type: Flags(&SOCKET_TYPE), protocol: Int);
    connect(sockfd: Fd, addr: PeerAddr { len: 2 }, addrlen: Count);
    bind(sockfd: Fd, addr: LocalAddr { len: 2 }, addrlen: Count);
    listen(sockfd: Fd, backlog: Int);
    accept(sockfd: Fd, addr: PeerAddrOut { len: 2 }, addrlen: Count);
    accept4(sockfd: Fd, addr: PeerAddrOut { len: 2 }, addrlen: Count, flags: Flags(&ACCEPT));
    getsockname(sockfd: Fd, addr: LocalAddrOut { len: 2 }, addrlen: Count) is routine;
    getpeername(sockfd: Fd, addr: PeerAddrOut { len: 2 }, addrlen: Count) is routine;
    sendto(sockfd: Fd, buf: Hex, len: Count, flags: Flags(&MESSAGE), dest_addr: PeerAddr { len: 5 }, addrlen: Count);
    recvfrom(sockfd: Fd, buf: Hex, len: Count, flags: Flags(&MESSAGE), src_addr: PeerAddrOut { len: 5 }, addrlen: Count);
    sendmsg(sockfd: Fd, msg: PeerMessage, flags: Flags(&MESSAGE));
    recvmsg(sockfd: Fd, msg: PeerMessageOut, flags: Flags(&MESSAGE));
    sendmmsg(sockfd: Fd, msgvec: PeerMessages { count: 2 }, vlen: Count, flags: Flags(&MESSAGE));
    recvmmsg(sockfd: Fd, msgvec: Hex, vlen: Count, flags: Flags(&MESSAGE), timeout: Hex);
    socketpair(domain: Enum(FAMILY), type: Flags(&SOCKET_TYPE), protocol: Int, sv: Hex);
    setsockopt(sockfd: Fd, level: Enum(SOCKET_LEVEL), optname: SocketOption { level: 1 }, optval: Hex, optlen: Count);
    getsockopt(sockfd: Fd, level: Enum(SOCKET_LEVEL), optname: SocketOption { level: 1 }, optval: Hex, optlen: Hex) is routine;
    shutdown(sockfd: Fd, how: Enum(SHUTDOWN));
}
