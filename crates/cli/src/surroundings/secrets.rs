//! Passwords in arguments. Readers of addresses refuse them, but a misspelled operand appears in messages with its
//! text. Therefore all output hides the text before an `@` of an argument, and the query of an address, which may have
//! a token.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use patchadm_inputs::password::{encoded_user, query_of};

/// Printed in place of a user and password.
const HIDDEN: &[u8] = b"...@";
const HIDDEN_QUERY: &[u8] = b"?...";

/// Users and passwords of arguments with their `@`, queries with their `?`, in every printed spelling, each with its
/// replacement.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<(Vec<u8>, &'static [u8])>);

impl Secrets {
    pub(super) fn of_arguments() -> Self {
        Self::of(std::env::args_os().skip(1))
    }

    fn of(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut secrets = Vec::new();
        for argument in arguments {
            let argument = argument.into_vec();
            let text = String::from_utf8_lossy(&argument);
            let Some(value) = value_of(&text) else { continue };
            let start = start_of_user(value);
            let ends = value.match_indices('@').map(|(end, _)| end);
            let users = ends.filter_map(|end| value.get(start?..=end));
            let users = users.chain(encoded_user(value).and_then(|user| value.get(user)));
            let users = users.map(|user| (user, HIDDEN));
            let queries = queries_of(value).into_iter().map(|query| (query, HIDDEN_QUERY));
            for (secret, shown) in users.chain(queries).filter(|(secret, _)| secret.len() > 1) {
                let in_json = serde_json::to_string(secret).unwrap_or_default();
                secrets.push((secret.as_bytes().to_vec(), shown));
                secrets.push((in_json.trim_matches('"').as_bytes().to_vec(), shown));
                secrets.push((secret.escape_debug().to_string().into_bytes(), shown));
            }
        }
        // A longer one may begin with a shorter one.
        secrets.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets)
    }

    pub(super) fn hidden<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut text = Cow::Borrowed(text);
        for (secret, shown) in &self.0 {
            let mut from = 0;
            while let Some(at) = find(text.get(from..).unwrap_or_default(), secret) {
                text.to_mut().splice(from + at..from + at + secret.len(), shown.iter().copied());
                from += at + shown.len();
            }
        }
        text
    }
}

/// Returns the possible value of an option, or the operand.
fn value_of(argument: &str) -> Option<&str> {
    match argument.strip_prefix('-') {
        None => Some(argument),
        Some(long) if long.starts_with('-') => Some(long.split_once('=')?.1),
        Some(short) => short.get(short.chars().next()?.len_utf8()..),
    }
}

/// Returns the query of an address, with and without a fragment behind it.
fn queries_of(value: &str) -> Vec<&str> {
    let query = query_of(value);
    let without_fragment = query.and_then(|query| query.split('#').next());
    query.into_iter().chain(without_fragment).collect()
}

/// Returns the index of the user in a text with an `@`: behind `SCHEME:` and any slashes. `None` if there is none, as
/// in a mail address.
fn start_of_user(value: &str) -> Option<usize> {
    let (before, _) = value.rsplit_once('@')?;
    if value.starts_with(['/', '.']) {
        return start_in_path(before);
    }
    let Some(colon) = before.find(':') else {
        // The colon before the password may be encoded.
        return before.to_ascii_lowercase().contains("%3a").then_some(0);
    };
    Some(behind_scheme(before, colon).unwrap_or(0))
}

/// For text that looks like a path: an address may begin in any component, a user and password without a scheme in the
/// first. Anything else with a colon is a file name.
fn start_in_path(before: &str) -> Option<usize> {
    let first = before.len() - before.trim_start_matches(['/', '.']).len();
    let mut colons = before.match_indices(':').map(|(colon, _)| colon);
    let of_scheme = colons.clone().find_map(|colon| {
        let name = before.get(first..colon)?.rsplit('/').next()?;
        is_scheme(name).then(|| behind_scheme(before, colon)).flatten()
    });
    let is_first = |colon: &usize| before.get(first..*colon).is_some_and(|name| !name.contains('/'));
    of_scheme.or_else(|| colons.next().filter(is_first).map(|_| first))
}

/// Returns `None` if the colon is the one before the password.
fn behind_scheme(before: &str, colon: usize) -> Option<usize> {
    let rest = before.get(colon + 1..)?;
    let slashes = rest.bytes().take_while(|byte| *byte == b'/').count();
    (slashes > 0 || rest.contains(':')).then_some(colon + 1 + slashes)
}

fn is_scheme(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    name.starts_with(|letter: char| letter.is_ascii_alphabetic()) && name.bytes().all(is_part)
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
            ("ftp://u:pw@h/x.tar", "ftp://u:pw@h/x.tar does not exist", "ftp://...@h/x.tar does not exist"),
            ("http:u:pw@h", "<http:u:pw@h>", "<http:...@h>"),
            ("hxtp://u:pw@h", "hxtp:/u:pw@h/index.json", "hxtp:/...@h/index.json"),
            ("--depot=file://u:pw@h", "file://u:pw@h", "file://...@h"),
            ("-dhttp:u:pw@h", "http:u:pw@h", "http:...@h"),
            ("http://u:p@w@h/x", "<http://u:p@w@h/x>", "<http://...@h/x>"),
            ("u:p\"w@h:80", r#""error": "u:p\"w@h:80""#, r#""error": "...@h:80""#),
            ("https://token@h", "https://token@h", "https://...@h"),
            ("u%3Apw@h/x", "u%3Apw@h/x does not exist", "...@h/x does not exist"),
            ("hxtp://u%3apw%40h/x", "<hxtp://u%3apw%40h/x>", "<hxtp://...@h/x>"),
            (
                "-Mhttps://h/x?token=pw",
                "https://h/x?token=pw does not exist",
                "https://h/x?... does not exist",
            ),
            ("https://h/x?t=pw#y", "<https://h/x?t=pw>", "<https://h/x?...>"),
            ("https://h/x?", "https://h/x?", "https://h/x?"),
            ("what?else", "what?else", "what?else"),
            ("http://u:p?w@host/path", "http://u:p?w@host/path", "http://...@host/path"),
            ("https://h/x?m=a@b&t=pw", "https://h/x?m=a@b&t=pw", "https://...@b?..."),
            ("joe@example.com", "joe@example.com", "joe@example.com"),
            ("/srv/a:b@c", "/srv/a:b@c", "/srv/a:b@c"),
            ("/srv/10:20:30@c", "/srv/10:20:30@c", "/srv/10:20:30@c"),
            ("//u:pw@h/x", "//u:pw@h/x does not exist", "//...@h/x does not exist"),
            ("./u:pw@h/x", "/work/u:pw@h/x", "/work/...@h/x"),
            ("/http://u:pw@h", "/http:/u:pw@h", "/http:/...@h"),
            ("../mirror/http:u:pw@h", "../mirror/http:u:pw@h", "../mirror/http:...@h"),
            ("--keys=/srv/12:30/ftp://u:pw@h", "/srv/12:30/ftp:/u:pw@h", "/srv/12:30/ftp:/...@h"),
        ] {
            let secrets = Secrets::of([OsString::from(argument)]);
            assert_eq!(String::from_utf8_lossy(&secrets.hidden(printed.as_bytes())), shown, "{argument}");
        }
    }
}
