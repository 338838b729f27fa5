//! The service: what it holds, what it does every second, and how it starts, changes and ends.

mod clients;
mod orders;
mod reload;
mod service;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use graven_capture::{Tier, probe};
use graven_config::{Config, Ledger, Release, Worm};
use graven_ledger::Paths;
use graven_record::Value;
use graven_stages::{Agents, KernelSource, clock};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::control::{Order, Server};
use crate::ring_thread::{RingThread, cgroup_lookup};
use crate::tenant::Tenant;
use crate::warden::{self, Hold, Wish, WormState};
use crate::watcher::{Post, Watcher};
use crate::{metrics, privileges};
use clients::Clients;

/// How often names are looked up anew, rates sampled, and the service manager told that all is well.
const BEAT: Duration = Duration::from_secs(1);

/// How long clients may take to end their commands before the service does, and how long that may take.
const CLIENTS: Duration = Duration::from_secs(10);
const CLIENTS_KILLED: Duration = Duration::from_secs(5);

/// How often, and how far apart, it is looked whether ended watches have made room for new ones.
const RELEASE_TRIES: u32 = 100;
const RELEASE_PAUSE: Duration = Duration::from_millis(20);

/// Orders of clients that may wait.
const ORDERS: usize = 16;

/// The service.
pub(crate) struct Daemon {
    path: PathBuf,
    config: Config,
    started_ns: u64,
    tiers: Vec<Tier>,
    /// `None` where nothing is to be watched and the machine cannot.
    watcher: Option<Watcher>,
    /// What holds the ledgers that there were at the start, by their directory.
    holds: BTreeMap<PathBuf, Hold>,
    /// By the ledger's name.
    posts: BTreeMap<String, LedgerPost>,
    reload_failure: Option<String>,
    clients: Clients,
    stopping: bool,
    /// Why no configuration is in force, after a reload that could not be undone.
    broken: Option<anyhow::Error>,
    beaten: Arc<AtomicU64>,
}

/// A ledger with its ring.
struct LedgerPost {
    tenant: Tenant,
    ring: Option<RingPost>,
}

/// A ledger's ring, and the thread that empties it.
struct RingPost {
    post: Post,
    thread: RingThread,
}

/// Runs the service with the configuration at `path` until it is told to end.
///
/// Call it inside an actix system. It answers on its control socket, applies its configuration anew on
/// SIGHUP, and ends on SIGTERM or SIGINT once everything it has taken in is durable.
///
/// # Errors
///
/// If the configuration has problems, a ledger cannot be opened, something is to be watched and this
/// machine cannot, or a ledger can no longer be written.
pub async fn run(path: &Path) -> anyhow::Result<()> {
    let config = graven_config::load(path)?;
    let server = Server::bind(&config.control.socket)?;
    let metrics =
        config.metrics.as_ref().map(|metrics| metrics::listen(metrics.listen)).transpose()?;
    let mut daemon = Daemon::load(path, config)?;
    daemon.hold_ledgers()?;
    graven_stages::look_at_host();
    // From here on no thread has more rights than it needs.
    privileges::keep(privileges::SERVICE)?;
    let (orders, mut ordered) = mpsc::channel(ORDERS);
    server.serve(orders.clone())?;
    if let Some(listener) = metrics {
        metrics::serve(listener, orders)?;
    }
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let started = daemon.start().await;
    if started.is_ok() {
        daemon.greet();
        service::ready();
        tokio::task::spawn_local(service::keep_alive(Arc::clone(&daemon.beaten)));
    }
    let mut beat = tokio::time::interval(BEAT);
    let mut going = started;
    while going.is_ok() {
        going = tokio::select! {
            Some(order) = ordered.recv() => { daemon.obey(order).await; Ok(()) }
            _ = hang_up.recv() => { drop(daemon.reload().await); Ok(()) }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = beat.tick() => daemon.beat(),
        };
    }
    service::stopping();
    drop(server);
    daemon.see_clients_off(&mut ordered).await;
    let stopped = daemon.stop().await;
    if stopped.is_ok() {
        tracing::info!("stopped: everything that was taken in is durable");
    }
    going.and(stopped)
}

