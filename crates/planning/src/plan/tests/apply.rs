//! Applying a patch: objects, lines, records, undo archive.

use super::world::regular;
use super::*;
use crate::plan::{Action, Body, Plan, RecordChange};
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::policy::Edited;
use patchadm_rootfs::{FileType, LiveKind};

/// `ACMEweb` in /opt/web: programs, a file to be edited, a link, a text.
pub(super) fn acme_web() -> World {
    let base = Parcel::empty("base")
        .package("ACMEweb", "BASEDIR=/opt/web")
        .directory("bin")
        .file("bin/httpd", "old httpd")
        .directory("etc")
        .object("etc/web.conf", "e 0644 root sys", Some("port=80\n"), None)
        .directory("lib")
        .symlink("lib/libw.so", "libw.so.1")
        .directory("share")
        .file("share/old.txt", "old text");
    World::new().with(&base)
}

/// Returns a patch that replaces, adds, turns a link and deletes, and obsoletes another.
pub(super) fn patch_900() -> Parcel {
    patch("900-01", "SUNW_OBSOLETES=890-02 SUNW_REQUIRES=850-01 BASEDIR=/opt/web")
        .file("bin/httpd", "new httpd")
        .file("bin/newtool", "new tool")
        .symlink("lib/libw.so", "libw.so.2")
        .deletes("share/old.txt")
}

pub(super) fn actions(plan: &Plan) -> Vec<String> {
    let word = |action: &Action| match action {
        Action::Add(_) => "add",
        Action::Replace(_) => "replace",
        Action::Delete => "delete",
        Action::Attributes(_) => "attributes",
        Action::RemoveDirectory => "rmdir",
    };
    plan.changes.iter().map(|change| format!("{} {}", word(&change.action), change.path)).collect()
}

#[test]
fn a_patch_leaves_objects_lines_and_records() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("850-01", "").file("share/a", "a")), 0);
    assert_eq!(world.patchadd(&patch("890-02", "").file("share/b", "b")), 0);
    let plan = world.plan(&patch_900()).unwrap();
    assert_eq!(
        actions(&plan),
        [
            "replace /opt/web/bin/httpd",
            "add /opt/web/bin/newtool",
            "replace /opt/web/lib/libw.so",
            "delete /opt/web/share/old.txt"
        ]
    );
    let undo = &plan.undo[0];
    let in_archive: Vec<String> = undo
        .saved
        .iter()
        .map(|(entry, _)| format!("{} {}", char::from(entry.object.ftype.letter()), entry.path))
        .collect();
    assert_eq!(in_archive, ["f bin/httpd", "s lib/libw.so", "f share/old.txt"]);
    assert_eq!(undo.deletes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["bin/newtool"]);
    world.carry_out(&plan, &patch_900());

    assert_eq!(world.param("ACMEweb", "PATCHLIST"), "850-01 890-02 900-01");
    assert_eq!(world.param("ACMEweb", "PATCH_OBSOLETES"), "890-02@1");
    assert_eq!(
        world.param("ACMEweb", "PATCH_INFO_900-01"),
        "Installed: Fri Nov 20 06:37:39 UTC 2026 From: web1 Obsoletes: 890-02 Requires: 850-01 Incompatibles:"
    );
    assert_eq!(world.param("ACMEweb", "SUNW_PATCHID"), "900-01");
    assert_eq!(world.line("/opt/web/lib/libw.so").unwrap(), "/opt/web/lib/libw.so=libw.so.2 s none ACMEweb");
    assert_eq!(
        world.line("/opt/web/bin/newtool").unwrap(),
        "/opt/web/bin/newtool f none 0755 root bin 8 808 1577836800 ACMEweb"
    );
    assert_eq!(world.line("/opt/web/share/old.txt"), None);
    let saves = &world.inventory.packages[&package("ACMEweb")].saves;
    assert_eq!(saves["900-01"].archive.as_deref(), Some("undo.gz"));
    assert_eq!(saves["890-02"].archive.as_deref(), Some("obsolete.gz"));
    assert_eq!(saves["890-02"].obsoleted_by.as_deref(), Some(&b"900-01\n"[..]));
    assert_eq!(saves["850-01"].archive.as_deref(), Some("undo.gz"));
}

