//! Where a setting is in the file: `ledger[1].watch[0].syscalls`.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The way from the top to a setting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Key(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

impl Key {
    /// The setting `name` of the table here.
    pub(crate) fn name(&self, name: &str) -> Self {
        self.then(Step::Name(name.to_owned()))
    }

    /// Item `index` of the array here.
    pub(crate) fn item(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Whether one of the two lies in the other, or both are the same.
    pub(crate) fn is_related(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }

    /// The bytes of the setting in the file. What the file does not say is where it could: in its table.
    pub(crate) fn span(&self, file: &Spanned<DeTable<'_>>) -> Range<usize> {
        let mut span = 0..0;
        let mut steps = self.0.iter();
        let Some(Step::Name(first)) = steps.next() else { return span };
        let mut next = file.get_ref().get(first.as_str());
        while let Some(value) = next {
            span = value.span();
            next = match (value.get_ref(), steps.next()) {
                (DeValue::Table(table), Some(Step::Name(name))) => table.get(name.as_str()),
                (DeValue::Array(array), Some(Step::Index(index))) => array.get(*index),
                _ => None,
            };
        }
        span
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |name: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            !name.is_empty() && name.bytes().all(allowed)
        };
        for (at, step) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            match step {
                Step::Name(name) if bare(name) => write!(f, "{dot}{name}")?,
                Step::Name(name) => write!(f, "{dot}{name:?}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
