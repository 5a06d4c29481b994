//! Every verdict with its text.

use super::world::World;
use crate::plan::refusal::{Command, Reason};
use crate::resolve::{MOST_DECISIONS, SetOutcome};

#[track_caller]
pub(super) fn says(applied: &[&str], offered: &[&str], named: &str, lines: &[&str]) {
    assert_eq!(World::of(applied, offered, Some(named)).lines(), lines);
}

/// Returns the exit codes of patchadd(1M), patch by patch; 0 for patches that go in or were not tried.
fn codes(world: &World) -> Vec<(String, u8)> {
    let code = |verdict: crate::resolve::SetVerdict| match verdict.outcome {
        SetOutcome::LeftOut(reason) => (verdict.id.clone(), reason.of(Command::Patchadd, &verdict.id).code()),
        _ => (verdict.id, 0),
    };
    world.resolve().verdicts.into_iter().map(code).collect()
}

#[track_caller]
fn ends(applied: &[&str], offered: &[&str], named: &str, id: &str, code: u8) {
    let codes = codes(&World::of(applied, offered, Some(named)));
    assert!(codes.contains(&(id.to_owned(), code)), "{codes:?}");
}

#[test]
fn what_is_required_is_pulled_in_before_and_says_for_whom() {
    let offered =
        ["100-01 requires 300-01", "200-01 requires 300-01", "300-01", "300-02", "300-03 withdrawn"];
    says(
        &[],
        &offered,
        "200-01 100-01",
        &["300-02: planned: required by 100-01", "100-01: planned", "200-01: planned"],
    );
    let world = World::of(&[], &offered, Some("100-01 200-01"));
    let because: Vec<String> = world.resolve().verdicts[0].because.iter().map(ToString::to_string).collect();
    assert_eq!(because, ["100-01", "200-01"]);
    says(&["300-01"], &offered, "100-01", &["100-01: planned"]);
}

#[test]
fn everything_current_is_meant_where_nothing_is_named_and_the_current_revision_where_none_is() {
    let offered = ["100-02", "100-10", "200-01", "200-02 withdrawn", "300-01 withdrawn"];
    let world = World::of(&[], &offered, None);
    assert_eq!(
        world.lines(),
        ["100-10: planned", "200-01: planned", "300-01: the depot marks it as withdrawn"]
    );
    says(&[], &offered, "100", &["100-10: planned"]);
    says(&[], &offered, "100-2", &["100-02: planned"]);
}

#[test]
fn requirements_prefer_what_was_named_then_the_highest_revision_then_an_obsoleter_then_the_next_alternative()
{
    let highest = ["100-01 requires 300-01", "300-02", "300-01", "500-01 obsoletes 300-05"];
    says(&[], &highest, "100-01", &["300-02: planned: required by 100-01", "100-01: planned"]);
    says(&[], &highest, "100-01 500-01", &["500-01: planned", "100-01: planned"]);
    says(
        &[],
        &[
            "100-01 requires 300-01",
            "600-02 obsoletes 300-01",
            "600-01 obsoletes 300-01",
            "500-01 obsoletes 300-02",
        ],
        "100-01",
        &["500-01: planned: required by 100-01", "100-01: planned"],
    );
    says(
        &[],
        &["100-01 requires ( 300-01 | 200-01 )", "200-01", "300-01"],
        "100-01",
        &["300-01: planned: required by 100-01", "100-01: planned"],
    );
    says(
        &[],
        &["100-01 requires ( 300-01 | 200-01 )", "200-01", "300-01 requires 999-01"],
        "100-01",
        &["200-01: planned: required by 100-01", "100-01: planned"],
    );
}

#[test]
fn a_lower_revision_and_what_another_one_contains_give_way_and_are_tried_after_all() {
    says(
        &[],
        &["100-01", "100-02"],
        "100-01 100-02",
        &["100-02: planned", "100-01: 100-02 of this set is a later revision"],
    );
    ends(&[], &["100-01", "100-02"], "100-01 100-02", "100-01", 35);
    let contained = ["100-01", "200-01 obsoletes 100-03"];
    says(&[], &contained, "100-01 200-01", &["200-01: planned", "100-01: 200-01 of this set contains it"]);
    ends(&[], &contained, "100-01 200-01", "100-01", 6);
    says(
        &[],
        &["100-01", "200-01 obsoletes 100-03 requires 999-01"],
        "100-01 200-01",
        &["100-01: planned", "200-01: it requires 999-01 or later, which is neither applied nor in /depot"],
    );
    says(
        &[],
        &["100-01 obsoletes 200-01", "200-01 obsoletes 100-01"],
        "200-01 100-01",
        &["100-01: planned", "200-01: 100-01 of this set contains it"],
    );
    // Chosen for another patch, it makes room for the revision that was named.
    says(
        &[],
        &["100-01", "100-02", "050-01 requires 100-02"],
        "100-01 050-01",
        &[
            "100-02: planned: required by 050-01",
            "050-01: planned",
            "100-01: 100-02 of this set is a later revision",
        ],
    );
}

