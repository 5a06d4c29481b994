//! The requirements of a patch: the value of `SUNW_REQUIRES` and of the `Requires:` part of a `PATCH_INFO`
//! line.
//!
//! Requirements are mostly plain ids; alternatives `( a | b )` occur and are kept.
//! [`AppliedPatches`](super::AppliedPatches) decides whether a requirement is met.

use super::list::words;
use super::{PatchId, PatchIdError, PatchList};
use std::fmt;

/// One requirement of a patch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// A patch, at this or a later revision.
    One(PatchId),
    /// Any one of at least two patches.
    AnyOf(Vec<PatchId>),
}

/// The requirements of a patch, in order and without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements(Vec<Requirement>);

/// The reason a value is not a list of requirements.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequirementsError {
    /// A word that is not a patch id.
    #[error(transparent)]
    Id(#[from] PatchIdError),
    /// Parentheses or bars in another form than `( a | b )`.
    #[error("<{0}> is not a list of required patches: alternatives are written `( a | b )`")]
    Alternatives(String),
    /// More entries than any root has patches.
    #[error("a list of required patches has more than {} entries", PatchList::LIMIT)]
    TooMany,
}

impl Requirement {
    /// Returns the patches, any one of which meets the requirement.
    pub fn ids(&self) -> &[PatchId] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::AnyOf(ids) => ids,
        }
    }

    /// Returns whether the patch `id`, which obsoletes these, meets the requirement by itself; it may meet its own
    /// requirement, too.
    pub fn is_met_by(&self, id: &PatchId, obsoletes: &PatchList) -> bool {
        let contains =
            |needed: &PatchId| id.contains(needed) || obsoletes.iter().any(|entry| entry.contains(needed));
        self.ids().iter().any(contains)
    }

    /// Creates the requirement of any one of `ids`, or `None` if there is no id.
    fn any_of(ids: impl IntoIterator<Item = PatchId>) -> Option<Self> {
        let mut ids: Vec<PatchId> = PatchList::from_iter(ids).iter().cloned().collect();
        if ids.len() > 1 { Some(Self::AnyOf(ids)) } else { ids.pop().map(Self::One) }
    }
}

impl Requirements {
    /// Parses ids and alternatives, separated by blanks, commas or both.
    pub fn parse(value: &str, separator: &str) -> Result<Self, RequirementsError> {
        let malformed = || {
            let shown = value.chars().take(200).flat_map(char::escape_debug).collect();
            RequirementsError::Alternatives(shown)
        };
        let (mut all, mut rest) = (Vec::new(), value);
        while !rest.is_empty() {
            let (plain, group) = match rest.split_once('(') {
                Some((plain, tail)) => {
                    let (group, tail) = tail.split_once(')').ok_or_else(malformed)?;
                    rest = tail;
                    (plain, Some(group))
                }
                None => (std::mem::take(&mut rest), None),
            };
            if plain.contains([')', '|']) {
                return Err(malformed());
            }
            for word in words(plain) {
                all.push(Requirement::One(PatchId::parse(word, separator)?));
            }
            if let Some(group) = group {
                let ids = alternatives(group, separator)?.ok_or_else(malformed)?;
                all.extend(Requirement::any_of(ids));
            }
            if all.len() > PatchList::LIMIT {
                return Err(RequirementsError::TooMany);
            }
        }
        Ok(all.into_iter().collect())
    }

    /// Parses a record made by another program. If its parentheses are malformed, every legible id counts as required.
    pub(super) fn parse_legible(value: &str, separator: &str) -> Self {
        Self::parse(value, separator).unwrap_or_else(|_| {
            let words = value.split(|c: char| c.is_ascii_whitespace() || ",()|".contains(c));
            PatchList::parse_legible(words, separator).iter().cloned().map(Requirement::One).collect()
        })
    }

    /// Returns the requirements in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Requirement> {
        self.0.iter()
    }

    /// Returns whether there are no requirements.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Joins the requirements with `glue`; listings such as showrev(1M) use `, `.
    pub fn joined(&self, glue: &str) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(glue)
    }
}

