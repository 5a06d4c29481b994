//! The patch records of one installed package: PATCHLIST, `PATCH_OBSOLETES` and `PATCH_INFO_` lines, which change
//! together. Reading `PATCH_INFO_` never fails, because an old record must not prevent a backout.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::package::{Params, PkgInst};
use crate::patch::list::words;
use crate::patch::{ObsoleteCounts, ObsoleteCountsError, PatchId, PatchList, PatchListError, Requirements};

const LIST: &str = "PATCHLIST";
const COUNTS: &str = "PATCH_OBSOLETES";
const INFO: &str = "PATCH_INFO_";

/// The patch records of an installed package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchRecords {
    /// The package that has the records.
    pub package: PkgInst,
    /// PATCHLIST in order of application. Obsoleted patches stay in it until they are backed out.
    pub list: PatchList,
    /// `PATCH_OBSOLETES`: the patches that applied ones obsolete, with counts.
    pub obsoletes: ObsoleteCounts,
    /// The `PATCH_INFO` lines, including those of patches that have been backed out.
    pub infos: BTreeMap<PatchId, PatchInfo>,
}

/// The reason the patch records of a package cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchRecordsError {
    /// A PATCHLIST that is not a list of patches.
    #[error("package {package}: {LIST}: {source}")]
    List {
        /// The package that has the record.
        package: PkgInst,
        /// The fault in the value.
        source: PatchListError,
    },
    /// A `PATCH_OBSOLETES` that is not a list of counts.
    #[error("package {package}: {COUNTS}: {source}")]
    Obsoletes {
        /// The package that has the record.
        package: PkgInst,
        /// The fault in the value.
        source: ObsoleteCountsError,
    },
}

impl PatchRecords {
    /// Creates the records of a package that was never patched.
    pub fn new(package: PkgInst) -> Self {
        let (list, obsoletes, infos) = Default::default();
        Self { package, list, obsoletes, infos }
    }

    /// Reads the records. The two lists must be intact for rules; unreadable `PATCH_INFO_` lines are skipped.
    pub fn from_params(
        package: &PkgInst,
        params: &Params,
        separator: &str,
    ) -> Result<Self, PatchRecordsError> {
        let list = PatchList::parse(&params.text(LIST), separator)
            .map_err(|source| PatchRecordsError::List { package: package.clone(), source })?;
        let obsoletes = ObsoleteCounts::parse(&params.text(COUNTS), separator)
            .map_err(|source| PatchRecordsError::Obsoletes { package: package.clone(), source })?;
        let mut infos = BTreeMap::new();
        for (name, value) in params.iter() {
            let id = name.strip_prefix(INFO).and_then(|id| PatchId::parse(id, separator).ok());
            if let Some(id) = id {
                let value = String::from_utf8_lossy(value);
                infos.entry(id).or_insert_with(|| PatchInfo::parse(&value, separator));
            }
        }
        Ok(Self { package: package.clone(), list, obsoletes, infos })
    }

    /// Returns the record of `id` if it is applied.
    pub fn installed(&self, id: &PatchId) -> Option<&InstalledInfo> {
        self.infos.get(id).filter(|_| self.list.contains(id)).and_then(PatchInfo::installed)
    }

    /// Records an application. Returns false for an applied patch: its files may come again, but must not count again.
    pub fn record_applied(&mut self, id: &PatchId, installed: InstalledInfo) -> bool {
        // A patch that comes back keeps its old spelling, so that PATCH_INFO_$id is found.
        let id = self.infos.get_key_value(id).map_or(id, |(known, _)| known).clone();
        if !self.list.push(id.clone()) {
            return false;
        }
        self.obsoletes.count_up(&installed.obsoletes);
        self.infos.insert(id, PatchInfo::Installed(installed));
        true
    }

