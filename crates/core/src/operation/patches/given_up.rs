//! Undo data that leaves a root, deleted or exported: only the manifest and the list of paths stay, for neighboring
//! patches.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy};
use crate::operation::space::stored_space;
use patchadm_changeset::format::manifest::{KEPT_MANIFEST, UndoManifest};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::undo_data::{ArchiveError, OldRecords, UndoData, UndoReader};
use patchadm_inputs::format::ledger::SNAPSHOT;
use patchadm_inputs::inventory::Save;
use patchadm_planning::plan::patch::backout_records::info_of_others;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::{
    LedgerChange, LedgerRewrite, Plan, RecordChange, RewrittenArchive, UndoArchive, UndoPart,
};
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::format::params;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

pub(super) struct GivenUp {
    archive: RewrittenArchive,
    records: Vec<RecordChange>,
    undo: Vec<UndoArchive>,
    discard: Vec<PathBuf>,
    notes: Vec<String>,
    ledgers: BTreeMap<PkgInst, LedgerChange>,
}

#[derive(Clone, Copy)]
pub(super) struct GivenUpPatch<'a> {
    pub(super) command: Command,
    pub(super) id: &'a PatchId,
    pub(super) package: &'a PkgInst,
    pub(super) name: &'a str,
}

impl GivenUp {
    pub(super) fn to(archive: RewrittenArchive) -> Self {
        Self {
            archive,
            records: Vec::new(),
            undo: Vec::new(),
            discard: Vec::new(),
            notes: Vec::new(),
            ledgers: BTreeMap::new(),
        }
    }

    /// Compares bytes with the ledger. Returns bytes, with old files.
    pub(super) fn take(
        &mut self,
        ground: &RootAndPolicy,
        reader: &UndoReader<'_>,
        of: GivenUpPatch<'_>,
        save: &Save,
        found: UndoData,
        interrupt: Interrupt<'_>,
    ) -> Result<u64, Failure> {
        let view = RecordView::live(&ground.root);
        let size = if found.is_remote() {
            found.allocated().unwrap_or_else(|_| found.size())
        } else {
            save.allocated
        };
        let stays = found.why_it_stays(&ground.root, &reader.outside);
        if found.is_remote() && stays.is_none() {
            self.discard.push(PathBuf::from(found.path()));
        }
        self.notes.extend(stays);
        let found = found.telling(&view)?;
        let manifest = found.bound_manifest(interrupt)?.ok_or_else(|| {
            let reason = "another program made it, and nothing else records the paths of the patch";
            let (package, reason) = (of.package.clone(), reason.to_owned());
            Reason::BadUndoData { package, reason }.of(of.command, of.id)
        })?;
        let records = found.records(&manifest)?;
        let stored = stored_space(&ground.root, &manifest)?;
        let manifest = with_patch_info(manifest, &records);
        self.add(&ground.root, of.package, of.name, save, manifest)?;
        Ok(size.saturating_add(stored))
    }

    /// `None` if there is no undo data.
    pub(super) fn into_plan(
        self,
        command: Command,
        patches: Vec<String>,
        caller: &Caller<'_>,
    ) -> Option<Plan> {
        let packages: Vec<PkgInst> = self.ledgers.keys().cloned().collect();
        let last = packages.last()?;
        let ledgers = self.ledgers.into_values().map(RecordChange::Ledger);
        let empty = Plan::empty(command.name(), caller.now.trailer("patchadm", last));
        Some(Plan {
            patches,
            packages,
            records: self.records.into_iter().chain(ledgers).collect(),
            undo: self.undo,
            discard: self.discard,
            notes: self.notes,
            ..empty
        })
    }

    fn add(
        &mut self,
        root: &Root,
        package: &PkgInst,
        name: &str,
        save: &Save,
        manifest: UndoManifest,
    ) -> Result<(), Failure> {
        let at = |file: &str| saved_file(package, name, file);
        let (view, archive) = (RecordView::live(root), self.undo.len());
        let parts = [(KEPT_MANIFEST, UndoPart::Manifest), ("undo.paths", UndoPart::Paths)];
        for (file, part) in parts {
            self.records.push(RecordChange::Undo { path: at(file)?, archive, part });
        }
        let files = save.archive.iter().map(String::as_str);
        let files = files.chain(save.remote.as_ref().map(|_| "remote"));
        for file in files.chain(["undo.b3"]) {
            let path = at(file)?;
            if view.look(&path).map_err(ArchiveError::from)?.is_some() {
                self.records.push(RecordChange::RemoveFile(path));
            }
        }
        let snapshot = SNAPSHOT.split_once('/').map_or(SNAPSHOT, |(directory, _)| directory);
        if root.list(&at(snapshot)?)?.is_some() {
            self.records.push(RecordChange::RemoveTree(at(snapshot)?));
        }
        let change = self.ledgers.entry(package.clone()).or_insert_with(|| LedgerChange::of(package));
        let (patch, archive) = (name.to_owned(), self.archive);
        change.rewritten.push(LedgerRewrite { patch, archive, is_adopted: false });
        self.undo.push(kept(package, name, manifest));
        Ok(())
    }
}

pub(super) fn saved_file(package: &PkgInst, patch: &str, file: &str) -> Result<ObjectPath, Failure> {
    let save = places::save(package).join(patch.as_bytes());
    let path = save.and_then(|save| save.join(file.as_bytes()));
    path.map_err(|error| Failure::BadId(format!("{patch}: {error}")))
}

/// Adds lines about other patches from the saved pkginfo, which may be recorded nowhere else.
fn with_patch_info(mut manifest: UndoManifest, records: &OldRecords) -> UndoManifest {
    let saved = records.get(&b"pkginfo"[..]).and_then(|file| params::read(&file.bytes).ok());
    if let Some(saved) = saved {
        manifest.header.patch_info = info_of_others(&manifest, &saved);
    }
    manifest
}

/// Keeps the manifest without saved contents.
fn kept(package: &PkgInst, name: &str, mut manifest: UndoManifest) -> UndoArchive {
    for record in manifest.objects.iter_mut().chain(&mut manifest.shlibs) {
        record.member = None;
    }
    UndoArchive::manifest_only(package.clone(), name.to_owned(), manifest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_changeset::RecordFile;
    use patchadm_rootfs::Timestamp;
    use patchadm_svr4::package::Mode;

    #[test]
    fn the_manifest_that_stays_has_the_lines_of_the_pkginfo_that_goes() {
        let header = serde_json::json!({
            "manifest": 1, "patch": "300-01", "package": "X", "root": "0123456789abcdef",
            "obsoletes": [], "parameters": [], "made_records": [], "patch_info": {"200-01": "b"},
        });
        let header = serde_json::from_value(header).unwrap();
        let manifest = UndoManifest { header, objects: Vec::new(), shlibs: Vec::new() };
        let pkginfo = "PKG=X\nPATCHLIST=100-01 200-01\nPATCH_INFO_100-01=a\nPATCH_INFO_900-01=backed out\n";
        let file = RecordFile {
            bytes: Vec::from(pkginfo).into(),
            mode: Mode::of(0o644),
            mtime: Timestamp::whole(1),
        };
        let kept = with_patch_info(manifest, &BTreeMap::from([(b"pkginfo".to_vec(), file)]));
        let lines: Vec<String> =
            kept.header.patch_info.iter().map(|(id, text)| format!("{id} {text}")).collect();
        assert_eq!(lines, ["100-01 a", "200-01 b"]);
    }
}
