//! Forbidden actions of a recipe: it gets the error of the system and fails, without effect on others.

use super::{BulkBuild, everybody, mark};

/// Recipes: name, script, cause, and a text in their log or the reason.
const FORBIDDEN: [(&str, &str, &str, &str); 5] = [
    ("writes-to-usr", "echo x > /usr/bin/written", "exit", "Read-only file system"),
    ("writes-to-tree", "echo x > $TREE/written", "exit", "Read-only file system"),
    ("writes-to-packages", "echo x > $PACKAGES/written", "exit", "Read-only file system"),
    ("leaves-nothing", "rmdir $DESTDIR", "result", "nothing was put into /out"),
    ("kills-itself", "kill -9 $$", "signal", "signal 9"),
];

#[test]
fn what_a_recipe_may_not_do_is_its_own_error_and_the_others_are_built() {
    for is_ordinary in everybody() {
        let mark = mark();
        let settings = format!("slot=local 2\ncheck=none\nenv=MARK={mark}\n");
        let Some(build) = BulkBuild::of_recipes("what_a_recipe_may_not_do…", is_ordinary, &settings) else {
            continue;
        };
        for (name, script, ..) in FORBIDDEN {
            build.recipe(name, "", &format!("{script}\n"));
        }
        build.recipe("good", "", "mkdir $DESTDIR/opt\n");
        build.recipe("user", "ALL_DEPENDS=good-[0-9]*\n", "mkdir $DESTDIR/opt\n");
        // Locations that lead out of the tree.
        build.recipe("leads-out", "ALL_DEPENDS=passwd-[0-9]*:../../../etc\n", "mkdir $DESTDIR/opt\n");
        let run = build.run("").ends(5);
        build.assert_nothing_left(&mark);
        for (name, _, cause, says) in FORBIDDEN {
            let package = format!("{name}-1.0");
            let failed = run.package(&package);
            assert_eq!((&failed["state"], &failed["cause"]), (&"failed".into(), &cause.into()), "{failed:#}");
            let said = build.log(&package) + run.detail(&package);
            assert!(said.contains(says), "{package}: {said}");
        }
        assert_eq!(run.in_state("done"), ["good", "user"], "{}", build.who());
        let out = run.packages().iter().find(|package| package["location"] == "leads-out").unwrap();
        assert_eq!(out["state"], "prefailed", "{out:#}");
        assert!(!build.tree().join("written").exists());
    }
}

#[test]
fn a_directory_that_its_own_user_may_not_read_is_no_result() {
    let Some(build) = BulkBuild::of_recipes("a_directory…", true, "slot=local 1\ncheck=none\n") else {
        return;
    };
    build.recipe("closed", "", "mkdir -p $DESTDIR/opt/closed/deep; chmod 000 $DESTDIR/opt/closed\n");
    build.recipe("closed-out", "", "mkdir $DESTDIR/opt; chmod 000 $OUT\n");
    build.recipe("good", "", "mkdir $DESTDIR/opt\n");
    let run = build.run("").ends(5);
    // The space that it occupies cannot be determined.
    let states = ["closed-1.0 failed (disk)", "closed-out-1.0 failed (result)", "good-1.0 done"];
    assert_eq!(run.states(), states, "{}", run.said);
    assert!(run.detail("closed-1.0").contains("opt/closed"), "{}", run.detail("closed-1.0"));
    build.assert_nothing_left("none");
}