    /// Writes the parameters with `id` applied, like [`record_applied`](Self::record_applied) and
    /// [`write`](Self::write) without a copy. Returns false, with nothing written, if `id` is applied already.
    pub fn write_applied(&self, id: &PatchId, installed: InstalledInfo, params: &mut Params) -> bool {
        if self.list.contains(id) {
            return false;
        }
        let id = self.infos.get_key_value(id).map_or(id, |(known, _)| known);
        let (package, list) = (self.package.clone(), self.list.clone());
        let mut after = Self { package, list, obsoletes: self.obsoletes.clone(), infos: BTreeMap::new() };
        after.record_applied(id, installed);
        after.write(id, params);
        true
    }

    /// Reads the record of one patch from the parameters of the package, under the spelling in its history.
    pub fn info_in(&self, id: &PatchId, params: &Params, separator: &str) -> PatchInfo {
        let known = self.infos.get_key_value(id).map_or(id, |(known, _)| known);
        PatchInfo::parse(&params.text(&format!("{INFO}{known}")), separator)
    }

    /// Records a backout. Returns false, with nothing changed, if `id` is not applied. Obsoleted patches come from its
    /// own record, not from `ACTIVE_OBSOLETES`, which the classic scripts leave stale.
    pub fn record_backed_out(&mut self, id: &PatchId) -> bool {
        let obsoleted = self.installed(id).map(|installed| installed.obsoletes.clone()).unwrap_or_default();
        if !self.list.remove(id) {
            return false;
        }
        self.obsoletes.count_down(&obsoleted);
        self.infos.insert(id.clone(), PatchInfo::BackedOut);
        true
    }

    /// Writes the parameters that a change of `id` affects: PATCHLIST, `PATCH_OBSOLETES` (unless it is missing and
    /// empty) and `PATCH_INFO_` of `id`. Lines of other patches keep their bytes.
    pub fn write(&self, id: &PatchId, params: &mut Params) {
        params.set(LIST, self.list.to_string());
        if !self.obsoletes.is_empty() || params.get(COUNTS).is_some() {
            params.set(COUNTS, self.obsoletes.to_string());
        }
        if let Some((id, info)) = self.infos.get_key_value(id) {
            params.set(&format!("{INFO}{id}"), info.to_string());
        }
    }
}

/// The record of a patch in a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PatchInfo {
    /// The patch is applied.
    Installed(InstalledInfo),
    /// The patch was applied once and has been backed out; the record remains as history.
    BackedOut,
    /// The record has no known content.
    #[default]
    Empty,
}

/// The record of an applied patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstalledInfo {
    /// The time of application, as date(1) prints it, such as `Fri Nov 20 06:37:39 UTC 2026`, with single blanks.
    pub date: String,
    /// The node name of the machine that applied it; empty if not recorded.
    pub host: String,
    /// The patches that it obsoletes.
    pub obsoletes: PatchList,
    /// The patches that it requires.
    pub requires: Requirements,
    /// The patches that it is incompatible with.
    pub incompatibles: PatchList,
}

const LABELS: [&str; 5] = ["Installed:", "From:", "Obsoletes:", "Requires:", "Incompatibles:"];

const BACKED_OUT: &str = "backed out";

impl PatchInfo {
    /// Parses a value. Words are separated by any run of blanks, tabs and newlines; a missing part is empty.
    pub fn parse(value: &str, separator: &str) -> Self {
        if value.split_ascii_whitespace().eq(BACKED_OUT.split(' ')) {
            return Self::BackedOut;
        }
        let Some([date, host, obsoletes, requires, incompatibles]) = parts(value) else {
            return Self::Empty;
        };
        Self::Installed(InstalledInfo {
            date: date.into_text(),
            host: host.into_text(),
            obsoletes: PatchList::parse_legible(words(obsoletes.text()), separator),
            requires: Requirements::parse_legible(requires.text(), separator),
            incompatibles: PatchList::parse_legible(words(incompatibles.text()), separator),
        })
    }