#[test]
fn what_is_in_force_or_not_for_this_root_says_what_it_says_alone() {
    let offered = ["100-01", "100-02", "200-01", "300-01 for X"];
    says(
        &["100-02", "500-01 obsoletes 200-02"],
        &offered,
        "100-01 100-02 200-01 300-01",
        &[
            "100-01: the later revision 100-02 is applied",
            "100-02: it is already applied to P",
            "200-01: applied patch 500-01 obsoletes 200-02, which contains it",
            "300-01: none of its packages is installed in the required version and architecture: X (all) 1 (not installed)",
        ],
    );
}

#[test]
fn what_is_applied_goes_in_again_where_that_is_asked_for_and_it_is_named() {
    let offered = ["100-01", "100-02", "200-01 requires 300-01", "300-01"];
    let mut world = World::of(&["100-02", "300-01"], &offered, Some("100-01 100-02 200-01"));
    world.request.again = true;
    assert_eq!(
        world.lines(),
        ["100-02: planned", "200-01: planned", "100-01: the later revision 100-02 is applied"]
    );
}

#[test]
fn a_requirement_that_nobody_has_or_that_is_refused_is_named_with_its_reason() {
    let offered = ["100-01 requires 200-01", "200-01 requires 999-01 999-02", "300-01 requires 100-01"];
    let nowhere = "it requires 999-01 or later, which is neither applied nor in /depot";
    says(
        &[],
        &offered,
        "300-01",
        &[&format!(
            "300-01: it requires 100-01 or later, which is refused: it requires 200-01 or later, which is refused: {nowhere}"
        )],
    );
    says(&[], &offered, "200-01", &[&format!("200-01: {nowhere}")]);
    ends(&[], &offered, "300-01 200-01", "300-01", 25);
    ends(&[], &offered, "300-01 200-01", "200-01", 25);
    let mut alone = World::of(&[], &offered, Some("200-01"));
    alone.request.depot = None;
    assert_eq!(alone.lines(), ["200-01: it requires patch 999-01 or later, which is not applied"]);
    let mut without = World::of(&[], &["100-01 requires 200-01", "200-01"], Some("100-01"));
    without.request.no_requires = true;
    assert_eq!(without.lines(), ["100-01: it requires patch 200-01 or later, which is not applied"]);
}

#[test]
fn two_that_exclude_each_other_do_not_both_go_in() {
    let offered = ["100-01", "200-01 incompat 100-01", "300-01 requires 200-01"];
    let reason = "it is incompatible with 100-01 according to 200-01, and 100-01 was selected first";
    says(
        &[],
        &offered,
        "200-01 100-01 300-01",
        &[
            "100-01: planned",
            &format!("200-01: {reason}"),
            &format!("300-01: it requires 200-01 or later, which is refused: {reason}"),
        ],
    );
    ends(&[], &offered, "200-01 100-01", "200-01", 24);
    says(
        &["100-01"],
        &["200-01 incompat 100-01"],
        "200-01",
        &["200-01: it is incompatible with 100-01, and 100-01 is applied"],
    );
    ends(&["100-01"], &["200-01 incompat 100-01"], "200-01", "200-01", 24);
    says(
        &["100-01 incompat 200-00"],
        &["200-01"],
        "200-01",
        &["200-01: applied patch 100-01 is incompatible with 200-00"],
    );
}

#[test]
fn a_revision_that_ends_a_conflict_comes_before_the_patch_that_needs_it_ended() {
    says(
        &["300-01"],
        &["200-01 incompat 300-01", "300-02"],
        "200-01 300-02",
        &["300-02: planned", "200-01: planned"],
    );
    says(
        &["300-01"],
        &["200-01 incompat 300-01", "300-02"],
        "200-01",
        &["300-02: planned: required by 200-01", "200-01: planned"],
    );
}

#[test]
fn a_circle_is_named_whoever_is_asked_for() {
    let offered = [
        "100-01 requires 200-01",
        "200-01 requires 300-01",
        "300-01 requires 100-01",
        "400-01 requires 300-01",
    ];
    says(
        &[],
        &offered,
        "200-01",
        &["200-01: its requirements form a cycle: 200-01 → 300-01 → 100-01 → 200-01"],
    );
    ends(&[], &offered, "200-01", "200-01", 10);
    says(
        &[],
        &offered,
        "400-01",
        &["400-01: it requires 300-01 or later, which is refused: its requirements form a cycle: \
         300-01 → 100-01 → 200-01 → 300-01"],
    );
}

