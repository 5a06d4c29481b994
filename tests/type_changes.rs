//! Objects that change their type under a real transaction, and back: the plan folds what lies below them into one
//! exchange.

use std::fs;

use crate::scenario::Scenario;

const PKGINFO: &str =
    "PKG=ACMEweb\nNAME=Web\nARCH=i386\nVERSION=1.0\nCATEGORY=application\nBASEDIR=/opt\nCLASSES=none\n";

/// `a-b` is sorted between `a` and `a/x`, and each of the two folds the objects below it.
#[test]
fn directories_whose_names_begin_alike_change_type_in_one_run_and_back() {
    let scenario = Scenario::new();
    for (path, text) in [("/opt/a/x", "x"), ("/opt/a-b/y", "y")] {
        scenario.file(path, text);
    }
    scenario.package("ACMEweb", PKGINFO);
    let lines = [
        "/opt/a d none 0755 root root ACMEweb",
        "/opt/a-b d none 0755 root root ACMEweb",
        "/opt/a-b/y f none 0644 root root 1 121 981173106 ACMEweb",
        "/opt/a/x f none 0644 root root 1 120 981173106 ACMEweb",
    ];
    scenario.contents(&lines);
    let pkginfo = format!("{PKGINFO}SUNW_PATCHID=900-01\n");
    let map = [
        "1 f none a 0644 root root 1 65 981173106",
        "1 f none a-b 0644 root root 1 66 981173106",
        "1 i deletes 10 692 981173106",
    ];
    scenario.file("/spool/900-01/ACMEweb/install/deletes", "a/x\na-b/y\n");
    scenario.spooled("/spool/900-01/ACMEweb", &pkginfo, &map);
    scenario.file("/spool/900-01/ACMEweb/reloc/a", "A");
    scenario.file("/spool/900-01/ACMEweb/reloc/a-b", "B");

    scenario.run("patchadd -R @ROOT@ @ROOT@/spool/900-01").ok();
    assert_eq!(fs::read(scenario.at("/opt/a")).unwrap(), b"A");
    assert_eq!(fs::read(scenario.at("/opt/a-b")).unwrap(), b"B");

    scenario.run("patchrm -R @ROOT@ 900-01").ok();
    assert_eq!(fs::read(scenario.at("/opt/a/x")).unwrap(), b"x");
    assert_eq!(fs::read(scenario.at("/opt/a-b/y")).unwrap(), b"y");
    let contents = fs::read_to_string(scenario.at("/var/sadm/install/contents")).unwrap();
    assert!(contents.starts_with(&(lines.join("\n") + "\n#")), "{contents}");
}
