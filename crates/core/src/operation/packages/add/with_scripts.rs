//! The part of an installation in which scripts of the package run.

use super::input::AddInput;
use super::prepare::{PackagePlacement, PreparedPackage};
use crate::operation::device::DeliveredPackage;
use crate::operation::failure::Failure;
use crate::operation::packages::observer::PackageObserver;
use crate::operation::packages::report::AddedPackage;
use crate::operation::packages::safety_copies::{add_objects, safety_copies};
use crate::operation::packages::scripted::{InstallSource, ScriptedPackage};
use crate::operation::patches::back_out::by_pkgadd::PlayedBackout;
use crate::operation::scripts::context::{ScriptContext, base_of};
use crate::operation::scripts::failure::ScriptFailure;
use crate::operation::scripts::interview::{ScriptAnswers, ScriptQuestions, interview};
use crate::operation::scripts::package::{FailedRequests, PackageScripts};
use crate::operation::scripts::package_directory::PackageDirectory;
use crate::operation::scripts::runner::ScriptRunner;
use crate::operation::scripts::safety::{check_classes, check_places, needs_absolute_tools};
use crate::operation::scripts::staying_libraries::check_staying;
use crate::operation::session::Session;
use crate::script::{RunAs, ScriptInput};
use patchadm_changeset::format::manifest::MANIFEST;
use patchadm_changeset::transaction::Receipt;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::script_schedule::ScriptSchedule;
use patchadm_planning::plan::scripts::InstallScripts;
use patchadm_svr4::format::admin::RequestUser;

/// A package whose scripts may run.
pub(crate) struct ScriptSetup<'a> {
    pub(crate) runner: ScriptRunner<'a>,
    delivered: DeliveredPackage<'a>,
    directory: PackageDirectory,
    context: ScriptContext,
}

impl<'a> AddInput<'a> {
    /// Gets ready for the scripts of a package; refused where they would not be safe.
    pub(crate) fn with_scripts(
        &self,
        delivered: DeliveredPackage<'a>,
        placed: &PackagePlacement,
    ) -> Result<ScriptSetup<'a>, Failure> {
        let refuse = |reason: Reason| Failure::from(reason.of(Command::Pkgadd, &placed.instance));
        check_places(self.ground, &placed.instance, base_of(&placed.params).as_ref()).map_err(refuse)?;
        let absolute = needs_absolute_tools(delivered.image);
        let (interrupt, settings) = (self.caller.interrupt, &self.request.scripts);
        let runner = ScriptRunner::open(self.ground, interrupt, settings, absolute, refuse)?;
        let (directory, context) = placed.for_scripts(&runner, delivered, runner.shop.directory())?;
        Ok(ScriptSetup { runner, delivered, directory, context })
    }

    /// Runs request and checkinstall. A response file stands for the request script.
    pub(crate) fn ask(
        &self,
        setup: &mut ScriptSetup<'_>,
        scripts: &InstallScripts,
        answered: Option<ScriptAnswers>,
        observer: &mut dyn PackageObserver,
    ) -> Result<ScriptAnswers, Failure> {
        let request = scripts.request && answered.is_none();
        if request && self.request.silent {
            observer.says("Interactive request script supplied by package\n");
            return Err(Failure::Script(ScriptFailure::nobody_to_ask()));
        }
        let as_root = self.admin.request_user == RequestUser::Root;
        let questions = ScriptQuestions {
            request,
            checkinstall: scripts.checkinstall,
            given: answered.unwrap_or_default().text,
            input: match (self.request.conversation, self.request.reads_input) {
                (true, _) => ScriptInput::Terminal,
                (false, true) => ScriptInput::Caller,
                (false, false) => ScriptInput::Nothing,
            },
            request_user: if as_root { RunAs::Caller } else { RunAs::Unprivileged },
        };
        interview(&mut setup.runner, &setup.directory, &mut setup.context, &questions, observer)
    }

    /// Carries out an installation in which scripts take part.
    pub(crate) fn install_with_scripts(
        &self,
        session: &Session<'_>,
        prepared: &PreparedPackage,
        mut setup: ScriptSetup<'_>,
        observer: &mut dyn PackageObserver,
        added: &mut AddedPackage,
    ) -> Result<Receipt, Failure> {
        let PreparedPackage { installation, inventory } = prepared;
        let (image, intended) = (setup.delivered.image, &installation.intended);
        let instance = intended.plan.packages.first();
        let played =
            instance.map(|instance| PlayedBackout::of(session, image, instance)).transpose()?.flatten();
        let without_ledger = played.as_ref().map(|_| intended.without_ledger());
        let refuse = |reason: Reason| reason.of(Command::Pkgadd, &installation.instance);
        let course =
            ScriptSchedule::of_installation(without_ledger.as_ref().unwrap_or(intended), image, inventory);
        let course = course.map_err(refuse)?;
        setup.context.settle(&image.params, &intended.params);
        // they may have changed since the scripts were asked
        check_places(self.ground, &course.package, setup.context.base.as_ref()).map_err(refuse)?;
        check_classes(self.ground, &course).map_err(refuse)?;
        if played.is_none() && image.install.contains_key(MANIFEST) {
            observer.warns(&format!(
                "the root has no undo data of its own that is this archive\nparameters and records of <{}> will be \
                 those of the archive",
                installation.instance
            ));
        }
        let mut copies = safety_copies([&course.concerned]);
        add_objects(&mut copies, installation.staying.keys());
        if let Some(played) = &played {
            played.hold(&mut copies);
        }
        let delivery =
            InstallSource { delivered: setup.delivered, directory: &setup.directory, installation };
        let scripts = PackageScripts {
            runner: &mut setup.runner,
            context: setup.context,
            ending: added.ending,
            failed_requests: FailedRequests::Tell,
        };
        let package = ScriptedPackage::new(session, &course, Some(delivery), scripts, observer);
        let (receipt, ending) = package.perform(&intended.plan, &copies, |run| match &played {
            Some(played) => played.restore(session, run, &course.concerned, &inventory.lines),
            None => check_staying(&self.ground.root, &installation.staying),
        })?;
        added.ending = ending;
        if let (Some(played), Some(installation)) = (&played, &mut added.installation) {
            // what the installation alone would have kept under another name is not there
            installation.intended.plan.notes = played.notes().to_vec();
        }
        Ok(receipt)
    }
}
