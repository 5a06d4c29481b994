//! Passwords among the arguments of the command.
//!
//! An address with a password is refused wherever addresses are read. But an operand may be misspelled, be taken for the name
//! of a file, or be of a kind that a command does not know, and whatever is then wrong with it is told with its text. So what
//! stands before an `@` of an argument is hidden in everything that is printed.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// What is printed in the place of a user and password.
const HIDDEN: &[u8] = b"...@";

/// The users and passwords that arguments have, each with the `@` behind it, in every spelling in which they are printed.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// Finds those of the arguments of this process.
    pub(crate) fn of_arguments() -> Self {
        Self::of(std::env::args_os().skip(1))
    }

    fn of(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut secrets = Vec::new();
        for argument in arguments {
            let argument = argument.into_vec();
            let text = String::from_utf8_lossy(&argument);
            let Some(value) = value_of(&text) else { continue };
            let Some(start) = start_of_user(value) else { continue };
            let ends = value.match_indices('@').map(|(end, _)| end);
            for secret in ends.filter_map(|end| value.get(start..=end)).filter(|secret| secret.len() > 1) {
                let in_json = serde_json::to_string(secret).unwrap_or_default();
                secrets.push(secret.as_bytes().to_vec());
                secrets.push(in_json.trim_matches('"').as_bytes().to_vec());
                secrets.push(secret.escape_debug().to_string().into_bytes());
            }
        }
        // A longer one may begin with a shorter one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets)
    }

    /// Returns a text without them.
    pub(crate) fn hidden<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut text = Cow::Borrowed(text);
        for secret in &self.0 {
            let mut from = 0;
            while let Some(at) = find(text.get(from..).unwrap_or_default(), secret) {
                text.to_mut().splice(from + at..from + at + secret.len(), HIDDEN.iter().copied());
                from += at + HIDDEN.len();
            }
        }
        text
    }
}

/// Returns what an argument may give to an option, or is as an operand. A path is no address.
fn value_of(argument: &str) -> Option<&str> {
    let value = match argument.strip_prefix('-') {
        None => argument,
        Some(long) if long.starts_with('-') => long.split_once('=')?.1,
        Some(short) => short.get(short.chars().next()?.len_utf8()..)?,
    };
    (!value.starts_with(['/', '.'])).then_some(value)
}

/// Returns where the user begins in a text that has an `@`: behind `SCHEME:` and any slashes. `None` if there is none, as in
/// the address of a mail.
fn start_of_user(value: &str) -> Option<usize> {
    let (before, _) = value.rsplit_once('@')?;
    let colon = before.find(':')?;
    let rest = before.get(colon + 1..)?;
    let slashes = rest.bytes().take_while(|byte| *byte == b'/').count();
    let has_scheme = slashes > 0 || rest.contains(':');
    Some(if has_scheme { colon + 1 + slashes } else { 0 })
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_an_argument_shows_its_password() {
        for (argument, printed, shown) in [
            ("ftp://u:pw@h/x.tar", "ftp://u:pw@h/x.tar is not there", "ftp://...@h/x.tar is not there"),
            ("http:u:pw@h", "<http:u:pw@h>", "<http:...@h>"),
            ("hxtp://u:pw@h", "hxtp:/u:pw@h/index.json", "hxtp:/...@h/index.json"),
            ("--depot=file://u:pw@h", "file://u:pw@h", "file://...@h"),
            ("-dhttp:u:pw@h", "http:u:pw@h", "http:...@h"),
            ("http://u:p@w@h/x", "<http://u:p@w@h/x>", "<http://...@h/x>"),
            ("u:p\"w@h:80", r#""error": "u:p\"w@h:80""#, r#""error": "...@h:80""#),
            ("https://token@h", "https://token@h", "https://...@h"),
            ("joe@example.com", "joe@example.com", "joe@example.com"),
            ("/srv/a:b@c", "/srv/a:b@c", "/srv/a:b@c"),
        ] {
            let secrets = Secrets::of([OsString::from(argument)]);
            assert_eq!(String::from_utf8_lossy(&secrets.hidden(printed.as_bytes())), shown, "{argument}");
        }
    }
}
