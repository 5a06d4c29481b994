//! The options of pkgadd(1M), and the input that its packages are planned with.

use std::path::PathBuf;

use crate::operation::libraries::LibraryRequest;
use crate::operation::scripts::ScriptSettings;
use crate::operation::session::{Caller, RootAndPolicy};
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_planning::plan::package::install::OfPatch;
use patchadm_planning::plan::scripts::SystemScripts;
use patchadm_svr4::format::admin::Admin;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};

/// The options and operands of pkgadd(1M).
#[derive(Clone, Debug, Default)]
pub struct AddRequest {
    /// The source of the packages: a directory of packages, one package, a datastream, an archive.
    pub device: PathBuf,
    /// The selected packages: names, `PKG.*`, `all`; all of them where nothing is named.
    pub packages: Vec<String>,
    /// Categories that narrow the selection, where there is one.
    pub categories: Vec<String>,
    /// The admin file: a path, a name below `var/sadm/install/admin` of the root, or `none`.
    pub admin: Option<PathBuf>,
    /// The response file, or a directory with one for each package; absolute.
    pub response: Option<PathBuf>,
    /// The environment that is recorded with a package: LANG, `LC_*`, TZ, PATH, OAMBASE.
    pub environment: Params,
    /// The symbolic links to directories in whose places the packages' directories go nevertheless.
    pub overridden: Vec<ObjectPath>,
    /// Whether the packages take the places of other versions of themselves (`--update`).
    pub update: bool,
    /// Whether somebody can be asked.
    pub conversation: bool,
    /// Whether request scripts read the standard input of the program, which is no terminal.
    pub reads_input: bool,
    /// Whether nothing may be asked at all (`-n`): a package that wants to ask is refused.
    pub silent: bool,
    /// The settings of scripts.
    pub scripts: ScriptSettings,
    /// What becomes of libraries that others need.
    pub shlibs: LibraryRequest,
}

/// The input of the planner, beside the packages themselves.
#[derive(Clone, Copy)]
pub(crate) struct AddInput<'a> {
    pub(crate) ground: &'a RootAndPolicy,
    pub(crate) admin: &'a Admin,
    /// The class action scripts that are there for all packages.
    pub(crate) system: &'a SystemScripts,
    /// The scripts that may run.
    pub(crate) policy: ScriptPolicy,
    pub(crate) request: &'a AddRequest,
    pub(crate) caller: &'a Caller<'a>,
    /// The patch as part of which the packages are installed.
    pub(crate) patch: Option<&'a OfPatch>,
    /// The packages, by abbreviation, whose damaged records stop nothing: the command makes them anew.
    pub(crate) mended: &'a [String],
    /// Whether the lock of the root is held.
    pub(crate) is_locked: bool,
}

impl<'a> AddInput<'a> {
    /// The input of packages that are installed for themselves, with the scripts that the root allows.
    pub(crate) fn new(
        ground: &'a RootAndPolicy,
        admin: &'a Admin,
        system: &'a SystemScripts,
        request: &'a AddRequest,
        caller: &'a Caller<'a>,
    ) -> Self {
        let policy = ground.policy.scripts;
        Self { ground, admin, system, policy, request, caller, patch: None, mended: &[], is_locked: false }
    }

    /// Whether the damaged record of a package stops nothing.
    pub(crate) fn mends(&self, package: &PkgInst) -> bool {
        self.mended.iter().any(|name| name == package.abbreviation())
    }
}