#[test]
fn an_object_is_installed_already_only_with_equal_bytes_and_attributes() {
    let mut world = acme_web();
    let same = patch("900-01", "").file("bin/httpd", "old httpd");
    assert_eq!(actions(&world.plan(&same).unwrap()), Vec::<String>::new());
    let other_bytes_same_sum = patch("900-01", "").file("bin/httpd", "old htptd");
    assert_eq!(actions(&world.plan(&other_bytes_same_sum).unwrap()), ["replace /opt/web/bin/httpd"]);
    let other_mode = patch("900-01", "").object("bin/httpd", "f 0700 root bin", Some("old httpd"), None);
    assert_eq!(actions(&world.plan(&other_mode).unwrap()), ["replace /opt/web/bin/httpd"]);
}

#[test]
fn question_marks_keep_what_is_there() {
    let mut world = acme_web();
    let patch = patch("900-01", "")
        .object("bin", "d ? ? ?", None, None)
        .object("bin/httpd", "f ? ? ?", Some("new"), None)
        .object("bin/other", "f ? ? ?", Some("other"), None);
    let plan = world.plan(&patch).unwrap();
    assert_eq!(actions(&plan), ["replace /opt/web/bin/httpd", "add /opt/web/bin/other"]);
    world.carry_out(&plan, &patch);
    assert!(
        world.line("/opt/web/bin/httpd").unwrap().starts_with("/opt/web/bin/httpd f none 0755 root bin 3")
    );
    assert!(world.line("/opt/web/bin/other").unwrap().starts_with("/opt/web/bin/other f none 0644 ? ? 5"));
}

#[test]
fn missing_parents_are_made_and_recorded() {
    let mut world = acme_web();
    let patch = patch("900-01", "").file("/var/opt/web/data/x", "x");
    let plan = world.plan(&patch).unwrap();
    assert_eq!(
        actions(&plan),
        ["add /var", "add /var/opt", "add /var/opt/web", "add /var/opt/web/data", "add /var/opt/web/data/x"]
    );
    world.carry_out(&plan, &patch);
    assert_eq!(world.line("/var/opt/web").unwrap(), "/var/opt/web d none 0755 root root ACMEweb");
}

#[test]
fn a_directory_that_stays_gets_other_attributes() {
    let mut world = acme_web();
    let patch = patch("900-01", "").object("bin", "d 0700 web bin", None, None);
    let plan = world.plan(&patch).unwrap();
    let Action::Attributes(attributes) = &plan.changes[0].action else { panic!("{plan:?}") };
    assert_eq!((attributes.uid, attributes.gid), (Some(80), None));
    let manifest = &plan.undo[0].manifest.objects[0];
    assert_eq!(manifest.was.as_ref().unwrap().mode, 0o755);
    assert_eq!(manifest.became.as_ref().unwrap().mode, 0o700);
}

#[test]
fn the_other_names_of_a_replaced_file_are_linked_anew_and_saved() {
    let base = Parcel::empty("base").package("ACMEweb", "").file("bin/a", "old").link("bin/b", "a");
    let mut world = World::new().with(&base);
    let patch = patch("900-01", "").file("bin/a", "new");
    let plan = world.plan(&patch).unwrap();
    assert_eq!(actions(&plan), ["replace /opt/web/bin/a", "replace /opt/web/bin/b"]);
    let Action::Replace(new) = &plan.changes[1].action else { panic!() };
    assert!(matches!(&new.body, Body::Link(source) if *source == path("/opt/web/bin/a")));
    let groups: Vec<_> =
        plan.undo[0].manifest.objects.iter().map(|object| object.was.as_ref().unwrap().group).collect();
    assert_eq!(groups, [Some(1), Some(1)]);
    let members: Vec<_> =
        plan.undo[0].manifest.objects.iter().map(|object| object.member.as_deref()).collect();
    assert_eq!(members, [Some("bin/a"), None]);
}

