//! The procedure scripts of a backout package: with them any pkgadd(1M) backs the patch out. Every archive holds them,
//! so they say little of themselves; it is said here and in patchadm-undo(5).
//!
//! `checkinstall` refuses while a later revision is applied and writes the lists as they read without the patch. It
//! runs as a user without privileges. Its argument is the response file: `OLDLIST` there, or else `PATCHLIST` of the
//! environment, are the patches that are applied; `ACTIVE_PATCH` and `ACTIVE_OBSOLETES` come from the pkginfo of the
//! package. What other patches require, and what obsoletes this one, is for the caller to decide. The response is
//! added to only where the exit code is 0.
//!
//! `postinstall` deletes what the patch had added, and the undo data. It runs as root. The file `deletes` beside it has
//! one path in a line, objects below a directory before it; relative paths are below `CLIENT_BASEDIR`, and blanks and
//! control bytes stand as `\ooo`. What another package has as well stays, as removef(1M) decides, and so does a
//! directory that is not empty.
//!
//! They run in any `sh` and any `awk` that has functions. The nawk of System V is the strictest: it stops at
//! `key in array` while nothing has made an array of that name, so each gets an element first.
//!
//! A patch may add class action scripts: its `u.<class>` is the `i.<class>` of the backout package
//! (Application Packaging Developer's Guide, "Patching Packages").
//!
//! Every other class with a saved file gets an `i.<class>` that copies: the script that the class has elsewhere may
//! keep the file that is there (`preserve`) or run the saved one (`build`), and the object keeps its class. What a
//! script reads has a blank between the two paths of a file, so files with a blank in their path are of class none there.
//!
//! This program restores from the manifest, and knows its own scripts by their digests: it needs none of them run. The
//! class action scripts of the patch take back the files of their classes.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_inputs::patch_scripts::{UNDO_CHECKINSTALL, UNDO_CLASS, UNDO_POSTINSTALL};

/// The scripts of the package that takes a patch back, by their names in `install`; `delivered` is `install` of the
/// patch, `saved` has the classes of the saved files.
pub(super) fn taking_back(
    delivered: &BTreeMap<String, Vec<u8>>,
    saved: BTreeSet<&str>,
) -> BTreeMap<String, Vec<u8>> {
    let copying = copying_scripts(saved);
    let of_classes = delivered.iter().filter_map(|(name, text)| {
        let class = name.strip_prefix("u.").filter(|class| !class.is_empty())?;
        Some((format!("i.{class}"), text.clone()))
    });
    let own = [("checkinstall", UNDO_CHECKINSTALL), ("postinstall", UNDO_POSTINSTALL)];
    let own = own.map(|(name, text)| (name.to_owned(), text.into())).into_iter();
    // of two with one name the last counts
    own.chain(copying).chain(of_classes).collect()
}

/// The scripts that copy the saved files of these classes; pkgadd(1M) itself installs those of class none.
pub(in crate::plan::patch) fn copying_scripts(
    saved: BTreeSet<&str>,
) -> impl Iterator<Item = (String, Vec<u8>)> {
    let copied = saved.into_iter().filter(|class| *class != "none");
    copied.map(|class| (format!("i.{class}"), UNDO_CLASS.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_inputs::source::sun_scripts::{StockScript, role};

    #[test]
    fn a_script_for_undoing_a_class_becomes_the_class_action_script() {
        let delivered = [("u.conf", "a\n"), ("i.conf", "b\n"), ("u.", "c\n"), ("deletes", "d\n")];
        let delivered = delivered.map(|(name, text)| (name.to_owned(), text.into()));
        let scripts = taking_back(&delivered.into(), BTreeSet::from(["conf", "none"]));
        assert_eq!(scripts.keys().collect::<Vec<_>>(), ["checkinstall", "i.conf", "postinstall"]);
        assert_eq!(scripts["i.conf"], b"a\n");
    }

    #[test]
    fn any_other_class_of_a_saved_file_gets_a_script_that_copies() {
        let scripts = taking_back(&BTreeMap::new(), BTreeSet::from(["build", "none", "preserve"]));
        let names: Vec<_> = scripts.keys().collect();
        assert_eq!(names, ["checkinstall", "i.build", "i.preserve", "postinstall"]);
        for name in ["i.build", "i.preserve"] {
            assert_eq!(role(name, &scripts[name]), Some(StockScript::ClassAction), "{name} is known");
        }
    }
}
