//! Data that staying patches take over: rewritten undo data, and an administrator's bytes that only archives have.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::backout_input::{BackOutOptions, BackoutArchive, GoingPatch, LaterUndo};
use super::backout_records::{RecordsBefore, TakenRecords};
use super::chains::{ChainSegment, Chains, Link, has_same_content};
use super::later::AppliedPackages;
use super::patch_plan::MovedObject;
use super::rewrite::{Rewriting, RewrittenUndo};
use crate::plan::clock::Now;
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::records::{save_of, save_path};
use crate::plan::refusal::{Command, Reason, Refusal};
use crate::plan::{
    Action, Body, LedgerChange, LedgerRewrite, Member, NewObject, NewXattrs, RecordChange, ReplacedVersion,
    RewrittenArchive, UndoArchive, UndoPart,
};
use patchadm_changeset::format::manifest::{KEPT_MANIFEST, ObjectRecord, decode};
use patchadm_inputs::format::ledger::SNAPSHOT;
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::policy::Policy;
use patchadm_inputs::source::PackageImage;
use patchadm_rootfs::FileType;
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::package::{ContentsLine, Mode, PackagePath, PkgInst};
use patchadm_svr4::patch::PatchId;

pub(super) struct TakingOver<'a> {
    pub(super) package: &'a PkgInst,
    pub(super) archives: Vec<&'a BackoutArchive<'a>>,
    pub(super) taken: &'a BTreeMap<PatchId, TakenRecords>,
    pub(super) later: &'a [LaterUndo<'a>],
    pub(super) inventory: &'a Inventory,
    pub(super) separator: &'a str,
}

