//! Places that must not lie in one another: what a run writes, and what it builds from.

use std::path::Path;

/// Two places of which one is in the other, so that a run would change what it builds from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{inner} is inside {outer}")]
pub struct NestedPlaces {
    /// The name of the inner one: `WORK`, or a name of `bulk.conf`.
    pub inner: &'static str,
    /// The name of the outer one.
    pub outer: &'static str,
}

/// Finds a place that a run writes to and that is in one that it only reads, or the reverse.
pub(super) fn find_nested(
    written: &[(&'static str, &Path)],
    read: &[(&'static str, &Path)],
) -> Option<NestedPlaces> {
    let pairs = written.iter().flat_map(|one| read.iter().map(move |other| (one, other)));
    pairs
        .flat_map(|(one, other)| [(one, other), (other, one)])
        .find(|((_, inner), (_, outer))| inner.starts_with(outer))
        .map(|((inner, _), (outer, _))| NestedPlaces { inner, outer })
}
