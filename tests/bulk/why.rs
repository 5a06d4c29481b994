//! The reason for the state of a package: the input that made the difference, and the packages that it waits for.

use serde_json::{Value, json};

use super::BulkBuild;
use crate::scenario::is_root;

/// Output of `why` for a package.
#[track_caller]
fn why(build: &BulkBuild, name: &str) -> Value {
    serde_json::from_str(&build.action(&format!("why @WORK@ {name} --json")).ok()).unwrap()
}

/// The names of the inputs that differ.
fn differing(reasons: &Value) -> Vec<&str> {
    reasons["differs"].as_array().unwrap().iter().map(|input| input["input"].as_str().unwrap()).collect()
}

const INSTALL: &str = "mkdir -p $DESTDIR/opt; cat $TREE/$PKG_LOCATION/text > $DESTDIR/opt/${PKGNAME%-*}\n";

/// `program` needs `user`, which needs `base`; `alone` stands alone.
fn three_and_one(test: &str) -> Option<BulkBuild> {
    let build = BulkBuild::of_recipes(test, !is_root(), "slot=local 2\ncheck=none\n")?;
    let recipes = [
        ("base", ""),
        ("user", "ALL_DEPENDS=base>=1:../base\n"),
        ("program", "ALL_DEPENDS=user-[0-9]*:../user\n"),
        ("alone", ""),
    ];
    for (name, fields) in recipes {
        build.recipe(name, fields, INSTALL);
        build.write(&format!("{name}/text"), name);
    }
    Some(build)
}

#[test]
fn the_input_that_made_the_difference_is_named() {
    let Some(build) = three_and_one("the_input_that_made…") else { return };
    build.action("why @WORK@ user").fails(1);
    build.run("").ends(0);
    let first = why(&build, "user");
    assert_eq!((&first["package"], &first["state"]), (&json!("user-1.0"), &json!("done")));
    assert_eq!((differing(&first), &first["needed_by"]), (vec![], &json!(1)));
    let needs = json!([{ "pattern": "base>=1", "package": "base-1.0", "state": "done" }]);
    assert_eq!(first["needs"], needs);

    // A file of the recipe has changed: the next run builds it, and its dependents may follow.
    build.write("base/text", "another base");
    let changed = why(&build, "base");
    assert_eq!(differing(&changed), ["file:text"]);
    assert_ne!(changed["differs"][0]["was"], changed["differs"][0]["is"]);
    let reason = "the next run builds it: changed since its last success: file:text";
    assert_eq!(changed["reason"], reason);
    let waits = why(&build, "user");
    let reason = "the next run may build it: base-1.0 is built first, and the bytes of its result decide";
    assert_eq!((differing(&waits), &waits["reason"]), (vec![], &json!(reason)));

    // It was built, and each package names the change that affected it.
    let second = build.run("").ends(0);
    assert_eq!(second.in_state("done"), ["base", "program", "user"]);
    let built = why(&build, "base");
    assert_eq!((differing(&built), &built["state"]), (vec!["file:text"], &json!("done")));
    assert_eq!(built["reason"], "it was built in run 2, since this had changed: file:text");
    assert_eq!(differing(&why(&build, "user")), ["package:base-1.0"]);
    // It is built with both, but only one of them came out different.
    assert_eq!(differing(&why(&build, "program")), ["package:base-1.0"]);
    let alone = why(&build, "alone");
    assert_eq!((differing(&alone), &alone["state"]), (vec![], &json!("up-to-date")));
    let reason = "its result of run 1 exists, and nothing that it depends on has changed since";
    assert_eq!(alone["reason"], reason);
    assert_eq!(why(&build, "program-1.0")["key"], second.package("program-1.0")["key"]);

    let text = build.action("why @WORK@ base").ok();
    assert!(text.starts_with("base-1.0: done\n  it was built in run 2"), "{text}");
    assert!(text.contains("  differs: file:text\n    was b3:") && text.contains("\n    is  b3:"), "{text}");
    assert!(text.ends_with("  needed by: 2 packages, directly by user-1.0\n"), "{text}");
}

