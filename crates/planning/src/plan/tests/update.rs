//! Packages that replace other versions of themselves.

use super::apply::actions;
use super::world::now;
use super::*;
use crate::plan::Plan;
use crate::plan::package::install::{InstallOptions, IntendedInstall, install};
use crate::plan::refusal::Refusal;
use crate::plan::script_schedule::ScriptSchedule;
use crate::plan::script_schedule::steps::PackageStep;
use crate::plan::scripts::SystemScripts;
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_svr4::format::admin::{Admin, CheckAnswer};

fn version(version: &str) -> Parcel {
    Parcel::empty("base").package("ACMEweb", "").says("VERSION", version).directory("bin")
}

fn first() -> Parcel {
    version("1.0").file("bin/httpd", "old httpd").file("bin/gone", "gone").file("etc/conf", "conf")
}

fn second() -> Parcel {
    version("2.0").file("bin/httpd", "new httpd").file("bin/added", "added")
}

/// Plans an update where class `sed` has a script of the system.
fn updated(world: &World, parcel: &Parcel) -> Result<IntendedInstall, Refusal> {
    let system = SystemScripts { standard: ["r.sed".to_owned()].into(), ..SystemScripts::default() };
    let admin = Admin { action: CheckAnswer::NoCheck, ..Admin::delivered() };
    let scripts = ScriptPolicy::Run;
    let options = InstallOptions { update: true, admin, system, scripts, ..InstallOptions::default() };
    install(&parcel.image, 0, &world.inventory, &options, &now())
}

/// Returns the lines of `contents` that go.
fn lines_given_up(plan: &Plan) -> Vec<String> {
    plan.contents.iter().filter(|(_, line)| line.is_none()).map(|(path, _)| path.to_string()).collect()
}

#[test]
fn what_only_the_old_version_has_goes_with_its_directory() {
    let plan = updated(&World::new().with(&first()), &second()).unwrap().plan;
    assert_eq!(
        actions(&plan),
        [
            "add /opt/web/bin/added",
            "delete /opt/web/bin/gone",
            "replace /opt/web/bin/httpd",
            "rmdir /opt/web/etc",
            "delete /opt/web/etc/conf",
        ]
    );
    assert_eq!(lines_given_up(&plan), ["/opt/web/bin/gone", "/opt/web/etc", "/opt/web/etc/conf"]);
}

#[test]
fn an_object_of_a_class_with_a_script_stays_without_a_line() {
    let first = version("1.0").says("CLASSES", "none sed").file("etc/conf", "conf").of_class("sed");
    let plan = updated(&World::new().with(&first), &second()).unwrap().plan;
    assert!(!actions(&plan).iter().any(|action| action.ends_with("/etc/conf")), "{:?}", actions(&plan));
    assert!(lines_given_up(&plan).contains(&"/opt/web/etc/conf".to_owned()));
    let note = "/opt/web/etc/conf stays, and no package owns it: class sed has a script";
    assert!(plan.notes.iter().any(|said| said == note), "{:?}", plan.notes);
}

#[test]
fn in_a_run_with_scripts_the_old_goes_after_the_last_of_them() {
    let world = World::new().with(&first());
    let second = second().install("preinstall", "exit 0").install("postinstall", "exit 0");
    let intended = updated(&world, &second).unwrap();
    let course =
        ScriptSchedule::of_installation(&intended, &second.image.packages[0], &world.inventory).unwrap();
    let Some(PackageStep::Remove(last, portions)) = course.steps.last() else { panic!("{:?}", course.steps) };
    assert_eq!(actions(last), ["delete /opt/web/bin/gone", "rmdir /opt/web/etc", "delete /opt/web/etc/conf"]);
    assert!(portions.is_empty());
    assert!(matches!(course.steps.iter().rev().nth(1), Some(PackageStep::Procedure("postinstall"))));
    assert!(course.concerned.objects.contains_key(&path("/opt/web/etc/conf")), "it is held");
}

#[test]
fn a_file_makes_room_for_the_directory_of_something_new() {
    let world = World::new().with(&version("1.0").file("share", "a file"));
    let plan = updated(&world, &version("2.0").file("share/doc", "doc")).unwrap().plan;
    assert_eq!(actions(&plan), ["replace /opt/web/share", "add /opt/web/share/doc"]);
}

#[test]
fn only_another_version_of_what_is_installed_is_an_update() {
    let world = World::new().with(&first());
    assert_eq!(updated(&World::new(), &second()).unwrap_err().code(), 4);
    assert_eq!(updated(&world, &second().says("ARCH", "sparc")).unwrap_err().code(), 4);
    let again = updated(&world, &version("1.0").file("bin/httpd", "new httpd")).unwrap().plan;
    assert_eq!(actions(&again), ["replace /opt/web/bin/httpd"], "the same version goes over");
}
