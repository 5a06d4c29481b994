//! Events that end the keeping of libraries, and events that bring it back.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::{NEW, OLD, Pair, USER, package};
use crate::compiled::Compiler;
use crate::delivery::Patch;
use crate::everyman::{as_ordinary_user, ordinary_ids};
use crate::packages::Package;
use crate::records::Before;
use crate::scenario::Scenario;

impl Scenario {
    /// Removes the files and records of a package of kept libraries, as somebody would who needs the space.
    fn prune_by_hand(&self, package: &str) {
        let mut lines = Vec::new();
        for line in self.lines() {
            match line.strip_suffix(&format!(" {package}")) {
                None => lines.push(line),
                // A directory that it shares with other packages.
                Some(rest) if line.split_whitespace().nth(1) == Some("d") => lines.push(rest.to_owned()),
                Some(rest) => fs::remove_file(self.at(rest.split([' ', '=']).next().unwrap())).unwrap(),
            }
        }
        self.contents(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        fs::remove_dir_all(self.at(&format!("/var/sadm/pkg/{package}"))).unwrap();
        assert_eq!(self.run("pkgchk -R @ROOT@").ok(), "");
    }
}

#[test]
fn a_library_that_was_pruned_comes_out_of_the_archive_of_the_patch_whose_backout_needs_it() {
    for options in ["", "-B"] {
        let Some(pair) = Pair::new("a library pruned before the backout") else { return };
        let stage = &pair.stage;
        let undo = stage.beside("undo");
        fs::create_dir(&undo).unwrap();
        let options = options.replace("-B", &format!("--undo-dir {}", undo.display()));
        let base = Before::of(stage);
        let other = fs::read(stage.at(USER)).unwrap();
        stage.apply_tells("--libs keep", &pair.patch);
        let between = Before::of(stage);
        stage.file("/opt/own/q", &other);
        // The renewed program no longer needs the kept library, but another one does.
        assert_eq!(stage.apply_tells(&options, &pair.renewal()), Vec::<String>::new());
        assert_eq!(stage.packages(), "ACMEp ACMEx ACMEx-SO");
        fs::remove_dir_all(stage.at("/opt")).unwrap();
        stage.prune_by_hand("ACMEx-SO");
        stage.remove_tells("", "200-01");
        assert_eq!(stage.packages(), "ACMEp ACMEx ACMEx-SO");
        between.assert_again(stage, "the pruned library is back");
        stage.remove_tells("", "100-01");
        base.assert_again(stage, "everything is backed out");
        assert!(fs::read_dir(&undo).unwrap().next().is_none());
    }
}

#[test]
fn a_patch_without_undo_data_keeps_and_drops_all_the_same() {
    let Some(pair) = Pair::new("a patch without undo data") else { return };
    let stage = &pair.stage;
    let kept = "ACMEx-SO keeps libx.so.1 (/usr/lib/libx.so.1) for needed /usr/bin/p";
    let run = |options: &str, patch: &Patch| {
        let line = format!("add --json --no-undo {options} -R @ROOT@ {}", patch.directory(stage).display());
        super::told(&stage.run(&line).ok()).unwrap()
    };
    assert_eq!(run("--libs keep", &pair.patch), [kept]);
    stage.run("patchrm -R @ROOT@ 100-01").fails(4);
    assert_eq!(run("", &pair.renewal()), ["dropped ACMEx-SO (/usr/lib/libx.so.1)"]);
    assert_eq!(stage.packages(), "ACMEp ACMEx");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    stage.run("patchrm -R @ROOT@ 200-01").fails(4);
}

#[test]
fn a_backout_is_exact_where_nothing_is_to_be_kept() {
    let Some(pair) = Pair::new("a backout is exact") else { return };
    let stage = &pair.stage;
    let base = Before::of(stage);
    stage.apply_tells("--libs keep", &pair.patch);
    stage.apply_tells("", &pair.renewal());
    let lost = "lost libx.so.2 [] not-asked for needed /usr/bin/p";
    assert_eq!(stage.remove_tells("--libs report", "100-01"), [lost]);
    assert_eq!(stage.packages(), "ACMEp ACMEx");
    stage.remove_tells("", "200-01");
    base.assert_again(stage, "both are backed out");
}

#[test]
fn a_backout_keeps_what_a_program_needs_that_came_since_and_nothing_for_one_that_lacked_it_before() {
    let Some(pair) = Pair::new("a backout keeps") else { return };
    let stage = &pair.stage;
    pair.compiler.library_with("libx.so.2", &[], &[]);
    let program = pair.compiler.program_with(&["libx.so.2"], &[]);
    stage.file("/opt/own/early", &program);
    stage.apply_tells("", &pair.patch);
    let plan = |stage: &Scenario| {
        super::told(&stage.run("remove --dry-run --json --libs keep -R @ROOT@ 100-01").ok()).unwrap()
    };
    assert_eq!(plan(stage), Vec::<String>::new(), "it lacked the library before");
    stage.file("/opt/own/late", &program);
    assert_eq!(plan(stage), ["ACMEx-SO keeps libx.so.2 (/usr/lib/libx.so.2) for needed /opt/own/late"]);
    // Another file is at the same path: it came later.
    fs::remove_file(stage.at("/opt/own/late")).unwrap();
    let other = pair.compiler.program_with(&["libx.so.2"], &["-Wl,-rpath,/nowhere"]);
    fs::remove_file(stage.at("/opt/own/early")).unwrap();
    stage.file("/opt/own/early", &other);
    assert_eq!(plan(stage), ["ACMEx-SO keeps libx.so.2 (/usr/lib/libx.so.2) for needed /opt/own/early"]);
}

#[test]
fn of_a_kept_package_that_part_goes_which_nobody_needs() {
    let Some(compiler) = Compiler::found("a part of a kept package") else { return };
    let [a, b] = ["liba.so.1", "libb.so.1"].map(|soname| compiler.library_with(soname, &[], &[]));
    let [p, q] = ["liba.so.1", "libb.so.1"].map(|soname| compiler.program_with(&[soname], &[]));
    let stage = Scenario::with(&[
        package("ACMEab", &[("usr/lib/liba.so.1", &a[..]), ("usr/lib/libb.so.1", &b)]),
        package("ACMEp", &[(USER, &p)]),
        package("ACMEq", &[("usr/bin/q", &q)]),
    ]);
    let base = Before::of(&stage);
    let patched = package("ACMEab", &[("usr/lib/liba.so.2", &compiler.library_with("liba.so.2", &[], &[]))]);
    let patch = Patch::of("100-01", patched.deletes(&["usr/lib/liba.so.1", "usr/lib/libb.so.1"]));
    stage.apply_tells("--libs keep", &patch);
    let between = Before::of(&stage);
    let renewed = compiler.program_with(&["liba.so.2"], &[]);
    let renewal = Patch::of("200-01", package("ACMEp", &[(USER, &renewed)]));
    assert_eq!(stage.apply_tells("", &renewal), ["dropped ACMEab-SO (/usr/lib/liba.so.1)"]);
    let at = |name: &str| stage.text(&format!("/var/sadm/pkg/ACMEab-SO/install/{name}"));
    assert_eq!(at("consumers"), "needed /usr/bin/q\n");
    assert_eq!(at("depend"), "R ACMEq ACMEq for tests\n");
    assert!(!stage.at("/usr/lib/liba.so.1").exists() && stage.at("/usr/lib/libb.so.1").exists());
    stage.remove_tells("", "200-01");
    between.assert_again(&stage, "the new program is backed out");
    stage.remove_tells("", "100-01");
    base.assert_again(&stage, "both are backed out");
}

#[test]
fn what_is_delivered_again_with_the_same_bytes_changes_only_its_owner() {
    let Some(pair) = Pair::new("delivered again") else { return };
    let stage = &pair.stage;
    let base = Before::of(stage);
    let old = fs::read(stage.at(OLD)).unwrap();
    stage.apply_tells("--libs keep", &pair.patch);
    let between = Before::of(stage);
    let inode = stage.at(OLD).metadata().unwrap().ino();
    let again = Patch::of("300-01", package("ACMEx", &[(OLD, &old)]));
    assert_eq!(stage.apply_tells("", &again), ["returned ACMEx-SO (/usr/lib/libx.so.1)"]);
    assert_eq!(stage.at(OLD).metadata().unwrap().ino(), inode);
    assert_eq!(stage.packages(), "ACMEp ACMEx");
    let kept = "ACMEx-SO keeps libx.so.1 (/usr/lib/libx.so.1) for needed /usr/bin/p";
    assert_eq!(stage.remove_tells("", "300-01"), [kept]);
    assert_eq!(stage.at(OLD).metadata().unwrap().ino(), inode);
    assert_eq!(stage.packages(), "ACMEp ACMEx ACMEx-SO");
    between.assert_again(stage, "the library is kept again");
    stage.remove_tells("", "100-01");
    base.assert_again(stage, "both are backed out");
    // Another file takes its place.
    stage.apply_tells("--libs keep", &pair.patch);
    let between = Before::of(stage);
    let other = pair.compiler.library_with("libx.so.1", &[], &["-Wl,-rpath,/nowhere"]);
    let other = Patch::of("400-01", package("ACMEx", &[(OLD, &other)]));
    assert_eq!(stage.apply_tells("", &other), ["dropped ACMEx-SO (/usr/lib/libx.so.1)"]);
    assert_eq!(stage.packages(), "ACMEp ACMEx");
    stage.remove_tells("", "400-01");
    between.assert_again(stage, "the library is kept once more");
}

#[test]
fn what_lost_its_program_by_hand_does_not_go_by_the_way() {
    let Some(pair) = Pair::new("what lost its program by hand") else { return };
    let stage = &pair.stage;
    stage.apply_tells("--libs keep", &pair.patch);
    fs::remove_file(stage.at(USER)).unwrap();
    let other = pair.compiler.library_with("liby.so.1", &[], &[]);
    let patch = Patch::of("300-01", package("ACMEx", &[("usr/lib/liby.so.1", &other)]));
    let line = format!("add --json -R @ROOT@ {}", patch.directory(stage).display());
    assert_eq!(super::told(&stage.run(&line).ok()).unwrap(), Vec::<String>::new());
    assert!(stage.at(OLD).exists());
    assert_eq!(stage.packages(), "ACMEp ACMEx ACMEx-SO");
    stage.run("patchrm -R @ROOT@ 300-01").ok();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(stage.packages(), "ACMEp ACMEx");
}

#[test]
fn directories_on_the_way_to_a_kept_library_are_shared_and_come_back() {
    let Some(compiler) = Compiler::found("directories on the way") else { return };
    let old = compiler.library_with("libx.so.1", &[], &[]);
    let path = "-Wl,-rpath,/opt/acme/lib";
    let program = compiler.program_with(&["libx.so.1"], &[path]);
    let own = |package: Package| package.directory("opt").directory("opt/acme").directory("opt/acme/lib");
    let files = own(package("ACMEx", &[("opt/acme/lib/libx.so.1", &old)]));
    let stage = Scenario::with(&[files, package("ACMEp", &[(USER, &program)])]);
    let base = Before::of(&stage);
    let all = ["opt/acme/lib/libx.so.1", "opt/acme/lib", "opt/acme", "opt"];
    let patch = Patch::of("100-01", package("ACMEx", &[(NEW, b"new")]).deletes(&all));
    stage.apply_tells("--libs keep", &patch);
    let lines = stage.lines();
    let line = |path: &str| lines.iter().find(|line| line.split([' ', '=']).next() == Some(path)).cloned();
    for path in ["/opt", "/opt/acme", "/opt/acme/lib", "/opt/acme/lib/libx.so.1"] {
        assert!(line(path).is_some_and(|line| line.ends_with(" ACMEx-SO")), "{path}: {:?}", line(path));
    }
    let between = Before::of(&stage);
    let renewed = compiler.program_with(&[], &[]);
    stage.apply_tells("", &Patch::of("200-01", package("ACMEp", &[(USER, &renewed)])));
    assert!(!stage.at("/opt").exists());
    stage.remove_tells("", "200-01");
    between.assert_again(&stage, "the new program is backed out");
    stage.remove_tells("", "100-01");
    base.assert_again(&stage, "both are backed out");
}

#[test]
fn an_ordinary_user_keeps_libraries_in_a_tree_of_his_own() {
    let Some(pair) = Pair::new("an ordinary user keeps") else { return };
    let stage = &pair.stage;
    let (uid, gid) = ordinary_ids(stage);
    stage.file("/etc/passwd", format!("root:x:{uid}:{gid}::/:/bin/sh\n"));
    stage.file("/etc/group", format!("root:x:{gid}:\n"));
    let [one, two] = [&pair.patch, &pair.renewal()].map(|patch| patch.directory(stage));
    let run = |line: &str| {
        let output = as_ordinary_user(stage, line, &[&stage.root()]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run("pkginfo -R @ROOT@");
    let base = Before::of(stage);
    let said = run(&format!("add --json --libs keep -R @ROOT@ {}", one.display()));
    let kept = "ACMEx-SO keeps libx.so.1 (/usr/lib/libx.so.1) for needed /usr/bin/p";
    assert_eq!(super::told(&said).unwrap(), [kept]);
    let between = Before::of(stage);
    let said = run(&format!("add --json -R @ROOT@ {}", two.display()));
    assert_eq!(super::told(&said).unwrap(), ["dropped ACMEx-SO (/usr/lib/libx.so.1)"]);
    run("remove -R @ROOT@ 200-01");
    between.assert_again(stage, "the new program is backed out");
    run("remove -R @ROOT@ 100-01");
    base.assert_again(stage, "both are backed out");
}
