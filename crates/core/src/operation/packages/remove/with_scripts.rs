//! Removing a package whose scripts take part.

use crate::operation::failure::Failure;
use crate::operation::packages::observer::PackageObserver;
use crate::operation::packages::report::PlannedRemoval;
use crate::operation::packages::safety_copies::{add_objects, safety_copies};
use crate::operation::packages::scripted::ScriptedPackage;
use crate::operation::scripts::ScriptSettings;
use crate::operation::scripts::context::{ScriptContext, base_of};
use crate::operation::scripts::failure::LastingResults;
use crate::operation::scripts::package::{FailedRequests, PackageScripts};
use crate::operation::scripts::runner::ScriptRunner;
use crate::operation::scripts::safety::{check_classes, check_places, needs_absolute_tools_to_go};
use crate::operation::scripts::staying_libraries::check_staying;
use crate::operation::session::Session;
use patchadm_changeset::transaction::Receipt;
use patchadm_inputs::inventory::Inventory;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::script_schedule::ScriptSchedule;
use patchadm_svr4::package::PkgInst;

/// Removes a package with its scripts. An error leaves the root as it was before, or says what is left.
pub(super) fn remove_with_scripts(
    session: &Session<'_>,
    settings: &ScriptSettings,
    package: &PkgInst,
    removal: &PlannedRemoval,
    inventory: &Inventory,
    observer: &mut dyn PackageObserver,
) -> Result<(Receipt, LastingResults), Failure> {
    let ground = &session.ground;
    let refuse = |reason: Reason| Failure::from(reason.of(Command::Pkgrm, package));
    let installed = inventory.packages.get(package).ok_or_else(|| refuse(Reason::NoSuchPackage))?;
    let base = base_of(&installed.params);
    check_places(ground, package, base.as_ref()).map_err(refuse)?;
    let absolute = needs_absolute_tools_to_go(installed);
    let mut runner = ScriptRunner::open(ground, session.caller.interrupt, settings, absolute, refuse)?;
    let course = ScriptSchedule::of_removal(&removal.intended, inventory).map_err(refuse)?;
    check_classes(ground, &course).map_err(refuse)?;
    let scripts = PackageScripts {
        runner: &mut runner,
        context: ScriptContext::new(package.clone(), installed.params.clone(), base),
        ending: LastingResults::default(),
        failed_requests: FailedRequests::Tell,
    };
    let mut copies = safety_copies([&course.concerned]);
    add_objects(&mut copies, removal.staying.keys());
    ScriptedPackage::new(session, &course, None, scripts, observer).perform(
        &removal.intended.plan,
        &copies,
        |_| check_staying(&ground.root, &removal.staying),
    )
}
