//! Content decides which packages are built again. The wave stops at a package whose bytes are the same.

use super::{BulkBuild, BulkRun, different};
use crate::scenario::is_root;

/// The requested packages, which need eight others.
const NAMES: &str = "chain linked user";

#[test]
fn a_change_builds_what_comes_out_different_and_what_uses_that_and_nothing_else() {
    let settings = "slot=local 2\ncheck=none\n";
    let Some(build) = BulkBuild::of_sample("a_change_builds…", !is_root(), settings) else { return };
    // It needs a program whose output does not depend on the generator of its text.
    build.write(
        "tools/user/recipe",
        "PKGNAME=user-1.0\nINCLUDE=../../mk/common\nALL_DEPENDS=generated>=1.0:../../tools/generated\n",
    );
    build.write("tools/user/src/Makefile", "all install:\n\tgenerated\n");
    let first = build.run(NAMES).ends(0);
    let all = [
        "chain",
        "generated",
        "generator",
        "libfive",
        "libfour",
        "libone",
        "libstatic",
        "libthree",
        "libtwo",
        "linked",
        "user",
    ];
    assert_eq!(first.in_state("done"), all);

    // A changed comment, compiled without debug lines.
    build.change("chain/libone/src/one.c", ("#include", "/* The first one. */ #include"));
    let commented = build.run(NAMES).ends(0);
    assert_changed(&build, (&first, &commented), &["libone"], &[]);

    // A changed function: everything linked with it is built, and comes out the same, except the library itself.
    build.change("chain/libone/src/one.c", (" libone %s", " the library libone %s"));
    let function = build.run(NAMES).ends(0);
    let chain = ["chain", "libfive", "libfour", "libone", "libthree", "libtwo"];
    assert_changed(&build, (&commented, &function), &chain, &["libone"]);

    // A changed program that another build calls: that one comes out the same, and the wave stops there.
    build.change("tools/generator/src/generator.c", ("return 0;", "return putchar('\\n') != '\\n';"));
    let generator = build.run(NAMES).ends(0);
    assert_changed(&build, (&function, &generator), &["generated", "generator"], &["generator"]);

    // A changed library that becomes a part of the programs linked with it.
    build.change("static/libstatic/src/name.c", ("\"libstatic\"", "\"the static library\""));
    let library = build.run(NAMES).ends(0);
    assert_changed(&build, (&generator, &library), &["libstatic", "linked"], &["libstatic", "linked"]);

    // A changed file that some records name, without effect on the bytes.
    build.change("mk/library.mk", ("# Builds", "# Makes"));
    let common = build.run(NAMES).ends(0);
    let libraries = ["libfive", "libfour", "libone", "libthree", "libtwo"];
    assert_changed(&build, (&library, &common), &libraries, &[]);

    // A file is added and removed again: the earlier result is still in the pool.
    build.write("chain/libone/src/two.c", "");
    assert_eq!(build.run(NAMES).ends(0).in_state("done"), ["libone"]);
    std::fs::remove_file(build.tree().join("chain/libone/src/two.c")).unwrap();
    assert_eq!(build.run(NAMES).ends(0).in_state("done"), Vec::<String>::new());
}

#[test]
fn packages_of_recipes_that_are_alike_have_results_of_their_own() {
    let settings = "slot=local 2\ncheck=none\n";
    let Some(build) = BulkBuild::of_recipes("packages_of_recipes…", !is_root(), settings) else { return };
    let script = "mkdir -p $DESTDIR/opt; echo $PKGNAME > $DESTDIR/opt/$PKGNAME\n";
    for name in ["one", "two"] {
        build.recipe(name, "", script);
    }
    build.write("twins/record", "PKGNAME=left-1.0\nPKGNAME=right-1.0\n");
    build.write("twins/build", script);
    let run = build.run("").ends(0);
    assert_eq!(run.in_state("done"), ["left", "one", "right", "two"]);
    for (package, files) in build.results(&run) {
        let name = package.strip_suffix("-1.0").unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), [&format!("{name}.pkg")]);
    }
    assert_eq!(run.report["not_reproducible"].as_array().unwrap().len(), 0);
    // A recipe that moves makes another package, since the package says where it is from.
    std::fs::rename(build.tree().join("two"), build.tree().join("second")).unwrap();
    assert_eq!(build.run("").ends(0).in_state("done"), ["two"]);
}

/// Asserts which packages the later run built, and which of these came out different.
#[track_caller]
fn assert_changed(
    build: &BulkBuild,
    (before, after): (&BulkRun, &BulkRun),
    built: &[&str],
    came_out: &[&str],
) {
    assert_eq!(after.in_state("done"), built);
    assert_eq!(after.in_state("done").len() + after.in_state("up-to-date").len(), 11);
    assert_eq!(different(&build.results(after), &build.results(before)), came_out);
}

/// Script of a package that contains the time.
const STAMPED: &str =
    "mkdir $DESTDIR/opt; { echo text; echo \"# built $(date +%s%N)\"; } > $DESTDIR/opt/$PKGNAME\n";

#[test]
fn what_differs_each_time_is_told_byte_by_byte_and_stops_the_wave_where_its_recipe_says_so() {
    let test = "what_differs_each_time…";
    let settings = "slot=local 2\ncheck=none\n";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), settings) else { return };
    build.recipe("stamped", "", STAMPED);
    build.recipe(
        "user",
        "ALL_DEPENDS=stamped-[0-9]*\n",
        "mkdir $DESTDIR/opt; echo 1 > $DESTDIR/opt/$PKGNAME\n",
    );
    build.run("").ends(0);
    build.write("stamped/build", format!("# A comment.\n{STAMPED}"));
    assert_eq!(build.run("").ends(0).in_state("done"), ["stamped", "user"], "the wave goes on");
    let told = build.action("diff @WORK@ 1 2 --bytes").ok();
    let line = told.lines().find(|line| line.starts_with("bytes: ")).unwrap_or_else(|| panic!("{told}"));
    let begin = "bytes: stamped-1.0: stamped.pkg: opt/stamped-1.0: line 2, byte ";
    assert!(line.starts_with(begin) && line.contains(": `# built ") && told.lines().count() == 1, "{told}");
    assert_eq!(build.action("diff @WORK@ 1 2").ok(), "");
    // Built again from the same inputs, it is reported with the bytes that differ.
    let again = build.run("--rebuild stamped").ends(0);
    let differs = again.report["not_reproducible"][0].as_str().unwrap();
    assert!(differs.starts_with("stamped-1.0: stamped.pkg: opt/stamped-1.0: line 2, byte "), "{differs}");

    let declared = "PKGNAME=stamped-1.0\nVARIES=opt/stamped-*##?built?*\n";
    build.write("stamped/record", declared);
    let first = build.run("").ends(0);
    assert_eq!(first.in_state("done"), ["stamped"], "the one before stays, so the wave stops");
    build.write("stamped/build", format!("# Another comment.\n{STAMPED}"));
    let second = build.run("").ends(0);
    assert_eq!(second.in_state("done"), ["stamped"]);
    assert_eq!(different(&build.results(&first), &build.results(&second)), Vec::<&str>::new());
    let rebuilt = build.run("--rebuild stamped").ends(0);
    assert_eq!(rebuilt.report["not_reproducible"], serde_json::json!([]));
    // A change outside of the varying part counts.
    build.write("stamped/build", STAMPED.replace("text", "other text"));
    assert_eq!(build.run("").ends(0).in_state("done"), ["stamped", "user"]);
}
