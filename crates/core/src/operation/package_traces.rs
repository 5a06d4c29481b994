//! Traces of the patches of a package beside its pkginfo: lines of the ledger, undo archives, save directories, and the copy
//! of what was last delivered.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::failure::Failure;
use crate::operation::root_and_policy::RootAndPolicy;
use patchadm_changeset::format::manifest::{Manifest, decode};
use patchadm_inputs::database::undo_data::{OldRecords, UndoData};
use patchadm_inputs::database::{RecordView, ledger, places};
use patchadm_inputs::format::ledger::{Ledger, LedgerLine};
use patchadm_rootfs::Interrupt;
use patchadm_svr4::format::params::{self, LARGEST_FILE};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::PatchId;

/// The files of the spooled copy that matter here, in the directory of a package.
const SPOOLED: [&str; 2] = ["pkginfo", "pkgmap"];

/// The largest pkgmap that is read, in bytes: 1 GiB.
const LARGEST_MAP: u64 = 1 << 30;

/// The traces of the patches of a package.
pub(in crate::operation) struct PatchTraces {
    /// All lines of its ledger, whether they count or not; `None` if it cannot be read.
    pub(in crate::operation) ledger: Option<Ledger>,
    /// The patches that have a save directory, as it is named.
    pub(in crate::operation) saved: BTreeSet<String>,
    /// The old records in each archive that the ledger binds, by patch.
    pub(in crate::operation) archives: BTreeMap<String, OldRecords>,
    /// The values of `PATCH_INFO` of earlier patches in the manifests, by patch.
    pub(in crate::operation) patch_info: Vec<(String, Vec<u8>)>,
}

impl PatchTraces {
    /// Reads what is left, until a signal comes.
    pub(in crate::operation) fn of(
        ground: &RootAndPolicy,
        package: &PkgInst,
        interrupt: Interrupt<'_>,
    ) -> Result<Self, Failure> {
        let view = RecordView::live(&ground.root);
        let names = view.list(&places::save(package))?.unwrap_or_default();
        let names = names.into_iter().filter_map(|name| String::from_utf8(name).ok());
        let saved: BTreeSet<String> = names.filter(|name| PatchId::new(name).is_ok()).collect();
        let ledger = ledger::read(&view, package).ok();
        let (mut archives, mut patch_info) = (BTreeMap::new(), Vec::new());
        for line in ledger.iter().flat_map(Ledger::lines) {
            Failure::unless_interrupted(interrupt)?;
            let alone = Ledger::of_line(line.clone());
            let kept = ground.undo_data(&view, None).kept_manifest(package, &line.patch, &alone);
            let kept = kept.ok().flatten();
            let manifest = match bound_undo(ground, package, line, interrupt).filter(|_| kept.is_none()) {
                Some((undo, manifest)) => {
                    let records = undo.records(&manifest).ok();
                    archives.extend(records.map(|records| (line.patch.clone(), records)));
                    Some(manifest)
                }
                None => kept,
            };
            let told = manifest.into_iter().flat_map(|manifest| manifest.header.patch_info);
            patch_info.extend(told.map(|(id, value)| (id, decode(&value).into_owned())));
        }
        Failure::unless_interrupted(interrupt)?;
        Ok(Self { ledger, saved, archives, patch_info })
    }

    /// Returns the patches that the ledger or a save directory names.
    pub(in crate::operation) fn patches(&self) -> BTreeSet<PatchId> {
        let lines = self.ledger.iter().flat_map(Ledger::patches);
        lines.chain(&self.saved).filter_map(|name| PatchId::new(name).ok()).collect()
    }
}

/// Returns the undo data of a line, if it is what the line says, and no signal came.
pub(in crate::operation) fn bound_undo(
    ground: &RootAndPolicy,
    package: &PkgInst,
    line: &LedgerLine,
    interrupt: Interrupt<'_>,
) -> Option<(UndoData, Manifest)> {
    let view = RecordView::live(&ground.root);
    let alone = Ledger::of_line(line.clone());
    let undo = ground.undo_data(&view, None).find_with(package, &line.patch, &alone).ok()?;
    let undo = undo.telling(&view).ok()?;
    let manifest = undo.bound_manifest(interrupt).ok()??;
    Some((undo, manifest))
}

/// What was last delivered to a package: pkginfo and pkgmap of its spooled copy.
pub(in crate::operation) struct SpooledCopy {
    /// The parameters.
    pub(in crate::operation) params: Params,
    /// The bytes of the pkgmap.
    pub(in crate::operation) pkgmap: Vec<u8>,
}

/// The scripts whose answers become parameters.
const ANSWERING: [&[u8]; 2] = [b"request", b"checkinstall"];

impl SpooledCopy {
    /// Reads the existing copy; `None` if it is incomplete.
    pub(in crate::operation) fn of(
        ground: &RootAndPolicy,
        package: &PkgInst,
    ) -> Result<Option<Self>, Failure> {
        let view = RecordView::live(&ground.root);
        let mut files = Vec::new();
        for name in SPOOLED {
            let Ok(path) = places::package(package).join(&name_of(package, name)) else { return Ok(None) };
            let limit = if name == "pkgmap" { LARGEST_MAP } else { LARGEST_FILE as u64 };
            let Some(bytes) = view.read(&path, limit)? else { return Ok(None) };
            files.push(bytes);
        }
        let [pkginfo, pkgmap] = files.as_slice() else { return Ok(None) };
        Ok(Self::parse(pkginfo, pkgmap.clone()))
    }

    /// Returns the copy from before a patch: an archive of the patch has the files that it replaced.
    pub(in crate::operation) fn before(&self, package: &PkgInst, old: &OldRecords) -> Option<Self> {
        let [pkginfo, pkgmap] = SPOOLED.map(|name| old.get(&name_of(package, name)));
        if pkginfo.is_none() && pkgmap.is_none() {
            return None;
        }
        let params = match pkginfo {
            Some(file) => params::read(&file.bytes).ok()?,
            None => self.params.clone(),
        };
        Some(Self { params, pkgmap: pkgmap.map_or_else(|| self.pkgmap.clone(), |file| file.bytes.to_vec()) })
    }

    /// Returns whether the copy has scripts whose answers become parameters.
    pub(in crate::operation) fn has_answers(&self) -> bool {
        let map = Pkgmap::parse(&self.pkgmap);
        map.is_ok_and(|map| {
            map.entries
                .iter()
                .any(|entry| entry.is_information() && ANSWERING.contains(&entry.path.as_bytes()))
        })
    }

    fn parse(pkginfo: &[u8], pkgmap: Vec<u8>) -> Option<Self> {
        let params = params::read(pkginfo).ok().filter(|params| !params.is_empty())?;
        Some(Self { params, pkgmap })
    }
}

fn name_of(package: &PkgInst, name: &str) -> Vec<u8> {
    format!("save/pspool/{package}/{name}").into_bytes()
}
