//! Stories about modes, owners and capabilities that an administrator gave objects of an adopted package.

use std::collections::BTreeMap;

use super::apply::acme_web;
use super::world::World;
use super::{package, patch, path};
use patchadm_inputs::native::dpkg::StatOverrides;
use patchadm_inputs::native::{NATIVE_EDITED, edited_text};
use patchadm_inputs::policy::Edited;
use patchadm_rootfs::{CAPABILITY, Live};
use patchadm_svr4::package::Mode;

const HTTPD: &str = "/opt/web/bin/httpd";

/// The root of the other stories, with its package adopted from `manager`.
fn adopted(manager: &str) -> World {
    let mut world = acme_web();
    let installed = world.inventory.packages.get_mut(&package("ACMEweb")).unwrap();
    installed.params.set("PATCHADM_ADOPTED", manager);
    installed.params.set("NATIVE_VERSION", "1.0");
    world
}

fn live(world: &mut World) -> &mut Live {
    world.inventory.live.get_mut(&path(HTTPD)).unwrap()
}

fn mode(world: &World) -> u32 {
    world.inventory.live[&path(HTTPD)].mode.bits()
}

/// The program, 0755 of root and bin as it is installed, with other bytes and this mode.
fn fix(bits: &str) -> super::Parcel {
    patch("900-01", "").object("bin/httpd", &format!("f {bits} root bin"), Some("new httpd"), None)
}

#[test]
fn a_local_mode_that_the_patch_does_not_change_stays_for_every_manager_and_for_no_other_package() {
    for (mut world, left) in
        [(adopted("dpkg web:amd64"), 0o700), (adopted("rpm web"), 0o700), (acme_web(), 0o755)]
    {
        live(&mut world).mode = Mode::of(0o700);
        let plan = world.plan(&fix("0755")).unwrap();
        let says = plan
            .notes
            .iter()
            .any(|note| note.contains("keeps mode 0700, which was set locally in place of 0755"));
        assert_eq!(says, left == 0o700, "{:?}", plan.notes);
        assert_eq!(world.patchadd(&fix("0755")), 0);
        assert_eq!((world.read(HTTPD).as_deref(), mode(&world)), (Some("new httpd"), left));
        assert_eq!(world.patchrm("900-01"), 0);
        assert_eq!((world.read(HTTPD).as_deref(), mode(&world)), (Some("old httpd"), 0o700));
    }
}

#[test]
fn what_both_changed_is_refused_kept_or_replaced_by_the_choice_for_edited_files() {
    for (choice, left) in [(Edited::Stop, None), (Edited::Keep, Some(0o700)), (Edited::Replace, Some(0o711))]
    {
        let mut world = adopted("dpkg web:amd64");
        live(&mut world).mode = Mode::of(0o700);
        live(&mut world).uid = 7;
        world.options.edits.general = choice;
        let patch = patch("900-01", "").object("bin/httpd", "f 0711 web bin", Some("new httpd"), None);
        match left {
            None => {
                let why = world.plan(&patch).unwrap_err().why();
                let both = "/opt/web/bin/httpd (has mode 0700, and the patch has 0711), \
                            /opt/web/bin/httpd (has owner 7, and the patch has web)";
                assert!(why.contains(both), "{why}");
            }
            Some(left) => {
                assert_eq!(world.patchadd(&patch), 0);
                assert_eq!(mode(&world), left);
                assert_eq!(live(&mut world).uid == 7, left == 0o700);
                assert_eq!(world.patchrm("900-01"), 0);
                assert_eq!((mode(&world), live(&mut world).uid), (0o700, 7));
            }
        }
    }
}

#[test]
fn an_attribute_that_was_set_since_the_patch_stays_and_one_that_was_not_comes_back() {
    let mut world = adopted("dpkg web:amd64");
    assert_eq!(world.patchadd(&fix("0711")), 0);
    live(&mut world).gid = 3;
    let plan = world.plan_removal("900-01").unwrap();
    assert!(plan.notes.iter().any(|note| note.ends_with("keeps group sys, set since 900-01 was applied")));
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!((mode(&world), live(&mut world).gid), (0o755, 3));
}

