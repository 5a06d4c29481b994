//! How parts of a page refer to patches: anchors, and the bases of required ids.

/// The name of the place where a patch of a section is told in detail.
pub(super) fn anchor(section: usize, place: usize) -> String {
    format!("p{section}-{place}")
}

/// The ids of a requirement: one, or several with `|` between them.
pub(super) fn alternatives(entry: &str) -> impl Iterator<Item = &str> {
    entry.split('|').map(str::trim).filter(|id| !id.is_empty())
}

/// The part of an id before its revision.
pub(super) fn base_of(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(base, _)| base)
}
