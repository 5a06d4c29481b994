//! The integration tests of `patchadm-make` by itself. Its verbs are tested beside `patchadm`, in `tests`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends by a panic
#![allow(clippy::disallowed_methods)] // a test makes its own trees, beside the door

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const PROGRAM: &str = env!("CARGO_BIN_EXE_patchadm-make");

const VERBS: [&str; 8] = ["build", "delta", "depot", "keygen", "lint", "order", "publish", "sign"];

/// Runs the program. Returns its exit code, and the text on both streams.
fn run(line: &str) -> (i32, String) {
    let output = Command::new(PROGRAM).args(line.split_ascii_whitespace()).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said)
}

#[test]
fn its_help_lists_its_verbs_and_each_of_them_names_the_program() {
    let (code, help) = run("help");
    assert_eq!(code, 0);
    for verb in VERBS {
        assert!(help.contains(&format!("\n  {verb} ")), "{help}");
        let (code, help) = run(&format!("{verb} --help"));
        assert!(
            code == 0 && help.contains(&format!("Usage: patchadm-make {verb} ")) || verb == "order",
            "{help}"
        );
        let (code, said) = run(&format!("{verb} --nonsense"));
        assert!(code == 2 && said.starts_with("patchadm-make: error: "), "{verb}: {said}");
    }
    let version = concat!("patchadm-make ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(run("--version"), (0, version.to_owned()));
    // Without a verb there is nothing to do.
    assert_eq!(run(""), (0, help));
}

#[test]
fn a_word_that_is_no_verb_is_refused_with_what_could_be_meant() {
    let (code, said) = run("biuld");
    assert_eq!(code, 2);
    assert!(
        said.starts_with("patchadm-make: error: there is no command `biuld`\n    did you mean `build`?"),
        "{said}"
    );
}

#[test]
fn a_shell_is_told_verbs_and_options() {
    let (code, said) = run("__complete zsh 1 patchadm-make de");
    let names: Vec<&str> = said.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!((code, names), (0, vec!["delta", "depot"]));
    assert_eq!(run("__complete bash 2 patchadm-make lint --str").1.split('\t').next(), Some("--strict"));
}

/// The files of packages that the demonstration embeds, by the day of their modification, counted from 1 January 2020.
/// Files that are not named are of that day.
const MODIFIED: [(u64, &[&str]); 4] = [
    (30, &["404.txt", "100001-01/acmed", "libacme.so.2"]),
    (60, &["500.txt", "100001-02/acmed"]),
    (90, &["100002-01/acmed", "100002-01/banner.txt"]),
    (120, &["100003-01/acmed"]),
];

/// A patch of the demonstration: its id, prototypes, and parameters.
const DEMO_PATCHES: [(&str, &[&str], &str); 4] = [
    ("100001-01", &["ACMElib.patch", "ACMEweb.100001-01"], ""),
    ("100001-02", &["ACMElib.patch", "ACMEweb.100001-02"], ""),
    ("100002-01", &["ACMElib.patch", "ACMEweb.100002-01"], "SUNW_OBSOLETES=100001-02"),
    ("100003-01", &["ACMEweb.100003-01"], "SUNW_REQUIRES=100099-01"),
];

#[test]
fn what_the_demonstration_embeds_is_made_of_its_sources() {
    const EPOCH: u64 = 1_577_836_800;
    let demo = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/demo"));
    let scratch = tempfile::tempdir().unwrap();
    let sources = scratch.path().join("sources");
    assert!(Command::new("cp").arg("-r").arg(demo.join("sources")).arg(&sources).status().unwrap().success());
    let all = Command::new("find").arg(&sources).args(["-type", "f"]).output().unwrap().stdout;
    for file in String::from_utf8(all).unwrap().lines() {
        let is_named = |names: &&[&str]| names.iter().any(|name| Path::new(file).ends_with(name));
        let day = MODIFIED.iter().find(|(_, names)| is_named(names)).map_or(0, |(day, _)| *day);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH + day * 86_400);
        fs::File::options().append(true).open(file).unwrap().set_modified(time).unwrap();
    }
    let make = |prototype: &str, device: &Path, parameters: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("pkgmk").arg("-f").arg(sources.join(format!("{prototype}.prototype")));
        fs::create_dir_all(device).unwrap();
        command
            .arg("-d")
            .arg(device)
            .args(["-p", "demo"])
            .args(parameters)
            .env("SOURCE_DATE_EPOCH", EPOCH.to_string());
        let output = command.env("TZ", "UTC0").output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    for package in ["ACMElib", "ACMEweb"] {
        make(package, &scratch.path().join("packages"), &[]);
    }
    for (id, prototypes, more) in DEMO_PATCHES {
        let (variable, patch) = (format!("patch={id}"), format!("SUNW_PATCHID={id}"));
        let parameters: Vec<&str> =
            [&*variable, &patch, more].into_iter().filter(|word| !word.is_empty()).collect();
        for prototype in prototypes {
            make(prototype, &scratch.path().join("patches").join(id), &parameters);
        }
    }
    for top in ["packages", "patches"] {
        assert_eq!(files(&scratch.path().join(top)), files(&demo.join(top)), "{top}");
    }
}

/// Returns the files below a directory, by their paths, except those about a patch that are written by hand.
fn files(top: &Path) -> BTreeMap<PathBuf, String> {
    let (mut found, mut open) = (BTreeMap::new(), vec![top.to_owned()]);
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().to_owned();
            if path.is_dir() {
                open.push(path);
            } else if !name.to_string_lossy().contains("README") {
                found.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}
