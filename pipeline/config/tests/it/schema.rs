//! The schema in `schemas/` is the one the code holds files against, and says all it should.

use std::path::Path;

use serde_json::Value;

use crate::support::{LEAST, assert_file, bad, good, root, with_watch};

#[test]
fn the_schema_on_file_is_the_one_in_force() {
    let mut schema = graven_config::schema();
    // Else the order of its keys depends on who else is built.
    schema.sort_all_objects();
    let text = serde_json::to_string_pretty(&schema).expect("plain data");
    assert_file(Path::new("schemas/config.schema.json"), &format!("{text}\n"));
}

/// Every key in the schema, with its own schema: `ledger.watch.units`.
pub(crate) fn keys(schema: &Value, above: &str) -> Vec<(String, Value)> {
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let of = |(name, schema): (&String, &Value)| {
        let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        let mut found = keys(schema, &key);
        found.extend(keys(&schema["items"], &key));
        found.insert(0, (key, schema.clone()));
        found
    };
    properties.iter().flat_map(of).collect()
}

#[test]
fn every_setting_has_words_and_bounds() {
    let keys = keys(&graven_config::schema(), "");
    assert!(keys.iter().any(|(key, _)| key == "ledger.watch.exec_env"), "control: {keys:?}");
    for (key, schema) in keys {
        assert!(schema["description"].is_string(), "{key} has no description");
        match schema["type"].as_str() {
            Some("integer") => {
                for word in ["minimum", "maximum", "default"] {
                    assert!(schema[word].is_u64(), "{key} has no {word}");
                }
            }
            Some("array") => assert!(schema["maxItems"].is_u64(), "{key} has no bound"),
            Some("object") => {
                assert_eq!(schema["additionalProperties"], Value::Bool(false), "{key} is open");
            }
            _ => {}
        }
    }
}

/// What another implementation of JSON Schema says of a file is what this crate says.
#[test]
fn another_validator_agrees() {
    let validator = jsonschema::draft202012::new(&graven_config::schema()).expect("sound");
    let valid = |text: &str| {
        let value: toml::Table = text.parse().expect("TOML");
        validator.is_valid(&serde_json::to_value(value).expect("JSON"))
    };
    for name in ["reference", "local", "fleet", "sovereign"] {
        let path = root().join(format!("configs/{name}.toml"));
        let text = std::fs::read_to_string(path).expect("the file is there");
        assert!(valid(&text), "{name}");
        good(&text);
    }
    for wrong in [
        "heartbeat_s = 0",
        "heartbeat_s = 86401",
        "heartbeat_s = \"60\"",
        "ring_bytes = 4294967296",
        "colour = \"red\"",
        "payload_fields = [1]",
        "payload_fields = \"price\"",
        "key = 1",
        "worm = \"on\"",
        "worm = true",
    ] {
        let text = format!("{LEAST}{wrong}\n");
        assert!(!valid(&text), "{wrong}");
        bad(&text);
    }
    for wrong in ["syscalls = \"most\"", "syscalls = []", "syscalls = 1", "syscalls = [1]"] {
        let text = with_watch(wrong);
        assert!(!valid(&text), "{wrong}");
        bad(&text);
    }
    for right in ["syscalls = \"security\"", "syscalls = [\"openat\"]"] {
        assert!(valid(&with_watch(right)), "{right}");
        good(&with_watch(right));
    }
}
