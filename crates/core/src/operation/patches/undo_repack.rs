//! `patchadm undo-data repack`: rewrites undo archives in another form, in one run with ledger and digest. Each is
//! verified, written and read back. Archives by other tools or scripts stay.

use std::path::PathBuf;

use serde::Serialize;

use super::back_out::undo::{UndoReading, VerifiedUndo, wait_for};
use super::later_patches::LedgerCache;
use super::undo_change::{begin_undo_change, foresee_undo_change, named_patches};
use super::undo_drop::is_older;
use crate::operation::content::ArchiveSources;
use crate::operation::failure::Failure;
use crate::operation::queries::applied_patches::OrderOnRoot;
use crate::operation::session::{Caller, RootAndPolicy, Session};
use crate::operation::trial::begin_change;
use patchadm_changeset::format::escaped::as_text;
use patchadm_changeset::plan::UndoFormat;
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::undo_data::{ArchiveError, UndoData};
use patchadm_inputs::database::{RecordView, installed, marker, saves};
use patchadm_inputs::inventory::Save;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::patch::backout_input::LaterUndo;
use patchadm_planning::plan::patch::rewrite::repack;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{AppliedPatches, PatchId};

#[derive(Clone, Debug)]
pub struct RepackRequest {
    /// As typed. Without ids and `cold`, all patches.
    pub ids: Vec<String>,
    /// Rewrite archives of patches applied this many seconds ago.
    pub cold: Option<u64>,
    pub format: UndoFormat,
    /// Directory of moved archives outside the root.
    pub undo_dir: Option<PathBuf>,
    pub dry_run: bool,
}

#[derive(Debug, Default)]
pub struct RepackReport {
    pub recovered: Recovered,
    /// In the order of listings.
    pub archives: Vec<RepackedArchive>,
    pub receipt: Option<Receipt>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepackedArchive {
    #[serde(serialize_with = "as_text")]
    pub id: PatchId,
    #[serde(serialize_with = "as_text")]
    pub package: PkgInst,
    pub verdict: RepackVerdict,
    pub from: UndoFormat,
    /// Bytes.
    pub before: u64,
    /// Bytes; `None` if it was not written.
    pub after: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepackVerdict {
    Planned,
    Repacked,
    /// It has the requested form.
    Unchanged,
    /// Another tool made it, or the ledger does not tell.
    Foreign,
    /// The scripts of the patch made it.
    ByScripts,
}

impl RepackVerdict {
    /// True if the archive is rewritten, or would be.
    pub fn is_rewritten(self) -> bool {
        matches!(self, Self::Planned | Self::Repacked)
    }
}

/// If one archive is refused, nothing is changed.
pub fn repack_undo(
    root: &Root,
    request: &RepackRequest,
    caller: &Caller<'_>,
) -> Result<RepackReport, Failure> {
    let undo_dir = request.undo_dir.as_deref();
    if request.dry_run {
        let archives = foresee_undo_change(root, undo_dir, caller, |ground| {
            Ok(Repacking::of(ground, request)?.read(caller)?.archives)
        })?;
        return Ok(RepackReport { archives, ..RepackReport::default() });
    }
    let session = begin_undo_change(root, undo_dir, caller, begin_change)?;
    let (archives, receipt) = repack_within(&session, request)?;
    Ok(RepackReport { recovered: session.recovered, archives, receipt })
}

pub(super) fn repack_within(
    session: &Session<'_>,
    request: &RepackRequest,
) -> Result<(Vec<RepackedArchive>, Option<Receipt>), Failure> {
    let caller = session.caller;
    let repacking = Repacking::of(&session.ground, request)?;
    let mut read = repacking.read(caller)?;
    let receipt = match repacking.plan(&read.undo, caller)? {
        None => None,
        Some(plan) => {
            let sources = read.undo.iter().map(|one| one.verified.restored_from().content()).collect();
            Some(session.perform(&plan, &mut ArchiveSources(sources), None, String::new())?)
        }
    };
    if receipt.is_some() {
        repacking.measure(&mut read.archives)?;
    }
    Ok((read.archives, receipt))
}

struct Repacking<'a> {
    ground: &'a RootAndPolicy,
    request: &'a RepackRequest,
    applied: AppliedPatches,
    ledgers: LedgerCache,
}

struct ReadUndo {
    /// Name of the save directory.
    name: String,
    save: Save,
    verified: VerifiedUndo,
}

#[derive(Default)]
struct ReadArchives {
    undo: Vec<ReadUndo>,
    archives: Vec<RepackedArchive>,
}

impl<'a> Repacking<'a> {
    fn of(ground: &'a RootAndPolicy, request: &'a RepackRequest) -> Result<Self, Failure> {
        let applied = ground.recorded(&ground.packages()?)?;
        Ok(Self { ground, request, applied, ledgers: LedgerCache::default() })
    }

