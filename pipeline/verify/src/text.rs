//! The report as a person reads it.

use std::fmt;

use anstyle::Style;
use graven_record::Timestamp;

use crate::screen::{BAD, GOOD, STRONG, WEAK, count, number, painted};
use crate::{Released, Report, Verdict};

/// POSIX seconds as a UTC time, where they lie in this age.
fn time(unix_s: u64) -> String {
    i64::try_from(unix_s).ok().and_then(|unix_s| unix_s.checked_mul(1_000_000_000)).map_or_else(
        || format!("{unix_s} seconds after 1970"),
        |unix_ns| {
            let text = Timestamp { unix_ns }.to_string();
            format!("{}Z", text.split('.').next().unwrap_or_default())
        },
    )
}

/// The report on lines of at most 100 characters; `{:#}` adds colours.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.origin.as_deref().unwrap_or("a ledger of unknown name");
        let (verdict, style) = match self.verdict {
            Verdict::Good => ("good", GOOD),
            Verdict::Fault => ("FAULT", BAD),
            Verdict::Unproven => ("unproven", WEAK),
        };
        let verdict = coloured(f, style.bold(), verdict);
        let gaps = match self.verdict {
            Verdict::Good | Verdict::Unproven if self.gaps > 0 => coloured(f, WEAK, ", with gaps"),
            _ => String::new(),
        };
        writeln!(f, "{verdict}{gaps}: {}", coloured(f, STRONG, origin))?;
        self.fmt_ledger(f)?;
        self.fmt_checks(f)?;
        self.fmt_faults(f)?;
        self.fmt_notes(f)?;
        if self.verdict == Verdict::Unproven {
            writeln!(
                f,
                "\nThe ledger agrees with itself. Who signed it is unproven: the key in ledger.json shows\n\
                 nothing about that. Give the verifier key that you got from its owner with --key."
            )?;
        }
        Ok(())
    }
}

impl Report {
    fn fmt_ledger(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  records     {}: {} sealed in {}, {} unsealed",
            number(self.records),
            number(self.sealed),
            count(self.blocks, "block"),
            number(self.unsealed)
        )?;
        writeln!(
            f,
            "  kinds       {} syscall, {} event, {} gap, {} system",
            number(self.kinds.syscall),
            number(self.kinds.event),
            number(self.kinds.gap),
            number(self.kinds.system)
        )?;
        if let Some(Released { record, records, segments }) = self.released {
            writeln!(
                f,
                "  released    records 0 to {}, in {} (record {} says so)",
                number(records.saturating_sub(1)),
                count(segments, "segment"),
                number(record)
            )?;
        }
        let width = self.actions.first().map_or(0, |it| number(it.count).len());
        for (index, it) in self.actions.iter().take(5).enumerate() {
            let label = if index == 0 { "actions" } else { "" };
            let action = it.action.escape_debug();
            writeln!(f, "  {label:<11} {:>width$} {action}", number(it.count))?;
        }
        self.fmt_gaps(f)?;
        match &self.root {
            Some(root) => writeln!(f, "  root        {root}")?,
            None => writeln!(f, "  root        not recomputed")?,
        }
        match &self.checkpoint {
            Some(it) => writeln!(
                f,
                "  checkpoint  size {}, cosigned {}",
                number(it.size),
                time(it.cosigned_unix_s)
            ),
            None => writeln!(f, "  checkpoint  none with valid signatures"),
        }
    }

    fn fmt_gaps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gaps = match self.gaps {
            0 => "none on record".to_owned(),
            gaps => coloured(f, WEAK, &format!("{}: {}", number(gaps), self.missing)),
        };
        writeln!(f, "  gaps        {gaps}")
    }

    fn fmt_checks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.checks;
        write!(
            f,
            "  checked     {} in {}, {} recomputed,\n              {} verified, {} compared",
            count(it.records, "record"),
            count(it.bytes, "byte"),
            count(it.headers, "header"),
            count(it.signatures, "signature"),
            match it.tile_hashes {
                1 => "1 tile hash".into(),
                many => format!("{} tile hashes", number(many)),
            },
        )?;
        if it.superseded > 0 {
            write!(f, ", {}", count(it.superseded, "superseded record"))?;
        }
        writeln!(f)
    }

    fn fmt_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.faults_total > 0 {
            let title = count(self.faults_total, "fault");
            writeln!(f, "\n{}", coloured(f, BAD, &title))?;
        }
        for it in &self.faults {
            let place = place(it.record, it.file.as_deref(), it.byte);
            writeln!(f, "  {}{place}\n      {}", it.kind.as_str(), it.sentence)?;
        }
        more(f, self.faults_total, self.faults.len())
    }

    fn fmt_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.notes_total > 0 {
            let noun = if self.faults_total > 0 { "note" } else { "note, no fault" };
            let text = match self.notes_total {
                1 => format!("1 {noun}"),
                many if self.faults_total > 0 => count(many, "note"),
                many => format!("{}, no fault", count(many, "note")),
            };
            writeln!(f, "\n{text}")?;
        }
        for it in &self.notes {
            let place = place(it.record, it.file.as_deref(), it.byte);
            writeln!(f, "  {}{place}\n      {}", it.kind.as_str(), it.sentence)?;
            if let (Some(bytes), Some(sha256)) = (it.bytes, it.sha256) {
                writeln!(f, "      {}, {sha256}", count(bytes, "byte"))?;
            }
        }
        more(f, self.notes_total, self.notes.len())
    }
}

/// The text in that style, where colours are asked for.
fn coloured(f: &fmt::Formatter<'_>, style: Style, text: &str) -> String {
    if f.alternate() { painted(style, text) } else { text.to_owned() }
}

fn place(record: Option<u64>, file: Option<&str>, byte: Option<u64>) -> String {
    let record = record.map(|it| format!(", record {it}"));
    let file = file.map(|it| format!(", {it}"));
    let byte = byte.map(|it| format!(", byte {it}"));
    [record, file, byte].into_iter().flatten().collect()
}

fn more(f: &mut fmt::Formatter<'_>, total: u64, listed: usize) -> fmt::Result {
    match total.saturating_sub(listed as u64) {
        0 => Ok(()),
        rest => writeln!(f, "  and {} more", number(rest)),
    }
}
