//! A package whose record is damaged, found before it is installed over.

use crate::operation::failure::Failure;
use patchadm_inputs::database::{DatabaseError, RecordView, all, installed, ledger};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_inputs::inventory::Installed;
use patchadm_planning::plan::package::package_records::DamagedPackage;
use patchadm_rootfs::Root;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

/// What is left of a package whose pkginfo is damaged, or whose directory is gone while its ledger is there; none of a package
/// that is whole, or new.
pub(in crate::operation) fn damaged_package(
    root: &Root,
    package: &PkgInst,
) -> Result<Option<DamagedPackage>, Failure> {
    let view = RecordView::live(root);
    let names = view.list(&places::package(package))?;
    let reason = match all::params_of(&view, package) {
        Ok(None) if names.is_none() && view.look(&places::ledger(package))?.is_some() => {
            format!("{} is not there", root.show(&places::package(package)))
        }
        Ok(_) => return Ok(None),
        Err(DatabaseError::Damaged(damage)) => damage.to_string(),
        Err(error) => return Err(error.into()),
    };
    let mut installed = Installed::default();
    installed::records(&view, package, &mut installed)?;
    let saved = view.list(&places::save(package))?.unwrap_or_default();
    let saved = saved.into_iter().filter_map(|name| String::from_utf8(name).ok());
    let saved: Vec<String> = saved.filter(|name| PatchId::new(name).is_ok()).collect();
    let ledger = ledger::read(&view, package).ok();
    let known = ledger.iter().flat_map(Ledger::patches).cloned();
    let mut ended: Vec<String> = known.collect();
    ended.extend(saved.iter().filter(|name| !ended.contains(name)).cloned().collect::<Vec<_>>());
    Ok(Some(DamagedPackage { reason, is_there: names.is_some(), installed, saved, ended }))
}