/// Returns the patches that stay and whose undo data changes when these are backed out, by package: they have paths,
/// parameters or record files of theirs. `archives` are those of the patches that are backed out.
pub fn taking_over(
    going: &[GoingPatch],
    archives: &[BackoutArchive<'_>],
    inventory: &Inventory,
    (policy, now): (&Policy, &Now),
    options: &BackOutOptions,
) -> Result<BTreeSet<(PkgInst, PatchId)>, Refusal> {
    let Some(first) = going.last() else { return Ok(BTreeSet::new()) };
    // A package without a known manifest takes nothing over.
    let packages: BTreeSet<&PkgInst> = options.later.keys().map(|(package, _)| package).collect();
    let mut found = BTreeSet::new();
    for package in packages {
        let of: Vec<&BackoutArchive<'_>> =
            archives.iter().filter(|archive| archive.package == package).collect();
        let ids = going.iter().map(|patch| &patch.id).collect();
        let (separator, known) = (policy.separator.as_str(), &options.later);
        let among = AppliedPackages { inventory, separator, known, going: ids };
        let heirs = heirs(&among, package, of, now);
        let heirs = heirs.map_err(|reason| reason.shown(inventory).of(Command::Patchrm, &first.id))?;
        found.extend(heirs.into_iter().map(|id| (package.clone(), id)));
    }
    Ok(found)
}

fn heirs(
    among: &AppliedPackages<'_>,
    package: &PkgInst,
    mut archives: Vec<&BackoutArchive<'_>>,
    now: &Now,
) -> Result<BTreeSet<PatchId>, Reason> {
    let mut before = RecordsBefore::of(among, package, now)?;
    archives.sort_by_cached_key(|archive| std::cmp::Reverse(before.listed.place(archive.patch)));
    let manifests = archives.iter().filter_map(|archive| Some((archive.patch, archive.manifest?)));
    let chains = before.listed.chains(&manifests.collect());
    if chains.order.iter().all(|patch| patch.goes) {
        return Ok(BTreeSet::new());
    }
    let of_paths = chains.heirs().into_keys().filter_map(|at| chains.order.get(at));
    let mut heirs: BTreeSet<PatchId> = of_paths.map(|patch| patch.id.clone()).collect();
    for archive in archives {
        before.back_out(archive.patch, archive)?;
    }
    heirs.extend(before.taken.into_keys());
    Ok(heirs)
}

#[derive(Default)]
pub(super) struct Rewritten {
    pub(super) undo: Vec<UndoArchive>,
    pub(super) versions: Vec<ReplacedVersion>,
    pub(super) records: Vec<RecordChange>,
    pub(super) discard: Vec<PathBuf>,
    pub(super) moved: Vec<MovedObject>,
}

impl TakingOver<'_> {
    pub(super) fn rewrite(&self, chains: &Chains<'_>, rewritten: &mut Rewritten) -> Result<(), Reason> {
        let archives = self.archives.iter().copied();
        let sources: HashMap<usize, &BackoutArchive<'_>> =
            archives.filter_map(|archive| Some((chains.place(archive.patch)?, archive))).collect();
        let mut ledger = LedgerChange::of(self.package);
        let (mut heirs, nothing) = (chains.heirs(), TakenRecords::default());
        for at in self.taken.keys().filter_map(|id| chains.place(id)) {
            heirs.entry(at).or_default();
        }
        for (at, inherited) in heirs {
            let Some(patch) = chains.order.get(at) else { continue };
            let later = self.of(&patch.id).ok_or_else(|| Reason::NoUndoData(self.package.clone()))?;
            let taken = self.taken.get(&patch.id);
            let rewriting = Rewriting::of(later, &sources)?;
            let mut undo = rewriting.take(at, &inherited, taken.unwrap_or(&nothing), chains)?;
            undo.archive.manifest.header.root.clone_from(&self.inventory.marker);
            let mut savers = inherited.runs.iter().filter_map(|run| sources.get(&run.content_saver()?.at));
            let is_adopted = savers.any(|source| !source.is_bound)
                || taken.is_some() && sources.values().any(|source| !source.is_bound);
            rewritten.records.extend(self.files_of(later, &patch.id, rewritten.undo.len())?);
            let used_up = later.archive.filter(|archive| archive.is_used_up);
            rewritten.discard.extend(used_up.and_then(|archive| archive.outside).map(Path::to_owned));
            rewritten.add(undo);
            let patch = later.patch.clone();
            ledger.rewritten.push(LedgerRewrite { patch, archive: RewrittenArchive::Anew, is_adopted });
        }
        rewritten.records.push(RecordChange::Ledger(ledger));
        rewritten.moved.extend(chains.moved().filter_map(|(from, record, to)| {
            Some(MovedObject { from: from.clone(), path: record.object_path()?, to: to.clone() })
        }));
        Ok(())
    }

    fn of(&self, patch: &PatchId) -> Option<&LaterUndo<'_>> {
        self.later.iter().find(|later| {
            let id = PatchId::parse(&later.patch, self.separator);
            later.package == self.package && id.as_ref() == Ok(patch)
        })
    }

    fn files_of(
        &self,
        later: &LaterUndo<'_>,
        id: &PatchId,
        archive: usize,
    ) -> Result<Vec<RecordChange>, Reason> {
        let missing = || Reason::NoUndoData(later.package.clone());
        let installed = self.inventory.packages.get(later.package).ok_or_else(missing)?;
        let (saved_as, save) = save_of(installed, id, self.separator).ok_or_else(missing)?;
        let file = |name: &str, part: UndoPart| {
            let path = save_path(later.package, saved_as, name)?;
            Ok::<_, Reason>(RecordChange::Undo { path, archive, part })
        };
        if later.archive.is_some_and(|archive| archive.is_snapshot) {
            let directory = SNAPSHOT.split_once('/').map_or(SNAPSHOT, |(directory, _)| directory);
            let beside = |name: &str| format!("{directory}/{name}");
            return Ok(vec![
                file(&beside("undo.paths"), UndoPart::Paths)?,
                file(SNAPSHOT, UndoPart::Archive)?,
                file(&beside("undo.b3"), UndoPart::Digest)?,
            ]);
        }
        let mut records = vec![file("undo.paths", UndoPart::Paths)?];
        match (&later.archive, &save.archive, &save.remote) {
            (None, ..) => records.push(file(KEPT_MANIFEST, UndoPart::Manifest)?),
            (Some(_), Some(name), _) => {
                records.push(file(name, UndoPart::Archive)?);
                records.push(file("undo.b3", UndoPart::Digest)?);
            }
            (Some(_), None, Some(pointer)) => {
                let pointer = RemoteArchive::parse(pointer).map_err(|error| Reason::BadUndoData {
                    package: later.package.clone(),
                    reason: error.to_string(),
                })?;
                records.push(file("undo.b3", UndoPart::Digest)?);
                records.push(file("remote", UndoPart::Pointer(pointer))?);
            }
            (Some(_), None, None) => return Err(missing()),
        }
        Ok(records)
    }

    pub(super) fn keep_edited(&self, draft: &mut PlanBuilder<'_>, chains: &Chains<'_>) -> Result<(), Reason> {
        for run in &chains.runs {
            for (before, link) in run.edited() {
                self.keep_one(draft, chains, before, link)?;
            }
            self.keep_unsaved(draft, chains, run)?;
        }
        Ok(())
    }

    /// Without an undo archive, the heir cannot restore an administrator's file. It is kept as if the heir had found
    /// it.
    fn keep_unsaved(
        &self,
        draft: &mut PlanBuilder<'_>,
        chains: &Chains<'_>,
        run: &ChainSegment<'_>,
    ) -> Result<(), Reason> {
        let (Some(heir), Some(saver)) = (run.heir, run.content_saver()) else { return Ok(()) };
        let is_saved = |at: usize| {
            let patch = chains.order.get(at)?;
            Some(self.of(&patch.id)?.archive.is_some())
        };
        let states = saver.record.was.as_ref().zip(heir.record.became.as_ref());
        let is_there = states.is_some_and(|(found, made)| has_same_content(found, made));
        let is_edited = self.saved_of(chains, saver).is_some_and(|saved| differs(&saved, saver.record));
        if is_saved(heir.at) == Some(false) && is_edited && !is_there {
            self.keep_one(draft, chains, heir.at, saver)?;
        }
        Ok(())
    }

    fn saved_of(&self, chains: &Chains<'_>, link: Link<'_>) -> Option<NewObject> {
        let patch = chains.order.get(link.at)?;
        let own = self.archives.iter().find(|archive| *archive.patch == patch.id);
        let own = own.map(|archive| (archive.index, archive.image));
        let of_later = || self.of(&patch.id)?.archive.map(|archive| (archive.index, archive.image));
        let (index, image) = own.or_else(of_later)?;
        copied(link.record, index, image)
    }

    fn keep_one(
        &self,
        draft: &mut PlanBuilder<'_>,
        chains: &Chains<'_>,
        under: usize,
        link: Link<'_>,
    ) -> Result<(), Reason> {
        let Some(under) = chains.order.get(under) else { return Ok(()) };
        let Some(path) = link.record.object_path() else { return Ok(()) };
        let shown = draft.inventory.show(&path);
        let Some(new) = self.saved_of(chains, link) else {
            draft.notes.push(format!("changes to {shown} after {} were not saved", under.id));
            return Ok(());
        };
        let name = draft.free_name(&path, &format!("edited-{}", under.id));
        let name = name.map_err(|problem| Reason::Object {
            package: self.package.clone(),
            path: path.to_string(),
            problem,
        })?;
        let kept = draft.inventory.show(&name);
        draft.notes.push(format!("{shown} was edited; the run keeps the edited version as {kept}"));
        draft.change(self.package, &name, Action::Add(new));
        Ok(())
    }
}

