//! The environment of the scripts of one package, made from what the command knows.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::runner::ScriptRunner;
use crate::script::environment::{EnvironmentInput, ProcedureScript, ScriptOrigin, environment};
use crate::script::search_path;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::places;

/// The knowledge of a command about a package whose scripts it runs; the same for installation, removal and patches.
#[derive(Clone, Debug)]
pub(crate) struct ScriptContext {
    /// The parameters of the package: the delivered ones, with the future CLASSES and BASEDIR; at a removal, the installed
    /// ones.
    pub(crate) package: Params,
    /// In an update, the parameters of the installed instance.
    pub(crate) installed: Option<Params>,
    /// The answers so far.
    pub(crate) response: Params,
    pub(crate) instance: PkgInst,
    /// The directory of relocatable objects, without the root.
    pub(crate) base: Option<ObjectPath>,
    /// The directory that holds the package directory; `None` at a removal.
    pub(crate) data_directory: Option<PathBuf>,
    /// The date of the installation, from preinstall on.
    pub(crate) install_date: Option<String>,
    /// Whether preinstall or preremove has run.
    pub(crate) has_begun: bool,
    /// The name of the run, once there is one.
    pub(crate) run: Option<String>,
}

impl ScriptContext {
    /// Returns the context of a package for which only its parameters and its place are known.
    pub(crate) fn new(instance: PkgInst, package: Params, base: Option<ObjectPath>) -> Self {
        Self {
            package,
            installed: None,
            response: Params::new(),
            instance,
            base,
            data_directory: None,
            install_date: None,
            has_begun: false,
            run: None,
        }
    }

    /// Adopts the decisions about the installation of a package: its place, and the time from which it is there.
    pub(crate) fn settle(&mut self, delivered: &Params, params: &Params) {
        self.package = delivered_as_placed(delivered, params);
        self.base = base_of(params);
        self.install_date = Some(params.text("INSTDATE").into_owned());
    }

    /// Returns the environment of a script that comes from `origin`.
    pub(crate) fn environment(
        &self,
        runner: &ScriptRunner<'_>,
        script: &ProcedureScript,
        origin: ScriptOrigin,
    ) -> Vec<(OsString, OsString)> {
        let path = search_path(runner.shop.tools());
        let basis = EnvironmentInput {
            package: &self.package,
            installed: self.installed.as_ref(),
            response: &self.response,
            instance: &self.instance,
            root: runner.ground.root.prefix(),
            base: self.base.as_ref(),
            data_directory: self.data_directory.as_deref(),
            temporary: runner.shop.directory(),
            install_date: self.install_date.as_deref(),
            has_begun: self.has_begun,
            locale: runner.locale,
            path: &path,
            run: self.run.as_deref(),
        };
        environment(&basis, script, origin)
    }

    /// Returns the directory of installed scripts below the root `prefix`.
    pub(crate) fn installed_scripts(&self, prefix: &Path) -> PathBuf {
        prefix.join(OsStr::from_bytes(places::package_scripts(&self.instance).relative()))
    }

    /// Returns the directory in which scripts start: the one that contains them, or for a package without its own, the one
    /// above.
    pub(crate) fn working_directory(&self, prefix: &Path) -> PathBuf {
        let scripts = self.installed_scripts(prefix);
        match scripts.parent() {
            Some(above) if !scripts.is_dir() => above.to_owned(),
            _ => scripts,
        }
    }
}

/// Returns the parameters that scripts receive: the place of the package, and all others as delivered, including its own
/// classes.
pub(crate) fn delivered_as_placed(delivered: &Params, placed: &Params) -> Params {
    let mut package = delivered.clone();
    if let Some(value) = placed.get("BASEDIR") {
        package.set("BASEDIR", value);
    }
    package
}

/// Returns the directory of relative paths, by the parameters of a package.
pub(crate) fn base_of(params: &Params) -> Option<ObjectPath> {
    params.get("BASEDIR").map(<[u8]>::trim_ascii).and_then(|path| ObjectPath::new(path).ok())
}
