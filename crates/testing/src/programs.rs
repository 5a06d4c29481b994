//! The programs of a build, which are beside each other.

use std::path::{Path, PathBuf};

/// The operator's program, which runs the others.
pub const PATCHADM: &str = "patchadm";

/// The other programs, each with the first words of the command lines that it answers.
const OTHERS: [(&str, &[&str]); 3] = [
    ("patchadm-bulk", &["bulk"]),
    (
        "patchadm-make",
        &[
            "build", "delta", "depot", "generate", "keygen", "lint", "order", "pkgmk", "pkgproto", "publish",
            "sign",
        ],
    ),
    ("patchadm-report", &["report"]),
];

/// Returns the program beside another one.
///
/// Cargo builds the programs of all packages before it runs tests of all of them; of the tests of a single package, only that
/// of the package.
#[track_caller]
pub fn sibling(program: &Path, name: &str) -> PathBuf {
    let sibling = program.with_file_name(name);
    assert!(
        sibling.exists(),
        "{} is not built: `cargo build --workspace` builds all programs",
        sibling.display()
    );
    sibling
}

/// Returns the program beside `patchadm` that does the work of a command line, if one does.
pub fn program_of(line: &str) -> Option<&'static str> {
    let program =
        |word: &str| OTHERS.iter().find(|(_, verbs)| verbs.contains(&word)).map(|(program, _)| *program);
    line.split_ascii_whitespace().find_map(program)
}
