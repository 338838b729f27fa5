//! Orders of clients: each is obeyed at once, and what takes long is done elsewhere.

use std::path::Path;

use anyhow::Context as _;
use graven_stages::clock;
use rustix::fs::statvfs;

use super::{Daemon, LedgerPost, RingPost};
use crate::control::{Door, LedgerStatus, Order, RingStatus, Status, TierStatus, WatchOrder};
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
}
