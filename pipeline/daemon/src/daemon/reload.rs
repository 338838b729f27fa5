//! The change from one configuration to the next.

use anyhow::{Context as _, bail};
use graven_config::{Change, Config, Ledger, diff};
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