/// Parses the ids between two parentheses. Returns `None` if they are not at least two ids separated by bars.
fn alternatives(group: &str, separator: &str) -> Result<Option<Vec<PatchId>>, PatchIdError> {
    let mut ids = Vec::new();
    for alternative in group.split('|') {
        let mut words = alternative.split_ascii_whitespace();
        let (Some(word), None) = (words.next(), words.next()) else {
            return Ok(None);
        };
        ids.push(PatchId::parse(word, separator)?);
    }
    Ok((ids.len() > 1).then_some(ids))
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(id) => id.fmt(f),
            Self::AnyOf(ids) => {
                let ids: Vec<&str> = ids.iter().map(PatchId::as_str).collect();
                write!(f, "( {} )", ids.join(" | "))
            }
        }
    }
}

impl fmt::Display for Requirements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined(" "))
    }
}

impl<'a> IntoIterator for &'a Requirements {
    type Item = &'a Requirement;
    type IntoIter = std::slice::Iter<'a, Requirement>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<Requirement> for Requirements {
    fn from_iter<I: IntoIterator<Item = Requirement>>(requirements: I) -> Self {
        let mut all = Self::default();
        all.extend(requirements);
        all
    }
}

impl Extend<Requirement> for Requirements {
    fn extend<I: IntoIterator<Item = Requirement>>(&mut self, requirements: I) {
        let mut seen: std::collections::HashSet<Requirement> = self.0.iter().cloned().collect();
        self.0.extend(requirements.into_iter().filter(|requirement| seen.insert(requirement.clone())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Requirements {
        Requirements::parse(text, "-").unwrap()
    }

    #[test]
    fn plain_ids_and_alternatives_stand_side_by_side() {
        let all = read("850-01,(900-01|901-02) 850-1 ( 7-1 | 7-01 )");
        let id = |text| PatchId::new(text).unwrap();
        let expected = [
            Requirement::One(id("850-01")),
            Requirement::AnyOf(vec![id("900-01"), id("901-02")]),
            Requirement::One(id("7-1")),
        ];
        assert_eq!(all.iter().cloned().collect::<Vec<_>>(), expected);
        assert_eq!(all.to_string(), "850-01 ( 900-01 | 901-02 ) 7-1");
        assert_eq!(all.joined(", "), "850-01, ( 900-01 | 901-02 ), 7-1");
    }

    #[test]
    fn a_patch_meets_a_requirement_by_itself_by_an_earlier_revision_and_by_what_it_obsoletes() {
        let id = PatchId::new("650-03").unwrap();
        let obsoletes = PatchList::parse("680-02", "-").unwrap();
        for (requirement, is_met) in [
            ("650-02", true),
            ("650-3", true),
            ("650-04", false),
            ("680-01", true),
            ("680-03", false),
            ("( 680-03 | 650-01 )", true),
        ] {
            let all = read(requirement);
            assert_eq!(all.iter().next().unwrap().is_met_by(&id, &obsoletes), is_met, "{requirement}");
        }
    }

    #[test]
    fn other_uses_of_parentheses_are_errors() {
        for text in
            ["(", ")", "1-1 | 2-1", "( 1-1 )", "()", "( 1-1 | )", "( 1-1, 2-1 )", "( 1-1 2-1 )", "(1-1|2-1"]
        {
            let error = Requirements::parse(text, "-").unwrap_err();
            assert_eq!(error, RequirementsError::Alternatives(text.to_owned()));
        }
        for text in ["( 1-1 | ( 2-1 | 3-1 ) )", "( x | 2-1 )", "x"] {
            assert!(Requirements::parse(text, "-").is_err(), "{text}");
        }
    }

    #[test]
    fn a_list_of_requirements_has_a_limit() {
        let text = |entries| "( 1-1 | 2-1 ) ".repeat(entries);
        assert!(Requirements::parse(&text(PatchList::LIMIT), "-").is_ok());
        assert_eq!(Requirements::parse(&text(PatchList::LIMIT + 1), "-"), Err(RequirementsError::TooMany));
    }

    #[test]
    fn a_record_made_by_someone_else_gives_what_is_legible() {
        let all = Requirements::parse_legible("( 1-1 & 2-1 ) junk 3-01", "-");
        assert_eq!(all.to_string(), "1-1 2-1 3-01");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "([a-c][0-9]?-[0-9] |\\( [a-c]-1 \\| [d-f]-2 \\) ){0,8}") {
            let all = read(&text);
            prop_assert_eq!(read(&all.to_string()), all);
        }

        #[test]
        fn reading_never_panics(text in "[ab(|)1,. -]{0,30}") {
            let _ = Requirements::parse(&text, "-");
            let _ = Requirements::parse_legible(&text, "-");
        }
    }
}
