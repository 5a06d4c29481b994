//! The request for an analysis: groups and patches, and exclusions from them.

use std::collections::HashSet;

use chrono::NaiveDate;
use regex::Regex;

use super::group::Group;
use super::reference::ReferencePatch;
use patchadm_svr4::patch::PatchId;

/// The longest pattern, in bytes.
const LONGEST_PATTERN: usize = 4096;

/// The request.
#[derive(Clone, Debug)]
pub struct AnalysisRequest {
    /// The groups that are listed.
    pub groups: Vec<Group>,
    /// The patches that are listed beside them: a base, or an id with its revision.
    pub named: Vec<String>,
    /// The patches that are never listed.
    pub unwanted: Vec<UnwantedPatch>,
    /// The patterns for the synopses of the groups.
    pub patterns: Vec<SynopsisPattern>,
    /// The fewest days since the date of a patch of a group.
    pub min_age: Option<u32>,
    /// The most days since the date of a patch of a group.
    pub max_age: Option<u32>,
    /// The bases that count as recommended.
    pub recommended: HashSet<String>,
    /// The bases that count as security patches.
    pub security: HashSet<String>,
    /// Whether the missing requirements of what is listed are listed, too.
    pub with_requirements: bool,
    /// The packages whose patches come first.
    pub first: Vec<String>,
    /// The day that counts as today.
    pub today: NaiveDate,
}

/// The reason a request makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A pattern that is not a regular expression, or is too large.
    #[error("<{pattern}> is not a regular expression: {reason}")]
    Pattern {
        /// The given pattern, cut to a readable length.
        pattern: String,
        /// The fault.
        reason: String,
    },
}

/// A condition on the synopsis of a patch.
#[derive(Clone, Debug)]
pub struct SynopsisPattern {
    regex: Regex,
    /// Whether it must not fit.
    is_negated: bool,
}

/// A patch that is never listed.
#[derive(Clone, Debug)]
pub enum UnwantedPatch {
    /// All revisions.
    Base(String),
    /// This revision and lower ones.
    Id(PatchId),
    /// All patches with such a synopsis.
    Synopsis(SynopsisPattern),
}

impl SynopsisPattern {
    /// Parses a regular expression, which a `!` before it negates.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        let (is_negated, pattern) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        Ok(Self { regex: regex(pattern)?, is_negated })
    }

    /// Tells whether a synopsis fits.
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
    // The last line of the error says what is wrong; those before it draw where.
    let last =
        |text: String| text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Regex::new(pattern).map_err(|error| wrong(last(error.to_string())))
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
}
