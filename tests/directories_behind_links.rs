//! Directory entries where the root has a symbolic link that leads to a directory, as on a merged `/usr`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};

use crate::delivery::Patch;
use crate::everyman::NOBODY;
use crate::packages::{DELIVERED, Package};
use crate::scenario::{Scenario, is_root};

const PKGINFO: &str =
    "PKG=ACMElib\nNAME=Lib\nARCH=i386\nVERSION=1.0\nCATEGORY=application\nBASEDIR=/\nCLASSES=none\n";
const LINE: &str = "/lib d none 0711 root root ACMElib";

/// A root with `/lib -> usr/lib`, which other users may only search.
fn merged() -> Scenario {
    let scenario = Scenario::new();
    scenario.file("/usr/lib/ld.so", "loader");
    scenario.mode("/usr/lib", 0o711);
    scenario.symlink("/lib", "usr/lib");
    scenario
}

/// Puts a package with `d /lib` and a file in it into the spool.
fn spool(scenario: &Scenario, at: &str, pkginfo: &str) {
    let map = ["1 d none lib 0755 root root", "1 f none lib/x.so 0644 root root 1 120 981173106"];
    scenario.spooled(at, pkginfo, &map);
    scenario.file(&format!("{at}/reloc/lib/x.so"), "x");
}

fn mode(scenario: &Scenario, path: &str) -> u32 {
    fs::metadata(scenario.at(path)).unwrap().permissions().mode() & 0o7777
}

fn link(scenario: &Scenario) -> Option<String> {
    let target = fs::read_link(scenario.at("/lib")).ok()?;
    target.to_str().map(str::to_owned)
}

fn stays(scenario: &Scenario) {
    assert_eq!(link(scenario).as_deref(), Some("usr/lib"));
    assert_eq!(scenario.text("/usr/lib/ld.so"), "loader");
    assert_eq!(mode(scenario, "/usr/lib"), 0o711);
    assert!(!fs::exists(scenario.at("/lib.edited-ACMElib")).unwrap());
}

#[test]
fn a_package_with_a_directory_leaves_the_link_that_leads_to_one() {
    let scenario = merged();
    spool(&scenario, "/spool/ACMElib", PKGINFO);
    scenario.file("/admin", "basedir=default\nconflict=nocheck\ninstance=overwrite\n");
    let add = "pkgadd -n -a @ROOT@/admin -R @ROOT@ -d @ROOT@/spool ACMElib";
    let run = scenario.run(add);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let note = "/lib stays a symbolic link to the directory @ROOT@/usr/lib; to replace the link, use `--replace-edited /lib`";
    let all = format!("{}{}", run.stdout, run.stderr);
    assert!(all.contains(note), "{all}");
    stays(&scenario);
    assert_eq!(scenario.text("/usr/lib/x.so"), "x");
    assert!(scenario.lines().contains(&LINE.to_owned()), "{:?}", scenario.lines());
    assert_eq!(scenario.run("pkgchk -R @ROOT@ ACMElib").ok(), "");
    assert_eq!(scenario.run(add).code, 0, "and once more over itself");
    stays(&scenario);
    let run = scenario.run("pkgrm -n -R @ROOT@ ACMElib");
    assert_eq!(run.code, 0, "{}", run.stderr);
    stays(&scenario);
    assert!(!fs::exists(scenario.at("/usr/lib/x.so")).unwrap());
}

#[test]
fn override_asks_for_the_replacement_of_the_link() {
    let scenario = merged();
    spool(&scenario, "/spool/ACMElib", PKGINFO);
    let run = scenario.run("pkgadd -n -R @ROOT@ --replace-edited /lib -d @ROOT@/spool ACMElib");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!((link(&scenario), mode(&scenario, "/lib")), (None, 0o755));
    assert_eq!(scenario.text("/lib/x.so"), "x");
    assert_eq!(scenario.text("/usr/lib/ld.so"), "loader");
}

#[test]
fn a_link_that_leads_to_no_directory_of_the_root_gives_way() {
    for target in ["usr/nothing", "usr/lib/ld.so", "lib"] {
        let scenario = Scenario::new();
        scenario.file("/usr/lib/ld.so", "loader");
        scenario.symlink("/lib", target);
        scenario.spooled("/spool/ACMElib", PKGINFO, &["1 d none lib 0755 root root"]);
        let run = scenario.run("pkgadd -n -R @ROOT@ -d @ROOT@/spool ACMElib");
        assert_eq!(run.code, 0, "{target}: {}", run.stderr);
        assert_eq!(link(&scenario), None, "{target}");
    }
}

