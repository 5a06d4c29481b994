//! Directory entries where the root has a symbolic link that leads to a directory, as on a merged `/usr`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::scenario::Scenario;

const PKGINFO: &str =
    "PKG=ACMElib\nNAME=Lib\nARCH=i386\nVERSION=1.0\nCATEGORY=application\nBASEDIR=/\nCLASSES=none\n";
const LINE: &str = "/lib d none 0711 root root ACMElib";

/// A root with `/lib -> usr/lib`, where everybody may only search.
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
    let note = "/lib stays a symbolic link: it leads to the directory @ROOT@/usr/lib, which stays as it is; \
                `--override /lib` replaces the link";
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
    let run = scenario.run("pkgadd -n -R @ROOT@ --override /lib -d @ROOT@/spool ACMElib");
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

    scenario.run("add -R @ROOT@ --override /lib @ROOT@/spool/900-01").ok();
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
