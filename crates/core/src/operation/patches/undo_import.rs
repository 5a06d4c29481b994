//! `patchadm undo-data import`: restores archives from an export, in one run. Nothing in the file is trusted: an
//! archive comes back only if its patch is applied and the ledger has its digest. The file stays.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::given_up::saved_file;
use super::later_patches::LedgerCache;
use super::undo_export::MovedArchive;
use super::undo_file::{ReadUndoFile, UndoFileFault, read_undo_file};
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, may_change, must_agree, must_have_database};
use crate::operation::trial::begin::begin_change;
use patchadm_changeset::format::manifest::KEPT_MANIFEST;
use patchadm_changeset::format::undo_sidecars::UndoDigest;
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, installed, marker, saves};
use patchadm_inputs::format::undo_export::{ExportedArchive, FoundArchive};
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::{
    CopiedRecord, LedgerChange, LedgerRewrite, Plan, RecordChange, RewrittenArchive,
};
use patchadm_rootfs::{Digest, Root};
use patchadm_svr4::package::{Mode, PkgInst, rule};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

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
    must_have_database(root)?;
    may_change(root)?;
    let session = begin_change(RootAndPolicy::of(root)?, caller)?;
    must_agree(root, caller.interrupt, |_| false)?;
    let importing = Importing::of(&session.ground, request)?;
    let mut archives = Vec::new();
    let mut coming = ComingUndo::default();
    for (archive, found) in importing.wanted()? {
        archives.push(importing.add(&mut coming, archive, *found)?);
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
    file: ReadUndoFile,
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
        let file = read_undo_file(&ground.host, &request.file)?;
        let own = marker(&ground.root)?;
        if !rule::holds("export.root", own.as_ref() == Some(&file.marker)) {
            let (path, marker) = (request.file.clone(), file.marker);
            return Err(UndoFileFault::OtherRoot { path, marker }.into());
        }
        let applied = ground.recorded(&ground.packages()?)?;
        Ok(Self { ground, request, file, applied, ledgers: LedgerCache::default() })
    }

    fn wanted(&self) -> Result<Vec<&(ExportedArchive, FoundArchive)>, Failure> {
        let separator = &self.ground.policy.separator;
        let mut named = Vec::new();
        for text in &self.request.ids {
            let id = PatchId::parse(text, separator);
            let id = id.map_err(|error| Failure::BadId(error.to_string()))?;
            let is_of = |archive: &ExportedArchive| {
                PatchId::parse(&archive.line.patch, separator).as_ref() == Ok(&id)
            };
            if !self.file.archives.iter().any(|(archive, _)| is_of(archive)) {
                let (path, patch) = (self.request.file.clone(), id.to_string());
                return Err(UndoFileFault::NotInFile { path, patch }.into());
            }
            named.push(id);
        }
        let is_wanted = |(archive, _): &&(ExportedArchive, FoundArchive)| {
            let id = PatchId::parse(&archive.line.patch, separator);
            named.is_empty() || id.is_ok_and(|id| named.contains(&id))
        };
        Ok(self.file.archives.iter().filter(is_wanted).collect())
    }

    fn add(
        &self,
        coming: &mut ComingUndo,
        archive: &ExportedArchive,
        found: FoundArchive,
    ) -> Result<MovedArchive, Failure> {
        let (package, line) = (&archive.package, &archive.line);
        let path = self.request.file.clone();
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
        let own = ledger.line(&name).ok_or_else(|| not_waiting("the ledger does not know the patch"))?;
        let said = line.archive().unwrap_or((found.b3, 0));
        let moved = |is_there| MovedArchive {
            id: id.clone(),
            package: package.clone(),
            format: archive.format,
            size: said.1,
            is_there,
        };
        if own.archive() == Some(said) {
            return Ok(moved(true));
        }
        if own.archive().is_some() {
            return Err(not_waiting("it has other undo data of it"));
        }
        let exported = own.exported().ok_or_else(|| not_waiting("it exported none"))?;
        if exported != said {
            let (patch, package, run) = (line.patch.clone(), package.clone(), line.run.clone());
            return Err(UndoFileFault::OtherRun { path, patch, package, run }.into());
        }
        if !rule::holds("export.digest", found.b3 == exported.0) {
            let (patch, package) = (line.patch.clone(), package.clone());
            return Err(UndoFileFault::Damaged { path, patch, package }.into());
        }
        let copied = CopiedRecord {
            tree: self.ground.host.clone(),
            path: self.file.at.clone(),
            from: found.from,
            size: exported.1,
            b3: exported.0,
        };
        coming.add(&view, (package, &name), archive, copied)?;
        Ok(moved(false))
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
        for id in archives.iter().filter(|archive| !archive.is_there).map(|archive| archive.id.to_string()) {
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
