//! Paths with two spellings, copies of roots, and registrations that need no refresh.

use std::process::Command;

use crate::delivery::Patch;
use crate::native_root::{Deb, DpkgRoot, End, NOTHING, of_dpkg, patch_of};
use crate::scenario::Run;

const CONF: &str = "/etc/acme.conf";

#[test]
fn a_path_has_the_same_owner_in_both_spellings() {
    let Some(root) = DpkgRoot::opened("both spellings of a path") else { return };
    root.install(&Deb::new("iputils", "1").with_mode("/bin/ping", 0o755, "ping of 1\n"));
    root.install(&Deb::new("other", "1").with_mode("/usr/bin/pong", 0o755, "pong of 1\n"));
    root.adopt(&["iputils"]);
    root.owned(&["/bin/ping", "/usr/bin/ping"], "iputils");
    root.owned(&["/bin/pong", "/usr/bin/pong"], "other");
    for patched in ["/bin/ping", "/usr/bin/ping"] {
        let patch = patch_of("100-01", "iputils", "1", &[(patched, "ping fixed\n")]);
        root.applied(&patch);
        assert_eq!(root.content("/usr/bin/ping"), "ping fixed\n", "{patched}");
        root.tells(&[("100-01", End::Stands)]);
        for spelling in ["/bin/ping", "/usr/bin/ping"] {
            let run = root.unwatched(&format!("show -R @ROOT@ {spelling}"));
            let is_told = run.stdout.contains("100-01") && run.stdout.contains("dpkg --verify");
            assert!(run.code == 0 && is_told, "{patched}: show {spelling}: {}", run.said());
        }
        assert_eq!(root.verified(), ["/bin/ping"]);
        root.ok("remove -R @ROOT@ 100-01");
        assert_eq!(root.content("/usr/bin/ping"), "ping of 1\n", "{patched}");
        assert!(root.verified().is_empty(), "{patched}: {:?}", root.verified());
    }
}

