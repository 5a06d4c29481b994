//! Damaged and inconsistent records: every command that reads them reports the file, the line and a repair, and changes
//! nothing; the repair in the message works.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{ADMIN, Scenario, code_of};

const WEB: &str = "/var/sadm/pkg/ACMEweb/pkginfo";
const CONTENTS: &str = "/var/sadm/install/contents";

fn web() -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n").file("bin/tool", 0o755, "one\n")
}

fn db() -> Package {
    Package::new("ACMEdb").file("bin/db", 0o755, "one\n")
}

/// Two packages; patch 100-01 is for both, 200-01 for the first alone.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web(), db()]);
    stage.patchadd("", &first()).ok();
    stage.patchadd("", &second()).ok();
    stage
}

fn first() -> Patch {
    let files = Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").file("bin/new", 0o755, "new\n");
    Patch::of("100-01", files).package(Package::new("ACMEdb").file("bin/db", 0o755, "two\n"))
}

fn second() -> Patch {
    Patch::of("200-01", Package::new("ACMEweb").file("bin/tool", 0o755, "two\n").deletes(&["bin/new"]))
}

/// A patch for the undamaged package.
fn other() -> Patch {
    Patch::of("300-01", Package::new("ACMEdb").file("bin/db", 0o755, "three\n"))
}

/// A name, and a function that damages a file.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 5] = [
    ("empty", |at| fs::write(at, "").unwrap()),
    ("cut", |at| {
        let whole = fs::read(at).unwrap();
        fs::write(at, &whole[..whole.len() / 2]).unwrap();
    }),
    ("NULs", |at| {
        let size = fs::read(at).unwrap().len();
        fs::write(at, vec![0; size]).unwrap();
    }),
    ("gone", |at| fs::remove_file(at).unwrap()),
    ("a directory", |at| {
        fs::remove_file(at).unwrap();
        fs::create_dir(at).unwrap();
    }),
];

/// Asserts that a command fails with the right code and changes nothing. Returns its output.
fn refused(stage: &Scenario, line: &str, code: i32) -> String {
    let before = stage.everything();
    let run = stage.run(line);
    let said = format!("{}{}", run.stdout, run.stderr);
    assert_eq!(
        run.code,
        if line.starts_with("check") { 4 } else { code_of(line, code, 1) },
        "{line}: {said}"
    );
    assert_eq!(before.difference(&stage.everything()), "", "{line}");
    said
}

/// Every command that plans with the records, or reads all of them, with its exit code.
fn commands(stage: &Scenario) -> Vec<(String, i32)> {
    let (patch, spool) = (other().directory(stage), stage.beside("spool"));
    let (patch, spool) = (patch.display(), spool.display());
    Package::new("ACMEmore").file("more", 0o644, "more\n").write(&stage.beside("spool"));
    [
        (format!("add -R @ROOT@ {patch}"), 28),
        (format!("plan -R @ROOT@ {patch}"), 28),
        (format!("patchadd -R @ROOT@ {patch}"), 28),
        (format!("patchadd -a -R @ROOT@ {patch}"), 28),
        ("remove -R @ROOT@ 100-01".to_owned(), 28),
        ("remove -R @ROOT@ --dry-run 100-01".to_owned(), 28),
        ("patchrm -R @ROOT@ 100-01".to_owned(), 5),
        (format!("pkgadd -n -R @ROOT@ -d {spool} ACMEmore"), 99),
        ("pkgrm -n -R @ROOT@ ACMEdb".to_owned(), 99),
        ("installf -R @ROOT@ ACMEdb /opt/extra d 0755 root root".to_owned(), 99),
        ("removef -R @ROOT@ ACMEdb /opt/ACMEdb/bin/db".to_owned(), 99),
        ("pkgchk -R @ROOT@".to_owned(), 99),
        ("check --contents -R @ROOT@".to_owned(), 1),
    ]
    .into()
}

