//! A small tree in the form of pkgsrc: bmake prints its records, the driver of pkgsrc builds it, and its binary
//! packages are passed on unchanged.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::pbulk_reader::{field, read_run, words};
use super::{BulkBuild, can_have_subordinate_ids, mark};
use crate::scenario::is_root;

const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bulk/pkgsrc");

/// The user who builds, and the user inside the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Builder {
    /// Root of the machine, as root of the sandbox.
    Root,
    /// An ordinary user with one id.
    Ordinary,
    /// An ordinary user with subordinate ids, as root of the sandbox.
    OrdinaryAsRoot,
}

impl Builder {
    /// All builders that this machine allows.
    fn all(test: &str) -> Vec<Self> {
        let as_root = is_root().then_some(Self::Root);
        let with_ids = can_have_subordinate_ids(test).then_some(Self::OrdinaryAsRoot);
        as_root.into_iter().chain([Self::Ordinary]).chain(with_ids).collect()
    }
}

/// Creates a test of a story for each builder.
macro_rules! by_each_builder {
    ($($story:ident,)+) => {
        $(
            mod $story {
                use super::Builder;

                fn play(builder: Builder) {
                    if Builder::all(stringify!($story)).contains(&builder) {
                        super::$story(builder);
                    }
                }

                #[test]
                fn root() {
                    play(Builder::Root);
                }

                #[test]
                fn an_ordinary_user() {
                    play(Builder::Ordinary);
                }

                #[test]
                fn an_ordinary_user_with_subordinate_ids() {
                    play(Builder::OrdinaryAsRoot);
                }
            }
        )+
    };
}

by_each_builder! {
    a_tree_of_pkgsrc_is_scanned_by_bmake_built_and_told_in_the_form_of_pbulk,
    a_changed_patch_of_another_location_builds_the_packages_again_that_take_it,
    the_packages_of_a_set_are_provided_as_pkgsrc_has_them_and_uploaded_once,
    a_failed_build_is_entered_as_it_was_left_and_has_a_log_for_each_phase,
}

impl BulkBuild {
    /// A bulk build of this tree. The tree includes its kit, the programs that install packages.
    fn of_pkgsrc(test: &str, builder: Builder, settings: &str) -> Option<Self> {
        if !crate::has("bmake", test) || !crate::has("tar", test) {
            return None;
        }
        let mut build = Self::empty(test, builder != Builder::Root)?;
        let copied = Command::new("cp").args(["-RP", TREE]).arg(build.tree()).status().unwrap();
        assert!(copied.success());
        let build_as = match builder {
            Builder::Ordinary => "build_as=user\nenv=ONE_ID=yes\n",
            Builder::Root | Builder::OrdinaryAsRoot => "build_as=root\n",
        };
        let settings = format!("{build_as}env=LOCALBASE=/tree/kit\nslot=local 2\n{settings}");
        build.begin("--driver pkgsrc", &settings);
        if builder == Builder::OrdinaryAsRoot {
            build.set_subordinate_ids_aside();
        }
        Some(build)
    }
}

