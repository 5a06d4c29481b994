//! Lists of patches: plain, requirements (`SUNW_REQUIRES`) with alternatives `( a | b )`, and obsoletion counts
//! (`PATCH_OBSOLETES`): `id@n` says that *n* applied patches obsolete *id*, which stays obsolete until all are gone.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::patch::{PatchId, PatchIdError};

/// Patch ids in order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchList(Vec<PatchId>);

/// The reason a value is not a list of patches.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchListError {
    /// A word that is not a patch id.
    #[error(transparent)]
    Id(#[from] PatchIdError),
    /// More entries than [`PatchList::LIMIT`], more than any root has patches.
    #[error("a list of patches has more than {} entries", PatchList::LIMIT)]
    TooMany,
}

impl PatchList {
    /// The largest number of entries in a list.
    pub const LIMIT: usize = 100_000;

    /// Creates an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses ids separated by blanks, commas or both; repeated ids are dropped.
    pub fn parse(value: &str, separator: &str) -> Result<Self, PatchListError> {
        let (mut seen, mut ids) = (HashSet::new(), Vec::new());
        for word in words(value) {
            let id = PatchId::parse(word, separator)?;
            if seen.insert(id.clone()) {
                if ids.len() == Self::LIMIT {
                    return Err(PatchListError::TooMany);
                }
                ids.push(id);
            }
        }
        Ok(Self(ids))
    }

    /// Skips words that are no ids, and entries above the limit.
    pub(super) fn parse_legible<'a>(words: impl Iterator<Item = &'a str>, separator: &str) -> Self {
        words.filter_map(|word| PatchId::parse(word, separator).ok()).take(Self::LIMIT).collect()
    }

    /// Appends `id`. Returns false, with nothing changed, if the list has it already, in any spelling.
    pub fn push(&mut self, id: PatchId) -> bool {
        let new = !self.contains(&id);
        if new {
            self.0.push(id);
        }
        new
    }

    /// Removes `id`. Returns false if the list does not have it.
    pub fn remove(&mut self, id: &PatchId) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| entry != id);
        self.0.len() < before
    }

    /// Returns true if the list has `id`.
    pub fn contains(&self, id: &PatchId) -> bool {
        self.0.contains(id)
    }

    /// Returns true if the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of ids.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the ids in order; for PATCHLIST that is the order of application, oldest first.
    pub fn iter(&self) -> std::slice::Iter<'_, PatchId> {
        self.0.iter()
    }

    /// Returns entries that `own` does not contain anyway, so without its own base up to its revision. A later revision
    /// contains the earlier ones, and repairs the faults that made others incompatible with them.
    pub fn beyond<'a>(&'a self, own: &PatchId) -> impl Iterator<Item = &'a PatchId> {
        self.iter().filter(|entry| !own.contains(entry))
    }

    /// Joins the ids with `glue`; listings such as showrev(1M) use `, `.
    pub fn joined(&self, glue: &str) -> String {
        self.0.iter().map(PatchId::as_str).collect::<Vec<_>>().join(glue)
    }
}

impl fmt::Display for PatchList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined(" "))
    }
}

impl<'a> IntoIterator for &'a PatchList {
    type Item = &'a PatchId;
    type IntoIter = std::slice::Iter<'a, PatchId>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl FromIterator<PatchId> for PatchList {
    fn from_iter<I: IntoIterator<Item = PatchId>>(ids: I) -> Self {
        let mut list = Self::new();
        list.extend(ids);
        list
    }
}

impl Extend<PatchId> for PatchList {
    fn extend<I: IntoIterator<Item = PatchId>>(&mut self, ids: I) {
        let mut ids = ids.into_iter().peekable();
        if ids.peek().is_none() {
            return;
        }
        let mut seen: HashSet<PatchId> = self.0.iter().cloned().collect();
        self.0.extend(ids.filter(|id| seen.insert(id.clone())));
    }
}

/// Splits a value at blanks and commas.
pub(super) fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|word| !word.is_empty())
}

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
#[non_exhaustive]
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

    /// True if the patch `id`, with these obsoletes, meets the requirement. A patch may meet its own requirement.
    pub fn is_met_by(&self, id: &PatchId, obsoletes: &PatchList) -> bool {
        let contains =
            |needed: &PatchId| id.contains(needed) || obsoletes.iter().any(|entry| entry.contains(needed));
        self.ids().iter().any(contains)
    }

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

    /// Parses a foreign record. In malformed parentheses, every valid id counts as required.
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

    /// Returns true if there are no requirements.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Joins the requirements with `glue`; listings such as showrev(1M) use `, `.
    pub fn joined(&self, glue: &str) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(glue)
    }
}

/// Parses the ids between parentheses; `None` without at least two ids separated by bars.
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
        let mut requirements = requirements.into_iter().peekable();
        if requirements.peek().is_none() {
            return;
        }
        let mut seen: HashSet<Requirement> = self.0.iter().cloned().collect();
        self.0.extend(requirements.filter(|requirement| seen.insert(requirement.clone())));
    }
}

