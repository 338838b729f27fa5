//! Orders of clients, and the change from one configuration to the next.

use std::path::Path;

use anyhow::{Context as _, bail};
use graven_config::{Change, Config, Ledger, diff};
use graven_record::Value;
use graven_stages::clock;
use rustix::fs::statvfs;

use super::{Daemon, LedgerPost, RingPost};
use crate::control::{
    Answer, Door, LedgerStatus, Order, RingStatus, Status, TierStatus, WatchOrder,
};
use crate::ring_thread::RingLine;

impl Daemon {
    /// Does what a client asks for. Whoever asked may have gone by the time of the answer.
    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Status(reply) => drop(reply.send(self.status())),
            Order::Reload(reply) => drop(reply.send(self.reload().await)),
            Order::Append(ledger, reply) => {
                let door = self.door(&ledger);
                drop(reply.send(door.map_err(|error| format!("{error:#}"))));
            }
            Order::Watch(order, reply) => {
                let size = self.watch(&order);
                drop(reply.send(size.map_err(|error| format!("{error:#}"))));
            }
            Order::Ending(trace_id, reply) => {
                let ending = self.ending(&trace_id);
                drop(reply.send(ending.map_err(|error| format!("{error:#}"))));
            }
            Order::Unwatch(trace_id, reply) => {
                let size = self.unwatch(&trace_id);
                drop(reply.send(size.map_err(|error| format!("{error:#}"))));
            }
        }
    }

    fn post_of(&self, ledger: &Path) -> anyhow::Result<&LedgerPost> {
        let found = self.posts.values().find(|post| {
            // As a client names it, whatever links led there.
            post.tenant.settings.dir.canonicalize().is_ok_and(|dir| dir == ledger)
        });
        found.with_context(|| {
            let names: Vec<_> = self.posts.keys().map(String::as_str).collect();
            format!("{} is none of the daemon's ledgers: {}", ledger.display(), names.join(", "))
        })
    }

    fn door(&self, ledger: &Path) -> anyhow::Result<Door> {
        let tenant = &self.post_of(ledger)?.tenant;
        tenant.door().with_context(|| {
            let why = tenant.down().unwrap_or_default();
            format!("ledger \"{}\" is being rebuilt ({why}): try again", tenant.settings.name)
        })
    }

    fn watch(&mut self, order: &WatchOrder) -> anyhow::Result<u64> {
        let size = self.door(&order.ledger)?.counters.size();
        let ring = self.post_of(&order.ledger)?.ring.as_ref();
        let post = ring.context("this daemon cannot watch: see its log")?.post.clone();
        let watcher = self.watcher.as_mut().context("this daemon cannot watch: see its log")?;
        watcher.order(&post, order)?;
        Ok(size)
    }

    /// The line to the ring of a client's watch, and the watch's index there.
    fn ending(&self, trace_id: &str) -> anyhow::Result<(RingLine, u32)> {
        let watcher = self.watcher.as_ref().context("this daemon cannot watch: see its log")?;
        let (index, ledger) =
            watcher.ordered(trace_id).context("the ledger was closed meanwhile")?;
        let ring = self.posts.get(ledger).and_then(|post| post.ring.as_ref());
        Ok((ring.context("the ledger has no ring")?.thread.line().clone(), index))
    }

    /// Ends a client's watch; returns how many records the ledger has.
    fn unwatch(&mut self, trace_id: &str) -> anyhow::Result<u64> {
        let watcher = self.watcher.as_mut().context("this daemon cannot watch: see its log")?;
        let (_, ledger) = watcher.ordered(trace_id).context("the ledger was closed meanwhile")?;
        let observer = self.posts.get(ledger).and_then(|post| post.tenant.observer());
        watcher.countermand(trace_id)?;
        Ok(observer.map_or(0, |observer| observer.figures().size))
    }

    pub(super) fn status(&self) -> Status {
        let tiers = self.tiers.iter();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: (clock::mono_ns() - self.started_ns) / 1_000_000_000,
            config: self.path.clone(),
            config_sha256: self.config.sha256().to_string(),
            reload_failure: self.reload_failure.clone(),
            tiers: tiers
                .map(|tier| TierStatus { name: tier.name.to_owned(), missing: tier.reason.clone() })
                .collect(),
            ledgers: self.posts.values().map(|post| self.ledger_status(post)).collect(),
        }
    }

    fn ledger_status(&self, LedgerPost { tenant, ring }: &LedgerPost) -> LedgerStatus {
        let name = &tenant.settings.name;
        let (records_per_s, bytes_per_s) = tenant.rates.per_s();
        LedgerStatus {
            name: name.clone(),
            dir: tenant.settings.dir.clone(),
            origin: tenant.info.origin.to_string(),
            down: tenant.down(),
            rebuilds: tenant.rebuilds(),
            records_per_s,
            bytes_per_s,
            figures: tenant.observer().map(|observer| observer.figures()),
            disk_free_bytes: statvfs(&tenant.settings.dir)
                .map_or(0, |it| it.f_bavail * it.f_frsize),
            ring: ring.as_ref().map(|RingPost { thread, .. }| RingStatus {
                pending_bytes: thread.line().gauge().pending_bytes(),
                size_bytes: thread.line().gauge().ring_bytes(),
            }),
            watches: self.watcher.as_ref().map(|watcher| watcher.status(name)).unwrap_or_default(),
        }
    }

    /// Applies the file anew, and remembers how that went.
    pub(super) async fn reload(&mut self) -> Result<Answer, String> {
        let applied = self.apply_file().await.map_err(|error| format!("{error:#}"));
        match &applied {
            Ok(Answer::Applied { changes, sha256 }) => {
                tracing::info!(
                    changes = changes.len(),
                    sha256,
                    "the configuration was applied anew"
                );
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(error, "the configuration was not applied: the old one stays");
            }
        }
        self.reload_failure = applied.as_ref().err().cloned();
        applied
    }

    /// Where it fails, everything is as it was before.
    async fn apply_file(&mut self) -> anyhow::Result<Answer> {
        let new = graven_config::load(&self.path)
            .context("nothing was changed: the old configuration stays")?;
        if new.control != self.config.control || new.metrics != self.config.metrics {
            bail!(
                "[control] and [metrics] change with a restart alone: `systemctl restart graven`"
            );
        }
        let old = self.config.clone();
        let changes = diff(&old, &new);
        if let Err(failure) = self.change_to(new, &changes).await {
            let back = diff(&self.config, &old);
            self.change_to(old, &back)
                .await
                .context("the old configuration could not be restored")?;
            return Err(failure.context("nothing was changed"));
        }
        Ok(Answer::Applied {
            changes: changes.iter().map(ToString::to_string).collect(),
            sha256: self.config.sha256().to_string(),
        })
    }

    /// What `config.applied` says in the ledger of that name: of its own settings alone, since a ledger is one
    /// tenant's.
    pub(super) fn news(&self, ledger: &str, changes: &[Change]) -> Value {
        let own = changes.iter().filter(|change| change.key.ledger.as_deref() == Some(ledger));
        let changes: Vec<Value> = own.map(|change| change.to_string().into()).collect();
        Value::object([
            ("changes", changes.into()),
            ("file", self.path.display().to_string().into()),
            ("sha256", self.config.sha256().to_string().into()),
        ])
    }

    async fn change_to(&mut self, new: Config, changes: &[Change]) -> anyhow::Result<()> {
        self.config = new;
        let wanted = self.config.ledgers.clone();
        let gone: Vec<String> = self
            .posts
            .values()
            .filter(|post| !wanted.iter().any(|settings| stays(&post.tenant.settings, settings)))
            .map(|post| post.tenant.settings.name.clone())
            .collect();
        for name in gone {
            self.close(&name).await?;
        }
        for settings in wanted {
            let Some(post) = self.posts.get_mut(&settings.name) else {
                self.open(&settings)?;
                continue;
            };
            post.tenant.settings = settings.clone();
            let (watcher, post) = (self.watcher.as_mut(), &*post);
            if let (Some(watcher), Some(ring)) = (watcher, &post.ring) {
                watcher.configure(&ring.post, &settings)?;
            }
            let news = self.news(&settings.name, changes);
            if let Some(post) = self.posts.get(&settings.name) {
                post.tenant.announce(news).await;
            }
        }
        Ok(())
    }
}

/// Whether a ledger goes on under new settings: all but its watches are as they were.
fn stays(old: &Ledger, new: &Ledger) -> bool {
    let bare = |settings: &Ledger| {
        let mut bare = settings.clone();
        bare.watches.clear();
        bare
    };
    bare(old) == bare(new)
}
