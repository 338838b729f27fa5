//! The table that is printed.

use std::fmt;

use anyhow::Context as _;
use graven_bench::samples::RECORD_BYTES;
use serde::Serialize;

use crate::Settings;
use crate::goals::GOALS;
use crate::ledgers;
use crate::machine::Machine;
use crate::stats::{Figure, Spread};

#[derive(Debug, Serialize)]
pub(crate) struct Table {
    machine: Machine,
    runs: u32,
    seconds: u64,
    records: u64,
    rows: Vec<Row>,
    skipped: Vec<String>,
    /// Whether only some subjects are measured: then goals of others are none of its business.
    is_partial: bool,
    /// Whether other ledgers are, and nothing else.
    of_peers: bool,
}

/// One figure of all rounds.
#[derive(Debug, Serialize)]
struct Row {
    group: &'static str,
    name: String,
    unit: &'static str,
    values: Vec<f64>,
}

impl Table {
    pub(crate) fn new(machine: Machine, settings: &Settings) -> Self {
        Self {
            machine,
            runs: settings.runs,
            seconds: settings.limit.seconds,
            records: settings.limit.records,
            rows: Vec::new(),
            skipped: Vec::new(),
            is_partial: settings.only.is_some(),
            of_peers: settings.peers,
        }
    }

    /// Adds figures of one round. Groups stand in the order in which they first came, and so do the rows
    /// of a group.
    pub(crate) fn add(&mut self, figures: impl IntoIterator<Item = Figure>) {
        for Figure { group, name, unit, value } in figures {
            let same = |row: &&mut Row| row.group == group && row.name == name && row.unit == unit;
            if let Some(row) = self.rows.iter_mut().find(same) {
                row.values.push(value);
                continue;
            }
            let last = self.rows.iter().rposition(|row| row.group == group);
            let at = last.map_or(self.rows.len(), |last| last + 1);
            self.rows.insert(at, Row { group, name, unit, values: vec![value] });
        }
    }

    /// Says that something is missing, once.
    pub(crate) fn skip(&mut self, skipped: String) {
        if !self.skipped.contains(&skipped) {
            self.skipped.push(skipped);
        }
    }

    /// Says that all is measured.
    pub(crate) fn ended(&mut self) {
        self.machine.ended();
    }

    /// Everything, each round's values included.
    pub(crate) fn to_json(&self) -> anyhow::Result<String> {
        serde_json::to_string_pretty(self).context("the table cannot be put into JSON")
    }

    /// How the median of a row stands to each goal; a row that is missing is said to be.
    fn goals(&self) -> impl Iterator<Item = String> {
        GOALS.iter().filter_map(|goal| {
            let row = self.rows.iter().find(|row| row.group == goal.group && row.name == goal.row);
            let median = row.and_then(|row| Some(Spread::of(&row.values)?.median));
            let is_expected = !self.is_partial && self.of_peers == (goal.group == ledgers::RATIOS);
            (median.is_some() || is_expected).then(|| goal.verdict(median))
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, runs, seconds, records, rows, skipped, .. } = self;
        writeln!(f, "Graven on {}", machine.sentence())?;
        writeln!(
            f,
            "median of {runs} (least – most); at most {seconds} s or {} records a measurement; events of {RECORD_BYTES} bytes stored",
            shown(crate::stats::float(*records)),
        )?;
        if machine.is_in_memory() {
            writeln!(
                f,
                "NOTE: this file system is in memory: nothing here says what a sync costs"
            )?;
        }
        let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let mut group = "";
        for row in rows {
            if row.group != group {
                group = row.group;
                writeln!(f, "\n{group}")?;
            }
            let Some(Spread { median, least, most }) = Spread::of(&row.values) else { continue };
            let range = format!("({} – {})", shown(least), shown(most));
            writeln!(f, "  {:width$}  {:>11} {:12}  {range}", row.name, shown(median), row.unit)?;
        }
        writeln!(f)?;
        for line in skipped.iter().cloned().chain(self.goals()) {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

/// A number with three figures at least, and its thousands set apart.
pub(crate) fn shown(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    let whole = digits.split('.').next().unwrap_or(digits).len();
    let mut grouped = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at < whole && (whole - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
