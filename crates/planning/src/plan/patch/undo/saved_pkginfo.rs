//! The pkginfo that an undo archive keeps of before the patch.
//!
//! A backout computes the records of patches and restores none, and a pkginfo with a thousand patches has a line for each of
//! them: an archive with all these lines costs more the later its patch came. So the lines of applied patches are left out but
//! the first of several in a row, which says where they stand. For a pkginfo that was lost each line is with the undo data of
//! exactly one patch: the next one that was applied.

use std::collections::{BTreeMap, HashSet};

use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::encode;
use patchadm_svr4::format::params;
use patchadm_svr4::package::Params;

use crate::plan::parameters::{PATCH_INFO, patch_of_info};
use patchadm_inputs::inventory::Save;

/// The name of the file.
const PKGINFO: &[u8] = b"pkginfo";

/// Leaves the lines of applied patches out of the pkginfo among the saved records, of which these are the parameters.
pub(in crate::plan::patch) fn without_patch_info(
    mut records: BTreeMap<Vec<u8>, RecordFile>,
    old: &Params,
) -> BTreeMap<Vec<u8>, RecordFile> {
    if let (Some(file), Some(saved)) = (records.get_mut(PKGINFO), saved_params(old)) {
        file.bytes = params::write(&saved).into();
    }
    records
}

/// The parameters as they are saved; none where nothing is left out of them.
fn saved_params(old: &Params) -> Option<Params> {
    let list = old.text("PATCHLIST");
    let listed: HashSet<&str> = list.split_whitespace().collect();
    let mut saved = Params::new();
    let (mut is_behind_another, mut leaves_out) = (false, false);
    for (name, value) in old.iter() {
        let id = patch_of_info(name);
        if is_behind_another && id.is_some_and(|id| listed.contains(id)) {
            leaves_out = true;
        } else {
            saved.push(name, value);
        }
        is_behind_another = id.is_some();
    }
    leaves_out.then_some(saved)
}

/// The lines of applied patches that no earlier undo data has: that of the last patch, and of those before it up to the last
/// one with a manifest, which has all before itself. A classic archive has none, and tells of no other patch.
pub(super) fn patch_info(old: &Params, saves: &BTreeMap<String, Save>) -> BTreeMap<String, String> {
    let list = old.text("PATCHLIST");
    let mut found = BTreeMap::new();
    for id in list.split_whitespace().rev() {
        if let Some(value) = old.get(&format!("{PATCH_INFO}{id}")) {
            found.insert(id.to_owned(), encode(value));
        }
        if saves.get(id).is_some_and(Save::is_told) {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(lines: &[(&str, &str)]) -> Params {
        lines.iter().copied().collect()
    }

    #[test]
    fn of_several_lines_of_applied_patches_the_first_is_saved_and_what_was_backed_out_is_too() {
        let old = params(&[
            ("PKG", "X"),
            ("PATCHLIST", "1-01 2-01 3-01"),
            ("PATCH_INFO_1-01", "Installed: a"),
            ("PATCH_INFO_2-01", "Installed: b"),
            ("PATCH_INFO_9-01", "backed out"),
            ("INSTDATE", "now"),
            ("PATCH_INFO_3-01", "Installed: c"),
        ]);
        let saved = params(&[
            ("PKG", "X"),
            ("PATCHLIST", "1-01 2-01 3-01"),
            ("PATCH_INFO_1-01", "Installed: a"),
            ("PATCH_INFO_9-01", "backed out"),
            ("INSTDATE", "now"),
            ("PATCH_INFO_3-01", "Installed: c"),
        ]);
        assert_eq!(saved_params(&old), Some(saved.clone()));
        assert_eq!(saved_params(&saved), None);
    }

    #[test]
    fn the_line_of_a_patch_is_with_the_undo_data_of_the_next_one() {
        let old = params(&[
            ("PATCHLIST", "1-01 2-01 3-01"),
            ("PATCH_INFO_1-01", "a"),
            ("PATCH_INFO_2-01", "b%"),
            ("PATCH_INFO_3-01", "c"),
        ]);
        let with_manifest = || Save { has_manifest: true, ..Save::default() };
        let lines = |saves: &[&str]| {
            let saves = saves.iter().map(|id| ((*id).to_owned(), with_manifest())).collect();
            patch_info(&old, &saves).into_values().collect::<Vec<_>>()
        };
        assert_eq!(lines(&["1-01", "2-01", "3-01"]), ["c"]);
        assert_eq!(lines(&["1-01", "2-01"]), ["b%25", "c"]);
        assert_eq!(lines(&[]), ["a", "b%25", "c"]);
    }

    #[test]
    fn behind_a_classic_archive_there_are_lines_of_which_nothing_else_tells() {
        let old = params(&[
            ("PATCHLIST", "1-01 2-01 3-01"),
            ("PATCH_INFO_1-01", "a"),
            ("PATCH_INFO_2-01", "b"),
            ("PATCH_INFO_3-01", "c"),
        ]);
        let here = |name: &str| Save { archive: Some(name.to_owned()), ..Save::default() };
        let pointer = |name: &str| Save {
            remote: Some(format!("TYPE=filesystem\nFIND_AT=/undo/{name}\nSTATE=active\n").into_bytes()),
            ..Save::default()
        };
        let lines = |third: Save| {
            let saves =
                BTreeMap::from([("2-01".to_owned(), here("obsolete.gz")), ("3-01".to_owned(), third)]);
            patch_info(&old, &saves).into_values().collect::<Vec<_>>()
        };
        assert_eq!(lines(here("undo.Z")), ["b", "c"]);
        assert_eq!(lines(pointer("undo.Z")), ["b", "c"]);
        let others = [here("undo.gz"), pointer("undo.gz"), Save { has_snapshot: true, ..here("undo.Z") }];
        for own in others {
            assert_eq!(lines(own), ["c"]);
        }
    }
}