#[test]
fn everybody_says_which_pkginfo_is_damaged_and_nobody_changes_anything() {
    for (name, damage) in DAMAGES {
        let stage = stage();
        damage(&stage.at(WEB));
        let mut all = commands(&stage);
        all.extend([
            ("pkginfo -R @ROOT@".to_owned(), 1),
            ("pkgparam -R @ROOT@ ACMEweb".to_owned(), 1),
            ("list -R @ROOT@".to_owned(), 28),
            ("show -R @ROOT@ 100-01".to_owned(), 28),
            ("patchadd -p -R @ROOT@".to_owned(), 28),
            ("showrev -p -R @ROOT@".to_owned(), 1),
            ("pkgchk -R @ROOT@ ACMEweb".to_owned(), 99),
            ("check --contents -R @ROOT@ ACMEweb".to_owned(), 1),
        ]);
        for (line, code) in all {
            let said = refused(&stage, &line, code);
            assert!(said.contains("@ROOT@/var/sadm/pkg/ACMEweb/pkginfo: "), "{name}: {line}: {said}");
            assert!(said.contains("`patchadm pkgchk -f -R @ROOT@ ACMEweb`"), "{name}: {line}: {said}");
            assert!(!said.contains("edited"), "{name}: {line}: {said}");
        }
        let listed = stage.run("pkginfo -R @ROOT@");
        assert!(listed.stdout.contains("ACMEdb"), "others are listed: {}", listed.stdout);
        assert_eq!(stage.run("pkginfo -q -R @ROOT@ ACMEdb").code, 0, "{name}");
        assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEdb").ok(), "", "{name}");
    }
}

#[test]
fn everybody_says_what_is_wrong_with_contents_and_nobody_changes_anything() {
    let rubbish: Damage = ("rubbish", |at| {
        let text = fs::read_to_string(at).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        fs::write(at, [&lines[..3], &["/opt/x q none what"], &lines[3..]].concat().join("\n") + "\n")
            .unwrap();
    });
    for (name, damage) in DAMAGES.into_iter().chain([rubbish]) {
        let stage = stage();
        damage(&stage.at(CONTENTS));
        for (line, code) in commands(&stage) {
            let said = refused(&stage, &line, code);
            assert!(said.contains("@ROOT@/var/sadm/install/contents: "), "{name}: {line}: {said}");
            assert!(said.contains("`patchadm pkgchk -f -R @ROOT@`"), "{name}: {line}: {said}");
            assert!(!said.contains("edited"), "{name}: {line}: {said}");
            if name == "rubbish" {
                assert!(said.contains("contents: line 4: "), "{line}: {said}");
            }
        }
        assert_eq!(stage.run("pkginfo -q -R @ROOT@ ACMEdb").code, 0, "{name}");
        assert_eq!(stage.run("list -R @ROOT@").code, 1, "{name}");
    }
}

#[test]
fn a_package_that_contents_names_and_that_has_no_directory_is_damage_however_contents_is_read() {
    for has_stamp in [true, false] {
        let stage = stage();
        fs::remove_dir_all(stage.at("/var/sadm/pkg/ACMEweb")).unwrap();
        if !has_stamp {
            fs::remove_file(stage.at("/var/sadm/patchadm/contents.stamp")).unwrap();
        }
        for (line, code) in commands(&stage) {
            let said = refused(&stage, &line, code);
            let why = "package ACMEweb owns objects, and @ROOT@/var/sadm/pkg/ACMEweb does not exist";
            assert!(said.contains(why) && said.contains("contents: line "), "{line}: {said}");
            assert!(said.contains("einstall ACMEweb with patchadm pkgadd"), "{line}: {said}");
        }
        let spool = stage.beside("spool");
        let added = stage.run(&format!("pkgadd -n -R @ROOT@ -d {} ACMEweb", spool.display()));
        assert_eq!(added.code, 0, "{}{}", added.stdout, added.stderr);
        assert!(
            added.stderr.contains("end with its old record, and can be applied again: 100-01 200-01"),
            "{}",
            added.stderr
        );
        stage.run("check --contents -R @ROOT@").ok();
    }
}

