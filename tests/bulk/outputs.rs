//! Build outputs that are not a result, and packages that cannot be installed.

use super::{BulkBuild, everybody, for_everybody, mark};
use crate::packages::{Package, datastream};

for_everybody! {
    a_package_whose_scripts_fail_fails_its_check_or_else_whoever_needs_it,
}

/// Recipes: name, script, and the reason why their output is not a result.
const WRONG: [(&str, &str, &str); 12] = [
    ("nothing", "rm -r $OUT/root", "nothing was put into /out"),
    ("pipe", "mkdir $DESTDIR/opt; mkfifo $DESTDIR/opt/pipe", "opt/pipe is a device, a pipe or a socket"),
    ("root-is-a-link", "rmdir $OUT/root; ln -s / $OUT/root", "/out/root is not a directory"),
    (
        "link-out",
        "rmdir $OUT/root; ln -s /etc/passwd $OUT/file",
        "/out/file is neither a file nor a directory",
    ),
    (
        "set-id",
        "mkdir $DESTDIR/opt; cp /bin/true $DESTDIR/opt/x; chmod 4755 $DESTDIR/opt/x",
        "opt/x has set-id bits, and no prototype names them",
    ),
    (
        "below-usr",
        "mkdir -p $DESTDIR/usr/bin; echo > $DESTDIR/usr/bin/x",
        "it delivers to /usr, which belongs to the host",
    ),
    (
        "mixture",
        "mkdir $DESTDIR/opt; echo > $OUT/notes",
        "/out has root and notes, which cannot be used together",
    ),
    (
        "twice",
        "rmdir $OUT/root; cp $PACKAGES/good.pkg $OUT/a; cp $PACKAGES/good.pkg $OUT/b",
        "two packages are called good",
    ),
    (
        "package-and-file",
        "rmdir $OUT/root; cp $PACKAGES/good.pkg $OUT/a; echo > $OUT/b",
        "/out has packages and other files",
    ),
    ("cut", "rmdir $OUT/root; head -c 1500 $PACKAGES/good.pkg > $OUT/a", ""),
    ("directory", "rmdir $OUT/root; mkdir $OUT/things", "/out/things is a directory, not a package"),
    ("a-name-that-is-longer-than-32-bytes", "mkdir $DESTDIR/opt", ""),
];

#[test]
fn what_is_no_result_fails_the_build_and_says_why() {
    for is_ordinary in everybody() {
        let mark = mark();
        let settings = format!("slot=local 2\nenv=MARK={mark}\n");
        let Some(build) = BulkBuild::of_recipes("what_is_no_result…", is_ordinary, &settings) else {
            continue;
        };
        let canary = build.scenario.beside("canary");
        std::fs::write(&canary, "alive\n").unwrap();
        build.recipe("good", "", "mkdir $DESTDIR/opt\n");
        for (name, script, _) in WRONG {
            build.recipe(name, "ALL_DEPENDS=good-[0-9]*\n", &format!("{script}\n"));
        }
        let run = build.run("").ends(5);
        build.assert_nothing_left(&mark);
        for (name, _, why) in WRONG {
            let package = format!("{name}-1.0");
            let failed = run.package(&package);
            assert_eq!(
                (&failed["state"], &failed["cause"]),
                (&"failed".into(), &"result".into()),
                "{failed:#}"
            );
            let detail = run.detail(&package);
            assert!(detail.ends_with(why) && !detail.is_empty(), "{package}: {detail}");
        }
        assert_eq!(run.in_state("done"), ["good"]);
        assert_eq!(std::fs::read_to_string(canary).unwrap(), "alive\n");
    }
}

#[test]
fn finished_packages_and_other_files_are_results() {
    for is_ordinary in everybody() {
        let settings = "slot=local 2\n";
        let Some(build) = BulkBuild::of_recipes("finished_packages…", is_ordinary, settings) else {
            continue;
        };
        build.recipe("good", "", "mkdir $DESTDIR/opt; echo good > $DESTDIR/opt/good\n");
        build.recipe(
            "copied",
            "ALL_DEPENDS=good-[0-9]*\n",
            "rmdir $OUT/root; cp $TREE/copied/ready.pkg $OUT/a\n",
        );
        let ready = Package::new("ready").file("x", 0o644, "x\n").write(&build.scenario.beside("spool"));
        datastream(&[ready], &build.tree().join("copied/ready.pkg"));
        build.recipe("files", "", "rmdir $OUT/root; echo one > $OUT/one.tgz; echo two > $OUT/two.tgz\n");
        // Foreign packages are not installed, but are available among the packages.
        build.recipe(
            "user",
            "ALL_DEPENDS=files-[0-9]*\n",
            "mkdir $DESTDIR/opt; cat $PACKAGES/*.tgz > $DESTDIR/opt/both\n",
        );
        let run = build.run("--no-set").ends(0);
        let results = build.results(&run);
        let names = |package: &str| results[package].keys().cloned().collect::<Vec<_>>();
        assert_eq!(names("copied-1.0"), ["ready.pkg"]);
        assert_eq!(names("files-1.0"), ["one.tgz", "two.tgz"]);
        assert_eq!(names("user-1.0"), ["user.pkg"]);
    }
}

