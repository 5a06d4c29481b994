//! The same with the real dpkg, which decides about the attributes of a new version under its overrides.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::native_attributes::mode;
use crate::scenario::{Scenario, is_root};

/// A file of a package: its path, mode and text.
type PackagedFile<'a> = (&'a str, u32, &'a str);

const ONE: [PackagedFile<'_>; 4] = [
    ("/usr/bin/x", 0o4755, "one\n"),
    ("/usr/bin/y", 0o755, "one\n"),
    ("/usr/bin/z", 0o755, "one\n"),
    ("/lib/acme/a.so", 0o644, "one\n"),
];

const TWO: [PackagedFile<'_>; 5] = [
    ("/usr/bin/x", 0o755, "two\n"),
    ("/usr/bin/y", 0o755, "two\n"),
    ("/usr/bin/z", 0o755, "two\n"),
    ("/usr/bin/new", 0o755, "two\n"),
    ("/lib/acme/a.so", 0o644, "two\n"),
];

/// The paths on disk of the files of the second version.
const PLACES: [&str; 5] = ["/usr/bin/x", "/usr/bin/y", "/usr/bin/z", "/usr/bin/new", "/usr/lib/acme/a.so"];

/// True if a test can be played; otherwise reports why not.
fn can_play(test: &str, tools: &[&str]) -> bool {
    let missing = tools.iter().find(|tool| {
        let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
        !found.is_ok_and(|found| found.status.success())
    });
    match missing {
        Some(tool) => crate::missing(tool, test),
        None if !is_root() => crate::skipped(&format!("{test}: only root installs with dpkg")),
        None => return true,
    }
    false
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    said.into_owned()
}

/// Makes version `version` of the package `acme` beside the root.
fn deb(stage: &Scenario, version: &str, files: &[PackagedFile<'_>]) -> PathBuf {
    let tree = stage.beside(&format!("tree-{version}"));
    for (path, bits, text) in files {
        let at = tree.join(&path[1..]);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, text).unwrap();
        done(Command::new("chmod").arg(format!("{bits:04o}")).arg(&at));
    }
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: acme\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a test\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let to = stage.beside(&format!("{version}.deb"));
    done(Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).arg(&to));
    to
}

fn dpkg(stage: &Scenario, version: &str) {
    let root = format!("--root={}", stage.root().display());
    done(
        Command::new("dpkg").args([&root, "--force-all", "-i"]).arg(stage.beside(&format!("{version}.deb"))),
    );
}

/// A root with merged directories in which dpkg has installed the first version, and the packages of both beside it.
fn installed() -> Scenario {
    let stage = Scenario::new();
    for directory in ["/var/lib/dpkg/info", "/var/lib/dpkg/updates", "/usr/lib", "/usr/bin"] {
        stage.directory(directory);
    }
    stage.file("/var/lib/dpkg/status", "");
    stage.file("/etc/os-release", "ID=debian\nVERSION_ID=12\n");
    stage.symlink("/lib", "usr/lib");
    deb(&stage, "1.0", &ONE);
    deb(&stage, "1.1", &TWO);
    dpkg(&stage, "1.0");
    stage
}

/// Adopts the package, and builds the patch from the first version to the second.
fn adopted(stage: &Scenario) {
    stage.run("adopt --dpkg acme -R @ROOT@").ok();
    let (one, two) = (stage.beside("1.0.deb"), stage.beside("1.1.deb"));
    let (one, two, to) = (one.display(), two.display(), stage.beside("100001-01"));
    let run = stage.run(&format!("build -q --id 100001-01 --from {one} --to {two} -o {}", to.display()));
    assert_eq!(run.code, 0, "{}", run.stderr);
}

fn add(stage: &Scenario) -> String {
    stage.run(&format!("add -R @ROOT@ {}", stage.beside("100001-01").display())).ok()
}

/// Mode and owners of the files of the second version.
fn attributes(stage: &Scenario) -> Vec<(&'static str, String, u32, (u32, u32))> {
    let of = |path| {
        let seen = fs::metadata(stage.at(path)).unwrap();
        (path, fs::read_to_string(stage.at(path)).unwrap(), seen.mode() & 0o7777, (seen.uid(), seen.gid()))
    };
    PLACES.into_iter().map(of).collect()
}