/// Content of a binary package of a set.
fn content(build: &BulkBuild, set: u64, package: &str) -> String {
    let archive = build.work().join(format!("sets/{set}/files/{package}/{package}.tgz"));
    let output = Command::new("tar").args(["-xzO", "--exclude=+*", "-f"]).arg(archive).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn a_tree_of_pkgsrc_is_scanned_by_bmake_built_and_told_in_the_form_of_pbulk(builder: Builder) {
    let test = "a_tree_of_pkgsrc…";
    let Some(build) = BulkBuild::of_pkgsrc(test, builder, "") else { return };
    let run = build.run("").ends(5);
    let expected = [
        "base-1.2 done",
        "broken-1.0 failed (exit)",
        "masked-3 prefailed",
        "pkg_install-20170419 done",
        "user-0.5nb1 done",
        "word1-1.4 done",
        "word2-2.4 done",
    ];
    assert_eq!(run.states(), expected, "{builder:?}");
    assert_eq!(run.package("broken-1.0")["phase"], "build");
    assert!(build.log("broken").contains("This build fails."));
    let platform = serde_json::json!({"os": "Stand-in 1.0", "compiler": "gcc", "base": "host"});
    assert_eq!(run.report["platform"], platform);
    let status = fs::read_to_string(build.work().join("runs/1/status")).unwrap();
    assert!(status.starts_with("PLATFORM=Stand-in 1.0/"), "{status}");
    assert!(status.contains("\nCOMPILER=gcc\n"), "{status}");
    let said = build.action("status @WORK@").ok();
    assert!(said.contains("base host, OS Stand-in 1.0, compiler gcc"), "{said}");
    let of_user = "base-1.2 of base\nbase-1.2 of base\nword1-1.4 of word\nuser-0.5nb1 of user\n";
    assert_eq!(content(&build, 1, "user-0.5nb1"), of_user);

    let files = read_run(&build.work().join("runs/1"));
    files.assert_consistent();
    assert_eq!(words(field(files.record("user-0.5nb1"), "DEPENDS")), ["base-1.2", "word1-1.4"]);
    assert_eq!(field(files.record("word2-2.4"), "MULTI_VERSION"), " CHOICE=2");
    assert_eq!(field(files.record("word2-2.4"), "PKG_LOCATION"), "lang/word");
    assert_eq!(files.pbuild["user-0.5nb1"], ["done", "restricted", "1"]);

    // The makefile of one package changes: it is scanned, and built with its dependents.
    build.change("lang/word/Makefile", ("NEEDS=\t\tbase\n", "NEEDS=\t\tbase base\n"));
    let run = build.run("").ends(5);
    assert_eq!(run.in_state("done"), ["user-0.5nb1", "word1-1.4", "word2-2.4"]);
    assert_eq!(content(&build, 2, "word2-2.4"), "base-1.2 of base\nbase-1.2 of base\nword2-2.4 of word\n");

    // Another tool keeps the records of packages that were passed on, so there are no patches for them.
    build.action("release @WORK@ 1").ok();
    let patches = build.action("patches @WORK@ --json").ok();
    let patches: serde_json::Value = serde_json::from_str(&patches).unwrap();
    let foreign =
        serde_json::json!(["base-1.2", "pkg_install-20170419", "user-0.5nb1", "word1-1.4", "word2-2.4"]);
    assert_eq!((&patches["foreign"], &patches["built"]), (&foreign, &serde_json::json!(0)), "{patches:#}");
}

#[test]
fn the_driver_tells_what_pkgsrc_demands_where_a_build_does_not_meet_it() {
    // Like pkgsrc, the stand-in refuses a PKG_PATH in the environment, and root where somebody else could build.
    let test = "the_driver_tells…";
    if !is_root() {
        crate::skipped(&format!("{test}: it needs root"));
        return;
    }
    let Some(build) = BulkBuild::of_pkgsrc(test, Builder::Root, "") else { return };
    // It asks for the name of the builder, even if the base has none.
    build.set("env=UNPRIVILEGED_USER=1234\n");
    build.run("base").ends(0);
    let driver = build.work().join("driver/build");
    let text = fs::read_to_string(&driver).unwrap();
    for (was, is, said) in [
        ("BMAKE PKG_PATH MAKEFLAGS\n\n", "BMAKE MAKEFLAGS\nexport PKG_PATH=x\n\n", "Please unset PKG_PATH"),
        ("*) as_user='$as_user' ;;", "*) as_user= ;;", "checksum: not as root"),
        (">>/etc/passwd", ">/dev/null", "checksum: who builds has no name"),
    ] {
        assert!(text.contains(was), "{was}");
        let changed =
            text.replace(was, is).replace("BMAKE PKG_PATH MAKEFLAGS\nPATH", "BMAKE MAKEFLAGS\nPATH");
        fs::write(&driver, changed).unwrap();
        let run = build.run("base").ends(5);
        assert_eq!(run.package("base-1.2")["phase"], "checksum");
        assert!(build.log("base").contains(said), "{}", build.log("base"));
    }
}

fn a_changed_patch_of_another_location_builds_the_packages_again_that_take_it(builder: Builder) {
    // In pkgsrc, devel/libtool-base has the patches and sums of devel/libtool, which SCAN_DEPENDS does not name.
    let test = "a_changed_patch…";
    let Some(build) = BulkBuild::of_pkgsrc(test, builder, "") else { return };
    build.run("base user word").ends(0);
    build.write("lang/word2/patches/patch-file", "a patch\n");
    let run = build.run("base user word").ends(0);
    assert_eq!(run.in_state("done"), ["word2-2.4"], "{builder:?}: each choice has patches of its own");
    let patched = "base-1.2 of base\nword2-2.4 of word\na patch\n";
    build.run("").ends(5);
    assert_eq!(content(&build, 3, "word2-2.4"), patched);
}

/// The files below a directory, sorted.
fn files_below(directory: &Path) -> Vec<String> {
    let found = Command::new("find").args([".", "-type", "f"]).current_dir(directory).output().unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    let names: BTreeSet<String> = text.lines().map(|line| line.trim_start_matches("./").to_owned()).collect();
    names.into_iter().collect()
}

/// Output of a program for a file.
fn printed(program: &[&str], file: &Path) -> String {
    let output = Command::new(program[0]).args(&program[1..]).arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn the_packages_of_a_set_are_provided_as_pkgsrc_has_them_and_uploaded_once(builder: Builder) {
    let test = "the_packages_of_a_set…";
    let Some(build) = BulkBuild::of_pkgsrc(test, builder, "") else { return };
    // A store that refuses uploads until it is repaired, and records each call.
    let (theirs, store) = (build.scenario.beside("theirs"), build.scenario.beside("theirs/store"));
    let calls = || fs::read_to_string(theirs.join("calls")).unwrap_or_default().lines().count();
    let script = format!(
        "echo >> {0}/calls; test -e {0}/repaired || {{ echo the store is away; exit 3; }}; cp -R . {1}",
        theirs.display(),
        store.display()
    );
    build.set(&format!("upload_command=sh -c '{script}'\n"));
    let run = build.run("").ends(5);
    let error = "upload_command: sh: exit status: 3: the store is away";
    assert_eq!(run.report["upload"]["error"], error, "{builder:?}: {}", run.said);
    assert_eq!(run.report["upload"]["uploaded"], false);
    assert_eq!(calls(), 1);
    let text = fs::read_to_string(build.work().join("runs/1/report.txt")).unwrap();
    assert!(text.contains(&format!("Upload: failed: {error}")), "{text}");
    assert!(build.action("upload @WORK@").code == 1 && calls() == 2);

    fs::write(theirs.join("repaired"), "").unwrap();
    let said = build.action("upload @WORK@").ok();
    assert!(
        said.starts_with("the set of run 1: 4 packages, 1 restricted left out, from @WORK@/uploads/1"),
        "{said}"
    );
    assert_eq!(calls(), 3);
    let report = build.work().join("runs/1/report.json");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(report["upload"]["uploaded"], true);
    assert_eq!(report["upload"]["restricted"], serde_json::json!(["user-0.5nb1"]));
    build.action("upload @WORK@ 1").ok();
    assert_eq!(calls(), 3, "once for a set");
    fs::remove_dir_all(&store).unwrap();
    build.action("upload @WORK@ 1 --again").ok();
    assert_eq!(calls(), 4, "unless it is asked for");

    let packages = ["base-1.2", "pkg_install-20170419", "word1-1.4", "word2-2.4"];
    let mut expected: Vec<String> = packages.map(|name| format!("All/{name}.tgz")).to_vec();
    expected.extend(["All/pkg_summary.gz".to_owned(), "SHA512.bz2".to_owned()]);
    expected.sort();
    assert_eq!(files_below(&build.work().join("uploads/1")), expected);
    assert_eq!(fs::read_link(build.work().join("uploads/current")).unwrap(), Path::new("1"));
    let summary = printed(&["gzip", "-dc"], &store.join("All/pkg_summary.gz"));
    let names: Vec<&str> = summary.lines().filter_map(|line| line.strip_prefix("PKGNAME=")).collect();
    assert_eq!(names, packages);
    let sums = printed(&["bzip2", "-dc"], &store.join("SHA512.bz2"));
    fs::write(theirs.join("sums"), &sums).unwrap();
    assert_eq!(sums.lines().count(), 5, "{sums}");
    let mut checked = Command::new("sha512sum");
    checked.args(["-c", "--strict"]).arg(theirs.join("sums")).current_dir(&store);
    assert!(checked.stdout(Stdio::null()).status().unwrap().success(), "{sums}");

    // The next run uploads its set; a continued run does not upload twice.
    fs::remove_dir_all(&store).unwrap();
    let before = calls();
    let run = build.run("").ends(5);
    assert_eq!((run.report["upload"]["uploaded"].as_bool(), calls()), (Some(true), before + 1));
    build.action("prune @WORK@ --keep 1").ok();
    assert!(!build.work().join("uploads/1").exists() && build.work().join("uploads/2").exists());
    build.assert_nothing_left("no mark");
}

#[test]
fn what_was_uploaded_is_installed_by_pkg_add_on_a_fresh_base() {
    let test = "what_was_uploaded_is_installed…";
    let builder = if is_root() { Builder::Root } else { Builder::Ordinary };
    let Some(build) = BulkBuild::of_pkgsrc(test, builder, "upload_command=true\n") else { return };
    let run = build.run("").ends(5);
    assert_eq!(run.report["upload"]["uploaded"], true, "{:#}", run.report["upload"]);
    build.set(&format!("mount={}:/mirror\n", build.work().join("uploads/1").display()));
    // In a base without packages, a requested package brings its dependencies from the same directory.
    let script = "ls /var/db/pkg 2>/dev/null; PKG_PATH=/mirror/All /tree/kit/bin/pkg_add word2-2.4; ls /var/db/pkg; \
                  cat /opt/pkg/share/word2; PKG_PATH=/mirror/All /tree/kit/bin/pkg_add user-0.5nb1";
    let mut entering = build.command(&format!("enter {} base", build.work().display()));
    let entered = entering.args(["--", "/bin/sh", "-c", script]).stdin(Stdio::null()).output().unwrap();
    let expected = "base-1.2\nword2-2.4\nbase-1.2 of base\nword2-2.4 of word\n";
    assert_eq!(String::from_utf8_lossy(&entered.stdout), expected, "{entered:?}");
    // It is a restricted package.
    let said = String::from_utf8_lossy(&entered.stderr).into_owned();
    assert!(said.contains("pkg_add: no package user-0.5nb1"), "{said}");
}

#[test]
fn a_build_that_lacks_a_distfile_says_so_and_is_tried_again_once_it_is_there() {
    let test = "a_build_that_lacks_a_distfile…";
    let builder = if is_root() { Builder::Root } else { Builder::Ordinary };
    let Some(build) = BulkBuild::of_pkgsrc(test, builder, "") else { return };
    let distfiles = build.scenario.beside("theirs/sources");
    fs::create_dir_all(distfiles.join("fetched")).unwrap();
    build.set(&format!("mount={}:/distfiles\n", distfiles.display()));
    let makefile = "PKGNAME=\tfetched-1.0\nDIST_SUBDIR=\tfetched\nDISTFILES=\tone.tar two.tar\n\n\
                    .include \"../../mk/package.mk\"\n";
    build.write("devel/fetched/Makefile", makefile);
    build.change("devel/Makefile", ("SUBDIR=\t", "SUBDIR=\tfetched "));
    fs::write(distfiles.join("fetched/one.tar"), "").unwrap();
    let run = build.run("fetched").ends(5);
    assert_eq!(run.states(), ["fetched-1.0 failed (distfile)"]);
    assert_eq!(run.package("fetched-1.0")["phase"], "fetch");
    let log = build.log("fetched");
    assert!(log.contains("===> phase: fetch\nThere is no distfile fetched/two.tar\n"), "{log}");
    fs::write(distfiles.join("fetched/two.tar"), "").unwrap();
    assert_eq!(build.run("fetched").ends(0).states(), ["fetched-1.0 done"]);
}

#[test]
fn a_tree_of_recipes_has_its_packages_uploaded_without_what_must_not_be_handed_on() {
    let test = "a_tree_of_recipes_has…";
    if !crate::has("bzip2", test) {
        return;
    }
    let settings = "slot=local 2\nupload_command=true\n";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), settings) else { return };
    let builds = "mkdir -p \"$DESTDIR/opt\"\necho \"$PKGNAME\" >\"$DESTDIR/opt/$PKGNAME\"\n";
    build.recipe("free", "", builds);
    build.recipe("secret", "NO_BIN_ON_FTP=not for others\n", builds);
    build.recipe("needs", "ALL_DEPENDS=secret-[0-9]*:secret\n", builds);
    let run = build.run("").ends(0);
    assert_eq!(run.report["upload"]["restricted"], serde_json::json!(["needs-1.0", "secret-1.0"]));
    assert_eq!(files_below(&build.work().join("uploads/1")), ["All/free.pkg", "SHA512.bz2"]);
}

