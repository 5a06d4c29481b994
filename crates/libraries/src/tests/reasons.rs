//! Changes in which several libraries, candidates and consumers stand in each other's way.

use super::decisions::{Scene, library};
use super::{Root, at, program, words};
use crate::decision::{CandidateOrigin, LibraryDecision, Obstacle};
use crate::elf::{ElfFacts, NeededVersion};

/// Returns a need of the second version of a library.
fn second_version(library: &str) -> Vec<NeededVersion> {
    vec![NeededVersion { library: library.to_owned(), version: "V_2".to_owned(), is_weak: false }]
}

fn with_versions(soname: &str, versions: &[&str]) -> ElfFacts {
    ElfFacts { defines: words(versions), ..library(soname, &[]) }
}

/// Returns the losses: path, consumer, reason.
fn lost(decision: &LibraryDecision) -> Vec<(String, String, Option<Obstacle>)> {
    let told = decision.lost.iter().filter_map(|lost| {
        Some((lost.library.as_ref()?.to_string(), lost.consumer.path.to_string(), lost.obstacle))
    });
    told.collect()
}

fn told(path: &str, consumer: &str, obstacle: Obstacle) -> (String, String, Option<Obstacle>) {
    (path.to_owned(), consumer.to_owned(), Some(obstacle))
}

#[test]
fn what_a_library_that_stays_loses_itself_is_told_too() {
    let mut root = Root::default();
    root.library("/lib/liba.so.1", &["libb.so.1"]).library("/lib/libb.so.1", &[]);
    root.file("/bin/p", program(&["liba.so.1"]));
    let mut scene = Scene::of(root).has_kept("/lib/liba.so.1").takes("/lib/libb.so.1");
    scene.hinder("/lib/libb.so.1", Obstacle::NotAsked);
    assert_eq!(scene.keeps(), ["/lib/liba.so.1"]);
    assert_eq!(lost(&scene.decide()), [told("/lib/libb.so.1", "/lib/liba.so.1", Obstacle::NotAsked)]);
}

#[test]
fn who_does_not_ask_is_told_what_would_stand_in_the_way_if_he_did() {
    let scene = |in_new: &[&str]| {
        let mut root = Root::default();
        root.settings.directories = words(&["/old", "/new"]);
        root.file("/old/liba.so.1", with_versions("liba.so.1", &["V_1", "V_2"]));
        root.file("/bin/p", ElfFacts { needs: second_version("liba.so.1"), ..program(&["liba.so.1"]) });
        root.file("/bin/q", program(in_new));
        let scene = Scene::of(root).takes("/old/liba.so.1");
        let mut scene = scene.brings("/new/liba.so.1", with_versions("liba.so.1", &["V_1"]));
        scene.hinder("/old/liba.so.1", Obstacle::NotAsked);
        lost(&scene.decide())
    };
    assert_eq!(scene(&[]), [told("/old/liba.so.1", "/bin/p", Obstacle::NotAsked)]);
    assert_eq!(scene(&["liba.so.1"]), [told("/old/liba.so.1", "/bin/p", Obstacle::Shadows)]);
}

#[test]
fn a_library_stays_for_who_would_be_hidden_by_another_candidate() {
    let mut root = Root::default();
    root.settings.directories = words(&["/first", "/second"]);
    root.library("/first/libb.so.1", &[]).file("/bin/p", program(&["libb.so.1"]));
    let mut archive = Root::default();
    archive.library("/first/liba.so.1", &[]);
    let scene = Scene::of(root).takes("/first/libb.so.1");
    let mut scene = scene.brings("/second/libb.so.1", library("libb.so.1", &["liba.so.1"]));
    scene.offer_of(&archive, "/first/liba.so.1", CandidateOrigin::Archived);
    assert_eq!(scene.keeps(), ["/first/liba.so.1"]);
    assert_eq!(lost(&scene.decide()), []);
}

#[test]
fn an_archived_library_that_would_hide_a_newer_one_is_lost_to_what_comes_back() {
    let mut root = Root::default();
    root.settings.directories = words(&["/first", "/second"]);
    root.file("/second/liba.so.1", with_versions("liba.so.1", &["V_1"]));
    root.file("/bin/q", program(&["liba.so.1"]));
    let mut archive = Root::default();
    archive.file("/first/liba.so.1", with_versions("liba.so.1", &["V_1", "V_2"]));
    let back = ElfFacts { needs: second_version("liba.so.1"), ..program(&["liba.so.1"]) };
    let mut scene = Scene::of(root).brings("/bin/p", back);
    scene.offer_of(&archive, "/first/liba.so.1", CandidateOrigin::Archived);
    assert_eq!(scene.keeps(), [""; 0]);
    assert_eq!(lost(&scene.decide()), [told("/first/liba.so.1", "/bin/p", Obstacle::Shadows)]);
}

#[test]
fn what_somebody_who_is_renewed_asks_for_more_was_nobodys_loss() {
    let mut root = Root::default();
    root.file("/lib/liba.so.1", with_versions("liba.so.1", &["V_1"]));
    root.file("/bin/p", program(&["liba.so.1"]));
    let newer = ElfFacts { needs: second_version("liba.so.1"), ..program(&["liba.so.1"]) };
    let decision = Scene::of(root).brings("/bin/p", newer).decide();
    assert_eq!(lost(&decision), []);
    assert_eq!(decision.lost.len(), 1, "the need is known, without a library");
}