/// Obsoleted patches with counts above zero. Readers ignore the order: the classic scripts write that of an awk array.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObsoleteCounts(Vec<(PatchId, u32)>);

/// The reason a value is not a list of obsoletion counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObsoleteCountsError {
    /// A word other than a patch id, `@` and a count up to [`PatchList::LIMIT`].
    #[error("<{0}> is not a patch id with the count of patches that obsolete it")]
    Word(String),
    /// More entries than any root has patches.
    #[error("a list of obsoleted patches has more than {} entries", PatchList::LIMIT)]
    TooMany,
}

impl ObsoleteCounts {
    /// Parses `id@count` words separated by blanks, commas or both. The first for an id counts; count zero is dropped.
    pub fn parse(value: &str, separator: &str) -> Result<Self, ObsoleteCountsError> {
        let (mut known, mut entries) = (HashSet::new(), Vec::new());
        for word in words(value) {
            let entry = entry(word, separator).ok_or_else(|| {
                ObsoleteCountsError::Word(word.chars().take(200).flat_map(char::escape_debug).collect())
            })?;
            if known.insert(entry.0.clone()) {
                if entries.len() == PatchList::LIMIT {
                    return Err(ObsoleteCountsError::TooMany);
                }
                entries.push(entry);
            }
        }
        entries.retain(|(_, count)| *count > 0);
        Ok(Self(entries))
    }

    /// Raises the counts of the patches that a newly applied patch obsoletes.
    pub fn count_up(&mut self, obsoleted: &PatchList) {
        let places = self.places(obsoleted);
        for (id, place) in obsoleted.iter().zip(places) {
            match place.and_then(|place| self.0.get_mut(place)) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => self.0.push((id.clone(), 1)),
            }
        }
    }

    /// Lowers the counts of patches that a backed out patch had obsoleted, if they have an entry.
    pub fn count_down(&mut self, obsoleted: &PatchList) {
        for place in self.places(obsoleted).into_iter().flatten() {
            if let Some((_, count)) = self.0.get_mut(place) {
                *count = count.saturating_sub(1);
            }
        }
        self.0.retain(|(_, count)| *count > 0);
    }

    /// Returns the entry that makes `id` obsolete: one that names `b-r` covers every `b-q` with q <= r.
    pub fn covers(&self, id: &PatchId) -> Option<&PatchId> {
        self.ids().find(|entry| entry.contains(id))
    }

    /// Returns the number of applied patches that obsolete exactly `id`.
    pub fn count(&self, id: &PatchId) -> u32 {
        self.0.iter().find(|(entry, _)| entry == id).map_or(0, |(_, count)| *count)
    }

    /// Returns the obsoleted ids in order.
    pub fn ids(&self) -> impl Iterator<Item = &PatchId> {
        self.0.iter().map(|(id, _)| id)
    }

    /// Returns the obsoleted ids in order, with their counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PatchId, u32)> {
        self.0.iter().map(|(id, count)| (id, *count))
    }

    /// Returns true if no patch is obsoleted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one pass over both lists, either of which may be long in a hostile pkginfo.
    fn places(&self, ids: &PatchList) -> Vec<Option<usize>> {
        let known: HashMap<&PatchId, usize> = self.ids().enumerate().map(|(place, id)| (id, place)).collect();
        ids.iter().map(|id| known.get(id).copied()).collect()
    }
}

fn entry(word: &str, separator: &str) -> Option<(PatchId, u32)> {
    let (id, count) = word.split_once('@')?;
    let digits = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    let count: u32 = count.parse().ok().filter(|_| digits)?;
    let limit = u32::try_from(PatchList::LIMIT).unwrap_or(u32::MAX);
    (count <= limit).then_some((PatchId::parse(id, separator).ok()?, count))
}

impl fmt::Display for ObsoleteCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (id, count)) in self.0.iter().enumerate() {
            let gap = if index > 0 { " " } else { "" };
            write!(f, "{gap}{id}@{count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> PatchId {
        PatchId::new(text).unwrap()
    }

    fn list(text: &str) -> PatchList {
        PatchList::parse(text, "-").unwrap()
    }

    #[test]
    fn blanks_and_commas_separate_and_duplicates_are_dropped() {
        assert_eq!(
            list(" 103201-01,103201-1\t, 120134-02\n103200-05 ").to_string(),
            "103201-01 120134-02 103200-05"
        );
        assert_eq!(list("120220-01, 120222-31").joined(", "), "120220-01, 120222-31");
        assert!(list(" , ").is_empty());
        assert_eq!(PatchList::parse("A_1 B_2", "_").unwrap().len(), 2);
    }

    #[test]
    fn a_patch_is_in_a_list_once_in_its_first_spelling() {
        let mut patches = list("105181-5");
        assert!(!patches.push(id("105181-05")));
        assert!(patches.push(id("105181-06")));
        assert_eq!(patches.to_string(), "105181-5 105181-06");
        assert!(patches.remove(&id("105181-005")));
        assert!(!patches.remove(&id("105181-05")));
        assert!(patches.contains(&id("105181-6")) && !patches.contains(&id("105181-05")));
    }

