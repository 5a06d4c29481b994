//! The rules of patchadd(1M) and patchrm(1M): worked examples line by line, and each refusal with its code
//! and words.

use super::apply::{acme_web, actions};
use super::world::regular;
use super::*;
use crate::plan::refusal::{Command, Reason, Refusal, Wording};
use crate::plan::rights::grants;
use patchadm_inputs::policy::Edited;
use patchadm_rootfs::LiveKind;
use patchadm_svr4::package::Mode;

fn saves(world: &World, id: &str) -> (Option<String>, Option<String>) {
    let save = &world.inventory.packages[&package("ACMEweb")].saves[id];
    let by = save.obsoleted_by.as_ref().map(|bytes| String::from_utf8(bytes.clone()).unwrap());
    (save.archive.clone(), by)
}

fn some(archive: &str, by: Option<&str>) -> (Option<String>, Option<String>) {
    (Some(archive.to_owned()), by.map(str::to_owned))
}

#[test]
fn example_a_a_later_revision_supersedes() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("105181-03", "").file("bin/httpd", "three")), 0);
    let five = patch("105181-05", "").file("bin/httpd", "five");
    assert_eq!(world.patchadd(&five), 0);
    assert_eq!(world.param("ACMEweb", "PATCHLIST"), "105181-03 105181-05");
    assert_eq!(saves(&world, "105181-03"), some("obsolete.gz", Some("105181-05\n")));
    assert_eq!(saves(&world, "105181-05"), some("undo.gz", None));
    let four = world.plan(&patch("105181-04", "").file("bin/httpd", "four")).unwrap_err();
    assert_eq!(four.code(), 35);
    assert_eq!(four.classic(), "A later version of 105181-04 has already been installed");
    assert_eq!(world.patchrm("105181-03"), 6);
    assert_eq!(world.patchrm("105181-05"), 0);
    assert_eq!(saves(&world, "105181-03"), some("undo.gz", None));
    assert_eq!(world.patchadd(&five), 0);
    assert_eq!(world.patchadd(&five), 2);
}

#[test]
fn example_b_a_package_that_comes_later_is_patched_alone() {
    let both = Parcel::empty("900-01")
        .package("ACMEa", "SUNW_PATCHID=900-01")
        .file("x", "new a")
        .package("ACMEb", "SUNW_PATCHID=900-01")
        .file("x", "new b");
    let base = |name: &str| Parcel::empty("base").package(name, "").file("x", "old");
    let mut world = World::new().with(&base("ACMEa"));
    assert_eq!(world.patchadd(&both), 0);
    assert_eq!(world.param("ACMEa", "PATCHLIST"), "900-01");
    let mut world = world.with(&base("ACMEb"));
    let plan = world.plan(&both).unwrap();
    assert_eq!(plan.packages, [package("ACMEb")]);
    world.carry_out(&plan, &both);
    assert_eq!(world.param("ACMEb", "PATCHLIST"), "900-01");
    assert_eq!(world.patchadd(&both), 2);
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!((world.read("/opt/a/x"), world.read("/opt/b/x")), (Some("old".into()), Some("old".into())));
}

#[test]
fn example_c_an_obsoleting_patch_meets_a_requirement() {
    let needs = patch("700-02", "SUNW_REQUIRES=650-03").file("share/n", "n");
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("680-01", "SUNW_OBSOLETES=650-04").file("share/o", "o")), 0);
    assert_eq!(world.patchadd(&needs), 0);
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("680-01", "SUNW_OBSOLETES=650-02").file("share/o", "o")), 0);
    let refusal = world.plan(&needs).unwrap_err();
    assert_eq!(refusal.code(), 25);
    assert_eq!(refusal.classic(), "Patch 700-02 requires patch 650-03 or later, which is not applied.");
    assert_eq!(refusal.hint(&Wording::default()), "apply patch 650-03 first, or apply both in one command");
    world.options.not_applicable.push(id("650-03"));
    let plan = world.plan(&needs).unwrap();
    assert_eq!(plan.notes, ["required patch 650-03 is not applicable to this root"]);
}