#[test]
fn a_patch_leaves_the_attributes_that_dpkg_gives_the_new_version_under_its_overrides() {
    let test = "a_patch_leaves_the_attributes_that_dpkg_gives_the_new_version_under_its_overrides";
    if !can_play(test, &["dpkg", "dpkg-deb", "tar"]) {
        return;
    }
    let [by_dpkg, by_patch] = [installed(), installed()];
    for stage in [&by_dpkg, &by_patch] {
        let overrides = "#0 #4 4711 /usr/bin/x\n#0 #4 0700 /usr/bin/y\n#7 #8 0750 /usr/bin/new\n\
                         #0 #4 0600 /usr/lib/acme/a.so\n#0 #4 0711 /usr//bin/z\n";
        stage.file("/var/lib/dpkg/statoverride", overrides);
    }
    dpkg(&by_dpkg, "1.1");
    adopted(&by_patch);
    let said = add(&by_patch);
    assert!(
        said.contains("keeps its set-id bits, which the patch removes, because of its override"),
        "{said}"
    );
    assert_eq!(attributes(&by_patch), attributes(&by_dpkg));
    let root = format!("--root={}", by_patch.root().display());
    by_patch.run("remove -R @ROOT@ 100001-01").ok();
    assert_eq!(done(Command::new("dpkg").args([&root, "--verify", "acme"])), "");
    assert_eq!(mode(&by_patch, "/usr/bin/x"), 0o4711);
}

#[test]
fn an_override_that_dpkg_statoverride_makes_and_removes_is_found() {
    let test = "an_override_that_dpkg_statoverride_makes_and_removes_is_found";
    if !can_play(test, &["dpkg", "dpkg-deb", "tar", "dpkg-statoverride"]) {
        return;
    }
    let stage = installed();
    adopted(&stage);
    add(&stage);
    let statoverride = |words: &[&str]| {
        let admindir = format!("--admindir={}", stage.at("/var/lib/dpkg").display());
        done(Command::new("dpkg-statoverride").arg(admindir).args(words))
    };
    statoverride(&["--add", "root", "root", "0500", "/usr/bin/z"]);
    let said = stage.run("remove -R @ROOT@ 100001-01").ok();
    assert!(said.contains("by dpkg-statoverride of /usr/bin/z, regardless of its earlier state"), "{said}");
    assert_eq!((stage.text("/usr/bin/z").as_str(), mode(&stage, "/usr/bin/z")), ("one\n", 0o500));
    statoverride(&["--remove", "/usr/bin/z"]);
    stage.mode("/usr/bin/z", 0o755);
    add(&stage);
    assert_eq!((stage.text("/usr/bin/z").as_str(), mode(&stage, "/usr/bin/z")), ("two\n", 0o755));
}

#[test]
fn a_capability_that_setcap_gave_survives_a_patch_of_the_bytes_and_its_removal() {
    let test = "a_capability_that_setcap_gave_survives_a_patch_of_the_bytes_and_its_removal";
    if !can_play(test, &["dpkg", "dpkg-deb", "tar", "setcap", "getcap"]) {
        return;
    }
    let stage = installed();
    if !Command::new("setcap").arg("cap_net_raw=ep").arg(stage.at("/usr/bin/y")).status().unwrap().success() {
        return crate::skipped(&format!("{test}: the file system has no capabilities"));
    }
    adopted(&stage);
    let has = |stage: &Scenario| {
        done(Command::new("getcap").arg(stage.at("/usr/bin/y"))).contains("cap_net_raw=ep")
    };
    let said = add(&stage);
    assert!(said.contains("@ROOT@/usr/bin/y keeps its file capabilities"), "{said}");
    assert_eq!((stage.text("/usr/bin/y").as_str(), has(&stage)), ("two\n", true));
    stage.run("remove -R @ROOT@ 100001-01").ok();
    assert_eq!((stage.text("/usr/bin/y").as_str(), has(&stage)), ("one\n", true));
}