#[test]
fn an_override_counts_whatever_patch_and_undo_data_say() {
    let mut world = adopted("dpkg web:amd64");
    world.inventory.overrides = StatOverrides::parse(b"web sys 4750 /opt/web/bin/httpd\n").unwrap();
    let plan = world.plan(&fix("0755")).unwrap();
    let note = "has mode 4750, owner web and group sys by dpkg-statoverride of /opt/web/bin/httpd, regardless of the patch";
    assert!(plan.notes.iter().any(|one| one.ends_with(note)), "{:?}", plan.notes);
    assert_eq!(world.patchadd(&fix("0755")), 0);
    let of = |world: &mut World| (live(world).mode.bits(), live(world).uid, live(world).gid);
    assert_eq!(of(&mut world), (0o4750, 80, 3));
    assert!(world.line(HTTPD).unwrap().contains(" 4750 web sys "));
    world.inventory.overrides = StatOverrides::parse(b"#0 #2 0500 /opt/web/bin/httpd\n").unwrap();
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!(of(&mut world), (0o500, 0, 2));
    let mut of_rpm = adopted("rpm web");
    of_rpm.inventory.overrides = StatOverrides::parse(b"web sys 4750 /opt/web/bin/httpd\n").unwrap();
    assert_eq!(of_rpm.patchadd(&fix("0755")), 0);
    assert_eq!(mode(&of_rpm), 0o755);
}

#[test]
fn an_override_of_an_account_that_is_not_there_is_refused_before_any_change() {
    let mut world = adopted("dpkg web:amd64");
    world.inventory.overrides = StatOverrides::parse(b"nobody sys 0755 /opt/web/bin/httpd\n").unwrap();
    let why = world.plan(&fix("0755")).unwrap_err().why();
    assert!(why.contains(HTTPD) && why.contains("nobody"), "{why}");
}

#[test]
fn file_capabilities_go_with_the_new_bytes_and_come_back_with_the_old_ones() {
    let mut world = adopted("dpkg web:amd64");
    live(&mut world).xattrs.insert(CAPABILITY.to_vec(), vec![1]);
    assert_eq!(world.patchadd(&fix("0755")), 0);
    assert_eq!(live(&mut world).xattrs.get(CAPABILITY), Some(&vec![1]));
    live(&mut world).xattrs.insert(CAPABILITY.to_vec(), vec![2]);
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!(
        (world.read(HTTPD).as_deref(), live(&mut world).xattrs.get(CAPABILITY)),
        (Some("old httpd"), Some(&vec![2]))
    );
}

#[test]
fn a_file_that_was_edited_before_its_package_was_registered_is_edited_until_a_patch_replaces_it() {
    let mut world = adopted("dpkg web:amd64");
    let content = world.inventory.lines[&path(HTTPD)].object.content;
    let edited = edited_text(&BTreeMap::from([(path(HTTPD), content)]));
    world.inventory.packages.get_mut(&package("ACMEweb")).unwrap().params.set(NATIVE_EDITED, edited);
    let of = |id: &str, text: &str| patch(id, "").object("bin/httpd", "f 0755 root bin", Some(text), None);
    let stops = |world: &mut World, id: &str| {
        let why = world.plan(&of(id, "newer")).unwrap_err().why();
        assert_eq!(why, "modified locally: /opt/web/bin/httpd");
    };
    stops(&mut world, "900-01");
    world.options.edits.general = Edited::Keep;
    assert_eq!(world.patchadd(&of("900-01", "new httpd")), 0);
    assert_eq!(world.read(HTTPD).as_deref(), Some("old httpd"));
    world.options.edits.general = Edited::Stop;
    stops(&mut world, "901-01");
    world.options.edits.general = Edited::Replace;
    assert_eq!(world.patchadd(&of("901-01", "newer")), 0);
    assert_eq!(world.read(HTTPD).as_deref(), Some("newer"));
    world.options.edits.general = Edited::Stop;
    world.plan(&of("902-01", "newest")).unwrap();
    assert_eq!(world.patchrm("901-01"), 0);
    assert_eq!(world.read(HTTPD).as_deref(), Some("old httpd"));
    stops(&mut world, "902-01");
}
