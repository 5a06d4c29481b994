//! A disk that dies in the middle of a run: from some change on every change fails, including those of the rollback.
//! The command reports where everything is, the journal stays, readers see the records as before, no other command
//! changes anything, and once the disk works again `recover` restores everything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use patchadm_changeset::transaction::Recovered;
use patchadm_rootfs::Door;
use rustix::io::Errno;

use crate::records::OWN;
use crate::reliability::attempt::{
    Change, Ended, Moment, attempt, course, expected_code, failing, met_change, words,
};
use crate::reliability::crash::{Legal, in_parallel};
use crate::reliability::errors::is_of_attempts;
use crate::reliability::stories::{Story, Trial, is_asked_for, stories};
use crate::reliability::{figures, is_whole, sample_or_whole};
use crate::tree::Tree;

/// Exit codes and output of queries that read the records.
fn asked(root: &Path) -> Vec<(Option<i32>, String)> {
    let root = root.to_str().unwrap();
    let lines = [vec!["showrev", "-p", "-R", root], vec!["pkgparam", "-R", root, "ACMEweb", "PATCHLIST"]];
    let ask = |words: &Vec<&str>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_patchadm"));
        let output = command.args(words).env_clear().output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    lines.iter().map(ask).collect()
}

/// Paths that a message reports, each with the place of its old object if one is given.
fn told(text: &str, root: &str) -> BTreeMap<String, Option<PathBuf>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("  ")?.strip_prefix(root));
    let told = lines.filter_map(|line| {
        let (path, what) = line.split_once(' ')?;
        let old = what.split_once("its old object is ").map(|(_, place)| PathBuf::from(place));
        Some((path.trim_start_matches('/').to_owned(), old))
    });
    told.collect()
}

/// Content at a path: bytes, or the target of a link.
fn content(path: &Path) -> Option<Vec<u8>> {
    match fs::read_link(path) {
        Ok(target) => Some(target.into_os_string().into_encoded_bytes()),
        Err(_) if path.is_dir() => Some(b"a directory".to_vec()),
        Err(_) => fs::read(path).ok(),
    }
}

/// Checks that every changed path is reported, or is below a reported one, and that every report is true.
fn told_exactly(story: &Story, trial: &Trial, ended: &Ended) -> Result<(), String> {
    let (before, now) = (story.stage.root(), trial.root());
    let told = told(&ended.text, now.to_str().unwrap());
    let (then_tree, now_tree) = (Tree::of(&before, &OWN), Tree::of(&now, &OWN));
    let (then_all, now_all) = (then_tree.objects(), now_tree.objects());
    // The other links of a replaced file are unchanged, except that they are not links of it any more.
    let alone = |columns: &Vec<String>| [&columns[..7], &columns[8..]].concat();
    let differs = |path: &&String| then_all.get(*path).map(alone) != now_all.get(*path).map(alone);
    for path in then_all.keys().chain(now_all.keys()).filter(differs) {
        let is_told = |known: &String| path == known || path.starts_with(&format!("{known}/"));
        // A moved object is reported at its old path, together with its current place.
        let is_moved_here = told.values().flatten().any(|place| *place == now.join(path));
        if !told.keys().any(is_told) && !is_moved_here {
            return Err(format!("{path} is not as before, and nobody says so"));
        }
    }
    for (path, old) in &told {
        // Trees leave out the program's own paths.
        let is_own = OWN.iter().any(|own| path.starts_with(&format!("{own}/")));
        if !is_own && !differs(&path) {
            return Err(format!("{path} is as before, but something else is said"));
        }
        let was = content(&before.join(path));
        match old {
            Some(place) if content(place) != was => {
                return Err(format!("the old object of {path} is not {}", place.display()));
            }
            None if was.is_some() && !ended.text.contains(&format!("{path} has new attributes")) => {
                return Err(format!("it is not said where the old object of {path} is"));
            }
            _ => {}
        }
    }
    if told.is_empty() && !ended.text.contains("everything was restored") {
        return Err("it is not said what is where".to_owned());
    }
    Ok(())
}

