//! Undo data in the save directories: its place, its state, and undo data of other tools.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;

use crate::delivery::Patch;
use crate::goldens_of_packages::Stage;
use crate::packages::{DELIVERED, Package};
use crate::records::Before;
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};

/// A root with a package of two programs.
pub(crate) fn stage() -> Scenario {
    Scenario::with(&[Package::new("ACMEweb")
        .file("bin/httpd", 0o755, "one\n")
        .file("bin/tool", 0o755, "one\n")])
}

/// A patch that replaces the first program.
pub(crate) fn patch(id: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, format!("as of {id}\n")))
}

fn saved(file: &str) -> String {
    format!("/var/sadm/pkg/ACMEweb/save/{file}")
}

#[test]
fn a_pointer_to_undo_data_elsewhere_says_whether_it_is_active() {
    let stage = stage();
    let undo = stage.beside("undo");
    fs::create_dir(&undo).unwrap();
    let pointer = |state: &str| {
        format!(
            "# Backout data stored remotely\nTYPE=filesystem\nFIND_AT={}/100-01/ACMEweb/undo.gz\nSTATE={state}\n",
            undo.display()
        )
    };
    stage.patchadd(&format!("-B {}", undo.display()), &patch("100-01")).ok();
    assert_eq!(stage.text(&saved("100-01/remote")), pointer("active"));
    stage.patchadd("", &patch("100-02")).ok();
    assert_eq!(stage.text(&saved("100-01/remote")), pointer("obsolete"));
    assert_eq!(stage.text(&saved("100-01/obsoleted_by")), "100-02\n");
    stage.run("patchrm -R @ROOT@ 100-02").ok();
    assert_eq!(stage.text(&saved("100-01/remote")), pointer("active"));
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert!(!stage.at(&saved("100-01")).exists());
}

#[test]
fn the_archive_of_a_patch_has_no_line_for_each_patch_before_it() {
    let stage = stage();
    let ids: Vec<String> = (1..=6).map(|number| format!("{number}00-01")).collect();
    for id in &ids {
        stage.patchadd("", &patch(id)).ok();
    }
    for id in &ids[1..] {
        let archive = fs::File::open(stage.at(&saved(&format!("{id}/undo.gz")))).unwrap();
        let mut stream = Vec::new();
        MultiGzDecoder::new(archive).read_to_end(&mut stream).unwrap();
        let lines = stream.windows(14).filter(|window| window == b"-01=Installed:").count();
        assert_eq!(lines, 1, "{id} saved the pkginfo without the lines that others have");
    }
    let before = stage.text("/var/sadm/pkg/ACMEweb/pkginfo");
    stage.patchadd("", &patch("900-01")).ok();
    stage.run("patchrm -R @ROOT@ 900-01").ok();
    let after = stage.text("/var/sadm/pkg/ACMEweb/pkginfo");
    assert_eq!(after, format!("{before}PATCH_INFO_900-01=backed out\n"));
}

#[test]
fn the_next_revision_needs_no_undo_data_of_the_one_before() {
    for damage in ["gone", "cut", "elsewhere"] {
        let stage = stage();
        let undo = stage.beside("undo");
        fs::create_dir(&undo).unwrap();
        let options = if damage == "elsewhere" { format!("-B {}", undo.display()) } else { String::new() };
        stage.patchadd(&options, &patch("100-01")).ok();
        let archive = stage.at(&saved("100-01/undo.gz"));
        match damage {
            "gone" => fs::remove_file(&archive).unwrap(),
            "cut" => fs::write(&archive, b"\x1f\x8b").unwrap(),
            _ => fs::remove_dir_all(&undo).unwrap(),
        }
        stage.patchadd("", &patch("100-02")).ok();
        stage.run("patchrm -R @ROOT@ 100-02").ok();
        assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "as of 100-01\n", "{damage}");
        let code = if damage == "elsewhere" { 12 } else { 4 };
        stage.run("patchrm -R @ROOT@ 100-01").fails(code);
    }
}

