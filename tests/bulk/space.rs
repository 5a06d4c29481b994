//! Full disks: the run ends if a result cannot be kept, a build without space is not a failure of its package, and
//! nothing is left half-written.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::sha256_text;

use super::machines::{names, with_tree};
use super::own_mounts::with_mounts;
use super::{BulkBuild, BulkRun};
use crate::scenario::is_root;

/// The run, with a small file system in memory at this path.
fn running_with(build: &BulkBuild, place: (&str, &str)) -> Command {
    running_of(build, "", place)
}

/// The run of these names, with a small file system in memory at this path.
fn running_of(build: &BulkBuild, names: &str, (path, size): (&str, &str)) -> Command {
    let at = build.work().join(path);
    with_mounts(
        &build.running(names),
        &format!("mount -t tmpfs -o size={size},mode=755 none '{}'", at.display()),
    )
}

/// Returns true if a small file system can be mounted; otherwise skips the test by name.
fn can_mount(test: &str) -> bool {
    if !is_root() {
        crate::skipped(&format!("{test}: only root can mount a small file system"));
        return false;
    }
    crate::has("unshare", test)
}

/// Creates a tree in which one package is too large for the file system.
fn with_large(test: &str, at_a_time: u32) -> Option<BulkBuild> {
    if !can_mount(test) {
        return None;
    }
    let build = with_tree(test, &format!("slot=local {at_a_time}\nwait_for_room=1s\n"))?;
    build.write("both/build", "mkdir $DESTDIR/opt; head -c 40M /dev/urandom > $DESTDIR/opt/both\n");
    Some(build)
}

#[test]
fn a_run_without_space_for_results_ends_with_18_and_goes_on_when_there_is_some() {
    let Some(build) = with_large("a_run_without_space…", 2) else { return };
    let output = running_with(&build, ("pool", "20M")).output().unwrap();
    let told =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("no space is left") && told.contains("run it again"), "{told}");
    assert!(build.journal(1).iter().all(|line| line["state"] != "failed" && line["end"].is_null()));
    let run = build.run("").ends(0);
    assert_eq!((run.report["run"].as_u64(), run.in_state("done")), (Some(1), names()));
}

/// The reserve of such a small file system is 4 MiB.
#[test]
fn a_distfile_that_would_take_the_reserve_is_not_fetched_and_its_package_is_deferred() {
    let Some(build) = with_large("a_distfile_that_would_take…", 2) else { return };
    let archive = "x".repeat(18 << 20);
    let url = build.write_elsewhere("archive", &archive);
    let sum = sha256_text(&Sha256::digest(archive.as_bytes()));
    let fields = format!("DISTFILES=archive:{sum}:{}\nDISTURL={url}\n", archive.len());
    build.recipe("fetches", &fields, "mkdir $DESTDIR/opt; wc -c < $DISTDIR/archive > $DESTDIR/opt/fetches\n");
    build.recipe("plain", "", "mkdir $DESTDIR/opt; echo plain > $DESTDIR/opt/plain\n");
    let output = running_of(&build, "fetches plain", ("distfiles", "20M")).output().unwrap();
    let run = BulkRun::of(&output);
    assert_eq!(
        (run.code, run.in_state("deferred"), run.in_state("done")),
        (5, vec!["fetches".to_owned()], vec!["plain".to_owned()]),
        "{}",
        run.said
    );
    let detail = run.detail("fetches-1.0");
    assert!(detail.contains("/distfiles has "), "{detail}");
    assert!(detail.contains(" bytes free, but ") && detail.contains(" are needed"), "{detail}");
    let run = build.run("fetches plain").ends(0);
    assert_eq!(run.in_state("done"), ["fetches"], "it was not remembered as a failure");
}