fn a_package_whose_scripts_fail_fails_its_check_or_else_whoever_needs_it(is_ordinary: bool) {
    let settings = "slot=local 2\n";
    let Some(build) = BulkBuild::of_recipes("a_package_whose_scripts…", is_ordinary, settings) else {
        return;
    };
    let wrong = [
        ("fails", "mkdir $DESTDIR/opt; echo 'echo it cannot be; exit 1' > $OUT/postinstall\n"),
        ("stays", "mkdir $DESTDIR/opt; echo 'exit 1' > $OUT/preremove\n"),
        ("asks", "mkdir $DESTDIR/opt; echo 'ckyorn || exit 3; exit 0' > $OUT/request\n"),
    ];
    for (name, script) in wrong {
        build.recipe(name, "", script);
    }
    build.recipe("leaves", "", "mkdir $DESTDIR/opt; echo 'echo > /opt/left' > $OUT/postinstall\n");
    for needed in ["fails", "leaves"] {
        let needs = format!("ALL_DEPENDS={needed}-[0-9]*\n");
        build.recipe(&format!("user-of-{needed}"), &needs, "mkdir $DESTDIR/opt\n");
    }
    let checked = build.run("").ends(5);
    let states = [
        "asks-1.0 failed (check)",
        "fails-1.0 failed (check)",
        "leaves-1.0 done",
        "stays-1.0 failed (check)",
        "user-of-fails-1.0 indirect-failed",
        "user-of-leaves-1.0 done",
    ];
    assert_eq!(checked.states(), states, "{}", build.who());
    assert!(build.log("fails-1.0").contains("it cannot be"));
    let left = serde_json::json!([{ "package": "leaves-1.0", "paths": ["/opt/left"] }]);
    assert_eq!(checked.report["leftovers"], left);

    // Without a check, the package that needs it fails.
    build.set("check=none\n");
    let unchecked = build.run("--retry").ends(5);
    let states = [
        "asks-1.0 done",
        "fails-1.0 done",
        "leaves-1.0 up-to-date",
        "stays-1.0 done",
        "user-of-fails-1.0 failed (install)",
        "user-of-leaves-1.0 up-to-date",
    ];
    assert_eq!(unchecked.states(), states, "{}", build.who());
    assert!(unchecked.detail("user-of-fails-1.0").starts_with("fails.pkg: "), "{unchecked:#?}");
}

#[test]
fn owners_of_the_system_of_the_machine_are_known_and_a_link_into_the_output_is_told() {
    let group = std::fs::read_to_string("/etc/group").unwrap();
    let known = group.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let id: u32 = fields.get(2)?.parse().ok()?;
        (fields[0] != "root" && (1..1000).contains(&id)).then(|| fields[0].to_owned())
    });
    let Some(known) = known else {
        crate::skipped("owners_of_the_system…: this machine has no group of the system");
        return;
    };
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_recipes("owners_of_the_system…", is_ordinary, "slot=local 1\n")
        else {
            continue;
        };
        let prototype = format!(
            "mkdir $DESTDIR/opt; echo 1 > $DESTDIR/opt/x\n\
             echo 'd none opt 0755 root root' > $OUT/prototype\necho 'f none opt/x 0640 root {known}' >> $OUT/prototype\n"
        );
        build.recipe("owned", "", &prototype);
        build.recipe(
            "linked",
            "ALL_DEPENDS=owned-[0-9]*\n",
            "mkdir $DESTDIR/opt; ln -s $DESTDIR/opt/x $DESTDIR/opt/y; ln -s x $DESTDIR/opt/z\n",
        );
        let run = build.run("").ends(0);
        assert_eq!(run.states(), ["linked-1.0 done", "owned-1.0 done"]);
        let says = "the symbolic link /opt/y leads to /out/root/opt/x, which exists only in the build";
        let remarks = serde_json::json!([{ "package": "linked-1.0", "remarks": [says] }]);
        assert_eq!(run.report["remarks"], remarks);
        let text = std::fs::read_to_string(build.work().join("runs/1/report.txt")).unwrap();
        assert!(text.contains(&format!("\nRemarks about packages\n  linked-1.0\n      {says}\n")), "{text}");
        assert_eq!(build.run("").ends(0).report["remarks"], remarks, "it is told as long as it is so");
    }
}