impl Daemon {
    /// Loads the kernel program, while the rights to do so are there.
    fn load(path: &Path, config: Config) -> anyhow::Result<Self> {
        let tiers = probe();
        let missing =
            tiers.iter().find_map(|tier| tier.reason.as_ref().filter(|_| tier.name == "observe"));
        let wanted = config.ledgers.iter().any(|ledger| !ledger.watches.is_empty());
        let watcher = match missing {
            None => Some(Watcher::load()?),
            Some(reason) if wanted => bail!("{reason}"),
            Some(reason) => {
                tracing::warn!(reason, "nothing can be watched: application events only");
                None
            }
        };
        let posts = BTreeMap::new();
        Ok(Self {
            path: path.to_owned(),
            config,
            started_ns: clock::mono_ns(),
            tiers,
            watcher,
            holds: BTreeMap::new(),
            posts,
            reload_failure: None,
            clients: Clients::default(),
            stopping: false,
            broken: None,
            beaten: Arc::default(),
        })
    }

    /// Starts the warden, while there are the rights that it needs.
    fn hold_ledgers(&mut self) -> anyhow::Result<()> {
        let ledgers = &self.config.ledgers;
        let wish = |it: &Ledger| Wish {
            paths: Paths::new(&it.dir),
            worm: it.worm,
            retention_s: it.release.as_ref().map(Release::retention_s),
        };
        let holds = warden::hold(&ledgers.iter().map(wish).collect::<Vec<_>>())?;
        self.holds = ledgers.iter().map(|it| it.dir.clone()).zip(holds).collect();
        Ok(())
    }

    /// What holds a ledger that is opened now: the warden knows those that there were at the start.
    fn hold_of(&self, settings: &Ledger) -> anyhow::Result<Hold> {
        const LATE: &str = "a ledger is held from a restart on: `systemctl restart graven`";
        match (settings.worm, self.holds.get(&settings.dir)) {
            (Worm::Off, _) => Ok(Hold::none(WormState::Off)),
            (_, Some(hold)) if hold.state() != WormState::Off => Ok(hold.clone()),
            (Worm::Auto, _) => Ok(Hold::none(WormState::Missing { why: LATE.to_owned() })),
            (Worm::Required, _) => bail!("ledger \"{}\": {LATE}", settings.name),
        }
    }

    /// Opens every ledger, then watches.
    async fn start(&mut self) -> anyhow::Result<()> {
        for settings in self.config.ledgers.clone() {
            self.open(&settings)?;
        }
        self.watch_all().await
    }

    /// Watches what the ledgers in force ask for, and no longer what they do not.
    async fn watch_all(&mut self) -> anyhow::Result<()> {
        for post in self.posts.values() {
            // Its run is on record before anything of it can be. One that is down says so by itself.
            if let Some(settled) = post.tenant.door().and_then(|door| door.intake.settled().ok()) {
                drop(settled.await);
            }
        }
        let Self { watcher: Some(watcher), posts, .. } = self else { return Ok(()) };
        let rings = || {
            let with_ring = posts.values().filter_map(|it| it.ring.as_ref().map(|ring| (it, ring)));
            with_ring.map(|(it, ring)| (&ring.post, &it.tenant.settings))
        };
        rings().try_for_each(|(post, settings)| watcher.retire(post, settings))?;
        let wanted: usize = rings().map(|(post, settings)| watcher.wanted(post, settings)).sum();
        // An index is free again once its last record is out of its ring: a matter of milliseconds.
        for _ in 0..RELEASE_TRIES {
            if watcher.room() >= wanted {
                break;
            }
            tokio::time::sleep(RELEASE_PAUSE).await;
        }
        rings().try_for_each(|(post, settings)| watcher.install(post, settings))?;
        watcher.follow()
    }

    /// Says what runs, for whoever reads the log.
    fn greet(&self) {
        let Config { control, metrics, ledgers, .. } = &self.config;
        let watches: usize = ledgers.iter().map(|ledger| ledger.watches.len()).sum();
        let (version, sha256) = (env!("CARGO_PKG_VERSION"), self.config.sha256());
        tracing::info!("graven {version}: {} ledgers, {watches} watches, {sha256}", ledgers.len());
        tracing::info!("listening on {}", control.socket.display());
        if let Some(metrics) = metrics {
            tracing::info!("metrics at http://{}/metrics", metrics.listen);
        }
    }

