//! `pkgadd -s`: copies packages into a spool directory.

use std::path::{Path, PathBuf};

use crate::classic::pkgtrans::transfer;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::Reply;
use patchadm_core::operation::device;
use patchadm_core::operation::translate::{ExistingPolicy, TransferDestination, TranslateRequest};

/// Uses the reports and codes of pkgtrans(1).
pub(super) fn run(
    call: &mut Invocation,
    spool: &Path,
    device: PathBuf,
    packages: Vec<String>,
    categories: Vec<String>,
) -> anyhow::Result<Reply> {
    let to = TransferDestination::Directory(device::named(spool));
    let existing = ExistingPolicy::Refuse;
    let request = TranslateRequest { to, device, packages, categories, existing, description_only: false };
    transfer(call, request)
}