impl Rewritten {
    fn add(&mut self, undo: RewrittenUndo) {
        let RewrittenUndo { mut archive, versions } = undo;
        for place in archive.passing.values_mut().flatten() {
            *place += self.versions.len();
        }
        self.versions.extend(versions);
        self.undo.push(archive);
    }
}

fn differs(saved: &NewObject, record: &ObjectRecord) -> bool {
    let line = record.line.as_deref().and_then(|line| ContentsLine::parse(&decode(line)).ok());
    let (Body::Member(member), Some(line)) = (&saved.body, line) else { return false };
    let content = line.object.content;
    content.size.is_some_and(|size| size != member.size)
        || content.cksum.is_some_and(|cksum| cksum != member.cksum)
}

pub(super) fn copied(record: &ObjectRecord, index: usize, image: &PackageImage) -> Option<NewObject> {
    let was = record.was.as_ref()?;
    let body = match was.kind {
        FileType::Symlink => Body::Symlink(decode(was.target.as_deref()?).into_owned()),
        FileType::Regular => {
            let path = PackagePath::new(&decode(record.member.as_deref()?)).ok()?;
            let content = image.files().find(|entry| entry.path == path)?.object.content;
            let b3 = was.digest().map(Box::new);
            Body::Member(Member { package: index, path, size: content.size?, cksum: content.cksum?, b3 })
        }
        _ => return None,
    };
    Some(NewObject {
        body,
        mode: Mode::of(was.mode & 0o777),
        uid: was.uid,
        gid: was.gid,
        mtime: Some(was.mtime),
        xattrs: NewXattrs::Exact(was.xattrs()),
    })
}
