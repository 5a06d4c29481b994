//! Later patches, and the obstacles that they are to a backout. Only manifests are read, so planner and queries share
//! the rules.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use patchadm_changeset::format::manifest::{
    ArchivedPaths, ObjectRecord, RecordedState, UndoManifest, decode, encode,
};
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::policy::Policy;
use patchadm_rootfs::{FileType, Xattrs};
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchList, PatchRecords};

use super::backout_input::{BackOutOptions, Elsewhere, Later};
use super::chains::{ChainPatch, ChainSegment, Chains, Link, is_made_on_the_way};
use crate::plan::refusal::{Command, HandOnProblem, Reason, Refusal};
use crate::plan::scripts::SystemScripts;

/// By package and patch.
pub type LaterManifests = BTreeMap<(PkgInst, String), UndoManifest>;

type Listed = BTreeMap<ObjectPath, Vec<String>>;

#[derive(Clone)]
pub(super) struct Among<'a> {
    pub(super) id: &'a PatchId,
    pub(super) all: AppliedPackages<'a>,
}

#[derive(Clone)]
pub(super) struct AppliedPackages<'a> {
    pub(super) inventory: &'a Inventory,
    pub(super) separator: &'a str,
    pub(super) known: &'a LaterManifests,
    pub(super) going: BTreeSet<&'a PatchId>,
}

impl<'a> AppliedPackages<'a> {
    pub(super) fn applied(&self, package: &PkgInst) -> Result<PatchRecords, Reason> {
        let installed = self.inventory.packages.get(package).ok_or(Reason::NotApplied)?;
        PatchRecords::from_params(package, &installed.params, self.separator)
            .map_err(|error| Reason::BadPkginfo { package: package.to_string(), reason: error.to_string() })
    }

    pub(super) fn listed(&self, package: &PkgInst) -> Result<ListedPatches<'a>, Reason> {
        Ok(ListedPatches::of(package, &self.applied(package)?.list, &self.going, self.known))
    }
}

impl<'a> Among<'a> {
    pub(super) fn later(&self, package: &PkgInst) -> Result<Later<'a>, Reason> {
        Ok(self.all.listed(package)?.later(self.id))
    }

    fn chains<'m>(&self, package: &PkgInst, manifest: &'m UndoManifest) -> Result<Chains<'m>, Reason>
    where
        'a: 'm,
    {
        let manifests = BTreeMap::from([(self.id, manifest)]);
        Ok(self.all.listed(package)?.chains(&manifests))
    }

    pub(super) fn judged<'j>(
        &self,
        package: &'j PkgInst,
        chains: &'j Chains<'j>,
        options: &'j BackOutOptions,
    ) -> Result<Judged<'j>, Reason>
    where
        'a: 'j,
    {
        let installed = self.all.inventory.packages.get(package).ok_or(Reason::NotApplied)?;
        let (system, listed) = (&options.scripts.system, &self.all.inventory.patched_by);
        let (earlier, scripted) = (&options.earlier, &options.scripted);
        Ok(Judged { chains, installed, system, listed, earlier, scripted, package })
    }
}

pub(super) struct ListedPatches<'a>(Vec<ListedPatch<'a>>);

struct ListedPatch<'a> {
    id: PatchId,
    stays: bool,
    manifest: Option<&'a UndoManifest>,
}

impl<'a> ListedPatches<'a> {
    pub(super) fn of(
        package: &PkgInst,
        list: &PatchList,
        going: &BTreeSet<&PatchId>,
        known: &'a LaterManifests,
    ) -> Self {
        let listed = |id: &PatchId| {
            let stays = !going.contains(id);
            let manifest = if stays { known.get(&(package.clone(), id.to_string())) } else { None };
            ListedPatch { id: id.clone(), stays, manifest }
        };
        Self(list.iter().map(listed).collect())
    }