#[test]
fn a_withdrawn_patch_goes_in_only_where_it_is_named_with_its_revision_and_that_is_allowed() {
    let offered = ["100-01 requires 200-01", "200-01 withdrawn"];
    says(
        &[],
        &offered,
        "100-01 200-01",
        &[
            "100-01: it requires 200-01 or later, which is refused: the depot marks it as withdrawn",
            "200-01: the depot marks it as withdrawn",
        ],
    );
    ends(&[], &offered, "200-01", "200-01", 10);
    for (named, goes_in) in [("200-01", true), ("200", false)] {
        let mut world = World::of(&[], &offered, Some(named));
        world.request.withdrawn = true;
        assert_eq!(world.resolve().planned().count() == 1, goes_in, "{named}");
    }
}

#[test]
fn a_patch_that_comes_twice_is_taken_where_both_are_the_same() {
    let mut world = World::of(&[], &["100-01", "100-1 obsoletes 200-01"], Some("100-01"));
    assert_eq!(world.lines(), ["100-01: it occurs twice with different content: 100-01.zip and 100-1.zip"]);
    assert_eq!(codes(&world), [("100-01".to_owned(), 10)]);
    world.offers[1].content = world.offers[0].content.clone();
    world.offers[1].obsoletes = world.offers[0].obsoletes.clone();
    assert_eq!(world.lines(), ["100-01: planned"]);
}

#[test]
fn a_word_that_nobody_offers_is_refused() {
    says(
        &[],
        &["100-01"],
        "100-01 100-02 nonsense",
        &["100-01: planned", "100-02: /depot does not have it", "nonsense: /depot does not have it"],
    );
    ends(&[], &["100-01"], "100-02", "100-02", 33);
}

#[test]
fn restricted_and_excluded_patches_are_never_pulled_in() {
    let offered = ["100-01 requires IDR5-01", "IDR5-01 for Q", "200-01 requires 300-01", "300-01"];
    says(
        &[],
        &offered,
        "100-01",
        &["100-01: it requires IDR5-01 or later, which is refused: \
         it is a restricted patch, which must be specified"],
    );
    says(&[], &offered, "100-01 IDR5-01", &["IDR5-01: planned", "100-01: planned"]);
    let mut world = World::of(&[], &offered, Some("200-01 300-01"));
    world.request.exclude = vec!["300".to_owned()];
    assert_eq!(
        world.lines(),
        [
            "200-01: it requires 300-01 or later, which is refused: it is excluded with --exclude",
            "300-01: it is excluded with --exclude",
        ]
    );
    world.request.exclude.clear();
    world.policy.exclude = vec!["300-01".to_owned()];
    assert_eq!(
        world.lines(),
        [
            "200-01: it requires 300-01 or later, which is refused: the policy of this root excludes it",
            "300-01: the policy of this root excludes it",
        ]
    );
    says(&["IDR5-01"], &offered, "300-01", &["300-01: restricted patch IDR5-01 is applied to package P"]);
}

#[test]
fn ordinary_patches_come_before_restricted_ones_on_a_package_and_those_of_certain_packages_before_all() {
    says(
        &[],
        &["IDR5-01", "IDR1-01 for Q", "T9-01", "Z1-01"],
        "IDR5-01 IDR1-01 Z1-01 T9-01",
        &["IDR1-01: planned", "Z1-01: planned", "IDR5-01: planned", "T9-01: planned"],
    );
    let mut world =
        World::of(&[], &["100-01", "200-01 for Q requires 300-01", "300-01"], Some("100-01 200-01"));
    world.policy.first = vec!["Q".to_owned()];
    assert_eq!(world.lines(), ["300-01: planned: required by 200-01", "200-01: planned", "100-01: planned"]);
}

#[test]
fn a_restricted_patch_that_an_ordinary_one_of_its_package_needs_keeps_that_out() {
    says(
        &[],
        &["100-01 requires IDR5-01", "IDR5-01"],
        "100-01 IDR5-01",
        &["IDR5-01: planned", "100-01: restricted patch IDR5-01 is applied to package P"],
    );
}

#[test]
fn a_requirement_that_is_not_for_this_root_counts_as_met_and_is_named() {
    let world = World::of(&[], &["100-01 requires 200-01", "200-02 for X"], Some("100-01"));
    assert_eq!(world.lines(), ["100-01: planned"]);
    let void: Vec<String> = world.resolve().verdicts[0].void.iter().map(ToString::to_string).collect();
    assert_eq!(void, ["200-02"]);
}