    /// Opens a ledger and its ring; nothing is watched for it yet.
    fn open(&mut self, settings: &Ledger) -> anyhow::Result<()> {
        let (hold, news) = (self.hold_of(settings)?, self.news(&settings.name, &[]));
        let tenant = Tenant::start(settings.clone(), self.tiers(), news, hold)?;
        let ring = self.watcher.as_mut().map(|watcher| RingPost::open(watcher, &tenant, settings));
        let ring = ring.transpose()?;
        self.posts.insert(settings.name.clone(), LedgerPost { tenant, ring });
        Ok(())
    }

    /// Ends a ledger: its watches, its ring once that is empty, its graph once everything is durable.
    async fn close(&mut self, name: &str) -> anyhow::Result<()> {
        let Some(LedgerPost { tenant, ring }) = self.posts.remove(name) else { return Ok(()) };
        if let Some(watcher) = &mut self.watcher {
            watcher.dismiss(name)?;
        }
        tenant.last_call();
        let emptied = match ring {
            Some(ring) => ring.thread.stop().await,
            None => Ok(()),
        };
        let drained = tenant.stop().await.with_context(|| format!("ledger \"{name}\""));
        drained.and(emptied)
    }

    fn tiers(&self) -> Value {
        tiers_value(&self.tiers)
    }

    /// What is done every second.
    fn beat(&mut self) -> anyhow::Result<()> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        for post in self.posts.values_mut() {
            if let Some(observer) = post.tenant.observer() {
                let counters = observer.counters();
                post.tenant.rates.sample(clock::mono_ns(), counters.records(), counters.bytes());
            }
        }
        for (name, post) in &self.posts {
            if post.ring.as_ref().is_some_and(|ring| ring.thread.has_ended()) {
                // Why, the end of the thread tells.
                bail!("the ring of ledger \"{name}\" is no longer read");
            }
        }
        if let Some(watcher) = &mut self.watcher {
            watcher.follow()?;
        }
        self.look_after_clients()?;
        self.beaten.store(clock::mono_ns(), Ordering::Relaxed);
        Ok(())
    }

    /// Has the clients end their commands while these are still recorded.
    async fn see_clients_off(&mut self, ordered: &mut mpsc::Receiver<Order>) {
        self.stopping = true;
        // Their commands end when all that was recorded of them is durable.
        self.posts.values().for_each(|post| post.tenant.last_call());
        self.warn_clients();
        for patience in [CLIENTS, CLIENTS_KILLED] {
            let deadline = tokio::time::Instant::now() + patience;
            while self.clients_waiting(None) > 0 {
                tokio::select! {
                    Some(order) = ordered.recv() => self.obey(order).await,
                    () = tokio::time::sleep_until(deadline) => break,
                }
            }
            self.kill_for_clients();
        }
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        let names: Vec<String> = self.posts.keys().cloned().collect();
        let mut stopped = Ok(());
        for name in names {
            let closed = self.close(&name).await;
            stopped = stopped.and(closed);
        }
        stopped
    }
}

impl RingPost {
    fn open(watcher: &mut Watcher, tenant: &Tenant, settings: &Ledger) -> anyhow::Result<Self> {
        let ring = watcher.open_ring(settings.ring_bytes)?;
        let slot = ring.slot();
        let agents = Agents::default();
        let source = KernelSource::new(agents.clone(), cgroup_lookup(watcher.cgroups()));
        let thread = RingThread::start(ring, source, tenant.way())?;
        let post =
            Post { ledger: settings.name.clone(), slot, agents, gauge: thread.line().gauge() };
        Ok(Self { post, thread })
    }
}

/// Means of capture as `pipeline.started` tells them.
#[must_use]
pub fn tiers_value(tiers: &[Tier]) -> Value {
    Value::object(tiers.iter().map(|tier| {
        let state = [("available", tier.available.into()), ("reason", tier.reason.clone().into())];
        (tier.name, Value::object(state))
    }))
}
