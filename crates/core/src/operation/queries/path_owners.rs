//! The owners of a path: packages and patches. Only archives whose path lists name it are opened. Links in directories
//! are followed inside the root.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, FixedOffset};

use crate::operation::failure::Failure;
use crate::operation::object_check::{
    CheckScope, CheckedAspects, DeliveredFile, DeliveredFiles, ObjectCheckRequest, ObjectFinding,
    PathPattern, check_delivered,
};
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::queries::applied_patches::{OrderOnRoot, applied_date};
use crate::operation::queries::patch_objects::{
    ObjectAction, PatchReader, PatchedObject, PatchedPackage, applied_patches,
};
use crate::operation::queries::recorded_path::{NativeListing, PathFinder, RecordedPath};
use crate::operation::queries::runs::{APPLYING, AppliedRuns, PastRun, PastRuns};
use crate::operation::session::{RootAndPolicy, must_have_database};
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_changeset::format::undo_sidecars::{PathDigest, UndoPaths};
use patchadm_inputs::database::{DatabaseError, RecordView, all, contents, marker, read_consistently, saves};
use patchadm_inputs::format::overtaken::{LostPath, OvertakenPatch, OvertakenState};
use patchadm_inputs::native::{
    DivertedPath, NativeIndex, NativeOrigin, NativeOwner, NativeReader, RegisteredPackage, VerifiedPath,
    VerifierReport,
};
use patchadm_inputs::policy::Policy;
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ContentsLine, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, Superseded};

#[derive(Clone, Debug)]
pub struct PathOwners {
    /// As recorded.
    pub path: ObjectPath,
    /// All possible recorded names.
    pub names: Vec<ObjectPath>,
    /// `None` if no package owns it.
    pub line: Option<ContentsLine>,
    /// `None` if nothing is recorded, or unknown.
    pub differences: Option<Vec<ObjectFinding>>,
    /// Newest first.
    pub patches: Vec<PatchOfPath>,
    /// The list is complete, with all actions.
    pub known: bool,
    /// Packages of dpkg and rpm.
    pub native: Vec<NativeListing>,
    /// Files of dpkg listed under this path that lie elsewhere.
    pub diverted: Vec<DivertedPath>,
    /// If a patch changed the path.
    pub verifiers: Vec<VerifierReport>,
}

#[derive(Clone, Debug)]
pub struct PatchOfPath {
    pub id: PatchId,
    /// As in `list`.
    pub state: Vec<&'static str>,
    /// As recorded.
    pub date_text: Option<String>,
    /// If it can be determined.
    pub date: Option<DateTime<FixedOffset>>,
    /// If the history has it.
    pub run: Option<String>,
    /// `None` if unknown.
    pub action: Option<ObjectAction>,
    pub was: Option<RecordedState>,
    pub became: Option<RecordedState>,
    /// Undo data has the old object.
    pub saved: bool,
}

/// In the given order.
pub fn path_owners(root: &Root, paths: &[ObjectPath]) -> Result<Vec<PathOwners>, Failure> {
    must_have_database(root)?;
    let (policy, ground) = RootAndPolicy::as_far_as_known(root)?;
    let native = ground.as_ref().map_or_else(|| Arc::new(NativeReader::of(root)), RootAndPolicy::native);
    let read;
    let index = if let Some(ground) = &ground {
        ground.native_index()
    } else {
        read = NativeIndex::read(&native);
        &read
    };
    read_consistently(root, |view| {
        let (params, saving) = packages(view)?;
        let applied = applied_patches(view, &params, &policy.separator)?;
        let patched = applied.packages().iter().filter(|of| !of.list.is_empty()).map(|of| &of.package);
        let lists = patched.filter(|package| saving.contains(*package)).map(|package| {
            let paths = saves::paths(view, package)?;
            Ok::<_, Failure>((package.clone(), paths))
        });
        let found = PathFinder::new(root, index).find(view, paths)?;
        let lines = lines_of(view, &found)?;
        let marker = marker(root)?.unwrap_or_default();
        let mut owners = OwnerReader {
            lists: lists.collect::<Result<_, _>>()?,
            marker,
            order: OrderOnRoot::of(&applied),
            runs: AppliedRuns::of(view),
            reader: PatchReader::new(view, ground.as_ref()),
            told: HashMap::new(),
            policy: &policy,
            params: &params,
            applied: &applied,
        };
        let each = found.into_iter().map(|path| {
            let line = line_of(&path, &lines, &params);
            let mut found = owners.of(&path, line.as_ref())?;
            let patched = found.patches.iter().filter_map(|patch| applied.get(&patch.id));
            let params = patched.flat_map(|patch| &patch.packages).filter_map(|package| params.get(package));
            let origins: Vec<NativeOrigin> = params.filter_map(NativeOrigin::of).collect();
            found.differences = differences(view, ground.as_ref(), &found);
            found.verifiers = verifiers((root, &native), &path, &found.patches, &origins)?;
            let is_there = root.resolver().locate_object(&found.path).is_ok_and(|place| place == path.place);
            if let (false, Some(named)) = (is_there, path.spellings.first()) {
                // Records have the path before its diversion.
                found.path = named.clone();
            }
            Ok(PathOwners { native: path.native, diverted: path.diverted, names: path.spellings, ..found })
        });
        each.collect()
    })
}

