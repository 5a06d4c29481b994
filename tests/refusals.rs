//! Refusals of patchadd and patchrm: the exit code, the message byte for byte, and that nothing at all has changed.
//!
//! Codes 2, 15, 23, 25 and 35 are in the worked examples, 64 and 19 (locked) and 65 with the interrupted runs, 3 with
//! the unprivileged ones, 5 and those of damaged sources with bad input.

use std::fs;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::records::OWN;
use crate::scenario::{Scenario, code_of};
use crate::tree::{Tree, assert_same};

fn web() -> Package {
    Package::new("ACMEweb")
        .param("BASEDIR", "/opt/web")
        .file("bin/httpd", 0o755, "one\n")
        .file("bin/tool", 0o755, "one\n")
}

fn stage() -> Scenario {
    Scenario::with(&[web()])
}

/// A sparse package with one file.
fn sparse(package: &str, path: &str) -> Package {
    Package::new(package).file(path, 0o755, "two\n")
}

/// A patch of the file `bin/httpd`.
fn patch(id: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, format!("as of {id}\n")))
}

/// Asserts that a command line is refused and changes nothing on the root. Returns standard error without the lines
/// that every refusal has.
#[track_caller]
fn refused(stage: &Scenario, code: i32, line: &str) -> String {
    let is_first = !stage.at("/var/sadm/patchadm").exists();
    let left_out = if is_first { &OWN[1..] } else { &OWN };
    let before = Tree::of(&stage.root(), left_out);
    let run = stage.run(line);
    assert_same(&Tree::of(&stage.root(), left_out), &before);
    let terminating =
        if line.starts_with("patchadd") { "Patchadd is terminating.\n" } else { "Patchrm is terminating.\n" };
    let said = run.fails(code);
    let reason = said.strip_prefix("ERROR: ").and_then(|rest| rest.strip_suffix(terminating));
    let reason = reason.unwrap_or_else(|| panic!("not in the form of a refusal: {said}"));
    reason.trim_end().replace(stage.beside("delivered").to_str().unwrap(), "@DELIVERED@")
}

#[track_caller]
fn refuses(stage: &Scenario, code: i32, options: &str, patch: &Patch) -> String {
    let line = format!("patchadd {options} -R @ROOT@ {}", patch.directory(stage).display());
    let dry = line.replacen("patchadd", "patchadd -a", 1);
    let reason = refused(stage, code, &line);
    assert_eq!(refused(stage, code, &dry), reason, "-a says the same");
    reason
}

#[test]
fn wrong_usage_is_1() {
    let stage = stage();
    for line in [
        "patchadd",
        "patchadd -d -B /tmp x",
        "patchadd -p x",
        "patchadd -z x",
        "patchrm",
        "patchrm -d 1-01",
        "add",
        "add --no-undo --undo-dir /tmp x",
        "add --edited perhaps x",
        "remove",
        "plan",
    ] {
        let said = stage.run(line).fails(code_of(line, 1, 2));
        assert!(
            (said.contains("ERROR: ") || said.contains("error: ")) && said.contains("\nusage: "),
            "{line}: {said}"
        );
    }
}

#[test]
fn save_data_of_a_patch_that_is_not_applied_is_4() {
    let stage = stage();
    stage.file("/var/sadm/pkg/ACMEweb/save/100-01/undo.gz", "somebody's\n");
    assert_eq!(
        refuses(&stage, 4, "", &patch("100-01")),
        "Patch 100-01 is not applied: package ACMEweb has a save directory of this patch, which is not applied."
    );
}

#[test]
fn an_obsoleted_patch_is_6() {
    let stage = stage();
    stage.patchadd("", &patch("200-01").says("SUNW_OBSOLETES", "100-02")).ok();
    assert_eq!(
        refuses(&stage, 6, "", &patch("100-01")),
        "This patch is obsoleted by patch 200-01 which has already\nbeen applied to this system."
    );
}

#[test]
fn a_root_without_database_is_7() {
    let stage = stage();
    fs::rename(stage.at("/var/sadm/pkg"), stage.at("/var/sadm/gone")).unwrap();
    assert_eq!(
        refuses(&stage, 7, "", &patch("100-01")),
        "no package database below @ROOT@; specify the right root with -R.\nNothing was changed.\nTo make a new root, install a package there with `patchadm pkgadd -R`."
    );
}

