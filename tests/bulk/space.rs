//! Disks that are full: what cannot be kept ends the run, what cannot be built is no package's failure, and nothing is half
//! there.

use std::fs;
use std::process::Command;

use super::machines::{names, with_tree};
use super::{BulkBuild, BulkRun};
use crate::scenario::is_root;

/// The run, with a small file system in memory at this path.
fn running_with(build: &BulkBuild, (path, size): (&str, &str)) -> Command {
    let run = build.running("");
    let mut command = Command::new("/usr/bin/unshare");
    let script = format!("mount -t tmpfs -o size={size},mode=755 none \"$0\" && exec \"$@\"");
    command.args(["--mount", "/bin/sh", "-c", &script]).arg(build.work().join(path));
    command.arg(run.get_program()).args(run.get_args()).env_clear();
    for (name, value) in run.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
}

/// A tree of which one package is larger than these file systems.
fn with_large(test: &str) -> Option<BulkBuild> {
    if !is_root() {
        crate::skipped(&format!("{test}: only root can mount a small file system"));
        return None;
    }
    // One at a time: a neighbour that finds no space either would be told apart only while there is none.
    let build = with_tree(test, "slot=local 1\n")?;
    build.write("both/build", "mkdir $DESTDIR/opt; head -c 40M /dev/urandom > $DESTDIR/opt/both\n");
    Some(build)
}

#[test]
fn a_run_without_space_for_results_ends_with_18_and_goes_on_when_there_is_some() {
    let Some(build) = with_large("a_run_without_space…") else { return };
    let output = running_with(&build, ("pool", "20M")).output().unwrap();
    let told =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(18), "{told}");
    assert!(told.contains("no space is left") && told.contains("run it again"), "{told}");
    assert!(build.journal(1).iter().all(|line| line["state"] != "failed" && line["end"].is_null()));
    let run = build.run("").ends(0);
    assert_eq!((run.report["run"].as_u64(), run.in_state("done")), (Some(1), names()));
}

#[test]
fn a_build_that_finds_no_space_is_deferred_and_not_failed() {
    let Some(build) = with_large("a_build_that_finds_no_space…") else { return };
    let output = running_with(&build, ("build", "30M")).output().unwrap();
    let run = BulkRun::of(&output);
    let others: Vec<String> = names().into_iter().filter(|name| name != "both").collect();
    assert_eq!(
        (run.code, run.in_state("deferred"), run.in_state("done")),
        (40, vec!["both".to_owned()], others)
    );
    assert!(
        run.detail("both-1.0").starts_with("no space is left in `build_dir`"),
        "{}",
        run.detail("both-1.0")
    );
    assert_eq!(run.in_state("failed"), Vec::<String>::new());
    fs::write(build.tree().join("both/build"), "mkdir $DESTDIR/opt\n").unwrap();
    assert_eq!(build.run("").ends(0).in_state("done"), ["both"]);
}
