//! Faults of earlier versions, each reproduced by a script of `testdata/public`.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use patchadm_testing::checkout;
use patchadm_testing::programs::sibling;

use crate::scenario::{PROGRAM, directory};

/// The time limit of a script, in seconds: none needs ten, but other tests run beside it.
const LIMIT: &str = "60";

const FOLDER: &str = "testdata/public";

/// Makes a test of each script, and the list of all.
macro_rules! cases {
    ($($case:literal $test:ident)+) => {
        const CASES: &[&str] = &[$($case),+];

        $(
            #[test]
            fn $test() {
                play($case, stringify!($test));
            }
        )+
    };
}

cases! {
    "A1" a_process_of_another_root_is_not_named
    "A2" a_process_that_runs_a_file_of_before_the_last_patch_is_named_and_keeps_its_library
    "A3" a_process_that_has_a_library_mapped_is_seen_on_overlayfs_and_btrfs
    "B1" changes_in_the_pkglog_of_another_tool_are_not_lost
    "B2" a_path_with_a_blank_stops_no_question_about_other_packages
    "B4" a_root_without_proc_is_served_or_told_so
    "C1" a_first_package_of_an_unnamed_class_leaves_a_root_that_works
    "C4" a_hard_link_into_another_file_system_is_refused_by_the_plan
    "D1" a_file_that_moves_from_lib_to_usr_lib_is_not_called_edited
    "D6" owner_and_mode_of_an_override_stay_or_are_named
    "D7" a_change_of_the_owner_keeps_the_capability_of_a_file
    "D8" other_bytes_of_the_same_size_and_time_are_warned_of
    "E5" check_mode_of_ansible_does_not_call_for_a_reboot
    "F1" a_bulk_run_with_an_unmatched_dependency_fails_and_its_set_is_closed
}

#[test]
fn every_script_is_played() {
    let entries = fs::read_dir(checkout().join(FOLDER)).unwrap().map(|entry| entry.unwrap().path());
    let scripts: BTreeSet<_> = entries
        .filter(|path| path.join("run.sh").exists())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(Vec::from_iter(scripts), CASES);
}

/// Runs the script of a case with the program under test; its last output is the outcome.
#[track_caller]
fn play(case: &str, test: &str) {
    // D1 and D6 build Debian packages, and dpkg-deb runs tar.
    let makes_debs = ["D1", "D6"].contains(&case);
    if !crate::has("bash", test) || (makes_debs && !crate::has("tar", test)) {
        return;
    }
    for name in ["patchadm-make", "patchadm-bulk"] {
        sibling(Path::new(PROGRAM), name);
    }
    let scratch = directory();
    // Another user builds in it.
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
    let output = Command::new("timeout")
        .args(["--kill-after=5", LIMIT, "bash"])
        .arg(checkout().join(FOLDER).join(case).join("run.sh"))
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .env("HOME", env::var_os("HOME").unwrap_or_default())
        .env("TMPDIR", scratch.path())
        .env("PATCHADM", PROGRAM)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let outcome = printed.lines().last().unwrap_or_default();
    if let Some(reason) = outcome.strip_prefix("SKIP: ") {
        return crate::skipped(&format!("{test}: {reason}"));
    }
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(outcome, "PASS", "{case}, {}:\n{printed}{complaints}", output.status);
}