#[test]
fn a_patch_with_a_directory_leaves_the_link_and_its_backout_is_exact() {
    let patch = format!("{PKGINFO}SUNW_PATCHID=900-01\n");
    let scenario = merged();
    scenario.package("ACMElib", PKGINFO);
    scenario.package("ACMEbase", "PKG=ACMEbase\n");
    let lines = ["/usr d none 0755 root root ACMEbase"];
    scenario.contents(&lines);
    spool(&scenario, "/spool/900-01/ACMElib", &patch);
    let before = (scenario.tree(), scenario.lines());

    scenario.run("patchadd -R @ROOT@ @ROOT@/spool/900-01").ok();
    stays(&scenario);
    assert!(scenario.lines().contains(&LINE.to_owned()), "{:?}", scenario.lines());
    assert_eq!(scenario.run("pkgchk -R @ROOT@ ACMElib").ok(), "");
    scenario.run("patchrm -R @ROOT@ 900-01").ok();
    assert_eq!(before.0.difference(&scenario.tree()), "");
    assert_eq!(before.1, scenario.lines());

    scenario.run("add -R @ROOT@ --replace-edited /lib @ROOT@/spool/900-01").ok();
    assert_eq!((link(&scenario), mode(&scenario, "/lib")), (None, 0o755));
    scenario.run("patchrm -R @ROOT@ 900-01").ok();
    assert_eq!(before.0.difference(&scenario.tree()), "");
    assert_eq!(before.1, scenario.lines());
}

#[test]
fn a_link_of_the_package_itself_changes_its_type_as_delivered_and_comes_back() {
    let patch = format!("{PKGINFO}SUNW_PATCHID=900-01\n");
    let scenario = merged();
    scenario.package("ACMElib", PKGINFO);
    scenario.contents(&["/lib=usr/lib s none ACMElib"]);
    spool(&scenario, "/spool/900-01/ACMElib", &patch);
    let before = (scenario.tree(), scenario.lines());
    scenario.run("patchadd -R @ROOT@ @ROOT@/spool/900-01").ok();
    assert_eq!((link(&scenario), mode(&scenario, "/lib")), (None, 0o755));
    scenario.run("patchrm -R @ROOT@ 900-01").ok();
    assert_eq!(before.0.difference(&scenario.tree()), "");
    assert_eq!(before.1, scenario.lines());
}

#[test]
fn the_check_follows_the_link_and_repairs_the_directory_behind_it() {
    let scenario = merged();
    spool(&scenario, "/spool/ACMElib", PKGINFO);
    assert_eq!(scenario.run("pkgadd -n -R @ROOT@ -d @ROOT@/spool ACMElib").code, 0);
    scenario.mode("/usr/lib", 0o700);
    let told = scenario.run("pkgchk -R @ROOT@ ACMElib").fails(1);
    assert!(told.contains("permissions <0711> expected <0700> actual"), "{told}");
    assert_eq!(scenario.run("pkgchk -f -R @ROOT@ ACMElib").ok(), "");
    stays(&scenario);
}

