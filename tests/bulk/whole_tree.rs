//! The whole sample tree is built; its packages are installed, and their programs run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::{BulkBuild, assert_same_results, mark};
use crate::scenario::{ADMIN, is_root};

/// All packages of the sample tree, without their version.
const ALL: [&str; 21] = [
    "chain",
    "configured",
    "diamond",
    "fails",
    "generated",
    "generator",
    "hello",
    "hello-text",
    "libbase",
    "libfive",
    "libfour",
    "libleft",
    "libone",
    "libright",
    "libstatic",
    "libthree",
    "libtwo",
    "linked",
    "marker",
    "patched",
    "settings",
];

/// Output of the programs of the sample tree.
const PROGRAMS: [(&str, &str); 9] = [
    ("chain", "chain 1.0: libfive 1.0 libfour 1.0 libthree 1.0 libtwo 1.0 libone 1.0\n"),
    ("configured", "configured for /opt/bulk\n"),
    ("diamond", "diamond 1.0: libleft 1.0 libbase 1.0 libright 1.0 libbase 1.0\n"),
    ("fails", "fails 1.0\n"),
    ("generated", "generated: made by generator 1.0\n"),
    ("generator", "#define TEXT \"made by generator 1.0\"\n"),
    ("hello", "hello 1.0: Hello, world\n"),
    ("linked", "linked 1.0: libstatic 1.0\n"),
    ("patched", "patched 1.0: first and second patch\n"),
];

#[test]
fn the_whole_tree_is_built_once_and_what_it_delivers_runs() {
    let mark = mark();
    let settings = format!("slot=local 2\nenv=MARK={mark}\n");
    let Some(build) = BulkBuild::of_sample("the_whole_tree…", !is_root(), &settings) else { return };
    let first = build.run("").ends(0);
    assert_eq!(first.in_state("done"), ALL);
    assert_eq!(first.report["counts"], serde_json::json!({ "done": 21 }));
    build.assert_nothing_left(&mark);
    let results = build.results(&first);
    assert_programs_run(&build);

    // Nothing has changed: nothing is built.
    let second = build.run("").ends(0);
    assert_eq!(second.in_state("up-to-date"), ALL);
    assert_eq!((second.report["run"].as_u64(), build.started(2)), (Some(2), Vec::new()));

    // One is built although its result exists.
    let third = build.run("--rebuild libone").ends(0);
    assert_eq!(third.in_state("done"), ["libone"]);
    assert_eq!(third.report["not_reproducible"], serde_json::json!([]));

    // A missing result is built again. It comes out as it was, so nothing else is built.
    let key = first.package("libone-1.0")["key"].as_str().unwrap();
    fs::remove_dir_all(build.result(key)).unwrap();
    let fourth = build.run("").ends(0);
    assert_eq!(build.started(4), ["libone-1.0"]);
    assert_same_results(&build.results(&fourth), &results);

    // One result is truncated, and another one has a damaged description: neither is used.
    let key = |package: &str| fourth.package(package)["key"].as_str().unwrap();
    fs::write(build.result(key("hello-1.0")).join("hello.pkg"), "cut").unwrap();
    fs::write(build.result(key("marker-1.0")).join("result.json"), "{\"result\":1").unwrap();
    let fifth = build.run("").ends(0);
    assert_eq!(fifth.in_state("done"), ["hello", "marker"]);
    let names = fs::read_dir(build.work().join("pool")).unwrap().map(|entry| entry.unwrap().file_name());
    let aside = names.filter(|name| name.to_str().unwrap().starts_with("bad-")).count();
    assert_eq!(aside, 2, "both are set aside");
    assert_same_results(&build.results(&fifth), &results);
    build.assert_nothing_left(&mark);
}

/// Installs all packages of the pool into an empty root, with the libraries of the C compiler, and starts each
/// program there.
fn assert_programs_run(build: &BulkBuild) {
    let stage = &build.scenario;
    fs::write(stage.beside("admin"), ADMIN).unwrap();
    let mut packages = Vec::new();
    // Besides results, the pool has a lock and a list of its users.
    for shelf in fs::read_dir(build.work().join("pool")).unwrap().flatten() {
        for result in fs::read_dir(shelf.path()).into_iter().flatten().flatten() {
            let files = fs::read_dir(result.path()).into_iter().flatten();
            packages.extend(files.map(|entry| entry.unwrap().path()));
        }
    }
    packages.retain(|path| path.extension().is_some_and(|extension| extension == "pkg"));
    assert_eq!(packages.len(), ALL.len());
    for package in packages {
        let line = format!(
            "pkgadd -n -R @ROOT@ -a {} -d {} all",
            stage.beside("admin").display(),
            package.display()
        );
        let installed = stage.run(&line);
        assert_eq!(installed.code, 0, "{line}\n{}{}", installed.stdout, installed.stderr);
    }
    assert_eq!(stage.text("/opt/bulk/var/marker/installed"), "marker 1.0\n");
    let mode = fs::metadata(stage.at("/opt/bulk/etc/settings.conf")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    for library in libraries_of(&stage.at("/opt/bulk/bin/hello")) {
        stage.file(&library, fs::read(&library).unwrap());
        stage.mode(&library, 0o755);
    }
    if !crate::has("unshare", "the_whole_tree…") {
        return;
    }
    for (program, says) in PROGRAMS {
        let mut inside = Command::new("unshare");
        inside.args(["--map-root-user", "--root"]).arg(stage.root());
        let output = inside.arg(format!("/opt/bulk/bin/{program}")).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(
            (text(&output.stdout), text(&output.stderr)),
            (says.to_owned(), String::new()),
            "{program}"
        );
    }
}

/// The libraries of the host that a program needs, and its loader.
pub(super) fn libraries_of(program: &Path) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split_ascii_whitespace();
    words.filter(|word| word.starts_with('/') && !word.ends_with(':')).map(str::to_owned).collect()
}
