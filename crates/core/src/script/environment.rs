//! The environment of each procedure script, built from scratch (pkgadd(1M), pkginfo(4)).
//!
//! Only language and time zone of the caller's own environment are passed on, and no parameter that anything but a
//! script acts on ([`exports`]). All of this is pure: the caller supplies every value.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use patchadm_svr4::places;

use patchadm_svr4::package::{ObjectPath, Params, PkgInst, exports};

/// A procedure script, by its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcedureScript {
    /// Asks the operator for values.
    Request,
    /// Decides whether the package may be installed.
    Checkinstall,
    /// Runs before any object is installed.
    Preinstall,
    /// Installs the objects of a class.
    InstallClass(String),
    /// Runs after all objects are installed.
    Postinstall,
    /// Runs before any object is removed.
    Preremove,
    /// Removes the objects of a class.
    RemoveClass(String),
    /// Runs after all objects are removed.
    Postremove,
}

impl ProcedureScript {
    /// Returns the script's file name, for example `preinstall` or `i.none`.
    pub fn name(&self) -> String {
        match self {
            Self::Request => "request".to_owned(),
            Self::Checkinstall => "checkinstall".to_owned(),
            Self::Preinstall => "preinstall".to_owned(),
            Self::InstallClass(class) => format!("i.{class}"),
            Self::Postinstall => "postinstall".to_owned(),
            Self::Preremove => "preremove".to_owned(),
            Self::RemoveClass(class) => format!("r.{class}"),
            Self::Postremove => "postremove".to_owned(),
        }
    }

    /// Returns whether the script runs before the installation is decided on. Until then, the package itself says where
    /// it goes.
    fn is_early(&self) -> bool {
        matches!(self, Self::Request | Self::Checkinstall)
    }

    fn removes(&self) -> bool {
        matches!(self, Self::Preremove | Self::RemoveClass(_) | Self::Postremove)
    }
}

/// The origin of a script, which decides which parameters of a package it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptOrigin {
    /// The package itself: the script receives all of its parameters except those withheld by [`exports`].
    Package,
    /// This program, the root or the running system: the script receives the names defined by procedure-scripts(7)
    /// and pkginfo(5).
    Elsewhere,
}

/// The input for the environment of a package's scripts.
#[derive(Clone, Copy, Debug)]
pub struct EnvironmentInput<'a> {
    /// The parameters of the package: the delivered ones, or, at a removal, the installed ones.
    pub package: &'a Params,
    /// The parameters of the installed instance in an update. They fill in where the package has none.
    pub installed: Option<&'a Params>,
    /// The answers so far, from the response file, request and checkinstall.
    pub response: &'a Params,
    /// The package instance.
    pub instance: &'a PkgInst,
    /// The root as named by the caller; `/` is the running system.
    pub root: &'a Path,
    /// The directory of relocatable objects, without the root; `None` if the package has absolute objects only.
    pub base: Option<&'a ObjectPath>,
    /// The directory that contains the package directory; `None` for scripts of a removal.
    pub data_directory: Option<&'a Path>,
    /// The private directory of the run.
    pub temporary: &'a Path,
    /// The date of the installation, from preinstall on.
    pub install_date: Option<&'a str>,
    /// True if preinstall (or preremove) of the package has run, which stays visible in the environment.
    pub has_begun: bool,
    /// The `LANG`, `LC_*` and `TZ` of the caller.
    pub locale: &'a [(String, OsString)],
    /// The search path; see [`super::search_path`].
    pub path: &'a OsStr,
    /// The run that this program's own commands belong to when a script calls them.
    pub run: Option<&'a str>,
}

/// The variable that tells this program's own commands which run they are called from.
pub const RUN: &str = "PATCHADM_RUN";

/// The variable used instead before a run exists. Its value is the private directory of the command, a name never
/// used again, which identifies the processes if the one that runs them is lost.
pub const BEFORE_RUN: &str = "PATCHADM_SCRIPTS";

/// The variable that passes on the run's answer to the question of who owns the root, [`ASKED`] or [`TRUSTED`]. It
/// counts only together with [`RUN`].
pub const TRUST: &str = "PATCHADM_TRUST";

/// The answer of a run on a root whose records belong to the superuser alone.
pub const ASKED: &str = "asked";

/// The answer of a run whose caller trusts the owner of the root.
pub const TRUSTED: &str = "trusted";

/// Builds the environment of `script`, which comes from `origin`; each name occurs once.
pub fn environment(
    basis: &EnvironmentInput<'_>,
    script: &ProcedureScript,
    origin: ScriptOrigin,
) -> Vec<(OsString, OsString)> {
    let mut variables = EnvironmentVariables(parameters(basis, origin));
    let set = &mut variables;
    set.put("OAMBASE", "/usr/sadm/sysadm");
    for (name, value) in basis.locale {
        set.put(name, value);
    }
    set.put("PATH", basis.path);
    set.put("PKGINST", basis.instance.as_str());
    set.put("PKGSAV", in_root(basis.root, OsStr::from_bytes(places::save(basis.instance).as_bytes())));
    if !is_system(basis.root) {
        set.put("PKG_INSTALL_ROOT", basis.root);
    }
    match basis.data_directory {
        Some(directory) if !script.removes() => set.put("INST_DATADIR", directory),
        _ => set.drop("INST_DATADIR"),
    }
    if basis.installed.is_some() {
        set.put("UPDATE", "yes");
    }
    if !script.is_early() {
        place(set, basis);
    }
    mark(set, basis, script);
    if let Some(run) = basis.run {
        set.put(RUN, run);
    }
    variables.finish()
}

