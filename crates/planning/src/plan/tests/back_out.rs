//! Backing out: the tree after apply and backout is the tree before, to the last attribute.

use std::collections::BTreeMap;
use std::path::Path;

use super::apply::{acme_web, actions, patch_900};
use super::world::regular;
use super::*;
use crate::plan::Body;
use crate::plan::patch::backout_input::BackoutArchive;
use crate::plan::patch::later::may_leave;
use patchadm_changeset::format::manifest::ArchivedPaths;
use patchadm_inputs::policy::Edited;
use patchadm_rootfs::{LiveKind, Timestamp};
use patchadm_svr4::package::Mode;

/// Applies a patch, backs it out, and compares tree and lines.
fn there_and_back(world: &mut World, parcel: &Parcel) {
    let (tree, contents) = (world.tree(), world.contents());
    let installed = world.inventory.packages[&package("ACMEweb")].clone();
    assert_eq!(world.patchadd(parcel), 0);
    assert_ne!(world.tree(), tree);
    let id = parcel.image.packages[0].params.text("SUNW_PATCHID").into_owned();
    assert_eq!(world.patchrm(&id), 0);
    similar_asserts(&world.tree(), &tree);
    similar_asserts(&world.contents(), &contents);
    let now = &world.inventory.packages[&package("ACMEweb")];
    let records = |of: &patchadm_inputs::inventory::Installed| {
        let mut files: Vec<_> =
            of.records.iter().map(|(name, file)| (name.clone(), file.bytes.clone())).collect();
        files.retain(|(name, _)| name != b"pkginfo");
        files
    };
    assert_eq!(records(now), records(&installed));
    let lists =
        |name: &str| name == "PATCHLIST" || name.starts_with("PATCH_INFO_") || name == "PATCH_OBSOLETES";
    let others = |of: &patchadm_inputs::inventory::Installed| {
        of.params
            .iter()
            .filter(|(name, _)| !lists(name))
            .map(|(n, v)| (n.to_owned(), v.to_vec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(others(now), others(&installed));
    assert!(
        !now.saves.contains_key(&id)
            && !world.inventory.live.contains_key(&path(&format!("/var/sadm/patch/{id}")))
    );
}

fn similar_asserts(now: &[String], before: &[String]) {
    let only =
        |a: &[String], b: &[String]| a.iter().filter(|line| !b.contains(line)).cloned().collect::<Vec<_>>();
    assert_eq!((only(now, before), only(before, now)), (vec![], vec![]));
    assert_eq!(now, before);
}

#[test]
fn the_example_comes_back_line_by_line() {
    let mut world = acme_web();
    world.patchadd(&patch("850-01", "").file("share/a", "a"));
    world.patchadd(&patch("890-02", "").file("share/b", "b"));
    there_and_back(&mut world, &patch_900());
    assert_eq!(world.param("ACMEweb", "PATCHLIST"), "850-01 890-02");
    assert_eq!(world.param("ACMEweb", "PATCH_OBSOLETES"), "");
    assert_eq!(world.param("ACMEweb", "PATCH_INFO_900-01"), "backed out");
    assert_eq!(world.param("ACMEweb", "SUNW_PATCHID"), "890-02");
    let save = &world.inventory.packages[&package("ACMEweb")].saves["890-02"];
    assert_eq!((save.archive.as_deref(), save.obsoleted_by.as_deref()), (Some("undo.gz"), None));
}

#[test]
fn modes_owners_times_and_extended_attributes_come_back() {
    let mut world = acme_web();
    let live = world.inventory.live.get_mut(&path("/opt/web/bin/httpd")).unwrap();
    live.mode = Mode::of(0o4711);
    (live.uid, live.gid) = (80, 3);
    live.mtime = Timestamp { seconds: 12, nanoseconds: 999_999_999 };
    live.xattrs.insert(b"user.origin".to_vec(), b"\x00\xff".to_vec());
    world.inventory.live.get_mut(&path("/opt/web/bin")).unwrap().mode = Mode::of(0o711);
    there_and_back(&mut world, &patch("900-01", "").directory("bin").file("bin/httpd", "new"));
}

#[test]
fn hard_links_come_back_as_one_file() {
    let base = Parcel::empty("base")
        .package("ACMEweb", "")
        .file("bin/a", "old")
        .link("bin/b", "a")
        .link("bin/c", "./a")
        .file("bin/d", "d");
    let mut world = World::new().with(&base);
    there_and_back(&mut world, &patch("900-01", "").file("bin/a", "new"));
    there_and_back(&mut world, &patch("900-02", "").file("bin/b", "apart"));
    there_and_back(&mut world, &patch("900-03", "").deletes("bin/c").link("bin/b", "d"));
    there_and_back(
        &mut world,
        &patch("900-04", "").link("bin/d", "a").link("bin/e", "a").file("bin/a", "new"),
    );
    there_and_back(&mut world, &patch("900-05", "").deletes("bin/a").deletes("bin/b"));
}

#[test]
fn objects_that_change_type_come_back() {
    let base = Parcel::empty("base")
        .package("ACMEweb", "")
        .file("file", "a file")
        .symlink("link", "file")
        .pipe("pipe")
        .directory("full")
        .directory("full/sub")
        .file("full/sub/x", "x")
        .directory("empty");
    let mut world = World::new().with(&base);
    let turned = patch("900-01", "")
        .directory("file")
        .file("file/inner", "inner")
        .file("link", "now a file")
        .symlink("pipe", "file")
        .symlink("full", "/elsewhere")
        .deletes("full/sub/x")
        .deletes("full/sub")
        .pipe("empty");
    there_and_back(&mut world, &turned);
}

#[test]
fn directories_that_the_patch_made_go_when_they_are_empty() {
    let mut world = acme_web();
    there_and_back(&mut world, &patch("900-01", "").file("new/deep/x", "x").directory("new/kept"));
    assert_eq!(world.patchadd(&patch("900-02", "").file("new/deep/x", "x")), 0);
    world.write("/opt/web/new/deep/mine", "mine");
    assert_eq!(world.patchrm("900-02"), 0);
    assert_eq!(world.read("/opt/web/new/deep/mine").as_deref(), Some("mine"));
}

#[test]
fn revisions_come_back_one_after_the_other() {
    let mut world = acme_web();
    let (tree, contents) = (world.tree(), world.contents());
    world.patchadd(&patch("900-01", "NEW_WORD=1").file("bin/httpd", "one").file("bin/tool", "one"));
    let (tree_1, contents_1) = (world.tree(), world.contents());
    world.patchadd(&patch("900-02", "NEW_WORD=2").file("bin/httpd", "two").deletes("bin/tool"));
    assert_eq!(world.patchrm("900-02"), 0);
    assert_eq!((world.tree(), world.contents()), (tree_1, contents_1));
    assert_eq!(
        (world.param("ACMEweb", "NEW_WORD"), world.param("ACMEweb", "SUNW_PATCHID")),
        ("1".into(), "900-01".into())
    );
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!((world.tree(), world.contents()), (tree, contents));
    assert_eq!(world.inventory.packages[&package("ACMEweb")].params.get("NEW_WORD"), None);
}

#[test]
fn a_patch_under_an_unrelated_one_goes_and_leaves_the_others_words() {
    let mut world = acme_web();
    world.patchadd(&patch("900-01", "WORD=1 OWN=1").file("bin/httpd", "one"));
    world.patchadd(&patch("901-01", "WORD=2").file("share/x", "x"));
    let key = (package("ACMEweb"), "901-01".to_owned());
    world.removal.later.insert(key.clone(), world.archives[&key].manifest.clone());
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!(world.read("/opt/web/bin/httpd").as_deref(), Some("old httpd"));
    assert_eq!(world.read("/opt/web/share/x").as_deref(), Some("x"));
    assert_eq!(world.param("ACMEweb", "PATCHLIST"), "901-01");
    assert_eq!(
        (world.param("ACMEweb", "WORD"), world.param("ACMEweb", "SUNW_PATCHID")),
        ("2".into(), "901-01".into())
    );
    assert_eq!(world.inventory.packages[&package("ACMEweb")].params.get("OWN"), None);
}

#[test]
fn what_was_edited_after_the_patch_is_kept_and_said() {
    let mut world = acme_web();
    world.patchadd(&patch("900-01", "").file("bin/httpd", "new").file("bin/tool", "tool"));
    world.write("/opt/web/bin/httpd", "mine");
    world.write("/opt/web/bin/tool", "mine too");
    let plan = world.plan_removal("900-01").unwrap();
    assert_eq!(
        plan.notes,
        [
            "/opt/web/bin/httpd was edited; the run keeps the edited version as /opt/web/bin/httpd.edited-900-01",
            "/opt/web/bin/tool was edited; the run keeps the edited version as /opt/web/bin/tool.edited-900-01"
        ]
    );
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!(world.read("/opt/web/bin/httpd").as_deref(), Some("old httpd"));
    assert_eq!(world.read("/opt/web/bin/httpd.edited-900-01").as_deref(), Some("mine"));
    assert_eq!(world.read("/opt/web/bin/tool"), None);
    assert_eq!(world.read("/opt/web/bin/tool.edited-900-01").as_deref(), Some("mine too"));
}

#[test]
fn what_patches_left_as_they_found_it_is_not_what_is_there_now() {
    let base = Parcel::empty("base").package("ACMEweb", "").file("c", "as ever");
    let mut patched = World::new().with(&base);
    let tree = patched.tree();
    patched.patchadd(&patch("901-01", "").deletes("c"));
    patched.patchadd(&patch("903-01", "").file("c", "as ever"));
    let at = path("/opt/web/c");
    let edited: fn(&mut World) = |world| world.write("/opt/web/c", "mine");
    let replaced: fn(&mut World) =
        |world| world.put("/opt/web/c", LiveKind::Symlink(b"elsewhere".to_vec()), 0o777);
    let touched: fn(&mut World) =
        |world| world.inventory.live.get_mut(&path("/opt/web/c")).unwrap().mtime.seconds += 1;
    let missing: fn(&mut World) = |world| drop(world.inventory.live.remove(&path("/opt/web/c")));
    for (is_kept, since) in [(true, edited), (true, replaced), (false, touched), (false, missing)] {
        let mut world = patched.clone();
        since(&mut world);
        let there = world.inventory.live.get(&at).map(|live| live.kind.clone());
        let mut one_by_one = world.clone();
        assert_eq!((one_by_one.patchrm("903-01"), one_by_one.patchrm("901-01")), (0, 0));
        assert_eq!(world.patchrm_all(&["903-01", "901-01"]), 0);
        similar_asserts(&world.tree(), &one_by_one.tree());
        let kept = world.inventory.live.remove(&path("/opt/web/c.edited-903-01"));
        assert_eq!(kept.map(|live| live.kind), there.filter(|_| is_kept));
        let unnumbered = |line: &String| line.rsplit_once(' ').map(|(line, _)| line.to_owned());
        let (now, before): (Vec<_>, Vec<_>) =
            (world.tree().iter().map(unnumbered).collect(), tree.iter().map(unnumbered).collect());
        assert_eq!(now, before);
    }
}

#[test]
fn a_name_is_not_linked_to_one_that_goes_with_it() {
    let mut world = World::new().with(&Parcel::empty("base").package("ACMEweb", "").file("b", "as ever"));
    let tree = world.tree();
    world.patchadd(&patch("901-01", "").link("e", "b"));
    world.patchadd(&patch("902-01", "").deletes("b"));
    assert_eq!(world.patchrm_all(&["902-01", "901-01"]), 0);
    similar_asserts(&world.tree(), &tree);
}

#[test]
fn what_was_edited_before_the_patch_comes_back_and_its_copies_go() {
    let mut world = acme_web();
    world.write("/opt/web/bin/httpd", "mine");
    world.write("/opt/web/etc/web.conf", "port=8080\n");
    world.options.edits.general = Edited::Replace;
    let new = patch("900-01", "").file("bin/httpd", "new").object(
        "etc/web.conf",
        "e 0644 root sys",
        Some("port=81\n"),
        None,
    );
    there_and_back(&mut world, &new);
    assert_eq!(world.read("/opt/web/etc/web.conf").as_deref(), Some("port=8080\n"));
}

#[test]
fn a_kept_file_stays_and_the_patchs_version_goes() {
    let mut world = acme_web();
    world.write("/opt/web/bin/httpd", "mine");
    world.options.edits.general = Edited::Keep;
    there_and_back(&mut world, &patch("900-01", "").file("bin/httpd", "new").file("bin/other", "other"));
}

#[test]
fn what_was_missing_is_missing_again() {
    let mut world = acme_web();
    world.inventory.live.remove(&path("/opt/web/bin/httpd"));
    world.bytes.remove(&path("/opt/web/bin/httpd"));
    there_and_back(&mut world, &patch("900-01", "").file("bin/httpd", "new"));
}

#[test]
fn an_unrecorded_directory_in_the_way_is_no_loss() {
    let mut world = acme_web();
    world.put("/opt/web/spool", LiveKind::Directory, 0o700);
    there_and_back(&mut world, &patch("900-01", "").symlink("spool", "/var/spool"));
}

#[test]
fn members_of_an_archive_carry_their_digest() {
    let mut world = acme_web();
    world.patchadd(&patch("900-01", "").file("bin/httpd", "new"));
    let plan = world.plan_removal("900-01").unwrap();
    assert_eq!(actions(&plan), ["replace /opt/web/bin/httpd"]);
    let crate::plan::Action::Replace(new) = &plan.changes[0].action else { panic!() };
    let (Body::Member(member), LiveKind::Regular { b3, .. }) = (&new.body, regular(b"old httpd")) else {
        panic!()
    };
    assert_eq!((member.b3.as_deref(), member.package), (Some(&b3), 0));
}

/// A backout package as the classic scripts make it: no manifest, only a pkgmap and `deletes`.
#[test]
fn an_archive_of_the_classic_tools_is_restored_as_its_pkgmap_says() {
    let mut world = acme_web();
    let before = world.tree();
    world.patchadd(&patch("900-01", "SUNW_WORD=1").file("bin/httpd", "new").file("bin/tool", "tool"));
    let classic = patch("900-01", "ACTIVE_PATCH=900-01").file("bin/httpd", "old httpd").deletes("bin/tool");
    let name = package("ACMEweb");
    let archive = BackoutArchive {
        patch: &id("900-01"),
        index: 0,
        package: &name,
        image: &classic.image.packages[0],
        made_by_scripts: None,
        manifest: None,
        records: &BTreeMap::new(),
        is_bound: true,
        native: None,
        outside: Some(Path::new("/backup/900-01/ACMEweb/undo.Z")),
    };
    let plan = world.back_out("900-01", &[archive], &world.removal).unwrap().plan;
    assert_eq!(
        plan.notes,
        ["package ACMEweb: restored from an archive without manifest, according to its pkgmap"]
    );
    assert_eq!(plan.discard, [Path::new("/backup/900-01/ACMEweb/undo.Z")]);
    world.carry_out(&plan, &classic);
    assert_eq!(world.tree(), before);
    assert_eq!(
        (world.param("ACMEweb", "PATCHLIST"), world.param("ACMEweb", "PATCH_INFO_900-01")),
        (String::new(), "backed out".into())
    );
}

#[test]
fn an_archive_of_the_classic_tools_never_goes_over_what_a_later_patch_has_changed() {
    let mut world = acme_web();
    world.patchadd(&patch("900-01", "").file("bin/httpd", "new").file("bin/tool", "tool"));
    world.patchadd(&patch("800-01", "SUNW_WORD=1").file("bin/tool", "newer"));
    world.remember();
    let name = package("ACMEweb");
    let records = BTreeMap::new();
    let refused = |classic: &Parcel| {
        let image = &classic.image.packages[0];
        let archive = BackoutArchive {
            patch: &id("900-01"),
            index: 0,
            package: &name,
            image,
            made_by_scripts: None,
            manifest: None,
            records: &records,
            is_bound: false,
            native: None,
            outside: None,
        };
        world
            .back_out("900-01", &[archive], &world.removal)
            .err()
            .map(|refusal| (refusal.code(), refusal.why()))
    };
    let classic = || patch("900-01", "ACTIVE_PATCH=900-01").file("bin/httpd", "old httpd");
    for over in [classic().deletes("bin/tool"), classic().file("bin/tool", "old")] {
        let (code, why) = refused(&over).unwrap();
        assert_eq!(code, 6);
        assert!(why.contains("bin/tool") && why.contains("800-01"), "{why}");
    }
    assert_eq!(refused(&classic()), None);
}

#[test]
fn a_patch_under_one_that_delivers_the_same_object_goes_and_the_later_one_saves_what_it_found() {
    let mut world = acme_web();
    let before = world.tree();
    world.patchadd(&patch("900-01", "").file("bin/httpd", "fixed").file("bin/other", "a"));
    world.patchadd(&patch("901-01", "").file("bin/httpd", "fixed").file("share/x", "x"));
    world.know_later("901-01");
    assert_eq!((world.patchrm("900-01"), world.read("/opt/web/bin/httpd").as_deref()), (0, Some("fixed")));
    assert_eq!(world.read("/opt/web/bin/other"), None);
    world.removal.later.clear();
    assert_eq!((world.patchrm("901-01"), world.tree()), (0, before));
}

#[test]
fn a_patch_under_one_that_deletes_the_same_object_goes() {
    let mut world = acme_web();
    let before = world.tree();
    world.patchadd(&patch("900-01", "").deletes("bin/httpd"));
    world.patchadd(&patch("901-01", "").deletes("bin/httpd").file("share/x", "x"));
    world.know_later("901-01");
    assert_eq!((world.patchrm("900-01"), world.read("/opt/web/bin/httpd")), (0, None));
    world.removal.later.clear();
    assert_eq!((world.patchrm("901-01"), world.tree()), (0, before));
}

#[test]
fn a_manifest_lists_what_was_found_as_it_is_delivered_and_nothing_is_saved_of_it() {
    let mut world = acme_web();
    world.patchadd(&patch("900-01", "").file("bin/httpd", "fixed"));
    let plan = world.plan(&patch("901-01", "").file("bin/httpd", "fixed").file("share/x", "x")).unwrap();
    let undo = &plan.undo[0];
    let found = undo.manifest.objects.iter().find(|object| object.path == "/opt/web/bin/httpd").unwrap();
    assert!(found.delivered && found.was.is_some() && found.was == found.became && found.member.is_none());
    assert!(undo.saved.iter().all(|(_, saved)| *saved != path("/opt/web/bin/httpd")));
}

#[test]
fn directories_that_a_patch_found_are_no_reason_against_the_backout_of_an_earlier_one() {
    let mut world = acme_web();
    world.patchadd(&patch("900-01", "").directory("bin").file("bin/httpd", "new"));
    world.patchadd(&patch("901-01", "").directory("bin").file("bin/x", "x"));
    world.know_later("901-01");
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!(world.read("/opt/web/bin/httpd").as_deref(), Some("old httpd"));
}

#[test]
fn a_patch_that_made_a_directory_stays_while_a_later_one_has_objects_in_it() {
    let delivered = patch("900-01", "").directory("new").file("new/x", "x");
    let turned = patch("900-01", "").deletes("bin/httpd").directory("bin/httpd");
    for (earlier, below, made) in
        [(delivered, "new/y", "/opt/web/new"), (turned, "bin/httpd/y", "/opt/web/bin/httpd")]
    {
        let mut world = acme_web();
        assert_eq!(world.patchadd(&earlier), 0);
        assert_eq!(world.patchadd(&patch("901-01", "").file(below, "y")), 0);
        world.know_later("901-01");
        let refusal = world.plan_removal("900-01").unwrap_err();
        let why = refusal.why();
        assert!(refusal.code() == 6 && why.contains("901-01, which was applied later"), "{why}");
        assert!(why.contains(&format!("has objects below {made}")), "{why}");
    }
}

#[test]
fn whether_a_later_patch_stands_in_the_way_is_said_by_manifests_as_the_plan_says_it() {
    for (later, is_free) in [("e 0644 root sys", false), ("f 0644 root sys", true)] {
        let mut world = acme_web();
        world.patchadd(&patch("900-01", "").file("bin/httpd", "fixed"));
        world.patchadd(&patch("901-01", "").object("bin/httpd", later, Some("new"), None));
        world.know_later("901-01");
        let ((package, _), stored) = world.archives.iter().find(|((_, of), _)| of == "900-01").unwrap();
        let told = ArchivedPaths::Manifest(Box::new(stored.manifest.clone()));
        let told = [(package, &told)];
        let last = may_leave(&id("900-01"), &told, &world.inventory, &world.policy, &world.removal);
        let planned = world.plan_removal("900-01").map(drop);
        assert_eq!(last.is_ok(), is_free, "{later}");
        assert_eq!(
            last.map_err(|refusal| refusal.why()),
            planned.map_err(|refusal| refusal.why()),
            "{later}"
        );
    }
}
