//! `patchadm undo-data export` and `import`: undo archives that leave a root in a file, and come back.
//!
//! The file is durable before the root changes, in one run; undo data as files is packed first, in another run. The ledger
//! keeps digests: nothing in the file is trusted, and an archive comes back only if its patch is applied and the ledger has
//! its digest. The file stays.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::later_patches::LedgerCache;
use super::undo_change::{bad_id, begin_undo_change, named_patches};
use super::undo_drop::{GivenUp, GivenUpPatch, saved_file};
use super::undo_file::{NewUndoFile, UndoFileFault, read_undo_file};
use super::undo_repack::{RepackRequest, repack_within};
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, Session};
use crate::operation::trial::begin_change;
use patchadm_changeset::format::escaped::as_text;
use patchadm_changeset::format::manifest::KEPT_MANIFEST;
use patchadm_changeset::format::undo_sidecars::UndoDigest;
use patchadm_changeset::plan::UndoFormat;
use patchadm_changeset::transaction::{Receipt, Recovered, RootCondition};
use patchadm_inputs::database::undo_data::{ArchiveError, UndoData};
use patchadm_inputs::database::{RecordView, installed, marker, saves};
use patchadm_inputs::format::undo_export::{ExportTable, ExportedArchive, FoundArchive};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::{
    CopiedRecord, LedgerChange, LedgerRewrite, Plan, RecordChange, RewrittenArchive,
};
use patchadm_rootfs::{Digest, Interrupt, Root};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst, rule};
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MovedArchive {
    #[serde(serialize_with = "as_text")]
    pub id: PatchId,
    #[serde(serialize_with = "as_text")]
    pub package: PkgInst,
    pub verdict: MoveVerdict,
    #[serde(rename = "form")]
    pub format: UndoFormat,
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MoveVerdict {
    Exported,
    Imported,
    /// In its place already.
    Unchanged,
}

/// If one patch is refused, neither root nor file changes.
pub fn export_undo(
    root: &Root,
    request: &UndoExportRequest,
    caller: &Caller<'_>,
) -> Result<UndoExportReport, Failure> {
    let session = begin_undo_change(root, request.undo_dir.as_deref(), caller, begin_change)?;
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
        let named = named_patches(&self.request.ids, self.ground, &self.applied, Command::UndoExport)?;
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
                return bad("another tool made it, and only undo data of this program can be imported");
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
        let (format, bytes) = (found.format(), found.size());
        table.archives.push(ExportedArchive { package: package.clone(), format, line });
        let (id, verdict) = (id.clone(), MoveVerdict::Exported);
        Ok(MovedArchive { id, package: package.clone(), verdict, format, bytes })
    }
}

/// For archives and digest files.
const OWN: u32 = 0o600;

#[derive(Clone, Debug)]
pub struct UndoImportRequest {
    /// On the host.
    pub file: PathBuf,
    /// As typed; empty for everything in the file.
    pub ids: Vec<String>,
}

#[derive(Debug, Default)]
pub struct UndoImportReport {
    pub recovered: Recovered,
    /// In the order of the file.
    pub archives: Vec<MovedArchive>,
    /// `None` if all were there.
    pub receipt: Option<Receipt>,
}

/// If one archive is refused, nothing is changed.
pub fn import_undo(
    root: &Root,
    request: &UndoImportRequest,
    caller: &Caller<'_>,
) -> Result<UndoImportReport, Failure> {
    let session = begin_undo_change(root, None, caller, begin_change)?;
    let importing = Importing::of(&session.ground, request)?;
    let mut archives = Vec::new();
    let choose = |table: &ExportTable| {
        let mut wanted = Vec::new();
        for (archive, is_named) in table.archives.iter().zip(importing.named(table)?) {
            let moved = if is_named { Some(importing.moved(archive)?) } else { None };
            wanted.push(moved.as_ref().is_some_and(|moved| moved.verdict == MoveVerdict::Imported));
            archives.extend(moved);
        }
        Ok::<_, Failure>(wanted)
    };
    let read = read_undo_file(&session.ground.host, &request.file, choose, caller.interrupt);
    Failure::unless_interrupted(caller.interrupt)?;
    let (file, mut coming) = (read?, ComingUndo::default());
    for (archive, found) in &file.archives {
        if let Some(found) = found {
            importing.add(&mut coming, &file.at, archive, *found)?;
        }
    }
    let receipt = match coming.into_plan(&archives, caller) {
        Some(plan) => Some(session.perform(&plan, &mut NoContent, None, String::new())?),
        None => None,
    };
    Ok(UndoImportReport { recovered: session.recovered, archives, receipt })
}

