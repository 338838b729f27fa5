//! The change from one configuration to the next.

use anyhow::{Context as _, bail};
use graven_config::{Budget, Change, Config, Ledger, diff};
use graven_record::Value;

use super::Daemon;
use crate::control::Answer;

impl Daemon {
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
        for ledger in &self.config.ledgers {
            let name = &ledger.name;
            let next = new.ledgers.iter().find(|next| next.name == *name);
            if next.is_some_and(|next| next.ring_bytes != ledger.ring_bytes) {
                bail!(
                    "`ring_bytes` of ledger \"{name}\" changes with a restart alone: `systemctl restart graven`"
                );
            }
            if next.is_some_and(|next| next.worm != ledger.worm) {
                bail!(
                    "`worm` of ledger \"{name}\" changes with a restart alone: `systemctl restart graven`"
                );
            }
            let commands = self.clients_waiting(Some(name));
            if next.is_none() && commands > 0 {
                bail!(
                    "{commands} commands of `graven exec` run on ledger \"{name}\": wait for their end"
                );
            }
        }
        for ledger in &new.ledgers {
            let (release, hold) = (&ledger.release, self.holds.get(&ledger.dir));
            if let Some((release, hold)) = release.as_ref().zip(hold)
                && !hold.lets_go_after(release.retention_s())
            {
                bail!(
                    "`release.retention` of ledger \"{}\" is shorter than at the start, and its segments are held \
                     for as long as it was then: `systemctl restart graven`",
                    ledger.name
                );
            }
        }
        let old = self.config.clone();
        let changes = diff(&old, &new);
        if let Err(failure) = self.change_to(new, &changes).await {
            let back = diff(&self.config, &old);
            if let Err(error) = self.change_to(old, &back).await {
                // Neither the one nor the other is in force: better none than an unknown one.
                self.broken = Some(error.context("the old configuration could not be restored"));
            }
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

    /// Ledgers that stay keep their rings, and so every task that is followed; their graphs begin anew only
    /// where that must be. What is watched changes last, and all at once.
    async fn change_to(&mut self, new: Config, changes: &[Change]) -> anyhow::Result<()> {
        self.config = new;
        let wanted = self.config.ledgers.clone();
        let gone: Vec<String> = self
            .posts
            .keys()
            .filter(|name| !wanted.iter().any(|settings| settings.name == **name))
            .cloned()
            .collect();
        // Before the others are opened: they may want its directory.
        for name in gone {
            self.close(&name).await?;
        }
        for settings in wanted {
            let news = self.news(&settings.name, changes);
            let Some(post) = self.posts.get_mut(&settings.name) else {
                self.open(&settings)?;
                continue;
            };
            if needs_new_graph(&post.tenant.settings, &settings) {
                post.tenant.restart(settings, news).await?;
            } else {
                post.tenant.adapt(settings, news).await;
            }
        }
        self.watch_all().await
    }
}

/// Whether more is to change than the watches and what the ledger may use of its disk.
fn needs_new_graph(old: &Ledger, new: &Ledger) -> bool {
    let bare = |settings: &Ledger| {
        let mut bare = settings.clone();
        bare.watches.clear();
        bare.budget = Budget::default();
        bare
    };
    bare(old) != bare(new)
}
