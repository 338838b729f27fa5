//! The answering end: a thread for each connection, orders to the daemon's own.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use graven_record::event::Admission;
use graven_stages::{Counters, Intake};
use rustix::net::sockopt::socket_peercred;
use tokio::sync::{mpsc, oneshot};

use super::{Answer, REQUEST_BYTES_MAX, Request, Status};
use crate::feed::{Feed, answers_to};
use crate::ring_thread::RingLine;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;

/// Of these, those that stay open for long: feeds of events, and commands.
const LONG_MAX: usize = 48;

/// How long a client may take to say what it wants.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// What a connection wants of the daemon.
#[derive(Debug)]
pub(crate) enum Order {
    Status(oneshot::Sender<Status>),
    Reload(oneshot::Sender<Result<Answer, String>>),
    /// The way into a ledger, by its directory.
    Append(PathBuf, oneshot::Sender<Result<Door, String>>),
    /// Begins a watch for a client, who is warned over the stream; its index, and the ledger's size.
    Watch(WatchOrder, UnixStream, oneshot::Sender<Result<(u32, u64), String>>),
    /// The client of this watch has closed its side.
    Ending(u32, oneshot::Sender<Result<Ending, String>>),
    /// Ends this watch; everything of it is durable.
    Unwatch(u32, oneshot::Sender<Result<u64, String>>),
}

/// What becomes of a watch whose client has closed its side.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It ends once all of it is durable and what has left its cgroup is dead.
    Now(RingLine),
    /// It goes on until nothing runs in its cgroup.
    Later,
}

/// The way into a ledger.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) intake: Intake,
    pub(crate) admission: Arc<Admission>,
    pub(crate) counters: Arc<Counters>,
}

/// A cgroup to be watched for a while.
#[derive(Debug, Clone)]
pub(crate) struct WatchOrder {
    pub(crate) ledger: PathBuf,
    pub(crate) agent: String,
    pub(crate) trace_id: String,
    pub(crate) cgroup: PathBuf,
    pub(crate) cgroup_id: u64,
    pub(crate) keep_going: bool,
}

/// The socket; gone when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
    listener: UnixListener,
    _lock: File,
}

