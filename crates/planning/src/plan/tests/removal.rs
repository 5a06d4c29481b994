//! Removing packages: the order of classes, and the course of a removal with scripts.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::actions;
use super::world::now;
use super::*;
use crate::plan::RecordChange;
use crate::plan::package::remove::{Fate, IntendedRemoval, RemovalPortion, RemoveOptions, remove};
use crate::plan::refusal::Refusal;
use crate::plan::script_schedule::ScriptSchedule;
use crate::plan::script_schedule::steps::PackageStep;
use crate::plan::scripts::{Deliverer, SystemScripts};
use patchadm_changeset::RecordFile;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_rootfs::Timestamp;
use patchadm_svr4::format::admin::{Admin, CheckAnswer};
use patchadm_svr4::package::{Mode, OwningPackage};

/// Returns a root on which the package is installed, with these scripts for its removal.
fn world(parcel: &Parcel, scripts: &[&str]) -> World {
    let mut world = World::new().with(parcel);
    let records = &mut world.inventory.packages.get_mut(&package("ACMEweb")).unwrap().records;
    for script in scripts {
        let file = RecordFile {
            bytes: b"exit 0\n".to_vec().into(),
            mode: Mode::of(0o644),
            mtime: Timestamp::whole(1),
        };
        records.insert(format!("install/{script}").into_bytes(), file);
    }
    world
}

fn planned(world: &World, scripts: ScriptPolicy, action: CheckAnswer) -> Result<IntendedRemoval, Refusal> {
    let standard = BTreeSet::from(["r.build".to_owned(), "r.late".to_owned()]);
    let system = SystemScripts { standard, ..SystemScripts::default() };
    let admin = Admin { action, ..Admin::delivered() };
    let options = RemoveOptions { admin: &admin, conversation: false, system: &system, scripts };
    remove(&package("ACMEweb"), &world.inventory, &options, &now())
}

fn intended(world: &World) -> IntendedRemoval {
    planned(world, ScriptPolicy::Run, CheckAnswer::NoCheck).unwrap()
}

fn course(world: &World) -> ScriptSchedule {
    ScriptSchedule::of_removal(&intended(world), &world.inventory).unwrap()
}

/// Returns each step in a line.
fn told(course: &ScriptSchedule) -> Vec<String> {
    let step = |step: &PackageStep| match step {
        PackageStep::Records(_) => "records".to_owned(),
        PackageStep::Procedure(name) => (*name).to_owned(),
        PackageStep::Remove(plan, _) => actions(plan).join(", "),
        PackageStep::RemoveClass(portion) => {
            let listed: Vec<String> = portion.listed().map(ToString::to_string).collect();
            format!("r.{} of {:?}: {}", portion.class, portion.deliverer.unwrap(), listed.join(" "))
        }
        other => panic!("{other:?}"),
    };
    course.steps.iter().map(step).collect()
}

fn classes(portions: &[RemovalPortion]) -> Vec<String> {
    let paths = |portion: &RemovalPortion| {
        let paths = portion.objects.iter().map(|going| going.path.to_string());
        paths.collect::<Vec<_>>().join(" ")
    };
    portions.iter().map(|portion| format!("{}: {}", portion.class, paths(portion))).collect()
}

/// Classes none, build (scripted by the system), mine, more.
fn base() -> Parcel {
    Parcel::empty("base")
        .package("ACMEweb", "BASEDIR=/opt/web CLASSES=none,build,mine,more")
        .directory("bin")
        .file("bin/httpd", "httpd")
        .directory("mine")
        .file("mine/a", "a")
        .of_class("mine")
        .file("mine/b", "b")
        .of_class("mine")
        .object("bin/conf", "e 0644 root sys", Some("port=80\n"), None)
        .of_class("build")
        .file("z", "z")
        .of_class("more")
}

#[test]
fn classes_go_against_their_order_and_their_scripts_between_them() {
    let world = world(&base(), &["preremove", "r.mine", "postremove"]);
    assert_eq!(
        told(&course(&world)),
        [
            "records",
            "preremove",
            "delete /opt/web/z",
            "r.mine of Package: /opt/web/mine/b /opt/web/mine/a",
            "r.build of Standard: /opt/web/bin/conf",
            "rmdir /opt/web, rmdir /opt/web/bin, delete /opt/web/bin/httpd, rmdir /opt/web/mine",
            "postremove"
        ]
    );
}

#[test]
fn a_script_of_the_package_always_runs_and_one_of_the_system_where_there_is_something_to_remove() {
    let parcel = Parcel::empty("base").package("ACMEweb", "BASEDIR=/opt/web CLASSES=none,mine,build");
    let world = world(&parcel.file("a", "a"), &["r.mine"]);
    let scripts = intended(&world).scripts;
    assert_eq!(scripts.classes.into_iter().collect::<Vec<_>>(), [("mine".to_owned(), Deliverer::Package)]);
}

