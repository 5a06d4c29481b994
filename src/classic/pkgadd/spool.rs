//! `pkgadd -s`: puts packages into a spool directory instead of installing them.

use std::path::PathBuf;

use super::{Exit, Invocation};
use crate::classic::pkgtrans::transfer;
use crate::operation::device;
use crate::operation::translate::{Destination, Existing, TranslateRequest};

/// Packages that are to be spooled.
pub(super) struct Spooling {
    pub(super) device: PathBuf,
    pub(super) spool: PathBuf,
    pub(super) packages: Vec<String>,
    pub(super) categories: Vec<String>,
}

/// Runs it, with the reports and codes of pkgtrans(1).
pub(super) fn run(call: &mut Invocation, spooling: Spooling, in_json: bool) -> anyhow::Result<Exit> {
    let Spooling { device: from, spool, packages, categories } = spooling;
    let request = TranslateRequest {
        to: Destination::Directory(device::named(&spool)),
        device: from,
        packages,
        categories,
        existing: Existing::Refuse,
        description_only: false,
    };
    transfer(call, request, in_json)
}
