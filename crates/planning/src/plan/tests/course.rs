//! The course of an installation with scripts, and batches brought up to date between them.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::{acme_web, actions};
use super::world::{now, regular};
use super::*;
use crate::plan::package::install::{InstallOptions, IntendedInstall, install};
use crate::plan::refresh::refreshed;
use crate::plan::script_schedule::ScriptSchedule;
use crate::plan::script_schedule::steps::{ChangeBatch, Outcome, PackageStep};
use crate::plan::scripts::{Deliverer, InstallScripts, SystemScripts};
use crate::plan::{Action, Body, Plan, RecordChange};
use patchadm_inputs::inventory::Inventory;
use patchadm_rootfs::LiveKind;
use patchadm_svr4::format::admin::{Admin, CheckAnswer};
use patchadm_svr4::package::{Accounts, Mode};

fn intended(world: &World, parcel: &Parcel) -> IntendedInstall {
    let standard = BTreeSet::from(["i.build".to_owned()]);
    let options = InstallOptions {
        admin: Admin { action: CheckAnswer::NoCheck, ..Admin::delivered() },
        system: SystemScripts { standard, ..SystemScripts::default() },
        ..InstallOptions::default()
    };
    install(&parcel.image, 0, &world.inventory, &options, &now()).unwrap()
}

fn course(world: &World, parcel: &Parcel) -> ScriptSchedule {
    let intended = intended(world, parcel);
    ScriptSchedule::of_installation(&intended, &parcel.image.packages[0], &world.inventory).unwrap()
}

/// Returns each step in a line.
fn told(course: &ScriptSchedule) -> Vec<String> {
    let step = |step: &PackageStep| match step {
        PackageStep::Records(_) => "records".to_owned(),
        PackageStep::Install(batch) => actions(&batch.plan).join(", "),
        PackageStep::Procedure(name) => (*name).to_owned(),
        PackageStep::InstallClass(class) => {
            let files: Vec<String> = class.files.iter().map(|file| file.path.to_string()).collect();
            format!("i.{} of {:?}: {}", class.class, class.deliverer, files.join(" "))
        }
        other => panic!("{other:?}"),
    };
    course.steps.iter().map(step).collect()
}

/// Classes none, build (scripted by the system), mine (scripted by the package), late (none).
fn scripted() -> Parcel {
    Parcel::empty("base")
        .package("ACMEweb", "BASEDIR=/opt/web CLASSES=none,build,mine,late")
        .install("preinstall", "exit 0")
        .install("postinstall", "exit 0")
        .install("i.mine", "exit 0")
        .install("preremove", "exit 0")
        .file("bin/httpd", "httpd")
        .link("bin/web", "../mine/tool")
        .file("late/z", "z")
        .of_class("late")
        .directory("mine")
        .of_class("mine")
        .file("mine/tool", "tool")
        .of_class("mine")
        .object("etc/web.conf", "e 0644 root sys", Some("port=80\n"), None)
        .of_class("build")
}

#[test]
fn classes_come_in_their_order_and_their_scripts_between_them() {
    assert_eq!(
        told(&course(&World::new(), &scripted())),
        [
            "records",
            "preinstall",
            "add /opt/web, add /opt/web/bin, add /opt/web/bin/httpd, add /opt/web/etc",
            "i.build of Standard: /opt/web/etc/web.conf",
            "add /opt/web/mine",
            "i.mine of Package: /opt/web/mine/tool",
            "add /opt/web/bin/web, add /opt/web/late, add /opt/web/late/z",
            "postinstall"
        ]
    );
}

#[test]
fn classes_without_scripts_that_follow_each_other_are_one_batch() {
    let parcel = Parcel::empty("base")
        .package("ACMEweb", "BASEDIR=/opt/web CLASSES=a,b,c")
        .install("i.c", "exit 0")
        .file("one", "1")
        .of_class("b")
        .file("two", "2")
        .of_class("a");
    let course = course(&World::new(), &parcel);
    let expected = ["records", "add /opt/web, add /opt/web/one, add /opt/web/two", "i.c of Package: "];
    assert_eq!(told(&course), expected, "a script runs even if nothing is listed");
    let PackageStep::Install(batch) = &course.steps[1] else { panic!() };
    let portions: Vec<(&str, bool)> =
        batch.portions.iter().map(|portion| (portion.class.as_str(), portion.is_complete)).collect();
    assert_eq!(portions, [("a", true), ("b", true)]);
}

fn opening(course: &ScriptSchedule) -> &Plan {
    let Some(PackageStep::Records(plan)) = course.steps.first() else { panic!() };
    plan
}

fn owners(plan: &Plan) -> BTreeMap<String, String> {
    let lines = plan.contents.iter().filter_map(|(path, line)| Some((path, line.as_ref()?)));
    lines
        .map(|(path, line)| (path.to_string(), String::from_utf8_lossy(&line.write()).into_owned()))
        .collect()
}

