//! The part of an installation in which scripts of the package run.

use std::path::Path;

use super::preparation::{Placed, Prepared};
use super::{Added, Place, Stage};
use crate::format::admin::RequestUser;
use crate::format::manifest::MANIFEST;
use crate::operation::answers::Answered;
use crate::operation::attendant::Attendant;
use crate::operation::device::Device;
use crate::operation::failure::Failure;
use crate::operation::patches::back_out::by_pkgadd::Played;
use crate::operation::scripted_installation::{Performance, delivered_as_placed};
use crate::operation::scripts::ScriptFailure;
use crate::operation::scripts::briefing::Briefing;
use crate::operation::scripts::interview::{Answers, Questions, interview};
use crate::operation::scripts::medium::Medium;
use crate::operation::scripts::procedures::Procedures;
use crate::operation::scripts::run::{Cast, FailedRequests};
use crate::operation::scripts::safety::{check_classes, check_places, check_tools, needs_absolute_tools};
use crate::operation::session::Session;
use crate::package::ObjectPath;
use crate::plan::course::Course;
use crate::plan::refusal::{Command, Reason};
use crate::plan::scripts::InstallScripts;
use crate::script::{As, Workshop};
use crate::source::PackageImage;
use crate::transaction::Receipt;

impl<'a> Place<'a> {
    /// Gets ready for the scripts of a package; refused where they would not be safe.
    pub(super) fn stage(
        &self,
        device: &Device,
        package: &PackageImage,
        placed: &Placed,
    ) -> Result<Stage<'a>, Failure> {
        let refuse = |reason: Reason| Failure::from(reason.of(Command::Pkgadd, &placed.instance));
        check_places(self.ground, &placed.instance, base_of(&placed.params).as_ref()).map_err(refuse)?;
        let absolute = needs_absolute_tools(package);
        let procedures =
            Procedures::open(self.ground, self.caller.interrupt, &self.request.scripts, absolute)?;
        if absolute {
            check_tools(&procedures.shop).map_err(refuse)?;
        }
        let private = procedures.shop.directory().to_owned();
        let (medium, briefing) = self.brief(&procedures.shop, device, package, placed, &private)?;
        Ok(Stage { procedures, medium, briefing })
    }

    /// Where scripts of a package find it, and what they are told. A copy of it is made below `private`.
    pub(in crate::operation) fn brief(
        &self,
        shop: &Workshop,
        device: &Device,
        package: &PackageImage,
        placed: &Placed,
        private: &Path,
    ) -> Result<(Medium, Briefing), Failure> {
        let medium = Medium::of(device, package, shop.unprivileged(), private)?;
        let briefing = Briefing {
            package: delivered_as_placed(&package.params, &placed.params),
            installed: placed.present.get(&placed.instance).map(|installed| installed.params.clone()),
            response: crate::package::Params::new(),
            instance: placed.instance.clone(),
            root: self.ground.root.prefix().to_owned(),
            base: base_of(&placed.params),
            data_directory: Some(medium.data_directory().to_owned()),
            install_date: None,
            has_begun: false,
            locale: self.request.locale.clone(),
            run: None,
        };
        Ok((medium, briefing))
    }

    /// Runs request and checkinstall. A response file stands for the request script.
    pub(super) fn ask(
        &self,
        stage: &mut Stage<'_>,
        scripts: &InstallScripts,
        answered: Option<Answered>,
        attendant: &mut dyn Attendant,
    ) -> Result<Answers, Failure> {
        let request = scripts.request && answered.is_none();
        if request && self.request.silent {
            attendant.says("Interactive request script supplied by package\n");
            return Err(Failure::Script(ScriptFailure::nobody_to_ask()));
        }
        let as_root = self.admin.request_user == RequestUser::Root;
        let questions = Questions {
            request,
            checkinstall: scripts.checkinstall,
            given: answered.unwrap_or_default().text,
            terminal: self.request.conversation,
            request_user: if as_root { As::Caller } else { As::Unprivileged },
        };
        interview(&mut stage.procedures, &stage.medium, &mut stage.briefing, &questions, attendant)
    }

    /// Carries out an installation in which scripts take part.
    #[allow(clippy::too_many_arguments)] // all that is known by then
    pub(super) fn perform_scripted(
        &self,
        session: &Session<'_>,
        device: &Device,
        index: usize,
        prepared: &Prepared,
        mut stage: Stage<'_>,
        attendant: &mut dyn Attendant,
        added: &mut Added,
    ) -> Result<Receipt, Failure> {
        let package = device.package(index)?;
        let installation = &prepared.installation;
        let intended = &installation.intended;
        let instance = intended.plan.packages.first();
        let played = instance.map(|instance| Played::of(session, package, instance)).transpose()?.flatten();
        let without_ledger = played.as_ref().map(|_| intended.without_ledger());
        let steps = without_ledger.as_ref().unwrap_or(intended);
        let course = Course::of_installation(steps, package, &prepared.inventory)
            .map_err(|reason| reason.of(Command::Pkgadd, &installation.instance))?;
        let mut briefing = stage.briefing;
        briefing.package = delivered_as_placed(&package.params, &intended.params);
        briefing.base = base_of(&intended.params);
        briefing.install_date = Some(intended.params.text("INSTDATE").into_owned());
        // they may have changed since the scripts were asked
        if let Some(instance) = instance {
            check_places(self.ground, instance, briefing.base.as_ref())
                .and_then(|()| check_classes(self.ground, &course))
                .map_err(|reason| reason.of(Command::Pkgadd, instance))?;
        }
        if played.is_none() && package.install.contains_key(MANIFEST) {
            attendant.warns(&format!(
                "the root has no undo data of its own that is this archive\nparameters and records of <{}> will be \
                 those of the archive",
                installation.instance
            ));
        }
        let performance = Performance {
            session,
            device,
            index,
            installation,
            course: &course,
            medium: &stage.medium,
            cast: Cast {
                ground: self.ground,
                procedures: &mut stage.procedures,
                briefing,
                ending: added.ending,
                failed_requests: FailedRequests::Warn,
            },
            attendant,
            outcomes: std::collections::BTreeMap::new(),
            left: std::collections::BTreeMap::new(),
        };
        let (receipt, ending) =
            performance.perform(played.as_ref().map(|played| (played, &prepared.inventory.lines)))?;
        added.ending = ending;
        if let (Some(played), Some(installation)) = (&played, &mut added.installation) {
            // what the installation alone would have kept under another name is not there
            installation.intended.plan.notes = played.notes().to_vec();
        }
        Ok(receipt)
    }
}

/// Where relative paths lie, by the parameters of a package.
pub(in crate::operation) fn base_of(params: &crate::package::Params) -> Option<ObjectPath> {
    params.get("BASEDIR").map(<[u8]>::trim_ascii).and_then(|path| ObjectPath::new(path).ok())
}
