//! Two packages with a common path: the run reports it, no set has both, and a build that needs both fails. All else
//! goes on.

use serde_json::{Value, json};

use super::patches::{patch_file, patches, told};
use super::{BulkBuild, BulkRun, everybody};
use crate::scenario::is_root;

/// A file of the package's own, and one that it may share with another package.
const OWN: &str = "mkdir $DESTDIR/opt; echo $PKGNAME > $DESTDIR/opt/$PKGNAME\n";
const BOTH: &str = "echo $PKGNAME > $DESTDIR/opt/both\n";

fn left_out(run: &BulkRun) -> Value {
    run.report["set"]["left_out"].clone()
}

#[test]
fn a_shared_path_is_told_the_second_one_is_not_in_the_set_and_a_build_with_both_fails() {
    for is_ordinary in everybody() {
        let test = "a_shared_path_is_told…";
        let Some(build) = BulkBuild::of_recipes(test, is_ordinary, "slot=local 2\ncheck=none\n") else {
            continue;
        };
        build.recipe("zone", "", &format!("{OWN}{BOTH}"));
        build.recipe("other", "", OWN);
        build.run("").ends(0);
        build.recipe("rival", "", &format!("{OWN}{BOTH}echo 2 > $DESTDIR/opt/other-1.0\n"));
        build.recipe("needs", "ALL_DEPENDS=zone-[0-9]* rival-[0-9]*\n", OWN);
        let run = build.run("").ends(5);
        // The package of the previous set keeps the path, although its location sorts after the other one.
        let holder = json!([{
            "package": "rival-1.0", "location": "rival", "reason": "conflict", "name": "/opt/both",
            "holder": "zone-1.0", "breaks": 1
        }]);
        assert_eq!(left_out(&run), holder, "{}", run.said);
        let shared = json!([
            { "path": "/opt/both", "more": 0, "packages": ["zone-1.0", "rival-1.0"] },
            { "path": "/opt/other-1.0", "more": 0, "packages": ["other-1.0", "rival-1.0"] },
        ]);
        assert_eq!(run.report["shared_paths"], shared);
        let states =
            ["needs-1.0 failed (install)", "other-1.0 up-to-date", "rival-1.0 done", "zone-1.0 up-to-date"];
        assert_eq!(run.states(), states);
        assert_eq!(
            run.detail("needs-1.0"),
            "/opt/both is in zone.pkg and in rival.pkg: they cannot be installed together"
        );
        let text = std::fs::read_to_string(build.work().join("runs/2/report.txt")).unwrap();
        assert!(text.contains("\n  /opt/other-1.0: other-1.0, rival-1.0\n"), "{text}");
    }
}

#[test]
fn nobody_gets_a_path_of_another_package_by_a_link_and_its_patches_are_made() {
    let test = "nobody_gets_a_path_of_another…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "slot=local 2\ncheck=none\n") else { return };
    let victim =
        |text: &str| format!("mkdir -p $DESTDIR/opt/yvictim/bin; echo {text} > $DESTDIR/opt/yvictim/bin/v\n");
    build.recipe("yvictim", "", &victim("one"));
    build.recipe("other", "", OWN);
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    build.recipe("aevil", "", "ln -s /nowhere $DESTDIR/opt\n");
    build.recipe(
        "zzlink",
        "ALL_DEPENDS=yvictim-[0-9]*\n",
        "mkdir $DESTDIR/opt; ln -s yvictim $DESTDIR/opt/zz\n",
    );
    let behind = "mkdir -p $DESTDIR/opt/zz/bin; echo evil > $DESTDIR/opt/zz/bin/v\n";
    build.recipe("zzzevil", "ALL_DEPENDS=zzlink-[0-9]*\n", behind);
    build.write("yvictim/build", victim("two"));
    let run = build.run("").ends(5);
    let left_out: Vec<(&str, &str, &str)> = run.report["set"]["left_out"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| ["package", "name", "holder"].map(|field| one[field].as_str().unwrap()).into())
        .collect();
    assert!(
        left_out.iter().any(|(package, path, _)| (*package, *path) == ("aevil-1.0", "/opt")),
        "{left_out:?}"
    );
    assert!(left_out.contains(&("zzzevil-1.0", "/opt/zz/bin/v", "yvictim-1.0")), "{left_out:?}");
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    let (code, made) = patches(&build, "");
    assert_eq!((code, &made["refused"]), (0, &Value::Null), "{made:#}");
    assert!(told(&made).contains(&"yvictim built yvictim-01".to_owned()), "{made:#}");
}

