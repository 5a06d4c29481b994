//! The text of a fresh `bulk.conf`.

use std::fmt::Write as _;

use super::names::NAMES;

const HEAD: &str = "\
# The configuration of a bulk build: NAME=VALUE lines. Lines with # in front are comments; those below show the defaults.
# slot, limit, mount and env may be repeated. Paths are absolute, or below this directory.
# Sizes: bytes, or with K, M, G, T. Times: seconds, or with s, m, h. As a limit, 0 is no limit.
";

/// Returns a fresh `bulk.conf` with these settings, all others commented out with their defaults and a line of
/// explanation. It is to be read again by the caller, which tells a value that a file cannot have.
pub(super) fn fresh_text(settings: &[(&str, &str)]) -> String {
    let mut text = HEAD.to_owned();
    for name in NAMES {
        let set = settings.iter().find(|(set, _)| *set == name.name);
        let (mark, value) = set.map_or(("#", name.shown()), |(_, value)| ("", *value));
        // Writing to a string does not fail.
        let _ = write!(text, "\n# {}.\n{mark}{}={value}\n", name.text, name.name);
    }
    text
}
