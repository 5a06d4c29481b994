//! What the scripts of one package are told: their environment, from what the command knows.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::package::{ObjectPath, Params, PkgInst};
use crate::root::Root;
use crate::script::environment::{EnvironmentInput, ProcedureScript, ScriptOrigin, environment};
use crate::script::{ScriptHost, search_path};

/// What a command knows about a package whose scripts it runs. The same for installation, removal and patches.
#[derive(Clone, Debug)]
pub(in crate::operation) struct Briefing {
    /// The parameters of the package: delivered ones, CLASSES and BASEDIR as they will be; at a removal the installed
    /// ones.
    pub(in crate::operation) package: Params,
    /// In an update, the parameters of the installed instance.
    pub(in crate::operation) installed: Option<Params>,
    /// The answers so far.
    pub(in crate::operation) response: Params,
    /// The instance.
    pub(in crate::operation) instance: PkgInst,
    /// The root, as messages name it.
    pub(in crate::operation) root: PathBuf,
    /// The directory of relocatable objects, without the root.
    pub(in crate::operation) base: Option<ObjectPath>,
    /// The directory that holds the package directory; none at a removal.
    pub(in crate::operation) data_directory: Option<PathBuf>,
    /// The date of the installation, from preinstall on.
    pub(in crate::operation) install_date: Option<String>,
    /// Whether preinstall or preremove has run.
    pub(in crate::operation) has_begun: bool,
    /// Language and time zone of the caller.
    pub(in crate::operation) locale: Vec<(String, OsString)>,
    /// The run, once there is one.
    pub(in crate::operation) run: Option<String>,
}

impl Briefing {
    /// The environment of a script that comes from `origin`.
    pub(in crate::operation) fn environment(
        &self,
        shop: &ScriptHost,
        script: &ProcedureScript,
        origin: ScriptOrigin,
    ) -> Vec<(OsString, OsString)> {
        let path = search_path(shop.tools());
        let basis = EnvironmentInput {
            package: &self.package,
            installed: self.installed.as_ref(),
            response: &self.response,
            instance: &self.instance,
            root: &self.root,
            base: self.base.as_ref(),
            data_directory: self.data_directory.as_deref(),
            temporary: shop.directory(),
            install_date: self.install_date.as_deref(),
            has_begun: self.has_begun,
            locale: &self.locale,
            path: &path,
            run: self.run.as_deref(),
        };
        environment(&basis, script, origin)
    }

    /// The directory in which installed scripts are.
    pub(in crate::operation) fn installed_scripts(&self, root: &Root) -> PathBuf {
        let below = format!("var/sadm/pkg/{}/install", self.instance);
        Path::new(root.prefix()).join(below)
    }

    /// Where scripts start: where they are, or for a package that has none of its own, in the directory above.
    pub(in crate::operation) fn working_directory(&self, root: &Root) -> PathBuf {
        let scripts = self.installed_scripts(root);
        match scripts.parent() {
            Some(above) if !scripts.is_dir() => above.to_owned(),
            _ => scripts,
        }
    }
}
