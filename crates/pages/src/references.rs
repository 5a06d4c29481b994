//! References to patches within a page: anchors, and the bases of required ids.

/// The anchor of a patch's details.
pub(super) fn anchor(section: usize, place: usize) -> String {
    format!("p{section}-{place}")
}

/// Ids of a requirement, separated by `|`.
pub(super) fn alternatives(entry: &str) -> impl Iterator<Item = &str> {
    entry.split('|').map(str::trim).filter(|id| !id.is_empty())
}

/// The part of an id before its revision.
pub(super) fn base_of(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(base, _)| base)
}
