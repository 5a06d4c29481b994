//! The stamp of `contents` comes and goes with it: regardless of what happens to a run, the stamp fits or does not
//! count.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use super::ground::Ground;
use super::world::{World, at, package};
use crate::plan::Plan;
use crate::records::contents::{ContentsLines, lines_below};
use crate::records::{RecordView, read_consistently, stamped};
use patchadm_rootfs::Door;
use patchadm_svr4::package::{ContentsLine, ObjectPath, OwnerStatus};
use patchadm_svr4::places;

/// Returns a plan that changes only the line of one link.
fn next() -> Plan {
    let line = ContentsLine::parse(b"/opt/web/also=bin/httpd l none ACMEweb").unwrap();
    let contents = BTreeMap::from([(at("/opt/web/also"), Some(Box::new(line)))]);
    Plan { contents, changes: Vec::new(), records: Vec::new(), undo: Vec::new(), ..World::new().plan() }
}

fn fits(world: &World) -> bool {
    let root = world.root(Door::default());
    let view = RecordView::live(&root);
    let file = view.open(&places::contents()).unwrap().unwrap();
    stamped::fitting(&view, &file).is_some()
}

fn contents(world: &World) -> String {
    std::fs::read_to_string(world.path("var/sadm/install/contents")).unwrap()
}

/// Returns what a reader outside the runs sees.
fn seen(world: &World) -> ContentsLines {
    let root = world.root(Door::default());
    read_consistently(&root, |view| lines_below(view, &[at("/opt")])).unwrap()
}

#[test]
fn a_run_leaves_a_stamp_and_the_next_one_goes_by_it() {
    let world = World::new();
    assert!(!fits(&world));
    world.run(Door::default()).unwrap();
    assert!(fits(&world));
    let first = contents(&world);
    world.run_plan(&next(), Door::default(), &|| None).unwrap();
    assert!(fits(&world));
    let link = "/opt/web/also=bin/httpd l none ACMEweb\n";
    assert_eq!(contents(&world), first.replacen("/opt/web/bin ", &format!("{link}/opt/web/bin "), 1));
    let root = world.root(Door::default());
    let paths = [at("/opt/web/bin/httpd")].into();
    let lines = crate::records::contents::lines_of_paths(&RecordView::live(&root), &paths).unwrap();
    let found: Vec<String> = lines.keys().map(ObjectPath::to_string).collect();
    assert_eq!(found, ["/opt/web/also", "/opt/web/bin/httpd"]);
}

#[test]
fn what_an_editor_wrote_is_merged_line_by_line() {
    let world = World::new();
    world.run(Door::default()).unwrap();
    let edited = contents(&world).replace("/opt/web/new d none 0755", "/opt/web/new d none 0700");
    std::fs::write(world.path("var/sadm/install/contents"), format!("/z p none 0600 a b ACMEweb\n{edited}"))
        .unwrap();
    assert!(!fits(&world));
    world.run_plan(&next(), Door::default(), &|| None).unwrap();
    assert!(fits(&world));
    assert!(
        contents(&world)
            .contains("/opt/web/new d none 0700 root root ACMEweb\n/z p none 0600 a b ACMEweb\n#")
    );
}

#[test]
fn stopped_anywhere_a_run_leaves_records_that_readers_see_whole_and_a_stamp_that_fits_after_recovery() {
    for ground in [Ground::Usual, Ground::NoExchange] {
        let (before, after) = {
            let world = World::new();
            world.run_plan(&ground.plan(&world), ground.open_door(), &|| None).unwrap();
            let before = seen(&world);
            world.run_plan(&next(), ground.open_door(), &|| None).unwrap();
            (before, seen(&world))
        };
        assert_ne!(before, after);
        for number in 0.. {
            let world = World::new();
            world.run_plan(&ground.plan(&world), ground.open_door(), &|| None).unwrap();
            let counter = AtomicUsize::new(0);
            let dies = move |_: &patchadm_rootfs::RootChange<'_>| {
                if counter.fetch_add(1, Ordering::Relaxed) < number { Ok(()) } else { Err(Errno::IO) }
            };
            let ended = world.run_plan(&next(), ground.door(dies), &|| None);
            let meanwhile = seen(&world);
            world.recover_with(ground.open_door());
            assert!(fits(&world), "{ground:?}: stopped at {number}");
            assert_eq!(seen(&world), meanwhile, "{ground:?}: stopped at {number}");
            assert!(meanwhile == before || meanwhile == after, "{ground:?}: stopped at {number}");
            if ended.is_ok_and(|receipt| receipt.notes.is_empty()) {
                assert!(number > 20, "only {number} changes: is the door passed?");
                break;
            }
        }
    }
}

#[test]
fn what_stands_in_the_place_of_a_stamp_is_replaced_and_not_followed_and_a_directory_stays() {
    let stamp = "var/sadm/patchadm/contents.stamp";
    for ground in Ground::ALL {
        for number in (0..).step_by(7) {
            let world = World::new();
            world.file("theirs", "theirs");
            std::fs::create_dir_all(world.path("var/sadm/patchadm")).unwrap();
            std::os::unix::fs::symlink("../../../theirs", world.path(stamp)).unwrap();
            let counter = AtomicUsize::new(0);
            let dies = move |_: &patchadm_rootfs::RootChange<'_>| {
                if counter.fetch_add(1, Ordering::Relaxed) < number { Ok(()) } else { Err(Errno::IO) }
            };
            let ended = world.run_plan(&ground.plan(&world), ground.door(dies), &|| None);
            world.recover_with(ground.open_door());
            assert!(fits(&world) || world.path(stamp).is_symlink(), "{ground:?}: stopped at {number}");
            assert_eq!(std::fs::read(world.path("theirs")).unwrap(), b"theirs", "{ground:?}: {number}");
            if ended.is_ok_and(|receipt| receipt.notes.is_empty()) {
                assert!(number > 20 && fits(&world), "{ground:?}: {number}");
                break;
            }
        }
    }
    let world = World::new();
    std::fs::create_dir_all(world.path(stamp)).unwrap();
    world.run(Door::default()).unwrap();
    assert!(world.path(stamp).is_dir(), "it stays, and stops nothing");
}

#[test]
fn a_mark_of_a_package_is_found_by_the_stamp_as_by_a_pass() {
    let world = World::new();
    world.run(Door::default()).unwrap();
    let root = world.root(Door::default());
    let view = RecordView::live(&root);
    let lines = lines_below(&view, &[at("/opt")]).unwrap();
    let owned = crate::records::contents::lines_of_package(&view, &package()).unwrap();
    assert!(lines.iter().all(|(path, line)| owned.get(path) == Some(line)));
    let none = crate::records::contents::paths_marked(&view, &package(), &[OwnerStatus::Pending]).unwrap();
    assert!(none.is_empty());
}