struct Importing<'a> {
    ground: &'a RootAndPolicy,
    request: &'a UndoImportRequest,
    applied: AppliedPatches,
    ledgers: LedgerCache,
}

#[derive(Default)]
struct ComingUndo {
    records: Vec<RecordChange>,
    ledgers: BTreeMap<PkgInst, LedgerChange>,
}

impl<'a> Importing<'a> {
    fn of(ground: &'a RootAndPolicy, request: &'a UndoImportRequest) -> Result<Self, Failure> {
        let applied = ground.recorded(&ground.packages()?)?;
        Ok(Self { ground, request, applied, ledgers: LedgerCache::default() })
    }

    /// The file must be of this root.
    fn named(&self, table: &ExportTable) -> Result<Vec<bool>, Failure> {
        let own = marker(&self.ground.root)?;
        if !rule::holds("export.root", own.as_ref() == Some(&table.root)) {
            let (path, marker) = (self.request.file.clone(), table.root.clone());
            return Err(UndoFileFault::OtherRoot { path, marker }.into());
        }
        let separator = &self.ground.policy.separator;
        let mut named = Vec::new();
        for text in &self.request.ids {
            let id = PatchId::parse(text, separator);
            let id = id.map_err(|error| bad_id(&error, text, separator, self.applied.iter()))?;
            let is_of = |archive: &ExportedArchive| {
                PatchId::parse(&archive.line.patch, separator).as_ref() == Ok(&id)
            };
            if !table.archives.iter().any(is_of) {
                let (path, patch) = (self.request.file.clone(), id.to_string());
                return Err(UndoFileFault::NotInFile { path, patch }.into());
            }
            named.push(id);
        }
        let is_named = |archive: &ExportedArchive| {
            let id = PatchId::parse(&archive.line.patch, separator);
            named.is_empty() || id.is_ok_and(|id| named.contains(&id))
        };
        Ok(table.archives.iter().map(is_named).collect())
    }

    /// Compares a line of the table with the ledger, before the archive is read.
    fn moved(&self, archive: &ExportedArchive) -> Result<MovedArchive, Failure> {
        let (package, line) = (&archive.package, &archive.line);
        let not_waiting = |reason| {
            let (patch, package) = (line.patch.clone(), package.clone());
            Failure::from(UndoFileFault::NotExported { patch, package, reason })
        };
        let id = PatchId::parse(&line.patch, &self.ground.policy.separator).ok();
        let known = id.and_then(|id| self.applied.get(&id)).filter(|known| known.packages.contains(package));
        let id = &known.ok_or_else(|| not_waiting("the patch is not applied to it"))?.id;
        let view = RecordView::live(&self.ground.root);
        let name = installed::saved_as(&view, package, id)?;
        let ledger = self.ledgers.of(&view, package)?;
        let own = ledger.line(&name).ok_or_else(|| not_waiting("the ledger does not list the patch"))?;
        let said = line.archive().ok_or_else(|| not_waiting("the file does not name one"))?;
        let moved = |verdict| MovedArchive {
            id: id.clone(),
            package: package.clone(),
            verdict,
            format: archive.format,
            bytes: said.1,
        };
        if own.archive() == Some(said) {
            return Ok(moved(MoveVerdict::Unchanged));
        }
        if own.archive().is_some() {
            return Err(not_waiting("it has different undo data for it"));
        }
        let exported = own.exported().ok_or_else(|| not_waiting("it did not export any"))?;
        if exported != said {
            let (path, patch) = (self.request.file.clone(), line.patch.clone());
            let (package, run) = (package.clone(), line.run.clone());
            return Err(UndoFileFault::OtherRun { path, patch, package, run }.into());
        }
        Ok(moved(MoveVerdict::Imported))
    }

