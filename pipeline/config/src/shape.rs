//! Holds the file against the JSON Schema of [`crate::raw`]: keys, types, ranges, and what must be there.
//!
//! Serde stops at the first thing that does not fit; this goes on, so that a file's faults are all told at
//! once. What does not fit is left out of the result, or stands there as an empty value of its type.

use std::sync::LazyLock;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::fault::{Fault, Findings};
use crate::key::Key;
use crate::nearest::did_you_mean;
use crate::raw::RawConfig;

/// The JSON Schema of the file, without references.
pub(crate) static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .with_transform(RecursiveTransform(unwrap_lines));
    settings.into_generator().into_root_schema_for::<RawConfig>().to_value()
});

/// Takes out of a description what are line breaks in the source alone.
fn unwrap_lines(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}

/// The file's content as JSON, as far as it fits.
pub(crate) fn check(file: &Spanned<DeTable<'_>>, findings: &mut Findings) -> Value {
    Checker { findings }.table(file.get_ref(), &SCHEMA, &Key::default())
}

struct Checker<'a> {
    findings: &'a mut Findings,
}

impl Checker<'_> {
    /// `None` where the value does not fit.
    fn value(&mut self, value: &DeValue<'_>, schema: &Value, key: &Key) -> Option<Value> {
        let alternatives = alternatives(schema);
        let fitting: Vec<_> =
            alternatives.iter().copied().filter(|schema| schema["type"] == kind(value)).collect();
        let Some(first) = fitting.first() else {
            let expected: Vec<_> = alternatives.iter().map(|schema| expected(schema)).collect();
            let fault = Fault::new(
                format!("expected {}, found {}", expected.join(" or "), article(kind(value))),
                spelling(alternatives[0]),
            );
            self.findings.note(key, fault);
            return None;
        };
        match value {
            DeValue::Table(table) => Some(self.table(table, first, key)),
            DeValue::Array(items) => Some(self.array(items, first, key)),
            DeValue::Integer(integer) => self.integer(integer, first, key),
            DeValue::String(text) => self.string(text, &fitting, key),
            DeValue::Boolean(flag) => Some(Value::from(*flag)),
            // The settings have no others.
            _ => None,
        }
    }

    fn table(&mut self, table: &DeTable<'_>, schema: &Value, key: &Key) -> Value {
        let Some(known) = schema["properties"].as_object() else { return Value::Null };
        let mut fitting = Map::new();
        for (name, value) in table {
            let (key, name_span, name) = (key.name(name.get_ref()), name.span(), name.get_ref());
            let Some(schema) = known.get(name.as_ref()) else {
                let names = known.keys().map(String::as_str);
                let fault = Fault::new(
                    format!("unknown key `{}`", name.escape_debug()),
                    did_you_mean(name, names),
                );
                self.findings.note_at(&key, Some(name_span), fault);
                continue;
            };
            if let Some(value) = self.value(value.get_ref(), schema, &key) {
                fitting.insert(name.to_string(), value);
            }
        }
        let required = schema["required"].as_array().into_iter().flatten();
        for name in required.filter_map(Value::as_str).filter(|name| !table.contains_key(*name)) {
            let fault = Fault::new(
                format!("the key `{name}` is missing"),
                format!("add it: {}", first_words(&known[name])),
            );
            self.findings.note(&key.name(name), fault);
        }
        Value::Object(fitting)
    }

    fn array(&mut self, items: &[Spanned<DeValue<'_>>], schema: &Value, key: &Key) -> Value {
        let count = items.len();
        let bound = |name: &str| schema[name].as_u64().and_then(|bound| bound.try_into().ok());
        let (least, most) =
            (bound("minItems").unwrap_or(0), bound("maxItems").unwrap_or(usize::MAX));
        if !(least..=most).contains(&count) {
            let bound = if count < least { ("at least", least) } else { ("at most", most) };
            let fault = Fault::new(
                format!("the list has {count} items"),
                format!("name {} {}", bound.0, bound.1),
            );
            self.findings.note(key, fault);
        }
        let schema = &schema["items"];
        // What is beyond the bound is not judged: a hostile file costs no more than a large one.
        let fitting = items.iter().take(most).enumerate().map(|(index, item)| {
            // Something has to stand here, or the items after it had other indices.
            self.value(item.get_ref(), schema, &key.item(index)).unwrap_or_else(|| empty(schema))
        });
        Value::Array(fitting.collect())
    }

    fn integer(&mut self, integer: &DeInteger<'_>, schema: &Value, key: &Key) -> Option<Value> {
        let bound = |name: &str| schema[name].as_u64().unwrap_or_default();
        let (least, most) = (bound("minimum"), bound("maximum"));
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let fitting = number.filter(|number| (least..=most).contains(number));
        if fitting.is_none() {
            let fault = Fault::new(
                format!("{integer} is out of range"),
                format!("use {least} to {most} ({})", first_words(schema)),
            );
            self.findings.note(key, fault);
        }
        fitting.map(Value::from)
    }

    fn string(&mut self, text: &str, schemas: &[&Value], key: &Key) -> Option<Value> {
        let words = schemas.iter().filter_map(|schema| schema["const"].as_str());
        // First, since the other fault repeats the text.
        let fault = if let Some(control) = text.chars().find(|letter| letter.is_control()) {
            Fault::new(
                format!("the text has a control character, U+{:04X}", u32::from(control)),
                "take it out",
            )
        } else if words.clone().next().is_some() && words.clone().all(|word| word != text) {
            Fault::new(format!("unknown word `{text}`"), did_you_mean(text, words))
        } else {
            return Some(Value::from(text));
        };
        self.findings.note(key, fault);
        None
    }
}

