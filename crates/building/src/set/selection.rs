//! Selects results for a set: the run's, and previous ones for packages that were not built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use patchadm_bulk_values::conf::{Configuration, SetMinimum, SetOnFailure};
use patchadm_bulk_values::journal::BuildState;
use patchadm_bulk_values::pattern::ShellPattern;
use patchadm_bulk_values::records::parse_sha256;
use patchadm_bulk_values::report::{LeftOutPackage, LeftOutReason};
use patchadm_bulk_values::result::ResultKey;
use patchadm_inputs::sha256::Sha256Sum;
use patchadm_rootfs::RootError;

use super::delivered::ArchivedObjects;
use super::{FILES, MANIFEST, PACKAGES, SetManifest, SetPackage, SetRefusal};
use crate::pool::PoolEntry;
use crate::task::cut;

#[derive(Clone, Debug)]
pub(crate) struct EarlierSet {
    pub(crate) path: PathBuf,
    pub(crate) manifest: SetManifest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetEntry {
    pub(super) package: String,
    pub(super) location: String,
    /// The first run with this entry in its set.
    pub(super) run: u64,
    pub(super) key: ResultKey,
    pub(super) is_restricted: bool,
    /// From the previous set, because the package was not built.
    pub(super) is_kept: bool,
    /// Yields to all others: kept only as a dependency of kept packages, or instead of a left-out version.
    pub(super) is_for_others: bool,
    pub(super) files: Vec<EntryFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryFile {
    pub(super) path: String,
    pub(super) directory: PathBuf,
    pub(super) name: String,
    pub(super) sum: Option<Sha256Sum>,
}

impl SetEntry {
    /// Left out because `holder` has the name or path.
    pub(super) fn conflicting(&self, name: String, holder: String) -> LeftOutPackage {
        self.left_out(LeftOutReason::Conflict, name, Some(holder))
    }

    /// Left out for a missing library or package.
    pub(super) fn lacking(&self, name: String) -> LeftOutPackage {
        self.left_out(LeftOutReason::Lacking, name, None)
    }

    /// Left out for its location's share of the manifest.
    pub(super) fn too_large(&self) -> LeftOutPackage {
        self.left_out(LeftOutReason::TooLarge, MANIFEST.to_owned(), None)
    }

    /// Left out because its packages cannot be used.
    pub(super) fn unusable(&self, reason: String) -> LeftOutPackage {
        self.left_out(LeftOutReason::Unusable, cut(reason), None)
    }

    /// The names of its packages, by those of its files.
    pub(super) fn packages(&self) -> impl Iterator<Item = &str> {
        let packages = self.files.iter().filter_map(|file| file.path.strip_prefix(PACKAGES));
        packages.filter_map(|path| path.strip_prefix('/')?.strip_suffix(".pkg"))
    }

    fn left_out(&self, reason: LeftOutReason, name: String, holder: Option<String>) -> LeftOutPackage {
        let (package, location) = (self.package.clone(), self.location.clone());
        LeftOutPackage { package, location, reason, name, holder, breaks: 0 }
    }

    fn built(run: u64, package: &SetPackage<'_>, entry: &PoolEntry) -> Self {
        let in_pool = |path: String, name: &str, sum| EntryFile {
            path,
            directory: entry.path.clone(),
            name: name.to_owned(),
            sum,
        };
        let packages = entry
            .result
            .packages
            .iter()
            .map(|of| in_pool(format!("{PACKAGES}/{}.pkg", of.pkg), &of.file, parse_sha256(&of.sha256)));
        let files = entry
            .result
            .files
            .iter()
            .map(|of| in_pool(format!("{FILES}/{}/{}", package.package, of.file), &of.file, None));
        Self {
            package: package.package.to_owned(),
            location: package.location.to_owned(),
            run,
            key: entry.result.key,
            is_restricted: package.is_restricted,
            is_kept: false,
            is_for_others: false,
            files: packages.chain(files).collect(),
        }
    }

    /// Name without version, and location; all versions share them.
    fn place(&self) -> (&str, &str) {
        (name_of(&self.package), &self.location)
    }
}

/// PKGNAME of each package that an entry was built with; none if its result is gone.
pub(super) type NeedsOf<'a> = &'a dyn Fn(&SetEntry) -> Result<Vec<String>, RootError>;

pub(super) type SetSelection = (Vec<SetEntry>, Vec<LeftOutPackage>);

/// Returns packages sorted by PKGNAME, or why there is no set.
pub(super) fn select(
    (run, packages): (u64, &[SetPackage<'_>]),
    previous: Option<&EarlierSet>,
    conf: &Configuration,
    needs_of: NeedsOf<'_>,
) -> Result<Result<SetSelection, SetRefusal>, RootError> {
    let (mut entries, mut missing) = (Vec::new(), Vec::new());
    for package in packages {
        match package.entry.as_ref().filter(|_| package.state.has_result()) {
            Some(entry) => entries.push(SetEntry::built(run, package, entry)),
            None => missing.push(package),
        }
    }
    match conf.set_on_failure {
        SetOnFailure::NoSet => {
            if let Err(refusal) = must_be_built(&missing) {
                return Ok(Err(refusal));
            }
        }
        SetOnFailure::Without => {}
        SetOnFailure::Old => {
            let (kept, others) = kept(&entries, &missing, previous.map(entries_of).unwrap_or_default());
            entries.extend(kept);
            keep_needs(&mut entries, others, needs_of)?;
        }
    }
    let (mut entries, left_out) = without_rivals(entries, previous);
    entries.sort_by(|one, other| one.package.cmp(&other.package));
    Ok(must_suffice(&entries, previous, conf).map(|()| (entries, left_out)))
}

pub(super) fn must_suffice(
    entries: &[SetEntry],
    previous: Option<&EarlierSet>,
    conf: &Configuration,
) -> Result<(), SetRefusal> {
    if entries.is_empty() {
        return Err(SetRefusal::Empty);
    }
    must_have(entries, &conf.required)?;
    let before = previous.map(|previous| entries_of(previous).len() as u64);
    must_be_enough(entries.len() as u64, before, conf.minimum)
}

/// Packages that their recipes exclude are no failures.
fn must_be_built(missing: &[&SetPackage<'_>]) -> Result<(), SetRefusal> {
    let is_masked =
        |state: BuildState| matches!(state, BuildState::Prefailed | BuildState::IndirectPrefailed);
    let failed = missing.iter().filter(|package| !is_masked(package.state));
    let failed: Vec<String> = failed.map(|package| package.package.to_owned()).collect();
    if failed.is_empty() { Ok(()) } else { Err(SetRefusal::NotBuilt(failed)) }
}

fn entries_of(set: &EarlierSet) -> Vec<SetEntry> {
    let mut entries: BTreeMap<&str, SetEntry> = BTreeMap::new();
    for (path, file) in &set.manifest.files {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entry = entries.entry(&file.package).or_insert_with(|| SetEntry {
            package: file.package.clone(),
            location: file.location.clone(),
            run: file.run,
            key: file.key,
            is_restricted: false,
            is_kept: true,
            is_for_others: false,
            files: Vec::new(),
        });
        entry.is_restricted |= file.is_restricted;
        entry.files.push(EntryFile {
            path: path.clone(),
            directory: set.path.join(directory),
            name: name.to_owned(),
            sum: Some(file.sum),
        });
    }
    entries.into_values().collect()
}

/// Returns previous entries for packages that were not built, each once: the same PKGNAME, another version from the
/// same location, or the same name, unless a new build replaces it. The second value is the rest.
fn kept(
    built: &[SetEntry],
    missing: &[&SetPackage<'_>],
    mut earlier: Vec<SetEntry>,
) -> (Vec<SetEntry>, Vec<SetEntry>) {
    let names: BTreeSet<&str> = built.iter().map(|entry| entry.package.as_str()).collect();
    let places: BTreeSet<(&str, &str)> = built.iter().map(SetEntry::place).collect();
    earlier.retain(|entry| !names.contains(&*entry.package) && !places.contains(&entry.place()));
    let mut kept = Vec::new();
    let mut open: Vec<&SetPackage<'_>> = missing.to_vec();
    let fits: [fn(&SetEntry, &SetPackage<'_>) -> bool; 3] = [
        |entry, package| entry.package == package.package,
        |entry, package| entry.place() == (name_of(package.package), package.location),
        |entry, package| name_of(&entry.package) == name_of(package.package),
    ];
    for fits in fits {
        let mut by_name: BTreeMap<String, Vec<SetEntry>> = BTreeMap::new();
        for entry in std::mem::take(&mut earlier) {
            by_name.entry(name_of(&entry.package).to_owned()).or_default().push(entry);
        }
        open.retain(|package| {
            let Some(candidates) = by_name.get_mut(name_of(package.package)) else { return true };
            let Some(at) = candidates.iter().position(|entry| fits(entry, package)) else { return true };
            let mut entry = candidates.remove(at);
            entry.is_restricted |= package.is_restricted;
            kept.push(entry);
            false
        });
        earlier = by_name.into_values().flatten().collect();
    }
    (kept, earlier)
}

/// Returns previous versions of left-out packages, if no entry has their names or files. They yield to all others.
pub(super) fn earlier_versions(
    entries: &[SetEntry],
    left_out: &[LeftOutPackage],
    previous: Option<&EarlierSet>,
) -> Vec<SetEntry> {
    let places: BTreeSet<(&str, &str)> =
        left_out.iter().map(|left| (name_of(&left.package), &*left.location)).collect();
    let packages: BTreeSet<&str> = entries
        .iter()
        .map(|entry| &*entry.package)
        .chain(left_out.iter().map(|left| &*left.package))
        .collect();
    let there: BTreeSet<(&str, &str)> = entries.iter().map(SetEntry::place).collect();
    let taken: BTreeSet<&str> =
        entries.iter().flat_map(|entry| &entry.files).map(|file| file.path.as_str()).collect();
    let mut earlier = previous.map(entries_of).unwrap_or_default();
    earlier.retain(|entry| {
        places.contains(&entry.place())
            && !there.contains(&entry.place())
            && !packages.contains(&*entry.package)
            && !entry.files.iter().any(|file| taken.contains(&*file.path))
    });
    for entry in &mut earlier {
        entry.is_for_others = true;
    }
    earlier
}

/// Keeps build dependencies of kept packages, if no entry has their names or paths.
fn keep_needs(
    entries: &mut Vec<SetEntry>,
    earlier: Vec<SetEntry>,
    needs_of: NeedsOf<'_>,
) -> Result<(), RootError> {
    let mut names: BTreeSet<String> =
        entries.iter().map(|entry| name_of(&entry.package).to_owned()).collect();
    let paths_of = |entry: &SetEntry| entry.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    let mut taken: BTreeSet<String> = entries.iter().flat_map(paths_of).collect();
    let mut by_name: BTreeMap<String, Vec<SetEntry>> = BTreeMap::new();
    for entry in earlier {
        by_name.entry(name_of(&entry.package).to_owned()).or_default().push(entry);
    }
    let mut open: Vec<SetEntry> = entries.iter().filter(|entry| entry.is_kept).cloned().collect();
    while let Some(entry) = open.pop() {
        for need in needs_of(&entry)? {
            let name = name_of(&need);
            let Some(candidates) = by_name.get_mut(name).filter(|_| !names.contains(name)) else { continue };
            let is_free = |entry: &SetEntry| !entry.files.iter().any(|file| taken.contains(&file.path));
            let same = candidates.iter().position(|entry| entry.package == need && is_free(entry));
            let Some(at) = same.or_else(|| candidates.iter().position(is_free)) else { continue };
            let restored = SetEntry { is_for_others: true, ..candidates.swap_remove(at) };
            names.insert(name.to_owned());
            taken.extend(paths_of(&restored));
            open.push(restored.clone());
            entries.push(restored);
        }
    }
    Ok(())
}

/// Repeatedly removes kept packages without a build dependency that the previous set has.
pub(super) fn leave_out_needy(
    entries: &mut Vec<(SetEntry, ArchivedObjects)>,
    previous: Option<&EarlierSet>,
    needs_of: NeedsOf<'_>,
) -> Result<Vec<LeftOutPackage>, RootError> {
    let before = previous.iter().flat_map(|set| set.manifest.files.values());
    let before: BTreeSet<&str> = before.map(|file| name_of(&file.package)).collect();
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (entry, _) in entries.iter().filter(|(entry, _)| entry.is_kept) {
        let mut of_entry = needs_of(entry)?;
        of_entry.retain(|need| before.contains(name_of(need)));
        needs.insert(entry.package.clone(), of_entry);
    }
    let mut left_out = Vec::new();
    loop {
        let names: BTreeSet<String> =
            entries.iter().map(|(entry, _)| name_of(&entry.package).to_owned()).collect();
        let (count, is_there) = (entries.len(), |need: &&String| names.contains(name_of(need)));
        entries.retain(|(entry, _)| {
            let of_entry = needs.get(&entry.package).filter(|_| entry.is_kept);
            let Some(lacking) = of_entry.into_iter().flatten().find(|need| !is_there(need)) else {
                return true;
            };
            left_out.push(entry.lacking(lacking.clone()));
            false
        });
        if entries.len() == count {
            return Ok(left_out);
        }
    }
}

/// Removes entries with another one's path. The previous set's owner stays, otherwise the first location in byte order,
/// so that no recipe can push others out of a set.
fn without_rivals(
    mut entries: Vec<SetEntry>,
    previous: Option<&EarlierSet>,
) -> (Vec<SetEntry>, Vec<LeftOutPackage>) {
    let locations: BTreeSet<String> = entries.iter().map(|entry| entry.location.clone()).collect();
    let held = previous.into_iter().flat_map(|set| &set.manifest.files);
    let held: BTreeMap<&str, &str> = held
        .filter(|(_, file)| locations.contains(&file.location))
        .map(|(path, file)| (path.as_str(), file.location.as_str()))
        .collect();
    let rank = |entry: &SetEntry| {
        let holders = || entry.files.iter().filter_map(|file| held.get(file.path.as_str()));
        if holders().any(|holder| **holder != entry.location) {
            2
        } else {
            u8::from(holders().next().is_none())
        }
    };
    entries.sort_by_cached_key(|entry| (rank(entry), entry.location.clone(), entry.package.clone()));
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let (mut stay, mut left_out) = (Vec::new(), Vec::new());
    for entry in entries {
        let rival = entry.files.iter().find_map(|file| Some((&file.path, taken.get(&file.path)?)));
        if let Some((path, holder)) = rival {
            let name = path.strip_prefix(PACKAGES).map(|name| name.trim_start_matches('/'));
            left_out.push(entry.conflicting(
                name.and_then(|name| name.strip_suffix(".pkg")).unwrap_or(path).to_owned(),
                holder.clone(),
            ));
            continue;
        }
        taken.extend(entry.files.iter().map(|file| (file.path.clone(), entry.package.clone())));
        stay.push(entry);
    }
    (stay, left_out)
}

fn must_have(entries: &[SetEntry], required: &[String]) -> Result<(), SetRefusal> {
    for text in required {
        let pattern = ShellPattern::parse(text)
            .map_err(|reason| SetRefusal::Required(format!("`{text}` is not a pattern: {reason}")))?;
        let is_meant = |entry: &SetEntry| {
            let (name, location) = entry.place();
            [&*entry.package, name, location].iter().any(|name| pattern.matches(name))
        };
        if !entries.iter().any(is_meant) {
            return Err(SetRefusal::Required(format!("nothing in it matches `{text}`")));
        }
    }
    Ok(())
}

fn must_be_enough(packages: u64, before: Option<u64>, minimum: Option<SetMinimum>) -> Result<(), SetRefusal> {
    let minimum = match minimum {
        None => 0,
        Some(SetMinimum::Packages(least)) => u64::from(least),
        Some(SetMinimum::Percent(share)) => {
            (before.unwrap_or_default().saturating_mul(u64::from(share))).div_ceil(100)
        }
    };
    if packages < minimum { Err(SetRefusal::TooFew { packages, minimum }) } else { Ok(()) }
}

fn name_of(package: &str) -> &str {
    package.rsplit_once('-').map_or(package, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use patchadm_bulk_values::result::{BuildResult, KeyInputs, NewResult, ResultPackage};

    use super::*;
    use crate::set::SetFile;

    fn conf(lines: &str) -> Configuration {
        Configuration::parse(format!("tree=/tree\n{lines}").as_bytes(), Path::new("/srv/bulk")).unwrap()
    }

    /// Selects without knowing build dependencies.
    fn chosen(
        packages: &[SetPackage<'_>],
        previous: Option<&EarlierSet>,
        lines: &str,
    ) -> Result<SetSelection, SetRefusal> {
        select((2, packages), previous, &conf(lines), &|_| Ok(Vec::new())).unwrap()
    }

    fn result(package: &str) -> PoolEntry {
        let name = name_of(package);
        let mut result = BuildResult::new(NewResult {
            pkgname: package.to_owned(),
            location: format!("x/{name}"),
            inputs: KeyInputs::new(),
            slot: "local".to_owned(),
            work: "0".repeat(16),
            run: 2,
            built: "2026-11-20T12:00:00Z".to_owned(),
        });
        result.packages.push(ResultPackage {
            pkg: name.to_owned(),
            arch: "all".to_owned(),
            version: "1".to_owned(),
            file: format!("{name}.pkg"),
            size: 1,
            b3: patchadm_bulk_values::result::Blake3Digest::of(b""),
            sha256: "ab".repeat(32),
        });
        PoolEntry { path: "/pool/x".into(), result, is_unflushed: false }
    }

    fn wanted(package: &str, state: BuildState) -> SetPackage<'_> {
        let location = match name_of(package) {
            "a" => "x/a",
            "b" => "x/b",
            _ => "x/c",
        };
        let entry = state.has_result().then(|| result(package));
        SetPackage { package, location, state, entry, is_restricted: false }
    }

    fn earlier(packages: &[(&str, &str)]) -> EarlierSet {
        let files = packages.iter().map(|(package, location)| {
            let file = SetFile {
                run: 1,
                key: KeyInputs::new().key(),
                package: (*package).to_owned(),
                location: (*location).to_owned(),
                is_restricted: *package == "b-1",
                sum: [0; 32],
            };
            (format!("packages/{}.pkg", name_of(package)), file)
        });
        let manifest = SetManifest { set: 1, date: String::new(), files: files.collect() };
        EarlierSet { path: "/srv/bulk/sets/1".into(), manifest }
    }

    fn names(entries: &[SetEntry]) -> Vec<String> {
        entries
            .iter()
            .map(|entry| format!("{}{}", entry.package, if entry.is_kept { " kept" } else { "" }))
            .collect()
    }

    #[test]
    fn what_was_not_built_stays_as_it_was_in_the_set_before() {
        let packages = [
            wanted("a-2", BuildState::Done),
            wanted("b-2", BuildState::Failed),
            wanted("c-2", BuildState::IndirectFailed),
        ];
        let previous = earlier(&[("a-1", "x/a"), ("b-1", "x/b"), ("gone-1", "x/gone")]);
        let of = |lines: &str| chosen(&packages, Some(&previous), lines).map(|(entries, _)| entries);
        let entries = of("").unwrap();
        assert_eq!(names(&entries), ["a-2", "b-1 kept"]);
        assert_eq!((entries[1].run, entries[1].is_restricted), (1, true));
        assert_eq!(entries[1].files[0].directory, Path::new("/srv/bulk/sets/1/packages"));
        assert_eq!(entries[0].files[0].sum, Some([0xab; 32]));
        assert_eq!(names(&of("set_on_failure=without").unwrap()), ["a-2"]);
        let refusal = of("set_on_failure=none").unwrap_err();
        assert_eq!(refusal.to_string(), "2 packages were not built: b-2, c-2");
    }

    #[test]
    fn a_package_that_moved_is_known_by_its_name_and_is_taken_once() {
        let packages = [wanted("a-2", BuildState::Failed), wanted("a-3", BuildState::Failed)];
        let previous = earlier(&[("a-1", "old/a")]);
        assert_eq!(names(&chosen(&packages, Some(&previous), "").unwrap().0), ["a-1 kept"]);
        let built = [wanted("a-1", BuildState::UpToDate), wanted("a-2", BuildState::Failed)];
        assert_eq!(names(&chosen(&built, Some(&previous), "").unwrap().0), ["a-1"]);
    }

    #[test]
    fn masked_packages_are_no_failures() {
        let packages = [wanted("a-2", BuildState::Done), wanted("b-2", BuildState::Prefailed)];
        assert_eq!(names(&chosen(&packages, None, "set_on_failure=none").unwrap().0), ["a-2"]);
    }

    #[test]
    fn what_is_required_must_be_there_and_enough_of_it() {
        let packages = [wanted("a-2", BuildState::Done), wanted("b-2", BuildState::Done)];
        let previous = earlier(&[("a-1", "x/a"), ("b-1", "x/b"), ("c-1", "x/c")]);
        let of = |lines: &str| chosen(&packages, Some(&previous), lines);
        assert!(of("required=a x/b b-*\nminimum=2").is_ok());
        assert!(of("minimum=66%").is_ok());
        assert_eq!(of("minimum=67%").unwrap_err(), SetRefusal::TooFew { packages: 2, minimum: 3 });
        assert_eq!(of("minimum=3").unwrap_err(), SetRefusal::TooFew { packages: 2, minimum: 3 });
        let refusal = of("required=a c").unwrap_err();
        assert_eq!(refusal.to_string(), "required: nothing in it matches `c`");
        assert!(of("required=[").unwrap_err().to_string().contains("is not a pattern"));
    }

    /// A package of this location that is installed under this name.
    fn named<'a>(package: &'a str, location: &'a str, pkg: &str) -> SetPackage<'a> {
        let mut entry = result(package);
        entry.result.packages[0].pkg = pkg.to_owned();
        SetPackage { package, location, state: BuildState::Done, entry: Some(entry), is_restricted: false }
    }

    #[test]
    fn of_two_packages_of_one_name_the_first_location_has_it_and_the_other_is_left_out() {
        let packages =
            [named("z-1", "x/a", "victim"), named("a-1", "x/b", "victim"), named("c-1", "x/c", "c")];
        let (entries, left_out) = chosen(&packages, None, "").unwrap();
        assert_eq!(names(&entries), ["c-1", "z-1"]);
        let listed: Vec<_> =
            left_out.iter().map(|left| (&*left.package, &*left.name, left.holder.as_deref())).collect();
        assert_eq!(listed, [("a-1", "victim", Some("z-1"))]);
        assert_eq!(chosen(&[], None, "").unwrap_err(), SetRefusal::Empty);
    }

    #[test]
    fn whoever_has_a_name_in_the_set_before_keeps_it() {
        let evil = || named("evil-1", "a/evil", "victim");
        let victim = || named("victim-2", "x/victim", "victim");
        let previous = earlier(&[("victim-1", "x/victim")]);
        let of = |packages: &[SetPackage<'_>]| {
            let (entries, left_out) = chosen(packages, Some(&previous), "").unwrap();
            (names(&entries), left_out.into_iter().map(|left| left.package).collect::<Vec<_>>())
        };
        assert_eq!(of(&[evil(), victim()]), (vec!["victim-2".to_owned()], vec!["evil-1".to_owned()]));
        let failed = SetPackage { state: BuildState::Failed, entry: None, ..victim() };
        assert_eq!(of(&[evil(), failed]), (vec!["victim-1 kept".to_owned()], vec!["evil-1".to_owned()]));
        assert_eq!(of(&[evil()]), (vec!["evil-1".to_owned()], Vec::new()), "its location is gone");
    }
}
