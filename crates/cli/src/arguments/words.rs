//! Options with a few words as values. An error lists the words, and shells complete them.

use std::path::Path;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::format::plan_file::PlanFileError;

pub fn one_of<T: Copy + Send + Sync + 'static>(
    words: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().map(|(word, _)| *word)).try_map(move |text| {
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| "it is not one of the possible values".to_owned())
    })
}

/// Refuses a form of undo data that this build only reads.
pub fn undo_format(
    words: &'static [(&'static str, UndoFormat)],
) -> impl TypedValueParser<Value = UndoFormat> {
    let must_be_written = |format: UndoFormat| {
        if format.is_written() {
            Ok(format)
        } else {
            Err("this build of patchadm only reads this form".to_owned())
        }
    };
    one_of(words).try_map(must_be_written)
}

pub fn word_for<T: Copy + PartialEq>(words: &[(&'static str, T)], meaning: Option<T>) -> Option<String> {
    let found = words.iter().find(|(_, one)| meaning == Some(*one));
    found.map(|(word, _)| (*word).to_owned())
}

pub fn meant_by<T: Copy>(
    words: &[(&'static str, T)],
    field: &'static str,
    word: Option<&str>,
) -> Result<Option<T>, PlanFileError> {
    let Some(word) = word else { return Ok(None) };
    let found = words.iter().find(|(one, _)| *one == word);
    let wrong = || PlanFileError::Field { field, value: word.chars().take(100).collect() };
    found.map(|(_, meaning)| Some(*meaning)).ok_or_else(wrong)
}

/// Returns a path or address as a plan file has it; a local path is absolute.
pub fn named_text(named: impl AsRef<Path>) -> Result<String, String> {
    let named = named.as_ref();
    let is_there = named.symlink_metadata().is_ok();
    let absolute = if is_there { std::path::absolute(named).ok() } else { None };
    let text = absolute.as_deref().unwrap_or(named).to_str().map(str::to_owned);
    text.ok_or_else(|| format!("a plan file cannot name {}, which is not UTF-8", named.display()))
}