/// Compares an object with its record, and with the last patch's file. A different time alone does not count.
fn differences(
    view: &RecordView<'_>,
    ground: Option<&RootAndPolicy>,
    owners: &PathOwners,
) -> Option<Vec<ObjectFinding>> {
    let (line, ground) = (owners.line.as_ref()?, ground?);
    let paths = vec![PathPattern::Exactly(line.path.clone())];
    let aspects = CheckedAspects {
        attributes: true,
        contents: true,
        changing_contents: true,
        ..CheckedAspects::default()
    };
    let scope = CheckScope { paths, ..CheckScope::default() };
    let request = ObjectCheckRequest { scope, aspects, workers: 1, ..ObjectCheckRequest::default() };
    let newest = owners.patches.first().and_then(|patch| {
        let b3 = patch.became.as_ref().and_then(RecordedState::digest)?;
        let file = DeliveredFile { object: line.object.clone(), b3, patch: patch.id.to_string() };
        Some((line.path.clone(), file))
    });
    let delivered: DeliveredFiles = newest.into_iter().collect();
    let report = check_delivered(view, &ground.host, &request, &delivered, None).ok()?;
    let mut findings = report.checked.into_iter().next()?.findings;
    findings.retain(|finding| !matches!(finding, ObjectFinding::Mtime(_)));
    Some(findings)
}

/// Verifiers of native packages report patched paths; the first of them found it as delivered.
fn verifiers(
    (root, native): (&Root, &NativeReader),
    path: &RecordedPath,
    patches: &[PatchOfPath],
    patched: &[NativeOrigin],
) -> Result<Vec<VerifierReport>, Failure> {
    let Some(delivered) = patches.last().and_then(|first| first.was.as_ref()) else { return Ok(Vec::new()) };
    let now = root.live_at(&path.place)?.as_ref().map(RecordedState::of);
    let mut reports = Vec::new();
    for NativeListing { owner: NativeOwner { origin, version }, listed, lies_at } in &path.native {
        if !patched.iter().any(|own| own.is_instance_of(origin)) {
            continue;
        }
        // A package with unreadable records has no report.
        let arch = origin.arch.as_deref().unwrap_or_default();
        let mut read = native.registered(&[RegisteredPackage { origin, version, arch }]);
        let Some(Ok(package)) = read.pop() else { continue };
        let Some(recorded) = package.paths.get(lies_at).copied() else { continue };
        let is_diverted = listed != lies_at;
        let verified =
            VerifiedPath { origin, path: lies_at, recorded, is_diverted, delivered, now: now.as_ref() };
        reports.extend(verified.reports());
    }
    Ok(reports)
}

fn lines_of(
    view: &RecordView<'_>,
    paths: &[RecordedPath],
) -> Result<BTreeMap<ObjectPath, ContentsLine>, Failure> {
    let wanted = paths.iter().flat_map(|path| {
        let before = path.diverted_here.iter().map(|one| &one.listed);
        path.spellings.iter().chain(before).cloned()
    });
    let lines = contents::lines_at(view, &wanted.collect(), &[]).map_err(DatabaseError::from)?;
    Ok(lines.into_iter().collect())
}