#[test]
fn a_directory_may_become_something_else_only_when_nothing_is_left_in_it() {
    let mut world = acme_web();
    let into_link = patch("900-01", "").symlink("share", "/usr/share/web");
    let refusal = world.plan(&into_link).unwrap_err();
    assert_eq!(refusal.code(), 10);
    assert!(refusal.why().contains("it is a directory that contains /opt/web/share/old.txt"), "{refusal}");
    let emptied = patch("900-01", "").symlink("share", "/usr/share/web").deletes("share/old.txt");
    let plan = world.plan(&emptied).unwrap();
    assert_eq!(actions(&plan), ["replace /opt/web/share", "delete /opt/web/share/old.txt"]);
    world.put("/opt/web/share/mine", regular(b"mine"), 0o644);
    assert!(world.plan(&emptied).unwrap_err().why().contains("contains /opt/web/share/mine"));
}

#[test]
fn what_lies_in_a_link_that_becomes_a_directory_is_new() {
    let mut world = acme_web();
    world
        .inventory
        .live
        .insert(path("/opt/web/lib/libw.so/x"), world.inventory.live[&path("/opt/web/bin/httpd")].clone());
    world.inventory.physical.insert(path("/opt/web/lib/libw.so/x"), path("/elsewhere/x"));
    let patch = patch("900-01", "").directory("lib/libw.so").file("lib/libw.so/x", "x");
    let plan = world.plan(&patch).unwrap();
    assert_eq!(actions(&plan), ["replace /opt/web/lib/libw.so", "add /opt/web/lib/libw.so/x"]);
}

#[test]
fn a_way_through_a_link_of_the_same_patch_is_refused() {
    let mut world = acme_web();
    let patch = patch("900-01", "").symlink("etc2", "/etc").file("etc2/passwd", "evil");
    let refusal = world.plan(&patch).unwrap_err();
    assert_eq!(refusal.code(), 10);
    assert!(refusal.why().contains("its path contains /opt/web/etc2, a symbolic link"), "{refusal}");
}

#[test]
fn a_way_through_a_link_that_leads_nowhere_is_refused() {
    let mut world = acme_web();
    world.put("/opt/web/out", LiveKind::Symlink(b"/nowhere".to_vec()), 0o777);
    world.inventory.physical.insert(path("/opt/web/out/x"), path("/nowhere/x"));
    let refusal = world.plan(&patch("900-01", "").file("out/x", "x")).unwrap_err();
    assert_eq!(refusal.code(), 10);
    assert!(refusal.why().ends_with("/opt/web/out in its path is a dangling symbolic link"));
}

#[test]
fn two_entries_that_are_one_place_are_refused() {
    let mut world = acme_web();
    world.put("/opt/link", LiveKind::Symlink(b"web".to_vec()), 0o777);
    world.inventory.physical.insert(path("/opt/link/bin/httpd"), path("/opt/web/bin/httpd"));
    let patch = patch("900-01", "").file("bin/httpd", "one").file("/opt/link/bin/httpd", "two");
    let refusal = world.plan(&patch).unwrap_err();
    assert!(refusal.why().contains("it is the same place as"), "{refusal}");
}

#[test]
fn what_is_no_directory_holds_nothing_and_what_cannot_be_renamed_stays() {
    let mut world = acme_web();
    let refusal = world.plan(&patch("900-01", "").file("bin/httpd/x", "x")).unwrap_err();
    assert!(refusal.why().contains("/opt/web/bin/httpd is not a directory"), "{refusal}");
    world.inventory.live.get_mut(&path("/opt/web/bin/httpd")).unwrap().obstacle = Some("is immutable");
    let refusal = world.plan(&patch("900-01", "").file("bin/httpd", "x")).unwrap_err();
    assert!(refusal.why().ends_with("/opt/web/bin/httpd is immutable"), "{refusal}");
}

#[test]
fn unknown_owners_are_refused() {
    let mut world = acme_web();
    let patch = patch("900-01", "").object("bin/httpd", "f 0755 nobody9 bin", Some("x"), None);
    assert!(world.plan(&patch).unwrap_err().why().contains("owner nobody9 does not exist"));
}