#[test]
fn an_archive_of_another_root_is_never_overwritten_or_restored() {
    let (one, other) = (stage(), stage());
    let undo = one.beside("undo");
    fs::create_dir(&undo).unwrap();
    let options = format!("-B {}", undo.display());
    one.patchadd(&options, &patch("100-01")).ok();
    let before = (other.everything(), fs::read(undo.join("100-01/ACMEweb/undo.gz")).unwrap());
    let said = other.patchadd(&options, &patch("100-01"));
    assert_ne!(said.code, 0, "{}", said.stdout);
    assert!(said.stderr.contains("100-01/ACMEweb/undo.gz"), "{}", said.stderr);
    assert_eq!((other.everything(), fs::read(undo.join("100-01/ACMEweb/undo.gz")).unwrap()), before);
}

#[test]
fn a_patch_applied_again_keeps_its_records_and_the_first_undo_data() {
    let stage = stage();
    let before = Before::of(&stage);
    stage.patchadd("", &patch("100-01").says("SUNW_OBSOLETES", "90-01")).ok();
    let archive = fs::read(stage.at(&saved("100-01/undo.gz"))).unwrap();
    let said = |name: &str| stage.run(&format!("pkgparam -R @ROOT@ ACMEweb {name}")).ok();
    let records = ["PATCHLIST", "PATCH_OBSOLETES", "PATCH_INFO_100-01"].map(said);
    fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "mine\n").unwrap();
    stage.patchadd("-u", &patch("100-01").says("SUNW_OBSOLETES", "90-01")).ok();
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "as of 100-01\n");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd.edited-100-01"), "mine\n");
    assert_eq!(["PATCHLIST", "PATCH_OBSOLETES", "PATCH_INFO_100-01"].map(said), records);
    assert_eq!(fs::read(stage.at(&saved("100-01/undo.gz"))).unwrap(), archive);
    fs::remove_file(stage.at("/opt/ACMEweb/bin/httpd.edited-100-01")).unwrap();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    before.assert_again(&stage, "backed out once");
}