/// A line whose only owner is a removed package.
const GONE: &str = "/opt/gone f none 0644 root root 5 542 981173106 ACMEgone\n";

/// Returns a root whose `contents` names a removed package, once alone and once beside `ACMEdb`, and the lines from before.
fn with_gone_owner() -> (Scenario, String) {
    let stage = Scenario::with(&[web(), db()]);
    stage.file("/opt/gone", "gone\n");
    let before = stage.text(CONTENTS);
    let shared = before.replacen(" ACMEdb\n", " ACMEdb ACMEgone\n", 1);
    fs::write(stage.at(CONTENTS), format!("{GONE}{shared}")).unwrap();
    (stage, before)
}

/// The lines of `contents` without comments.
fn lines(contents: &str) -> Vec<&str> {
    contents.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn pkgchk_f_takes_a_package_that_is_gone_out_of_its_lines_and_touches_no_object() {
    for package in ["", " ACMEgone"] {
        let (stage, before) = with_gone_owner();
        let (tree, damaged) = (stage.tree(), stage.text(CONTENTS));
        let said = refused(&stage, "pkgchk -R @ROOT@", 99);
        assert!(said.contains("contents: line 1: package ACMEgone owns objects"), "{said}");
        assert!(
            said.contains("if ACMEgone was removed, run `patchadm pkgchk -f -R @ROOT@ ACMEgone`"),
            "{said}"
        );
        let said = stage.run("check -R @ROOT@").stdout;
        assert!(said.contains("pkgchk -R @ROOT@ -f ACMEgone"), "{said}");
        let said = stage.run(&format!("pkgchk -f -R @ROOT@{package}")).ok();
        for words in [
            "does not exist: it is removed from the file",
            "  @ROOT@/opt/gone: the line is deleted; the object stays, and no package owns it",
            ": ACMEgone is removed from the line, which ACMEdb still owns",
            "  the previous file is kept as @ROOT@/var/sadm/install/contents.damaged",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert_eq!(lines(&stage.text(CONTENTS)), lines(&before));
        assert_eq!(stage.text("/var/sadm/install/contents.damaged"), damaged);
        assert_eq!(tree.difference(&stage.tree()), "");
        assert!(stage.run("history -R @ROOT@").ok().contains("pkgchk"));
        stage.run("pkgchk -f -R @ROOT@").ok();
        stage.run("check --contents -R @ROOT@").ok();
        stage.patchadd("", &other()).ok();
    }
}

#[test]
fn a_package_that_is_gone_leaves_contents_in_the_run_that_makes_it_anew() {
    let (stage, before) = with_gone_owner();
    fs::write(stage.at(CONTENTS), format!("rubbish\n{}", stage.text(CONTENTS))).unwrap();
    let runs = |stage: &Scenario| stage.text("/var/sadm/patchadm/history").lines().count();
    let earlier = runs(&stage);
    let said = stage.run("pkgchk -f -R @ROOT@").ok();
    assert!(said.contains("line 1: ") && said.contains("it is rebuilt"), "{said}");
    assert!(said.contains("@ROOT@/opt/gone: the line is deleted"), "{said}");
    assert_eq!(lines(&stage.text(CONTENTS)), lines(&before));
    assert_eq!(runs(&stage), earlier + 1, "one transaction");
    assert_eq!(stage.text("/opt/gone"), "gone\n");
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn lines_behind_one_that_is_too_long_are_kept_too() {
    let stage = stage();
    fs::write(stage.at("/opt/registered"), "registered\n").unwrap();
    stage.run("installf -R @ROOT@ ACMEdb /opt/registered f 0644 root root").ok();
    stage.run("installf -R @ROOT@ -f ACMEdb").ok();
    let before = stage.text(CONTENTS);
    fs::write(stage.at(CONTENTS), format!("{}\n{before}", "\0".repeat(2 << 20))).unwrap();
    let said = stage.run("pkgchk -f -R @ROOT@").ok();
    assert!(said.contains("it is rebuilt"), "{said}");
    assert_eq!(lines(&stage.text(CONTENTS)), lines(&before));
}

#[test]
fn a_package_whose_directory_was_there_after_the_last_run_leaves_contents_only_by_its_name() {
    let stage = stage();
    fs::remove_dir_all(stage.at("/var/sadm/pkg/ACMEweb")).unwrap();
    let tree = stage.tree();
    let said = refused(&stage, "pkgchk -f -R @ROOT@", 99);
    let way = "or, if it was removed, remove it from contents with `pkgchk -R @ROOT@ -f ACMEweb`";
    assert!(said.contains("its directory existed after run ") && said.contains(way), "{said}");
    stage.run("pkgchk -f -R @ROOT@ ACMEweb").ok();
    let contents = stage.text(CONTENTS);
    assert!(lines(&contents).iter().all(|line| !line.contains("ACMEweb")), "{contents}");
    assert_eq!(tree.difference(&stage.tree()), "");
    stage.run("check --contents -R @ROOT@").ok();
    stage.patchadd("", &other()).ok();
    // The package can be installed again over the files that stayed.
    web().write(&stage.beside("spool"));
    fs::write(stage.beside("admin"), ADMIN).unwrap();
    let spool = stage.beside("spool");
    let run = stage.run(&format!("pkgadd -n -a admin -R @ROOT@ -d {} ACMEweb", spool.display()));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn a_directory_without_pkginfo_is_damage_though_contents_does_not_name_it() {
    let stage = stage();
    stage.directory("/var/sadm/pkg/ACMEx");
    let said = refused(&stage, "check --contents -R @ROOT@", 1);
    assert!(said.contains("@ROOT@/var/sadm/pkg/ACMEx: it is empty"), "{said}");
    assert!(said.contains("`rmdir @ROOT@/var/sadm/pkg/ACMEx`"), "{said}");
    fs::remove_dir(stage.at("/var/sadm/pkg/ACMEx")).unwrap();
    stage.run("check --contents -R @ROOT@").ok();
    stage.file("/var/sadm/pkg/ACMEx/install/depend", "");
    let said = refused(&stage, &format!("add -R @ROOT@ {}", other().directory(&stage).display()), 28);
    assert!(said.contains("@ROOT@/var/sadm/pkg/ACMEx/pkginfo: it does not exist"), "{said}");
}

#[test]
fn the_documents_name_file_line_and_advice() {
    let stage = stage();
    fs::write(stage.at(WEB), "PKG=ACMEweb\nNAME=\"open\n").unwrap();
    let run = stage.run("check --contents --json -R @ROOT@");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let record = &document["records"][0];
    assert_eq!((&document["sound"], &record["line"]), (&false.into(), &2.into()), "{document}");
    assert!(record["path"].as_str().unwrap().ends_with("ACMEweb/pkginfo"));
    assert!(record["advice"].as_str().unwrap().contains("pkgchk -f"));
}

#[test]
fn pkgchk_f_makes_the_pkginfo_of_a_patched_package_anew_as_it_was() {
    for (name, damage) in DAMAGES {
        let stage = stage();
        let (before, tree) = (stage.text(WEB), stage.tree());
        damage(&stage.at(WEB));
        let said = stage.run("pkgchk -f -R @ROOT@ ACMEweb").ok();
        assert!(said.contains("ACMEweb/pkginfo: ") && said.contains("it is rebuilt"), "{name}: {said}");
        assert_eq!(stage.text(WEB), before, "{name}");
        assert_eq!(tree.difference(&stage.tree()), "", "{name}");
        stage.run("check --contents -R @ROOT@").ok();
        stage.run("remove -R @ROOT@ 200-01 100-01").ok();
        assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
    }
}

#[test]
fn pkgchk_f_collects_the_lines_of_patches_from_all_of_them_also_where_undo_data_was_given_up() {
    let stage = stage();
    let tool =
        |id: &str| Patch::of(id, Package::new("ACMEweb").file("bin/tool", 0o755, format!("as of {id}\n")));
    stage.patchadd("-d", &tool("300-01")).ok();
    for id in ["400-01", "500-01", "600-01", "700-01"] {
        stage.patchadd("", &tool(id)).ok();
    }
    stage.run("undo-data drop -R @ROOT@ 200-01 400-01").ok();
    stage.run("remove -R @ROOT@ 500-01").ok();
    stage.patchadd("", &tool("800-01")).ok();
    stage.patchadd("", &tool("900-01")).ok();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let before = lines(&stage.text(WEB));
    fs::remove_file(stage.at(WEB)).unwrap();
    stage.run("pkgchk -f -R @ROOT@ ACMEweb").ok();
    assert_eq!(lines(&stage.text(WEB)), before);
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn pkgchk_f_makes_the_pkginfo_of_an_unpatched_package_anew_and_says_what_it_could_not_know() {
    let stage = Scenario::with(&[web(), db()]);
    let before = stage.text(WEB);
    fs::remove_file(stage.at(WEB)).unwrap();
    let run = stage.run("pkgchk -f -R @ROOT@ ACMEweb");
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("LANG, LC_*, TZ, PATH and OAMBASE"), "{}", run.stdout);
    let environment = |line: &&str| ["PATH=", "OAMBASE=", "TZ="].iter().all(|name| !line.starts_with(name));
    let expected: Vec<&str> = before.lines().filter(environment).collect();
    assert_eq!(stage.text(WEB).lines().collect::<Vec<_>>(), expected);
    stage.run("check --contents -R @ROOT@").ok();
    stage.patchadd("", &first()).ok();
}

#[test]
fn pkgchk_f_does_nothing_where_the_list_of_patches_is_not_certain() {
    let without_undo = Scenario::with(&[web(), db()]);
    without_undo.patchadd("-d", &first()).ok();
    let lost_archive = stage();
    fs::remove_file(lost_archive.at("/var/sadm/pkg/ACMEweb/save/200-01/undo.gz")).unwrap();
    for stage in [without_undo, lost_archive] {
        fs::write(stage.at(WEB), "").unwrap();
        let said = refused(&stage, "pkgchk -f -R @ROOT@ ACMEweb", 99);
        assert!(said.contains("the list of its patches is uncertain"), "{said}");
        assert!(said.contains("install ACMEweb again with patchadm pkgadd"), "{said}");
    }
}

#[test]
fn pkgadd_makes_a_damaged_record_anew_and_names_the_patches_that_it_ends() {
    for (name, damage) in DAMAGES {
        let stage = stage();
        damage(&stage.at(WEB));
        web().write(&stage.beside("spool"));
        let run = stage.run(&format!("pkgadd -n -R @ROOT@ -d {} ACMEweb", stage.beside("spool").display()));
        assert_eq!(run.code, 0, "{name}: {}{}", run.stdout, run.stderr);
        assert!(run.stderr.contains("its record was damaged and is rebuilt"), "{name}: {}", run.stderr);
        assert!(run.stderr.contains("can be applied again: 100-01 200-01"), "{name}: {}", run.stderr);
        assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
        assert!(!stage.at("/var/sadm/pkg/ACMEweb/save/100-01").exists());
        assert!(!stage.at("/var/sadm/patchadm/ledger/ACMEweb").exists());
        stage.run("check --contents -R @ROOT@").ok();
        assert!(stage.run("list -R @ROOT@").ok().contains("100-01"), "the other package keeps its part");
        stage.patchadd("", &second()).ok();
        stage.run("check --contents -R @ROOT@").ok();
    }
}

#[test]
fn pkgadd_of_a_package_with_scripts_makes_its_record_anew_too() {
    let stage = Scenario::with(&[web(), db()]);
    fs::write(stage.at(WEB), "").unwrap();
    let mut stage = stage;
    stage.set("PKG_TEST", "yes");
    let spool = stage.beside("scripted");
    web().information("postinstall", "exit 0\n").write(&spool);
    fs::write(stage.beside("admin"), ADMIN).unwrap();
    let admin = stage.beside("admin");
    let line = format!("pkgadd -n -a {} -R @ROOT@ -d {} ACMEweb", admin.display(), spool.display());
    let run = stage.run(&line);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(stage.text(WEB).contains("PKG=ACMEweb\n"));
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn pkgchk_f_makes_contents_anew_from_packages_and_patches() {
    for (name, damage) in DAMAGES {
        let stage = stage();
        let (before, tree) = (stage.lines(), stage.tree());
        damage(&stage.at(CONTENTS));
        let run = stage.run("pkgchk -f -R @ROOT@");
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{name}: {}", run.stdout);
        assert!(run.stdout.contains("contents: ") && run.stdout.contains("it is rebuilt"), "{}", run.stdout);
        assert!(run.stdout.contains("objects that installf registered"), "{}", run.stdout);
        assert_eq!(tree.difference(&stage.tree()), "", "no object is touched");
        // Parent directories that were created are in no record of a package.
        let is_file = |line: &&String| !line.contains(" d none ");
        let (was, is) = (before.iter().filter(is_file), stage.lines());
        assert_eq!(is.iter().filter(is_file).collect::<Vec<_>>(), was.collect::<Vec<_>>(), "{name}");
        stage.run("check --contents -R @ROOT@").ok();
        stage.run("pkgchk -R @ROOT@").ok();
        stage.patchadd("", &other()).ok();
        stage.run("remove -R @ROOT@ 300-01 200-01 100-01").ok();
        stage.run("check --contents -R @ROOT@").ok();
        assert_eq!(stage.text("/opt/ACMEweb/bin/tool"), "one\n");
    }
}

#[test]
fn a_bad_line_goes_and_every_other_one_stays_as_it_is() {
    let stage = stage();
    stage.run("installf -R @ROOT@ ACMEdb /opt/extra d 0755 root root").ok();
    stage.run("installf -f -R @ROOT@ ACMEdb").ok();
    let text = stage.text(CONTENTS);
    let before = stage.lines();
    fs::write(stage.at(CONTENTS), format!("rubbish\n{text}")).unwrap();
    let run = stage.run("pkgchk -f -R @ROOT@");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    assert!(run.stdout.contains("contents: line 1: "), "{}", run.stdout);
    assert!(run.stdout.contains("the damaged file is kept as @ROOT@/var/sadm/install/contents.damaged"));
    assert_eq!(stage.lines(), before);
    assert!(stage.text("/var/sadm/install/contents.damaged").starts_with("rubbish\n"));
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn what_patches_without_undo_data_changed_is_in_the_contents_that_is_made_anew() {
    let stage = Scenario::with(&[web(), db()]);
    stage.patchadd("", &first()).ok();
    stage.patchadd("-d", &second()).ok();
    let before = stage.lines();
    fs::remove_file(stage.at(CONTENTS)).unwrap();
    stage.run("pkgchk -f -R @ROOT@").ok();
    let is_file = |line: &&String| !line.contains(" d none ");
    let is = stage.lines();
    assert_eq!(
        is.iter().filter(is_file).collect::<Vec<_>>(),
        before.iter().filter(is_file).collect::<Vec<_>>()
    );
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn a_package_whose_first_objects_nobody_knows_any_more_is_named() {
    let stage = Scenario::with(&[web(), db()]);
    stage.patchadd("-d", &first()).ok();
    fs::remove_file(stage.at(CONTENTS)).unwrap();
    let run = stage.run("pkgchk -f -R @ROOT@");
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("the original objects of package ACMEweb are unknown"), "{}", run.stdout);
}

#[test]
fn a_torn_last_line_of_contents_names_no_package() {
    let stage = stage();
    let whole = stage.text(CONTENTS);
    let objects: Vec<&str> = whole.lines().filter(|line| !line.starts_with('#')).collect();
    let torn = objects.join("\n");
    fs::write(stage.at(CONTENTS), &torn[..torn.len() - 2]).unwrap();
    let said = refused(&stage, "check -R @ROOT@", 1);
    assert!(said.contains("the line is incomplete: the file is truncated"), "{said}");
    assert!(!said.contains("owns objects"), "{said}");
}
