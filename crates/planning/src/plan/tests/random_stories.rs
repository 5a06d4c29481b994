//! Random stories by number: the selection that is played, and the reports.
//!
//! By default a sample is played, in the whole suite (`PATCHADM_TESTS=whole`) all of them. With
//! `PATCHADM_RANDOM_STORIES=FROM-TO` those with these numbers are played, and nothing is counted.

use std::fmt::Debug;
use std::ops::Range;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

fn is_whole() -> bool {
    std::env::var_os("PATCHADM_TESTS").is_some_and(|value| value == "whole")
}

/// Returns the numbers of `FROM-TO`, the last one left out.
fn numbers(text: &str) -> Option<Range<u32>> {
    let (from, to) = text.split_once('-')?;
    let range = from.parse().ok()?..to.parse().ok()?;
    (!range.is_empty()).then_some(range)
}

/// Plays stories, as many as a sample has and as many as there are, and reports all that differ. Reports how
/// many were played, unless only certain numbers were requested.
pub(super) fn play_stories<S: Debug>(
    stories: &impl Strategy<Value = S>,
    (sample, all): (u32, u32),
    mut play: impl FnMut(&S) -> Result<(), String>,
) -> Option<u32> {
    let said = std::env::var("PATCHADM_RANDOM_STORIES").ok();
    let asked = said.map(|text| {
        numbers(&text).unwrap_or_else(|| panic!("PATCHADM_RANDOM_STORIES={text}: FROM-TO is expected"))
    });
    let is_asked = asked.is_some();
    let played = asked.unwrap_or(0..if is_whole() { all } else { sample });
    let (mut runner, mut wrong) = (TestRunner::deterministic(), Vec::new());
    for number in 0..played.end {
        let story = stories.new_tree(&mut runner).unwrap().current();
        if played.contains(&number)
            && let Err(reason) = play(&story)
        {
            wrong.push(format!("story {number}: {reason}\n{story:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} stories\n{}", wrong.len(), wrong.join("\n\n"));
    (!is_asked).then_some(played.end)
}

/// Reports what a suite counted, as the suites of tests/reliability.rs do.
pub(super) fn figures(about: &str, counts: &[(&str, u64)]) {
    let how = if is_whole() { "whole" } else { "sample" };
    let told: Vec<String> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    eprintln!("reliability ({how}): {about}: {}", told.join("; "));
}

#[test]
fn the_numbers_of_stories_are_a_range_or_are_refused() {
    assert_eq!(numbers("400-900"), Some(400..900));
    for odd in ["promot", "400", "400-", "9-4", "4-4", ""] {
        assert_eq!(numbers(odd), None, "{odd}");
    }
}