#[test]
fn a_directory_waits_for_what_is_in_it_and_is_not_given_to_a_foreign_script() {
    let parcel = Parcel::empty("base")
        .package("ACMEweb", "BASEDIR=/opt/web CLASSES=mine,outer")
        .directory("bin")
        .of_class("outer")
        .file("bin/a", "a")
        .of_class("mine");
    let plain = world(&parcel, &[]);
    assert_eq!(
        classes(&intended(&plain).portions),
        ["outer: ", "mine: /opt/web/bin/a /opt/web/bin", "none: /opt/web"],
        "the engine removes it with the class that is in it"
    );
    let scripted = world(&parcel, &["r.mine"]);
    assert_eq!(
        classes(&intended(&scripted).portions),
        ["outer: ", "mine: /opt/web/bin/a", "none: /opt/web/bin /opt/web"]
    );
}

#[test]
fn a_class_that_is_not_named_comes_last() {
    let mut world = world(&base(), &[]);
    let installed = world.inventory.packages.get_mut(&package("ACMEweb")).unwrap();
    installed.params.set("CLASSES", b"more none");
    let order: Vec<String> =
        intended(&world).portions.into_iter().map(|portion| portion.class).take(4).collect();
    assert_eq!(order, ["none", "more", "build", "mine"]);
}

#[test]
fn what_others_own_too_stays_and_only_what_is_edited_is_given_to_a_script() {
    let mut world = world(&base(), &["r.mine"]);
    for at in ["/opt/web/mine/a", "/opt/web/bin/conf", "/opt/web/bin"] {
        let line = world.inventory.lines.get_mut(&path(at)).unwrap();
        line.owners.push(OwningPackage::new(package("ACMEshr")));
    }
    let portions = intended(&world).portions;
    let fate = |at: &str| {
        let all = portions.iter().flat_map(|portion| &portion.objects);
        all.clone().find(|going| going.path == path(at)).unwrap().fate
    };
    assert_eq!(fate("/opt/web/mine/a"), Fate::Shared);
    assert_eq!(fate("/opt/web/bin/conf"), Fate::SharedEditable);
    assert_eq!(fate("/opt/web/bin"), Fate::Shared);
    assert_eq!(fate("/opt/web/mine/b"), Fate::Goes);
    let told = told(&course(&world));
    assert!(told.contains(&"r.build of Standard: /opt/web/bin/conf".to_owned()), "{told:?}");
    assert!(told.contains(&"r.mine of Package: /opt/web/mine/b".to_owned()), "{told:?}");
}

#[test]
fn scripts_see_marked_lines_and_a_lock_and_the_last_step_takes_the_package_away() {
    let world = world(&base(), &["preremove"]);
    let course = course(&world);
    let Some(PackageStep::Records(opening)) = course.steps.first() else { panic!() };
    assert_eq!(opening.contents.len(), world.inventory.lines.len());
    for line in opening.contents.values().flatten() {
        let line = String::from_utf8(line.write()).unwrap();
        assert!(line.ends_with(" -ACMEweb"), "{line}");
    }
    let [RecordChange::Write { path: lock, .. }] = opening.records.as_slice() else { panic!() };
    assert_eq!(lock, &path("/var/sadm/pkg/ACMEweb/!R-Lock!"));
    let closing = course.close(&BTreeMap::new(), &BTreeMap::new(), None, |_| false);
    assert!(closing.contents.values().all(Option::is_none));
    let [RecordChange::RemoveTree(tree), RecordChange::Ledger(ledger)] = closing.records.as_slice() else {
        panic!()
    };
    assert!(course.concerned.files.contains(&ledger.path));
    assert_eq!(course.concerned.trees, std::slice::from_ref(tree));
    let held: Vec<&ObjectPath> = course.concerned.objects.keys().collect();
    assert_eq!(held, world.inventory.lines.keys().collect::<Vec<_>>());
    assert!(course.concerned.objects[&path("/opt/web/bin/conf")], "it is meant to be edited");
}

#[test]
fn the_admin_file_and_the_policy_decide_about_scripts() {
    let scripted = world(&base(), &["postremove"]);
    let code =
        |policy, action| planned(&scripted, policy, action).map(|_| ()).map_err(|refusal| refusal.code());
    assert_eq!(code(ScriptPolicy::Run, CheckAnswer::NoCheck), Ok(()));
    assert_eq!(code(ScriptPolicy::Run, CheckAnswer::Ask), Err(5));
    assert_eq!(code(ScriptPolicy::Run, CheckAnswer::Quit), Err(4));
    assert_eq!(code(ScriptPolicy::Known, CheckAnswer::NoCheck), Err(1));
    let standard = world(&base(), &[]);
    let refused = planned(&standard, ScriptPolicy::Known, CheckAnswer::NoCheck).unwrap_err().to_string();
    assert!(refused.contains("r.build of class build"), "it runs what the package delivered: {refused}");
    assert!(planned(&standard, ScriptPolicy::None, CheckAnswer::NoCheck).is_err());
}