#[test]
fn a_patch_for_other_packages_or_versions_is_8() {
    let stage = stage();
    let said = "None of the packages of patch 100-01 is installed on this system.";
    assert_eq!(refuses(&stage, 8, "", &Patch::of("100-01", sparse("ACMEdb", "bin/x"))), said);
    for (name, value) in [("VERSION", "1.0,REV=2"), ("ARCH", "sparc")] {
        let other = Patch::of("100-01", sparse("ACMEweb", "bin/x").param(name, value));
        assert_eq!(refuses(&stage, 8, "", &other), said, "{name}");
    }
}

#[test]
fn files_that_were_edited_are_10_and_all_are_listed() {
    let stage = stage();
    for file in ["httpd", "tool"] {
        fs::write(stage.at(&format!("/opt/web/bin/{file}")), "mine\n").unwrap();
    }
    let both = Patch::of("100-01", sparse("ACMEweb", "bin/httpd").file("bin/tool", 0o755, "two\n"));
    assert_eq!(
        refuses(&stage, 10, "", &both),
        "Patch 100-01 is not applied: modified locally: @ROOT@/opt/web/bin/httpd, @ROOT@/opt/web/bin/tool.\nSee \
         patchadd(1M) for instructions"
    );
}

#[test]
fn scripts_that_the_policy_does_not_allow_are_10() {
    let stage = stage();
    stage.file("/etc/patchadm/policy", "scripts=none\n");
    let own = sparse("ACMEweb", "bin/httpd").information("preinstall", "exit 0\n");
    assert_eq!(
        refuses(&stage, 10, "", &Patch::of("100-01", own)),
        "Patch 100-01 is not applied: package ACMEweb has the script preinstall, which the policy of this root does not \
         allow."
    );
    let refused = refuses(&stage, 10, "", &patch("100-02").beside("prepatch", "exit 0\n"));
    assert!(
        refused.starts_with("Patch 100-02 is not applied: it has the script prepatch, which"),
        "{refused}"
    );
}

#[test]
fn zone_parameters_that_differ_are_10() {
    let stage = Scenario::with(&[web().param("SUNW_PKG_HOLLOW", "false")]);
    assert_eq!(
        refuses(&stage, 10, "", &patch("100-01").says("SUNW_PKG_HOLLOW", "true")),
        "Patch 100-01 is not applied: SUNW_PKG_HOLLOW of package ACMEweb is <true>, but <false> is installed."
    );
}

#[test]
fn a_patch_that_wants_a_conversation_is_10() {
    let stage = stage();
    assert_eq!(
        refuses(&stage, 10, "", &patch("100-01").says("SUNW_PATCH_PROPERTIES", "interactive")),
        "Patch 100-01 is not applied: it must be applied manually: it has the property `interactive`."
    );
}

#[test]
fn a_symbolic_link_where_a_file_should_be_is_13() {
    let stage = stage();
    let patch = patch("100-01");
    let file = patch.directory(&stage).join("ACMEweb/reloc/bin/httpd");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    let line = format!("patchadd -R @ROOT@ {}", stage.beside("delivered/100-01").display());
    assert_eq!(
        refused(&stage, 13, &line),
        "@DELIVERED@/100-01: package ACMEweb, file bin/httpd: symbolic link included in patch.\nNothing was changed."
    );
}

#[test]
fn undo_data_for_some_packages_of_a_patch_only_is_17() {
    let stage = stage();
    let both = patch("100-01").package(sparse("ACMEdb", "bin/db"));
    let db = Package::new("ACMEdb").file("bin/db", 0o755, "one\n");
    stage.patchadd("-d", &both).ok();
    stage.install(&db);
    assert_eq!(
        refuses(&stage, 17, "", &both),
        "Patch 100-01 is not applied: it is applied to package ACMEweb without undo data and would be applied to \
         the others with it.\nSee patchadd(1M) for instructions"
    );
    let stage = Scenario::with(&[web()]);
    stage.patchadd("", &both).ok();
    stage.install(&db);
    assert_eq!(
        refuses(&stage, 17, "-d", &both),
        "Patch 100-01 is not applied: it is applied to package ACMEweb with undo data and would be applied to \
         the others without it.\nSee patchadd(1M) for instructions"
    );
}

