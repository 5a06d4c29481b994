//! What a patch that stays takes over of parameters and record files, in its undo data: as if it had found them itself.

use std::collections::BTreeMap;

use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::ManifestHeader;
use patchadm_svr4::format::params;
use patchadm_svr4::package::{Params, PkgInst};

use crate::plan::parameters::is_restored;
use crate::plan::patch::handing_down::{RecordsFound, TakenRecords};
use crate::plan::refusal::Reason;

/// Enters the parameters into those of the backout package.
pub(super) fn into_pkginfo(taken: &TakenRecords, pkginfo: &mut Params) {
    set(pkginfo, taken.parameters.iter().filter(|(name, _)| is_restored(name)));
}

/// Enters parameters and record files into the saved files of the package's directory.
pub(super) fn into_records(
    taken: &TakenRecords,
    package: &PkgInst,
    records: &mut BTreeMap<Vec<u8>, RecordFile>,
) -> Result<(), Reason> {
    if let Some(saved) = records.get_mut(&b"pkginfo"[..])
        && !taken.parameters.is_empty()
    {
        let read = params::ParamFile::parse(&saved.bytes).map_err(|error| Reason::BadUndoData {
            package: package.clone(),
            reason: format!("the saved pkginfo: {error}"),
        })?;
        let mut params = read.params();
        set(&mut params, taken.parameters.iter());
        saved.bytes = params::write(&params).into();
    }
    for (name, file) in &taken.records {
        match file {
            Some(file) => drop(records.insert(name.clone(), file.clone())),
            None => drop(records.remove(name)),
        }
    }
    Ok(())
}

/// Enters into the manifest which record files the patch found and which it made.
pub(super) fn into_header(taken: &RecordsFound, header: &mut ManifestHeader) {
    for (name, file) in taken {
        let Ok(name) = String::from_utf8(name.clone()) else { continue };
        header.made_records.retain(|known| *known != name);
        if let Some(found) = &mut header.records {
            found.retain(|known| *known != name);
            if file.is_some() {
                found.push(name.clone());
                found.sort();
            }
        }
        if file.is_none() {
            header.made_records.push(name);
        }
    }
    header.made_records.sort();
}

fn set<'t>(params: &mut Params, values: impl Iterator<Item = (&'t String, &'t Option<Vec<u8>>)>) {
    for (name, value) in values {
        match value {
            Some(value) => params.set(name, value.clone()),
            None => params.remove(name),
        }
    }
}
