//! The number of reads of the packages of a root for a planned promotion. Debug builds count them.

use std::fs;
use std::sync::Arc;

use patchadm_core::operation::plan_file::{PlanFileRequest, read_plan};
use patchadm_core::operation::stages::promote::{PromoteRequest, promote_stage};
use patchadm_inputs::database::package_reads;
use patchadm_rootfs::Root;

use crate::packages::Package;
use crate::reliability::stories::with_caller;
use crate::scenario::Scenario;

#[test]
fn the_packages_of_the_root_are_read_once_for_a_plan_that_is_saved_or_held_to() {
    let live = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "httpd 1\n")]);
    live.run("stage new web -R @ROOT@ --records --path opt").ok();
    fs::write(live.beside("web/opt/ACMEweb/bin/httpd"), "httpd 2\n").unwrap();
    let (root, path) = (Root::open(&live.root()).unwrap(), live.beside("plan.json"));
    let reads = |dry_run, plan_file: PlanFileRequest| {
        let before = package_reads(root.prefix());
        let plan_file = PlanFileRequest { command: "promote", ..plan_file };
        let stage = live.beside("web").into_os_string();
        let request = PromoteRequest { stage, dry_run, plan_file, ..PromoteRequest::default() };
        let report = with_caller(|caller| promote_stage(&root, &request, caller)).unwrap();
        assert!(report.plan.is_some(), "{:?}", report.result);
        package_reads(root.prefix()) - before
    };
    assert_eq!(reads(true, PlanFileRequest { save: Some(path.clone()), ..PlanFileRequest::default() }), 1);
    let expected = Some(Arc::new(read_plan(&path).unwrap()));
    let held = PlanFileRequest { expected, ..PlanFileRequest::default() };
    assert_eq!(reads(true, held.clone()), 1, "a plan that holds");
    assert_eq!(reads(false, held), 1, "it is carried out");
    assert_eq!(fs::read_to_string(live.at("/opt/ACMEweb/bin/httpd")).unwrap(), "httpd 2\n");
}
