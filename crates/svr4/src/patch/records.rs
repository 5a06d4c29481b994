//! The patch records of one installed package: the patches applied to it and their relations to others.
//!
//! PATCHLIST, `PATCH_OBSOLETES` and the `PATCH_INFO_` lines always change together;
//! [`PatchRecords::record_applied`] and [`PatchRecords::record_backed_out`] are the two changes. Other
//! parameters (`SUNW_PATCHID` and the like) are ignored.

use super::{
    InstalledInfo, ObsoleteCounts, ObsoleteCountsError, PatchId, PatchInfo, PatchList, PatchListError,
};
use crate::package::{Params, PkgInst};
use std::collections::BTreeMap;

const LIST: &str = "PATCHLIST";
const COUNTS: &str = "PATCH_OBSOLETES";
const INFO: &str = "PATCH_INFO_";

/// The patch records of an installed package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchRecords {
    /// The package that has the records.
    pub package: PkgInst,
    /// PATCHLIST: the applied patches, in order of application. Obsoleted patches stay in it until they are
    /// backed out.
    pub list: PatchList,
    /// `PATCH_OBSOLETES`: the patches that applied ones obsolete, with counts.
    pub obsoletes: ObsoleteCounts,
    /// The `PATCH_INFO` lines, including those of patches that have been backed out.
    pub infos: BTreeMap<PatchId, PatchInfo>,
}

/// The reason the patch records of a package cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    pub fn none(package: PkgInst) -> Self {
        let (list, obsoletes, infos) = Default::default();
        Self { package, list, obsoletes, infos }
    }

    /// Reads the records from the parameters of an installed package. The two lists must be intact, because rules
    /// depend on them. `PATCH_INFO_` lines are read leniently, and those without a valid patch id in their name are
    /// skipped.
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

    /// Records that `id` has been applied. Returns false, with nothing changed, if it was applied already:
    /// its files may be installed again, but must not be counted again.
    pub fn record_applied(&mut self, id: &PatchId, installed: InstalledInfo) -> bool {
        // A patch that comes back keeps the spelling of its history, so that PATCH_INFO_$id is found.
        let id = self.infos.get_key_value(id).map_or(id, |(known, _)| known).clone();
        if !self.list.push(id.clone()) {
            return false;
        }
        self.obsoletes.count_up(&installed.obsoletes);
        self.infos.insert(id, PatchInfo::Installed(installed));
        true
    }

    /// Writes the parameters that the records would have with `id` applied: the result of
    /// [`record_applied`](Self::record_applied) and [`write`](Self::write) on a copy of them, without the copy. Returns
    /// false, with nothing written, if `id` is applied already.
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

    /// Records that `id` has been backed out. Returns false, with nothing changed, if it is not applied. The
    /// patches it had obsoleted come from its own record, not from `ACTIVE_OBSOLETES`, which the classic
    /// scripts leave stale.
    pub fn record_backed_out(&mut self, id: &PatchId) -> bool {
        let obsoleted = self.installed(id).map(|installed| installed.obsoletes.clone()).unwrap_or_default();
        if !self.list.remove(id) {
            return false;
        }
        self.obsoletes.count_down(&obsoleted);
        self.infos.insert(id.clone(), PatchInfo::BackedOut);
        true
    }

    /// Writes the parameters that a change of `id` affects: PATCHLIST, `PATCH_OBSOLETES` (not created while
    /// it would be empty) and the patch's `PATCH_INFO_` line; those of other patches keep their bytes.
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

    /// One package through applications and backouts; its parameters are read again before each step.
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
        let mut before = PatchRecords::none(package());
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
        let mut applied = PatchRecords::none(package());
        assert!(applied.record_applied(&id("200-1"), obsoleting("100-01")));
        let before = applied.clone();
        assert!(!applied.record_applied(&id("200-01"), obsoleting("100-01 999-01")));
        assert_eq!(applied, before);
        assert!(!applied.record_backed_out(&id("200-02")));
        assert_eq!(applied, before);
    }

    #[test]
    fn a_patch_that_comes_back_overwrites_its_history_under_its_first_spelling() {
        let mut applied = PatchRecords::none(package());
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
            let mut applied = PatchRecords::none(package());
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
