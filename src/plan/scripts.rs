//! Which files of a package's `install` directory are procedure scripts, and which are kept after installation.
//!
//! Stock patch scripts are no obstacle: their work is done natively. Any other procedure script cannot be run yet
//! and refuses the package.

use super::refusal::Reason;
use super::target::classes;
use crate::package::Params;
use crate::source::PackageImage;
use crate::source::stock;

/// Scripts with a fixed name (pkginfo(4), pkgadd(1M)).
const SCRIPTS: &[&str] = &["request", "checkinstall", "preinstall", "postinstall", "preremove", "postremove"];

/// Classes whose scripts the system delivers: without a script of the package's own these would be run.
const STANDARD_CLASSES: &[&str] = &["sed", "awk", "build", "preserve", "manifest"];

/// Whether a file of `install` is a procedure or class action script.
pub(super) fn is_script(name: &str) -> bool {
    SCRIPTS.contains(&name) || name.starts_with("i.") || name.starts_with("r.")
}

/// Whether a file of `install` stays in the package's directory of the database: an information file such as
/// `copyright`, `depend`, `space`, `compver`.
pub(super) fn is_kept(name: &str) -> bool {
    let patch_only = name.starts_with("patch_") || name.starts_with("u.") || name.starts_with("patchadm.");
    !is_script(name) && !patch_only && !matches!(name, "deletes" | "pkginfo" | "pkgmap")
}

/// Refuses a package with scripts that would have to be run. The work of stock patch scripts is done natively where a
/// patch is applied; pkgadd(1M) runs whatever a package has.
pub(super) fn refuse_scripts(image: &PackageImage, native: bool) -> Result<(), Reason> {
    let refuse = |script: String| {
        Err(Reason::ScriptNotSupported { package: Some(image.params.text("PKG").into_owned()), script })
    };
    if let Some((name, _)) = image
        .install
        .iter()
        .find(|(name, text)| is_script(name) && !(native && stock::role(name, text).is_some()))
    {
        return refuse(format!("the script {name}"));
    }
    let of_class = |class: &String| {
        // a stock script under the name of the class copies as we do
        !image.install.contains_key(&format!("i.{class}"))
            && image.files().any(|entry| entry.object.class == *class)
    };
    let scripted = classes(&image.params)
        .into_iter()
        .find(|class| STANDARD_CLASSES.contains(&class.as_str()) && of_class(class));
    match scripted {
        Some(class) => refuse(format!("files of class {class}, which has a script of the system")),
        None => Ok(()),
    }
}

/// Refuses to remove a package that has scripts for its removal among its records.
pub(super) fn refuse_removal_scripts<'a>(
    package: &str,
    records: impl Iterator<Item = &'a [u8]>,
    params: &Params,
) -> Result<(), Reason> {
    let refuse = |script| Err(Reason::ScriptNotSupported { package: Some(package.to_owned()), script });
    let scripts = records.filter_map(|name| std::str::from_utf8(name.strip_prefix(b"install/")?).ok());
    for name in scripts {
        if matches!(name, "preremove" | "postremove") || name.starts_with("r.") {
            return refuse(format!("the script {name}"));
        }
    }
    let scripted =
        classes(params).into_iter().find(|class| matches!(class.as_str(), "sed" | "awk" | "build"));
    match scripted {
        Some(class) => refuse(format!("files of class {class}, which has a script of the system")),
        None => Ok(()),
    }
}
