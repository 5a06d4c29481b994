//! What stands against handing on what a patch saved: the complete list, each with the patch in the way and the path.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_changeset::format::manifest::{Manifest, ObjectRecord, RecordedState, RecordedType, decode};
use patchadm_rootfs::Xattrs;
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

use super::chains::{Chains, Link, Run};
use crate::inventory::Installed;
use crate::plan::refusal::{HandOnProblem, Reason};
use crate::plan::scripts::SystemScripts;

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
        // A directory that the heir delivers becomes one that the heir made.
        if run.heir.is_some() && !turns(saver.record.was.as_ref(), run.last().record.became.as_ref()) {
            return Ok(());
        }
        if stays_directory(saver.record.was.as_ref(), run.last().record.became.as_ref()) {
            return Ok(());
        }
        let states = run.links().iter().flat_map(|link| [&link.record.was, &link.record.became]);
        let is_room = states.flatten().any(is_room);
        let used = self.chains.used_below(run.path(), saver.at).filter(|_| is_room);
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
        if states().any(|state| state.kind == RecordedType::Symlink) {
            return Some(HandOnProblem::Symlink);
        }
        if turns(saver.record.was.as_ref(), run.last().record.became.as_ref()) {
            return Some(HandOnProblem::TypeChange);
        }
        let takes_over = self.takes_over_rights(run, saver, heir) || takes_over_xattrs(run, saver, heir);
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

    /// Whether the heir left attributes open that a patch of the run had changed.
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
        let changed = |of: fn(&RecordedState) -> u32| before.map(of) != after.map(of);
        let same = |of: fn(&RecordedState) -> u32| found.map(of) == Some(of(became));
        let is_taken = |letter: char, of: fn(&RecordedState) -> u32| changed(of) && is_open(letter, same(of));
        is_taken('m', |state| state.mode)
            || is_taken('u', |state| state.uid)
            || is_taken('g', |state| state.gid)
    }

    /// Refuses where going and staying patches have different names of one file.
    fn refuse_other_names(&self) -> Result<(), Reason> {
        let mut groups = NamesOfFiles::default();
        for (at, patch) in self.chains.order.iter().enumerate() {
            if let Some(manifest) = patch.manifest {
                groups.add(at, manifest);
            }
        }
        if groups.files.values().all(Vec::is_empty) {
            return Ok(());
        }
        for (at, _) in self.chains.order.iter().enumerate().filter(|(_, patch)| patch.goes) {
            let later = self.chains.order.iter().enumerate().skip(at + 1).filter(|(_, other)| !other.goes);
            for (later, _) in later {
                if let Some(path) = groups.apart(at, later) {
                    return Err(self.because(path, later, HandOnProblem::OtherNames));
                }
            }
        }
        Ok(())
    }
}

/// The names of files with several names, patch by patch.
#[derive(Default)]
struct NamesOfFiles<'a> {
    /// For each patch: all names of each such file.
    files: BTreeMap<usize, Vec<BTreeSet<&'a str>>>,
    /// For each patch with such files, or any: the names that it has.
    own: BTreeMap<usize, BTreeSet<&'a str>>,
}

impl<'a> NamesOfFiles<'a> {
    fn add(&mut self, at: usize, manifest: &'a Manifest) {
        let mut groups: BTreeMap<(bool, u32), BTreeSet<&'a str>> = BTreeMap::new();
        for record in &manifest.objects {
            for (is_after, state) in [(false, &record.was), (true, &record.became)] {
                if let Some(group) = state.as_ref().and_then(|state| state.group) {
                    groups.entry((is_after, group)).or_default().insert(record.path.as_str());
                }
            }
        }
        self.files.insert(at, groups.into_values().collect());
        let own = manifest.objects.iter().filter(|record| record.has_path());
        self.own.insert(at, own.map(|record| record.path.as_str()).collect());
    }

    /// A name of a file of which one of two patches has a name that the other has not, while both have the file.
    fn apart(&self, going: usize, later: usize) -> Option<&'a str> {
        let (own, of_later) = (self.own.get(&going)?, self.own.get(&later)?);
        let of_going = self.files.get(&going).into_iter().flatten();
        // The later one has a name that the going one left alone.
        let left = of_going.filter(|names| names.iter().any(|name| own.contains(name)));
        let left = left.flat_map(|names| names.iter().filter(|name| !own.contains(*name)));
        let taken = left.copied().find(|name| of_later.contains(name));
        // The later one made other names of the file that the going one had put there.
        let files = self.files.get(&later).into_iter().flatten();
        let both = files.filter(|names| names.iter().any(|name| own.contains(name)));
        let others = both.flat_map(|names| {
            let has_other = names.iter().any(|name| of_later.contains(name) && !own.contains(name));
            names.iter().filter(move |name| has_other && own.contains(*name))
        });
        taken.or_else(|| others.copied().next())
    }
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
    let is_directory = |state: &RecordedState| state.kind == RecordedType::Directory;
    before.zip(after).is_some_and(|(before, after)| is_directory(before) != is_directory(after))
}

fn stays_directory(before: Option<&RecordedState>, after: Option<&RecordedState>) -> bool {
    let is_directory =
        |state: Option<&RecordedState>| state.is_some_and(|state| state.kind == RecordedType::Directory);
    is_directory(before) && is_directory(after)
}

/// Whether objects can be reached through it.
fn is_room(state: &RecordedState) -> bool {
    matches!(state.kind, RecordedType::Directory | RecordedType::Symlink)
}
