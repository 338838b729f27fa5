//! The arguments of a call, as far as they say what was done.

use graven_abi::table;
use serde_json::{Map, Value};

/// Below this a number in hexadecimal is one that means something; above it is an address.
const ADDRESS_MIN: u64 = 1 << 16;

/// The arguments in the order of the call: paths and the names of flags and commands by themselves, all else
/// as `name=value`. What stands in the line already, and addresses, are left out.
pub(super) fn arguments(record: &Value) -> String {
    let Some(args) = record.pointer("/syscall/args").and_then(Value::as_object) else {
        return String::new();
    };
    let subject = record["subject"]["id"].as_str().unwrap_or_default();
    let number: Option<i64> = subject.parse().ok();
    let told = names(record, args).into_iter().filter_map(|name| {
        let value = &args[name];
        let is_subject =
            value.as_str() == Some(subject) || number.is_some() && value.as_i64() == number;
        // Where paths are taken from: they are on record as absolute ones.
        let is_base = name.ends_with("dirfd");
        if is_subject || is_base { None } else { argument(name, value) }
    });
    told.collect::<Vec<_>>().join(" ")
}

/// The names of the arguments that the record has, in the call's order where the table knows it.
fn names<'a>(record: &Value, args: &'a Map<String, Value>) -> Vec<&'a str> {
    let number = record["syscall"]["id"].as_u64().and_then(|id| u32::try_from(id).ok());
    let by_name = || {
        let name = record["syscall"]["name"].as_str()?;
        table::lines().find(|line| line.sysno.name() == name)
    };
    let line = number.and_then(table::lookup).or_else(by_name);
    let order = line.map(|line| line.params).unwrap_or_default();
    let place = |name: &str| order.iter().position(|(known, _)| *known == name);
    let mut names: Vec<&str> = args.keys().map(String::as_str).collect();
    // Those that the table does not know come last, in the record's order.
    names.sort_by_key(|name| place(name).unwrap_or(usize::MAX));
    names
}

/// One argument; `None` where it says nothing.
fn argument(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Array(values) if name == "argv" => Some(words(values)),
        Value::Array(values) if values.iter().all(|it| is_name(it) || is_bits(it)) => {
            let names: Vec<_> = values.iter().filter_map(Value::as_str).collect();
            (!names.is_empty()).then(|| names.join("|"))
        }
        Value::String(text) if is_address(text) => None,
        Value::String(text) if is_name(value) || text.starts_with('/') => Some(text.clone()),
        Value::String(text) => Some(format!("{name}={text}")),
        value => Some(format!("{name}={value}")),
    }
}

/// The words of a command line; those with spaces or quotes in quotes.
pub(super) fn words(values: &[Value]) -> String {
    let words = values.iter().map(|value| match value.as_str() {
        Some(word) if !word.is_empty() && !word.contains([' ', '"', '\t', '\n', '[', ']']) => {
            word.to_owned()
        }
        _ => value.to_string(),
    });
    format!("[{}]", words.collect::<Vec<_>>().join(" "))
}

/// `O_CREAT`, `SIGTERM`.
fn is_name(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let capital = text.starts_with(|c: char| c.is_ascii_uppercase());
    let rest = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    capital && text.chars().all(rest)
}

/// Bits of flags that have no name.
fn is_bits(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("0x"))
}

fn is_address(text: &str) -> bool {
    let number = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.is_some_and(|number| number == 0 || number >= ADDRESS_MIN)
}