    pub(super) fn later(&self, id: &PatchId) -> Later<'a> {
        let after = self.0.iter().skip_while(|other| other.id != *id).skip(1);
        after.filter(|other| other.stays).map(|other| (other.id.clone(), other.manifest)).collect()
    }

    /// Returns true if `patch` was applied before this one and stays.
    pub(super) fn is_earlier(&self, patch: &str, id: &PatchId) -> bool {
        let mut before = self.0.iter().take_while(|other| other.id != *id);
        before.any(|other| other.stays && other.id.as_str() == patch)
    }

    pub(super) fn place(&self, id: &PatchId) -> Option<usize> {
        self.0.iter().position(|other| other.id == *id)
    }

    pub(super) fn chains(&self, manifests: &BTreeMap<&PatchId, &'a UndoManifest>) -> Chains<'a> {
        let from_first = self.0.iter().skip_while(|one| one.stays);
        Chains::of(from_first.map(|one| one.in_chain(manifests)).collect())
    }

    pub(super) fn all_chains(&self, manifests: &BTreeMap<&PatchId, &'a UndoManifest>) -> Chains<'a> {
        Chains::of(self.0.iter().map(|one| one.in_chain(manifests)).collect())
    }
}

impl<'a> ListedPatch<'a> {
    fn in_chain(&self, manifests: &BTreeMap<&PatchId, &'a UndoManifest>) -> ChainPatch<'a> {
        let manifest = if self.stays { self.manifest } else { manifests.get(&self.id).copied() };
        ChainPatch { id: self.id.clone(), manifest, goes: !self.stays }
    }
}

pub(super) fn changed_elsewhere<'m>(
    records: impl Iterator<Item = &'m ObjectRecord>,
    elsewhere: &[Elsewhere],
) -> Result<(), Reason> {
    if elsewhere.is_empty() {
        return Ok(());
    }
    let had = HadLater::of(elsewhere);
    let mut used = None;
    let records = records.filter(|record| changes(record));
    for (record, path) in records.filter_map(|record| Some((record, record.object_path()?))) {
        if let Some(by) = had.paths.get(record.path.as_str()) {
            return Err(Reason::ChangedLater { path, by: Some(by.clone()) });
        }
        let above = had.above.get(record.path.as_str()).filter(|_| !stays_directory(record));
        if let Some(by) = above.filter(|_| used.is_none()) {
            used = Some(Reason::UsedLater { path, by: by.clone() });
        }
    }
    used.map_or(Ok(()), Err)
}

/// The saved state is older than the change.
pub(super) fn refuse_saved_before(
    path: &ObjectPath,
    later: &Later<'_>,
    listed: &Listed,
) -> Result<(), Reason> {
    let Some(patches) = listed.get(path) else { return Ok(()) };
    // A directory that a later patch found as it delivers it stays.
    let has = |manifest: &UndoManifest| {
        let mut records = manifest.objects.iter().filter(|record| record.has_path() && record.is_changed());
        records.any(|record| decode(&record.path) == path.as_bytes())
    };
    let found = later
        .iter()
        .rfind(|(id, manifest)| patches.iter().any(|other| other == id.as_str()) && manifest.is_none_or(has));
    match found {
        Some((by, _)) => Err(Reason::ChangedLater { path: path.clone(), by: Some(by.to_string()) }),
        None => Ok(()),
    }
}

/// Refuses like [`back_out`](super::back_out::back_out), as far as manifests tell: the complete list of obstacles.
/// `told` is the content of the patch's archives by package, `options` have the later patches. `inventory` has the
/// packages, with save directories and owners of the paths. Objects are not examined.
pub fn may_leave(
    id: &PatchId,
    told: &[(&PkgInst, &ArchivedPaths)],
    inventory: &Inventory,
    policy: &Policy,
    options: &BackOutOptions,
) -> Result<(), Refusal> {
    let ids = BTreeSet::from([id]);
    let all = AppliedPackages { inventory, separator: &policy.separator, known: &options.later, going: ids };
    let among = Among { id, all };
    let ask = || {
        let mut all = Vec::new();
        for (package, told) in told {
            let later = among.later(package)?;
            match told {
                ArchivedPaths::Manifest(manifest) => {
                    all.push((*package, among.chains(package, manifest)?));
                }
                ArchivedPaths::Paths(paths) => paths
                    .iter()
                    .try_for_each(|path| refuse_saved_before(path, &later, &inventory.patched_by))?,
            }
        }
        changed_elsewhere(all.iter().flat_map(|(_, chains)| chains.leaving()), &options.elsewhere)?;
        all.iter().try_for_each(|(package, chains)| among.judged(package, chains, options)?.refuse())
    };
    ask().map_err(|reason: Reason| reason.shown(inventory).of(Command::Patchrm, id))
}

/// Returns true if a patch with this manifest made a directory or link that a later patch may have objects below
/// without having its path. A directory on the way to its objects is handed down.
pub fn makes_room(manifest: &UndoManifest) -> bool {
    let is_room = |state: &RecordedState| matches!(state.kind, FileType::Directory | FileType::Symlink);
    let is_made =
        |record: &&ObjectRecord| changes(record) && !stays_directory(record) && !is_made_on_the_way(record);
    let mut made = manifest.objects.iter().filter(is_made);
    made.any(|record| record.became.as_ref().is_some_and(is_room))
}

fn changes(record: &ObjectRecord) -> bool {
    !record.is_untouched() || record.line != record.new_line
}

fn stays_directory(record: &ObjectRecord) -> bool {
    are_both_directories(record.was.as_ref(), record.became.as_ref())
}

/// By path, the last of the later patches: it can go first.
#[derive(Default)]
struct HadLater<'a> {
    /// Includes objects that they found as delivered.
    paths: HashMap<&'a str, String>,
    above: HashMap<&'a str, String>,
}