#[test]
fn example_d_a_restricted_patch_keeps_others_out() {
    let mut world = acme_web();
    let idr = patch("IDR148363-26", "SUNW_INCOMPAT=147441-27").file("bin/httpd", "relief");
    world.options.no_undo = true;
    let plan = world.plan(&idr).unwrap();
    assert_eq!((plan.undo.len(), plan.notes.len()), (1, 1), "-d is ignored and said");
    world.carry_out(&plan, &idr);
    world.options.no_undo = false;
    let ordinary = patch("147441-27", "").file("bin/httpd", "fixed");
    let refusal = world.plan(&ordinary).unwrap_err();
    assert_eq!(refusal.code(), 23);
    assert_eq!(
        refusal.classic(),
        "Patch 147441-27 cannot be applied until restricted patch IDR148363-26 is backed out (package ACMEweb)."
    );
    assert_eq!(world.patchrm("IDR148363-26"), 0);
    assert_eq!(world.patchadd(&ordinary), 0);
}

#[test]
fn example_e_a_patch_that_is_needed_stays() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("650-03", "").file("share/n", "n")), 0);
    assert_eq!(world.patchadd(&patch("700-02", "SUNW_REQUIRES=650-03").file("share/m", "m")), 0);
    let refusal = world.plan_removal("650-03").unwrap_err();
    assert_eq!((refusal.code(), refusal.why().as_str()), (15, "applied patch 700-02 requires 650-03"));
    assert_eq!(world.patchrm("700-02"), 0);
    assert_eq!(world.patchrm("650-03"), 0);
}

#[test]
fn example_f_leading_zeros_are_the_same_patch() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("105181-5", "").file("bin/httpd", "five")), 0);
    let refusal = world.plan(&patch("105181-05", "").file("bin/httpd", "five")).unwrap_err();
    assert_eq!(refusal.code(), 2);
    assert_eq!(refusal.classic(), "Patch 105181-05 has already been applied.");
}

#[test]
fn obsoletions_are_counted_up_and_down() {
    let mut world = acme_web();
    let list =
        |world: &World| (world.param("ACMEweb", "PATCHLIST"), world.param("ACMEweb", "PATCH_OBSOLETES"));
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(world.patchadd(&patch("100-01", "").file("share/1", "1")), 0);
    assert_eq!(list(&world), pair("100-01", ""));
    assert_eq!(world.patchadd(&patch("200-01", "SUNW_OBSOLETES=100-01,101-03").file("share/2", "2")), 0);
    assert_eq!(list(&world), pair("100-01 200-01", "100-01@1 101-03@1"));
    assert_eq!(world.patchadd(&patch("300-02", "SUNW_OBSOLETES=100-01,200-01").file("share/3", "3")), 0);
    assert_eq!(list(&world), pair("100-01 200-01 300-02", "100-01@2 101-03@1 200-01@1"));
    assert_eq!(saves(&world, "100-01"), some("obsolete.gz", Some("200-01\n300-02\n")));
    assert_eq!(world.patchrm("300-02"), 0);
    assert_eq!(list(&world), pair("100-01 200-01", "100-01@1 101-03@1"));
    assert_eq!(saves(&world, "100-01"), some("obsolete.gz", Some("200-01\n")));
    assert_eq!(world.param("ACMEweb", "PATCH_INFO_300-02"), "backed out");
    assert_eq!(world.patchrm("200-01"), 0);
    assert_eq!(list(&world), pair("100-01", ""));
    assert_eq!(saves(&world, "100-01"), some("undo.gz", None));
}

#[test]
fn an_obsoleted_patch_stays_out() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("200-01", "SUNW_OBSOLETES=100-03").file("share/2", "2")), 0);
    let refusal = world.plan(&patch("100-02", "").file("share/1", "1")).unwrap_err();
    assert_eq!(refusal.code(), 6);
    assert_eq!(
        refusal.classic(),
        "This patch is obsoleted by patch 200-01 which has already\nbeen applied to this system."
    );
}

