//! A daemon with ledgers of its own, and cgroups for it to watch.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{GRAVEN, Ledger, code, text};

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A daemon at work; killed if the test fails.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) home: tempfile::TempDir,
}

/// A cgroup at the top of the hierarchy, removed when dropped.
pub(crate) struct Cgroup(PathBuf);

/// Waits until `ready` gives something.
#[expect(clippy::disallowed_methods, reason = "a test's patience")]
pub(crate) fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(since.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

impl Daemon {
    /// The configuration file, whose paths are below `home`.
    pub(crate) fn config(home: &Path) -> PathBuf {
        home.join("graven.toml")
    }

    /// Starts with ledgers `one`, `two`, … each with the `[[ledger]]` settings given.
    pub(crate) fn start(ledgers: &[(&Ledger, &str)], more: &str) -> Self {
        let daemon = Self::spawn(ledgers, more, "");
        daemon.wait_until_up();
        daemon
    }

    pub(crate) fn wait_until_up(&self) {
        wait_for("the daemon", || self.graven(&["status"]).status.code().filter(|code| *code < 2));
    }

    /// The same without waiting for it; `before` is what the shell does that becomes the daemon.
    pub(crate) fn spawn(ledgers: &[(&Ledger, &str)], more: &str, before: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        write_config(home.path(), ledgers, more);
        let log = fs::File::create(home.path().join("log")).expect("a log");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before}\nexec {GRAVEN} run --config \"$0\"")]);
        command.arg(Self::config(home.path()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        Self { child: command.spawn().expect("graven starts"), home }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).expect("a log")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("control.sock")
    }

    /// A client of this daemon's.
    pub(crate) fn graven(&self, args: &[&str]) -> Output {
        let mut command = Command::new(GRAVEN);
        command.args(args).env("GRAVEN_SOCKET", self.socket()).stdin(Stdio::null());
        command.output().expect("graven runs")
    }

    /// A script under `graven exec` through this daemon, once it has made the file `at-it` in the ledger's home.
    pub(crate) fn exec(&self, ledger: &Ledger, options: &[&str], script: &str) -> Child {
        let mut command =
            ledger.command(&[&["exec"], options, &["--", "sh", "-c", script]].concat());
        command.env("GRAVEN_SOCKET", self.socket()).stdin(Stdio::null());
        let client = command.spawn().expect("graven starts");
        wait_for("the command", || ledger.home().join("at-it").exists().then_some(()));
        client
    }

    pub(crate) fn status(&self) -> Value {
        let output = self.graven(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)))
    }

    /// The state of what is watched under `name`: `None` for a target that is at work.
    pub(crate) fn waiting(&self, name: &str) -> Option<String> {
        let status = self.status();
        let targets = status["ledgers"].as_array().expect("ledgers").iter().flat_map(|ledger| {
            let watches = ledger["watches"].as_array().expect("watches");
            watches.iter().flat_map(|watch| watch["targets"].as_array().expect("targets"))
        });
        let found = targets.into_iter().find(|target| target["name"] == name);
        let found = found.unwrap_or_else(|| panic!("{name} is not watched: {status:#}"));
        found["waiting"].as_str().map(str::to_owned)
    }

    pub(crate) fn reconfigure(&self, ledgers: &[(&Ledger, &str)], more: &str) {
        write_config(self.home.path(), ledgers, more);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it runs");
    }

    /// Ends it in order; returns its exit code.
    pub(crate) fn stop(mut self) -> i32 {
        self.signal(Signal::TERM);
        code(self.child.wait().expect("it ends"))
    }

    /// Waits until it ends of itself; `None` where a signal ended it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        wait_for("the daemon's end", || self.child.try_wait().expect("it is ours")).code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if thread::panicking() {
            drop(writeln!(std::io::stderr(), "the daemon's log:\n{}", self.log()));
        }
    }
}

fn write_config(home: &Path, ledgers: &[(&Ledger, &str)], more: &str) {
    let mut text = format!("[control]\nsocket = \"{}/control.sock\"\n{more}\n", home.display());
    for (name, (ledger, settings)) in ["one", "two", "three"].iter().zip(ledgers) {
        let dir = ledger.path();
        let dir = dir.display();
        // Held segments would outlive their temporary directory.
        let worm = if settings.contains("worm = ") { "" } else { "worm = \"off\"\n" };
        writeln!(text, "[[ledger]]\nname = \"{name}\"\ndir = \"{dir}\"\n{worm}{settings}")
            .expect("memory");
    }
    // At once, as an editor would.
    fs::write(home.join("new"), text).expect("the configuration");
    fs::rename(home.join("new"), Daemon::config(home)).expect("the configuration");
}

/// A loopback port that is free.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// The body of an HTTP answer.
pub(crate) fn http_get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("metrics are served");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

impl Cgroup {
    /// A name that no other test uses.
    pub(crate) fn name(purpose: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!(
            "graven-test-{}-{purpose}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        )
    }

    pub(crate) fn new(purpose: &str) -> Self {
        Self::named(&Self::name(purpose))
    }

    pub(crate) fn named(name: &str) -> Self {
        let path = mount().join(name);
        fs::create_dir(&path).expect("root may make a cgroup");
        Self(path)
    }

    /// One whose number of threads can be limited: of version 1 where that has the controller.
    pub(crate) fn of_pids(purpose: &str) -> Self {
        let (first, second) = (Path::new("/sys/fs/cgroup/pids"), mount());
        let parent = if first.is_dir() {
            first.to_owned()
        } else {
            fs::write(second.join("cgroup.subtree_control"), "+pids").expect("the pids controller");
            second
        };
        let path = parent.join(Self::name(purpose));
        fs::create_dir(&path).expect("root may make a cgroup");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// As in `/proc/self/cgroup`.
    pub(crate) fn below(&self) -> String {
        format!("/{}", self.0.strip_prefix(mount()).expect("below the mount").display())
    }

    pub(crate) fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.0.join("cgroup.events")).expect("its state");
        events.contains("populated 1")
    }

    /// A shell script that runs in it.
    pub(crate) fn script(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        let moved = format!("echo $$ > {}/cgroup.procs; {script}", self.0.display());
        command.arg("-c").arg(moved).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, script: &str) {
        let output = self.script(script).output().expect("sh runs");
        assert!(output.status.success(), "{}", text(&output));
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        drop(fs::write(self.0.join("cgroup.kill"), "1"));
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    line.and_then(|line| line.split(' ').nth(1)).expect("cgroup2 is mounted").into()
}
