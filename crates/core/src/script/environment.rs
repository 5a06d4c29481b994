//! The environment of each procedure script, built from scratch (pkgadd(1M), pkginfo(4)).
//!
//! Nothing of the caller's own environment gets in but language and time zone, and of the parameters nothing that
//! something else than a script acts on ([`exports`]). This is pure: who calls it brings every value along.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::package::{ObjectPath, Params, PkgInst, exports};

/// A procedure script by its part in the course of things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcedureScript {
    /// Asks the person.
    Request,
    /// Decides whether the package may go in.
    Checkinstall,
    /// Before any object.
    Preinstall,
    /// Installs the objects of a class.
    InstallClass(String),
    /// After all objects.
    Postinstall,
    /// Before any object is removed.
    Preremove,
    /// Removes the objects of a class.
    RemoveClass(String),
    /// After all objects are removed.
    Postremove,
}

impl ProcedureScript {
    /// The name of its file: `preinstall`, `i.none`.
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

    /// Whether it runs before it is decided that the package goes in; where it goes is then as the package wants it.
    fn is_early(&self) -> bool {
        matches!(self, Self::Request | Self::Checkinstall)
    }

    fn removes(&self) -> bool {
        matches!(self, Self::Preremove | Self::RemoveClass(_) | Self::Postremove)
    }
}

/// Where a script comes from, which decides what it is told of the parameters of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptOrigin {
    /// The package whose parameters they are: it gets them all but those that [`exports`] keeps out.
    Package,
    /// This program, the root or the running system: it gets the names that procedure-scripts(7) and pkginfo(5) define.
    Elsewhere,
}

/// What the environment of the scripts of a package is made from.
#[derive(Clone, Copy, Debug)]
pub struct EnvironmentInput<'a> {
    /// The parameters of the package: the delivered ones, or at a removal the installed ones.
    pub package: &'a Params,
    /// In an update, the parameters of the installed instance: they count where the package has none.
    pub installed: Option<&'a Params>,
    /// The answers so far: of the response file, of request, of checkinstall.
    pub response: &'a Params,
    /// The instance.
    pub instance: &'a PkgInst,
    /// The root as the caller named it; `/` is the running system.
    pub root: &'a Path,
    /// The directory of relocatable objects, without the root; none where the package has only absolute ones.
    pub base: Option<&'a ObjectPath>,
    /// The directory in which the package directory is. Scripts of a removal do not have it.
    pub data_directory: Option<&'a Path>,
    /// The private directory of the run.
    pub temporary: &'a Path,
    /// The date of this installation, from preinstall on.
    pub install_date: Option<&'a str>,
    /// Whether preinstall (or preremove) of the package has run: its mark stays in the environment.
    pub has_begun: bool,
    /// `LANG`, `LC_*` and `TZ` of the caller.
    pub locale: &'a [(String, OsString)],
    /// The search path; see [`super::search_path`].
    pub path: &'a OsStr,
    /// What tells our own commands, which scripts call, which run they belong to.
    pub run: Option<&'a str>,
}

/// The variable with which our own commands know that they are called from within a run.
pub const RUN: &str = "PATCHADM_RUN";

/// The variable that scripts have instead of it before there is a run: the private directory of the command, a name that
/// is used once. By it their processes are known where the process that runs them is lost.
pub const BEFORE_RUN: &str = "PATCHADM_SCRIPTS";

/// The variable with which they know what that run answered to the question whose the root is: [`ASKED`] or [`TRUSTED`].
/// It counts only beside [`RUN`].
pub const TRUST: &str = "PATCHADM_TRUST";

/// The records of the root are the superuser's alone.
pub const ASKED: &str = "asked";

/// The caller trusts whoever owns the root.
pub const TRUSTED: &str = "trusted";

/// The environment of `script`, which comes from `origin`, each name once.
pub fn environment(
    basis: &EnvironmentInput<'_>,
    script: &ProcedureScript,
    origin: ScriptOrigin,
) -> Vec<(OsString, OsString)> {
    let mut variables = Variables(parameters(basis, origin));
    let set = &mut variables;
    set.put("OAMBASE", "/usr/sadm/sysadm");
    for (name, value) in basis.locale {
        set.put(name, value);
    }
    set.put("PATH", basis.path);
    set.put("PKGINST", basis.instance.as_str());
    let saved = format!("/var/sadm/pkg/{}/save", basis.instance);
    set.put("PKGSAV", in_root(basis.root, &saved));
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

/// The environment of the scripts of a patch itself (prepatch, postpatch, prebackout, postbackout): language and time
/// zone, the search path, the patch and its root.
pub fn of_patch(
    patch: &str,
    root: &Path,
    locale: &[(String, OsString)],
    path: &OsStr,
    temporary: &Path,
    run: Option<&str>,
) -> Vec<(OsString, OsString)> {
    let mut variables = Variables(Vec::new());
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

/// The parameters: those of the package, of the installed instance where the package has none, the answers over all.
/// Answers count where their name begins with a capital letter: the others are the scripts' own affair (request(4)).
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

/// Where the package goes, which is settled from preinstall on.
fn place(set: &mut Variables, basis: &EnvironmentInput<'_>) {
    if let Some(base) = basis.base {
        let client = OsStr::from_bytes(base.as_bytes());
        set.put("CLIENT_BASEDIR", client);
        // The root of the root is the root, not the root with a slash behind it.
        let below =
            if base.relative().is_empty() && !is_system(basis.root) { &b""[..] } else { base.as_bytes() };
        set.put("BASEDIR", in_root(basis.root, OsStr::from_bytes(below)));
    }
    if let Some(date) = basis.install_date {
        set.put("INSTDATE", date);
    }
}

/// The directory for temporary files, and which script has run. The classic pkgadd spells the variable in a way of its
/// own for preinstall; scripts know it so.
fn mark(set: &mut Variables, basis: &EnvironmentInput<'_>, script: &ProcedureScript) {
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

/// A path of the root as the host has it; of the running system as it is.
fn in_root(root: &Path, path: impl AsRef<OsStr>) -> OsString {
    let bytes = root.as_os_str().as_bytes();
    let end = bytes.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let mut full = OsStr::from_bytes(bytes.get(..end).unwrap_or_default()).to_owned();
    full.push(path);
    full
}

/// Names and values, each name once.
struct Variables(Vec<(OsString, OsString)>);

impl Variables {
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

    /// All of them but what no process can have (a NUL in the value), what is no variable, and functions of bash: the
    /// language of the caller is checked like everything else.
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
