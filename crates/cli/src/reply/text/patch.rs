//! The line of a patch in showrev(1M) and patchadd(1M), `-p`. Programs split it at its labels: a blank follows each
//! label, another its list, so that two blanks follow the label of an empty list.

use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::AppliedPatch;

/// Returns the line, with its newline.
pub fn line(patch: &AppliedPatch) -> String {
    let packages: Vec<&str> = patch.packages.iter().map(PkgInst::as_str).collect();
    format!(
        "Patch: {} Obsoletes: {} Requires: {} Incompatibles: {} Packages: {}\n",
        patch.id,
        patch.obsoletes.joined(", "),
        patch.requires.joined(", "),
        patch.incompatibles.joined(", "),
        packages.join(", ")
    )
}

/// Returns all lines; without a patch, the line `none` instead (the commands differ in it).
pub fn listing(patches: &[AppliedPatch], none: &str) -> String {
    if patches.is_empty() { format!("{none}\n") } else { patches.iter().map(line).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::patch::{PatchId, PatchList, Requirements};
    use regex::Regex;

    fn patch(id: &str, requires: &str, incompatibles: &str, packages: &[&str]) -> AppliedPatch {
        AppliedPatch {
            id: PatchId::new(id).unwrap(),
            packages: packages.iter().map(|name| PkgInst::new(name).unwrap()).collect(),
            obsoletes: PatchList::new(),
            requires: Requirements::parse(requires, "-").unwrap(),
            incompatibles: PatchList::parse(incompatibles, "-").unwrap(),
        }
    }

    #[test]
    fn empty_lists_leave_two_blanks_and_full_ones_are_joined_by_commas() {
        assert_eq!(
            line(&patch("106793-01", "", "", &["SUNWhea"])),
            "Patch: 106793-01 Obsoletes:  Requires:  Incompatibles:  Packages: SUNWhea\n"
        );
        assert_eq!(
            line(&patch("IDR148363-26", "147441-26", "147441-27", &["SUNWnfsckr", "SUNWzfskr"])),
            "Patch: IDR148363-26 Obsoletes:  Requires: 147441-26 Incompatibles: 147441-27 Packages: SUNWnfsckr, \
             SUNWzfskr\n"
        );
    }

    #[test]
    fn the_patterns_of_patch_check_advanced_find_their_parts() {
        let text = line(&patch("106793-01", "1-01 2-02", "147441-27 147441-28", &["SUNWhea"]));
        let group = |pattern: &str| Regex::new(pattern).unwrap().captures(&text).unwrap()[1].to_owned();
        assert_eq!(group(r"^Patch:\s+(\d{6})-(\d{2})"), "106793");
        assert_eq!(group(" Obsoletes: ([-0-9, ]*) "), "");
        assert_eq!(group(" Incompatibles: ([-0-9, ]*) "), "147441-27, 147441-28");
    }

    #[test]
    fn a_root_without_patches_has_the_words_of_the_command() {
        assert_eq!(listing(&[], "No patches are installed"), "No patches are installed\n");
    }
}