#[test]
fn without_privileges_owners_are_recorded_only_and_devices_are_refused() {
    let mut world = acme_web();
    world.inventory.privileged = false;
    world.inventory.caller = (1000, 1000);
    let refusal = world.plan(&patch("900-01", "").file("bin/httpd", "new")).unwrap_err();
    assert!(refusal.why().ends_with("the directory /opt/web/bin belongs to another user"), "{refusal}");
    for live in world.inventory.live.values_mut() {
        (live.uid, live.gid) = (1000, 1000);
    }
    let patched = patch("900-01", "").object("bin/httpd", "f 0755 web bin", Some("x"), None);
    let plan = world.plan(&patched).unwrap();
    let Action::Replace(new) = &plan.changes[0].action else { panic!() };
    assert_eq!((new.uid, new.gid), (1000, 1000));
    assert!(
        plan.notes.contains(&"owners and groups that are recorded but not set: bin, web".to_owned()),
        "{:?}",
        plan.notes
    );
    let line = plan.contents[&path("/opt/web/bin/httpd")].as_ref().unwrap();
    assert_eq!(line.object.attributes.owner.as_deref(), Some("web"));
    let set_id = patch("900-01", "").object("bin/httpd", "f 4755 root bin", Some("x"), None);
    assert!(world.plan(&set_id).unwrap_err().why().contains("runs as another user"));
    let mut device = patch("900-01", "").pipe("dev");
    device.image.packages[0].pkgmap.entries[0].object.ftype = patchadm_svr4::package::Ftype::Character;
    assert!(world.plan(&device).unwrap_err().why().contains("only root can make a device"));
}

#[test]
fn an_object_of_two_packages_gets_the_attributes_of_the_last_and_both_owners() {
    let other = Parcel::empty("base").package("ACMEshr", "BASEDIR=/opt/web").file("bin/httpd", "shared");
    let mut world = acme_web().with(&other);
    assert!(world.line("/opt/web/bin/httpd").unwrap().ends_with("ACMEweb ACMEshr"));
    assert_eq!(world.read("/opt/web/bin/httpd").as_deref(), Some("shared"));
    let gone = patch("900-01", "").deletes("bin/httpd");
    let plan = world.plan(&gone).unwrap();
    assert_eq!(actions(&plan), Vec::<String>::new());
    assert_eq!(plan.contents[&path("/opt/web/bin/httpd")].as_ref().unwrap().owners.len(), 1);
}

#[test]
fn edited_files_stop_a_patch_unless_somebody_decides() {
    let mut world = acme_web();
    world.write("/opt/web/bin/httpd", "mine");
    let refusal = world.plan(&patch_900().says("SUNW_REQUIRES", "")).unwrap_err();
    assert_eq!((refusal.code(), refusal.why().as_str()), (10, "modified locally: /opt/web/bin/httpd"));
    world.options.edits.overridden.insert(path("/opt/web/bin/httpd"));
    let plan = world.plan(&patch_900().says("SUNW_REQUIRES", "")).unwrap();
    assert!(actions(&plan).contains(&"replace /opt/web/bin/httpd".to_owned()));
    assert_eq!(plan.changes.len(), 4, "what is edited goes into the undo archive only");
}

#[test]
fn an_empty_directory_in_the_place_of_a_file_is_an_edit() {
    let mut world = acme_web();
    world.replace(&path("/opt/web/bin/httpd"), LiveKind::Directory);
    let patch = patch("900-01", "").file("bin/httpd", "new");
    let refusal = world.plan(&patch).unwrap_err();
    assert_eq!((refusal.code(), refusal.why().as_str()), (10, "modified locally: /opt/web/bin/httpd"));
    world.options.edits.general = Edited::Replace;
    assert_eq!(actions(&world.plan(&patch).unwrap()), ["replace /opt/web/bin/httpd"]);
    world.options.no_undo = true;
    assert_eq!(actions(&world.plan(&patch).unwrap()), ["replace /opt/web/bin/httpd"], "it is not copied");
}

