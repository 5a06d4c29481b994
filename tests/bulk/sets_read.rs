//! Sets are read while they are made: the newest one is always complete.

use std::fs;

use super::BulkBuild;
use super::cut_off::CutOffRun;
use crate::scenario::is_root;

#[test]
fn a_set_that_is_made_again_for_a_changed_tree_takes_the_place_of_the_first_one_at_once() {
    let slots = |_: &BulkBuild| "slot=local 2\n".to_owned();
    let Some(cut) = CutOffRun::new("a_set_that_is_made_again…", !is_root(), slots, |_| {}) else { return };
    let build = &cut.build;
    let ((), readings) = cut.read_while(|| {
        for round in 0..3 {
            cut.restore();
            build.run("").ends(0);
            let first = fs::read(build.work().join("sets/2/MANIFEST")).unwrap();
            // As if the run was cut off when the set was made, before the journal had a record of it.
            let journal = build.work().join("runs/2/journal");
            let text = fs::read_to_string(&journal).unwrap();
            let (before, _) = text.split_once("{\"set\"").unwrap();
            fs::write(&journal, before).unwrap();
            build.write("other/text", format!("other {round}\n"));
            let run = build.run("").ends(0);
            assert_eq!((&run.report["run"], &run.report["set"]["packages"]), (&2.into(), &3.into()));
            assert_ne!(fs::read(build.work().join("sets/2/MANIFEST")).unwrap(), first);
            assert_eq!(
                fs::read_to_string(build.work().join("sets/2/files/other-1.0/notes")).unwrap(),
                format!("other {round}\n")
            );
            cut.assert_whole_sets("made again");
        }
    });
    assert!(readings > 0);
}