#[test]
fn a_file_that_moves_from_lib_to_usr_lib_is_not_called_edited() {
    for root in DpkgRoot::both("a file that moves from /lib to /usr/lib") {
        let one = Deb::new("acme", "1").file("/lib/acme/a.so", "one\n");
        root.install(&one);
        root.adopt(&["acme"]);
        let two = root.build(&Deb::new("acme", "2").file("/usr/lib/acme/a.so", "two\n"));
        let (one, patch) = (root.build(&one), root.stage.beside("100-01"));
        let (one, two, patch) = (one.display(), two.display(), patch.display());
        root.ok(&format!("build -q --id 100-01 --from {one} --to {two} -o {patch}"));
        let said = root.ok(&format!("add -R @ROOT@ {patch}"));
        assert!(!said.contains("edited"), "{said}");
        assert_eq!(root.content("/lib/acme/a.so"), "two\n");
        root.tells(&[("100-01", End::Stands)]);
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!(root.content("/lib/acme/a.so"), "one\n");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn a_patch_never_turns_a_program_into_a_link_to_itself() {
    let Some(root) = DpkgRoot::opened("a link that is the program itself") else { return };
    root.install(&Deb::new("acme", "1").with_mode("/usr/bin/tool", 0o755, "tool of 1\n"));
    root.adopt(&["acme"]);
    for target in ["/usr/bin/tool", "../usr/bin/tool"] {
        let package = of_dpkg("acme", "1").symlink("bin/tool", target);
        let run = root.add("--edited replace", &Patch::of("100-01", package));
        assert_eq!(root.content("/usr/bin/tool"), "tool of 1\n", "{}", run.said());
        assert!(root.verified().is_empty(), "{:?}", root.verified());
        root.remove("100-01");
        assert_eq!(root.content("/usr/bin/tool"), "tool of 1\n");
    }
}

/// A package with a file in one spelling, and the other spelling of it.
const SPELLINGS: [(&str, &str); 2] =
    [("/lib/acme/a.so", "/usr/lib/acme/a.so"), ("/usr/lib/acme/a.so", "/lib/acme/a.so")];

#[test]
fn a_patch_that_spells_a_path_otherwise_than_its_package_applies_as_if_it_did_not() {
    for (listed, spelled) in SPELLINGS {
        for root in DpkgRoot::both("a patch with another spelling than its package") {
            let acme = |version: &str| Deb::new("acme", version).file(listed, &format!("a of {version}\n"));
            root.install(&acme("1"));
            root.adopt(&["acme"]);
            let said = root.applied(&patch_of("100-01", "acme", "1", &[(spelled, "a fixed\n")]));
            assert!(!said.contains("edited"), "{said}");
            root.tells(&[("100-01", End::Stands)]);
            assert_eq!(root.verified(), [listed]);
            let removed = root.remove("100-01");
            assert_eq!(removed.code, 0, "{}", removed.said());
            assert_eq!(root.content(listed), "a of 1\n");
            root.applied(&patch_of("200-01", "acme", "1", &[(spelled, "a fixed\n")]));
            root.upgrade(&acme("2"));
            assert_eq!(root.content(listed), "a of 2\n");
            root.tells(&[("200-01", End::Lost(&[listed]))]);
            assert!(root.verified().is_empty(), "{:?}", root.verified());
        }
    }
}

#[test]
fn a_file_that_is_deleted_by_the_other_spelling_is_gone_and_comes_back() {
    for (listed, spelled) in SPELLINGS {
        let Some(root) = DpkgRoot::opened("a deletion with another spelling") else { return };
        root.install(&Deb::new("acme", "1").file(listed, "a of 1\n"));
        root.adopt(&["acme"]);
        root.applied(&Patch::of("100-01", of_dpkg("acme", "1").deletes(&[spelled])));
        assert_eq!(root.content(listed), NOTHING);
        assert_eq!(root.remove("100-01").code, 0);
        assert_eq!(root.content(listed), "a of 1\n");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}

#[test]
fn an_edited_file_is_edited_in_either_spelling() {
    for (listed, spelled) in SPELLINGS {
        let Some(root) = DpkgRoot::opened("an edited file with another spelling") else { return };
        root.install(&Deb::new("acme", "1").file(listed, "a of 1\n"));
        root.adopt(&["acme"]);
        std::fs::write(root.at(listed), "edited\n").unwrap();
        let patch = patch_of("100-01", "acme", "1", &[(spelled, "a fixed\n")]);
        let run = root.add("--edited stop", &patch);
        assert!(run.code != 0 && run.said().contains("edited"), "{}", run.said());
        assert_eq!(root.content(listed), "edited\n");
        let run = root.add("--edited replace", &patch);
        assert_eq!(run.code, 0, "{}", run.said());
        assert_eq!(root.content(listed), "a fixed\n");
        assert_eq!(root.remove("100-01").code, 0);
        assert_eq!(root.content(listed), "edited\n");
    }
}

#[test]
fn patches_that_spell_one_path_differently_come_out_in_any_order() {
    for added in [false, true] {
        for (one, two) in SPELLINGS {
            for order in [["200-01", "100-01"], ["100-01", "200-01"]] {
                let Some(root) = DpkgRoot::opened("two patches with two spellings") else { return };
                let acme = Deb::new("acme", "1").file("/usr/share/acme/data", "data of 1\n");
                root.install(&if added { acme } else { acme.file("/lib/acme/a.so", "a of 1\n") });
                root.adopt(&["acme"]);
                root.applied(&patch_of("100-01", "acme", "1", &[(one, "a of 100\n")]));
                root.applied(&patch_of("200-01", "acme", "1", &[(two, "a of 200\n")]));
                for id in order {
                    let removed = root.remove(id);
                    assert_eq!(removed.code, 0, "{id}: {}", removed.said());
                    let kept = if id == order[1] { None } else { Some(order[1]) };
                    let kept = kept.map(|id| format!("a of {}\n", &id[..3]));
                    let before = if added { NOTHING } else { "a of 1\n" };
                    assert_eq!(root.content(one), kept.unwrap_or_else(|| before.to_owned()), "without {id}");
                }
                assert!(root.verified().is_empty(), "{:?}", root.verified());
            }
        }
    }
}

/// A copy of the current root in another directory.
fn copied(root: &DpkgRoot) -> String {
    let copy = root.stage.beside("copy");
    let _ = std::fs::remove_dir_all(&copy);
    let status = Command::new("cp").arg("-a").arg(root.stage.root()).arg(&copy).status().unwrap();
    assert!(status.success());
    copy.display().to_string()
}

/// Runs the program on a copy.
fn on(root: &DpkgRoot, copy: &str, line: &str) -> Run {
    root.unwatched(&line.replace("@COPY@", copy))
}

#[test]
fn a_copied_root_is_as_fresh_as_its_original_and_nothing_is_said() {
    let Some(root) = DpkgRoot::opened("a copied root") else { return };
    root.install(&Deb::new("acme", "1").file("/usr/lib/acme/a.so", "a of 1\n").file(CONF, "setting=1\n"));
    root.install(&Deb::new("other", "1").file("/usr/lib/other/b.so", "b of 1\n"));
    root.ok("adopt --all -R @ROOT@");
    root.applied(&patch_of("100-01", "acme", "1", &[("/usr/lib/acme/a.so", "a fixed\n")]));
    let copy = copied(&root);
    for line in ["list --check", "check --contents", "status"] {
        let run = on(&root, &copy, &format!("{line} -R @COPY@"));
        assert!(run.code == 0 && run.stderr.is_empty(), "{line}: {} {}", run.code, run.said());
    }
    let run = on(&root, &copy, "adopt --refresh -R @COPY@");
    assert!(run.code == 0 && !run.said().contains("again"), "{}", run.said());
    let patch =
        patch_of("200-01", "other", "1", &[("/usr/lib/other/b.so", "b fixed\n")]).directory(&root.stage);
    let run = on(&root, &copy, &format!("add -R @COPY@ {}", patch.display()));
    assert!(run.code == 0 && !run.said().contains("adopted"), "{} {}", run.code, run.said());
    for id in ["200-01", "100-01"] {
        let run = on(&root, &copy, &format!("remove -R @COPY@ {id}"));
        assert!(run.code == 0 && run.stderr.is_empty(), "{} {}", run.code, run.said());
    }
}

#[test]
fn a_copied_root_without_the_bytes_of_a_patch_is_stale() {
    let Some(root) = DpkgRoot::opened("a copied root without the bytes of a patch") else { return };
    root.install(&Deb::new("acme", "1").file("/usr/lib/acme/a.so", "a of 1\n"));
    root.adopt(&["acme"]);
    root.applied(&patch_of("100-01", "acme", "1", &[("/usr/lib/acme/a.so", "a fixed\n")]));
    let copy = copied(&root);
    std::fs::write(format!("{copy}/usr/lib/acme/a.so"), "a of 1\n").unwrap();
    let run = on(&root, &copy, "list --check -R @COPY@");
    assert_eq!(run.code, 4, "{}", run.said());
}

#[test]
fn a_reinstallation_that_left_every_patched_path_alone_changes_nothing() {
    for root in DpkgRoot::both("a reinstallation that leaves the patch alone") {
        let acme = Deb::new("acme", "1").file("/usr/lib/acme/a.so", "a of 1\n").file(CONF, "setting=1\n");
        root.install(&acme);
        root.adopt(&["acme"]);
        root.applied(&patch_of("100-01", "acme", "1", &[(CONF, "setting=fixed\n")]));
        root.install(&acme);
        let list = root.unwatched("list --check -R @ROOT@");
        assert!(list.code == 0 && list.stderr.is_empty(), "{} {}", list.code, list.said());
        let removed = root.remove("100-01");
        assert_eq!(removed.code, 0, "{}", removed.said());
        assert_eq!(root.content(CONF), "setting=1\n");
        assert!(root.verified().is_empty(), "{:?}", root.verified());
    }
}
