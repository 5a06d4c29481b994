//! Stories of undo data as files, in other forms, and on trial, on file systems whose power is cut at a certain change.
//! The run is in this process, and the door of the root triggers the cut.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use patchadm_rootfs::{ChangeCall, Door, Root, RootChange};
use patchadm_svr4::package::ObjectPath;

use super::disk::{Disk, Switch, in_own_namespace, lacks};
use crate::records::OWN;
use crate::reliability::crash::{Legal, changes_of, spread};
use crate::reliability::promotions::{PROMOTED, promoted_with_old_files};
use crate::reliability::stored::{one_run, revision};
use crate::reliability::stories::{
    Command, EXCHANGED, STORIES, Story, Told, Trial, is_asked_for, run_undone,
};
use crate::reliability::{figures, is_whole, sample_or_whole};
use crate::tree::Tree;

/// Parts of the names of the stories that are played here.
const PLAYED: [&str; 5] = ["old files", "repack", "trial", "confirm", "undo"];

/// The stories of a sample. A story has no name before it is told, and telling all would take longer than playing some.
const SAMPLED: [Told; 2] = [run_undone, one_run];

fn stories() -> impl Iterator<Item = Story> {
    let all = STORIES.iter().chain(&EXCHANGED).chain(&PROMOTED);
    let told: Vec<Told> = if is_whole() { all.copied().collect() } else { SAMPLED.to_vec() };
    let told = told.into_iter().map(|told| told());
    told.filter(|story| PLAYED.iter().any(|part| story.name.contains(part))).filter(is_asked_for)
}

/// A door that cuts the power of a file system before the change with this number.
fn cutting(switch: Switch, number: usize) -> Door {
    let (switch, passed) = (Mutex::new(Some(switch)), AtomicUsize::new(0));
    Door::watched(move |_| {
        if passed.fetch_add(1, Ordering::Relaxed) == number {
            let mut switch = switch.lock().unwrap().take().unwrap();
            switch.checked();
            // Every other cut first writes the part of the file system's log that is in memory.
            switch.cut(number.is_multiple_of(2));
        }
        Ok(())
    })
}

/// Plays a story into a cut before the change with this number, and recovers. Returns the root and its state.
fn cut(disk: &Disk, story: &Story, legal: &Legal, number: usize) -> (Trial, usize) {
    let trial = Trial::within(story, disk.at());
    rustix::fs::syncfs(fs::File::open(disk.at()).unwrap()).unwrap();
    let when = format!("{}, power cut before change {number}", story.name);
    let said = trial.run(&story.whole, cutting(disk.switch(), number));
    disk.unmount();
    disk.mount();
    let recovered = trial.recover(Door::default()).unwrap_or_else(|error| panic!("{when}: {error}"));
    let state = legal.find(&trial, false).unwrap_or_else(|wrong| panic!("{when}: {recovered:?}: {wrong}"));
    assert!(said.is_err() || state == legal.last(), "{when}: acknowledged, but it is in state {state}");
    (trial, state)
}

/// Runs `play` on a file system of each type that is available here.
fn on_each(test: &str, play: impl Fn(&Disk) + Sync) {
    for file_system in ["ext4", "xfs"] {
        if let Some(lack) = lacks(file_system) {
            crate::skipped(&format!("{test}: {lack}"));
            continue;
        }
        in_own_namespace(|| {
            let dir = tempfile::tempdir().unwrap();
            let at = dir.path().join("at");
            fs::create_dir(&at).unwrap();
            let disk = Disk::new(file_system, &dir.path().join("image"), &at);
            disk.mount();
            play(&disk);
        });
    }
}

#[test]
fn a_power_cut_before_any_change_to_undo_data_leaves_a_command_done_or_not_done() {
    let tried = AtomicUsize::new(0);
    on_each("power cuts before changes to undo data", |disk| {
        for story in stories() {
            let legal = Legal::of(&story);
            for number in spread(changes_of(&story), sample_or_whole(2, 40)) {
                cut(disk, &story, &legal, number);
                tried.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let tried = tried.into_inner() as u64;
    let counts = [("power cuts before a certain change", tried), ("third states", 0), ("undo data lost", 0)];
    figures("power cuts of undo data", &counts);
}

/// True if a change makes the objects of a stage an undo directory.
pub(crate) fn is_rename_of_stage(step: &RootChange<'_>) -> bool {
    let is_of_undo = |path: &Path| path.parent().is_some_and(|above| above.ends_with("undo"));
    let to = step.other.map(ToString::to_string);
    step.call == ChangeCall::Move && to.is_some_and(|to| is_of_undo(Path::new(&to)))
}

/// The numbers of the changes that make the objects of stages undo directories.
fn renames_of_stages(story: &Story) -> Vec<usize> {
    let (passed, found) = (AtomicUsize::new(0), std::sync::Arc::new(Mutex::new(Vec::new())));
    let noted = found.clone();
    let door = Door::watched(move |step| {
        let number = passed.fetch_add(1, Ordering::Relaxed);
        if is_rename_of_stage(step) {
            noted.lock().unwrap().push(number);
        }
        Ok(())
    });
    Trial::of(story).run(&story.whole, door).unwrap();
    let found = found.lock().unwrap().clone();
    assert!(!found.is_empty(), "{}: no stage becomes an undo directory", story.name);
    found
}

#[test]
fn a_real_power_cut_between_the_commit_and_the_rename_of_the_stage_loses_no_undo_data() {
    let stories = [revision(), promoted_with_old_files()];
    on_each("a power cut between commit and rename", |disk| {
        for story in &stories {
            let (legal, before) = (Legal::of(story), Tree::of(&story.stage.root(), &OWN));
            let rename = renames_of_stages(story)[0];
            // Before it, after it, and after it is durable.
            for number in rename..rename + 3 {
                let (trial, state) = cut(disk, story, &legal, number);
                assert_eq!(state, legal.last(), "{}, {number}: it was committed", story.name);
                let id = if story.name.starts_with("promote") { "web-01" } else { "100-02" };
                trial.run(&Command::BackOut(vec![id.to_owned()]), Door::default()).unwrap();
                let software = |tree: &Tree| {
                    let objects = tree.objects().iter().filter(|(path, _)| !path.starts_with("var/"));
                    objects.map(|(path, columns)| format!("{path} {columns:?}")).collect::<Vec<_>>()
                };
                let after = Tree::of(&trial.root(), &OWN);
                assert_eq!(software(&after), software(&before), "{}, {number}", story.name);
            }
        }
    });
}

#[test]
fn a_directory_of_a_file_system_that_lost_its_power_cannot_be_synced() {
    on_each("syncing a directory without power", |disk| {
        let root = Root::open(disk.at()).unwrap();
        let dir = root.dir(&ObjectPath::root()).unwrap();
        dir.create(b"kept").unwrap();
        dir.sync().unwrap();
        let mut switch = disk.switch();
        dir.create(b"lost").unwrap();
        switch.checked();
        switch.cut(false);
        let error = dir.sync().unwrap_err();
        assert!(matches!(error.errno(), Some(rustix::io::Errno::IO)), "{error}");
    });
}
