//! Stories of patches that go live when the stage that they were applied to is promoted.

use std::fs;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::reliability::promotions::STAGE;
use crate::reliability::stories::{Command, Story, package, patch, second_patch};
use crate::scenario::Scenario;

/// A root whose stage has patches of a package and a file of its own.
fn patched(patches: &[Patch]) -> Scenario {
    let live = Scenario::new();
    live.file("/var/sadm/install/admin/default", NOCHECK);
    live.install(&package());
    live.run(&format!("stage new {STAGE} -R @ROOT@ --records --path opt")).ok();
    let stage = live.beside(STAGE);
    for patch in patches {
        let at = patch.directory(&live);
        live.run(&format!("patchadd -R {} {}", stage.display(), at.display())).ok();
    }
    fs::write(stage.join("opt/ACMEweb/own"), "of the stage\n").unwrap();
    live
}

pub(super) fn patches_promoted() -> Story {
    Story::of("promote patches", patched(&[patch(), second_patch()]), Command::Promote)
}

pub(super) fn promoted_patches_backed_out() -> Story {
    // Patches of files with several names would need a run each.
    let small = |id, text| Patch::of(id, Package::new("ACMEweb").file("bin/same", 0o755, text));
    let live = patched(&[small("100-01", "second\n"), small("200-01", "third\n")]);
    live.run(&format!("stage promote {STAGE} -R @ROOT@ --max-delete 100%")).ok();
    Story::of("back out promoted patches", live, Command::BackOut(vec!["web-01".to_owned()]))
}
