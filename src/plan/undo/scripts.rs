//! The procedure scripts of a backout package: with them any pkgadd(1M) backs the patch out.
//!
//! `checkinstall` refuses while a later revision is applied and writes the lists as they read without the patch;
//! `postinstall` deletes what the patch had added, and the undo data. They run in any `sh` and any `awk` that has
//! functions. A patch may add class action scripts: its `u.<class>` is the `i.<class>` of the backout package
//! (Application Packaging Developer's Guide, "Patching Packages").
//!
//! This program restores from the manifest, and knows its own two scripts by their digests, which it never runs; class
//! action scripts take back the files of their classes.

use std::collections::BTreeMap;

const CHECKINSTALL: &[u8] = include_bytes!("checkinstall.sh");
const POSTINSTALL: &[u8] = include_bytes!("postinstall.sh");

/// The scripts of the package that takes a patch back, by their names in `install`; `delivered` is `install` of the
/// patch.
pub(super) fn taking_back(delivered: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let of_classes = delivered.iter().filter_map(|(name, text)| {
        let class = name.strip_prefix("u.").filter(|class| !class.is_empty())?;
        Some((format!("i.{class}"), text.clone()))
    });
    let own = [("checkinstall", CHECKINSTALL), ("postinstall", POSTINSTALL)];
    own.map(|(name, text)| (name.to_owned(), text.to_vec())).into_iter().chain(of_classes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::stock::{StockScript, role};

    #[test]
    fn both_scripts_are_known_for_what_they_are() {
        assert_eq!(role("patch_checkinstall", CHECKINSTALL), Some(StockScript::PatchCheckinstall));
        assert_eq!(role("patch_postinstall", POSTINSTALL), Some(StockScript::PatchPostinstall));
        for name in ["checkinstall", "postinstall", "preinstall", "i.none"] {
            assert_eq!(role(name, CHECKINSTALL), None, "not as {name} of a patch");
            assert_eq!(role(name, POSTINSTALL), None, "not as {name} of a patch");
        }
    }

    #[test]
    fn a_script_for_undoing_a_class_becomes_the_class_action_script() {
        let delivered = [("u.conf", "a\n"), ("i.conf", "b\n"), ("u.", "c\n"), ("deletes", "d\n")];
        let delivered = delivered.map(|(name, text)| (name.to_owned(), text.into()));
        let scripts = taking_back(&delivered.into());
        assert_eq!(scripts.keys().collect::<Vec<_>>(), ["checkinstall", "i.conf", "postinstall"]);
        assert_eq!(scripts["i.conf"], b"a\n");
    }
}