#[test]
fn what_would_take_a_path_of_a_released_package_is_no_patch_and_the_others_are_published() {
    let test = "what_would_take_a_path…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "slot=local 2\ncheck=none\n") else { return };
    for name in ["alone", "old", "taker"] {
        build.recipe(name, "", OWN);
    }
    build.recipe("holder", "", &format!("{OWN}{BOTH}"));
    build.run("").ends(0);
    build.action("release @WORK@ 1").ok();
    // The holder is gone and another package gets its path, but users have both.
    std::fs::remove_dir_all(build.tree().join("holder")).unwrap();
    build.recipe("taker", "", &format!("{OWN}{BOTH}"));
    build.recipe("alone", "", &format!("{OWN}echo more > $DESTDIR/opt/more\n"));
    let run = build.run("").ends(0);
    assert_eq!(run.report["shared_paths"], json!([]), "the set has one of them only");
    let (code, made) = patches(&build, "");
    assert_eq!((code, &made["refused"]), (5, &Value::Null), "{made:#}");
    let told = told(&made);
    assert!(told.contains(&"alone built alone-01".to_owned()), "{told:?}");
    assert!(told.contains(&"taker failed taker-01".to_owned()), "{told:?}");
    let taker =
        made["sources"].as_array().unwrap().iter().find(|source| source["source"] == "taker").unwrap();
    let reason = taker["reason"].as_str().unwrap();
    assert!(reason.contains("/opt/both is in holder-1.0 and in taker-1.0"), "{reason}");
    assert!(patch_file(&build, "alone-01").exists() && !patch_file(&build, "taker-01").exists());
}

#[test]
fn a_squatted_path_costs_a_package_its_new_version_only_and_what_needs_one_that_is_gone_is_left_out() {
    let test = "a_squatted_path…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "slot=local 2\ncheck=none\n") else { return };
    let delivers =
        |files: &str| format!("mkdir -p $DESTDIR/opt/yvictim; cd $DESTDIR/opt/yvictim; touch {files}\n");
    build.recipe("yvictim", "", &delivers("f"));
    build.recipe("zneeds", "ALL_DEPENDS=yvictim-[0-9]*\n", OWN);
    build.recipe("zzevil", "", &delivers("g"));
    build.run("").ends(0);
    build.write("yvictim/build", delivers("f g"));
    build.write("yvictim/record", "PKGNAME=yvictim-2.0\n");
    let packages = |run: &BulkRun| {
        let left_out = run.report["set"]["left_out"].as_array().unwrap();
        let names = left_out
            .iter()
            .map(|one| format!("{} {}", one["package"].as_str().unwrap(), one["name"].as_str().unwrap()));
        names.collect::<Vec<_>>()
    };
    let run = build.run("").ends(5);
    assert_eq!(packages(&run), ["yvictim-2.0 /opt/yvictim/g"], "{}", run.said);
    assert_eq!(run.report["set"]["kept"], json!(["yvictim-1.0 (run 1)"]));
    assert_eq!(run.report["set"]["packages"], 3);
    build.set("set_on_failure=without\n");
    let run = build.run("").ends(5);
    assert_eq!(packages(&run), ["yvictim-2.0 /opt/yvictim/g", "zneeds-1.0 yvictim"], "{}", run.said);
    assert_eq!(run.report["set"]["packages"], 1);
}