fn a_failed_build_is_entered_as_it_was_left_and_has_a_log_for_each_phase(builder: Builder) {
    let test = "a_failed_build_is_entered…";
    let mark = mark();
    let settings = format!("keep_failed=1\nreport_copy=copies\nenv=MARK={mark}\n");
    let Some(build) = BulkBuild::of_pkgsrc(test, builder, &settings) else { return };
    build.run("").ends(5);
    let logs = build.work().join("runs/1/logs/broken-1.0");
    assert_eq!(files_below(&logs), ["build.log", "checksum.log", "configure.log", "depends.log"]);
    let copied = build.work().join("copies/1/logs/broken-1.0");
    assert_eq!(files_below(&copied), files_below(&logs));
    let of_build = fs::read_to_string(logs.join("build.log")).unwrap();
    assert!(of_build.starts_with("===> phase: build\nThis build fails.\n"), "{of_build}");
    assert_eq!(build.action("log @WORK@ broken --phase build").ok(), of_build);
    assert_eq!(build.action("log @WORK@ base --phase configure").ok(), "===> phase: configure\n");
    let said = build.action("log @WORK@ base --phase sleep").fails(4);
    assert!(said.contains("has no phase sleep"), "{said}");

    // The remains of the build are there, and its phase can be repeated by hand. Changes stay.
    let script = "echo $FAILED_PHASE; ls /work /work/obj; cat /opt/pkg/share/base; ./make-target user all; echo $?; \
                  touch /work/repaired";
    let mut entering = build.command(&format!("enter {} broken --failed", build.work().display()));
    let entered = entering.args(["--", "/bin/sh", "-c", script]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&entered.stdout).into_owned();
    let expected = "build\n/work:\ndistfiles\nmake-target\nobj\npackages\n\n/work/obj:\nbroken\n\
                    base-1.2 of base\nThis build fails.\n";
    assert!(said.starts_with(expected) && !said.ends_with("\n0\n"), "{builder:?}: {entered:?}");
    let script = "./make-target user all && ./make-target root stage-install && cat obj/broken/.destdir/opt/pkg/share/broken";
    let mut entering = build.command(&format!("enter {} devel/broken --failed", build.work().display()));
    let entered = entering.args(["--", "/bin/sh", "-c", script]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&entered.stdout).into_owned();
    assert_eq!(said, "This build fails.\nbroken-1.0 of broken\n", "{entered:?}");

    // Only the newer of two failed builds is kept. A successful build is not kept.
    build.write(
        "devel/worse/Makefile",
        "PKGNAME=\tworse-1.0\nBUILD=\tfalse\n\n.include \"../../mk/package.mk\"\n",
    );
    build.change("devel/Makefile", ("SUBDIR=\t", "SUBDIR=\tworse "));
    build.run("").ends(5);
    let said = build.action("enter @WORK@ broken --failed -- true").fails(1);
    assert!(said.contains("no failed build of broken is kept on this machine; kept are worse-1.0"), "{said}");
    build.action("enter @WORK@ worse-1.0 --failed -- true").ok();
    build.change("devel/worse/Makefile", ("false", "true"));
    build.run("").ends(5);
    build.action("enter @WORK@ worse-1.0 --failed -- true").fails(1);
    build.assert_nothing_left(&mark);
}