fn line_of(
    path: &RecordedPath,
    lines: &BTreeMap<ObjectPath, ContentsLine>,
    params: &BTreeMap<PkgInst, Params>,
) -> Option<ContentsLine> {
    let names = path.names();
    let spellings = path.spellings.iter().map(|path| (path, true));
    let before = path.diverted_here.iter().map(|one| (&one.listed, false));
    let of = |(path, is_spelling): (&ObjectPath, bool)| {
        let mut line = lines.get(path)?.clone();
        line.owners.retain(|owner| names.has(params.get(&owner.package), path, is_spelling));
        Some(line).filter(|line| !line.owners.is_empty())
    };
    spellings.chain(before).find_map(of)
}

/// Reads the parameters of all packages, and which of them may have undo data.
fn packages(view: &RecordView<'_>) -> Result<(BTreeMap<PkgInst, Params>, BTreeSet<PkgInst>), Failure> {
    let all = all::each(view, |package| {
        let params = package.params()?;
        Ok::<_, DatabaseError>(
            params.map(|params| (package.inst().clone(), params, package.may_have_undo_data())),
        )
    })?;
    let saving = all.iter().filter(|(.., may_have_undo_data)| *may_have_undo_data);
    let saving = saving.map(|(package, ..)| package.clone()).collect();
    Ok((all.into_iter().map(|(package, params, _)| (package, params)).collect(), saving))
}

/// `None` if the patch does not concern the path.
type Found = Option<PatchedObject>;

struct ToldObjects {
    objects: HashMap<ObjectPath, PatchedObject>,
    known: bool,
}

struct OwnerReader<'a> {
    /// Of packages that may have undo data.
    lists: BTreeMap<PkgInst, BTreeMap<String, UndoPaths>>,
    marker: String,
    order: OrderOnRoot<'a>,
    runs: AppliedRuns,
    reader: PatchReader<'a>,
    told: HashMap<(PkgInst, PatchId), ToldObjects>,
    policy: &'a Policy,
    params: &'a BTreeMap<PkgInst, Params>,
    applied: &'a AppliedPatches,
}

impl OwnerReader<'_> {
    fn of(&mut self, path: &RecordedPath, line: Option<&ContentsLine>) -> Result<PathOwners, Failure> {
        let mut known = true;
        let mut found = BTreeMap::new();
        let (applied, names) = (self.applied, path.names());
        for patch in applied.iter() {
            let mut of_patch: Found = None;
            for package in &patch.packages {
                let owns = line.is_some_and(|line| line.is_owned_by(package));
                let spellings = names.of(self.params.get(package));
                let one = self.patch(&spellings, (package, &patch.id), owns, &mut known)?;
                if one.as_ref().is_some_and(|one| changed(one.action)) || of_patch.is_none() {
                    of_patch = one.or(of_patch);
                }
            }
            if let Some(one) = of_patch {
                found.insert(&patch.id, one);
            }
        }
        let order = self.order.newest_first_of(found.keys().copied().collect());
        let patches = order.into_iter().filter_map(|id| Some(self.entry(id, found.remove(id)?)));
        let patches = patches.collect();
        let path = line.map(|line| line.path.clone()).or_else(|| path.spellings.first().cloned());
        let path = path.unwrap_or_else(ObjectPath::root);
        Ok(PathOwners {
            path,
            names: Vec::new(),
            line: line.cloned(),
            differences: None,
            patches,
            known,
            native: Vec::new(),
            diverted: Vec::new(),
            verifiers: Vec::new(),
        })
    }

    fn patch(
        &mut self,
        spellings: &[ObjectPath],
        (package, id): (&PkgInst, &PatchId),
        owns: bool,
        known: &mut bool,
    ) -> Result<Found, Failure> {
        let named = || spellings.first().cloned().map(PatchedObject::named);
        let Some(lists) = self.lists.get(package) else {
            *known = false;
            return Ok(if owns { named() } else { None });
        };
        let alike = || lists.iter().find(|(name, _)| PatchId::new(name).as_ref() == Ok(id));
        let list = lists.get(id.as_str()).or_else(|| alike().map(|(_, list)| list));
        let list = list.filter(|list| list.marker() == self.marker.as_bytes());
        let is_listed = list.map(|list| spellings.iter().any(|path| list.has(&PathDigest::of(path))));
        if is_listed == Some(false) {
            return Ok(None);
        }
        let told = self.told(package, id)?;
        let object = spellings.iter().find_map(|path| told.objects.get(path));
        // Lists lack deleted objects; archives of other programs lack added ones.
        *known &= told.known;
        match object {
            Some(object) => Ok(Some(object.clone())),
            None if !told.known && (owns || is_listed == Some(true)) => Ok(named()),
            None => Ok(None),
        }
    }

    fn told(&mut self, package: &PkgInst, id: &PatchId) -> Result<&ToldObjects, Failure> {
        let key = (package.clone(), id.clone());
        match self.told.entry(key) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let none = Params::default();
                let params = self.params.get(package).unwrap_or(&none);
                let PatchedPackage { objects, known, .. } = self.reader.objects((package, params), id)?;
                let objects = objects.into_iter().map(|one| (one.path.clone(), one)).collect();
                Ok(place.insert(ToldObjects { objects, known }))
            }
        }
    }

    fn entry(&self, id: &PatchId, object: PatchedObject) -> PatchOfPath {
        let info = self.applied.installed(id);
        PatchOfPath {
            id: id.clone(),
            state: standing(self.applied, id, self.policy),
            date_text: info.map(|info| info.date.clone()).filter(|date| !date.is_empty()),
            date: info.and_then(|info| applied_date(&info.date)),
            run: self.runs.of_patch(id),
            action: object.action,
            was: object.was,
            became: object.became,
            saved: object.saved,
        }
    }
}

