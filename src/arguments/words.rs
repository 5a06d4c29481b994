//! Options whose value is one of a few words: a slip is answered with the words, and shells complete them.

use clap::builder::{PossibleValuesParser, TypedValueParser};

/// Reads one of these words.
pub(crate) fn one_of<T: Copy + Send + Sync + 'static>(
    words: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|(word, _)| *word)).try_map(move |text| {
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| "it is none of the words".to_owned())
    })
}