/// The schemas of which one must fit.
fn alternatives(schema: &Value) -> Vec<&Value> {
    match schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        Some(schemas) => schemas.iter().flat_map(alternatives).collect(),
        None => vec![schema],
    }
}

/// The first sentence of what the schema says of a setting, as part of another.
fn first_words(schema: &Value) -> String {
    let description = schema["description"].as_str().unwrap_or_default();
    let sentence = description.split_once(". ").map_or(description, |(first, _)| first);
    let sentence = sentence.trim_end_matches('.');
    match sentence.split_at_checked(1) {
        Some((capital, rest)) => capital.to_lowercase() + rest,
        None => sentence.to_owned(),
    }
}

/// The value's type in the words of JSON Schema.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "float",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "date",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    }
}

fn expected(schema: &Value) -> String {
    match (schema["const"].as_str(), schema["type"].as_str()) {
        (Some(word), _) => format!("\"{word}\""),
        (_, Some("array")) if schema["items"]["type"] == "string" => "an array of strings".into(),
        (_, kind) => article(kind.unwrap_or_default()),
    }
}

/// How a value of the schema's type is written.
fn spelling(schema: &Value) -> &'static str {
    match schema["type"].as_str() {
        Some("string") => "write it in quotes",
        Some("integer") => "write digits alone, without quotes and without a fraction",
        Some("boolean") => "write true or false, without quotes",
        Some("array") if schema["items"]["type"] == "string" => {
            "write strings in brackets, as in [\"a\", \"b\"]"
        }
        Some("array") => "write a section in double brackets for each, as in [[ledger]]",
        _ => "write it as a section, with its name in brackets and its settings below",
    }
}

/// A type in the words of TOML.
fn article(kind: &str) -> String {
    match kind {
        "object" => "a table".into(),
        "integer" => "an integer".into(),
        "array" => "an array".into(),
        kind => format!("a {kind}"),
    }
}

/// An empty value for what an item should have been.
fn empty(schema: &Value) -> Value {
    if schema["type"] == "object" { Value::Object(Map::new()) } else { Value::from("") }
}
