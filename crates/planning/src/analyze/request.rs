use std::collections::HashSet;
use std::fmt;

use chrono::NaiveDate;
use patchadm_svr4::patch::PatchId;
use regex::Regex;

use super::reference::ReferencePatch;

const LONGEST_PATTERN: usize = 4096;

#[derive(Clone, Debug)]
pub struct AnalysisRequest {
    pub groups: Vec<Group>,
    /// A base, or an id with its revision.
    pub named: Vec<String>,
    pub unwanted: Vec<UnwantedPatch>,
    pub patterns: Vec<SynopsisPattern>,
    /// Days since the date of the patch.
    pub min_age: Option<u32>,
    /// Days since the date of the patch.
    pub max_age: Option<u32>,
    pub recommended: HashSet<String>,
    pub security: HashSet<String>,
    /// Also list missing requirements of listed patches.
    pub with_requirements: bool,
    pub first: Vec<String>,
    pub today: NaiveDate,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("<{pattern}> is not a regular expression: {reason}")]
    Pattern {
        /// Cut to a readable length.
        pattern: String,
        reason: String,
    },
}

#[derive(Clone, Debug)]
pub struct SynopsisPattern {
    regex: Regex,
    is_negated: bool,
}

#[derive(Clone, Debug)]
pub enum UnwantedPatch {
    Base(String),
    /// This revision and lower ones.
    Id(PatchId),
    Synopsis(SynopsisPattern),
}

impl SynopsisPattern {
    /// Parses a regular expression, which a `!` before it negates.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        let (is_negated, pattern) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        Ok(Self { regex: regex(pattern)?, is_negated })
    }

    pub fn fits(&self, synopsis: &str) -> bool {
        self.regex.is_match(synopsis) != self.is_negated
    }
}

impl UnwantedPatch {
    /// Parses the base of a patch, a patch, or else a regular expression for synopses.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        if let Ok(id) = PatchId::new(text) {
            return Ok(Self::Id(id));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Base(text.to_owned()));
        }
        Ok(Self::Synopsis(SynopsisPattern { regex: regex(text)?, is_negated: false }))
    }

    pub(super) fn is(&self, patch: &ReferencePatch) -> bool {
        match self {
            Self::Base(base) => patch.id.base() == base,
            Self::Id(id) => id.contains(&patch.id),
            Self::Synopsis(pattern) => pattern.fits(&patch.synopsis),
        }
    }
}

fn regex(pattern: &str) -> Result<Regex, RequestError> {
    let wrong = |reason: String| {
        let pattern = pattern.chars().take(80).flat_map(char::escape_debug).collect();
        RequestError::Pattern { pattern, reason }
    };
    if pattern.len() > LONGEST_PATTERN {
        return Err(wrong(format!("it is longer than {LONGEST_PATTERN} bytes")));
    }
    // The last line of the error names the fault; the lines before it draw its position.
    let last =
        |text: String| text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Regex::new(pattern).map_err(|error| wrong(last(error.to_string())))
}

/// May be narrowed to recommended patches, to those about security, or to either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    pub(super) kind: GroupKind,
    pub(super) narrowed: Narrowing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum GroupKind {
    /// In use, for this machine, and not applied in this revision or a later one.
    Missing,
    Installed,
    All,
    Total,
    /// In use, for no release of the system and no package.
    Unbundled,
    /// Applied in a withdrawn revision.
    Bad,
    /// Applied and contained in another applied patch.
    Obsolete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Narrowing {
    None,
    Recommended,
    Security,
    Either,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{0}> is neither a group of patches nor a patch")]
pub struct GroupError(pub String);

/// The first letters of the first six names are short forms.
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
    fn what_is_unwanted_is_a_base_an_id_or_words() {
        let patch = |id| ReferencePatch::made_up(id, &[]);
        let is = |text: &str, id| UnwantedPatch::parse(text).unwrap().is(&patch(id));
        assert!(is("100", "100-07") && is("100-05", "100-05") && is("100-05", "100-01"));
        assert!(!is("100", "1001-07") && !is("100-05", "100-06"));
        assert!(is("^patch 1", "100-07") && !is("^atch", "100-07"));
        let error = UnwantedPatch::parse("(").err().unwrap().to_string();
        assert_eq!(error, "<(> is not a regular expression: unclosed group");
        assert!(SynopsisPattern::parse(&"a".repeat(5000)).is_err());
    }

    #[test]
    fn a_pattern_can_be_negated() {
        let fits = |text| SynopsisPattern::parse(text).unwrap().fits("web server");
        assert_eq!(["web", "!web", "x", "!x"].map(fits), [true, false, false, true]);
    }

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
