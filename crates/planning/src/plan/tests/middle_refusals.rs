//! The obstacles to a backout in the middle, each with the wrong result that it prevents: a root with the
//! later patch alone differs from one where the later patch is left over the earlier one.

use super::apply::acme_web;
use super::*;
use crate::plan::patch::backout_input::Elsewhere;
use crate::plan::refusal::{HandOnProblem, Reason};
use patchadm_inputs::format::objects_file::GivenAttributes;
use patchadm_inputs::policy::Edited;
use patchadm_rootfs::LiveKind;
use patchadm_svr4::package::{Mode, PackagePath};

/// A root with both patches, and one with the later one alone; none if that one cannot be applied alone.
struct Pair {
    both: World,
    alone: Option<World>,
}

fn pair(earlier: &Parcel, later: &Parcel) -> Pair {
    pair_on(&acme_web(), earlier, later)
}

/// Returns the same on another root.
fn pair_on(base: &World, earlier: &Parcel, later: &Parcel) -> Pair {
    let start = || {
        let mut world = base.clone();
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
    /// Returns the refusal, which names patch and path.
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

    /// Returns the object at a path, in both roots.
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

/// An administrator's change of the earlier patch's file goes with it.
#[test]
fn attributes_that_the_later_patch_took_over_from_an_edit_would_stay() {
    let httpd = path("/opt/web/bin/httpd");
    let earlier = patch("900-01", "").file("bin/httpd", "x");
    let later = patch("901-01", "").object("bin/httpd", "f ? ? ?", Some("new"), None);
    let edits: [fn(&mut World, &ObjectPath); 3] = [
        |world, at| world.inventory.live.get_mut(at).unwrap().mode = Mode::of(0o700),
        World::take,
        |world, at| world.replace(at, LiveKind::Symlink(b"elsewhere".to_vec())),
    ];
    for edit in edits {
        let mut world = acme_web();
        world.options.edits.general = Edited::Replace;
        let mut alone = world.clone();
        assert_eq!(world.patchadd(&earlier), 0);
        edit(&mut world, &httpd);
        assert_eq!((world.patchadd(&later), alone.patchadd(&later)), (0, 0));
        world.know_later("901-01");
        let mut pair = Pair { both: world, alone: Some(alone) };
        pair.is_not_handed_on("/opt/web/bin/httpd", HandOnProblem::Attributes);
        pair.differ("/opt/web/bin/httpd");
    }
}

/// The same holds for extended attributes and ACLs: a new file inherits those of the one in its place.
#[test]
fn extended_attributes_and_acls_that_the_later_patch_inherited_would_stay() {
    for name in ["user.origin", "system.posix_acl_access"] {
        let mut earlier = patch("900-01", "").file("bin/httpd", "x");
        let xattrs = [(name.as_bytes().to_vec(), b"given".to_vec())].into_iter().collect();
        let given = GivenAttributes { mtime_ns: None, xattrs: Some(xattrs) };
        let objects = &mut earlier.image.packages[0].given.objects;
        objects.insert(PackagePath::new(b"bin/httpd").unwrap(), given);
        let mut pair = pair(&earlier, &patch("901-01", "").file("bin/httpd", "new"));
        pair.is_not_handed_on("/opt/web/bin/httpd", HandOnProblem::Attributes);
        pair.differ("/opt/web/bin/httpd");
    }
}

/// The result of these classes' scripts depends on the file that they find, and they found the earlier
/// patch's. No two patches of such a class are known to come out as the later one alone, so all are refused.
#[test]
fn a_class_whose_script_looks_at_what_is_there_would_have_looked_at_what_is_gone() {
    for class in ["preserve", "build", "sed", "awk", "mine"] {
        let classes = format!("CLASSES=none,{class}");
        let of = |id: &str, text: &str| patch(id, &classes).file("etc/table", text).of_class(class);
        let lists = format!("BASEDIR=/opt/web {classes}");
        let base = Parcel::empty("base").package("ACMEweb", &lists).directory("etc");
        let base = World::new().with(&base.file("etc/table", "first").of_class(class));
        let mut pair = pair_on(&base, &of("900-01", "second"), &of("901-01", "third"));
        if class == "mine" {
            assert!(pair.both.plan_removal("900-01").is_ok(), "a class without a script looks at nothing");
            pair.both.removal.scripts.system.root.insert(class.to_owned());
        }
        pair.is_not_handed_on("/opt/web/etc/table", HandOnProblem::LooksAtFile);
        // The later script was run on the earlier patch's file: its undo data has that one, not the
        // package's.
        let key = (package("ACMEweb"), "901-01".to_owned());
        let saved = |world: &World| world.archives[&key].bytes.values().cloned().collect::<Vec<_>>();
        assert_eq!(saved(&pair.both), [b"second".to_vec()], "{class}");
        assert_eq!(saved(pair.alone.as_ref().unwrap()), [b"first".to_vec()], "{class}");
    }
}

#[test]
fn a_copy_of_a_volatile_file_would_have_the_name_of_a_patch_that_is_gone() {
    let log = |id: &str| patch(id, "").object("etc/web.conf", "v 0644 root sys", Some(id), None);
    let mut pair = pair(&log("900-01"), &log("901-01"));
    pair.is_not_handed_on("/opt/web/etc/web.conf", HandOnProblem::LooksAtFile);
    pair.differ("/opt/web/etc/web.conf.edited-900-01");
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

/// The later patch did nothing to the file, and so nothing to its other name, which would come back without
/// it.
#[test]
fn a_name_of_the_file_that_the_later_patch_found_as_it_delivers_it_would_come_back_alone() {
    let base = Parcel::empty("base").package("ACMEweb", "").file("bin/a", "old").link("bin/b", "a");
    let of = |id: &str| patch(id, "").file("bin/a", "new");
    let mut pair = pair_on(&World::new().with(&base), &of("900-01"), &of("901-01"));
    let read = |world: &World| world.read("/opt/web/bin/b");
    assert_eq!(
        [Some(&pair.both), pair.alone.as_ref()].map(|world| world.and_then(read)),
        [(); 2].map(|()| Some("new".to_owned()))
    );
    pair.is_not_handed_on("/opt/web/bin/a", HandOnProblem::OtherNames);
}

#[test]
fn a_link_would_keep_what_it_has_of_the_object_in_its_place() {
    let earlier = patch("900-01", "").object("lib/libw.so", "f 0644 root sys", Some("f"), None);
    let mut pair = pair(&earlier, &patch("901-01", "").symlink("lib/libw.so", "libw.so.2"));
    pair.is_not_handed_on("/opt/web/lib/libw.so", HandOnProblem::Symlink);
    pair.differ("/opt/web/lib/libw.so");
}

/// The directory that the earlier patch made holds objects of the later one, which alone would find a file
/// there.
#[test]
fn an_object_below_what_became_a_directory_would_have_no_place() {
    let earlier = patch("900-01", "").directory("bin/httpd");
    let mut pair = pair(&earlier, &patch("901-01", "").file("bin/httpd/x", "x"));
    assert!(matches!(pair.refused("/opt/web/bin/httpd"), Reason::UsedLater { .. }));
    assert_ne!(pair.at("/opt/web/bin/httpd")[0], acme_line("/opt/web/bin/httpd"));
}

/// Returns the object at a path in the root before all patches.
fn acme_line(at: &str) -> Option<String> {
    let line = acme_web().tree().into_iter().find(|line| line.starts_with(&format!("{at} ")))?;
    Some(line.rsplit_once(' ').map(|(line, _)| line.to_owned()).unwrap_or(line))
}

/// The other package's archive has what the earlier patch made, and nothing is handed on between packages.
#[test]
fn a_patch_of_another_package_would_bring_back_what_is_gone() {
    let earlier = patch("900-01", "").file("bin/httpd", "one");
    let mut pair = pair(&earlier, &patch("901-01", "").file("bin/httpd", "two"));
    let manifest = pair.both.removal.later.remove(&(package("ACMEweb"), "901-01".to_owned())).unwrap();
    let was = manifest.objects.iter().find(|record| record.path.ends_with("httpd")).unwrap().was.clone();
    pair.both.removal.elsewhere = vec![Elsewhere { patch: "901-01".to_owned(), manifest }];
    assert!(matches!(pair.refused("/opt/web/bin/httpd"), Reason::ChangedLater { .. }));
    assert_eq!(was.unwrap().size, Some("one".len() as u64));
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
