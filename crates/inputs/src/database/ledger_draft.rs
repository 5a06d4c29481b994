//! The ledgers after a run: lines that stay, and new ones, which are known once the undo archives are written.

use std::collections::BTreeMap;
use std::path::Path;

use patchadm_changeset::transaction::{Cause, VerifiedArchive, host_path};
use patchadm_changeset::transaction::{LedgerDraft, LedgerInput, Ledgers};

use super::ledger::{self, LedgerFault, PatchRecordsByName, retain_counting};
use super::undo_data::{ArchiveError, OutsideAccess, UndoReader};
use super::{RecordView, installed, places};
use crate::format::ledger::{Ledger, LedgerLine, LedgerUndo, UndoLocation, WhyNone};
use patchadm_changeset::plan::{
    BroughtLine, LedgerChange, LedgerPatch, LedgerRewrite, Plan, RecordChange, RewrittenArchive, TreeContent,
    UndoPlace,
};
use patchadm_rootfs::{Digest, FileType, Root, never};
use patchadm_svr4::format::params;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};

const KEPT_SCRIPTS: [&str; 2] = ["prebackout", "postbackout"];

#[derive(Clone, Copy, Debug)]
pub struct RootLedgers;

impl Ledgers for RootLedgers {
    fn draft<'p>(
        &self,
        root: &Root,
        plan: &Plan,
        change: &'p LedgerChange,
    ) -> Result<Option<Box<dyn LedgerDraft + 'p>>, Cause> {
        let draft = RootLedgerDraft::of(root, plan, change)?;
        Ok(draft.map(|draft| Box::new(draft) as Box<dyn LedgerDraft + 'p>))
    }
}

#[derive(Debug)]
struct RootLedgerDraft<'p> {
    change: &'p LedgerChange,
    kept: Ledger,
    params: Option<Params>,
    /// Patches whose archives another tool made and the run moves.
    classic: Vec<String>,
    is_there: bool,
}

impl<'p> RootLedgerDraft<'p> {
    fn of(root: &Root, plan: &Plan, change: &'p LedgerChange) -> Result<Option<Self>, Cause> {
        let view = RecordView::live(root);
        let is_there = view.look(&change.path)?.is_some_and(|seen| seen.file_type == FileType::Regular);
        let params = params_after(&view, plan, &change.package)?;
        // A ledger that is removed or rewritten may be damaged.
        let before = if params.is_none() || change.is_anew {
            Ledger::default()
        } else {
            ledger::read(&view, &change.package).map_err(cause)?
        };
        let mut kept = before.clone();
        retain_counting(&mut kept, params.as_ref());
        let classic = match &params {
            Some(params) => moved_classics(&view, plan, &kept, change, params)?,
            None => Vec::new(),
        };
        let draft = Self { change, kept, params, classic, is_there };
        let is_same = draft.kept == before && draft.brings_nothing() && !change.is_anew;
        let stays = if draft.params.is_none() { !is_there } else { is_same };
        Ok(Some(draft).filter(|_| !stays))
    }

    fn brings_nothing(&self) -> bool {
        let LedgerChange { applied, adopted, rewritten, brought, .. } = self.change;
        let is_none = applied.is_empty() && adopted.is_empty() && rewritten.is_empty();
        is_none && brought.is_empty() && self.classic.is_empty()
    }

    fn add_brought(&self, ledger: &mut Ledger, run: &str, brought: &BroughtLine) -> Result<(), Cause> {
        let read = Ledger::parse(&brought.text).map_err(|error| Cause::Internal(error.to_string()))?;
        let recorded = self.params.as_ref().and_then(|params| ledger::info(params, &brought.patch));
        let line = read.line(&brought.patch).filter(|line| recorded == Some(line.info));
        let line = line.ok_or_else(|| {
            Cause::Internal(format!("patch {} has a line that does not count", brought.patch))
        })?;
        ledger.set(LedgerLine { run: run.to_owned(), applied_by: None, ..line.clone() });
        Ok(())
    }

    fn add(ledger: &mut Ledger, run: &str, source: &LedgerSources<'_>, patch: &str, undo: LedgerUndo) {
        if let Some(line) = Self::line(run, source, patch, undo) {
            ledger.set(line);
        }
    }

    /// Returns `None` if the package does not record the patch: the line would not count.
    fn line(run: &str, source: &LedgerSources<'_>, patch: &str, undo: LedgerUndo) -> Option<LedgerLine> {
        Some(LedgerLine {
            run: run.to_owned(),
            patch: patch.to_owned(),
            info: source.records.info(patch)?,
            undo,
            scripts: source.scripts(patch),
            snapshot: None,
            manifest: None,
            applied_by: None,
            is_adopted: false,
            native: None,
        })
    }
}

