//! What changes from one configuration to another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::Config;

/// Which setting: of the daemon, of a ledger, or of a watch. All empty but `ledger`, or but `ledger` and
/// `watch`: that ledger or watch as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// The ledger's name.
    pub ledger: Option<String>,
    /// The watch's agent.
    pub watch: Option<String>,
    /// The setting's key, for instance `heartbeat_s` or `control.socket`.
    pub key: Option<String>,
}

/// One change of the effective settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What changes.
    pub key: Setting,
    /// Its value before; `None` where it is new.
    pub old: Option<Value>,
    /// Its value after; `None` where it is gone.
    pub new: Option<Value>,
}

/// The changes that turn `old` into `new`, in the order of their keys: none exactly if both have one hash.
///
/// Ledgers are the same by name, watches by agent. What is new or gone as a whole is one change.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let (old, new) = (settings(old), settings(new));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .filter(|key| old.get(key) != new.get(key))
        // A part of what is new or gone as a whole says nothing more.
        .filter(|key| {
            key.wholes().all(|whole| old.contains_key(&whole) == new.contains_key(&whole))
        })
        .map(|key| Change {
            key: key.clone(),
            old: old.get(key).cloned(),
            new: new.get(key).cloned(),
        })
        .collect()
}

/// Every effective setting by its key. A ledger and a watch as a whole have an empty object.
fn settings(config: &Config) -> BTreeMap<Setting, Value> {
    let mut settings = BTreeMap::new();
    let Value::Object(sections) = config.to_json() else { return settings };
    for (section, value) in sections {
        match value {
            Value::Array(ledgers) => {
                for ledger in ledgers {
                    let of = Setting { ledger: text(&ledger["name"]), ..Setting::default() };
                    add(&mut settings, &of, ledger);
                }
            }
            Value::Object(members) => {
                for (name, value) in members {
                    let key = Some(format!("{section}.{name}"));
                    settings.insert(Setting { key, ..Setting::default() }, value);
                }
            }
            _ => {}
        }
    }
    settings
}

/// Adds a ledger or a watch, and all that is in it.
fn add(settings: &mut BTreeMap<Setting, Value>, of: &Setting, table: Value) {
    settings.insert(of.clone(), Value::Object(serde_json::Map::new()));
    let Value::Object(members) = table else { return };
    for (name, value) in members {
        match (name.as_str(), value) {
            ("watch", Value::Array(watches)) => {
                for watch in watches {
                    let of = Setting { watch: text(&watch["agent"]), ..of.clone() };
                    add(settings, &of, watch);
                }
            }
            (_, Value::Object(members)) => {
                for (member, value) in members {
                    let key = Some(format!("{name}.{member}"));
                    settings.insert(Setting { key, ..of.clone() }, value);
                }
            }
            (_, value) => {
                settings.insert(Setting { key: Some(name), ..of.clone() }, value);
            }
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

impl Setting {
    /// The ledger and the watch that it is a part of.
    fn wholes(&self) -> impl Iterator<Item = Self> {
        let ledger = Self { ledger: self.ledger.clone(), ..Self::default() };
        let watch = Self { key: None, ..self.clone() };
        [ledger, watch].into_iter().filter(move |whole| whole.ledger.is_some() && whole != self)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [("ledger", &self.ledger), ("watch", &self.watch)];
        let mut space = "";
        for (kind, name) in
            names.into_iter().filter_map(|(kind, name)| Some((kind, name.as_ref()?)))
        {
            write!(f, "{space}{kind} {name:?}")?;
            space = " ";
        }
        self.key.as_ref().map_or(Ok(()), |key| write!(f, "{space}{key}"))
    }
}

/// `ledger "builds" heartbeat_s: 60 -> 30`, `+ ledger "x"`, `- ledger "x" mirror: "/mnt/x"`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, old, new } = self;
        match (old, new) {
            (Some(old), Some(new)) => write!(f, "{key}: {old} -> {new}"),
            (old, new) => {
                let (sign, value) = if new.is_some() { ('+', new) } else { ('-', old) };
                write!(f, "{sign} {key}")?;
                match value {
                    Some(value) if key.key.is_some() => write!(f, ": {value}"),
                    _ => Ok(()),
                }
            }
        }
    }
}
