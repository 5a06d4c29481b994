//! The command line as the history of the root keeps it. Everybody may read that: secrets are left out.

use std::any::TypeId;
use std::ffi::OsString;

use clap::ArgMatches;

use crate::surroundings::Output;
use patchadm_changeset::format::history::LONGEST_TEXT;
use patchadm_planning::plan::refusal::Wording;
use patchadm_svr4::package::control::truncated;

/// Kept in place of the value of an option that may be secret.
const HIDDEN: &str = "...";

/// The value of an option that may be secret: no record has it.
#[derive(Clone, Debug)]
pub struct SecretText(pub String);

impl From<OsString> for SecretText {
    fn from(text: OsString) -> Self {
        Self(text.to_string_lossy().into_owned())
    }
}

/// Returns a command line as the history keeps it: without these secrets and those that no output shows, and cut if it is
/// long.
pub(crate) fn typed_line(name: &str, arguments: &[OsString], secrets: &[String], output: &Output) -> String {
    let word = |word: &OsString| {
        let word = without(&word.to_string_lossy(), secrets);
        Wording::quoted(&output.without_secrets(&word))
    };
    let words: Vec<String> = std::iter::once(name.to_owned()).chain(arguments.iter().map(word)).collect();
    truncated(&words.join(" "), LONGEST_TEXT).into_owned()
}

/// Returns the values of options whose type is [`SecretText`].
pub(super) fn secret_values(command: &clap::Command, matches: &ArgMatches) -> Vec<String> {
    let is_secret = |arg: &&clap::Arg| arg.get_value_parser().type_id() == TypeId::of::<SecretText>();
    let ids = command.get_arguments().filter(is_secret).map(|arg| arg.get_id().as_str());
    let values = ids.filter_map(|id| matches.try_get_raw(id).ok().flatten()).flatten();
    values.map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty()).collect()
}

/// Hides a secret that is the whole word, or stands behind the option in the same word.
fn without(word: &str, secrets: &[String]) -> String {
    let hidden = |secret: &String| {
        let before = word.strip_suffix(secret.as_str())?;
        let is_long = before.starts_with("--");
        let is_value = before.is_empty()
            || (is_long && before.ends_with('='))
            || (!is_long && before.starts_with('-') && before.len() > 1);
        is_value.then(|| format!("{before}{HIDDEN}"))
    };
    secrets.iter().filter_map(hidden).min_by_key(String::len).unwrap_or_else(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_behind_its_option_and_as_a_word() {
        let secrets = ["pass:a".to_owned(), "a".to_owned()];
        for (word, kept) in [
            ("pass:a", "..."),
            ("-Ppass:a", "-P..."),
            ("-nPpass:a", "-nP..."),
            ("--probe=pass:a", "--probe=..."),
            ("--beta", "--beta"),
            ("100-pass:a", "100-pass:a"),
            ("-n", "-n"),
        ] {
            assert_eq!(without(word, &secrets), kept, "{word}");
        }
    }
}
