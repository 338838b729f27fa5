//! The programs that are watched: this test's own executable, started with a scenario's name.

#![expect(unsafe_code, reason = "some scenarios pass pointers that no safe call would")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags, chownat, fchmod, mkdirat, open, openat,
    openat2, renameat_with, symlinkat,
};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketType, bind, connect, getsockname, listen,
    sendmsg_addr, sendto, socket,
};

/// Not a test: runs the scenario that the environment names.
#[test]
#[ignore = "run under capture by the other tests"]
fn run() {
    let Ok(scenario) = std::env::var("GRAVEN_SCENARIO") else {
        return;
    };
    let directory = PathBuf::from(std::env::var_os("GRAVEN_DIRECTORY").expect("a directory"));
    std::env::set_current_dir(&directory).expect("it is there");
    fs::create_dir("inner").expect("it is empty");
    match scenario.as_str() {
        "files" => files(),
        "chroot" => change_root(&directory),
        "network" => network(),
        "processes" => processes(),
        "long" => long(),
        "absent-page" => absent_page(),
        "seccomp" => seccomp(),
        "leave" => leave(),
        "x32" => x32(),
        "memfd" => memfd(),
        "families" => families(),
        "counted" => counted(),
        "identity" => identity(),
        "sleeping" => sleeping(),
        "race" => race(),
        _ => {}
    }
}

fn files() {
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = openat(CWD, "by-cwd", flags, mode | Mode::RGRP).expect("created");
    let inner = open("inner", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).expect("opened");
    mkdirat(&inner, "by-dirfd", Mode::RWXU).expect("made");
    openat(&inner, "../by-cwd", OFlags::RDONLY, Mode::empty()).expect("opened");
    File::create(OsStr::from_bytes(b"not-\xff-utf8")).expect("created");
    fchmod(&file, mode).expect("changed");
    renameat_with(CWD, "by-cwd", &inner, "renamed", RenameFlags::NOREPLACE).expect("renamed");
    symlinkat("inner/renamed", CWD, "link").expect("linked");
    chownat(&inner, "", None, None, AtFlags::EMPTY_PATH).expect("nothing changed");
    openat2(&inner, "renamed", OFlags::RDONLY, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        .expect("opened");
    let mut deep = PathBuf::new();
    for _ in 0..60 {
        deep.push("d");
        fs::create_dir(&deep).expect("made");
    }
    let deep = open(&deep, OFlags::PATH, Mode::empty()).expect("opened");
    openat(&deep, "x", OFlags::RDONLY, Mode::empty()).expect_err("not there");
}

fn change_root(directory: &std::path::Path) {
    fs::write("inside", "").expect("written");
    let outside = File::open("/").expect("opened");
    rustix::process::chroot(directory).expect("root may");
    File::open("/inside").expect("opened");
    openat(&outside, "outside", OFlags::RDONLY, Mode::empty()).expect_err("not there");
}

fn network() {
    let loopback = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let server = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&server, &loopback).expect("bound");
    listen(&server, 7).expect("listening");
    let address = SocketAddrV4::try_from(getsockname(&server).expect("named")).expect("version 4");
    fs::write("output", address.port().to_string()).expect("written");
    let client = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    connect(&client, &address).expect("connected");
    let mut peer = std::mem::MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of_val(&peer)).expect("small");
    let raw = server.as_raw_fd();
    // SAFETY: `peer` has `length` bytes.
    let accepted = unsafe { libc::accept4(raw, peer.as_mut_ptr().cast(), &raw mut length, 0) };
    assert!(accepted >= 0);
    let unix = socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
    bind(&unix, &SocketAddrUnix::new_abstract_name(b"graven-\xfe").expect("short")).expect("bound");
    let six = socket(AddressFamily::INET6, SocketType::DGRAM, None).expect("a socket");
    let discard = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 9, 0, 0);
    // There may be no IPv6: the call is what counts.
    let _sent = sendto(&six, b"x", SendFlags::empty(), &discard);
    let four = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
    let discard = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);
    let data = [std::io::IoSlice::new(b"x")];
    let mut control = rustix::net::SendAncillaryBuffer::default();
    let _sent = sendmsg_addr(&four, &discard, &data, &mut control, SendFlags::empty());
}