#[test]
fn incompatibility_holds_in_both_directions() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("650-03", "SUNW_INCOMPAT=800-01").file("share/1", "1")), 0);
    let refusal = world.plan(&patch("800-01", "").file("share/2", "2")).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.classic().as_str()),
        (24, "Patch 800-01 is incompatible with applied patch 650-03.")
    );
    assert_eq!(world.patchadd(&patch("700-01", "SUNW_INCOMPAT=650-03").file("share/2", "2")), 24);
    assert_eq!(world.patchadd(&patch("700-01", "SUNW_INCOMPAT=650-02").file("share/2", "2")), 0);
}

/// Changes the root, tries to apply the patch, and returns the exit code and the reason of the refusal.
fn refused(parcel: &Parcel, change: impl FnOnce(&mut World)) -> (u8, Refusal) {
    let mut world = acme_web();
    change(&mut world);
    let refusal = world.plan(parcel).unwrap_err();
    assert!(!refusal.why().is_empty(), "{refusal:?}");
    (refusal.code(), refusal)
}

#[test]
fn what_is_not_one_patch_for_an_installed_package_is_refused() {
    let file = |parcel: Parcel| parcel.file("bin/httpd", "new");
    assert_eq!(refused(&file(patch("nonsense", "")), |_| ()).0, 29);
    assert_eq!(refused(&file(patch("900-01", "Patch_label=901-01")), |_| ()).0, 33);
    let two = file(patch("900-01", "")).package("ACMEdoc", "SUNW_PATCHID=901-01");
    assert_eq!(refused(&two, |_| ()).0, 33);
    assert_eq!(refused(&Parcel::empty("x").package("ACMEweb", ""), |_| ()).0, 33);
    assert_eq!(refused(&file(patch("900-01", "SUNW_OBSOLETES=junk")), |_| ()).0, 28);
    let (code, refusal) = refused(&file(patch("900-01", "VERSION=2.0")), |_| ());
    assert_eq!(code, 8);
    assert_eq!(
        refusal.why(),
        "none of its packages is installed in the required version and architecture: ACMEweb (i386) 2.0 \
         (installed: ACMEweb (i386) 1.0)"
    );
    assert_eq!(
        refused(&file(patch("900-01", "")), |world| world.policy.exclude.push("900".to_owned())).0,
        10
    );
}

#[test]
fn wishes_that_cannot_be_met_are_refused() {
    let new = || patch("900-01", "").file("bin/httpd", "new");
    assert_eq!(refused(&new(), |world| world.options.undo_dir = Some("relative".into())).0, 37);
    let (code, refusal) = refused(&patch("900-01", "SUNW_PKG_HOLLOW=true").file("bin/httpd", "new"), |_| ());
    assert_eq!((code, matches!(*refusal.reason, Reason::Zone { .. })), (10, true));
    let (code, refusal) =
        refused(&patch("900-01", "SUNW_PATCH_PROPERTIES=interactive").file("x", "x"), |_| ());
    assert_eq!((code, *refusal.reason), (10, Reason::Interactive));
    let (code, refusal) = refused(&new(), |world| {
        let saves = &mut world.inventory.packages.get_mut(&package("ACMEweb")).unwrap().saves;
        saves.insert("900-01".to_owned(), patchadm_inputs::inventory::Save::default());
    });
    assert_eq!(
        (code, refusal.hint(&Wording::default()).as_str()),
        (4, "move /var/sadm/pkg/ACMEweb/save/900-01 away")
    );
}

