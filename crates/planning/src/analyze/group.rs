//! The groups of patches that can be listed.

use std::fmt;

/// A group, perhaps narrowed to recommended patches, to those about security, or to either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    pub(super) kind: GroupKind,
    pub(super) narrowed: Narrowing,
}

/// The patches of a group, before it is narrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum GroupKind {
    /// In use, for this machine, and not applied in this revision or a later one.
    Missing,
    /// Applied.
    Installed,
    /// Missing or applied.
    All,
    /// All of the cross-reference.
    Total,
    /// In use, and for no release of the system and no package.
    Unbundled,
    /// Applied in a revision that was withdrawn.
    Bad,
    /// Applied and contained in another applied patch.
    Obsolete,
}

/// The flags that patches of a group must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Narrowing {
    None,
    Recommended,
    Security,
    Either,
}

/// A word that is neither a group nor a patch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{0}> is neither a group of patches nor a patch")]
pub struct GroupError(pub String);

/// The groups with their names; the first letters of the first six are short forms.
const KINDS: [(&str, GroupKind); 7] = [
    ("missing", GroupKind::Missing),
    ("installed", GroupKind::Installed),
    ("all", GroupKind::All),
    ("total", GroupKind::Total),
    ("unbundled", GroupKind::Unbundled),
    ("bad", GroupKind::Bad),
    ("obsolete", GroupKind::Obsolete),
];

const NARROWINGS: [(&str, Narrowing); 4] = [
    ("", Narrowing::None),
    ("r", Narrowing::Recommended),
    ("s", Narrowing::Security),
    ("rs", Narrowing::Either),
];

/// Names of groups that are narrowed ones.
const OTHER_NAMES: [(&str, &str); 2] = [("security", "missings"), ("recommended", "missingr")];

impl Group {
    /// The default list.
    pub const MISSING: Self = Self { kind: GroupKind::Missing, narrowed: Narrowing::None };

    /// Returns the group of this name, in full or short, with a suffix or without.
    pub fn named(name: &str) -> Option<Self> {
        let name = OTHER_NAMES.iter().find(|(other, _)| *other == name).map_or(name, |(_, name)| name);
        NARROWINGS.iter().find_map(|(suffix, narrowed)| {
            let stem = name.strip_suffix(suffix)?;
            let is_kind =
                |long: &str| stem == long || stem.len() == 1 && long != "obsolete" && long.starts_with(stem);
            let (_, kind) = KINDS.iter().find(|(long, _)| is_kind(long))?;
            Some(Self { kind: *kind, narrowed: *narrowed })
        })
    }

    /// Returns all names in full, without suffixes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        KINDS.iter().map(|(name, _)| *name).chain(OTHER_NAMES.iter().map(|(name, _)| *name))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(name, _)| name);
        let suffix = NARROWINGS.iter().find(|(_, narrowed)| *narrowed == self.narrowed);
        write!(f, "{name}{}", suffix.map_or("", |(suffix, _)| suffix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_names_short_forms_and_suffixes() {
        for (name, full) in [
            ("missing", "missing"),
            ("m", "missing"),
            ("mrs", "missingrs"),
            ("ar", "allr"),
            ("totals", "totals"),
            ("u", "unbundled"),
            ("b", "bad"),
            ("i", "installed"),
            ("obsolete", "obsolete"),
            ("security", "missings"),
            ("recommended", "missingr"),
        ] {
            assert_eq!(Group::named(name).map(|group| group.to_string()).as_deref(), Some(full), "{name}");
        }
        for name in
            ["", "r", "s", "rs", "o", "x", "mx", "missingx", "mi", "105181", "105181-05", "obsoletedby"]
        {
            assert_eq!(Group::named(name), None, "{name}");
        }
    }
}
