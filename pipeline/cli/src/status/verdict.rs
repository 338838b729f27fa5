//! How a ledger is doing, in a few words, and what to do about it.

use anstyle::Style;
use graven_daemon::control::LedgerStatus;
use graven_stages::Standing;
use graven_verify::screen::{BAD, GOOD, WEAK, bytes, count, number};

/// The worst that is true of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) words: String,
    pub(super) remedy: Option<String>,
    state: State,
}

/// What helps a ledger that has used what it may of its disk.
const MORE_DISK: &str = "raise it in [ledger.budget] and `graven reload`, or make room on the disk";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Well,
    /// Well, and yet somebody should look.
    Waiting,
    Failing,
}

impl Verdict {
    pub(super) fn of(ledger: &LedgerStatus) -> Self {
        Self::down(ledger)
            .or_else(|| Self::full(ledger))
            .or_else(|| Self::losing(ledger))
            .or_else(|| Self::sink(ledger))
            .or_else(|| Self::gaps(ledger))
            .or_else(|| Self::slowed(ledger))
            .or_else(|| Self::waiting(ledger))
            .unwrap_or_else(|| Self {
                words: "all well".to_owned(),
                remedy: None,
                state: State::Well,
            })
    }

    /// Whether nothing is lost and nothing has stopped.
    pub(super) fn is_well(&self) -> bool {
        self.state != State::Failing
    }

    pub(super) fn style(&self) -> Style {
        match self.state {
            State::Well => GOOD,
            State::Waiting => WEAK,
            State::Failing => BAD,
        }
    }

    fn failing(words: String, remedy: impl Into<String>) -> Self {
        Self { words, remedy: Some(remedy.into()), state: State::Failing }
    }

    fn down(ledger: &LedgerStatus) -> Option<Self> {
        let reason = ledger.down.as_ref()?;
        let words = format!("DOWN: {reason}");
        Some(Self::failing(words, "it is tried again by itself; mend what is named here"))
    }

    fn full(ledger: &LedgerStatus) -> Option<Self> {
        let standing = ledger.figures.as_ref()?.disk.standing;
        let words = "FULL: its budget of disk is reached, and sources wait".to_owned();
        (standing == Standing::Reached).then(|| Self::failing(words, MORE_DISK))
    }

    fn slowed(ledger: &LedgerStatus) -> Option<Self> {
        let standing = ledger.figures.as_ref()?.disk.standing;
        let words = "well; slowed down, near its budget of disk".to_owned();
        let remedy = Some(MORE_DISK.to_owned());
        (standing == Standing::Slowed).then_some(Self { words, remedy, state: State::Waiting })
    }

    fn losing(ledger: &LedgerStatus) -> Option<Self> {
        let kernel = ledger.figures.as_ref()?.kernel;
        let lost = kernel.dropped + kernel.stash_failed + kernel.recursion_misses;
        if lost == 0 {
            return None;
        }
        let ring = ledger.ring.map(|ring| format!(" (now {})", bytes(ring.size_bytes)));
        let remedy = match kernel.dropped {
            0 => "see `graven tail --kind gap` for what".to_owned(),
            _ => format!("raise ring_bytes{}, or record fewer calls", ring.unwrap_or_default()),
        };
        let words = format!("LOSING RECORDS: {} lost since the start", number(lost));
        Some(Self::failing(words, remedy))
    }

    fn sink(ledger: &LedgerStatus) -> Option<Self> {
        let sinks = &ledger.figures.as_ref()?.sinks;
        let (sink, failure) = sinks.iter().find_map(|sink| Some((sink, sink.failure.as_ref()?)))?;
        let words = format!("sink {} stopped: {failure}", sink.name);
        Some(Self::failing(
            words,
            "the ledger has every record; mend the sink, then `graven reload`",
        ))
    }

    fn gaps(ledger: &LedgerStatus) -> Option<Self> {
        let gaps = ledger.figures.as_ref()?.gaps;
        let remedy = format!("`graven tail {} --kind gap` shows what is missing", ledger.name);
        let words = format!("with {} on record since the start", count(gaps, "gap"));
        (gaps > 0).then(|| Self::failing(words, remedy))
    }

    fn waiting(ledger: &LedgerStatus) -> Option<Self> {
        let targets = ledger.watches.iter().flat_map(|watch| &watch.targets);
        let waiting = targets.filter(|target| target.waiting.is_some()).count();
        let waiting = u64::try_from(waiting).ok().filter(|waiting| *waiting > 0)?;
        let words = match waiting {
            1 => "well; 1 watch waits".to_owned(),
            many => format!("well; {} watches wait", number(many)),
        };
        Some(Self { words, remedy: None, state: State::Waiting })
    }
}
