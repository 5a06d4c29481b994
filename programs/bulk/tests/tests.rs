//! The integration tests of `patchadm-bulk` by itself. Its builds are tested beside `patchadm`, in `tests/bulk`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test that cannot go on ends by a panic
#![allow(clippy::disallowed_methods)] // a test makes its own trees, beside the door

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_patchadm-bulk");

/// Runs the program. Returns its exit code, and the text on both streams.
fn run(program: &str, line: &str) -> (i32, String) {
    let output = Command::new(program).args(line.split_ascii_whitespace()).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said)
}

#[test]
fn it_is_called_with_an_action_and_names_itself() {
    let version = concat!("patchadm-bulk ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(run(PROGRAM, "--version"), (0, version.to_owned()));
    let (code, help) = run(PROGRAM, "--help");
    let words: Vec<&str> = help.split_whitespace().collect();
    assert!(code == 0 && words.join(" ").contains("Usage: patchadm-bulk init|run|"), "{help}");
    assert!(run(PROGRAM, "run --help").1.contains("Usage: patchadm-bulk run WORK"));
    let (code, said) = run(PROGRAM, "frobnicate work");
    assert_eq!(code, 2);
    assert!(said.starts_with("patchadm-bulk: error: ") && said.contains("usage: patchadm-bulk\n"), "{said}");
    let (_, candidates) = run(PROGRAM, "__complete zsh 1 patchadm-bulk rel");
    assert_eq!(candidates.split(['\t', '\n']).next(), Some("release"));
}

#[test]
fn without_patchadm_beside_it_nothing_is_built() {
    // On the file system of the build: a program is large.
    let top = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::set_permissions(top.path(), Permissions::from_mode(0o755)).unwrap();
    let alone = top.path().join("patchadm-bulk");
    fs::hard_link(PROGRAM, &alone).or_else(|_| fs::copy(PROGRAM, &alone).map(drop)).unwrap();
    fs::create_dir(top.path().join("tree")).unwrap();
    let alone = alone.to_str().unwrap();
    let (work, tree) = (top.path().join("work"), top.path().join("tree"));
    let (code, said) =
        run(alone, &format!("init {} --tree {} --driver recipes", work.display(), tree.display()));
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(alone, &format!("run {}", work.display()));
    assert_eq!(
        (code, said.as_str()),
        (
            1,
            "patchadm-bulk: error: patchadm-bulk needs patchadm, which is not installed beside it \
             (package patchadm; from source: cargo install --path .)\n"
        )
    );
}