#[test]
fn a_link_of_another_package_stays_and_is_recorded_as_the_directory_of_both() {
    let scenario = merged();
    scenario
        .package("ACMEbase", "PKG=ACMEbase\nNAME=Base\nARCH=i386\nVERSION=1.0\nCATEGORY=system\nBASEDIR=/\n");
    scenario.contents(&["/lib=usr/lib s none ACMEbase"]);
    spool(&scenario, "/spool/ACMElib", PKGINFO);
    scenario.file("/admin", "basedir=default\nconflict=nocheck\ninstance=overwrite\n");
    let run = scenario.run("pkgadd -n -a @ROOT@/admin -R @ROOT@ -d @ROOT@/spool ACMElib");
    assert_eq!(run.code, 0, "{}", run.stderr);
    stays(&scenario);
    let line = "/lib d none 0711 root root ACMEbase ACMElib".to_owned();
    assert!(scenario.lines().contains(&line), "{:?}", scenario.lines());
    assert_eq!(scenario.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(scenario.run("pkgrm -n -R @ROOT@ ACMElib").code, 0);
    stays(&scenario);
    assert_eq!(scenario.run("pkgchk -R @ROOT@ ACMEbase").ok(), "");
    assert_eq!(scenario.run("pkgrm -n -R @ROOT@ ACMEbase").code, 0);
    stays(&scenario);
}

#[test]
fn the_backout_of_a_patch_brings_the_line_of_another_packages_link_back() {
    let scenario = merged();
    scenario
        .package("ACMEbase", "PKG=ACMEbase\nNAME=Base\nARCH=i386\nVERSION=1.0\nCATEGORY=system\nBASEDIR=/\n");
    scenario.package("ACMElib", PKGINFO);
    scenario.contents(&["/lib=usr/lib s none ACMEbase"]);
    spool(&scenario, "/spool/900-01/ACMElib", &format!("{PKGINFO}SUNW_PATCHID=900-01\n"));
    let before = (scenario.tree(), scenario.lines());
    scenario.run("patchadd -R @ROOT@ @ROOT@/spool/900-01").ok();
    stays(&scenario);
    assert_eq!(scenario.run("pkgchk -R @ROOT@").ok(), "");
    scenario.run("patchrm -R @ROOT@ 900-01").ok();
    assert_eq!(before.0.difference(&scenario.tree()), "");
    assert_eq!(before.1, scenario.lines());
}

#[test]
fn a_patch_that_deletes_the_directory_leaves_the_link() {
    let scenario = merged();
    spool(&scenario, "/spool/ACMElib", PKGINFO);
    assert_eq!(scenario.run("pkgadd -n -R @ROOT@ -d @ROOT@/spool ACMElib").code, 0);
    let patch = format!("{PKGINFO}SUNW_PATCHID=900-01\n");
    scenario.spooled("/spool/900-01/ACMElib", &patch, &["1 i deletes 13 1081 981173106"]);
    scenario.file("/spool/900-01/ACMElib/install/deletes", "lib/x.so\nlib\n");
    let before = (scenario.tree(), scenario.lines());
    let run = scenario.run("patchadd -R @ROOT@ @ROOT@/spool/900-01");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    stays(&scenario);
    assert!(!scenario.at("/usr/lib/x.so").exists());
    scenario.run("patchrm -R @ROOT@ 900-01").ok();
    assert_eq!(before.0.difference(&scenario.tree()), "");
    assert_eq!(before.1, scenario.lines());
}

#[test]
fn a_link_that_took_the_place_of_a_patchs_directory_survives_the_backout() {
    let scenario = Scenario::new();
    scenario.package("ACMElib", PKGINFO);
    scenario.contents(&[]);
    spool(&scenario, "/spool/900-01/ACMElib", &format!("{PKGINFO}SUNW_PATCHID=900-01\n"));
    scenario.run("patchadd -R @ROOT@ @ROOT@/spool/900-01").ok();
    scenario.directory("/usr");
    fs::rename(scenario.at("/lib"), scenario.at("/usr/lib")).unwrap();
    scenario.symlink("/lib", "usr/lib");
    let run = scenario.run("patchrm -R @ROOT@ 900-01");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(link(&scenario).as_deref(), Some("usr/lib"));
    assert!(!scenario.at("/usr/lib/x.so").exists());
    assert!(scenario.lines().is_empty(), "{:?}", scenario.lines());
}

#[test]
fn documents_have_the_note_that_a_link_stays() {
    for line in [
        "add --json -R @ROOT@ @ROOT@/spool/900-01",
        "patchadd --json -R @ROOT@ @ROOT@/spool/900-01",
        "plan --json -R @ROOT@ @ROOT@/spool/900-01",
        "pkgadd --json -n -R @ROOT@ -d @ROOT@/spool ACMEother",
    ] {
        let scenario = merged();
        scenario.package("ACMElib", PKGINFO);
        scenario.contents(&[]);
        spool(&scenario, "/spool/900-01/ACMElib", &format!("{PKGINFO}SUNW_PATCHID=900-01\n"));
        spool(&scenario, "/spool/ACMEother", &PKGINFO.replace("ACMElib", "ACMEother"));
        let run = scenario.run(line);
        assert_eq!(run.code, 0, "{line}: {}{}", run.stdout, run.stderr);
        let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let list = document.get("patches").or(document.get("packages")).unwrap();
        let notes = list[0]["notes"].as_array().unwrap();
        let is_it = |note: &serde_json::Value| {
            let note = note.as_str().unwrap();
            note.starts_with("@ROOT@/lib stays a symbolic link")
                && note.ends_with("to replace the link, use `--replace-edited /lib`")
        };
        assert_eq!(notes.iter().filter(|note| is_it(note)).count(), 1, "{line}: {notes:?}");
    }
}

#[test]
fn patchadd_replaces_the_link_that_override_names_and_not_with_u() {
    let patch = format!("{PKGINFO}SUNW_PATCHID=900-01\n");
    let scenario = merged();
    scenario.package("ACMElib", PKGINFO);
    scenario.contents(&[]);
    spool(&scenario, "/spool/900-01/ACMElib", &patch);
    let before = (scenario.tree(), scenario.lines());
    scenario.run("patchadd -u -R @ROOT@ @ROOT@/spool/900-01").ok();
    stays(&scenario);
    scenario.run("patchrm -R @ROOT@ 900-01").ok();
    for path in ["/lib", "@ROOT@/lib"] {
        scenario.run(&format!("patchadd --replace-edited {path} -R @ROOT@ @ROOT@/spool/900-01")).ok();
        assert_eq!((link(&scenario), mode(&scenario, "/lib")), (None, 0o755));
        scenario.run("patchrm -R @ROOT@ 900-01").ok();
        assert_eq!(before.0.difference(&scenario.tree()), "");
        assert_eq!(before.1, scenario.lines());
    }
}

#[test]
fn installf_of_a_directory_leaves_the_link() {
    let scenario = merged();
    scenario.package("ACMElib", PKGINFO);
    scenario.contents(&[]);
    scenario.run("installf -R @ROOT@ ACMElib /lib d 0755 root root").ok();
    scenario.run("installf -R @ROOT@ -f ACMElib").ok();
    assert_eq!(link(&scenario).as_deref(), Some("usr/lib"));
    assert_eq!(scenario.text("/usr/lib/ld.so"), "loader");
    assert_eq!(scenario.run("pkgchk -R @ROOT@ ACMElib").ok(), "");
    scenario.run("removef -R @ROOT@ ACMElib /lib").ok();
    scenario.run("removef -R @ROOT@ -f ACMElib").ok();
    assert_eq!(link(&scenario).as_deref(), Some("usr/lib"));
}

/// The packages of `testdata/merged-usr`, with BASEDIR `/`.
fn packages_of_debian() -> Vec<Package> {
    let listing = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/merged-usr/debian-12");
    let mut packages: Vec<Package> = Vec::new();
    for line in fs::read_to_string(listing).unwrap().lines() {
        let (kind, rest) = line.split_once(' ').unwrap();
        if kind == "package" {
            packages.push(Package::new(&format!("DEB{rest}")).param("BASEDIR", "/"));
            continue;
        }
        let package = packages.pop().unwrap();
        let path = rest.strip_prefix('/').unwrap();
        packages.push(match (kind, path.split_once('=')) {
            ("s", Some((path, target))) => package.symlink(path, target),
            ("d", _) => package.directory(path),
            _ => package.file(path, 0o755, path),
        });
    }
    packages
}

const LINKS: [(&str, &str); 4] =
    [("/bin", "usr/bin"), ("/sbin", "usr/sbin"), ("/lib", "usr/lib"), ("/lib64", "usr/lib64")];

fn merged_usr() -> Scenario {
    let scenario = Scenario::new();
    for (link, target) in LINKS {
        scenario.directory(&format!("/{target}"));
        scenario.symlink(link, target);
    }
    scenario.directory("/etc");
    scenario.directory("/usr/share");
    scenario
}

/// The directory that libc6 has under both of its names.
const TWICE: &str = "/usr/lib/x86_64-linux-gnu";

#[test]
fn packages_of_before_the_merge_go_into_a_merged_usr_and_leave_it() {
    let scenario = merged_usr();
    let are_there = || {
        for (link, target) in LINKS {
            let found = fs::read_link(scenario.at(link)).unwrap();
            assert_eq!(found.to_str(), Some(target), "{link}");
        }
    };
    let spool = scenario.beside("spool");
    scenario.directory(TWICE);
    let packages = packages_of_debian();
    assert_eq!(packages.len(), 3);
    for package in &packages {
        package.write(&spool);
    }
    let run = scenario.run(&format!("pkgadd -n -R @ROOT@ -d {} all", spool.display()));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    are_there();
    assert_eq!(scenario.text("/usr/lib/x86_64-linux-gnu/libc.so.6"), "lib/x86_64-linux-gnu/libc.so.6");
    assert_eq!(scenario.text("/usr/bin/bash"), "bin/bash");
    assert_eq!(scenario.text("/usr/sbin/fsck.ext4"), "sbin/e2fsck");
    assert_eq!(fs::read_dir(scenario.at("/usr/lib64")).unwrap().count(), 1);
    let lines = scenario.lines();
    for path in ["/lib/x86_64-linux-gnu", TWICE] {
        let is_of_libc =
            |line: &&String| line.starts_with(&format!("{path} d ")) && line.contains("DEBlibc6");
        assert_eq!(lines.iter().filter(is_of_libc).count(), 1, "{path}");
    }
    assert_eq!(scenario.run("pkgchk -R @ROOT@").ok(), "");
    scenario.run("check --contents -R @ROOT@").ok();
    for package in ["DEBbash", "DEBe2fsprogs", "DEBlibc6"] {
        let run = scenario.run(&format!("pkgrm -n -R @ROOT@ {package}"));
        assert_eq!(run.code, 0, "{}", run.stderr);
        are_there();
    }
    assert_eq!(scenario.lines(), Vec::<String>::new());
    assert!(!scenario.at(TWICE).exists(), "it is empty, and goes once");
}

#[test]
fn a_patch_with_one_directory_under_two_names_is_backed_out_exactly() {
    let scenario = merged_usr();
    scenario.directory(TWICE);
    Package::new("DEBlibc6")
        .param("BASEDIR", "/")
        .file("etc/own", 0o644, "own")
        .write(&scenario.beside("base"));
    scenario.run(&format!("pkgadd -n -R @ROOT@ -d {} all", scenario.beside("base").display()));
    let before = (scenario.tree(), scenario.lines());
    let package = packages_of_debian().swap_remove(0);
    let patch = Patch::of("900-01", package);
    assert_eq!(scenario.patchadd("", &patch).code, 0);
    assert_eq!(scenario.run("pkgchk -R @ROOT@").ok(), "");
    scenario.run("check --contents -R @ROOT@").ok();
    scenario.run("patchrm -R @ROOT@ 900-01").ok();
    assert_eq!(before.0.difference(&scenario.tree()), "");
    assert_eq!(before.1, scenario.lines());
}

#[test]
fn a_directory_that_would_have_to_be_made_under_two_names_is_refused_and_nothing_is_changed() {
    let scenario = merged_usr();
    let spool = scenario.beside("spool");
    packages_of_debian()[0].write(&spool);
    let before = scenario.everything();
    let run = scenario.run(&format!("pkgadd -n -R @ROOT@ -d {} DEBlibc6", spool.display()));
    assert_eq!(run.code, 1, "{}", run.stderr);
    let why = format!("path @ROOT@{TWICE}: it is the same place as @ROOT@/lib/x86_64-linux-gnu");
    assert!(run.stderr.contains(&why), "{}", run.stderr);
    assert_eq!(before.difference(&scenario.everything()), "");
}

/// A root with a patched package of an application account, and another patch for it. `None` if the test does not run
/// as root.
fn of_account(test: &str) -> Option<Scenario> {
    if !is_root() {
        crate::skipped(&format!("{test}: only root follows links of others"));
        return None;
    }
    let stage = Scenario::new();
    stage.file("/etc/passwd", format!("root:x:0:0::/:/bin/sh\nmal:x:{NOBODY}:{NOBODY}::/:/bin/sh\n"));
    stage.file("/etc/group", format!("root:x:0:\nmal:x:{NOBODY}:\n"));
    stage.file("/etc/tool", "of root\n");
    let file = |package: Package, path: &str, text: &str| {
        package.content('f', path, 0o644, "mal mal", DELIVERED, text)
    };
    let app = || Package::new("ACMEapp").param("BASEDIR", "/opt");
    let tool = |text: &str| {
        let app = app().line("app", "d none app 0755 mal mal");
        file(app.line("app/share", "d none app/share 0755 mal mal"), "app/share/tool", text)
    };
    stage.install(&tool("one\n"));
    lchown(stage.at("/opt/app"), Some(NOBODY), Some(NOBODY)).unwrap();
    let run = stage.patchadd("", &Patch::of("100-01", tool("two\n")));
    assert_eq!(run.code, 0, "{}", run.stderr);
    Patch::of("200-01", file(app(), "app/share/run.sh", "evil\n")).directory(&stage);
    let more = Package::new("ACMEmore").param("BASEDIR", "/opt/app");
    file(more, "share/more.sh", "evil\n").write(&stage.beside("more"));
    Some(stage)
}

/// Replaces a directory with a link, as the account can without privileges.
fn lead_away(stage: &Scenario) {
    fs::rename(stage.at("/opt/app/share"), stage.at("/opt/app/share.old")).unwrap();
    stage.symlink("/opt/app/share", "../../etc");
    lchown(stage.at("/opt/app/share"), Some(NOBODY), Some(NOBODY)).unwrap();
}

#[test]
fn no_command_of_root_goes_behind_a_users_link_into_a_directory_of_others() {
    let Some(stage) = of_account("behind a link of a user") else { return };
    lead_away(&stage);
    let told = format!(
        "id {NOBODY} can replace the symbolic link @ROOT@/opt/app/share, and does not own the directory that it leads to"
    );
    let before = stage.tree();
    for (line, code) in [
        ("patchadd -R @ROOT@ delivered/200-01", 3),
        ("add -R @ROOT@ delivered/200-01", 3),
        ("plan -R @ROOT@ delivered/200-01", 3),
        ("patchrm -R @ROOT@ 100-01", 3),
        ("remove -R @ROOT@ 100-01", 3),
        ("pkgadd -n -R @ROOT@ -d more ACMEmore", 1),
        ("pkgrm -n -R @ROOT@ ACMEapp", 1),
        ("installf -R @ROOT@ ACMEapp /opt/app/share/made d 0777 mal mal", 1),
        ("removef -R @ROOT@ ACMEapp /opt/app/share/tool", 1),
        ("pkgchk -f -R @ROOT@ ACMEapp", 1),
        ("pkgchk -R @ROOT@ ACMEapp", 1),
    ] {
        let run = stage.run(line);
        assert_eq!(run.code, code, "{line}: {}{}", run.stdout, run.stderr);
        let said = run.said();
        assert!(said.contains(&told), "{line}: {said}");
        assert!(said.contains("emove the link, or use `--trust-root`"), "{line}: {said}");
        assert_eq!(before.difference(&stage.tree()), "", "{line}");
        assert_eq!(fs::metadata(stage.at("/etc")).unwrap().uid(), 0, "{line}");
    }
    assert!(stage.run("check --contents -R @ROOT@").said().contains(&told));
    stage.run("list -R @ROOT@").ok();
}

#[test]
fn a_link_of_root_or_of_the_directorys_owner_is_followed_and_with_trust_any() {
    let Some(stage) = of_account("behind a link of root") else { return };
    lead_away(&stage);
    let in_and_out = |options: &str, target: &str| {
        let run = stage.run(&format!("patchadd {options} -R @ROOT@ delivered/200-01"));
        assert_eq!(run.code, 0, "{options} {target}: {}", run.stderr);
        assert_eq!(stage.text(&format!("{target}/run.sh")), "evil\n", "{options}");
        let run = stage.run(&format!("patchrm {options} -R @ROOT@ 200-01"));
        assert_eq!(run.code, 0, "{options} {target}: {}", run.stderr);
    };
    in_and_out("--trust-root", "/etc");
    lchown(stage.at("/opt/app/share"), Some(0), Some(0)).unwrap();
    // The owner of the directory could have moved a link of root to this name.
    let run = stage.run("patchadd -R @ROOT@ delivered/200-01");
    assert!(run.code == 3 && run.said().contains(&format!("id {NOBODY} can replace")), "{}", run.said());
    lchown(stage.at("/opt/app"), Some(0), Some(0)).unwrap();
    in_and_out("", "/etc");
    for (directory, bits, group) in [("/opt/app", 0o757, 0), ("/opt", 0o775, NOBODY), ("/opt", 0o777, 0)] {
        lchown(stage.at(directory), None, Some(group)).unwrap();
        stage.mode(directory, bits);
        for line in ["patchadd -R @ROOT@ delivered/200-01", "pkgadd -n -R @ROOT@ -d more ACMEmore"] {
            let run = stage.run(line);
            let said = run.said();
            assert!(run.code != 0 && said.contains(&format!("can write to @ROOT@{directory} and")), "{said}");
            assert!(said.contains(&format!("`chmod go-w @ROOT@{directory}`")), "{said}");
        }
        stage.mode(directory, bits | 0o1000);
        in_and_out("", "/etc");
        stage.mode(directory, 0o755);
    }
    fs::remove_file(stage.at("/opt/app/share")).unwrap();
    stage.symlink("/opt/app/share", "share.old");
    lchown(stage.at("/opt/app/share"), Some(NOBODY), Some(NOBODY)).unwrap();
    in_and_out("", "/opt/app/share.old");
}
