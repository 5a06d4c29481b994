//! Paths with two spellings, copies of roots, and registrations that need no refresh.

use std::process::Command;

use crate::delivery::Patch;
use crate::native_root::{Deb, DpkgRoot, End, of_dpkg, patch_of};
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
    root.applied(&patch_of("100-01", "iputils", "1", &[("/bin/ping", "ping fixed\n")]));
    for spelling in ["/bin/ping", "/usr/bin/ping"] {
        for command in ["owner", "show"] {
            let run = root.unwatched(&format!("{command} -R @ROOT@ {spelling}"));
            assert!(run.code == 0 && run.stdout.contains("100-01"), "{command} {spelling}: {}", run.said());
            assert!(run.stdout.contains("dpkg --verify"), "{command} {spelling}: {}", run.said());
        }
    }
    assert_eq!(root.verified(), ["/bin/ping"]);
    root.ok("remove -R @ROOT@ 100-01");
    assert_eq!(root.content("/usr/bin/ping"), "ping of 1\n");
    assert!(root.verified().is_empty(), "{:?}", root.verified());
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

/// The root of another directory, which is there now, copied.
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
    for line in ["list --check", "verify --check", "status"] {
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
    assert_eq!(run.code, 68, "{}", run.said());
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