impl<'a> HadLater<'a> {
    fn of(elsewhere: &'a [Elsewhere]) -> Self {
        let all = elsewhere.iter().map(|one| (one.patch.clone(), &one.manifest));
        let mut had = Self::default();
        for (patch, manifest) in all.rev() {
            for record in manifest.objects.iter().filter(|record| record.has_path()) {
                had.paths.entry(record.path.as_str()).or_insert_with(|| patch.clone());
                if record.became.is_some() {
                    had.add_above(&record.path, &patch);
                }
            }
        }
        had
    }

    fn add_above(&mut self, path: &'a str, patch: &str) {
        let mut at = path;
        while let Some((directory, _)) = at.rsplit_once('/') {
            if self.above.contains_key(directory) {
                break;
            }
            self.above.insert(directory, patch.to_owned());
            at = directory;
        }
    }
}

/// Their scripts read the existing file or generate their output.
const LOOKING: [&str; 7] = ["awk", "build", "manifest", "preserve", "renamenew", "renameold", "sed"];

#[derive(Clone, Copy)]
pub(super) struct Judged<'a> {
    chains: &'a Chains<'a>,
    installed: &'a Installed,
    system: &'a SystemScripts,
    listed: &'a BTreeMap<ObjectPath, Vec<String>>,
    earlier: &'a BTreeSet<(PkgInst, String)>,
    scripted: &'a BTreeSet<(PkgInst, String)>,
    package: &'a PkgInst,
}

