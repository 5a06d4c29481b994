//! Names of one file: chains of hard links, for every sort order of their paths.

use super::*;
use crate::plan::patch::backout_proof::root_after;
use crate::plan::{Action, Body, Plan};
use patchadm_changeset::format::manifest::ObjectRecord;
use patchadm_rootfs::LiveKind;

/// `path -> file` for every name that a plan links.
fn linked(plan: &Plan) -> Vec<String> {
    let of = |action: &Action| match action {
        Action::Add(new) | Action::Replace(new) => match &new.body {
            Body::Link(file) => Some(file.to_string()),
            _ => None,
        },
        _ => None,
    };
    plan.changes
        .iter()
        .filter_map(|change| Some(format!("{} -> {}", change.path, of(&change.action)?)))
        .collect()
}

#[test]
fn a_link_to_a_link_names_the_file_whichever_comes_first() {
    let mut world = World::new().with(&Parcel::empty("base").package("ACMEweb", "BASEDIR=/opt/web"));
    let new = patch("900-01", "").link("a", "b").link("b", "c").link("d", "b").file("c", "the file");
    let plan = world.plan(&new).unwrap();
    assert_eq!(
        linked(&plan),
        ["/opt/web/a -> /opt/web/c", "/opt/web/b -> /opt/web/c", "/opt/web/d -> /opt/web/c"]
    );
}

#[test]
fn names_of_a_file_that_becomes_a_link_follow_it() {
    let base = Parcel::empty("base").package("ACMEweb", "BASEDIR=/opt/web");
    let base = base.file("b", "old").link("a", "b").link("c", "b");
    let mut world = World::new().with(&base);
    let turned = patch("900-01", "").file("c", "new").link("b", "c");
    let plan = world.plan(&turned).unwrap();
    assert_eq!(linked(&plan), ["/opt/web/a -> /opt/web/c", "/opt/web/b -> /opt/web/c"]);
}

#[test]
fn a_name_that_is_to_be_a_file_of_its_own_is_made_anew_though_it_looks_the_same() {
    let base = Parcel::empty("base").package("ACMEweb", "BASEDIR=/opt/web");
    let base = base.file("a", "same").link("b", "a").link("c", "a");
    let mut world = World::new().with(&base);
    let parted = patch("900-01", "").file("a", "same").file("b", "same").link("c", "b");
    let plan = world.plan(&parted).unwrap();
    assert_eq!(linked(&plan), ["/opt/web/c -> /opt/web/b"]);
    let changed: Vec<String> = plan.changes.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(changed, ["/opt/web/b", "/opt/web/c"]);
}

#[test]
fn a_name_goes_with_the_file_that_the_patch_says_not_with_the_one_on_record() {
    let base = Parcel::empty("base").package("ACMEweb", "BASEDIR=/opt/web");
    let base = base.file("a", "same").link("b", "a").link("c", "a");
    let mut world = World::new().with(&base);
    let parted = patch("900-01", "").file("a", "new").file("b", "same").link("c", "b");
    let plan = world.plan(&parted).unwrap();
    assert_eq!(linked(&plan), ["/opt/web/c -> /opt/web/b"]);
}

/// The numbers of files come from two archives, and cannot be compared.
#[test]
fn names_that_a_later_patch_makes_as_they_were_are_as_found_once_the_earlier_one_is_gone() {
    let base = Parcel::empty("base").package("ACMEweb", "BASEDIR=/opt/web");
    let mut world = World::new().with(&base.file("a", "first").link("e", "/opt/web/a"));
    assert_eq!(world.patchadd(&patch("900-01", "").file("a", "second")), 0);
    assert_eq!(world.patchadd(&patch("901-01", "").file("a", "first")), 0);
    world.know_later("901-01");
    assert_eq!(world.patchrm("900-01"), 0);
    let later = &world.archives[&(package("ACMEweb"), "901-01".to_owned())];
    let names =
        later.manifest.objects.iter().filter(|record| ["/opt/web/a", "/opt/web/e"].contains(&&*record.path));
    assert!(names.clone().count() == 2 && names.clone().all(ObjectRecord::is_untouched), "{names:?}");
    // So an action on one of them does not concern that patch.
    world.take(&path("/opt/web/e"));
    assert_eq!(world.patchrm("901-01"), 0);
    assert_eq!((world.read("/opt/web/a").as_deref(), world.read("/opt/web/e")), (Some("first"), None));
}

