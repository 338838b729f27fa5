//! Orders of clients: each is obeyed at once, and what takes long is done elsewhere.

use std::path::Path;

use anyhow::Context as _;
use graven_stages::clock;
use rustix::fs::statvfs;

use super::{Daemon, LedgerPost, RingPost};
use crate::control::{Door, LedgerStatus, Order, RingStatus, Status, TierStatus};

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
            Order::Watch(order, stream, reply) => {
                let watched = self.watch(order, stream);
                drop(reply.send(watched.map_err(|error| format!("{error:#}"))));
            }
            Order::Ending(index, reply) => {
                let ending = self.ending(index);
                drop(reply.send(ending.map_err(|error| format!("{error:#}"))));
            }
            Order::Unwatch(index, reply) => {
                let size = self.unwatch(index);
                drop(reply.send(size.map_err(|error| format!("{error:#}"))));
            }
        }
    }

    pub(super) fn post_of(&self, ledger: &Path) -> anyhow::Result<&LedgerPost> {
        let found = self.posts.values().find(|post| {
            // As a client names it, whatever links led there.
            post.tenant.settings.dir.canonicalize().is_ok_and(|dir| dir == ledger)
        });
        found.with_context(|| {
            let names: Vec<_> = self.posts.keys().map(String::as_str).collect();
            format!("{} is none of the daemon's ledgers: {}", ledger.display(), names.join(", "))
        })
    }

    pub(super) fn door(&self, ledger: &Path) -> anyhow::Result<Door> {
        let tenant = &self.post_of(ledger)?.tenant;
        tenant.door().with_context(|| {
            let why = tenant.down().unwrap_or_default();
            format!("ledger \"{}\" is not being written ({why}): try again", tenant.settings.name)
        })
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
            origin: tenant.origin.to_string(),
            down: tenant.down(),
            rebuilds: tenant.rebuilds(),
            records_per_s,
            bytes_per_s,
            figures: tenant.observer().map(|observer| observer.figures()),
            disk_free_bytes: statvfs(&tenant.settings.dir)
                .map_or(0, |it| it.f_bavail * it.f_frsize),
            worm: tenant.worm(),
            ring: ring.as_ref().map(|RingPost { thread, .. }| RingStatus {
                pending_bytes: thread.line().gauge().pending_bytes(),
                size_bytes: thread.line().gauge().ring_bytes(),
            }),
            watches: self.watcher.as_ref().map(|watcher| watcher.status(name)).unwrap_or_default(),
        }
    }
}