#[test]
fn undo_data_is_kept_for_all_packages_of_a_patch_or_for_none() {
    let both = Parcel::empty("900-01")
        .package("ACMEa", "SUNW_PATCHID=900-01")
        .file("x", "new a")
        .package("ACMEb", "SUNW_PATCHID=900-01")
        .file("x", "new b");
    let base = |name: &str| Parcel::empty("base").package(name, "").file("x", "old");
    let mut world = World::new().with(&base("ACMEa"));
    assert_eq!(world.patchadd(&both), 0);
    let mut world = world.with(&base("ACMEb"));
    world.options.no_undo = true;
    let refusal = world.plan(&both).unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.hint(&Wording::default()).as_str()),
        (17, "leave out `--no-undo`, as before")
    );
}

#[test]
fn a_class_that_is_not_among_the_classes_is_not_installed() {
    let mut world = acme_web();
    let mut odd = patch("900-01", "").file("bin/httpd", "new").file("bin/other", "x");
    odd.image.packages[0].pkgmap.entries[1].object.class = "elsewhere".into();
    let plan = world.plan(&odd).unwrap();
    assert_eq!(actions(&plan), ["replace /opt/web/bin/httpd"]);
}

#[test]
fn a_backout_needs_an_applied_patch_with_undo_data() {
    let mut world = acme_web();
    assert_eq!(world.patchrm("900-01"), 2);
    world.options.no_undo = true;
    assert_eq!(world.patchadd(&patch("900-01", "").file("bin/httpd", "new")), 0);
    assert_eq!(world.patchrm("900-01"), 4);
}

#[test]
fn a_path_that_a_later_patch_changed_is_not_touched_where_nobody_knows_what_that_one_did() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("900-01", "").file("bin/httpd", "one")), 0);
    assert_eq!(world.patchadd(&patch("901-01", "").file("bin/httpd", "two")), 0);
    world.force = true;
    let refusal = world.plan_removal("900-01").unwrap_err();
    assert_eq!(refusal.code(), 6);
    assert_eq!(
        refusal.why(),
        "patch 901-01, which was applied later, also changes /opt/web/bin/httpd: its undo data was not made by this program"
    );
}

#[test]
fn a_patch_that_comes_back_in_another_spelling_can_be_backed_out() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("105181-5", "").file("bin/httpd", "five")), 0);
    assert_eq!(world.patchrm("105181-5"), 0);
    assert_eq!(world.patchadd(&patch("105181-05", "").file("bin/httpd", "five")), 0);
    assert_eq!(world.param("ACMEweb", "PATCHLIST"), "105181-5");
    assert!(world.plan_removal("105181-5").is_err(), "the story keeps archives by their names");
    assert_eq!(world.patchrm("105181-05"), 0);
    assert!(world.inventory.packages[&package("ACMEweb")].saves.is_empty());
}

#[test]
fn a_later_manifest_takes_over_a_path_whose_line_did_not_change() {
    let mut world = acme_web();
    assert_eq!(world.patchadd(&patch("900-01", "").file("bin/httpd", "limit=12")), 0);
    assert_eq!(world.patchadd(&patch("901-01", "").file("bin/httpd", "limit=21")), 0);
    let key = (package("ACMEweb"), "901-01".to_owned());
    world.removal.later.insert(key.clone(), world.archives[&key].manifest.clone());
    assert_eq!(world.patchrm("900-01"), 0);
    assert_eq!(world.read("/opt/web/bin/httpd").as_deref(), Some("limit=21"));
    let saved = &world.archives[&key];
    assert_eq!(saved.bytes.values().map(Vec::len).collect::<Vec<_>>(), ["old httpd".len()]);
}

#[test]
fn without_privileges_nothing_is_renamed_where_the_owner_may_not_write() {
    let mut world = acme_web();
    world.inventory.privileged = false;
    world.inventory.caller = (1000, 1000);
    for live in world.inventory.live.values_mut() {
        (live.uid, live.gid) = (1000, 1000);
    }
    let closed = patch("900-01", "").object("closed", "d 0555 root bin", None, None);
    assert!(
        world
            .plan(&closed)
            .unwrap_err()
            .why()
            .ends_with("only root can make a directory that its owner cannot write to")
    );
    world.inventory.live.get_mut(&path("/opt/web/bin")).unwrap().mode = Mode::of(0o555);
    let inside = patch("900-01", "").file("bin/httpd", "new");
    assert!(world.plan(&inside).unwrap_err().why().ends_with("/opt/web/bin is not writable by its owner"));
    world.inventory.privileged = true;
    assert!(world.plan(&inside).is_ok());
}

