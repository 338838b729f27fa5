//! A program that does something when it is told to, and then waits.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use graven_capture::{AgentCgroup, spawn};

/// `cat`, which makes a call or two for each line that it is given.
pub(crate) struct Cat {
    child: Child,
}

impl Cat {
    pub(crate) fn start() -> Self {
        Self::of(Self::command().spawn().expect("cat starts"))
    }

    pub(crate) fn start_in(cgroup: &AgentCgroup) -> Self {
        Self::of(spawn(&mut Self::command(), cgroup).expect("cat starts"))
    }

    fn command() -> Command {
        let mut cat = graven_capture::command("cat".as_ref()).expect("cat is in PATH");
        cat.stdin(Stdio::piped()).stdout(Stdio::piped());
        cat
    }

    fn of(child: Child) -> Self {
        let mut cat = Self { child };
        cat.echo();
        cat
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives it a line and takes it back.
    pub(crate) fn echo(&mut self) {
        self.child.stdin.as_mut().expect("piped").write_all(b"line\n").expect("it reads");
        let mut line = String::new();
        BufReader::new(self.child.stdout.as_mut().expect("piped"))
            .read_line(&mut line)
            .expect("it writes");
        assert_eq!(line, "line\n");
        // Its write is on record once it has returned: `cat` is in its next read then.
        let call = format!("/proc/{}/syscall", self.child.id());
        while !fs::read_to_string(&call).expect("it runs").starts_with("0 ") {
            std::thread::yield_now();
        }
    }

    pub(crate) fn moved_to(&mut self, cgroup: &Path) {
        fs::write(cgroup.join("cgroup.procs"), self.child.id().to_string()).expect("root may");
        self.echo();
    }

    /// Waits until it is dead.
    pub(crate) fn killed(mut self) {
        assert_eq!(self.child.wait().expect("wait").code(), None, "by a signal");
    }

    pub(crate) fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("wait").success());
    }
}
