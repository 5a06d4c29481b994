//! Tools that tests use if they are installed. `.ci/tools` installs all of them, so in a run of `.ci/run` a test that
//! lacks one fails by name; elsewhere it is left out by name.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Command;
use std::sync::LazyLock;

/// The script that installs them.
const SCRIPT: &str = include_str!("../../../.ci/tools");

/// The variable whose value `required` means that no tool may be missing.
const TOOLS: &str = "PATCHADM_TEST_TOOLS";

/// The names of the tools that the script installs.
static INSTALLED: LazyLock<BTreeSet<&str>> = LazyLock::new(|| {
    let (_, list) = SCRIPT.split_once("\ntools='").unwrap();
    let (list, _) = list.split_once('\'').unwrap();
    list.lines().map(|line| line.split(' ').next().unwrap()).collect()
});

/// Leaves out a test, or a part of it, because a tool is missing. If all tools that the checks install are required,
/// the test fails.
#[track_caller]
pub fn missing(tool: &str, test: &str) {
    let tool = tool.rsplit('/').next().unwrap_or(tool);
    let said = format!("{test}: {tool} is not installed");
    let are_required = std::env::var_os(TOOLS).is_some_and(|value| value == "required");
    assert!(
        !are_required || !INSTALLED.contains(tool),
        "{said}, and {TOOLS}=required; .ci/tools installs it"
    );
    skipped(&said);
}

/// Returns true if a tool can be called. Otherwise leaves out the test, or a part of it.
#[track_caller]
pub fn has(tool: &str, test: &str) -> bool {
    let has = Command::new(tool).arg("--version").output().is_ok();
    if !has {
        missing(tool, test);
    }
    has
}

/// Says which test is skipped and why, where it is seen: past the capture of what a test prints.
pub fn skipped(what: &str) {
    // Nothing depends on it.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::checkout;

    #[test]
    fn what_tests_may_lack_is_what_the_checks_install() {
        let mut open = ["tests", "crates", "programs"].map(|folder| checkout().join(folder)).to_vec();
        let mut named = BTreeSet::new();
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    open.push(entry);
                } else if entry.extension().is_some_and(|ending| ending == "rs") {
                    let text = fs::read_to_string(&entry).unwrap();
                    let calls = ["crate::missing(\"", "crate::has(\""].map(|call| text.split(call).skip(1));
                    named.extend(
                        calls.into_iter().flatten().map(|rest| rest.split('"').next().unwrap().to_owned()),
                    );
                }
            }
        }
        named.remove("");
        assert!(named.len() > 10, "{named:?}");
        let unknown: Vec<&String> = named.iter().filter(|tool| !INSTALLED.contains(tool.as_str())).collect();
        assert_eq!(unknown, Vec::<&String>::new());
        let shells = ["dash", "bash", "busybox", "ksh93", "mksh", "original-awk", "mawk", "gawk", "mandoc"];
        assert!(shells.iter().all(|tool| INSTALLED.contains(tool)), "{INSTALLED:?}");
    }

    #[test]
    fn in_a_run_of_the_checks_no_tool_may_be_missing() {
        let checks = fs::read_to_string(checkout().join(".ci/run")).unwrap();
        let (before, _) = checks.split_once("\ntimeout --kill-after=10 3600 cargo test").unwrap();
        assert!(before.ends_with("\nexport PATCHADM_TEST_TOOLS"), "{before}");
        // As a test that lacks a tool is run there.
        let run = |value: &str| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command
                .args(["--ignored", "--exact", "tools::tests::a_test_that_lacks_a_tool"])
                .env(TOOLS, value);
            let output = command.output().unwrap();
            (
                output.status.success(),
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
            )
        };
        let (is_well, said) = run("optional");
        assert!(is_well && said.contains("skipped: a test: mandoc is not installed"), "{said}");
        let (is_well, said) = run("required");
        assert!(
            !is_well && said.contains("a test: mandoc is not installed, and PATCHADM_TEST_TOOLS=required"),
            "{said}"
        );
    }

    #[test]
    #[ignore = "the test above runs it"]
    fn a_test_that_lacks_a_tool() {
        missing("mandoc", "a test");
    }
}