#[test]
fn more_than_a_file_system_holds_is_18() {
    let stage = stage();
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, ""));
    let delivered = patch.directory(&stage).join("ACMEweb");
    let size = 8_u64 << 40;
    let file = fs::File::create(delivered.join("reloc/bin/httpd")).unwrap();
    file.set_len(size).unwrap(); // a hole: nothing of it is on the disk
    let pkgmap = fs::read_to_string(delivered.join("pkgmap")).unwrap();
    let pkgmap = pkgmap.replace("root root 0 0 ", &format!("root root {size} 0 "));
    fs::write(delivered.join("pkgmap"), pkgmap).unwrap();
    let said =
        refused(&stage, 18, &format!("patchadd -R @ROOT@ {}", stage.beside("delivered/100-01").display()));
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(said.starts_with("Patch 100-01 is not applied: @ROOT@/ has "), "{said}");
    assert!(words.contains(&"free,") && words.ends_with(&["are", "needed."]), "{said}");
}

#[test]
fn an_incompatible_patch_is_24_whoever_says_so() {
    for (applied, new) in [("", "100-01"), ("200-01", "")] {
        let stage = stage();
        stage.patchadd("", &patch("100-01").says("SUNW_INCOMPAT", applied)).ok();
        assert_eq!(
            refuses(&stage, 24, "", &patch("200-01").says("SUNW_INCOMPAT", new)),
            "Patch 200-01 is incompatible with applied patch 100-01."
        );
    }
}

#[test]
fn a_patch_that_is_not_there_is_27_or_33() {
    let stage = stage();
    assert_eq!(
        refused(&stage, 27, "patchadd -R @ROOT@ nosuch"),
        "nosuch: no such file or directory.\nNothing was changed."
    );
    assert_eq!(
        refused(&stage, 33, "patchadd -R @ROOT@ /no/such"),
        "/no/such: no such file or directory.\nNothing was changed."
    );
}

#[test]
fn an_id_without_revision_is_29() {
    let stage = stage();
    let said = refuses(&stage, 29, "", &patch("12345"));
    assert!(said.starts_with("Patch 12345 is not applied: package ACMEweb: "), "{said}");
}

#[test]
fn packages_that_name_two_patches_are_33() {
    let stage = stage();
    let two = patch("100-01").package(sparse("ACMEdb", "bin/db")).says("SUNW_PATCHID", "100-02");
    assert_eq!(
        refuses(&stage, 33, "", &two),
        "Patch 100-01 is not applied: its packages name two patches, 100-02 and 100-01."
    );
    let none = patch("100-03").says("SUNW_PATCHID", "");
    let said = refuses(&stage, 33, "", &none);
    assert!(said.contains("names no patch"), "{said}");
}

#[test]
fn a_backout_directory_that_cannot_be_used_is_37() {
    let stage = stage();
    fs::write(stage.beside("file"), "").unwrap();
    let file = stage.beside("file");
    for (directory, reason) in [
        ("undo".to_owned(), "is not an absolute path without `..`"),
        ("/no/such".to_owned(), "is not a directory"),
        (file.display().to_string(), "is not a directory"),
    ] {
        let said = refuses(&stage, 37, &format!("-B {directory}"), &patch("100-01"));
        assert!(said.contains(&format!("{directory}: {reason}")), "{said}");
    }
}

#[test]
fn a_policy_excludes_a_patch() {
    let stage = stage();
    stage.file("/etc/patchadm/policy", "exclude=100-01\n");
    assert_eq!(
        refuses(&stage, 10, "", &patch("100-01")),
        "Patch 100-01 is not applied: the policy of this root excludes it."
    );
    stage.patchadd("", &patch("100-02")).ok();
}

#[test]
fn backing_out_what_is_not_applied_is_2_and_what_is_no_id_is_8() {
    let stage = stage();
    assert_eq!(refused(&stage, 2, "patchrm -R @ROOT@ 100-01"), "Patch 100-01 has not been applied.");
    let said = refused(&stage, 8, "patchrm -R @ROOT@ onehundred");
    assert!(said.contains("onehundred"), "{said}");
}

