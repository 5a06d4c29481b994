//! References to patches within a page: anchors, and the bases of required ids.

/// Returns the anchor of a patch's details in a section.
pub(super) fn anchor(section: usize, place: usize) -> String {
    format!("p{section}-{place}")
}

/// Returns the ids of a requirement: one, or several with `|` between them.
pub(super) fn alternatives(entry: &str) -> impl Iterator<Item = &str> {
    entry.split('|').map(str::trim).filter(|id| !id.is_empty())
}

/// Returns the part of an id before its revision.
pub(super) fn base_of(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(base, _)| base)
}