#[test]
fn a_kept_file_stays_with_its_line_and_the_new_one_lies_beside_it() {
    let mut world = acme_web();
    world.write("/opt/web/bin/httpd", "mine");
    world.options.edits.general = Edited::Keep;
    let before = world.line("/opt/web/bin/httpd");
    let patch = patch("900-01", "").file("bin/httpd", "new");
    assert_eq!(world.patchadd(&patch), 0);
    assert_eq!(world.read("/opt/web/bin/httpd").as_deref(), Some("mine"));
    assert_eq!(world.read("/opt/web/bin/httpd.patch-900-01").as_deref(), Some("new"));
    assert_eq!(world.line("/opt/web/bin/httpd"), before);
    assert_eq!(world.line("/opt/web/bin/httpd.patch-900-01"), None);
    let manifest = &world.archives[&(package("ACMEweb"), "900-01".to_owned())].manifest;
    assert!(manifest.objects[0].kept && manifest.objects[0].became.is_none());
}

#[test]
fn what_was_written_into_an_editable_file_is_kept_beside_the_new_one() {
    let mut world = acme_web();
    world.write("/opt/web/etc/web.conf", "port=8080\n");
    let patch = patch("900-01", "").object("etc/web.conf", "e 0644 root sys", Some("port=81\n"), None);
    let plan = world.plan(&patch).unwrap();
    assert_eq!(actions(&plan), ["replace /opt/web/etc/web.conf", "add /opt/web/etc/web.conf.edited-900-01"]);
    world.write("/opt/web/etc/web.conf.edited-900-01", "older");
    assert_eq!(world.patchadd(&patch), 0);
    assert_eq!(world.read("/opt/web/etc/web.conf.edited-900-01").as_deref(), Some("older"));
    assert_eq!(world.read("/opt/web/etc/web.conf.edited-900-01.2").as_deref(), Some("port=8080\n"));
}

#[test]
fn without_undo_data_an_edited_file_is_kept_beside_and_cannot_be_preserved() {
    let mut world = acme_web();
    world.write("/opt/web/bin/httpd", "mine");
    world.options.no_undo = true;
    world.options.edits.general = Edited::Keep;
    let patch = patch("900-01", "").file("bin/httpd", "new");
    let refusal = world.plan(&patch).unwrap_err();
    assert!(refusal.why().contains("cannot be kept when no undo data is saved"), "{refusal}");
    world.options.edits.general = Edited::Replace;
    let plan = world.plan(&patch).unwrap();
    assert_eq!(plan.archives().count(), 0);
    assert!(plan.undo.iter().all(|undo| undo.saved.is_empty() && undo.records.is_empty()));
    assert!(plan.undo[0].manifest.objects.iter().any(|object| object.path == "/opt/web/bin/httpd"));
    world.carry_out(&plan, &patch);
    assert_eq!(world.read("/opt/web/bin/httpd.edited-900-01").as_deref(), Some("mine"));
    assert_eq!(world.patchrm("900-01"), 4);
}

#[test]
fn a_file_that_no_package_recorded_is_the_administrators() {
    let mut world = acme_web();
    world.write("/opt/web/bin/newtool", "my own tool");
    assert_eq!(world.plan(&patch("900-01", "").file("bin/newtool", "x")).unwrap_err().code(), 10);
}

#[test]
fn a_digest_shows_an_edit_that_size_and_sum_hide() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("900-01", "").file("bin/httpd", "limit=12")), 0);
    world.write("/opt/web/bin/httpd", "limit=21");
    let refusal = world.plan(&patch("900-02", "").file("bin/httpd", "limit=99")).unwrap_err();
    assert_eq!(refusal.why(), "modified locally: /opt/web/bin/httpd");
}