impl LedgerDraft for RootLedgerDraft<'_> {
    fn is_there(&self) -> bool {
        self.is_there
    }

    fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.brings_nothing()
    }

    fn bytes(&self, run: &str, written: &LedgerInput<'_>) -> Result<Vec<u8>, Cause> {
        let records = self.params.as_ref().map(PatchRecordsByName::of).unwrap_or_default();
        let source = &LedgerSources { written, records };
        let mut ledger = self.kept.clone();
        let package = &self.change.package;
        for patch in &self.classic {
            if let Some(undo) = source.found(package, patch, true)? {
                Self::add(&mut ledger, run, source, patch, undo);
            }
        }
        for archive in &self.change.adopted {
            let (b3, size) = (archive.b3, archive.size);
            let (undo, manifest) = match archive.place.clone() {
                Some(place) => {
                    (LedgerUndo::Kept { b3, size, files: archive.files, place, is_classic: false }, None)
                }
                None => (LedgerUndo::None(WhyNone::NoUndo), Some(b3)),
            };
            let known = self.kept.line(&archive.patch).map(|known| known.scripts.clone());
            if let Some(line) = Self::line(run, source, &archive.patch, undo) {
                let scripts = known.unwrap_or_default();
                let native = self.kept.line(&archive.patch).and_then(|known| known.native.clone());
                ledger.set(LedgerLine { scripts, manifest, native, is_adopted: true, ..line });
            }
        }
        for brought in &self.change.brought {
            self.add_brought(&mut ledger, run, brought)?;
        }
        for applied in &self.change.applied {
            let undo = source.undo_of(package, applied)?;
            if let Some(line) = Self::line(run, source, &applied.patch, undo) {
                let snapshot = source.digest_at(package, applied, &UndoPlace::Snapshot);
                let manifest = source.digest_at(package, applied, &UndoPlace::ManifestOnly);
                let native = applied.native.clone();
                ledger.set(LedgerLine { snapshot, manifest, native, ..line });
            }
        }
        for rewrite in &self.change.rewritten {
            let known = self.kept.line(&rewrite.patch).cloned();
            if let Some(line) = known.map(|line| source.rewritten(package, rewrite, line, run)).transpose()? {
                ledger.set(line);
            }
        }
        Ok(ledger.write())
    }
}

struct LedgerSources<'a> {
    written: &'a LedgerInput<'a>,
    records: PatchRecordsByName<'a>,
}

impl LedgerSources<'_> {
    fn undo_of(&self, package: &PkgInst, applied: &LedgerPatch) -> Result<LedgerUndo, Cause> {
        if let Some(kept) = self.kept_for(package, &applied.patch, "")? {
            return Ok(kept);
        }
        if applied.is_without_undo {
            return Ok(LedgerUndo::None(WhyNone::NoUndo));
        }
        // Scripts may have made the archive.
        Ok(self.found(package, &applied.patch, false)?.unwrap_or(LedgerUndo::None(WhyNone::NothingSaved)))
    }

    fn rewritten(
        &self,
        package: &PkgInst,
        rewrite: &LedgerRewrite,
        known: LedgerLine,
        run: &str,
    ) -> Result<LedgerLine, Cause> {
        let applied_by = Some(known.applied_by.clone().unwrap_or_else(|| known.run.clone()));
        let (undo, snapshot) = match self.kept_for(package, &rewrite.patch, run)? {
            Some(kept) => (kept, known.snapshot),
            None => match (rewrite.archive, known.archive(), known.exported()) {
                (RewrittenArchive::GivenUp, ..) => (LedgerUndo::None(WhyNone::Committed), None),
                (RewrittenArchive::Exported, Some((b3, size)), _) => {
                    (LedgerUndo::Exported { b3, size }, None)
                }
                (RewrittenArchive::Imported, _, Some((b3, size))) => {
                    let place = UndoLocation::Save;
                    (LedgerUndo::Kept { b3, size, files: None, place, is_classic: false }, None)
                }
                _ => (known.undo.clone(), known.snapshot),
            },
        };
        let written_at = |place: UndoPlace| {
            let (written, at) = self.written_for(package, &rewrite.patch)?;
            (at == place).then_some(written.b3)
        };
        let manifest = written_at(UndoPlace::ManifestOnly);
        let snapshot = written_at(UndoPlace::Snapshot).or(snapshot);
        let is_adopted = known.is_adopted || rewrite.is_adopted;
        Ok(LedgerLine { run: run.to_owned(), undo, snapshot, manifest, applied_by, is_adopted, ..known })
    }

    /// Returns the archive that `run` wrote, if it is ours.
    fn kept_for(&self, package: &PkgInst, patch: &str, run: &str) -> Result<Option<LedgerUndo>, Cause> {
        let Some((written, place)) = self.written_for(package, patch) else { return Ok(None) };
        let place = match place {
            UndoPlace::Save => UndoLocation::Save,
            UndoPlace::Remote(path) => UndoLocation::Host(host_path(&path)?.as_bytes().to_vec()),
            UndoPlace::Beside(_) => {
                let mut archives = self.written.plan.undo.iter();
                let undo = archives.find(|undo| undo.package == *package && undo.patch == patch);
                let Some(path) = undo.and_then(|undo| undo.outside(run)) else { return Ok(None) };
                UndoLocation::Host(host_path(&path)?.as_bytes().to_vec())
            }
            // The archive itself is then the one that scripts made.
            UndoPlace::Snapshot | UndoPlace::ManifestOnly => return Ok(None),
        };
        let VerifiedArchive { b3, size, files } = written;
        Ok(Some(LedgerUndo::Kept { b3, size, files, place, is_classic: false }))
    }

    fn written_for(&self, package: &PkgInst, patch: &str) -> Option<(VerifiedArchive, UndoPlace)> {
        let mut archives = self.written.plan.undo.iter().enumerate();
        let planned = archives.find(|(_, undo)| undo.package == *package && undo.patch == patch);
        let planned =
            planned.and_then(|(at, undo)| Some((*self.written.written.get(&at)?, undo.place.clone())));
        planned.or_else(|| self.written.saved.get(&(package.clone(), patch.to_owned())).cloned())
    }

    /// Returns the snapshot beside an archive made by scripts, or the manifest of a patch without undo data.
    fn digest_at(&self, package: &PkgInst, applied: &LedgerPatch, place: &UndoPlace) -> Option<Digest> {
        let (written, at) = self.written_for(package, &applied.patch)?;
        (at == *place).then_some(written.b3)
    }

    fn found(&self, package: &PkgInst, patch: &str, is_classic: bool) -> Result<Option<LedgerUndo>, Cause> {
        let host = self.written.root.elsewhere(Path::new("/"))?;
        let view = RecordView::live(self.written.root);
        let reader = UndoReader { view: &view, host: &host, outside: OutsideAccess::planned() };
        let Ok(found) = reader.find(package, patch) else { return Ok(None) };
        let archive =
            |error: ArchiveError| Cause::Archive { package: package.to_string(), reason: error.to_string() };
        let (b3, size) = found.digest(&never).map_err(archive)?;
        let place = found.location();
        Ok(Some(LedgerUndo::Kept { b3, size, files: None, place, is_classic }))
    }

    fn scripts(&self, patch: &str) -> BTreeMap<String, Digest> {
        let Ok(directory) = places::patches().join(patch.as_bytes()) else { return BTreeMap::new() };
        let scripts = KEPT_SCRIPTS.iter().filter_map(|name| {
            let text = kept_script(self.written.plan, &directory, name)?;
            Some(((*name).to_owned(), Digest::of(text)))
        });
        scripts.collect()
    }
}