#[test]
fn a_patch_of_the_old_progressive_kind_is_listed_and_cannot_be_backed_out() {
    let stage = Scenario::new();
    stage.package("ACMEweb", "PKG=ACMEweb\nNAME=A\nARCH=i386\nVERSION=1.0\nCATEGORY=a\nSUNW_PATCHID=90-01\n");
    stage.contents(&[]);
    assert_eq!(
        stage.run("showrev -p -R @ROOT@").ok(),
        "Patch: 90-01 Obsoletes:  Requires:  Incompatibles:  Packages: ACMEweb\n"
    );
    let before = stage.everything();
    let said = stage.run("patchrm -R @ROOT@ 90-01").fails(4);
    assert!(said.contains("90-01") && said.ends_with("Patchrm is terminating.\n"), "{said}");
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_patch_of_two_packages_is_one_unit() {
    let stage = Scenario::with(&[
        Package::new("ACMEa").file("bin/a", 0o755, "one\n"),
        Package::new("ACMEb").file("bin/b", 0o755, "one\n"),
    ]);
    let both = Patch::of("100-01", Package::new("ACMEa").file("bin/a", 0o755, "two\n"))
        .package(Package::new("ACMEb").file("bin/b", 0o755, "two\n"));
    let damaged = both.directory(&stage).join("ACMEb/reloc/bin/b");
    fs::write(&damaged, "bad\n").unwrap();
    let before = stage.everything();
    stage.run("patchadd -R @ROOT@ delivered/100-01").fails(10);
    assert_same(&stage.everything(), &before);
    let untouched = Before::of(&stage);
    stage.patchadd("", &both).ok();
    let archive = stage.at("/var/sadm/pkg/ACMEb/save/100-01/undo.gz");
    let bytes = fs::read(&archive).unwrap();
    fs::write(&archive, &bytes[..bytes.len() - 9]).unwrap();
    let before = stage.everything();
    stage.run("patchrm -R @ROOT@ 100-01").fails(4);
    assert_same(&stage.everything(), &before);
    fs::write(&archive, bytes).unwrap();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    untouched.assert_again(&stage, "both at once");
}

#[test]
fn undo_data_of_the_classic_tools_is_restored() {
    for (scenario, id) in [("02-apply-01", "103201-01"), ("08-deletes-newfiles", "103400-01")] {
        let Some(golden) = Stage::new("undo data of the classic tools") else { return };
        golden.add(&golden.scenario.beside("spool"), "SUNWstuf");
        let root = golden.scenario.root();
        let before = Tree::of(&root, &["var"]);
        let patch = golden.goldens.join(format!("pkgs/{id}.ds"));
        golden.scenario.run(&format!("patchadd -R @ROOT@ {}", patch.display())).ok();
        let save: PathBuf = root.join("var/sadm/pkg/SUNWstuf/save").join(id);
        fs::remove_dir_all(&save).unwrap();
        fs::create_dir(&save).unwrap();
        golden.scenario.forget_ledgers();
        let step = format!("{scenario}/out/apply-{id}/snap/pkg/SUNWstuf/save/{id}/undo.Z");
        fs::write(save.join("undo.Z"), fs::read(golden.goldens.join(step)).unwrap()).unwrap();
        golden.scenario.run(&format!("patchrm -R @ROOT@ {id}")).ok();
        // The undo data does not record that scenario 8 made this directory.
        assert_same(&Tree::of(&root, &["var", "opt/SUNWstuf/newdir"]), &before);
        let list = golden.scenario.run("pkgparam -R @ROOT@ SUNWstuf PATCHLIST").ok();
        assert_eq!(list.trim(), "", "{id}");
    }
}

/// A patch of another base delivers what the first one put there, and another file.
#[test]
fn a_fix_that_two_patches_deliver_stays_until_both_have_gone_in_whatever_order() {
    let web = |httpd: &str, other: &str| {
        Package::new("ACMEweb").content('f', "bin/httpd", 0o755, "root root", DELIVERED, httpd).file(
            "bin/other",
            0o755,
            other,
        )
    };
    for order in [["100-01", "200-01"], ["200-01", "100-01"]] {
        let stage = Scenario::with(&[web("old\n", "old\n")]);
        let before = stage.tree();
        let fix = Package::new("ACMEweb").content('f', "bin/httpd", 0o755, "root root", DELIVERED, "fixed\n");
        Patch::of("100-01", fix).directory(&stage);
        Patch::of("200-01", web("fixed\n", "new\n")).directory(&stage);
        stage.run("add -R @ROOT@ delivered/100-01").ok();
        stage.run("add -R @ROOT@ delivered/200-01").ok();
        stage.run(&format!("remove -R @ROOT@ {}", order[0])).ok();
        assert_eq!(fs::read_to_string(stage.at("/opt/ACMEweb/bin/httpd")).unwrap(), "fixed\n");
        stage.run(&format!("remove -R @ROOT@ {}", order[1])).ok();
        let differences = before.difference(&stage.tree());
        assert!(differences.is_empty(), "{differences}");
    }
}

/// Each patch brings information files, one of them with the same text, and a class.
#[test]
fn records_and_classes_are_those_of_the_patches_that_are_left_in_whatever_order_others_went() {
    let fix = |number: &str, class: &str| {
        let package = Package::new("ACMEweb").file(&format!("share/{number}"), 0o644, number);
        let package = package.information("copyright", "all rights\n").information("depend", "");
        Patch::of(&format!("{number}-01"), package.information(&format!("request{number}"), number))
            .says("CLASSES", &format!("none {class}"))
    };
    let delivered = [fix("100", "one"), fix("200", "two"), fix("300", "one")];
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        let stage = stage();
        let before = Before::of(&stage);
        let classes = stage.run("pkgparam -R @ROOT@ ACMEweb CLASSES").ok();
        for patch in &delivered {
            stage.patchadd("", patch).ok();
        }
        for (place, number) in order.into_iter().enumerate() {
            stage.run(&format!("remove -R @ROOT@ {}00-01", number + 1)).ok();
            let left = &order[place + 1..];
            let now = stage.run("pkgparam -R @ROOT@ ACMEweb CLASSES").ok();
            let has = |class: &str| now.split_whitespace().any(|known| known == class);
            assert_eq!(has("one"), left.contains(&0) || left.contains(&2), "{order:?}: {now}");
            assert_eq!(has("two"), left.contains(&1), "{order:?}: {now}");
            for other in 0..3 {
                let at = format!("/var/sadm/pkg/ACMEweb/save/pspool/ACMEweb/install/request{}00", other + 1);
                assert_eq!(stage.at(&at).exists(), left.contains(&other), "{order:?}: {at}");
            }
        }
        assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb CLASSES").ok(), classes, "{order:?}");
        before.assert_again(&stage, &format!("{order:?}"));
    }
}
