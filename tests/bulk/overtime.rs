//! A slot that reports for ever that its task goes on.

use std::path::Path;
use std::time::Duration;

use patchadm_building::driver::Driver;
use patchadm_building::run::{BulkRunEvent, RunBase, RunRequest, run};
use patchadm_building::work::BulkWork;
use patchadm_bulk_values::journal::BuildState;
use patchadm_rootfs::never;

use super::machines::after_probe;
use super::{BulkBuild, mark};
use crate::scenario::{PROGRAM, is_root};
use patchadm_testing::programs::sibling;

/// Reports every half second that all is well.
const ALIVE: &str = "while :; do echo \"{\\\"alive\\\":{\\\"memory\\\":1,\\\"log\\\":1}}\"; sleep 0.5; done";

#[test]
fn a_slot_that_goes_on_for_ever_is_cut_off_long_after_the_limit_of_the_time_and_nothing_is_lost() {
    let test = "a_slot_that_goes_on_for_ever…";
    if !is_root() {
        crate::skipped(&format!("{test}: the test itself would build as whoever it is"));
        return;
    }
    let mark = mark();
    let settings = format!(
        "slot=endless 1 {}\nslot=local 1\nlimit=* time=3\ncheck=none\nenv=MARK={mark}\n",
        after_probe(ALIVE)
    );
    let Some(build) = BulkBuild::of_recipes(test, false, &settings) else { return };
    let names = ["one", "two", "three"].map(str::to_owned);
    for name in &names {
        build.recipe(name, "", "mkdir $DESTDIR/opt\n");
    }
    // Known locations are not scanned again, which this process could not do: it is not the program that sets up
    // sandboxes.
    build.action("scan @WORK@").ok();
    let work = BulkWork::open(&build.work()).unwrap();
    let (driver, base) = (Driver::find(&work).unwrap(), RunBase::prepare(&work, &never).unwrap());
    let request = RunRequest {
        work: &work,
        driver: &driver,
        base: base.with_digest(),
        user: base.user,
        names: &names,
        is_whole: false,
        retries: false,
        rebuild: &[],
        is_new: false,
        stops_on_failure: false,
        makes_set: false,
        patches: None,
        jobs: None,
        cores: 2,
        program: &sibling(Path::new(PROGRAM), "patchadm-bulk"),
        sources: &base.sources,
        // Two hours in normal use.
        overtime: Duration::from_secs(2),
        page: &|_, _, _| String::new(),
        time: &|| "2026-01-01T00:00:00Z".to_owned(),
        now: 0,
        interrupt: &|| None,
        is_urgent: &|| false,
    };
    let mut notes = Vec::new();
    let outcome = run(&request, &mut |event| {
        if let BulkRunEvent::Note(note) = event {
            notes.push(note.to_owned());
        }
    });
    let outcomes = outcome.unwrap().ended.outcomes;
    let ends: Vec<_> = outcomes.values().map(|outcome| (outcome.state, outcome.slot.as_deref())).collect();
    assert_eq!(ends, [(BuildState::Done, Some("local")); 3]);
    let words = "slot endless failed: it ran for 2 s beyond its time limit";
    assert!(notes.iter().any(|note| note.ends_with(words)), "{notes:?}");
    build.assert_nothing_left(&mark);
}