#[test]
fn a_failure_says_when_it_was_and_who_waits_for_whom() {
    let Some(build) = three_and_one("a_failure_says_when…") else { return };
    build.recipe("masked", "PKG_SKIP_REASON=not for this machine\n", INSTALL);
    build.recipe("hopeful", "ALL_DEPENDS=masked>=1:../masked nowhere>=2:../nowhere\n", INSTALL);
    build.run("").ends(5);
    build.write("user/build", "exit 7\n");
    build.run("").ends(5);
    let failed = why(&build, "user");
    assert_eq!((&failed["state"], differing(&failed)), (&json!("failed"), vec!["file:build"]));
    let reason = "it failed in run 2 (exit), and nothing has changed since; --retry tries it again";
    assert_eq!(failed["reason"], reason);
    let waiting = why(&build, "program");
    let reason = "it needs user-1.0, which failed in run 2";
    assert_eq!((&waiting["state"], &waiting["reason"]), (&json!("indirect-failed"), &json!(reason)));
    assert_eq!(waiting["needs"][0]["state"], "failed");
    let masked = why(&build, "masked");
    assert_eq!((&masked["state"], &masked["reason"]), (&json!("prefailed"), &json!("not for this machine")));
    assert_eq!(masked["key"], Value::Null);
    let hopeful = why(&build, "hopeful");
    assert_eq!(hopeful["reason"], "it needs nowhere>=2, which nothing matches");
    let needs = json!([
        { "pattern": "masked>=1", "package": "masked-1.0", "state": "prefailed" },
        { "pattern": "nowhere>=2", "package": null, "state": null },
    ]);
    assert_eq!(hopeful["needs"], needs);

    // Once repaired, the next run builds it, whatever its last state was.
    build.write("user/build", INSTALL);
    assert_eq!(why(&build, "user")["state"], "failed");
    assert_eq!(differing(&why(&build, "user")), Vec::<&str>::new());
}

#[test]
fn an_unknown_name_and_one_of_several_packages_are_told() {
    let Some(build) = three_and_one("an_unknown_name…") else { return };
    let said = build.action("why @WORK@ base").fails(1);
    assert!(said.contains("nothing has been scanned yet: `patchadm bulk scan` reads the tree"), "{said}");
    build.write("twins/record", "PKGNAME=one-1.0\nPKGNAME=other-1.0\n");
    build.action("scan @WORK@").ok();
    let said = build.action("why @WORK@ nothing").fails(4);
    assert!(said.contains("no package has this PKGNAME, name or location: nothing"), "{said}");
    let said = build.action("why @WORK@ twins").fails(2);
    assert!(said.contains("twins means several packages: one-1.0, other-1.0"), "{said}");
    assert_eq!(why(&build, "other")["reason"], "the next run builds it: it was never built");
    std::fs::write(build.work().join("scan/records"), "PKG").unwrap();
    build.action("why @WORK@ base").fails(1);
}

#[test]
fn a_new_version_is_compared_with_the_one_before() {
    let Some(build) = three_and_one("a_new_version_is_compared…") else { return };
    build.run("").ends(0);
    build.write("alone/record", "PKGNAME=alone-2.0\n");
    build.write("alone/build", "exit 1\n");
    build.action("scan @WORK@").ok();
    let reasons = why(&build, "alone");
    assert_eq!(reasons["state"], "open");
    let differs = differing(&reasons);
    assert!(differs.contains(&"file:build") && !differs.contains(&"file:text"), "{differs:?}");
    let reason = reasons["reason"].as_str().unwrap();
    assert!(reason.starts_with("the next run builds it: changed since its last success: "), "{reason}");
    let run = build.run("").ends(5);
    let suspects = run.package("alone-2.0")["suspects"].as_array().unwrap();
    assert!(suspects.contains(&json!("file:build")), "{suspects:?}");
}