    fn read(&self, caller: &Caller<'_>) -> Result<ReadArchives, Failure> {
        let named = named_patches(&self.request.ids, self.ground, &self.applied, Command::Repack)?;
        let is_all = self.request.ids.is_empty() && self.request.cold.is_none();
        let order = OrderOnRoot::of(&self.applied);
        let is_cold =
            |id: &PatchId| self.request.cold.is_some_and(|age| is_older(order.date(id), age, &caller.now));
        let root = &self.ground.root;
        let marker = marker(root)?.unwrap_or_default();
        let mut digesting = Vec::new();
        let outside = self.ground.outside.with(self.request.undo_dir.as_deref());
        let mut reading = UndoReading::of(root, outside, &marker, &mut digesting, caller.interrupt);
        let mut all = ReadArchives::default();
        let mut read = Ok(());
        for patch in self.applied.iter() {
            let is_named = named.contains(&patch.id);
            if !is_all && !is_named && !is_cold(&patch.id) {
                continue;
            }
            read = self.read_patch(&mut reading, (&patch.id, is_named), &patch.packages, &mut all);
            if read.is_err() {
                break;
            }
        }
        // A digest mismatch explains any defect found.
        wait_for(digesting, caller.interrupt)?;
        read.map(|()| all)
    }

    fn read_patch<'p>(
        &self,
        reading: &mut UndoReading<'_>,
        (id, is_named): (&PatchId, bool),
        packages: impl IntoIterator<Item = &'p PkgInst>,
        all: &mut ReadArchives,
    ) -> Result<(), Failure> {
        let view = RecordView::live(&self.ground.root);
        let mut missing = None;
        let before = all.archives.len();
        for package in packages {
            let name = installed::saved_as(&view, package, id)?;
            let ledger = self.ledgers.of(&view, package)?;
            let reader = self.ground.undo_data(&view, self.request.undo_dir.as_deref());
            match reader.find_with(package, &name, &ledger) {
                Err(error @ ArchiveError::Missing { .. }) => missing = Some(error),
                Err(error @ (ArchiveError::Lost { .. } | ArchiveError::Exported { .. })) if !is_named => {
                    missing = Some(error);
                }
                found => self.read_archive(reading, (id, package, name), &found?, all)?,
            }
        }
        match missing {
            Some(error) if is_named && all.archives.len() == before => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn read_archive(
        &self,
        reading: &mut UndoReading<'_>,
        (id, package, name): (&PatchId, &PkgInst, String),
        found: &UndoData,
        all: &mut ReadArchives,
    ) -> Result<(), Failure> {
        let view = RecordView::live(&self.ground.root);
        let from = found.format();
        let verdict = if found.is_classic() {
            RepackVerdict::Foreign
        } else if found.snapshot(&view)?.is_some() {
            RepackVerdict::ByScripts
        } else if from == self.request.format {
            RepackVerdict::Unchanged
        } else {
            RepackVerdict::Planned
        };
        let (id, package) = (id.clone(), package.clone());
        if verdict.is_rewritten() {
            let saves = saves::saves(&view, &package).map_err(Failure::Database)?;
            let save = saves.get(&name).cloned().unwrap_or_default();
            let verified = reading.undo((&id, &package), found.try_clone()?, None)?;
            if verified.manifest.is_none() {
                return Err(verified.damaged("it has no manifest").into());
            }
            all.undo.push(ReadUndo { name, save, verified });
        }
        let before = found.size();
        all.archives.push(RepackedArchive { id, package, verdict, from, before, after: None });
        Ok(())
    }

    fn plan(&self, undo: &[ReadUndo], caller: &Caller<'_>) -> Result<Option<Plan>, Failure> {
        let Some(last) = undo.last() else { return Ok(None) };
        let name = Command::Repack.name();
        let mut plan = Plan::empty(name, caller.now.trailer("patchadm", &last.verified.package));
        for (index, one) in undo.iter().enumerate() {
            let (verified, patch) = (&one.verified, one.name.clone());
            let no_manifest = || verified.damaged("it has no manifest");
            let manifest = verified.manifest.as_ref().ok_or_else(no_manifest)?;
            let archive = Some(verified.as_later(index).ok_or_else(no_manifest)?);
            let later = LaterUndo { package: &verified.package, patch, manifest, archive };
            repack(&mut plan, &later, &one.save, self.request.format)
                .map_err(|reason| reason.of(Command::Repack, &verified.patch))?;
            plan.notes.extend(verified.stays.clone());
            let id = verified.patch.to_string();
            if !plan.patches.contains(&id) {
                plan.patches.push(id);
            }
        }
        Ok(Some(plan))
    }

    fn measure(&self, archives: &mut [RepackedArchive]) -> Result<(), Failure> {
        let view = RecordView::live(&self.ground.root);
        let reader = self.ground.undo_data(&view, None);
        for archive in archives.iter_mut().filter(|archive| archive.verdict.is_rewritten()) {
            let name = installed::saved_as(&view, &archive.package, &archive.id)?;
            archive.verdict = RepackVerdict::Repacked;
            archive.after = Some(reader.find(&archive.package, &name)?.size());
        }
        Ok(())
    }
}