/// Builds the environment of a patch's own scripts (prepatch, postpatch, prebackout, postbackout): language and time
/// zone, search path, patch and root.
pub fn of_patch(
    patch: &str,
    root: &Path,
    locale: &[(String, OsString)],
    path: &OsStr,
    temporary: &Path,
    run: Option<&str>,
) -> Vec<(OsString, OsString)> {
    let mut variables = EnvironmentVariables(Vec::new());
    let set = &mut variables;
    for (name, value) in locale {
        set.put(name, value);
    }
    set.put("PATH", path);
    set.put("PATCHID", patch);
    set.put("ROOTDIR", root);
    if !is_system(root) {
        set.put("PKG_INSTALL_ROOT", root);
    }
    set.put("TMPDIR", temporary);
    if let Some(run) = run {
        set.put(RUN, run);
    }
    variables.finish()
}

/// Merges the parameters: those of the package, then those of the installed instance where the package has none,
/// overridden by the answers. Answers count only if their name begins with a capital letter; the others are private
/// to the scripts (request(4)).
fn parameters(basis: &EnvironmentInput<'_>, origin: ScriptOrigin) -> Vec<(OsString, OsString)> {
    let mut merged = Params::new();
    let installed = basis.installed.into_iter().flat_map(Params::iter);
    for (name, value) in basis.package.iter().chain(installed) {
        if merged.get(name).is_none() {
            merged.push(name, value);
        }
    }
    for (name, value) in basis.response.iter() {
        if name.starts_with(|letter: char| letter.is_ascii_uppercase()) {
            merged.set(name, value);
        }
    }
    let is_told = |name: &str, value: &[u8]| {
        exports::is_exported(name, value)
            && (origin == ScriptOrigin::Package || exports::is_for_all_scripts(name))
    };
    let told = merged.iter().filter(|(name, value)| is_told(name, value));
    told.map(|(name, value)| (name.into(), OsString::from_vec(value.to_owned()))).collect()
}

fn place(set: &mut EnvironmentVariables, basis: &EnvironmentInput<'_>) {
    if let Some(base) = basis.base {
        let client = OsStr::from_bytes(base.as_bytes());
        set.put("CLIENT_BASEDIR", client);
        // The root of the root is the root, not the root with a slash after it.
        let below =
            if base.relative().is_empty() && !is_system(basis.root) { &b""[..] } else { base.as_bytes() };
        set.put("BASEDIR", in_root(basis.root, OsStr::from_bytes(below)));
    }
    if let Some(date) = basis.install_date {
        set.put("INSTDATE", date);
    }
}

/// Sets the directory for temporary files, and the name of the script that has run. For preinstall, the classic
/// pkgadd spells that variable differently, and scripts rely on it.
fn mark(set: &mut EnvironmentVariables, basis: &EnvironmentInput<'_>, script: &ProcedureScript) {
    match script {
        ProcedureScript::InstallClass(_) | ProcedureScript::Postinstall => set.put("TMPDIR", basis.temporary),
        script if script.removes() => set.put("TMPDIR", "/var/tmp/"),
        _ => set.drop("TMPDIR"),
    }
    let begun = basis.has_begun;
    if matches!(script, ProcedureScript::Preinstall)
        || begun && matches!(script, ProcedureScript::InstallClass(_) | ProcedureScript::Postinstall)
    {
        set.put("PKG_PROC_script", "preinstall");
    }
    match script {
        ProcedureScript::Postinstall | ProcedureScript::Preremove | ProcedureScript::Postremove => {
            set.put("PKG_PROC_SCRIPT", script.name());
        }
        ProcedureScript::RemoveClass(_) if begun => set.put("PKG_PROC_SCRIPT", "preremove"),
        _ => {}
    }
}

fn is_system(root: &Path) -> bool {
    root == Path::new("/")
}

fn in_root(root: &Path, path: impl AsRef<OsStr>) -> OsString {
    let bytes = root.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let mut full = OsStr::from_bytes(bytes.get(..end).unwrap_or_default()).to_owned();
    full.push(path);
    full
}

struct EnvironmentVariables(Vec<(OsString, OsString)>);

impl EnvironmentVariables {
    fn put(&mut self, name: &str, value: impl AsRef<OsStr>) {
        let value = value.as_ref().to_owned();
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(found) => found.1 = value,
            None => self.0.push((name.into(), value)),
        }
    }

    fn drop(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Returns all variables except impossible ones (a NUL in the value), invalid names, and exported bash functions.
    /// The caller's language variables are checked like all others.
    fn finish(self) -> Vec<(OsString, OsString)> {
        let is_plain = |name: &OsString, value: &OsString| {
            name.to_str().is_some_and(exports::is_variable)
                && !value.as_bytes().contains(&0)
                && !exports::is_function(value.as_bytes())
        };
        self.0.into_iter().filter(|(name, value)| is_plain(name, value)).collect()
    }
}

#[cfg(test)]
mod tests;
