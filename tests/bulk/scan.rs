//! Scanning the tree without a build: known records are not asked for again, and records can be imported.

use std::fs;

use serde_json::{Value, json};

use super::BulkBuild;
use crate::scenario::is_root;

#[track_caller]
fn scan(build: &BulkBuild, options: &str) -> Value {
    serde_json::from_str(&build.action(&format!("scan @WORK@ {options} --json")).ok()).unwrap()
}

fn counts(scanned: &Value) -> [u64; 4] {
    ["locations", "scanned", "reused", "records"].map(|name| scanned[name].as_u64().unwrap())
}

#[test]
fn a_scan_asks_only_what_has_changed_and_writes_the_files_of_pbulk() {
    let Some(build) = BulkBuild::of_recipes("a_scan_asks…", !is_root(), "slot=local 2\n") else { return };
    build.recipe("zlib", "", "");
    build.recipe("curl", "ALL_DEPENDS=zlib>=1:../zlib\nMAINTAINER=somebody@example.org\n", "");
    build.write("broken/scan", "echo no record >&2; exit 2\n");
    let first = scan(&build, "");
    assert_eq!(counts(&first), [3, 3, 0, 3]);
    let prefailed = json!([{ "package": "broken-0", "reason": "scan: exit 2: no record" }]);
    assert_eq!(first["prefailed"], prefailed);
    let read = |name: &str| fs::read_to_string(build.work().join("scan").join(name)).unwrap();
    // In the form that the programs of pbulk expect.
    let none = "PKG_SKIP_REASON=\nPKG_FAIL_REASON=\n";
    let pscan = format!(
        "PKGNAME=broken-0\nPKG_LOCATION=broken\nPKG_FAIL_REASON=scan: exit 2: no record\nALL_DEPENDS=\n\
         PKG_SKIP_REASON=\nPKGNAME=curl-1.0\nPKG_LOCATION=curl\nALL_DEPENDS=zlib>=1:../../zlib\n\
         MAINTAINER=somebody@example.org\n{none}PKGNAME=zlib-1.0\nPKG_LOCATION=zlib\nALL_DEPENDS=\n{none}"
    );
    assert_eq!(read("pscan"), pscan);
    let of_curl = format!("example.org\n{none}");
    let presolve = pscan.replace(&of_curl, &format!("{of_curl}DEPENDS=zlib-1.0\n"));
    assert_eq!(read("presolve"), presolve);

    // Failed locations are scanned again; all others are known.
    assert_eq!(counts(&scan(&build, "")), [3, 1, 2, 3]);
    assert_eq!(counts(&scan(&build, "--full")), [3, 3, 0, 3]);
    build.change("zlib/record", ("1.0", "2.0"));
    assert_eq!(counts(&scan(&build, "")), [3, 2, 1, 3]);
    assert!(read("presolve").contains("DEPENDS=zlib-2.0\n"));
    assert!(!build.work().join("runs/1").exists(), "nothing was built");
    let text = build.action("scan @WORK@").ok();
    assert_eq!(
        text,
        "3 locations (1 scanned, 2 as they were), 3 packages\nbroken-0: scan: exit 2: no record\n"
    );
}

#[test]
fn records_from_elsewhere_are_looked_at_and_the_next_run_scans_by_itself() {
    let Some(build) =
        BulkBuild::of_recipes("records_from_elsewhere…", !is_root(), "slot=local 1\ncheck=none\n")
    else {
        return;
    };
    build.recipe("own", "", "mkdir $DESTDIR/opt\n");
    // The user of the program must be able to read it.
    let elsewhere = build.tree().join("elsewhere");
    let records = "PKGNAME=curl-8.1\nPKG_LOCATION=net/curl\nALL_DEPENDS=zlib>=1:../../devel/zlib\nDEPENDS=evil-1\n\
                   PKGNAME=zlib-1.3\nPKG_LOCATION=devel/zlib\n";
    fs::write(&elsewhere, records).unwrap();
    let import = format!("--import {}", elsewhere.display());
    assert_eq!(counts(&scan(&build, &import)), [2, 0, 0, 2]);
    let presolve = fs::read_to_string(build.work().join("scan/presolve")).unwrap();
    assert!(presolve.contains("DEPENDS=zlib-1.3\n") && !presolve.contains("evil"), "{presolve}");
    let why = build.action("why @WORK@ curl").ok();
    assert!(why.contains("needs: zlib>=1 -> zlib-1.3 open"), "{why}");
    fs::remove_file(&elsewhere).unwrap();
    assert_eq!(build.run("").ends(0).states(), ["own-1.0 done"]);

    for (records, why) in [
        ("PKGNAME=curl-8.1\n", "PKG_LOCATION"),
        ("PKGNAME=curl-8.1\r\nPKG_LOCATION=net/curl\n", "line 1"),
        ("PKGNAME=curl\nPKG_LOCATION=net/curl\n", "curl"),
        ("PKGNAME=curl-8.1\nPKG_LOCATION=../curl\n", "../curl"),
    ] {
        fs::write(&elsewhere, records).unwrap();
        let said = build.action(&format!("scan @WORK@ {import}")).fails(1);
        assert!(said.contains(why) && said.contains("elsewhere"), "{said}");
    }
    build.action("scan @WORK@ --import @WORK@/nowhere").fails(1);
    // A pipe without a writer does not block the import.
    fs::remove_file(&elsewhere).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &elsewhere, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    let said = build.action(&format!("scan @WORK@ {import}")).fails(1);
    assert!(said.contains("it is not a regular file"), "{said}");
    build.action(&format!("scan @WORK@ --full {import}")).fails(2);
}

#[test]
fn a_tree_that_cannot_be_listed_is_told_with_its_last_line() {
    let Some(build) = BulkBuild::of_recipes("a_tree_that_cannot…", !is_root(), "slot=local 1\n") else {
        return;
    };
    let scan = build.scenario.beside("driver/scan");
    fs::write(scan, "#!/bin/sh\necho the tree is half there >&2; exit 4\n").unwrap();
    let said = build.action("scan @WORK@").fails(1);
    assert!(said.contains("the list of locations: scan: exit 4: the tree is half there"), "{said}");
    build.assert_nothing_left("no mark");
}
