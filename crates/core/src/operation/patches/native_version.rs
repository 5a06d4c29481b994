//! The native version of an adopted package that a patch was applied to.

use crate::operation::failure::Failure;
use patchadm_inputs::database::history::readable_history;
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::native::{NativeOrigin, NativeRegistration};
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

/// Returns the native version that a patch was applied to; `None` if that is not known, or the package was not adopted from
/// dpkg or rpm. `known` is what the ledger says. Its lines of an earlier form say nothing: the version is then the registered
/// one, unless a refresh has followed another version since.
pub(super) fn patched_version(
    view: &RecordView<'_>,
    package: &PkgInst,
    id: &PatchId,
    known: Option<&str>,
) -> Result<Option<String>, Failure> {
    if let Some(known) = known {
        return Ok(Some(known.to_owned()));
    }
    let params = installed::params(view, package)?;
    let Some(params) = params.filter(|params| NativeOrigin::of(params).is_some()) else { return Ok(None) };
    let history = readable_history(view);
    let is_application = |patches: &[String]| patches.iter().any(|patch| patch == id.as_str());
    let since =
        history.iter().rev().take_while(|entry| entry.result != "done" || !is_application(&entry.patches));
    let mut refreshed = since.flat_map(|entry| &entry.refreshed);
    let is_upgraded = refreshed
        .any(|record| record.package == package.as_str() && record.to.as_ref() != Some(&record.from));
    Ok((!is_upgraded).then(|| NativeRegistration::of(&params).version))
}
