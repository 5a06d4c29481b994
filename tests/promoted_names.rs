//! Files with several names that go live and are backed out: which names are one file afterwards, no matter which of
//! them stayed in place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::promote::Staged;
use crate::scenario::Scenario;
use crate::tree::assert_same;

/// A stage in which one of the two names of a file is removed, and the other one gets another mode.
fn one_name_less(goes: &str, stays: &str) -> Staged {
    let live = Scenario::new();
    live.file("/usr/pkg/first", "one file\n");
    live.link("/usr/pkg/second", "/usr/pkg/first");
    for number in 0..8 {
        live.file(&format!("/usr/pkg/share/{number}"), format!("{number}\n"));
    }
    let staged = Staged::of(live);
    staged.remove(goes);
    fs::set_permissions(staged.at(stays), fs::Permissions::from_mode(0o600)).unwrap();
    staged
}

const BOTH: [(&str, &str); 2] = [("first", "second"), ("second", "first")];

#[test]
fn a_name_that_comes_back_is_one_of_the_file_that_stayed_in_its_place() {
    for (goes, stays) in BOTH {
        let staged = one_name_less(goes, stays);
        let before = staged.tree();
        staged.promote("").ok();
        assert_same(&staged.tree(), &staged.staged_tree());
        staged.live.run("patchrm -R @ROOT@ web-01").ok();
        assert_same(&staged.tree(), &before);
    }
}

#[test]
fn a_name_comes_back_with_its_content_where_the_file_that_stayed_was_written_to() {
    for (goes, stays) in BOTH {
        let staged = one_name_less(goes, stays);
        staged.promote("").ok();
        fs::write(staged.live.at(&format!("/usr/pkg/{stays}")), "edited since\n").unwrap();
        assert_eq!(staged.live.run("patchrm -R @ROOT@ web-01").code, 0);
        assert_eq!(
            (staged.text(goes).as_str(), staged.text(stays).as_str()),
            ("one file\n", "edited since\n")
        );
    }
}

#[test]
fn names_of_files_in_a_path_that_was_not_promoted_stay_known() {
    let live = Scenario::new();
    for path in ["/usr/pkg", "/var/db/pkg"] {
        live.file(&format!("{path}/first"), format!("{path}\n"));
        live.link(&format!("{path}/second"), &format!("{path}/first"));
    }
    live.run("stage new web -R @ROOT@ --path usr/pkg --path var/db/pkg").ok();
    fs::write(live.beside("web/usr/pkg/new"), "new\n").unwrap();
    fs::write(live.beside("web/var/db/pkg/new"), "new\n").unwrap();
    live.run("stage promote web -R @ROOT@ --path usr/pkg").ok();
    let said = live.run("stage promote web -R @ROOT@").ok();
    assert!(said.contains("\n  /var/db/pkg: 1 added\n"), "{said}");
    assert_eq!(live.run("stage promote web -R @ROOT@").ok(), "nothing to promote in /usr/pkg, /var/db/pkg\n");
}
