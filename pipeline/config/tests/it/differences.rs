//! The hash of settings, and what changes between two.

use graven_config::{Config, diff};

use crate::support::{LEAST, good, with_watch};

fn told(old: &Config, new: &Config) -> String {
    diff(old, new).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const BASE: &str = r#"
[[ledger]]
name = "builds"
dir = "/l/builds"
[[ledger.watch]]
agent = "ci"
units = ["ci.service"]
[[ledger.watch]]
agent = "old"
cgroups = ["/old"]

[[ledger]]
name = "gone"
dir = "/l/gone"
[[ledger.watch]]
agent = "z"
cgroups = ["/z"]
"#;

#[test]
fn each_change_is_told_once() {
    let old = good(BASE);
    assert_eq!(told(&old, &old), "", "control");
    let new = good(
        r#"
        [control]
        socket = "/run/other.sock"
        [metrics]
        listen = "[::1]:9464"
        [[ledger]]
        name = "new"
        dir = "/l/new"
        [[ledger.watch]]
        agent = "y"
        cgroups = ["/z"]
        [[ledger]]
        name = "builds"
        dir = "/l/builds"
        heartbeat_s = 30
        mirror = "/mnt/builds.jsonl"
        [[ledger.watch]]
        agent = "more"
        cgroups = ["/more"]
        [[ledger.watch]]
        agent = "ci"
        units = ["ci.service", "ci-2.service"]
        syscalls = ["openat", "connect"]
        "#,
    );
    assert_eq!(
        told(&old, &new),
        r#"control.socket: "/run/graven/control.sock" -> "/run/other.sock"
+ metrics.listen: "[::1]:9464"
ledger "builds" heartbeat_s: 60 -> 30
+ ledger "builds" mirror: "/mnt/builds.jsonl"
ledger "builds" watch "ci" syscalls: "all" -> ["connect","openat"]
ledger "builds" watch "ci" units: ["ci.service"] -> ["ci-2.service","ci.service"]
+ ledger "builds" watch "more"
- ledger "builds" watch "old"
- ledger "gone"
+ ledger "new""#
    );
    let back = diff(&new, &old);
    assert_eq!(back.len(), diff(&old, &new).len());
    assert_eq!(back[2].key.ledger.as_deref(), Some("builds"));
    assert_eq!(back[2].old, Some(30.into()));
    assert_eq!(
        told(&new, &old).lines().next(),
        Some(r#"control.socket: "/run/other.sock" -> "/run/graven/control.sock""#)
    );
}

/// Goal: the hash is of what is in force, not of how it was written.
#[test]
fn files_that_say_the_same_have_one_hash() {
    let written = good(&with_watch(r#"syscalls = ["read", "open"]"#));
    let otherwise = good(
        r#"
        ledger = [{ dir = "/var/lib/graven/a", name = "a", heartbeat_s = 0x3c, watch = [
            { cgroups = ['/x'], agent = "x", syscalls = ["open", "read"], exclude_paths = [] },
        ] }]
        control.socket = "/run/graven/control.sock"
        "#,
    );
    assert_eq!(written, otherwise);
    assert_eq!(written.sha256(), otherwise.sha256());
    assert_eq!(told(&written, &otherwise), "");
    let another = good(&with_watch(r#"syscalls = ["open"]"#));
    assert_ne!(written.sha256(), another.sha256());
    assert_eq!(told(&written, &another).lines().count(), 1);
}

/// Another implementation of RFC 8785 writes the same bytes; and the hash is known for good.
#[test]
fn the_hash_is_of_canonical_bytes() {
    let config = good(&with_watch(r#"exclude_paths = ["/\u00e4/\U0001F600/\"\\\\"]"#));
    let canonical = serde_json_canonicalizer::to_vec(&config.to_json()).expect("JSON");
    assert_eq!(String::from_utf8(config.to_canonical()), String::from_utf8(canonical));
    assert_eq!(
        String::from_utf8(good(LEAST).to_canonical()).expect("UTF-8"),
        r#"{"control":{"socket":"/run/graven/control.sock"},"ledger":[{"block_ms_max":1000,"budget_bytes":4194304,"dir":"/var/lib/graven/a","heartbeat_s":60,"key":"/var/lib/graven/a.key","name":"a","payload_fields":[],"ring_bytes":8388608,"watch":[],"worm":"auto"}]}"#
    );
    // What `sha256sum` says of these bytes.
    assert_eq!(
        good(LEAST).sha256().to_string(),
        "sha256:058dc9e2d0facd76b42d8b417395d10d49207f6034b66a7f68a0d9cdf88fabae"
    );
}

/// The effective settings are themselves a file, and one that says the same.
#[test]
fn effective_settings_are_settings() {
    let configs = ["reference", "local", "fleet", "sovereign"].map(|name| {
        let path = crate::support::root().join(format!("configs/{name}.toml"));
        graven_config::load(&path).expect("it is good")
    });
    for config in configs {
        let text = toml::to_string(&config.to_json()).expect("TOML");
        assert_eq!(good(&text), config, "{text}");
    }
}