#[test]
fn a_name_comes_back_as_a_file_of_its_own_where_its_file_was_written_anew_with_the_same_bytes() {
    let base = Parcel::empty("base").package("ACMEweb", "BASEDIR=/opt/web");
    let mut world = World::new().with(&base.file("a", "same").link("e", "/opt/web/a"));
    let (file, name) = (path("/opt/web/a"), path("/opt/web/e"));
    let before = world.inventory.live[&name].clone();
    assert_eq!(world.patchadd(&patch("900-01", "").deletes("e")), 0);
    world.replace(&file, before.kind.clone());
    if let Some(live) = world.inventory.live.get_mut(&file) {
        live.mtime.seconds = before.mtime.seconds + 1;
    }
    assert_eq!(world.patchrm("900-01"), 0);
    let (file, name) = (&world.inventory.live[&file], &world.inventory.live[&name]);
    assert_eq!((&name.kind, name.mtime), (&before.kind, before.mtime));
    assert!(name.inode != file.inode && file.mtime != before.mtime);
}

#[test]
fn a_directory_comes_back_that_gave_way_to_another_name_of_a_link_to_a_directory() {
    let base = Parcel::empty("base").package("ACMEweb", "").directory("d").directory("e").file("e/x", "x");
    let mut world = World::new().following_links().with(&base);
    let before = (world.tree(), world.contents());
    let turned = patch("900-01", "").symlink("a", "d").link("e", "/opt/web/a").deletes("e/x");
    assert_eq!(world.patchadd(&turned), 0);
    assert!(matches!(world.inventory.live[&path("/opt/web/e")].kind, LiveKind::Symlink(_)));
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!((world.tree(), world.contents()), before);
}

#[test]
fn what_is_behind_a_link_is_there_still_when_the_link_says_the_same_in_other_words() {
    let base = Parcel::empty("base").package("ACMEweb", "").directory("d").file("d/x", "x");
    let mut world = World::new().following_links().with(&base);
    world.options.edits.general = patchadm_inputs::policy::Edited::Replace;
    world.move_away(&path("/opt/web/d"), &path("/opt/web/e"));
    let before = world.tree();
    let turned = patch("900-01", "").symlink("d", "../web/e");
    let plan = world.plan(&turned).unwrap();
    let behind = path("/opt/web/d/x");
    let live = world.inventory.live.get(&behind).cloned();
    assert!(live.is_some());
    let after = root_after(&plan, &world.inventory, patchadm_rootfs::Timestamp::whole(1));
    assert_eq!(after.live.get(&behind).map(|live| live.inode), live.map(|live| live.inode));
    assert_eq!(after.physical.get(&behind), Some(&path("/opt/web/e/x")));
    world.carry_out(&plan, &turned);
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!(world.tree(), before);
}

#[test]
fn nothing_comes_by_a_way_that_the_same_patch_turns() {
    let base =
        Parcel::empty("base").package("ACMEweb", "").directory("b").symlink("a", "b").symlink("d", "a");
    let mut world = World::new().following_links().with(&base);
    let before = world.tree();
    let refusal = world.plan(&patch("900-01", "").deletes("a").file("d/x", "x")).unwrap_err();
    assert_eq!(refusal.code(), 10);
    let why = "path /opt/web/d/x: /opt/web/d in its path is a symbolic link whose target changes in this run";
    assert!(refusal.why().ends_with(why), "{refusal}");
    let stays = patch("900-01", "").file("d/x", "x");
    assert_eq!(world.patchadd(&stays), 0);
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!(world.tree(), before);
}

/// The other name of a file is planned last: an object that is reached through it may be there already.
#[test]
fn nothing_comes_by_way_of_another_name_of_a_link_that_the_same_patch_makes_a_file() {
    let base = Parcel::empty("base").package("ACMEweb", "").directory("d").directory("d/x").file("d/y", "y");
    let base = base.symlink("b", "d").link("e", "/opt/web/b");
    let mut world = World::new().following_links().with(&base);
    for (name, delivered) in [
        ("another mode", patch("900-01", "").object("e/x", "d 0700 root bin", None, None)),
        ("unchanged", patch("900-01", "").object("e/x", "d ? ? ?", None, None)),
        ("new", patch("900-01", "").file("e/z", "z")),
    ] {
        let refusal = world.plan(&delivered.file("b", "b")).unwrap_err();
        assert!(refusal.why().ends_with(": /opt/web/e is not a directory"), "{name}: {refusal}");
    }
    assert_eq!(world.patchadd(&patch("900-01", "").file("b", "b")), 0);
}