#[test]
fn the_records_of_a_patch_are_kept_as_the_classic_tools_keep_them() {
    let mut world = acme_web();
    let patch =
        patch("900-01", "SUNW_REQUIRES= NEW_WORD=1").file("bin/httpd", "new").install("copyright", "(c)");
    assert_eq!(world.patchadd(&patch), 0);
    let installed = &world.inventory.packages[&package("ACMEweb")];
    let names: Vec<&str> = installed.params.iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "CLASSES",
            "BASEDIR",
            "PKG",
            "NAME",
            "ARCH",
            "VERSION",
            "CATEGORY",
            "SUNW_PATCHID",
            "SUNW_REQUIRES",
            "NEW_WORD",
            "PKGINST",
            "PKGSAV",
            "INSTDATE",
            "UPDATE",
            "PATCHLIST",
            "PATCH_INFO_900-01"
        ]
    );
    assert_eq!(world.param("ACMEweb", "INSTDATE"), "Nov 20 2026 07:37");
    assert_eq!(*installed.records[&b"install/copyright"[..]].bytes, b"(c)");
    let spooled = &installed.records[&b"save/pspool/ACMEweb/pkgmap"[..]].bytes;
    assert_eq!(**spooled, patch.image.packages[0].pkgmap_bytes);
    let archive = &world.archives[&(package("ACMEweb"), "900-01".to_owned())];
    assert!(archive.records.contains_key(&b"pkginfo"[..]));
    assert!(archive.records.contains_key(&b"save/pspool/ACMEweb/pkgmap"[..]));
    assert!(archive.manifest.header.made_records.contains(&"install/copyright".to_owned()));
    assert_eq!(archive.image.params.text("ACTIVE_PATCH"), "900-01");
    assert_eq!(archive.image.params.get("INSTDATE"), None);
}

#[test]
fn an_undo_archive_elsewhere_leaves_a_pointer() {
    let mut world = acme_web();
    world.options.undo_dir = Some("/backup".into());
    world.options.undo_format = UndoFormat::Compress;
    let plan = world.plan(&patch("900-01", "").file("bin/httpd", "new")).unwrap();
    let crate::plan::UndoPlace::Remote(place) = &plan.undo[0].place else { panic!() };
    assert_eq!(place.to_str(), Some("/backup/900-01/ACMEweb/undo.Z"));
    let tree = plan.records.iter().find_map(|record| match record {
        RecordChange::AddTree { path, files } if path.to_string().ends_with("save/900-01") => Some(files),
        _ => None,
    });
    assert_eq!(tree.unwrap()[0].name, b"remote");
}

#[test]
fn old_files_that_undo_data_as_files_must_copy_need_the_room() {
    let large = "old".repeat(1 << 20);
    let base =
        Parcel::empty("base").package("ACMEweb", "").file("bin/httpd", &large).file("bin/more", &large);
    let needed = |changed: &Parcel, links: u64| {
        let mut world = World::new().with(&base);
        world.options.undo_format = UndoFormat::Files;
        let path = path("/opt/web/bin/httpd");
        world.inventory.live.get_mut(&path).unwrap().links = links;
        world.plan(changed).unwrap().space[0].bytes
    };
    let replaced = patch("900-01", "").file("bin/httpd", "new");
    let kept = needed(&replaced, 1);
    assert!(kept < 3 << 20, "{kept}");
    let copied = needed(&replaced, 2);
    assert!(copied >= kept + (3 << 20) && copied < kept + (4 << 20), "another name: {copied}, {kept}");
    let same = patch("900-01", "").object("bin/httpd", "f 0700 root bin", Some(&large), None);
    let only_attributes = needed(&same, 1);
    assert!(only_attributes >= 3 << 20, "attributes: {only_attributes}");
}

