//! Clients for whom a cgroup is watched: `graven exec` through the service.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use graven_capture::{cgroup_populated, kill_cgroup};
use uuid::Uuid;

use super::Daemon;
use crate::control::{Answer, Ending, WatchOrder};

/// Longest name of an agent, in bytes: that of a file, after which it may be named.
const AGENT_BYTES_MAX: usize = 255;

/// Those whose watch is at work, by its index.
pub(super) type Clients = BTreeMap<u32, Client>;

pub(super) struct Client {
    ledger: String,
    cgroup: PathBuf,
    keep_going: bool,
    stream: UnixStream,
    /// It has been told that its watch is about to end.
    warned: bool,
    /// It has gone, and its command goes on.
    lingers: bool,
}

impl Client {
    fn warn(&mut self, why: &str) {
        if self.warned || self.lingers {
            return;
        }
        self.warned = true;
        let line = serde_json::to_string(&Answer::Ending { why: why.to_owned() });
        let line = line.expect("plain data serialises") + "\n";
        // One that has gone need not be told.
        drop(self.stream.write_all(line.as_bytes()));
    }

    fn is_populated(&self) -> bool {
        cgroup_populated(&self.cgroup).unwrap_or(false)
    }

    /// Kills what runs in the cgroup: a client that died, or does not obey, may have left something there.
    fn kill(&self) {
        if let Err(error) = kill_cgroup(&self.cgroup) {
            tracing::debug!(%error, "the cgroup is gone already");
        }
    }
}

impl Daemon {
    /// Begins a client's watch; returns its index and the ledger's size.
    pub(super) fn watch(
        &mut self,
        order: WatchOrder,
        stream: UnixStream,
    ) -> anyhow::Result<(u32, u64)> {
        const NO_WATCH: &str = "this service cannot watch: see its log";
        if self.stopping {
            bail!("the service is stopping: try again once it runs");
        }
        Uuid::parse_str(&order.trace_id).context("the trace id is no UUID")?;
        if order.agent.is_empty() || order.agent.len() > AGENT_BYTES_MAX {
            bail!("the agent's name has {} bytes: use 1 to {AGENT_BYTES_MAX}", order.agent.len());
        }
        let size = self.door(&order.ledger)?.counters.size();
        let ring = self.post_of(&order.ledger)?.ring.as_ref();
        let post = ring.context(NO_WATCH)?.post.clone();
        let watcher = self.watcher.as_mut().context(NO_WATCH)?;
        let index = watcher.order(&post, &order)?;
        let WatchOrder { cgroup, keep_going, .. } = order;
        let client = Client {
            ledger: post.ledger,
            cgroup,
            keep_going,
            stream,
            warned: false,
            lingers: false,
        };
        self.clients.insert(index, client);
        Ok((index, size))
    }

    /// The client of watch `index` has closed its side: it has finished, or has died.
    pub(super) fn ending(&mut self, index: u32) -> anyhow::Result<Ending> {
        let client = self.clients.get_mut(&index).context("the watch has ended already")?;
        if client.keep_going && client.is_populated() {
            client.lingers = true;
            return Ok(Ending::Later);
        }
        client.kill();
        let ring = self.posts.get(&client.ledger).and_then(|post| post.ring.as_ref());
        Ok(Ending::Now(ring.context("the ledger has no ring")?.thread.line().clone()))
    }

    /// Ends watch `index`; returns how many records its ledger has.
    pub(super) fn unwatch(&mut self, index: u32) -> anyhow::Result<u64> {
        let client = self.clients.remove(&index).context("the watch has ended already")?;
        if let Some(watcher) = &mut self.watcher {
            watcher.countermand(index)?;
        }
        let observer = self.posts.get(&client.ledger).and_then(|post| post.tenant.observer());
        Ok(observer.map_or(0, |observer| observer.counters().size()))
    }

    /// Ends the watches of commands that went on without their client and are over, and warns the clients of
    /// ledgers that are not being written: nothing is to run unrecorded.
    pub(super) fn look_after_clients(&mut self) -> anyhow::Result<()> {
        let Self { clients, posts, .. } = self;
        for client in clients.values_mut() {
            if let Some(why) = posts.get(&client.ledger).and_then(|post| post.tenant.down()) {
                client.warn(&format!("the ledger is not being written: {why}"));
            }
        }
        let over = |client: &Client| client.lingers && !client.is_populated();
        let over: Vec<u32> =
            clients.iter().filter(|(_, it)| over(it)).map(|(index, _)| *index).collect();
        for index in over {
            self.unwatch(index)?;
        }
        Ok(())
    }

    /// Tells every client that the service stops. Each then kills its command and closes its side.
    pub(super) fn warn_clients(&mut self) {
        for client in self.clients.values_mut() {
            client.warn("the service is stopping");
        }
    }

    /// Kills what the clients have not killed in time.
    pub(super) fn kill_for_clients(&self) {
        self.clients.values().filter(|client| !client.keep_going).for_each(Client::kill);
    }

    /// How many clients wait for their command's end; those of `ledger` alone where one is named.
    pub(super) fn clients_waiting(&self, ledger: Option<&str>) -> usize {
        let of_ledger = |client: &&Client| ledger.is_none_or(|name| name == client.ledger);
        self.clients.values().filter(of_ledger).filter(|client| !client.lingers).count()
    }
}