/// All results fit, but the last one would take the reserve.
#[test]
fn a_result_that_would_take_the_reserve_of_the_pool_ends_the_run_with_the_numbers() {
    let Some(build) = with_large("a_result_that_would_take…", 1) else { return };
    build.recipe("tight", "", "mkdir $DESTDIR/opt; head -c 18M /dev/urandom > $DESTDIR/opt/tight\n");
    let output = running_of(&build, "tight", ("pool", "20M")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let all = said + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{all}");
    assert!(all.contains("no space is left for results") && all.contains(" bytes free, but "), "{all}");
    assert_eq!(build.run("tight").ends(0).in_state("done"), ["tight"]);
}

/// The result can be built, packed and copied for the check, but not installed. After the failed check, the files
/// that `pkgadd` wrote are removed, and there is space again.
#[test]
fn a_check_that_finds_no_space_is_no_failure_of_its_package() {
    let test = "a_check_that_finds_no_space…";
    if !can_mount(test) {
        return;
    }
    let settings = "slot=local 1\nwait_for_room=1s\n";
    let Some(build) = BulkBuild::of_recipes(test, false, settings) else { return };
    build.recipe("tight", "", "mkdir $DESTDIR/opt; head -c 20M /dev/urandom > $DESTDIR/opt/tight\n");
    let output = running_of(&build, "tight", ("build", "92M")).output().unwrap();
    let run = BulkRun::of(&output);
    let deferred = vec!["tight".to_owned()];
    assert_eq!(
        (run.code, run.in_state("deferred"), run.in_state("failed")),
        (5, deferred, Vec::new()),
        "{}",
        run.said
    );
    assert!(run.detail("tight-1.0").contains("`build_dir`"), "{}", run.detail("tight-1.0"));
    let run = build.run("tight").ends(0);
    assert_eq!(run.in_state("done"), ["tight"], "it was not remembered as a failure");
}

#[test]
fn a_build_that_finds_no_space_is_deferred_and_not_failed() {
    let Some(build) = with_large("a_build_that_finds_no_space…", 2) else { return };
    let output = running_with(&build, ("build", "30M")).output().unwrap();
    let run = BulkRun::of(&output);
    let others: Vec<String> = names().into_iter().filter(|name| name != "both").collect();
    assert_eq!(
        (run.code, run.in_state("deferred"), run.in_state("done")),
        (5, vec!["both".to_owned()], others),
        "{}",
        String::from_utf8_lossy(&output.stderr)
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

#[test]
fn the_neighbour_of_a_build_that_finds_no_space_is_not_failed_either() {
    let Some(build) = with_large("the_neighbour_of_a_build…", 2) else { return };
    let notes = build.scenario.beside("theirs/notes");
    fs::create_dir(&notes).unwrap();
    fs::set_permissions(&notes, fs::Permissions::from_mode(0o777)).unwrap();
    build.set(&format!("mount=rw:{}:/notes\n", notes.display()));
    // They wait for each other. The first time, the neighbour writes until there is no space; the second time, it
    // writes nothing.
    build.recipe(
        "large",
        "",
        "touch /notes/large; until [ -e /notes/neighbour ]; do sleep 0.1; done\n\
         mkdir $DESTDIR/opt; head -c 40M /dev/urandom > $DESTDIR/opt/large\n",
    );
    build.recipe(
        "neighbour",
        "",
        "mkdir $DESTDIR/opt; if [ -e /notes/neighbour ]; then exit 0; fi; touch /notes/neighbour\n\
         until [ -e /notes/large ]; do sleep 0.1; done\n\
         while :; do echo again; head -c 10K /dev/zero >> /work/small; sleep 0.02; done\n",
    );
    let output = running_of(&build, "large neighbour", ("build", "30M")).output().unwrap();
    let run = BulkRun::of(&output);
    assert_eq!(
        (run.code, run.in_state("deferred"), run.in_state("done")),
        (5, vec!["large".to_owned()], vec!["neighbour".to_owned()]),
        "{}",
        run.said
    );
    // It finds no space, or gives way before if it has grown most since the last check.
    let notes = run.report["notes"].to_string();
    let words = ["no space is left in `build_dir`", "space: little is left in `build_dir`"];
    let is_told =
        words.iter().any(|words| notes.contains(&format!("neighbour-1.0: slot local failed: {words}")));
    assert!(is_told, "{:#}", run.report["notes"]);
    assert_eq!(run.package("neighbour-1.0")["tries"], 2);
}

#[test]
fn a_disk_that_stays_full_is_given_up_and_nothing_has_failed() {
    let Some(build) = with_large("a_disk_that_stays_full…", 1) else { return };
    let work = build.work().display().to_string();
    let filler = format!(
        "mount -t tmpfs -o size=30M,mode=755 none '{work}/build' && \
         {{ ( until grep -q running '{work}/runs/1/journal' 2> /dev/null; do sleep 0.02; done; \
         cat /dev/zero > '{work}/build/filler' 2> /dev/null ) & }}"
    );
    // If this waited the ten minutes for machines that may come back, not the second for room, it would take as long.
    let mut run = with_mounts(&build.running(""), &filler);
    let run = BulkRun::of(&run.output().unwrap());
    let notes = run.report["notes"].to_string();
    assert_eq!((run.code, run.in_state("failed")), (5, Vec::new()), "{}", run.said);
    assert!(!run.in_state("deferred").is_empty(), "{:#?}", run.states());
    assert!(notes.contains("slot local rests on: no sandbox can be made in `build_dir`"), "{notes}");
    assert!(notes.contains("no space is left"), "{notes}");
    let looks = notes.matches("slot local rests on").count();
    assert!((1..=8).contains(&looks), "it is looked for room six times within the second: {notes}");
    assert_eq!(build.run("").ends(0).in_state("failed"), Vec::<String>::new());
}