    /// Returns the record of an applied patch, or `None` for any other record.
    pub fn installed(&self) -> Option<&InstalledInfo> {
        match self {
            Self::Installed(installed) => Some(installed),
            Self::BackedOut | Self::Empty => None,
        }
    }
}

fn label(word: &str) -> Option<(usize, &str)> {
    let mut labels = LABELS.iter().enumerate();
    labels.find_map(|(place, label)| word.strip_prefix(label).map(|rest| (place, rest)))
}

/// Returns the text after each label; `None` without a label. Skips repeated and misplaced labels.
fn parts(value: &str) -> Option<[InfoPart<'_>; 5]> {
    let mut parts: [InfoPart<'_>; 5] = Default::default();
    let mut at: Option<usize> = None;
    for word in value.split_ascii_whitespace() {
        let mut rest = word;
        // The text after a label without a blank may be the next label.
        while let Some((place, behind)) = label(rest) {
            if at.is_none_or(|at| at < place) {
                at = Some(place);
            }
            rest = behind;
        }
        if let Some(part) = at.and_then(|at| parts.get_mut(at)).filter(|_| !rest.is_empty()) {
            part.push(value, rest);
        }
    }
    at.map(|_| parts)
}

/// Words with single blanks between them, borrowed from the value while it has this form.
#[derive(Default)]
struct InfoPart<'v> {
    place: Range<usize>,
    words: Cow<'v, str>,
}

impl<'v> InfoPart<'v> {
    fn push(&mut self, value: &'v str, word: &'v str) {
        let start = word.as_ptr().addr() - value.as_ptr().addr();
        let end = start + word.len();
        if self.words.is_empty() {
            *self = Self { place: start..end, words: word.into() };
            return;
        }
        let between = value.get(self.place.end..start);
        match (&mut self.words, value.get(self.place.start..end)) {
            (Cow::Borrowed(words), Some(longer)) if between == Some(" ") => *words = longer,
            (words, _) => {
                words.to_mut().push(' ');
                words.to_mut().push_str(word);
            }
        }
        self.place.end = end;
    }

    fn text(&self) -> &str {
        &self.words
    }

    fn into_text(self) -> String {
        self.words.into_owned()
    }
}

impl fmt::Display for PatchInfo {
    /// Formats the normal form: single blanks, none at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed(installed) => installed.fmt(f),
            Self::BackedOut => f.write_str(BACKED_OUT),
            Self::Empty => Ok(()),
        }
    }
}