fn processes() {
    let missing =
        Command::new("/nonexistent/program").arg(OsStr::from_bytes(b"not run \xff")).spawn();
    missing.expect_err("there is no such program");
    let echo =
        Command::new("/bin/echo").args(["", "hello"]).stdout(std::process::Stdio::null()).status();
    assert!(echo.expect("it starts").success());
    let mut sleep = Command::new("/bin/sleep").arg("60").spawn().expect("it starts");
    let pid = rustix::process::Pid::from_child(&sleep);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    sleep.wait().expect("it ended");
    let thread = std::thread::spawn(|| Command::new("/bin/true").exec());
    panic!("not executed: {:?}", thread.join());
}

fn long() {
    let path = format!("/{}", "./".repeat(2046)) + "x";
    let _opened = File::open(path);
    let status = Command::new("/bin/true").args(vec!["a".repeat(100); 200]).status();
    assert!(status.expect("it starts").success());
}

/// A string in a page of a file that is mapped but was never touched.
fn untouched(file: &str, text: &[u8]) -> *const libc::c_char {
    let mut bytes = text.to_vec();
    bytes.push(0);
    fs::write(file, bytes).expect("written");
    let file = File::open(file).expect("opened");
    let (read, private) = (rustix::mm::ProtFlags::READ, rustix::mm::MapFlags::PRIVATE);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), 4096, read, private, &file, 0) };
    start.expect("mapped").cast_const().cast()
}

fn absent_page() {
    let name = untouched("name", b"hidden");
    // SAFETY: the kernel reads the string, which ends with a NUL.
    assert!(unsafe { libc::open(name, libc::O_CREAT | libc::O_WRONLY, 0o600) } >= 0);
    let directory = untouched("directory", b"inner");
    // SAFETY: as above.
    assert_eq!(unsafe { libc::chdir(directory) }, 0);
    // SAFETY: the kernel refuses the address; nothing is read.
    let refused = unsafe { libc::open(std::ptr::without_provenance(8), libc::O_RDONLY) };
    assert_eq!(refused, -1);
}

fn seccomp() {
    let number = u32::try_from(libc::SYS_mkdirat).expect("positive");
    // BPF: load the number; if it is mkdirat, EPERM; otherwise allow.
    let mut filter = [
        (0x20, 0, 0, 0),
        (0x15, 0, 1, number),
        (0x06, 0, 0, 0x0005_0001),
        (0x06, 0, 0, 0x7fff_0000),
    ]
    .map(|(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k });
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its instructions live until the call returns.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program),
            0
        );
    }
    mkdirat(CWD, "refused", Mode::RWXU).expect_err("refused");
}

fn leave() {
    let root = graven_capture::Cgroup2::find().expect("cgroup2 is mounted");
    fs::write(root.mount().join("cgroup.procs"), "0").expect("root may");
    File::create("after").expect("created");
    assert!(Command::new("/bin/true").status().expect("it starts").success());
}

/// A thousand calls of one kind.
fn counted() {
    for _ in 0..1000 {
        std::hint::black_box(rustix::process::getppid());
    }
}

fn identity() {
    // SAFETY: the call takes numbers; this process ends soon after.
    assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, -1, 65534, -1) }, 0);
    std::hint::black_box(rustix::process::getppid());
}

/// Two threads and the main one, each in a call until standard input ends.
fn sleeping() {
    let sleep = || std::io::stdin().read_line(&mut String::new());
    let threads = [std::thread::spawn(sleep), std::thread::spawn(sleep)];
    fs::write("output", "ready").expect("written");
    for thread in threads {
        thread.join().expect("it ends").expect("read");
    }
}

/// Executes a program whose path another thread changes all the time, again and again; then one whose path
/// nobody changes.
fn race() {
    for name in ["program-0", "program-1"] {
        fs::copy(fs::canonicalize("/bin/true").expect("there"), name).expect("copied");
    }
    let argv = [c"race".as_ptr(), std::ptr::null()];
    let execute = |path: *const u8, at: bool| {
        // SAFETY: the path and the list end with zeros, and live as long as the process.
        let failed = unsafe {
            if at {
                let (list, none) = (argv.as_ptr(), std::ptr::null::<*const libc::c_char>());
                libc::syscall(libc::SYS_execveat, libc::AT_FDCWD, path, list, none, 0)
            } else {
                libc::execve(path.cast(), argv.as_ptr(), std::ptr::null()).into()
            }
        };
        panic!("not executed: {failed}");
    };
    for round in 0..200 {
        // SAFETY: the child makes a thread and executes a program; glibc's locks survive a fork.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let path: &[AtomicU8; 10] = Box::leak(Box::new(b"program-0\0".map(AtomicU8::new)));
            std::thread::spawn(|| {
                loop {
                    path[8].fetch_xor(1, Ordering::Relaxed);
                }
            });
            std::thread::sleep(std::time::Duration::from_millis(1));
            // Whether it changes within a call, as a control.
            let before = path[8].load(Ordering::Relaxed);
            std::hint::black_box(rustix::process::getppid());
            if path[8].load(Ordering::Relaxed) != before {
                File::create(format!("raced-{round}")).expect("created");
            }
            execute(path.as_ptr().cast(), round % 2 == 1);
        }
        let mut status = 0;
        // SAFETY: `status` is written to.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0);
    }
    execute(c"./program-0".as_ptr().cast(), false);
}

