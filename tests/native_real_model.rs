//! Random stories of patches on packages that the real dpkg and rpm change: installations of older and newer versions,
//! removals, paths that move between packages and spellings, diversions, overrides, edits, our commands, in any order.
//!
//! Each version has its own bytes, so the content of a path tells who wrote it. Each of our commands and hooks
//! changes only what its patches may change: no object of another package, and nothing back to bytes of a version
//! that is not installed. After each step, every lost fix is reported and no other.
//!
//! `PATCHADM_RANDOM_STORIES=17` plays one story, and `PATCHADM_TESTS=whole` all of them.

/// Stories of dpkg.
mod dpkg;
/// The expected reports.
mod expected;
/// The changes that our commands may make.
mod judge;
/// Patches of a story.
mod patches;
/// How a story is played.
mod play;
/// Stories of rpm.
mod rpm;
/// Packages of a story.
mod world;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use crate::reliability::crash::in_parallel;
use crate::reliability::{range_asked_for, sample_or_whole};

/// The steps of a story.
const STEPS: usize = 12;

/// The maximum number of failed stories that are printed in full.
const TOLD: usize = 3;

/// Plays stories by number; a story records its steps, and panics on a fault. Returns the counts for the report.
fn play_all(
    about: &str,
    (sample, whole): (u64, u64),
    story: impl Fn(u64, &RefCell<Vec<String>>) + Sync,
) -> [(&'static str, u64); 3] {
    let numbers: Vec<u64> = match range_asked_for() {
        Some((first, last)) => (first..=last).collect(),
        None => (0..sample_or_whole(sample, whole)).collect(),
    };
    let failed: Mutex<Vec<(u64, String, String)>> = Mutex::default();
    in_parallel(&numbers, |number| {
        let steps = RefCell::new(Vec::new());
        let outcome = catch_unwind(AssertUnwindSafe(|| story(*number, &steps)));
        if let Err(panic) = outcome {
            let reason = panic.downcast_ref::<String>().cloned();
            let reason = reason.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let steps = steps.borrow().join("\n");
            failed.lock().unwrap().push((*number, reason.unwrap_or_default(), steps));
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    let mut text = String::new();
    for (number, reason, steps) in failed.iter().take(TOLD) {
        text += &format!(
            "\n=== {about} story {number}; PATCHADM_RANDOM_STORIES={number} plays it\n{steps}\n*** {reason}\n"
        );
    }
    for (number, reason, _) in failed.iter().skip(TOLD) {
        text += &format!("story {number}: {}\n", reason.lines().next().unwrap_or_default());
    }
    assert!(failed.is_empty(), "{} of {} stories failed\n{text}", failed.len(), numbers.len());
    let stories = numbers.len() as u64;
    [("stories", stories), ("steps", stories * STEPS as u64), ("differences", 0)]
}