impl fmt::Display for InstalledInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, host, obsoletes, requires, incompatibles } = self;
        let values = [date, host, &obsoletes.to_string(), &requires.to_string(), &incompatibles.to_string()];
        for (index, (label, value)) in LABELS.iter().zip(values).enumerate() {
            let gap = if index > 0 { " " } else { "" };
            let blank = if value.is_empty() { "" } else { " " };
            write!(f, "{gap}{label}{blank}{value}")?;
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

    fn package() -> PkgInst {
        PkgInst::new("ACMEweb").unwrap()
    }

    fn obsoleting(obsoletes: &str) -> InstalledInfo {
        InstalledInfo {
            date: "today".into(),
            host: "web1".into(),
            obsoletes: PatchList::parse(obsoletes, "-").unwrap(),
            ..InstalledInfo::default()
        }
    }

    /// A package through applications and backouts; its parameters are read again before each step.
    struct Story(Params);

    impl Story {
        fn apply(&mut self, patch: &str, obsoletes: &str) {
            let mut applied = PatchRecords::from_params(&package(), &self.0, "-").unwrap();
            assert!(applied.record_applied(&id(patch), obsoleting(obsoletes)));
            applied.write(&id(patch), &mut self.0);
        }

        fn back_out(&mut self, patch: &str) {
            let mut applied = PatchRecords::from_params(&package(), &self.0, "-").unwrap();
            assert!(applied.record_backed_out(&id(patch)));
            applied.write(&id(patch), &mut self.0);
        }

        fn says(&self, list: &str, counts: Option<&str>) {
            assert_eq!(self.0.text("PATCHLIST"), list);
            assert_eq!(self.0.get("PATCH_OBSOLETES"), counts.map(str::as_bytes));
        }
    }

    #[test]
    fn the_records_follow_applications_and_backouts() {
        let mut story = Story(Params::new());
        story.says("", None);
        story.apply("100-01", "");
        story.says("100-01", None);
        story.apply("200-01", "100-01 101-03");
        story.says("100-01 200-01", Some("100-01@1 101-03@1"));
        story.apply("300-02", "100-01 200-01");
        story.says("100-01 200-01 300-02", Some("100-01@2 101-03@1 200-01@1"));
        story.back_out("300-02");
        story.says("100-01 200-01", Some("100-01@1 101-03@1"));
        let info = |patch: &str| story.0.text(&format!("PATCH_INFO_{patch}")).into_owned();
        assert_eq!(info("100-01"), "Installed: today From: web1 Obsoletes: Requires: Incompatibles:");
        assert_eq!(
            info("200-01"),
            "Installed: today From: web1 Obsoletes: 100-01 101-03 Requires: Incompatibles:"
        );
        assert_eq!(info("300-02"), "backed out");
        story.back_out("200-01");
        story.says("100-01", Some(""));
    }

    #[test]
    fn what_is_written_without_a_copy_is_what_a_copy_writes() {
        let mut before = PatchRecords::new(package());
        assert!(before.record_applied(&id("200-1"), obsoleting("100-01")));
        assert!(before.record_applied(&id("300-02"), obsoleting("")));
        assert!(before.record_backed_out(&id("300-02")));
        for (patch, obsoletes) in [("300-2", "100-01 200-01"), ("400-01", ""), ("200-01", "")] {
            let (mut one, mut other) = (Params::new(), Params::new());
            let written = before.write_applied(&id(patch), obsoleting(obsoletes), &mut one);
            let mut copy = before.clone();
            if copy.record_applied(&id(patch), obsoleting(obsoletes)) {
                copy.write(&id(patch), &mut other);
            }
            assert_eq!((one, written), (other, patch != "200-01"), "{patch}");
        }
    }

    #[test]
    fn applying_again_counts_nothing_again() {
        let mut applied = PatchRecords::new(package());
        assert!(applied.record_applied(&id("200-1"), obsoleting("100-01")));
        let before = applied.clone();
        assert!(!applied.record_applied(&id("200-01"), obsoleting("100-01 999-01")));
        assert_eq!(applied, before);
        assert!(!applied.record_backed_out(&id("200-02")));
        assert_eq!(applied, before);
    }

    #[test]
    fn a_patch_that_comes_back_overwrites_its_history_under_its_first_spelling() {
        let mut applied = PatchRecords::new(package());
        applied.record_applied(&id("200-1"), obsoleting(""));
        applied.record_backed_out(&id("200-01"));
        applied.record_applied(&id("200-01"), obsoleting(""));
        let mut params = Params::new();
        applied.write(&id("200-01"), &mut params);
        assert_eq!(params.text("PATCHLIST"), "200-1");
        assert!(params.text("PATCH_INFO_200-1").starts_with("Installed: "));
    }

    #[test]
    fn records_of_the_classic_scripts_are_read() {
        let params = Params::from_iter([
            ("PATCHLIST", "103201-01 103201-01 103203-01"),
            ("PATCH_OBSOLETES", "103201-01@1 103200-05@1"),
            ("PATCH_INFO_103201-01", "backed out"),
            (
                "PATCH_INFO_103203-01",
                "Installed: d From: vm           Obsoletes: 103201-01 103200-05 Requires: ",
            ),
            ("PATCH_INFO_nonsense", "Installed: d"),
        ]);
        let applied = PatchRecords::from_params(&package(), &params, "-").unwrap();
        assert_eq!(applied.list.to_string(), "103201-01 103203-01");
        assert_eq!(applied.installed(&id("103203-1")).unwrap().obsoletes.to_string(), "103201-01 103200-05");
        assert_eq!(applied.installed(&id("103201-01")), None);
        assert_eq!(applied.infos.len(), 2);
    }

    #[test]
    fn a_list_with_garbage_is_an_error_that_names_package_and_parameter() {
        let read = |name: &str, value: &str| {
            PatchRecords::from_params(&package(), &Params::from_iter([(name, value)]), "-")
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            read("PATCHLIST", "100-01 oops"),
            "package ACMEweb: PATCHLIST: <oops> is not a patch id: it has no separator between base and revision"
        );
        assert_eq!(
            read("PATCH_OBSOLETES", "100-01"),
            "package ACMEweb: PATCH_OBSOLETES: <100-01> is not a patch id with the count of patches that obsolete it"
        );
    }

    proptest! {
        #[test]
        fn counts_always_say_how_many_applied_patches_obsolete_an_id(
            steps in prop::collection::vec((any::<bool>(), "[1-3]-[1-2]", "([1-3]-0?[1-2] ){0,3}"), 0..30),
        ) {
            let mut applied = PatchRecords::new(package());
            for (forward, patch, obsoletes) in steps {
                if forward {
                    applied.record_applied(&id(&patch), obsoleting(&obsoletes));
                } else {
                    applied.record_backed_out(&id(&patch));
                }
            }
            for number in ["1-1", "1-2", "2-1", "2-2", "3-1", "3-2"] {
                let says_so = |patch: &&PatchId| {
                    applied.installed(patch).is_some_and(|info| info.obsoletes.contains(&id(number)))
                };
                let expected = applied.list.iter().filter(says_so).count();
                prop_assert_eq!(applied.obsoletes.count(&id(number)) as usize, expected);
            }
        }
    }
}