fn kept_script<'p>(plan: &'p Plan, directory: &ObjectPath, name: &str) -> Option<&'p [u8]> {
    plan.records.iter().find_map(|record| match record {
        RecordChange::AddTree { path, files } if path == directory => {
            let file = files.iter().find(|file| file.name == name.as_bytes())?;
            match &file.content {
                TreeContent::Bytes(bytes) => Some(bytes.as_slice()),
                _ => None,
            }
        }
        RecordChange::Write { path, bytes, .. } => {
            let is_it = path.parent().as_ref() == Some(directory) && path.name() == name.as_bytes();
            is_it.then_some(bytes.as_slice())
        }
        _ => None,
    })
}

fn params_after(view: &RecordView<'_>, plan: &Plan, package: &PkgInst) -> Result<Option<Params>, Cause> {
    let (directory, pkginfo) = (places::package(package), places::pkginfo(package));
    for record in plan.records.iter().rev() {
        match record {
            RecordChange::RemoveTree(path) if *path == directory => return Ok(None),
            RecordChange::Write { path, bytes, .. } if *path == pkginfo => {
                let read = params::parse(bytes).map_err(|error| Cause::Internal(error.to_string()))?;
                return Ok(Some(read));
            }
            _ => {}
        }
    }
    installed::params(view, package).map_err(|error| cause(error.into()))
}

fn moved_classics(
    view: &RecordView<'_>,
    plan: &Plan,
    kept: &Ledger,
    change: &LedgerChange,
    params: &Params,
) -> Result<Vec<String>, Cause> {
    let saves = places::save(&change.package);
    let host = view.root().elsewhere(Path::new("/"))?;
    let is_classic = |patch: &str| {
        let reader = UndoReader { view, host: &host, outside: OutsideAccess::default() };
        reader
            .find(&change.package, patch)
            .and_then(|found| found.manifest())
            .is_ok_and(|manifest| manifest.is_none())
    };
    let moved = plan.records.iter().filter_map(|record| match record {
        RecordChange::Move { from, .. } => {
            let save = from.parent().filter(|save| save.parent().as_ref() == Some(&saves))?;
            String::from_utf8(save.name().to_vec()).ok()
        }
        _ => None,
    });
    let recorded = PatchRecordsByName::of(params);
    let unknown = moved.filter(|patch| kept.line(patch).is_none() && recorded.info(patch).is_some());
    Ok(unknown.filter(|patch| is_classic(patch)).collect())
}

fn cause(fault: LedgerFault) -> Cause {
    match fault {
        LedgerFault::View(error) => error.into(),
        other => Cause::Ledger(Box::new(other)),
    }
}