#[test]
fn all_or_nothing_names_the_one_that_cannot_go_in_and_tries_no_other() {
    let mut world =
        World::of(&["400-01"], &["100-01", "200-01 requires 999-01", "300-01 for X", "400-01"], None);
    world.request.all_or_nothing = true;
    assert_eq!(
        world.lines(),
        [
            "100-01: 200-01 cannot be applied",
            "200-01: it requires 999-01 or later, which is neither applied nor in /depot",
            "300-01: none of its packages is installed in the required version and architecture: X (all) 1 (not installed)",
            "400-01: it is already applied to P",
        ]
    );
    // The preferred choice of each excludes the other; together they find their common choice.
    let offered = ["100-01 requires ( 300-01 | 400-01 )", "200-01 incompat 300-01", "300-01", "400-01"];
    let mut world = World::of(&[], &offered, Some("100-01 200-01"));
    assert_eq!(world.lines().last().unwrap().split(':').next(), Some("200-01"));
    world.request.all_or_nothing = true;
    assert_eq!(world.lines(), ["400-01: planned: required by 100-01", "100-01: planned", "200-01: planned",]);
    // A patch that another of them contains need not be able to go in itself.
    let contained = ["200-01 obsoletes 500-01 incompat 300-01", "500-01 requires 999-01"];
    let offered = [offered[0], contained[0], "300-01", "400-01", contained[1]];
    let mut world = World::of(&[], &offered, Some("100-01 200-01 500-01"));
    world.request.all_or_nothing = true;
    assert_eq!(
        world.lines(),
        [
            "400-01: planned: required by 100-01",
            "100-01: planned",
            "200-01: planned",
            "500-01: 200-01 of this set contains it",
        ]
    );
}

/// Every requirement has two alternatives, and every pair of them excludes the next one. There is no answer,
/// and no short proof of that for a search that goes back to the last contributing decision.
#[test]
fn a_search_with_too_many_alternatives_is_given_up() {
    let pigeons = 9;
    let mut lines = Vec::new();
    let holes = pigeons - 1;
    let hole = |pigeon: usize, hole: usize| format!("{}-01", 1000 + pigeon * 100 + hole);
    let needs: Vec<String> = (0..pigeons)
        .map(|pigeon| {
            let all: Vec<String> = (0..holes).map(|at| hole(pigeon, at)).collect();
            format!("( {} )", all.join(" | "))
        })
        .collect();
    lines.push(format!("100-01 requires {}", needs.join(" ")));
    for pigeon in 0..pigeons {
        for at in 0..holes {
            let others: Vec<String> = (0..pigeon).map(|other| hole(other, at)).collect();
            lines.push(format!("{} incompat {}", hole(pigeon, at), others.join(" ")));
        }
    }
    let world = World::of(&[], &lines, Some("100-01"));
    assert_eq!(world.lines(), ["100-01: it has too many requirements or alternatives to resolve"]);
    assert_eq!(codes(&world), [("100-01".to_owned(), 10)]);
    assert_eq!(MOST_DECISIONS, 100_000);
}

#[test]
fn a_chain_of_many_requirements_ends_and_tells_its_first_links() {
    let count = 2_000;
    let line = |at: usize| format!("{}-01 requires {}-01", 1000 + at, 1001 + at);
    let mut lines: Vec<String> = (0..count).map(line).collect();
    let refused = World::of(&[], &lines, Some("1000-01")).lines();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].matches("which is refused").count(), 8, "{refused:?}");
    lines.push(format!("{}-01", 1000 + count));
    let planned = World::of(&[], &lines, Some("1000-01")).lines();
    assert_eq!((planned.len(), planned.last().unwrap().as_str()), (count + 1, "1000-01: planned"));
}

#[test]
fn the_reasons_of_many_patches_in_one_chain_or_circle_take_little_time_and_room() {
    let count = 3_000;
    let chain = |at: usize| format!("{}-01 requires {}-01", 100_000 + at, 100_001 + at);
    let circle = |at: usize| format!("{}-01 requires {}-01", 100_000 + at, 100_000 + (at + 1) % count);
    for lines in [(0..count).map(chain).collect::<Vec<_>>(), (0..count).map(circle).collect()] {
        let refused = World::of(&[], &lines, None).lines();
        assert_eq!(refused.len(), count);
        assert!(refused.iter().all(|line| line.len() < 4096), "{:?}", refused.first());
    }
}

#[test]
fn reasons_of_sets_are_told_as_any_other_reason() {
    let reason = Reason::InSet(crate::plan::refusal::SetReason::OwnRun);
    let refusal = reason.of(Command::Patchadd, &"100-01");
    assert_eq!(refusal.to_string(), "patch 100-01 was not applied: its scripts need a separate run");
    assert_eq!(refusal.code(), 10);
}
