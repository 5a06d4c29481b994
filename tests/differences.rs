//! Deliberate differences between two sides: each is in a table with its reason, and each entry of the table must
//! occur.

use std::sync::Mutex;

/// A difference that was found: scenario, step or patch, what is different, and both sides.
pub(crate) type Difference = (String, String, String, String);

/// An explained difference: scenario, step or patch, property (all patterns, see [`is_like`]), and the reason.
pub(crate) type Explained = (&'static str, &'static str, &'static str, &'static str);

/// Asserts that the table explains every difference, and has no other entries.
#[track_caller]
pub(crate) fn assert_explained(found: &[Difference], table: &[Explained]) {
    let unexplained: Vec<String> = found
        .iter()
        .filter(|difference| !table.iter().any(|one| explains(one, difference)))
        .map(|(scenario, step, what, both)| format!("{scenario} {step} {what}\n  {both}"))
        .collect();
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    let is_found = |one: &&Explained| found.iter().any(|difference| explains(one, difference));
    let gone: Vec<String> = table
        .iter()
        .filter(|one| !is_found(one))
        .map(|one| format!("no longer different: {one:?}"))
        .collect();
    assert!(gone.is_empty(), "{}", gone.join("\n"));
}

/// The number of finished parts of a test, and the differences that they found.
pub(crate) type FoundInParts = Mutex<(usize, Vec<Difference>)>;

/// Like [`assert_explained`], for one of several parts. The last one checks that every entry of the table occurred.
#[track_caller]
pub(crate) fn assert_explained_in_parts(
    found: Vec<Difference>,
    table: &[Explained],
    parts: usize,
    of_all: &FoundInParts,
) {
    let is_met = |one: &&Explained| found.iter().any(|difference| explains(one, difference));
    let met: Vec<Explained> = table.iter().filter(is_met).copied().collect();
    assert_explained(&found, &met);
    let mut of_all = of_all.lock().unwrap();
    of_all.0 += 1;
    of_all.1.extend(found);
    if of_all.0 == parts {
        assert_explained(&of_all.1, table);
    }
}

/// True if an entry of a table explains a difference.
pub(crate) fn explains(one: &Explained, difference: &Difference) -> bool {
    is_like(one.0, &difference.0) && is_like(one.1, &difference.1) && is_like(one.2, &difference.2)
}

/// True if a text matches a pattern, in which `*` is anything, and `?` any one byte.
pub(crate) fn is_like(pattern: &str, text: &str) -> bool {
    match (pattern.bytes().next(), text.bytes().next()) {
        (None, None) => true,
        (Some(b'*'), _) => (0..=text.len())
            .filter(|at| text.is_char_boundary(*at))
            .any(|at| is_like(&pattern[1..], &text[at..])),
        (Some(b'?'), Some(byte)) if byte.is_ascii() => is_like(&pattern[1..], &text[1..]),
        (Some(one), Some(other)) if one == other && one.is_ascii() => is_like(&pattern[1..], &text[1..]),
        _ => false,
    }
}

#[test]
fn patterns_are_like_what_they_say() {
    assert!(is_like("*/apply", "fail-i.none-1/apply") && is_like("pkginfo SUNWstu? X", "pkginfo SUNWstux X"));
    assert!(!is_like("*/apply", "apply") && !is_like("a?", "a") && is_like("*", "é") && !is_like("", "x"));
}