    /// For a line that agrees with the ledger.
    fn add(
        &self,
        coming: &mut ComingUndo,
        at: &ObjectPath,
        archive: &ExportedArchive,
        found: FoundArchive,
    ) -> Result<(), Failure> {
        let (package, patch) = (&archive.package, &archive.line.patch);
        let (b3, size) = archive.line.archive().unwrap_or((found.b3, 0));
        if !rule::holds("export.digest", found.b3 == b3) {
            let (path, patch, package) = (self.request.file.clone(), patch.clone(), package.clone());
            return Err(UndoFileFault::Damaged { path, patch, package }.into());
        }
        let id = PatchId::parse(patch, &self.ground.policy.separator).ok();
        let Some(known) = id.and_then(|id| self.applied.get(&id)) else { return Ok(()) };
        let view = RecordView::live(&self.ground.root);
        let name = installed::saved_as(&view, package, &known.id)?;
        let (tree, path) = (self.ground.host.clone(), at.clone());
        let copied = CopiedRecord { tree, path, from: found.from, size, b3 };
        coming.add(&view, (package, &name), archive, copied)
    }
}

impl ComingUndo {
    fn add(
        &mut self,
        view: &RecordView<'_>,
        (package, name): (&PkgInst, &str),
        archive: &ExportedArchive,
        copied: CopiedRecord,
    ) -> Result<(), Failure> {
        let at = |file: &str| saved_file(package, name, file);
        let save = saves::saves(view, package).map_err(Failure::Database)?.remove(name).unwrap_or_default();
        let stem = if save.obsoleted_by.is_some() { "obsolete" } else { "undo" };
        let suffix = archive.format.suffix();
        let bytes = digest_line(copied.b3, &format!("undo{suffix}"), &archive.line.run);
        let (path, mode) = (at(&format!("{stem}{suffix}"))?, Mode::of(OWN));
        self.records.push(RecordChange::Copy { path, copied: Box::new(copied), mode });
        self.records.push(RecordChange::Write { path: at("undo.b3")?, bytes, mode, mtime: None });
        let kept = at(KEPT_MANIFEST)?;
        if view.look(&kept).map_err(ArchiveError::from)?.is_some() {
            self.records.push(RecordChange::RemoveFile(kept));
        }
        let change = self.ledgers.entry(package.clone()).or_insert_with(|| LedgerChange::of(package));
        let (patch, archive) = (name.to_owned(), RewrittenArchive::Imported);
        change.rewritten.push(LedgerRewrite { patch, archive, is_adopted: false });
        Ok(())
    }

    /// `None` if all archives are there.
    fn into_plan(self, archives: &[MovedArchive], caller: &Caller<'_>) -> Option<Plan> {
        let packages: Vec<PkgInst> = self.ledgers.keys().cloned().collect();
        let trailer = caller.now.trailer("patchadm", packages.last()?);
        let mut patches: Vec<String> = Vec::new();
        let coming = archives.iter().filter(|archive| archive.verdict != MoveVerdict::Unchanged);
        for id in coming.map(|archive| archive.id.to_string()) {
            if !patches.contains(&id) {
                patches.push(id);
            }
        }
        let ledgers = self.ledgers.into_values().map(RecordChange::Ledger);
        let records = self.records.into_iter().chain(ledgers).collect();
        Some(Plan { patches, packages, records, ..Plan::empty(Command::UndoImport.name(), trailer) })
    }
}

/// A digest beside the archive, for people.
fn digest_line(b3: Digest, name: &str, run: &str) -> Vec<u8> {
    UndoDigest { b3, name: name.as_bytes().to_vec(), run: run.to_owned() }.write()
}
