//! Stories of runs on trial: one that begins a trial, and those that end one.

use crate::delivery::Patch;
use crate::packages::Package;
use crate::reliability::stories::{Command, Story};
use crate::scenario::Scenario;
use crate::trial::{change_record, let_it_expire};

fn web(text: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, text).file("bin/tool", 0o644, "tool\n")
}

fn patch() -> Patch {
    let package =
        Package::new("ACMEweb").file("bin/httpd", 0o755, "patched\n").file("bin/new", 0o755, "new\n");
    Patch::of("100-01", package.deletes(&["bin/tool"]))
}

/// A root on which the patch is on trial.
fn on_trial() -> Scenario {
    let stage = Scenario::with(&[web("base\n")]);
    patch().directory(&stage);
    stage.run("add --trial 1h -R @ROOT@ delivered/100-01").ok();
    stage
}

/// A patch goes on trial.
pub(super) fn put_on_trial() -> Story {
    let stage = Scenario::with(&[web("base\n")]);
    let patches = vec![patch().directory(&stage)];
    Story::of("add --trial", stage, Command::ApplyOnTrial(patches))
}

/// A trial is confirmed.
pub(super) fn trial_confirmed() -> Story {
    Story::of("confirm", on_trial(), Command::Confirm)
}

/// A trial is over, and whoever comes first backs its patches out.
pub(super) fn trial_over() -> Story {
    let stage = on_trial();
    // By the boot, and by the clock where the boot is not asked for.
    let_it_expire(&stage);
    change_record(&stage, |record| record["until"] = "2016-11-20T07:00:00Z".into());
    Story::of("end of a trial", stage, Command::Expire)
}

/// A run on trial is undone.
pub(super) fn trial_undone() -> Story {
    Story::of("undo of a trial", on_trial(), Command::Undo)
}