#[test]
fn scripts_find_the_records_with_marked_lines_and_the_end_has_clean_ones() {
    let course = course(&World::new(), &scripted());
    let first = opening(&course);
    let [RecordChange::AddTree { files, .. }] = first.records.as_slice() else { panic!() };
    let names: BTreeSet<String> =
        files.iter().map(|file| String::from_utf8_lossy(&file.name).into_owned()).collect();
    for name in ["!I-Lock!", "install/preinstall", "install/i.mine", "install/preremove", "pkginfo"] {
        assert!(names.contains(name), "{name} in {names:?}");
    }
    assert!(owners(first).values().all(|line| line.ends_with(" *ACMEweb")), "{:?}", owners(first));

    let (tool, conf) = (path("/opt/web/mine/tool"), path("/opt/web/etc/web.conf"));
    let outcomes = BTreeMap::from([(tool, Outcome::Missing), (conf, Outcome::File { size: 3, cksum: 99 })]);
    let last = course.close(&outcomes, &BTreeMap::new(), None, |path| !path.to_string().ends_with("i.mine"));
    let gone: Vec<String> = last
        .records
        .iter()
        .map(|record| match record {
            RecordChange::RemoveFile(path) => path.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    let directory = "/var/sadm/pkg/ACMEweb";
    assert_eq!(
        gone,
        [
            format!("{directory}/install/postinstall"),
            format!("{directory}/install/preinstall"),
            format!("{directory}/!I-Lock!")
        ]
    );
    let lines = owners(&last);
    assert_eq!(
        lines["/opt/web/etc/web.conf"],
        "/opt/web/etc/web.conf e build 0644 root sys 3 99 1577836800 ACMEweb"
    );
    assert!(lines["/opt/web/mine/tool"].ends_with(" !ACMEweb"));
    assert!(lines["/opt/web/bin/httpd"].ends_with(" ACMEweb"));
}

#[test]
fn everything_of_the_package_is_held_whether_it_changes_or_not() {
    let mut world = World::new();
    world.put("/opt", LiveKind::Directory, 0o755);
    let concerned = course(&world, &scripted()).concerned;
    assert!(concerned.objects[&path("/opt/web/etc/web.conf")]);
    assert!(!concerned.objects[&path("/opt/web/bin/httpd")]);
    assert!(concerned.objects.contains_key(&path("/opt/web")), "directories that are made on the way");
    assert_eq!(concerned.trees, [path("/var/sadm/pkg/ACMEweb")]);
    assert_eq!(concerned.files, [path("/var/sadm/install/contents")]);
}

#[test]
fn an_update_lists_what_differs_and_every_editable_file() {
    let base = Parcel::empty("base")
        .package("ACMEweb", "BASEDIR=/opt/web CLASSES=mine")
        .install("i.mine", "exit 0")
        .file("same", "same")
        .of_class("mine")
        .file("other", "old")
        .of_class("mine")
        .object("conf", "e 0644 root sys", Some("port=80\n"), None)
        .of_class("mine");
    let newer = Parcel::empty("base")
        .package("ACMEweb", "BASEDIR=/opt/web CLASSES=mine")
        .install("i.mine", "exit 0")
        .file("same", "same")
        .of_class("mine")
        .file("other", "new")
        .of_class("mine")
        .object("conf", "e 0644 root sys", Some("port=80\n"), None)
        .of_class("mine");
    let mut world = World::new().with(&base);
    for at in ["/opt/web/same", "/opt/web/conf"] {
        world.inventory.identical.insert(path(at));
    }
    let told = told(&course(&world, &newer));
    assert_eq!(told, ["records", "i.mine of Package: /opt/web/conf /opt/web/other"]);
    assert!(
        opening(&course(&world, &newer))
            .records
            .iter()
            .all(|record| matches!(record, RecordChange::Write { .. }))
    );
}

#[test]
fn a_system_script_runs_only_for_files_of_its_class_and_the_package_comes_first() {
    let system = SystemScripts {
        root: BTreeSet::from(["i.sed".to_owned()]),
        host: BTreeSet::from(["i.sed".to_owned(), "i.build".to_owned()]),
        standard: BTreeSet::from(["i.build".to_owned(), "i.awk".to_owned()]),
        ..SystemScripts::default()
    };
    let parcel = Parcel::empty("base")
        .package("ACMEweb", "CLASSES=sed,build,awk,own,plain")
        .install("i.own", "exit 0")
        .file("a", "a")
        .of_class("sed")
        .file("b", "b")
        .of_class("build")
        .file("c", "c")
        .of_class("plain");
    let package = &parcel.image.packages[0];
    let scripts = InstallScripts::of(package, &package.params, &system);
    let expected = [("build", Deliverer::Host), ("own", Deliverer::Package), ("sed", Deliverer::Root)];
    assert_eq!(scripts.classes, expected.map(|(class, by)| (class.to_owned(), by)).into());
    assert!(scripts.take_part() && !InstallScripts::default().take_part());
}

/// Returns the first batch of objects.
fn objects(course: &ScriptSchedule) -> ChangeBatch {
    let batches = course.steps.iter().filter_map(|step| match step {
        PackageStep::Install(batch) => Some(ChangeBatch::clone(batch)),
        _ => None,
    });
    batches.into_iter().next().unwrap()
}

fn plain() -> Parcel {
    Parcel::empty("base")
        .package("ACMEweb", "BASEDIR=/opt/web")
        .install("preinstall", "exit 0")
        .directory("bin")
        .file("bin/httpd", "httpd")
        .link("bin/web", "httpd")
}

#[test]
fn a_batch_fits_what_a_script_left() {
    let world = World::new();
    let batch = objects(&course(&world, &plain()));
    let fresh = |now: &World| actions(&refreshed(batch.plan.clone(), &now.inventory, |_| None).unwrap());
    assert_eq!(
        fresh(&world),
        ["add /opt/web", "add /opt/web/bin", "add /opt/web/bin/httpd", "add /opt/web/bin/web"]
    );
    let mut now = world.clone();
    now.put("/opt/web", LiveKind::Directory, 0o755);
    now.put("/opt/web/bin", LiveKind::Directory, 0o700);
    now.write("/opt/web/bin/httpd", "a script's");
    assert_eq!(
        fresh(&now),
        ["attributes /opt/web/bin", "replace /opt/web/bin/httpd", "add /opt/web/bin/web"]
    );
}

#[test]
fn what_was_to_be_replaced_and_is_gone_is_added() {
    let world = acme_web();
    let newer = plain().directory("etc").file("share/old.txt", "new text");
    let batch = objects(&course(&world, &newer));
    let before = actions(&refreshed(batch.plan.clone(), &world.inventory, |_| None).unwrap());
    assert!(before.contains(&"replace /opt/web/share/old.txt".to_owned()), "{before:?}");
    let mut now = world.clone();
    now.inventory.live.remove(&path("/opt/web/share/old.txt"));
    let plan = refreshed(batch.plan, &now.inventory, |_| None).unwrap();
    assert!(actions(&plan).contains(&"add /opt/web/share/old.txt".to_owned()));
    assert!(plan.changes.iter().all(|change| change.old.as_deref() == now.inventory.live.get(&change.path)));
}

#[test]
fn a_link_to_what_a_script_wrote_in_place_stays() {
    let parcel = Parcel::empty("base")
        .package("ACMEweb", "BASEDIR=/opt/web CLASSES=mine")
        .install("i.mine", "exit 0")
        .file("tool", "new")
        .of_class("mine")
        .link("again", "tool")
        .of_class("mine");
    let mut world = World::new();
    world.put("/opt", LiveKind::Directory, 0o755);
    world.put("/opt/web", LiveKind::Directory, 0o755);
    world.write("/opt/web/tool", "old");
    let one = world.inventory.live[&path("/opt/web/tool")].clone();
    world.inventory.live.insert(path("/opt/web/again"), one);
    let course = course(&world, &parcel);
    let Some(PackageStep::Install(last)) = course.steps.last() else { panic!() };
    assert!(
        matches!(&last.plan.changes[0].action, Action::Replace(new) if matches!(new.body, Body::Link(_)))
    );
    let mut now = world.clone();
    now.inventory.live.get_mut(&path("/opt/web/tool")).unwrap().kind = regular(b"new");
    assert!(refreshed(last.plan.clone(), &now.inventory, |_| None).unwrap().changes.is_empty());
    now.write("/opt/web/tool", "another file");
    assert_eq!(refreshed(last.plan.clone(), &now.inventory, |_| None).unwrap().changes.len(), 1);
}

#[test]
fn accounts_may_come_with_preinstall_and_have_to_be_there_after_it() {
    let own = |parcel: Parcel| {
        parcel.object("run", "d 0755 acme acme", None, None).object(
            "run/log",
            "f 0600 acme acme",
            Some("log"),
            None,
        )
    };
    let world = World::new();
    let without = own(Parcel::empty("base").package("ACMEweb", "BASEDIR=/opt/web"));
    let refused = install(&without.image, 0, &world.inventory, &InstallOptions::default(), &now());
    assert!(refused.unwrap_err().why().contains("owner acme does not exist"));

    let parcel =
        own(Parcel::empty("base").package("ACMEweb", "BASEDIR=/opt/web").install("preinstall", "useradd"));
    let course = course(&world, &parcel);
    let batch = objects(&course);
    let numbered =
        |inventory: &Inventory| refreshed(batch.plan.clone(), inventory, |path| course.line(path).cloned());
    let missing = numbered(&world.inventory).unwrap_err();
    assert!(format!("{missing:?}").contains("UnknownUser(\"acme\")"), "{missing:?}");
    let accounts = Accounts::parse(b"root:x:0:0:::\nacme:x:77:78:::\n", b"acme:x:78:\n");
    let plan = numbered(&Inventory { accounts, ..world.inventory.clone() }).unwrap();
    let log = plan.changes.iter().find(|change| change.path == path("/opt/web/run/log")).unwrap();
    let Action::Add(new) = &log.action else { panic!() };
    assert_eq!((new.uid, new.gid, new.mode), (77, 78, Mode::of(0o600)));
}
