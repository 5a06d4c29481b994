//! A tree with faults of its own: the run reports them, packages kept from the previous set keep their dependencies,
//! and such a set is released only on purpose.

use std::fs;

use super::BulkBuild;
use crate::scenario::is_root;

/// Makes a file with the name of the location.
const MAKES: &str = "mkdir -p $DESTDIR/opt/$PKG_LOCATION\necho 1 >$DESTDIR/opt/$PKG_LOCATION/f\n";

#[test]
fn a_need_that_is_gone_ends_the_run_with_5_and_what_is_kept_keeps_it_and_only_force_releases_that() {
    let test = "a_need_that_is_gone…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "slot=local 2\ncheck=none\n") else { return };
    build.recipe("alpha", "", MAKES);
    build.recipe("dep", "", MAKES);
    build.recipe("beta", "ALL_DEPENDS=dep>=1:../dep\n", MAKES);
    build.recipe("masked", "PKG_SKIP_REASON=not here\n", MAKES);
    build.recipe("needs-masked", "ALL_DEPENDS=masked-[0-9]*\n", MAKES);
    // Declarations of a recipe about itself are no fault.
    let first = build.run("").ends(0);
    assert_eq!(first.package("masked-1.0")["fault"], serde_json::Value::Null);
    build.action("release @WORK@ 1").ok();

    fs::remove_dir_all(build.tree().join("dep")).unwrap();
    let second = build.run("").ends(5);
    assert_eq!(second.package("beta-1.0")["fault"], "unmatched");
    assert_eq!(second.report["set"]["kept"], serde_json::json!(["beta-1.0 (run 1)", "dep-1.0 (run 1)"]));
    let packages = build.work().join("sets/2/packages");
    assert!(packages.join("beta.pkg").exists() && packages.join("dep.pkg").exists());
    let text = fs::read_to_string(build.work().join("runs/2/report.txt")).unwrap();
    assert!(text.contains("Kept from the previous set: beta-1.0 (run 1) dep-1.0 (run 1)\n"), "{text}");

    let said = build.action("release @WORK@ 2").fails(1);
    assert!(
        said.contains("beta-1.0: it needs dep>=1, which nothing matches") && said.contains("--force"),
        "{said}"
    );
    let released = || fs::read_link(build.work().join("sets/released")).unwrap();
    assert_eq!(released().to_str(), Some("1"));
    build.action("release @WORK@ 2 --force").ok();
    assert_eq!(released().to_str(), Some("2"));

    // A missing report does not block the set; an unreadable one does.
    build.action("release @WORK@ 1").ok();
    let report = build.work().join("runs/2/report.json");
    fs::write(&report, "{").unwrap();
    build.action("release @WORK@ 2").fails(1);
    fs::remove_file(&report).unwrap();
    build.action("release @WORK@ 2").ok();
}

#[test]
fn a_location_whose_scan_fails_ends_the_run_of_the_whole_tree_with_5_and_not_that_of_another_name() {
    let test = "a_location_whose_scan_fails…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "slot=local 2\ncheck=none\n") else { return };
    build.recipe("good", "", MAKES);
    build.write("wrong/scan", "exit 2\n");
    let whole = build.run("").ends(5);
    assert_eq!(whole.package("wrong-0")["fault"], "scan");
    build.run("good").ends(0);
}
