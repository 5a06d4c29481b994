//! Kills the program before every change that it makes, then damages or removes its journal and follows the program's
//! advice. The root is as before or as after, or the program says honestly that neither can be proved; no acknowledged
//! run is lost.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use patchadm_changeset::transaction::{Cause, Recovered};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::recover::RecoveryAid;
use patchadm_rootfs::Door;

use crate::reliability::crash::{Legal, changes_of, dead_after, in_parallel, spread};
use crate::reliability::stories::{
    SCRIPTED, STORIES, Story, Told, Trial, first_run, is_asked_for, library_dropped,
};
use crate::reliability::{figures, part_of, sample_or_whole};

/// Damage to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Somebody removes it.
    Removed,
    /// A byte of its header is changed.
    Header,
    /// Its outcome sector is rubbish.
    Outcome,
    /// Its second half is missing.
    Half,
    /// It is removed together with every copy of it in a stage, as of a run of an earlier build.
    RemovedWithCopies,
}

const LOSSES: [Loss; 5] = [Loss::Removed, Loss::Header, Loss::Outcome, Loss::Half, Loss::RemovedWithCopies];

impl Loss {
    /// Inflicts the damage; false if there is no journal.
    fn befalls(self, root: &Path) -> bool {
        let own = root.join("var/sadm/patchadm");
        let journal = own.join("journal");
        let Ok(mut bytes) = fs::read(&journal) else { return false };
        match self {
            Self::Removed => return fs::remove_file(journal).is_ok(),
            Self::Header => bytes[100] ^= 1,
            Self::Outcome => bytes[3 * 512..3 * 512 + 20].fill(b'x'),
            Self::Half => bytes.truncate(bytes.len() / 2),
            Self::RemovedWithCopies => {
                for stage in fs::read_dir(own.join("stage")).into_iter().flatten() {
                    for file in fs::read_dir(stage.unwrap().path()).unwrap() {
                        let file = file.unwrap();
                        let name = file.file_name().into_string().unwrap();
                        if name.starts_with("journal") || name.starts_with("ops-") {
                            fs::remove_file(file.path()).unwrap();
                        }
                    }
                }
                return fs::remove_file(journal).is_ok();
            }
        }
        fs::write(journal, bytes).unwrap();
        true
    }
}

/// Results of all trials.
#[derive(Default)]
struct Counts {
    played: AtomicU64,
    before: AtomicU64,
    after: AtomicU64,
    unproved: AtomicU64,
}

/// Kills the command after `number` changes, loses the journal, and follows the program's advice.
fn play((story, has_scripts): (&Story, bool), legal: &Legal, (number, loss): (usize, Loss), counts: &Counts) {
    let trial = Trial::of(story);
    let when = format!("{}, killed after {number} changes, journal {loss:?}", story.name);
    let said = trial.perform(&story.whole, dead_after(number));
    // If the disk dies after the outcome, the notes say that history and stage are not as they should be.
    let (is_acknowledged, is_whole) = (said.is_ok(), said.is_ok_and(|notes| notes.is_empty()));
    if !loss.befalls(&trial.root()) {
        return;
    }
    counts.played.fetch_add(1, Ordering::Relaxed);
    let recovered = match trial.recover_with(&RecoveryAid::None) {
        Ok(recovered) => Ok(recovered),
        Err(Failure::Unrecovered { error }) if matches!(error.cause, Cause::Journal { .. }) => {
            trial.recover_with(&RecoveryAid::DiscardJournal)
        }
        Err(other) => panic!("{when}: {other}"),
    };
    match recovered {
        Ok(recovered) => {
            // Only the journal knows what a run was to remove of an undo directory.
            let state = match loss {
                Loss::RemovedWithCopies => legal.find_beside_old_files(&trial, false),
                _ => legal.find(&trial, false),
            };
            let state = state.unwrap_or_else(|wrong| panic!("{when}: {recovered:?}: {wrong}"));
            // Only the journal and the history know that scripts came to their end.
            let is_known = if has_scripts { is_whole } else { is_acknowledged };
            assert!(!is_known || state == legal.last(), "{when}: acknowledged, but it is in state {state}");
            let count = if state == 0 { &counts.before } else { &counts.after };
            count.fetch_add(1, Ordering::Relaxed);
            let again = trial.recover(Door::default());
            assert!(again.as_ref().is_ok_and(Recovered::is_nothing), "{when}: {again:?}");
        }
        Err(Failure::Unrecovered { error }) if matches!(error.cause, Cause::Doubt { .. }) => {
            counts.unproved.fetch_add(1, Ordering::Relaxed);
            assert!(loss == Loss::RemovedWithCopies, "{when}: {error}");
            assert!(!is_whole, "{when}: acknowledged, and {error}");
            let kept = trial.spare().join("kept");
            trial
                .recover_with(&RecoveryAid::KeepStage(kept.clone()))
                .unwrap_or_else(|error| panic!("{when}: {error}"));
            assert_eq!(fs::read_dir(&kept).unwrap().count().min(1), 1, "{when}");
            trial.recover(Door::default()).unwrap_or_else(|error| panic!("{when}: {error}"));
        }
        Err(other) => panic!("{when}: {other}"),
    }
}

/// The directory of a package goes as one of the last names, and nothing is staged in its place.
#[test]
fn a_package_of_kept_libraries_that_still_has_to_go_proves_nothing() {
    let (story, counts) = (library_dropped(), Counts::default());
    let (legal, changes) = (Legal::of(&story), changes_of(&story));
    let trials: Vec<(usize, Loss)> =
        (changes.saturating_sub(60)..changes).map(|number| (number, Loss::RemovedWithCopies)).collect();
    in_parallel(&trials, |&trial| play((&story, false), &legal, trial, &counts));
    assert!(counts.unproved.into_inner() > 0);
}

in_parts!(
    whenever_the_journal_is_lost_a_command_is_done_or_not_done_or_it_is_said_that_nobody_knows,
    lose_journals,
    12
);

/// Loses the journal in each story of a part.
fn lose_journals(part: usize, parts: usize) {
    /// The parts that were played, and the roots as before and as after.
    static MET: Mutex<[u64; 3]> = Mutex::new([0; 3]);
    let counts = Counts::default();
    let first: Told = first_run;
    let without = [first].into_iter().chain(STORIES).map(|told| (told, false));
    let stories = without.chain(SCRIPTED.map(|told| (told, true)));
    for (told, has_scripts) in part_of(stories.step_by(sample_or_whole(3, 1)), part, parts) {
        let story = told();
        if !is_asked_for(&story) {
            continue;
        }
        let legal = Legal::of(&story);
        let points = spread(changes_of(&story) + 1, sample_or_whole(10, usize::MAX));
        let trials: Vec<(usize, Loss)> =
            points.into_iter().flat_map(|number| LOSSES.map(|loss| (number, loss))).collect();
        in_parallel(&trials, |&trial| play((&story, has_scripts), &legal, trial, &counts));
    }
    let Counts { played, before, after, unproved } = counts;
    let [played, before, after, unproved] = [played, before, after, unproved].map(AtomicU64::into_inner);
    // The last one of all parts has met both.
    let mut met = MET.lock().unwrap();
    *met = [met[0] + 1, met[1] + before, met[2] + after];
    if met[0] == parts as u64 {
        assert!(met[1] > 0 && met[2] > 0, "{met:?}");
    }
    let told = [
        ("lost journals", played),
        ("as before", before),
        ("as after", after),
        ("said to be unproved", unproved),
        ("third states", 0),
        ("acknowledged runs lost", 0),
    ];
    figures("lost-journal", &told);
}