/// The link through which a patch sees the other name goes with the patch, so it is not there at the backout.
#[test]
fn a_name_seen_by_way_of_a_link_that_goes_comes_back_with_the_file() {
    let base = Parcel::empty("base").package("ACMEweb", "").directory("e").symlink("d", "e");
    let mut world =
        World::new().following_links().with(&base.file("b", "the file").link("e/x", "/opt/web/b"));
    let before = world.tree();
    assert_eq!(world.patchadd(&patch("900-01", "").deletes("b").deletes("d").deletes("d/x")), 0);
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!(world.tree(), before);
}

#[test]
fn a_directory_that_gets_something_by_way_of_a_link_stays() {
    let base = Parcel::empty("base").package("ACMEweb", "").directory("e").symlink("d", "e");
    let mut world = World::new().following_links().with(&base);
    let before = world.tree();
    let new = patch("900-01", "").file("d/sub", "new").deletes("e");
    let plan = world.plan(&new).unwrap();
    assert_eq!(plan.notes, ["/opt/web/e stays: it contains recorded objects"]);
    let changed: Vec<String> = plan.changes.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(changed, ["/opt/web/d/sub"]);
    world.carry_out(&plan, &new);
    assert_eq!(world.read("/opt/web/e/sub").as_deref(), Some("new"));
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!(world.tree(), before);
}

#[test]
fn a_new_file_goes_beside_an_edited_one_only_where_the_caller_has_the_directory() {
    let base = Parcel::empty("base").package("ACMEweb", "").directory("d").file("d/x", "x");
    let mut world = World::new().following_links().with(&base).unprivileged();
    world.options.edits.general = patchadm_inputs::policy::Edited::Keep;
    world.move_away(&path("/opt/web/d"), &path("/opt/moved"));
    world.write("/opt/moved/x", "edited");
    if let Some(link) = world.inventory.live.get_mut(&path("/opt/web/d")) {
        link.uid = 1000;
    }
    let new = patch("900-01", "").file("d/x", "new");
    let mut of_root = world.clone();
    if let Some(moved) = of_root.inventory.live.get_mut(&path("/opt/moved")) {
        moved.uid = 0;
    }
    let refusal = of_root.plan(&new).unwrap_err();
    assert_eq!(
        refusal.why(),
        "package ACMEweb, path /opt/web/d/x.patch-900-01: the directory /opt/moved belongs to another user"
    );
    let plan = world.plan(&new).unwrap();
    let changed: Vec<String> = plan.changes.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(changed, ["/opt/web/d/x.patch-900-01"]);
}

/// The same place under two paths: a delivery to one of them counts, as with one path.
#[test]
fn what_a_patch_deletes_by_one_path_and_delivers_by_another_is_delivered() {
    let base = Parcel::empty("base").package("ACMEweb", "").directory("e").symlink("d", "e");
    let mut world = World::new().following_links().with(&base.file("e/x", "old"));
    // Nothing is recorded at the path that the patch delivers, so the object there counts as edited.
    world.options.edits.general = patchadm_inputs::policy::Edited::Replace;
    let before = world.tree();
    let new = patch("900-01", "").file("d/x", "new").deletes("e/x");
    let plan = world.plan(&new).unwrap();
    let changed: Vec<String> = plan.changes.iter().map(|change| change.path.to_string()).collect();
    assert_eq!(changed, ["/opt/web/d/x"]);
    world.carry_out(&plan, &new);
    assert_eq!(world.read("/opt/web/e/x").as_deref(), Some("new"));
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!(world.tree(), before);
}

/// The first patch that is removed had separated the names; the later one found one of them as a separate file.
#[test]
fn names_that_a_middle_patch_parted_come_back_as_one_file_with_the_later_one() {
    let base = Parcel::empty("base").package("ACMEweb", "");
    let base = base.file("a", "same").file("b", "other").link("e", "/opt/web/a");
    let mut world = World::new().with(&base);
    let before = world.tree();
    assert_eq!(world.patchadd(&patch("903-01", "").file("a", "same").link("e", "/opt/web/b")), 0);
    assert_eq!(world.patchadd(&patch("904-01", "").file("a", "same").link("e", "/opt/web/b")), 0);
    world.know_later("904-01");
    assert_eq!(world.patchrm("903-01"), 0);
    assert_eq!(world.patchrm("904-01"), 0);
    assert_eq!(world.tree(), before);
}
