//! `patchadm undo-data export`: moves undo archives from the root to a file. The file is durable before the root
//! changes, in one run. The ledger keeps digests, so that only these archives come back. Undo data as files is packed
//! first, in another run.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::given_up::{GivenUp, GivenUpPatch};
use super::later_patches::LedgerCache;
use super::repack::{RepackRequest, repack_within};
use super::undo_file::{NewUndoFile, UndoFileFault};
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database};
use crate::operation::trial::begin::begin_change;
use patchadm_changeset::plan::UndoFormat;
use patchadm_changeset::transaction::{Receipt, Recovered, RootCondition};
use patchadm_inputs::database::undo_data::{ArchiveError, UndoData};
use patchadm_inputs::database::{RecordView, installed, marker, saves};
use patchadm_inputs::format::undo_export::{ExportTable, ExportedArchive};
use patchadm_planning::plan::RewrittenArchive;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{AppliedPatches, PatchId};

#[derive(Clone, Debug)]
pub struct UndoExportRequest {
    /// As typed.
    pub ids: Vec<String>,
    /// On the host.
    pub file: PathBuf,
    /// Directory of moved archives outside the root.
    pub undo_dir: Option<PathBuf>,
}

#[derive(Debug, Default)]
pub struct UndoExportReport {
    pub recovered: Recovered,
    /// In the order of listings.
    pub archives: Vec<MovedArchive>,
    /// Bytes of the file.
    pub size: u64,
    pub receipt: Option<Receipt>,
}

/// An archive that leaves the root or comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedArchive {
    pub id: PatchId,
    pub package: PkgInst,
    pub format: UndoFormat,
    /// Bytes.
    pub size: u64,
    /// In its place already.
    pub is_there: bool,
}

/// If one patch is refused, neither root nor file changes.
pub fn export_undo(
    root: &Root,
    request: &UndoExportRequest,
    caller: &Caller<'_>,
) -> Result<UndoExportReport, Failure> {
    must_have_database(root)?;
    may_change(root)?;
    let ground = RootAndPolicy::of(root)?.naming(request.undo_dir.as_deref());
    let session = begin_change(ground, caller)?;
    must_agree(root, caller.interrupt, |_| false)?;
    let file = NewUndoFile::at(&request.file, root)?;
    let packed = pack_files(&session, request)?;
    let exporting = Exporting::of(&session.ground, request)?;
    let ids = exporting.named()?;
    let root_marker = marker(root)?.ok_or(UndoFileFault::NoMarker)?;
    let (mut undo, mut archives, mut table) =
        (Vec::new(), Vec::new(), ExportTable { root: root_marker, archives: Vec::new() });
    let mut given_up = GivenUp::to(RewrittenArchive::Exported);
    for (id, packages) in &ids {
        for (package, found) in exporting.found(id, packages)? {
            archives.push(exporting.take(
                &mut given_up,
                &mut table,
                (id, package),
                &found,
                caller.interrupt,
            )?);
            undo.push(found);
        }
    }
    let size = file.write(&table, &undo)?;
    let patches = ids.iter().map(|(id, _)| id.to_string()).collect();
    let plan = given_up.into_plan(Command::UndoExport, patches, caller);
    let performed = plan.map(|plan| session.perform(&plan, &mut NoContent, None, String::new())).transpose();
    if let Err(Failure::Transaction(error)) = &performed
        && matches!(error.left, RootCondition::Unchanged | RootCondition::RolledBack)
    {
        file.remove();
    }
    let receipt = performed?;
    let notes = packed.into_iter().flat_map(|receipt| receipt.notes).collect();
    Ok(UndoExportReport { recovered: session.recovered.with_notes(notes), archives, size, receipt })
}

/// Packs undo data whose old files lie in the root.
fn pack_files(session: &Session<'_>, request: &UndoExportRequest) -> Result<Option<Receipt>, Failure> {
    let exporting = Exporting::of(&session.ground, request)?;
    let mut ids = Vec::new();
    for (id, packages) in exporting.named()? {
        let found = exporting.found(&id, &packages)?;
        if found.iter().any(|(_, undo)| undo.format() == UndoFormat::Files) {
            ids.push(id.to_string());
        }
    }
    if ids.is_empty() {
        return Ok(None);
    }
    let (cold, format, undo_dir) = (None, UndoFormat::Gzip, request.undo_dir.clone());
    Ok(repack_within(session, &RepackRequest { ids, cold, format, undo_dir, dry_run: false })?.1)
}