impl Judged<'_> {
    pub(super) fn refuse(&self) -> Result<(), Reason> {
        for run in &self.chains.runs {
            self.refuse_unknown(run)?;
            if let Some(heir) = run.heir {
                let problem = self.problem(run, heir);
                problem.map_or(Ok(()), |why| Err(self.because(run.path(), heir.at, why)))?;
            }
            self.refuse_used(run)?;
        }
        self.refuse_parted_names()?;
        self.refuse_other_names()
    }

    fn id(&self, at: usize) -> Option<&PatchId> {
        self.chains.order.get(at).map(|patch| &patch.id)
    }

    fn because(&self, path: &str, by: usize, why: HandOnProblem) -> Reason {
        let by = self.id(by).map(ToString::to_string).unwrap_or_default();
        match ObjectPath::new(&decode(path)) {
            Ok(path) => Reason::NotHandedOn { path, by, why },
            Err(_) => Reason::SharedLater { by },
        }
    }

    fn refuse_unknown(&self, run: &ChainSegment<'_>) -> Result<(), Reason> {
        let after = self.chains.order.iter().enumerate().skip(run.first().at + 1);
        let mut unknown = after.filter(|(_, patch)| patch.manifest.is_none() && !patch.goes).peekable();
        if unknown.peek().is_none() || run.first().record.is_as_found() {
            return Ok(());
        }
        let path = ObjectPath::new(&decode(run.path())).ok();
        let Some(patches) = path.as_ref().and_then(|path| self.listed.get(path)) else { return Ok(()) };
        let is_listed = |id: &PatchId| patches.iter().any(|other| other == id.as_str());
        match unknown.find(|(_, patch)| is_listed(&patch.id)) {
            None => Ok(()),
            Some((at, patch)) => {
                let is_earlier = self.earlier.contains(&(self.package.clone(), patch.id.to_string()));
                let why = if is_earlier { HandOnProblem::Earlier } else { HandOnProblem::Foreign };
                Err(self.because(run.path(), at, why))
            }
        }
    }

    fn refuse_used(&self, run: &ChainSegment<'_>) -> Result<(), Reason> {
        let Some(saver) = run.saver() else { return Ok(()) };
        if are_both_directories(saver.record.was.as_ref(), run.last().record.became.as_ref()) {
            return Ok(());
        }
        let states = run.links().iter().flat_map(|link| [&link.record.was, &link.record.became]);
        let is_room = states.flatten().any(is_room);
        let used = self.chains.used_below(run).filter(|_| is_room);
        match (used, ObjectPath::new(&decode(run.path()))) {
            (Some(by), Ok(path)) => Err(Reason::UsedLater { path, by: by.to_string() }),
            _ => Ok(()),
        }
    }

    fn problem(&self, run: &ChainSegment<'_>, heir: Link<'_>) -> Option<HandOnProblem> {
        let links = || run.links().iter().copied().chain([heir]);
        if links().any(|link| self.ran_scripts(link.at)) {
            return Some(HandOnProblem::Scripts);
        }
        if links().any(|link| self.looks(link.record)) {
            return Some(HandOnProblem::LooksAtFile);
        }
        let saver = run.saver()?;
        let states = || run.links().iter().flat_map(|link| [&link.record.was, &link.record.became]).flatten();
        if states().any(|state| state.kind == FileType::Symlink) {
            return Some(HandOnProblem::Symlink);
        }
        if turns(saver.record.was.as_ref(), run.last().record.became.as_ref()) {
            return Some(HandOnProblem::TypeChange);
        }
        let takes_over = self.takes_over_rights(run, saver, heir)
            || takes_over_xattrs(run, saver, heir)
            || self.keeps_other_xattrs(saver, heir);
        takes_over.then_some(HandOnProblem::Attributes)
    }

    fn ran_scripts(&self, at: usize) -> bool {
        let Some(patch) = self.chains.order.get(at) else { return false };
        patch.manifest.is_some_and(|manifest| manifest.header.scripts)
            || self.scripted.contains(&(self.package.clone(), patch.id.to_string()))
    }

    fn looks(&self, record: &ObjectRecord) -> bool {
        let lines = [&record.line, &record.new_line].into_iter().flatten();
        lines.filter_map(|line| ContentsLine::parse(&decode(line)).ok()).any(|line| {
            let class = line.object.class.as_str();
            let is_made_to_be_edited = matches!(line.object.ftype, Ftype::Editable | Ftype::Volatile);
            is_made_to_be_edited || class != "none" && self.has_script(class)
        })
    }

    fn has_script(&self, class: &str) -> bool {
        let SystemScripts { root, host, standard, .. } = self.system;
        let name = format!("install/i.{class}");
        LOOKING.contains(&class)
            || [root, host, standard].into_iter().any(|known| known.contains(class))
            || self.installed.records.contains_key(name.as_bytes())
    }

    /// The heir left attributes open that were changed before it: without those patches it would have found others.
    fn takes_over_rights(&self, run: &ChainSegment<'_>, saver: Link<'_>, heir: Link<'_>) -> bool {
        let Some(became) = &heir.record.became else { return false };
        let header = self.chains.order.get(heir.at).and_then(|patch| patch.manifest);
        let open = header.and_then(|manifest: &UndoManifest| manifest.header.open_attributes.as_ref());
        let found = heir.record.was.as_ref();
        let is_open = |letter: char, is_same: bool| match open {
            Some(open) => open.get(run.path()).is_some_and(|letters| letters.contains(letter)),
            // The manifest does not say; an unchanged object may have been left so.
            None => is_same,
        };
        let (before, after) = (saver.record.was.as_ref(), run.last().record.became.as_ref());
        let changed = |of: fn(&RecordedState) -> u32| {
            before.map(of) != after.map(of) || before.map(of) != found.map(of)
        };
        let same = |of: fn(&RecordedState) -> u32| found.map(of) == Some(of(became));
        let is_taken = |letter: char, of: fn(&RecordedState) -> u32| changed(of) && is_open(letter, same(of));
        is_taken('m', |state| state.mode)
            || is_taken('u', |state| state.uid)
            || is_taken('g', |state| state.gid)
    }

    /// The heir kept extended attributes that it would not have found.
    fn keeps_other_xattrs(&self, saver: Link<'_>, heir: Link<'_>) -> bool {
        let manifest = self.chains.order.get(heir.at).and_then(|patch| patch.manifest);
        let open = manifest.and_then(|manifest| manifest.header.open_attributes.as_ref());
        let keeps = open.and_then(|open| open.get(&heir.record.path)).is_some_and(|open| open.contains('x'));
        let xattrs = |record: &ObjectRecord| record.was.as_ref().map(|was| was.xattrs.clone());
        keeps && xattrs(saver.record) != xattrs(heir.record)
    }

    /// Names of one saved file would pass to different patches. A patch that found a name as delivered did not touch
    /// the other names.
    fn refuse_parted_names(&self) -> Result<(), Reason> {
        let mut heirs: HashMap<(usize, u32), Option<Link<'_>>> = HashMap::new();
        for run in &self.chains.runs {
            let group = |link: Link<'_>| Some((link.at, link.record.was.as_ref()?.group?));
            let Some(file) = run.content_saver().and_then(group) else { continue };
            let known = *heirs.entry(file).or_insert(run.heir);
            if known.map(|heir| heir.at) != run.heir.map(|heir| heir.at)
                && let Some(by) = [known, run.heir].into_iter().flatten().min_by_key(|heir| heir.at)
            {
                return Err(self.because(&by.record.path, by.at, HandOnProblem::OtherNames));
            }
        }
        Ok(())
    }

    /// A change to one name of a file affects its other names.
    fn refuse_other_names(&self) -> Result<(), Reason> {
        let order = &self.chains.order;
        let mut files = JoinedNames::default();
        order.iter().filter_map(|patch| patch.manifest).for_each(|manifest| files.add(manifest));
        if files.files.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = order.iter().map(|patch| files.of(patch.manifest)).collect();
        for (at, own) in names.iter().enumerate().filter(|(at, _)| order.get(*at).is_some_and(|one| one.goes))
        {
            for (later, others) in names.iter().enumerate().skip(at + 1) {
                let stays = order.get(later).is_some_and(|other| !other.goes);
                let mut both = own.iter().filter_map(|(file, own)| Some((own, others.get(file)?)));
                let apart = both.find(|(own, others)| {
                    let is_same = own.names == others.names && !own.is_other_file && !others.is_other_file;
                    stays && !is_same
                });
                if let Some(path) = apart.and_then(|(_, others)| others.names.first()) {
                    return Err(self.because(path, later, HandOnProblem::OtherNames));
                }
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct JoinedNames<'a> {
    files: HashMap<Cow<'a, str>, usize>,
    count: usize,
}

impl<'a> JoinedNames<'a> {
    fn add(&mut self, manifest: &'a UndoManifest) {
        let mut groups: BTreeMap<(bool, u32), &'a str> = BTreeMap::new();
        for record in &manifest.objects {
            let path = record.path.as_str();
            for (is_after, state) in [(false, &record.was), (true, &record.became)] {
                if let Some(group) = state.as_ref().and_then(|state| state.group) {
                    let first = *groups.entry((is_after, group)).or_insert(path);
                    self.join(first.into(), path.into());
                }
            }
            for target in
                [&record.line, &record.new_line].into_iter().filter_map(|line| linked_to(line.as_deref()))
            {
                self.join(target.into(), path.into());
            }
        }
    }

    fn join(&mut self, one: Cow<'a, str>, other: Cow<'a, str>) {
        let known = [self.files.get(&one).copied(), self.files.get(&other).copied()];
        let file = known.into_iter().flatten().next().unwrap_or_else(|| {
            self.count += 1;
            self.count
        });
        if let [Some(file), Some(same)] = known {
            self.files.values_mut().filter(|of| **of == same).for_each(|of| *of = file);
        }
        self.files.insert(one, file);
        self.files.insert(other, file);
    }

    fn of(&self, manifest: Option<&'a UndoManifest>) -> BTreeMap<usize, OwnNames<'a>> {
        let mut names: BTreeMap<usize, OwnNames<'a>> = BTreeMap::new();
        let records = manifest.into_iter().flat_map(|manifest| &manifest.objects);
        let is_own = |record: &&ObjectRecord| record.delivered || record.became.is_none() && !record.kept;
        for record in records.filter(is_own) {
            if let Some(file) = self.files.get(record.path.as_str()) {
                let own = names.entry(*file).or_default();
                own.names.insert(&record.path);
                own.is_other_file |= !is_same_file(record);
            }
        }
        names
    }
}

#[derive(Default)]
struct OwnNames<'a> {
    names: BTreeSet<&'a str>,
    is_other_file: bool,
}

fn is_same_file(record: &ObjectRecord) -> bool {
    let is_one = |state: &Option<RecordedState>| state.as_ref().is_some_and(|state| state.group.is_some());
    record.is_untouched() || is_one(&record.was) && is_one(&record.became)
}

fn linked_to(line: Option<&str>) -> Option<String> {
    let line = ContentsLine::parse(&decode(line?)).ok()?;
    let target = line.object.target.filter(|_| line.object.ftype == Ftype::Link)?;
    if target.starts_with(b"/") {
        return Some(encode(&target));
    }
    Some(encode(line.path.parent()?.join(&target).ok()?.as_bytes()))
}

fn takes_over_xattrs(run: &ChainSegment<'_>, saver: Link<'_>, heir: Link<'_>) -> bool {
    let Some(became) = &heir.record.became else { return false };
    let of = |state: Option<&RecordedState>| state.map(inherited).unwrap_or_default();
    let (before, made) = (of(saver.record.was.as_ref()), of(run.last().record.became.as_ref()));
    let found = of(heir.record.was.as_ref());
    inherited(became).is_empty() && before != found && found == made
}

fn inherited(state: &RecordedState) -> Xattrs {
    let is_inherited = |name: &[u8]| name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_");
    state.xattrs().into_iter().filter(|(name, _)| is_inherited(name)).collect()
}

fn turns(before: Option<&RecordedState>, after: Option<&RecordedState>) -> bool {
    let is_directory = |state: &RecordedState| state.kind == FileType::Directory;
    before.zip(after).is_some_and(|(before, after)| is_directory(before) != is_directory(after))
}

fn are_both_directories(before: Option<&RecordedState>, after: Option<&RecordedState>) -> bool {
    let is_directory =
        |state: Option<&RecordedState>| state.is_some_and(|state| state.kind == FileType::Directory);
    is_directory(before) && is_directory(after)
}

fn is_room(state: &RecordedState) -> bool {
    matches!(state.kind, FileType::Directory | FileType::Symlink)
}
