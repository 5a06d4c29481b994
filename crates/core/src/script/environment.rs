//! The environment of each procedure script, built from scratch (pkgadd(1M), pkginfo(4)). Of the caller's environment,
//! only language and time zone pass, and no parameter that anything but a script acts on ([`exports`]).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use patchadm_svr4::places;

use patchadm_svr4::package::{ObjectPath, Params, PkgInst, exports};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcedureScript {
    Request,
    Checkinstall,
    Preinstall,
    InstallClass(String),
    Postinstall,
    Preremove,
    RemoveClass(String),
    Postremove,
}

impl ProcedureScript {
    /// Returns the file name, for example `preinstall` or `i.none`.
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

    /// Early scripts run before the installation is decided on. Until then, the package itself says where it goes.
    fn is_early(&self) -> bool {
        matches!(self, Self::Request | Self::Checkinstall)
    }

    fn removes(&self) -> bool {
        matches!(self, Self::Preremove | Self::RemoveClass(_) | Self::Postremove)
    }
}

/// The origin of a script decides which package parameters it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptOrigin {
    /// The script receives all parameters except those withheld by [`exports`].
    Package,
    /// This program, the root or the running system: the script receives the names defined by procedure-scripts(7) and
    /// pkginfo(5).
    Elsewhere,
}

#[derive(Clone, Copy, Debug)]
pub struct EnvironmentInput<'a> {
    /// The delivered parameters, or, at a removal, the installed ones.
    pub package: &'a Params,
    /// The installed instance in an update. Its parameters fill in where the package has none.
    pub installed: Option<&'a Params>,
    /// Answers so far, from the response file, request and checkinstall.
    pub response: &'a Params,
    pub instance: &'a PkgInst,
    /// As named by the caller; `/` is the running system.
    pub root: &'a Path,
    /// Directory of relocatable objects, without the root; `None` if all objects are absolute.
    pub base: Option<&'a ObjectPath>,
    /// Contains the package directory; `None` at a removal.
    pub data_directory: Option<&'a Path>,
    pub temporary: &'a Path,
    /// Set from preinstall on.
    pub install_date: Option<&'a str>,
    /// True after preinstall (or preremove) has run.
    pub has_begun: bool,
    /// `LANG`, `LC_*` and `TZ` of the caller.
    pub locale: &'a [(String, OsString)],
    /// See [`super::search_path`].
    pub path: &'a OsStr,
    /// The run that this program's commands join when a script calls them.
    pub run: Option<&'a str>,
}

/// Tells this program's commands which run they are called from.
pub const RUN: &str = "PATCHADM_RUN";

/// Used before a run exists. The value is the private directory, a name never reused, which identifies leftover
/// processes.
pub const BEFORE_RUN: &str = "PATCHADM_SCRIPTS";

/// Passes on whether the run trusts the owner of the root, [`ASKED`] or [`TRUSTED`]. Counts only together with [`RUN`].
pub const TRUST: &str = "PATCHADM_TRUST";

/// The records of the root belong to the superuser alone.
pub const ASKED: &str = "asked";

/// The caller trusts the owner of the root.
pub const TRUSTED: &str = "trusted";

/// Each name occurs once.
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

/// Returns the environment of a patch's own scripts (prepatch, postpatch, prebackout, postbackout).
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

/// Merges parameters: the package's, then the installed instance's, overridden by the answers. Answers count only if
/// their name begins with a capital letter; others are private to the scripts (request(4)).
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
        // `/` below `/` is `/`, without a second slash.
        let below =
            if base.relative().is_empty() && !is_system(basis.root) { &b""[..] } else { base.as_bytes() };
        set.put("BASEDIR", in_root(basis.root, OsStr::from_bytes(below)));
    }
    if let Some(date) = basis.install_date {
        set.put("INSTDATE", date);
    }
}

/// Sets the directory for temporary files and the marker of the last script. The classic pkgadd spells the marker of
/// preinstall differently, and scripts rely on it.
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

    /// Drops impossible values (with a NUL), invalid names and exported bash functions, the caller's language variables
    /// included.
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
