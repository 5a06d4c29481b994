//! Differences between two sides that are there on purpose: each stands in a table with its reason, and everything that
//! stands in a table is found.

/// A difference that was found: scenario, step or patch, what is different, and both sides.
pub(crate) type Difference = (String, String, String, String);

/// One that is explained: scenario, step or patch, and what (`*` at the end is anything), and why it is so.
pub(crate) type Explained = (&'static str, &'static str, &'static str, &'static str);

/// Asserts that the table explains every difference, and has nothing else.
#[track_caller]
pub(crate) fn assert_explained(found: &[Difference], table: &[Explained]) {
    let like = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => text == pattern,
    };
    let is = |one: &Explained, other: &Difference| {
        like(one.0, &other.0) && like(one.1, &other.1) && like(one.2, &other.2)
    };
    let unexplained: Vec<String> = found
        .iter()
        .filter(|difference| !table.iter().any(|one| is(one, difference)))
        .map(|(scenario, step, what, both)| format!("{scenario} {step} {what}\n  {both}"))
        .collect();
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    for one in table {
        assert!(found.iter().any(|difference| is(one, difference)), "no longer different: {one:?}");
    }
}