#[cfg(test)]
mod info_tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    fn installed(text: &str) -> InstalledInfo {
        match PatchInfo::parse(text, "-") {
            PatchInfo::Installed(installed) => installed,
            other => panic!("{text:?} is {other:?}"),
        }
    }

    #[test]
    fn the_four_shapes_of_the_classic_scripts_are_read() {
        let head = "Installed: Fri Nov 20 07:03:52 UTC 2026 From: vm           ";
        for (tail, normal) in [
            (
                "Obsoletes: 7-1 Requires: 1-1           Incompatibles: 2-1",
                "7-1 Requires: 1-1 Incompatibles: 2-1",
            ),
            ("Obsoletes: 7-1 Requires: 1-1 Incompatibles: ", "7-1 Requires: 1-1 Incompatibles:"),
            ("Obsoletes: 7-1 Requires: Incompatibles: 2-1", "7-1 Requires: Incompatibles: 2-1"),
            ("Obsoletes: 7-1 Requires: Incompatibles: ", "7-1 Requires: Incompatibles:"),
        ] {
            let info = PatchInfo::parse(&format!("{head}{tail}"), "-");
            let head = "Installed: Fri Nov 20 07:03:52 UTC 2026 From: vm Obsoletes: ";
            assert_eq!(info.to_string(), format!("{head}{normal}"));
        }
        let real = installed(
            "Installed: Mon Oct 27 08:52:07 PDT 2008 From: mum Obsoletes:  Requires:  Incompatibles:",
        );
        assert_eq!((real.date.as_str(), real.host.as_str()), ("Mon Oct 27 08:52:07 PDT 2008", "mum"));
        assert!(real.obsoletes.is_empty() && real.requires.is_empty() && real.incompatibles.is_empty());
    }

    #[test]
    fn parts_may_be_missing_and_separated_by_anything() {
        let short = installed("Installed:\n  Fri  Nov 20\tFrom: Obsoletes: 120220-01, 120222-31,125740-01");
        assert_eq!((short.date.as_str(), short.host.as_str()), ("Fri Nov 20", ""));
        assert_eq!(short.obsoletes.to_string(), "120220-01 120222-31 125740-01");
        let joined = installed("Installed: today From:web1 Requires:850-01 ( 1-1 | 2-1 )");
        assert_eq!(
            (joined.host.as_str(), joined.requires.to_string().as_str()),
            ("web1", "850-01 ( 1-1 | 2-1 )")
        );
        let misplaced = installed("Installed: today Requires: 850-01 Obsoletes: 7-1 Requires: junk 8-1");
        assert_eq!(misplaced.requires.to_string(), "850-01 7-1 8-1");
    }

    #[test]
    fn a_label_right_behind_another_one_is_a_label() {
        let record = installed("Installed:From: Obsoletes:90-01 Requires:Incompatibles:7-01");
        assert_eq!((record.date.as_str(), record.host.as_str()), ("", ""));
        assert_eq!(record.to_string(), "Installed: From: Obsoletes: 90-01 Requires: Incompatibles: 7-01");
    }

    #[test]
    fn a_backed_out_patch_and_an_empty_record_are_not_installed() {
        assert_eq!(PatchInfo::parse("backed out", "-"), PatchInfo::BackedOut);
        assert_eq!(PatchInfo::parse(" backed  out ", "-"), PatchInfo::BackedOut);
        for nothing in ["", "  ", "garbage", "backed out later"] {
            assert_eq!(PatchInfo::parse(nothing, "-"), PatchInfo::Empty);
        }
        assert_eq!(PatchInfo::BackedOut.to_string(), "backed out");
        assert!(PatchInfo::BackedOut.installed().is_none());
    }

    #[test]
    fn records_that_the_classic_tools_left_are_read_whole() {
        let goldens = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/goldens"));
        if !goldens.is_dir() {
            crate::skipped("records_that_the_classic_tools_left_are_read_whole: ../shared is not here");
            return;
        }
        let (mut directories, mut records) = (vec![goldens.to_owned()], 0);
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    directories.push(entry.path());
                } else if entry.file_name() == "pkginfo" {
                    let text = std::fs::read(entry.path()).unwrap();
                    for line in String::from_utf8_lossy(&text).lines() {
                        let Some((_, value)) =
                            line.strip_prefix("PATCH_INFO_").and_then(|line| line.split_once('='))
                        else {
                            continue;
                        };
                        let squeezed = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
                        assert_eq!(PatchInfo::parse(value, "-").to_string(), squeezed);
                        records += 1;
                    }
                }
            }
        }
        assert!(records > 50, "only {records} records under {}", goldens.display());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            date in "([A-Z][a-z]{2} [0-9:]{1,8}){0,2}",
            host in "[a-z0-9.-]{0,8}",
            lists in "([0-9]{1,3}-[0-9]{2} ){0,5}",
            alternatives in "(\\( 1-1 \\| [2-9]-1 \\) ){0,2}",
        ) {
            let list = PatchList::parse(&lists, "-").unwrap();
            let info = PatchInfo::Installed(InstalledInfo {
                date,
                host,
                obsoletes: list.clone(),
                requires: Requirements::parse(&format!("{lists}{alternatives}"), "-").unwrap(),
                incompatibles: list,
            });
            prop_assert_eq!(PatchInfo::parse(&info.to_string(), "-"), info);
        }

        #[test]
        fn reading_never_panics(
            any in any::<String>(),
            likely in "((Installed|From|Obsoletes|Requires|Incompatibles):| |é|1-1|\\(|\\||,){0,20}",
        ) {
            let _ = PatchInfo::parse(&any, "-");
            let _ = PatchInfo::parse(&likely, "-");
        }
    }
}