    #[test]
    fn what_a_patch_says_of_itself_and_its_earlier_revisions_says_nothing() {
        let patches = list("105181-04 105181-5 105181-06 105182-05");
        let beyond: Vec<&str> = patches.beyond(&id("105181-05")).map(PatchId::as_str).collect();
        assert_eq!(beyond, ["105181-06", "105182-05"]);
    }

    #[test]
    fn a_word_that_is_no_id_is_named() {
        let error = PatchList::parse("103201-01 oops", "-").unwrap_err();
        assert_eq!(
            error.to_string(),
            "<oops> is not a patch id: it has no separator between base and revision"
        );
        assert!(PatchList::parse("( 1-1 | 2-1 )", "-").is_err());
    }

    #[test]
    fn a_list_has_a_limit() {
        use std::fmt::Write;
        let mut text = String::new();
        for number in 0..PatchList::LIMIT {
            write!(text, "{number}-1 ").unwrap();
        }
        assert_eq!(list(&text).len(), PatchList::LIMIT);
        text.push_str("0-1 more-1");
        assert_eq!(PatchList::parse(&text, "-"), Err(PatchListError::TooMany));
        assert_eq!(PatchList::parse_legible(words(&text), "-").len(), PatchList::LIMIT);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(texts in prop::collection::vec("[A-Za-z0-9]{1,4}-[0-9]{1,3}", 0..20)) {
            let patches: PatchList = texts.iter().map(|text| id(text)).collect();
            prop_assert_eq!(list(&patches.to_string()), patches.clone());
            prop_assert_eq!(list(&patches.joined(", ")), patches);
        }

        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _ = PatchList::parse(&text, "-");
        }
    }
}

#[cfg(test)]
mod requirement_tests {
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

#[cfg(test)]
mod obsolete_counts_tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str) -> PatchList {
        PatchList::parse(text, "-").unwrap()
    }

    fn counts(text: &str) -> ObsoleteCounts {
        ObsoleteCounts::parse(text, "-").unwrap()
    }

    #[test]
    fn counts_go_up_with_each_patch_and_down_with_each_backout() {
        let mut value = ObsoleteCounts::default();
        value.count_up(&list(""));
        assert_eq!(value.to_string(), "");
        value.count_up(&list("100-01 101-03"));
        assert_eq!(value.to_string(), "100-01@1 101-03@1");
        value.count_up(&list("100-01 200-01"));
        assert_eq!(value.to_string(), "100-01@2 101-03@1 200-01@1");
        value.count_down(&list("100-01 200-01"));
        assert_eq!(value.to_string(), "100-01@1 101-03@1");
        value.count_down(&list("100-01 101-03 999-09"));
        assert_eq!(value.to_string(), "");
    }

    #[test]
    fn an_obsoletion_covers_lower_revisions_and_no_higher_one() {
        let value = counts("650-04@1 700-01@2");
        let id = |text| PatchId::new(text).unwrap();
        assert_eq!(value.covers(&id("650-03")), Some(&id("650-04")));
        assert_eq!(value.covers(&id("650-4")), Some(&id("650-04")));
        assert_eq!(value.covers(&id("650-05")), None);
        assert_eq!(value.covers(&id("651-01")), None);
        assert_eq!((value.count(&id("700-1")), value.count(&id("650-03"))), (2, 0));
    }

    #[test]
    fn values_of_the_classic_scripts_are_read() {
        assert_eq!(counts("103200-05@1 103201-01@2 ").to_string(), "103200-05@1 103201-01@2");
        assert_eq!(counts("1-1@2, 2-1@1,1-01@7").to_string(), "1-1@2 2-1@1");
        assert_eq!(counts("1-1@0 2-1@1").to_string(), "2-1@1");
    }

    #[test]
    fn garbage_is_named() {
        for word in ["100-01", "100-01@", "100-01@x", "100-01@-1", "100-01@+1", "@1", "100@1", "1-1@100001"] {
            assert_eq!(
                ObsoleteCounts::parse(&format!("5-5@1 {word}"), "-"),
                Err(ObsoleteCountsError::Word(word.to_owned()))
            );
        }
    }

    proptest! {
        #[test]
        fn a_backout_undoes_the_application(
            before in prop::collection::vec("[0-9]-[0-9]@[1-9]", 0..12),
            obsoleted in prop::collection::vec("[0-9]-[0-9]", 0..12),
        ) {
            let before = counts(&before.join(" "));
            let obsoleted = list(&obsoleted.join(" "));
            let mut value = before.clone();
            value.count_up(&obsoleted);
            prop_assert!(obsoleted.iter().all(|id| value.covers(id).is_some()));
            prop_assert_eq!(&counts(&value.to_string()), &value);
            value.count_down(&obsoleted);
            prop_assert_eq!(value, before);
        }

        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _ = ObsoleteCounts::parse(&text, "-");
        }
    }
}