fn x32() {
    // SAFETY: getpid takes no argument.
    unsafe { libc::syscall(0x4000_0000 + libc::SYS_getpid, 0, 0, 0, 42) };
}

fn memfd() {
    let file = rustix::fs::memfd_create("hidden", rustix::fs::MemfdFlags::CLOEXEC).expect("made");
    rustix::io::write(&file, &fs::read("/bin/true").expect("read")).expect("written");
    let argv = [c"innocent".as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<libc::c_char>()];
    let fd = file.as_raw_fd();
    // SAFETY: both arrays end with NULL, and their strings are static.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd,
            c"".as_ptr(),
            argv.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    panic!("not executed: {}", std::io::Error::last_os_error());
}

/// One call or two of each family; that some of them fail is all the same.
fn families() {
    let memory = rustix::fs::memfd_create("named", rustix::fs::MemfdFlags::ALLOW_SEALING);
    let memory = memory.expect("made");
    let fd = memory.as_raw_fd();
    let file = File::create("file").expect("created");
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, 4096)
        .expect("allocated");
    let reuse: libc::c_int = 1;
    let mut size = [0u16; 4];
    let null = File::open("/dev/null").expect("opened");
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: libc::RLIM_INFINITY };
    let peer = [0u8; 128];
    let (sender, receiver) = (
        std::net::UdpSocket::bind("127.0.0.1:0").expect("bound"),
        std::net::UdpSocket::bind("127.0.0.1:0").expect("bound"),
    );
    let from = sender.local_addr().expect("named");
    sender.send_to(b"x", receiver.local_addr().expect("named")).expect("sent");
    fs::write("output", from.to_string()).expect("written");
    let mut byte = 0u8;
    let mut vector = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: every pointer is NULL or to a value that lives until the end and is as large as the
    // call takes it to be; the mapping is at an address of the kernel's choice.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_name = peer.as_ptr().cast_mut().cast();
        message.msg_namelen = 128;
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        assert_eq!(libc::recvmsg(receiver.as_raw_fd(), &raw mut message, 0), 1);
        libc::setxattr(
            c"file".as_ptr(),
            c"user.graven".as_ptr(),
            c"v".as_ptr().cast(),
            1,
            libc::XATTR_CREATE,
        );
        let (prot, private) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE);
        libc::mmap(std::ptr::null_mut(), 8192, prot, private, fd, 0);
        libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_GROW);
        libc::unshare(0);
        libc::prctl(libc::PR_SET_NAME, c"renamed".as_ptr(), 0, 0, 0);
        let (level, option) = (libc::SOL_SOCKET, libc::SO_REUSEADDR);
        libc::setsockopt(sender.as_raw_fd(), level, option, (&raw const reuse).cast(), 4);
        libc::ioctl(null.as_raw_fd(), libc::TIOCGWINSZ, size.as_mut_ptr());
        libc::mount(
            c"none".as_ptr(),
            c"absent".as_ptr(),
            c"tmpfs".as_ptr(),
            libc::MS_NOSUID,
            std::ptr::null(),
        );
        libc::mount(
            std::ptr::null(),
            c"absent".as_ptr(),
            std::ptr::null(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        );
        libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_CORE, &raw const limit, 0);
        libc::futimens(file.as_raw_fd(), std::ptr::null());
        libc::syscall(
            libc::SYS_add_key,
            c"graven".as_ptr(),
            c"k".as_ptr(),
            0,
            0,
            libc::KEY_SPEC_PROCESS_KEYRING,
        );
        libc::syscall(libc::SYS_clone3, std::ptr::without_provenance::<u8>(8), 88);
    }
    std::thread::spawn(|| ()).join().expect("it ends");
}
