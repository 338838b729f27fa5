//! What a misspelt word was likely meant to be.

/// Longest word that is looked up, in bytes: no name that is meant is longer.
const WORD_BYTES_MAX: usize = 48;

/// Likeness from which a word is worth naming (Jaro-Winkler, 1 is equal).
const LIKENESS_MIN: f64 = 0.8;

/// The word of `known` that is most like `word`, if one is like it.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    known
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// `did you mean …?`, or else all that is known.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("use one of {}", listed(known)),
    }
}

/// `a`, `b`, `c`
fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