/// Checks the message and the root after the disk died before a change of the switch, until the disk works again.
fn died_in_switch(story: &Story, trial: &Trial, ended: &Ended, reads: bool) -> Result<(), String> {
    told_exactly(story, trial, ended)?;
    if !ended.text.ends_with("Fix the problem named above, then run `patchadm recover`.") {
        return Err("it is not said what to do".to_owned());
    }
    if reads && asked(&trial.root()) != asked(&story.stage.root()) {
        return Err("a reader does not see the records as before".to_owned());
    }
    let left = Tree::of(&trial.root(), &OWN);
    let later = attempt(trial, &story.whole, failing(0, Errno::IO, true).0);
    if ![9, 65].contains(&later.code) || !later.text.contains("could not be recovered") {
        return Err(format!("a later command ended with {}: {}", later.code, later.text));
    }
    if Tree::of(&trial.root(), &OWN) != left {
        return Err("a later command changed something".to_owned());
    }
    match trial.recover(Door::default())? {
        Recovered::RolledBack { .. } => Ok(()),
        other => Err(format!("recovery did not roll back: {other:?}")),
    }
}

fn die(story: &Story, legal: &Legal, number: usize, changes: &[Change], errno: Errno) -> Result<(), String> {
    let trial = Trial::of(story);
    let (door, met) = failing(number, errno, true);
    let ended = attempt(&trial, &story.whole, door);
    let change = met_change(changes, number, &met)?;
    // A failure that stops nothing leaves the dead disk to the next change.
    let is_heard = |change: &&Change| !is_of_attempts(change);
    let heard = changes.iter().skip(number).find(is_heard).map_or(change.moment, |change| change.moment);
    let expected = match change.moment {
        Moment::Switching => 65,
        // The first change after it meets the dead disk, too.
        Moment::LookingBack => expected_code(&story.whole, Moment::Staging, errno),
        _ => expected_code(&story.whole, heard, errno),
    };
    if ended.code != expected || !ended.text.contains(&words(errno)) {
        return Err(format!("ended with {} instead of {expected}: {}", ended.code, ended.text));
    }
    let said = |what| format!("{what}\nit said: {}", ended.text);
    let states = match change.moment {
        Moment::Switching => {
            died_in_switch(story, &trial, &ended, is_whole() || number.is_multiple_of(8)).map_err(said)?;
            vec![0]
        }
        moment => {
            trial.recover(Door::default()).map_err(said)?;
            match moment {
                Moment::Committing => vec![0, 1],
                Moment::Finishing => vec![1],
                _ => vec![0],
            }
        }
    };
    let state = legal.find(&trial, change.moment != Moment::Finishing).map_err(said)?;
    if states.contains(&state) { Ok(()) } else { Err(said(format!("the root is in state {state}"))) }
}

#[test]
fn a_disk_that_dies_leaves_a_journal_and_a_message_from_which_everything_comes_back() {
    let mut tried = 0;
    let mut wrong = std::sync::Mutex::new(Vec::new());
    let one_act = |story: &Story| story.acts.len() == 1;
    for story in stories().filter(one_act).filter(is_asked_for).take(sample_or_whole(1, usize::MAX)) {
        let (legal, changes) = (Legal::of(&story), course(&story));
        let points: Vec<usize> = (0..changes.len()).step_by(sample_or_whole(23, 1)).collect();
        in_parallel(&points, |&number| {
            let errno = [Errno::IO, Errno::ROFS][number % 2];
            let change = &changes[number];
            if let Err(what) = die(&story, &legal, number, &changes, errno) {
                wrong.lock().unwrap().push(format!(
                    "{}, dead before change {number} ({:?} {}, {:?}), {errno:?}: {what}",
                    story.name, change.call, change.path, change.moment
                ));
            }
        });
        tried += points.len() as u64;
    }
    let wrong = wrong.get_mut().unwrap();
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n\n"));
    figures("dead-disk", &[("disks that died", tried), ("third states", 0)]);
}
