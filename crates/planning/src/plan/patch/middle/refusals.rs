//! What stands against handing on what a patch saved: the complete list, each with the patch in the way and the path.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use patchadm_changeset::format::manifest::{Manifest, ObjectRecord, RecordedState, decode, encode};
use patchadm_rootfs::{FileType, Xattrs};
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

use super::chains::{Chains, Link, Run};
use crate::plan::refusal::{HandOnProblem, Reason};
use crate::plan::scripts::SystemScripts;
use patchadm_inputs::inventory::Installed;

/// Classes whose scripts look at what is there, or make what they put there.
const LOOKING: [&str; 7] = ["awk", "build", "manifest", "preserve", "renamenew", "renameold", "sed"];

/// A package of which patches go, with what is known of the patches that stay.
#[derive(Clone, Copy)]
pub(in crate::plan::patch) struct Judged<'a> {
    /// The chains of its paths.
    pub(in crate::plan::patch) chains: &'a Chains<'a>,
    /// The package, with its records.
    pub(in crate::plan::patch) installed: &'a Installed,
    /// Class action scripts that are there beside the packages' own.
    pub(in crate::plan::patch) system: &'a SystemScripts,
    /// Patches that are listed with each path.
    pub(in crate::plan::patch) listed: &'a BTreeMap<ObjectPath, Vec<String>>,
    /// Later patches of an earlier form of the program.
    pub(in crate::plan::patch) earlier: &'a BTreeSet<(PkgInst, String)>,
    /// Later patches whose archives scripts made.
    pub(in crate::plan::patch) scripted: &'a BTreeSet<(PkgInst, String)>,
    /// The name of the package.
    pub(in crate::plan::patch) package: &'a PkgInst,
}

impl Judged<'_> {
    /// Refuses where what a going patch saved cannot be handed on, or something that it made is used.
    pub(in crate::plan::patch) fn refuse(&self) -> Result<(), Reason> {
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

    /// Refuses a path that a later patch without manifest is listed with.
    fn refuse_unknown(&self, run: &Run<'_>) -> Result<(), Reason> {
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

    /// Refuses something made, or turned into something else, below which a patch that stays has objects.
    fn refuse_used(&self, run: &Run<'_>) -> Result<(), Reason> {
        let Some(saver) = run.saver() else { return Ok(()) };
        if stays_directory(saver.record.was.as_ref(), run.last().record.became.as_ref()) {
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

    fn problem(&self, run: &Run<'_>, heir: Link<'_>) -> Option<HandOnProblem> {
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

    /// Whether what a patch put there depends on what it found, by type and class.
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

    /// Whether the heir left attributes open that a patch of the run had changed, or that an administrator had changed by
    /// then: those are not the ones that it would have found.
    fn takes_over_rights(&self, run: &Run<'_>, saver: Link<'_>, heir: Link<'_>) -> bool {
        let Some(became) = &heir.record.became else { return false };
        let header = self.chains.order.get(heir.at).and_then(|patch| patch.manifest);
        let open = header.and_then(|manifest: &Manifest| manifest.header.open_attributes.as_ref());
        let found = heir.record.was.as_ref();
        let is_open = |letter: char, is_same: bool| match open {
            Some(open) => open.get(run.path()).is_some_and(|letters| letters.contains(letter)),
            // It is not said; what is as it was may have been left so.
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

    /// Whether the heir kept extended attributes as it found them that are not those which it would have found.
    fn keeps_other_xattrs(&self, saver: Link<'_>, heir: Link<'_>) -> bool {
        let manifest = self.chains.order.get(heir.at).and_then(|patch| patch.manifest);
        let open = manifest.and_then(|manifest| manifest.header.open_attributes.as_ref());
        let keeps = open.and_then(|open| open.get(&heir.record.path)).is_some_and(|open| open.contains('x'));
        let xattrs = |record: &ObjectRecord| record.was.as_ref().map(|was| was.xattrs.clone());
        keeps && xattrs(saver.record) != xattrs(heir.record)
    }

    /// Refuses where what was saved as one file would be handed on to different patches, name by name: one that found a
    /// name as it delivers it did nothing to the others, and would have.
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

    /// Refuses where a going and a later staying patch have different names of one file: what one does to its names goes
    /// for the others.
    fn refuse_other_names(&self) -> Result<(), Reason> {
        let order = &self.chains.order;
        let mut files = NamesOfFiles::default();
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

/// The names of files that have, or had, several names, over all patches of a package.
#[derive(Default)]
struct NamesOfFiles<'a> {
    /// Each name with the number of its file.
    files: HashMap<Cow<'a, str>, usize>,
    count: usize,
}

impl<'a> NamesOfFiles<'a> {
    fn add(&mut self, manifest: &'a Manifest) {
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

    /// Makes two names those of one file.
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

    /// The names of each such file that a patch delivers or deletes; not those that it changed by another name.
    fn of(&self, manifest: Option<&'a Manifest>) -> BTreeMap<usize, OwnNames<'a>> {
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

/// The names of a file that a patch has.
#[derive(Default)]
struct OwnNames<'a> {
    names: BTreeSet<&'a str>,
    /// Whether one of them was or became a name of something else, or of nothing.
    is_other_file: bool,
}

/// Whether a path was one name of a file with several, and still is.
fn is_same_file(record: &ObjectRecord) -> bool {
    let is_one = |state: &Option<RecordedState>| state.as_ref().is_some_and(|state| state.group.is_some());
    record.is_untouched() || is_one(&record.was) && is_one(&record.became)
}

/// The path that a line says its path is another name of, as manifests write it.
fn linked_to(line: Option<&str>) -> Option<String> {
    let line = ContentsLine::parse(&decode(line?)).ok()?;
    let target = line.object.target.filter(|_| line.object.ftype == Ftype::Link)?;
    if target.starts_with(b"/") {
        return Some(encode(&target));
    }
    Some(encode(line.path.parent()?.join(&target).ok()?.as_bytes()))
}

/// Whether extended attributes that a patch of the run gave were inherited by the heir.
fn takes_over_xattrs(run: &Run<'_>, saver: Link<'_>, heir: Link<'_>) -> bool {
    let Some(became) = &heir.record.became else { return false };
    let of = |state: Option<&RecordedState>| state.map(inherited).unwrap_or_default();
    let (before, made) = (of(saver.record.was.as_ref()), of(run.last().record.became.as_ref()));
    let found = of(heir.record.was.as_ref());
    inherited(became).is_empty() && before != found && found == made
}

/// The extended attributes that a new object inherits from the one that it replaces.
fn inherited(state: &RecordedState) -> Xattrs {
    let is_inherited = |name: &[u8]| name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_");
    state.xattrs().into_iter().filter(|(name, _)| is_inherited(name)).collect()
}

/// Whether one of two states is a directory and the other something else.
fn turns(before: Option<&RecordedState>, after: Option<&RecordedState>) -> bool {
    let is_directory = |state: &RecordedState| state.kind == FileType::Directory;
    before.zip(after).is_some_and(|(before, after)| is_directory(before) != is_directory(after))
}

fn stays_directory(before: Option<&RecordedState>, after: Option<&RecordedState>) -> bool {
    let is_directory =
        |state: Option<&RecordedState>| state.is_some_and(|state| state.kind == FileType::Directory);
    is_directory(before) && is_directory(after)
}

/// Whether objects can be reached through it.
fn is_room(state: &RecordedState) -> bool {
    matches!(state.kind, FileType::Directory | FileType::Symlink)
}