#[test]
fn backing_out_without_undo_data_is_4() {
    let stage = stage();
    stage.patchadd("-d", &patch("100-01")).ok();
    let said = refused(&stage, 4, "patchrm -R @ROOT@ 100-01");
    assert!(said.contains("100-01") && said.contains("ACMEweb"), "{said}");
}

#[test]
fn a_damaged_undo_archive_is_4() {
    let archive = "/var/sadm/pkg/ACMEweb/save/100-01/undo.gz";
    for damage in ["cut", "bit", "gone"] {
        let stage = stage();
        stage.patchadd("", &patch("100-01")).ok();
        let mut bytes = fs::read(stage.at(archive)).unwrap();
        let middle = bytes.len() / 2;
        match damage {
            "cut" => bytes.truncate(middle),
            _ => bytes[middle] ^= 1,
        }
        fs::write(stage.at(archive), bytes).unwrap();
        if damage == "gone" {
            fs::remove_file(stage.at(archive)).unwrap();
        }
        let said = refused(&stage, 4, "patchrm -R @ROOT@ 100-01");
        let named = if damage == "gone" {
            "package ACMEweb"
        } else {
            "@ROOT@/var/sadm/pkg/ACMEweb/save/100-01/undo.gz"
        };
        assert!(said.contains(named), "{damage}: {said}");
    }
}

#[test]
fn backing_out_below_a_later_change_is_6() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    stage.patchadd("", &patch("200-01").says("SUNW_OBSOLETES", "100-01")).ok();
    let said = refused(&stage, 6, "patchrm -R @ROOT@ 100-01");
    assert!(said.contains("200-01"), "{said}");
    let settings = Package::new("ACMEweb").param("BASEDIR", "/opt/web").content(
        'e',
        "bin/httpd",
        0o755,
        "root root",
        crate::packages::DELIVERED,
        "settings\n",
    );
    stage.patchadd("", &Patch::of("300-01", settings)).ok();
    let said = refused(&stage, 6, "patchrm -R @ROOT@ 200-01");
    assert_eq!(
        said,
        "Patch 200-01 is not backed out: patch 300-01, which was applied later, also changes @ROOT@/opt/web/bin/httpd: it \
         is a configuration file, and its change depends on the earlier content."
    );
}

#[test]
fn undo_data_that_was_moved_is_12_until_it_is_named() {
    let stage = stage();
    let (first, second) = (stage.beside("undo"), stage.beside("moved"));
    fs::create_dir(&first).unwrap();
    stage.patchadd(&format!("-B {}", first.display()), &patch("100-01")).ok();
    fs::rename(&first, &second).unwrap();
    let said = refused(&stage, 12, "patchrm -R @ROOT@ 100-01");
    assert!(said.contains("undo/100-01/ACMEweb/undo.gz"), "{said}");
    assert!(said.ends_with("Specify the directory of the undo data with `-B DIR`."), "{said}");
    stage.run(&format!("patchrm -R @ROOT@ -B {} 100-01", second.display())).ok();
    assert_eq!(fs::read(stage.at("/opt/web/bin/httpd")).unwrap(), b"one\n");
}

#[test]
fn of_several_patches_the_first_real_failure_counts() {
    let stage = stage();
    stage.patchadd("", &patch("100-01")).ok();
    let tool = Patch::of("300-01", sparse("ACMEweb", "bin/tool"));
    let needy = Patch::of("400-01", sparse("ACMEweb", "bin/x")).says("SUNW_REQUIRES", "999-01");
    let operands =
        [&patch("100-01"), &needy, &tool].map(|patch| patch.directory(&stage).display().to_string());
    let run = stage.run(&format!("patchadd -R @ROOT@ {}", operands.join(" ")));
    assert_eq!(run.code, 25, "{}", run.stderr);
    assert!(run.stderr.contains("Patch 100-01 has already been applied."), "{}", run.stderr);
    assert!(run.stdout.contains("Patch 300-01 has been successfully installed."), "{}", run.stdout);
}