fn changed(action: Option<ObjectAction>) -> bool {
    action.is_some_and(|action| action != ObjectAction::Unchanged)
}

/// Returns `effective`, `superseded` or `obsoleted`; in addition, `restricted`.
pub(super) fn standing(applied: &AppliedPatches, id: &PatchId, policy: &Policy) -> Vec<&'static str> {
    let word = match applied.superseded(id) {
        None => "effective",
        Some(Superseded::Revision(_)) => "superseded",
        Some(Superseded::Obsoletion(_)) => "obsoleted",
    };
    let restricted = policy.is_restricted(id.base()).then_some("restricted");
    [word].into_iter().chain(restricted).collect()
}

/// The runs that changed a path.
#[derive(Clone, Debug)]
pub struct PathRuns<'a> {
    /// The runs, oldest first.
    pub runs: Vec<&'a PastRun>,
    /// Runs of patches that are no longer applied, which changed a package of the path, and maybe the path.
    pub unknown: Vec<&'a PastRun>,
}

/// Returns the runs that changed a path, as far as that is known.
pub fn path_runs<'a>(root: &Root, past: &'a PastRuns, owners: &PathOwners) -> Result<PathRuns<'a>, Failure> {
    let overtaken = overtaken_patches(root, &marker(root)?.unwrap_or_default())?.patches;
    let packages = owners.line.iter().flat_map(|line| &line.owners);
    let packages: HashSet<&str> = packages.map(|owner| owner.package.as_str()).collect();
    // The newest patch is the first. An object that a patch added did not come with a package.
    let is_added = owners.patches.last().is_some_and(|patch| patch.action == Some(ObjectAction::Added));
    let patches = owners.patches.iter().filter(|patch| patch.action != Some(ObjectAction::Unchanged));
    let patches: HashSet<&str> = patches.map(|patch| patch.id.as_str()).collect();
    let names: HashSet<&ObjectPath> = owners.names.iter().chain([&owners.path]).collect();
    let has_left_merge = |run: &PastRun| {
        let mut merges = run.merges.iter().flat_map(|(_, merges)| merges);
        merges.any(|merge| names.contains(&merge.path))
    };
    let is_of_package = |run: &PastRun| run.line.packages.iter().any(|name| packages.contains(name.as_str()));
    let overtaken = PatchEnds::of(&overtaken, &names);
    let is_overtaken_here =
        |run: &PastRun, id: &String| overtaken.first(id, &run.line.time).is_some_and(|end| end.is_here);
    let is_about = |run: &PastRun| match run.line.patches.as_slice() {
        [] => !is_added && is_of_package(run),
        of_run => {
            let is_of_path = |id: &String| patches.contains(id.as_str()) || is_overtaken_here(run, id);
            of_run.iter().any(is_of_path) || has_left_merge(run)
        }
    };
    let removed = removed_patches(past);
    let is_over = |run: &PastRun, id: &String| {
        let is_end = |end: &PatchEnd<'_>| {
            !matches!(end.patch.state, OvertakenState::PartlyLost | OvertakenState::AcceptedBeforehand)
        };
        removed.contains(id.as_str()) || overtaken.first(id, &run.line.time).is_some_and(is_end)
    };
    // The changes of such a patch are unknown: its undo data is gone.
    let is_unknown = |run: &PastRun| is_of_package(run) && run.line.patches.iter().any(|id| is_over(run, id));
    let mut found = PathRuns { runs: Vec::new(), unknown: Vec::new() };
    for run in &past.runs {
        if is_about(run) {
            found.runs.push(run);
        } else if is_unknown(run) {
            found.unknown.push(run);
        }
    }
    Ok(found)
}