#[test]
fn what_a_program_of_the_base_cannot_read_keeps_no_upload_back_and_it_has_the_limits_of_builds() {
    let test = "what_a_program_of_the_base…";
    if !crate::has("bzip2", test) {
        return;
    }
    let settings = "slot=local 2\nupload_command=true\ndisk=8M\nenv=PKG_INFO=/tree/pkg_info\n";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), settings) else { return };
    let leaves = |text: &str| format!("rmdir \"$DESTDIR\"; echo {text} >\"$OUT/$PKGNAME.tgz\"\n");
    build.recipe("bad", "", &leaves("bad"));
    build.recipe("good", "", &leaves("good"));
    // Like pkg_info(1), it ends at the first file that is not a package.
    let reads = "#!/bin/sh\nshift\nfor file; do\n  grep -q good \"$file\" || exit 1\n  \
                 echo \"PKGNAME=$file of $(ulimit -f)\"\ndone\n";
    build.write("pkg_info", reads);
    fs::set_permissions(build.tree().join("pkg_info"), fs::Permissions::from_mode(0o755)).unwrap();
    let run = build.run("").ends(0);
    assert_eq!(run.report["upload"]["error"], serde_json::json!(null), "{:#}", run.report["upload"]);
    assert_eq!(run.report["upload"]["unread"], serde_json::json!(["bad-1.0.tgz"]));
    let upload = build.work().join("uploads/1");
    let files = ["All/bad-1.0.tgz", "All/good-1.0.tgz", "All/pkg_summary.gz", "SHA512.bz2"];
    assert_eq!(files_below(&upload), files);
    assert_eq!(
        printed(&["gzip", "-dc"], &upload.join("All/pkg_summary.gz")),
        "PKGNAME=./good-1.0.tgz of 16384\n"
    );
}