#[test]
fn a_kept_library_that_nobody_needed_goes_where_something_else_comes_to_its_path() {
    let mut root = Root::default();
    root.library("/lib/liba.so.1", &[]);
    let mut scene =
        Scene::of(root).has_kept("/lib/liba.so.1").brings("/lib/liba.so.1", library("liba.so.1", &[]));
    scene.hinder("/lib/liba.so.1", Obstacle::PathTaken);
    let decision = scene.decide();
    assert!(decision.unneeded.is_empty() && decision.dropped.contains(&at("/lib/liba.so.1")), "{decision:?}");
}

#[test]
fn what_others_serve_without_it_did_not_need_a_kept_library() {
    let mut root = Root::default();
    root.settings.directories = words(&["/first", "/second"]);
    root.library("/first/libb.so.1", &[]).library("/second/libb.so.1", &[]);
    root.library("/lib/liba.so.1", &["libb.so.1"]).file("/bin/p", program(&["liba.so.1"]));
    let scene = Scene::of(root).has_kept("/first/libb.so.1").has_kept("/lib/liba.so.1");
    let decision = scene.decide();
    assert_eq!(decision.kept.keys().collect::<Vec<_>>(), [&at("/lib/liba.so.1")]);
    assert!(decision.dropped.is_empty(), "it was not needed before either: {decision:?}");
}

#[test]
fn a_library_that_only_an_opened_one_loads_is_not_hidden_from_it() {
    let mut root = Root::default();
    root.settings.directories = words(&["/first", "/second"]);
    root.file("/first/liba.so.1", with_versions("liba.so.1", &["V_1", "V_2"]));
    root.file("/second/liba.so.1", with_versions("liba.so.1", &["V_1"]));
    root.file("/first/libb.so.1", with_versions("libb.so.1", &["V_1", "V_2"]));
    let wants = |needed: &str| ElfFacts { needs: second_version(needed), ..program(&[needed]) };
    root.file("/bin/p", wants("liba.so.1")).file("/bin/q", wants("libb.so.1"));
    let scene = Scene::of(root).has_kept("/first/liba.so.1").takes("/first/libb.so.1");
    let new = ElfFacts { needed: words(&["liba.so.1"]), ..with_versions("libb.so.1", &["V_1"]) };
    let decision = scene.brings("/second/libb.so.1", new).decide();
    assert_eq!(decision.kept.keys().collect::<Vec<_>>(), [&at("/first/libb.so.1")]);
    assert_eq!(lost(&decision), [told("/first/liba.so.1", "/bin/p", Obstacle::Shadows)]);
}

#[test]
fn an_archived_library_behind_an_older_one_is_lost_to_what_comes_back() {
    let mut root = Root::default();
    root.settings.directories = words(&["/first", "/second"]);
    root.file("/first/liba.so.1", with_versions("liba.so.1", &["V_1"]));
    let mut archive = Root::default();
    archive.file("/second/liba.so.1", with_versions("liba.so.1", &["V_1", "V_2"]));
    let back = ElfFacts { needs: second_version("liba.so.1"), ..program(&["liba.so.1"]) };
    let mut scene = Scene::of(root).brings("/bin/p", back);
    scene.offer_of(&archive, "/second/liba.so.1", CandidateOrigin::Archived);
    assert_eq!(scene.keeps(), [""; 0]);
    let lost: Vec<_> = scene.decide().lost.into_iter().map(|lost| (lost.library, lost.obstacle)).collect();
    assert_eq!(lost, [(Some(at("/second/liba.so.1")), None)], "something else is found first");
}

#[test]
fn a_library_hides_a_newer_one_although_its_consumer_is_not_loaded_then() {
    let mut root = Root::default();
    root.settings.directories = words(&["/first", "/second"]);
    root.file("/first/libb.so.1", with_versions("libb.so.1", &["V_1", "V_2"]));
    let consumer = ElfFacts { needs: second_version("libb.so.1"), ..library("liba.so.1", &["libb.so.1"]) };
    root.file("/lib/liba.so.1", consumer).file("/bin/p", program(&["libb.so.1"]));
    let newer = ElfFacts { needed: words(&["liba.so.1"]), ..with_versions("libb.so.1", &["V_1"]) };
    let mut scene = Scene::of(root).takes("/first/libb.so.1").brings("/second/libb.so.1", newer);
    let expected = |obstacle| [told("/first/libb.so.1", "/lib/liba.so.1", obstacle)];
    assert_eq!(lost(&scene.decide()), expected(Obstacle::Shadows));
    scene.hinder("/first/libb.so.1", Obstacle::NotAsked);
    assert_eq!(lost(&scene.decide()), expected(Obstacle::Shadows));
}

#[test]
fn who_is_served_by_another_library_that_stays_loses_nothing() {
    let mut root = Root::default();
    root.settings.directories = words(&["/first", "/second"]);
    root.file("/second/liba.so.1", with_versions("liba.so.1", &["V_1", "V_2"]));
    root.file("/bin/p", ElfFacts { needs: second_version("liba.so.1"), ..program(&["liba.so.1"]) });
    let mut archive = Root::default();
    archive.file("/first/liba.so.1", with_versions("liba.so.1", &["V_1", "V_2"]));
    let scene = Scene::of(root).takes("/second/liba.so.1");
    let mut scene = scene.brings("/second/liba.so.1", with_versions("liba.so.1", &["V_1"]));
    scene.hinder("/second/liba.so.1", Obstacle::PathTaken);
    scene.offer_of(&archive, "/first/liba.so.1", CandidateOrigin::Archived);
    assert_eq!(scene.keeps(), ["/first/liba.so.1"]);
    assert_eq!(scene.decide().lost, []);
}