/// Returns patches whose last run removed them.
fn removed_patches(past: &PastRuns) -> HashSet<&str> {
    let mut last: HashMap<&str, bool> = HashMap::new();
    let done = past.runs.iter().filter(|run| run.line.result == "done");
    for run in done.filter(|run| run.is_removal() || APPLYING.contains(&run.line.command.as_str())) {
        last.extend(run.line.patches.iter().map(|id| (id.as_str(), run.is_removal())));
    }
    last.into_iter().filter(|(_, is_removed)| *is_removed).map(|(id, _)| id).collect()
}

struct PatchEnd<'a> {
    patch: &'a OvertakenPatch,
    /// It names the path in question.
    is_here: bool,
    /// The last time of this end and those before it.
    latest: &'a str,
}

/// The ends of patches by package managers, by patch, in their order.
struct PatchEnds<'a>(HashMap<&'a str, Vec<PatchEnd<'a>>>);

impl<'a> PatchEnds<'a> {
    fn of(overtaken: &'a [OvertakenPatch], names: &HashSet<&ObjectPath>) -> Self {
        let mut ends: HashMap<&str, Vec<PatchEnd<'_>>> = HashMap::new();
        for patch in overtaken {
            let ends = ends.entry(&patch.patch).or_default();
            let latest = ends.last().map_or(patch.time.as_str(), |before| before.latest.max(&patch.time));
            let mut paths = patch.paths.iter().filter_map(LostPath::object_path);
            let is_here = paths.any(|path| names.contains(&path));
            ends.push(PatchEnd { patch, is_here, latest });
        }
        Self(ends)
    }

    /// Returns the first end at that time or later: a patch that was applied again after its end is not meant.
    fn first(&self, id: &str, time: &str) -> Option<&PatchEnd<'a>> {
        let ends = self.0.get(id)?;
        ends.get(ends.partition_point(|end| end.latest < time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(patch: &str, time: &str, path: &str) -> OvertakenPatch {
        OvertakenPatch {
            root: String::new(),
            patch: patch.to_owned(),
            state: OvertakenState::PartlyLost,
            manager: String::new(),
            package: String::new(),
            version: String::new(),
            fixed_in: None,
            fixes: Vec::new(),
            paths: vec![LostPath { path: path.to_owned(), b3: None, by: None }],
            time: time.to_owned(),
        }
    }

    #[test]
    fn the_end_of_a_patch_is_the_first_one_since_its_run() {
        let all =
            [end("1-01", "2", "/a"), end("1-01", "4", "/b"), end("1-01", "3", "/a"), end("2-01", "9", "/a")];
        let path = ObjectPath::new(b"/a").unwrap();
        let ends = PatchEnds::of(&all, &HashSet::from([&path]));
        for id in ["1-01", "2-01", "3-01"] {
            for time in ["1", "2", "3", "4", "5"] {
                let expected = all.iter().find(|one| one.patch == id && *one.time >= *time);
                let found = ends.first(id, time);
                assert_eq!(found.map(|end| end.patch), expected, "{id} {time}");
                assert_eq!(found.map(|end| end.is_here), expected.map(|one| one.paths[0].path == "/a"));
            }
        }
    }
}