struct Exporting<'a> {
    ground: &'a RootAndPolicy,
    request: &'a UndoExportRequest,
    applied: AppliedPatches,
    ledgers: LedgerCache,
}

impl<'a> Exporting<'a> {
    fn of(ground: &'a RootAndPolicy, request: &'a UndoExportRequest) -> Result<Self, Failure> {
        let applied = ground.recorded(&ground.packages()?)?;
        Ok(Self { ground, request, applied, ledgers: LedgerCache::default() })
    }

    fn named(&self) -> Result<Vec<(PatchId, Vec<PkgInst>)>, Failure> {
        let mut named = BTreeSet::new();
        for text in &self.request.ids {
            let id = PatchId::parse(text, &self.ground.policy.separator);
            let id = id.map_err(|error| Failure::BadId(error.to_string()))?;
            let known = self.applied.get(&id);
            named.insert(known.ok_or_else(|| Reason::NotApplied.of(Command::UndoExport, &id))?.id.clone());
        }
        let listed = self.applied.iter().filter(|patch| named.contains(&patch.id));
        Ok(listed.map(|patch| (patch.id.clone(), patch.packages.clone())).collect())
    }

    /// Fails unless a run of the root made it.
    fn found<'p>(
        &self,
        id: &PatchId,
        packages: &'p [PkgInst],
    ) -> Result<Vec<(&'p PkgInst, UndoData)>, Failure> {
        let view = RecordView::live(&self.ground.root);
        let (mut all, mut missing) = (Vec::new(), None);
        for package in packages {
            let name = installed::saved_as(&view, package, id)?;
            let ledger = self.ledgers.of(&view, package)?;
            let reader = self.ground.undo_data(&view, self.request.undo_dir.as_deref());
            let found = match reader.find_with(package, &name, &ledger) {
                Err(error @ ArchiveError::Missing { .. }) => {
                    missing.get_or_insert(error);
                    continue;
                }
                found => found?,
            };
            let bad = |reason: &str| {
                let (package, reason) = (package.clone(), reason.to_owned());
                Err(Reason::BadUndoData { package, reason }.of(Command::UndoExport, id).into())
            };
            if found.is_classic() {
                return bad("another tool made it, and only what this program made comes back by its digest");
            }
            if found.snapshot(&view)?.is_some() {
                return bad("the scripts of the patch made it, and it has more than one archive");
            }
            all.push((package, found));
        }
        match missing {
            Some(error) if all.is_empty() => Err(error.into()),
            _ => Ok(all),
        }
    }

    /// Moves undo data to the table.
    fn take(
        &self,
        given_up: &mut GivenUp,
        table: &mut ExportTable,
        (id, package): (&PatchId, &PkgInst),
        found: &UndoData,
        interrupt: Interrupt<'_>,
    ) -> Result<MovedArchive, Failure> {
        let view = RecordView::live(&self.ground.root);
        let name = installed::saved_as(&view, package, id)?;
        let save = saves::saves(&view, package).map_err(Failure::Database)?.remove(&name).unwrap_or_default();
        let line = self.ledgers.of(&view, package)?.line(&name).cloned();
        let line = line.ok_or_else(|| Reason::NoUndoData(package.clone()).of(Command::UndoExport, id))?;
        let reader = self.ground.undo_data(&view, self.request.undo_dir.as_deref());
        let of = GivenUpPatch { command: Command::UndoExport, id, package, name: &name };
        given_up.take(self.ground, &reader, of, &save, found.try_clone()?, interrupt)?;
        let (format, size) = (found.format(), found.size());
        table.archives.push(ExportedArchive { package: package.clone(), format, line });
        Ok(MovedArchive { id: id.clone(), package: package.clone(), format, size, is_there: false })
    }
}
