//! Scripts of sparse patch packages and backout packages, for a pkgadd(1M) without patch support, in any `sh` and `awk`
//! with functions. They do the work of Sun's scripts (Application Packaging Developer's Guide, "Patching Packages").
//! This program recognises them ([`role`](crate::source::sun_scripts::role)) and needs none.

use std::collections::BTreeMap;

const CHECKINSTALL: &str = include_str!("checkinstall.sh");
const PREINSTALL: &str = include_str!("preinstall.sh");
const CLASS: &str = include_str!("class.sh");
const POSTINSTALL: &str = include_str!("postinstall.sh");

/// In the backout package `checkinstall`, in the patch `patch_checkinstall`.
pub const UNDO_CHECKINSTALL: &str = include_str!("undo_checkinstall.sh");
/// In the backout package `postinstall`, in the patch `patch_postinstall`.
pub const UNDO_POSTINSTALL: &str = include_str!("undo_postinstall.sh");
/// `i.<class>` of the backout package, for every class with a saved file except `none`.
pub const UNDO_CLASS: &str = include_str!("undo_class.sh");

/// By name in `install`, for classes without their own class action script.
pub fn of_patch<'c>(classes: impl IntoIterator<Item = &'c str>) -> BTreeMap<String, &'static str> {
    let fixed = [
        ("checkinstall", CHECKINSTALL),
        ("preinstall", PREINSTALL),
        ("postinstall", POSTINSTALL),
        ("patch_checkinstall", UNDO_CHECKINSTALL),
        ("patch_postinstall", UNDO_POSTINSTALL),
    ];
    let fixed = fixed.into_iter().map(|(name, text)| (name.to_owned(), text));
    fixed.chain(classes.into_iter().map(|class| (format!("i.{class}"), CLASS))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sun_scripts::{StockScript, role};

    #[test]
    fn each_is_known_for_what_it_is_and_for_nothing_else() {
        let scripts = of_patch(["none", "conf"]);
        let names: Vec<_> = scripts.keys().map(String::as_str).collect();
        let expected = ["checkinstall", "i.conf", "i.none", "patch_checkinstall", "patch_postinstall"];
        assert_eq!(names[..5], expected);
        assert_eq!(names[5..], ["postinstall", "preinstall"]);
        for (name, text) in &scripts {
            let known = role(name, text.as_bytes());
            assert!(known.is_some(), "{name} has changed: its digest needs a line in source/sun_scripts.rs");
            for other in scripts.keys().filter(|other| role(other, text.as_bytes()).is_some()) {
                assert_eq!(role(other, text.as_bytes()), known, "{name} as {other}");
            }
        }
    }

    #[test]
    fn the_scripts_of_a_backout_are_known_too() {
        assert_eq!(
            role("patch_checkinstall", UNDO_CHECKINSTALL.as_bytes()),
            Some(StockScript::PatchCheckinstall)
        );
        assert_eq!(
            role("patch_postinstall", UNDO_POSTINSTALL.as_bytes()),
            Some(StockScript::PatchPostinstall)
        );
        assert_eq!(role("i.build", UNDO_CLASS.as_bytes()), Some(StockScript::ClassAction));
    }

    #[test]
    fn preinstall_carries_the_class_action_script_of_the_backout() {
        assert!(PREINSTALL.contains(UNDO_CLASS));
    }

    #[test]
    fn a_script_with_commands_added_shows_that_it_keeps_the_records() {
        // plan::patch::engine looks for these words; a class action script keeps no records
        assert!(CHECKINSTALL.contains("PATCHLIST") && POSTINSTALL.contains("PATCHLIST"));
        assert!(PREINSTALL.contains("PATCH_BUILD_DIR"));
    }
}
