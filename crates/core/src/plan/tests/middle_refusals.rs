//! What stands against a backout in the middle, each with what would have come out wrong: a root with the later patch
//! alone is another one than the later patch left over the earlier one.

use super::apply::acme_web;
use super::*;
use crate::plan::refusal::{HandOnProblem, Reason};
use crate::policy::Edited;

/// A root with both patches, and one with the later one alone; none where that one cannot be applied alone.
struct Pair {
    both: World,
    alone: Option<World>,
}

fn pair(earlier: &Parcel, later: &Parcel) -> Pair {
    let start = || {
        let mut world = acme_web();
        world.options.edits.general = Edited::Replace;
        world.write("/opt/web/etc/web.conf", "mine");
        world
    };
    let (mut both, mut alone) = (start(), start());
    assert_eq!(both.patchadd(earlier), 0);
    assert_eq!(both.patchadd(later), 0);
    both.know_later("901-01");
    let is_alone = alone.patchadd(later) == 0;
    Pair { both, alone: is_alone.then_some(alone) }
}

impl Pair {
    /// The refusal, which names patch and path.
    #[track_caller]
    fn refused(&mut self, at: &str) -> Reason {
        let refusal = self.both.plan_removal("900-01").unwrap_err();
        let why = refusal.why();
        assert!(refusal.code() == 6 && why.contains("901-01") && why.contains(at), "{why}");
        *refusal.reason
    }

    #[track_caller]
    fn is_not_handed_on(&mut self, at: &str, because: HandOnProblem) {
        let reason = self.refused(at);
        assert!(matches!(&reason, Reason::NotHandedOn { why, .. } if *why == because), "{reason:?}");
    }

    /// What is at a path, in both roots.
    fn at(&self, at: &str) -> [Option<String>; 2] {
        let shown = |world: &World| {
            let line = world.tree().into_iter().find(|line| line.starts_with(&format!("{at} ")))?;
            Some(line.rsplit_once(' ').map(|(line, _)| line.to_owned()).unwrap_or(line))
        };
        [shown(&self.both), self.alone.as_ref().and_then(shown)]
    }

    #[track_caller]
    fn differ(&self, at: &str) {
        let [both, alone] = self.at(at);
        assert_ne!(both, alone, "{at} is the same with and without the earlier patch");
    }
}

#[test]
fn attributes_that_the_later_patch_took_over_would_stay() {
    let later = patch("901-01", "").object("bin/httpd", "f ? ? ?", Some("new"), None);
    let mut pair = pair(&patch("900-01", "").object("bin/httpd", "f 0700 root sys", Some("x"), None), &later);
    pair.is_not_handed_on("/opt/web/bin/httpd", HandOnProblem::Attributes);
    pair.differ("/opt/web/bin/httpd");
}

#[test]
fn a_copy_of_an_edited_file_would_have_the_name_of_a_patch_that_is_gone() {
    let settings = |id: &str| patch(id, "").object("etc/web.conf", "e 0644 root sys", Some(id), None);
    let mut pair = pair(&settings("900-01"), &settings("901-01"));
    pair.is_not_handed_on("/opt/web/etc/web.conf", HandOnProblem::LooksAtFile);
    pair.differ("/opt/web/etc/web.conf.edited-900-01");
    pair.differ("/opt/web/etc/web.conf.edited-901-01");
}

#[test]
fn a_name_of_the_file_that_the_later_patch_changed_by_another_name_would_stay() {
    let earlier = patch("900-01", "").file("bin/httpd", "one").link("bin/second", "httpd");
    let mut pair = pair(&earlier, &patch("901-01", "").file("bin/httpd", "two"));
    pair.is_not_handed_on("/opt/web/bin/httpd", HandOnProblem::OtherNames);
    pair.differ("/opt/web/bin/second");
}

#[test]
fn a_link_would_keep_what_it_has_of_the_object_in_its_place() {
    let earlier = patch("900-01", "").object("lib/libw.so", "f 0644 root sys", Some("f"), None);
    let mut pair = pair(&earlier, &patch("901-01", "").symlink("lib/libw.so", "libw.so.2"));
    pair.is_not_handed_on("/opt/web/lib/libw.so", HandOnProblem::Symlink);
    pair.differ("/opt/web/lib/libw.so");
}

#[test]
fn what_was_below_a_directory_could_not_come_back() {
    let earlier =
        patch("900-01", "").deletes("share/old.txt").object("share", "f 0644 root sys", Some("f"), None);
    let mut pair = pair(&earlier, &patch("901-01", "").object("share", "f 0644 root sys", Some("g"), None));
    pair.is_not_handed_on("/opt/web/share", HandOnProblem::TypeChange);
    assert!(pair.alone.is_none(), "the later patch alone would find a directory that holds something");
}

#[test]
fn a_directory_would_keep_attributes_that_nobody_gave_it() {
    let earlier = patch("900-01", "").object("new", "d 0700 root sys", None, None);
    let mut pair = pair(&earlier, &patch("901-01", "").file("new/x", "x"));
    assert!(matches!(pair.refused("/opt/web/new"), Reason::UsedLater { .. }));
    pair.differ("/opt/web/new");
}

#[test]
fn a_patch_that_nobody_knows_would_bring_back_what_is_gone() {
    let earlier = patch("900-01", "").file("bin/httpd", "one");
    let mut pair = pair(&earlier, &patch("901-01", "").file("bin/httpd", "two"));
    pair.both.removal.later.clear();
    pair.is_not_handed_on("/opt/web/bin/httpd", HandOnProblem::Foreign);
    let key = (package("ACMEweb"), "901-01".to_owned());
    let saved = |world: &World| world.archives[&key].bytes.values().cloned().collect::<Vec<_>>();
    assert_ne!(saved(&pair.both), saved(pair.alone.as_ref().unwrap()), "its archive has what 900-01 made");
    pair.both.removal.earlier.insert(key.clone());
    pair.is_not_handed_on("/opt/web/bin/httpd", HandOnProblem::Earlier);
}

#[test]
fn what_scripts_made_of_a_file_is_not_known() {
    let earlier = patch("900-01", "").file("bin/httpd", "one");
    let mut pair = pair(&earlier, &patch("901-01", "").file("bin/httpd", "two"));
    let key = (package("ACMEweb"), "901-01".to_owned());
    pair.both.removal.scripted.insert(key.clone());
    pair.is_not_handed_on("/opt/web/bin/httpd", HandOnProblem::Scripts);
    pair.both.removal.scripted.clear();
    pair.both.removal.later.get_mut(&key).unwrap().header.scripts = true;
    pair.is_not_handed_on("/opt/web/bin/httpd", HandOnProblem::Scripts);
}