#[test]
fn without_privileges_nothing_goes_in_that_would_take_what_only_root_can_bring_back() {
    let device = LiveKind::Device { block: false, major: 1, minor: 3 };
    let program = regular(b"program");
    let cases =
        [(device, 0o666, "a device"), (program, 0o4755, "a program that runs as another user or group")];
    for (kind, mode, what) in cases {
        let mut world = acme_web().unprivileged();
        world.put("/opt/web/bin/rootly", kind, mode);
        world.bytes.insert(path("/opt/web/bin/rootly"), b"program".to_vec());
        let live = world.inventory.live.get_mut(&path("/opt/web/bin/rootly")).unwrap();
        (live.uid, live.gid) = (0, 0);
        world.options.edits.general = Edited::Replace;
        let patch = patch("900-01", "").file("bin/rootly", "new");
        let refusal = world.plan(&patch).unwrap_err();
        assert_eq!(refusal.code(), 10, "{refusal}");
        assert!(refusal.why().ends_with(&format!("only root can make {what}")), "{refusal}");
        assert!(refusal.why().contains("could not be removed afterwards"), "{refusal}");
        world.inventory.privileged = true;
        assert!(world.plan(&patch).is_ok());
    }
}

#[test]
fn what_scripts_cannot_do_is_done_natively_or_by_a_patch_that_is_made_anew() {
    for (by_choice, advice) in
        [(true, "use `--scripts native`"), (false, "ask the vendor for a rebuilt patch")]
    {
        let reason =
            Reason::BeyondScripts { what: "/opt/a b has white space in its name".to_owned(), by_choice };
        let hint = reason.of(Command::Patchadd, &"900-01").hint(&Wording::default());
        assert!(hint.contains(advice), "{hint}");
    }
}

#[test]
fn records_that_nobody_could_read_again_are_refused() {
    let mut world = acme_web();
    let ids: Vec<String> = (100_000..200_000).map(|number| format!("{number}-01")).collect();
    let patch = patch("900-01", "").says("SUNW_OBSOLETES", &ids.join(" ")).file("new", "x");
    let refusal = world.plan(&patch).unwrap_err();
    assert_eq!(refusal.code(), 28);
    assert!(refusal.why().contains("with the new records in it"), "{refusal}");
}

#[test]
fn set_id_programs_and_devices_that_are_new_or_change_are_listed_and_nothing_else() {
    let base = Parcel::empty("base").package("ACMEweb", "BASEDIR=/opt/web").object(
        "changed",
        "f 0755 root root",
        Some("one"),
        None,
    );
    let mut world = World::new().with(&base);
    let earlier = patch("800-01", "").object("old", "f 4755 root root", Some("stays"), None).object(
        "lost",
        "f 4755 root root",
        Some("one"),
        None,
    );
    assert_eq!(world.patchadd(&earlier), 0);
    let patch = patch("900-01", "")
        .object("old", "f 4755 root root", Some("stays"), None)
        .object("changed", "f 2755 root sys", Some("one"), None)
        .object("lost", "f 0755 root root", Some("one"), None)
        .object("new", "f 6755 root bin", Some("new"), None)
        .object("dir", "d 2775 root root", None, None)
        .object("plain", "f 0644 root root", Some("plain"), None);
    let plan = world.plan(&patch).unwrap();
    let said: Vec<String> = grants(&plan)
        .iter()
        .map(|grant| format!("{} {} {} {} {}", grant.path, grant.kind, grant.mode, grant.owner, grant.group))
        .collect();
    assert_eq!(
        said,
        ["/opt/web/changed setgid 2755 root sys", "/opt/web/new setuid and setgid 6755 root bin"]
    );
}