#[test]
fn a_patch_of_two_packages_is_one_plan() {
    let other = Parcel::empty("base").package("ACMEdoc", "").file("man/a", "a");
    let mut world = acme_web().with(&other);
    let both = patch("900-01", "")
        .file("bin/httpd", "new")
        .package("ACMEdoc", "SUNW_PATCHID=900-01")
        .file("man/a", "new a")
        .package("ACMEnone", "SUNW_PATCHID=900-01")
        .file("x", "x");
    let plan = world.plan(&both).unwrap();
    assert_eq!(
        plan.packages,
        [package("ACMEdoc"), package("ACMEweb")].map(|p| p).into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!((plan.undo.len(), plan.changes.len()), (2, 2));
    assert_eq!(plan.trailer.package, package("ACMEdoc"));
}

#[test]
fn installing_again_leaves_the_records_and_what_came_later() {
    let mut world = acme_web();
    let first = patch("900-01", "").file("bin/httpd", "one").file("bin/tool", "tool");
    assert_eq!(world.patchadd(&first), 0);
    assert_eq!(world.patchadd(&patch("901-01", "").file("bin/httpd", "two")), 0);
    world.write("/opt/web/bin/tool", "mine");
    world.options.unconditional = true;
    let plan = world.plan(&first).unwrap();
    assert_eq!(actions(&plan), ["replace /opt/web/bin/tool", "add /opt/web/bin/tool.edited-900-01"]);
    assert!(plan.records.is_empty() && plan.undo.is_empty());
}

#[test]
fn an_unrelated_patch_on_the_same_path_is_noted_and_an_unchanged_directory_is_not() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("900-01", "").directory("bin").file("bin/httpd", "one")), 0);
    let plan = world.plan(&patch("901-01", "").directory("bin").file("bin/httpd", "two")).unwrap();
    assert_eq!(plan.notes, ["overlap with 900-01, which is not related: /opt/web/bin/httpd"]);
    let plan = world.plan(&patch("900-02", "").file("bin/httpd", "two")).unwrap();
    assert!(plan.notes.is_empty());
}

#[test]
fn a_full_file_system_is_named_with_what_is_needed() {
    let mut world = acme_web();
    world.inventory.file_systems[0].free = 1000;
    let refusal = world.plan(&patch("900-01", "").file("bin/httpd", "new")).unwrap_err();
    assert_eq!(refusal.code(), 18);
    assert!(refusal.why().starts_with("/ has 1000 bytes free, "), "{refusal}");
    world.inventory.file_systems[0].free = 1 << 30;
    world.inventory.file_systems[0].inodes = Some(3);
    assert!(
        world.plan(&patch("900-01", "").file("bin/httpd", "new")).unwrap_err().why().contains("3 objects")
    );
}

#[test]
fn a_file_system_on_which_nothing_is_changed_is_refused_by_the_plan() {
    let mut world = acme_web();
    world.inventory.file_systems[0].unsupported = Some("is on FUSE, which patchadm does not support");
    let refusal = world.plan(&patch("900-01", "").file("bin/httpd", "new")).unwrap_err();
    assert_eq!(refusal.code(), 10);
    assert_eq!(refusal.why(), "/ is on FUSE, which patchadm does not support");
}

#[test]
fn a_replaced_socket_is_written_down_but_not_saved() {
    let mut world = acme_web();
    world.put("/opt/web/share/s", LiveKind::Socket, 0o600);
    world.options.edits.general = Edited::Replace;
    let plan = world.plan(&patch("900-01", "").pipe("share/s")).unwrap();
    assert!(plan.undo[0].saved.is_empty());
    assert_eq!(plan.undo[0].manifest.objects[0].was.as_ref().unwrap().kind, FileType::Socket);
}

#[test]
fn two_packages_of_a_patch_may_deliver_the_same_object_and_no_two_different_ones() {
    let shared = Parcel::empty("base").package("ACMEshr", "BASEDIR=/opt/web").file("bin/httpd", "old httpd");
    let mut world = acme_web().with(&shared);
    let (tree, contents) = (world.tree(), world.contents());
    let both = |other: &str| {
        patch("900-01", "")
            .file("bin/httpd", "new")
            .package("ACMEshr", "SUNW_PATCHID=900-01 BASEDIR=/opt/web")
            .file("bin/httpd", other)
    };
    let refusal = world.plan(&both("newer")).unwrap_err();
    assert!(
        refusal.why().contains("package ACMEweb of the same patch delivers another object there"),
        "{refusal}"
    );
    assert_eq!(world.patchadd(&both("new")), 0);
    assert_eq!(world.read("/opt/web/bin/httpd").as_deref(), Some("new"));
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!((world.tree(), world.contents()), (tree, contents));
}