impl Server {
    /// Listens on `path` with mode 0600, in place of a daemon that has gone.
    pub(crate) fn bind(path: &Path) -> anyhow::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("failed to make {}", parent.display()))?;
        }
        // A socket does not tell whether somebody still answers it; a lock does.
        let lock = path.with_extension("lock");
        let lock =
            File::create(&lock).with_context(|| format!("failed to make {}", lock.display()))?;
        if lock.try_lock().is_err() {
            bail!(
                "another daemon listens on {}: stop it, or choose another [control] socket",
                path.display()
            );
        }
        // Under its own name only once nobody else can open it.
        let hidden = path.with_extension("new");
        drop(fs::remove_file(&hidden));
        let listener = UnixListener::bind(&hidden)
            .with_context(|| format!("failed to listen on {}", hidden.display()))?;
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&hidden, path))
            .with_context(|| format!("failed to make {}", path.display()))?;
        Ok(Self { path: path.to_owned(), listener, _lock: lock })
    }

    /// Answers, from a thread of its own.
    pub(crate) fn serve(&self, orders: mpsc::Sender<Order>) -> anyhow::Result<()> {
        let listener = self.listener.try_clone()?;
        let name = "graven-control".to_owned();
        thread::Builder::new().name(name).spawn(move || accept(&listener, &orders))?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

fn accept(listener: &UnixListener, orders: &mpsc::Sender<Order>) {
    let open = Arc::<AtomicUsize>::default();
    let long = Arc::<AtomicUsize>::default();
    for stream in listener.incoming() {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                // Out of descriptors, say: the next one may do better.
                tracing::warn!(%error, "a control connection could not be taken");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let (orders, long) = (orders.clone(), Arc::clone(&long));
        let ticket = Ticket::take(&open, CONNECTIONS_MAX);
        let serve = move || {
            let connection = Connection { stream: &stream, orders, long };
            let served = match ticket {
                Some(_open) => connection.serve(),
                None => Err(anyhow::anyhow!("{CONNECTIONS_MAX} connections are open: try again")),
            };
            if let Err(error) = served {
                tracing::debug!(%error, "a request failed");
                drop(connection_answer(&stream, &Answer::Failed { error: format!("{error:#}") }));
            }
        };
        if let Err(error) = thread::Builder::new().name("graven-request".into()).spawn(serve) {
            tracing::warn!(%error, "a control connection got no thread");
        }
    }
}

/// Counts a connection while it is open.
struct Ticket(Arc<AtomicUsize>);

impl Ticket {
    fn take(open: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let ticket = Self(Arc::clone(open));
        (open.fetch_add(1, Ordering::Relaxed) < max).then_some(ticket)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Connection<'a> {
    stream: &'a UnixStream,
    orders: mpsc::Sender<Order>,
    long: Arc<AtomicUsize>,
}

impl Connection<'_> {
    fn serve(&self) -> anyhow::Result<()> {
        let peer = socket_peercred(self.stream)?;
        let own = rustix::process::geteuid();
        if !peer.uid.is_root() && peer.uid != own {
            bail!("user {} is not the one who runs the daemon", peer.uid.as_raw());
        }
        self.stream.set_read_timeout(Some(REQUEST_PATIENCE))?;
        let mut reader = BufReader::new(self.stream);
        let mut line = Vec::new();
        (&mut reader).take(REQUEST_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        let request = serde_json::from_slice(&line).context(
            "the request is none that this version knows: use the daemon's own `graven`",
        )?;
        self.stream.set_read_timeout(None)?;
        match request {
            Request::Status {} => {
                let status = self.order(Order::Status)?;
                self.answer(&Answer::Status(Box::new(status)))
            }
            Request::Reload {} => {
                let applied = self.order(Order::Reload)?.map_err(anyhow::Error::msg)?;
                self.answer(&applied)
            }
            Request::Append { ledger, strict } => self.append(ledger, strict, reader),
            Request::Watch { ledger, agent, trace_id, cgroup, cgroup_id, keep_going } => {
                let order = WatchOrder { ledger, agent, trace_id, cgroup, cgroup_id, keep_going };
                self.watch(order, reader)
            }
        }
    }

    /// Gives the daemon an order and waits for what comes of it.
    fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> anyhow::Result<T> {
        let (reply, replied) = oneshot::channel();
        let stopping = "the daemon is stopping";
        self.orders.blocking_send(order(reply)).ok().context(stopping)?;
        replied.blocking_recv().context(stopping)
    }

    fn answer(&self, answer: &Answer) -> anyhow::Result<()> {
        Ok(connection_answer(self.stream, answer)?)
    }

    fn append(
        &self,
        ledger: PathBuf,
        strict: bool,
        reader: impl Read + Send,
    ) -> anyhow::Result<()> {
        let _place = self.place()?;
        let door = self.order(|reply| Order::Append(ledger, reply))?.map_err(anyhow::Error::msg)?;
        let counters = door.counters;
        self.answer(&Answer::Ready { size: counters.size() })?;
        let feed = Feed::new(reader, strict, door.admission, door.intake);
        let mut out = io::BufWriter::new(self.stream);
        let tell = |acknowledgement| {
            for answer in answers_to(&acknowledgement) {
                write_answer(&mut out, &answer)?;
            }
            out.flush()
        };
        // Fails only where the client has gone, which ends the input too.
        feed.run_scoped(tell, || drop(self.stream.shutdown(Shutdown::Read)))?;
        self.answer(&Answer::Done { size: counters.size() })
    }

    fn watch(&self, order: WatchOrder, mut reader: impl Read) -> anyhow::Result<()> {
        let _place = self.place()?;
        let stream = self.stream.try_clone()?;
        let begun = self.order(|reply| Order::Watch(order, stream, reply))?;
        let (index, size) = begun.map_err(anyhow::Error::msg)?;
        let told = self.answer(&Answer::Ready { size });
        // Until the client closes its side, or dies.
        let waited = told.and_then(|()| Ok(io::copy(&mut reader, &mut io::sink())?));
        let ended = match self.order(|reply| Order::Ending(index, reply))? {
            Ok(Ending::Later) => return self.answer(&Answer::Done { size }),
            Ok(Ending::Now(line)) => end(&line, index),
            Err(error) => Err(anyhow::Error::msg(error)),
        };
        let size = self.order(|reply| Order::Unwatch(index, reply))?.map_err(anyhow::Error::msg)?;
        ended?;
        waited?;
        self.answer(&Answer::Done { size })
    }

    /// A place among the connections that stay open for long: some are kept for the others.
    fn place(&self) -> anyhow::Result<Ticket> {
        Ticket::take(&self.long, LONG_MAX)
            .with_context(|| format!("{LONG_MAX} commands and feeds are connected: try again"))
    }
}

/// Waits until everything that a watch has recorded is durable, and nothing of it runs any more.
fn end(line: &RingLine, index: u32) -> anyhow::Result<()> {
    // Here and not in the daemon's own loop, which has others to serve.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(line.end_watch(index))
}

/// Writes one answer and sends it.
fn connection_answer(stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut out = io::BufWriter::new(stream);
    write_answer(&mut out, answer)?;
    out.flush()
}

fn write_answer(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    serde_json::to_writer(&mut *out, answer)?;
    out.write_all(b"\n")
}
