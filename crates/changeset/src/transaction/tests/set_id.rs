//! A kept name of a set-id program that a run replaced gives its holder no access.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::io::Errno;

use super::world::World;
use crate::plan::Action;
use patchadm_rootfs::{ChangeCall, Door};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Returns a world whose `httpd`, 4755, has another name elsewhere.
fn with_link(name: &str) -> World {
    let world = World::new();
    fs::hard_link(world.path("opt/web/bin/httpd"), world.path(name)).unwrap();
    world
}

#[test]
fn the_old_inode_of_a_replaced_program_loses_its_bits_although_somebody_keeps_a_link_to_it() {
    let world = with_link("opt/theirs");
    world.run(Door::default()).unwrap();
    assert_eq!(mode(&world.path("opt/theirs")), 0o755);
    assert_eq!(fs::read_to_string(world.path("opt/theirs")).unwrap(), "old httpd");
}

#[test]
fn it_keeps_them_where_another_of_its_names_is_recorded() {
    let world = with_link("opt/web/recorded");
    let contents = world.path("var/sadm/install/contents");
    let text = fs::read_to_string(&contents).unwrap();
    let line = "/opt/web/recorded=bin/httpd l none ACMEweb\n";
    fs::write(contents, text.replace("# Last", &format!("{line}# Last"))).unwrap();
    world.run(Door::default()).unwrap();
    assert_eq!(mode(&world.path("opt/web/recorded")), 0o4755);
}

#[test]
fn a_file_capability_counts_as_such_a_bit() {
    if !rustix::process::geteuid().is_root() {
        return crate::skipped("a file capability: only root sets one");
    }
    // CAP_NET_BIND_SERVICE, effective and permitted (VFS_CAP_REVISION_2).
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let world = with_link("opt/theirs");
    let (name, flags) = ("security.capability", rustix::fs::XattrFlags::empty());
    fs::set_permissions(world.path("opt/theirs"), fs::Permissions::from_mode(0o755)).unwrap();
    rustix::fs::setxattr(world.path("opt/theirs"), name, &capability, flags).unwrap();
    world.run(Door::default()).unwrap();
    let mut value = [0u8; 64];
    let left = rustix::fs::getxattr(world.path("opt/theirs"), name, &mut value[..]);
    assert_eq!(left, Err(Errno::NODATA));
}

#[test]
fn a_bit_that_somebody_gave_the_old_program_during_the_run_goes_too() {
    let world = with_link("opt/theirs");
    let theirs = world.path("opt/theirs");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o755)).unwrap();
    // Everything is laid out and saved by then; the switch is next.
    let given = theirs.clone();
    let door = Door::watched(move |step| {
        if super::world::publishes(step) {
            fs::set_permissions(&given, fs::Permissions::from_mode(0o4755)).unwrap();
        }
        Ok(())
    });
    world.run(door).unwrap();
    assert_eq!(mode(&theirs), 0o755);
    assert_eq!(fs::read_to_string(theirs).unwrap(), "old httpd");
}

#[test]
fn after_a_rollback_the_new_program_loses_its_bits_and_the_old_one_has_them_again() {
    let world = World::new();
    let mut plan = world.plan();
    for change in &mut plan.changes {
        if let (true, Action::Replace(new)) = (change.path.name() == b"httpd", &mut change.action) {
            new.mode = patchadm_svr4::package::Mode::of(0o4711);
        }
    }
    // Another user links the new program while it is in its place; then the deletion fails.
    let (live, theirs) = (world.path("opt/web/bin/httpd"), world.path("opt/theirs"));
    let door = Door::watched(move |step| {
        let deletes = step.call == ChangeCall::Move && step.path.name() == b"gone";
        if deletes && fs::metadata(&live).unwrap().mode() & 0o7777 == 0o4711 {
            fs::hard_link(&live, &theirs).unwrap();
            return Err(Errno::IO);
        }
        Ok(())
    });
    world.run_plan(&plan, door, &|| None).unwrap_err();
    assert_eq!(mode(&world.path("opt/theirs")), 0o711);
    assert_eq!(mode(&world.path("opt/web/bin/httpd")), 0o4755);
}

#[test]
fn after_a_rollback_a_live_program_that_was_linked_to_keeps_its_bits() {
    let world = World::new();
    let mut plan = world.plan();
    for change in &mut plan.changes {
        if let (true, Action::Add(new)) = (change.path.name() == b"httpd2", &mut change.action) {
            new.body = crate::plan::Body::Link(super::world::at("/opt/web/staying"));
            new.mode = patchadm_svr4::package::Mode::of(0o4755);
        }
    }
    plan.changes.retain(|change| change.path.name() != b"staying");
    let before = world.picture();
    let door = Door::watched(|step| {
        if step.call == ChangeCall::Move && step.path.name() == b"gone" { Err(Errno::IO) } else { Ok(()) }
    });
    world.run_plan(&plan, door, &|| None).unwrap_err();
    assert_eq!(world.picture(), before);
}
