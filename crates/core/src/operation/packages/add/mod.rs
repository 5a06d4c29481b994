//! `pkgadd`: packages of a source are installed one after another, each a run of its own.
//!
//! Everything that can be read in advance is read first: what is wrong with a package of the selection ends the
//! command before the first one is installed. Packages that were installed stay when a later one fails.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::database::{View, installed};
use crate::format::admin::Admin;
use crate::operation::content::OneSource;
use crate::operation::device::Device;
use crate::operation::failure::Failure;
use crate::operation::new_database::NewDatabase;
use crate::operation::packages::answers::{self, AdminFile, Answered};
use crate::operation::packages::installation::Installation;
use crate::operation::packages::observer::Attendant;
use crate::operation::packages::report::{PackagesReport, leaves_root_usable};
use crate::operation::queries::packages::spooled_name;
use crate::operation::scripts::briefing::Briefing;
use crate::operation::scripts::interview::Answers;
use crate::operation::scripts::package_directory::Medium;
use crate::operation::scripts::runner::Procedures;
use crate::operation::scripts::{Ending, ScriptSettings, system_scripts};
use crate::operation::session::{Caller, Ground, Session, may_change};
use crate::package::{ObjectPath, Params, ScriptPolicy};
use crate::plan::install::OfPatch;
use crate::plan::refusal::Command;
use crate::plan::scripts::{InstallScripts, SystemScripts};
use crate::root::Root;
use crate::source::PackageImage;
use crate::transaction::{Left, Receipt, Recovered};

pub mod ask;
pub(in crate::operation) mod prepare;
pub(in crate::operation) mod with_scripts;

use prepare::{Placed, Prepared};

/// What pkgadd(1M) was asked for.
#[derive(Clone, Debug, Default)]
pub struct AddRequest {
    /// Where the packages are: a directory of packages, one package, a datastream, an archive.
    pub device: PathBuf,
    /// Which of them: names, `PKG.*`, `all`; all of them where nothing is named.
    pub packages: Vec<String>,
    /// Only those of any of these categories, where there is one.
    pub categories: Vec<String>,
    /// The admin file: absolute, a name below `var/sadm/install/admin` of the root, or `none`.
    pub admin: Option<PathBuf>,
    /// The response file, or a directory with one for each package; absolute.
    pub response: Option<PathBuf>,
    /// The environment that is recorded with a package: LANG, `LC_*`, TZ, PATH, OAMBASE.
    pub environment: Params,
    /// The symbolic links to directories in whose places the packages' directories go nevertheless.
    pub overridden: Vec<ObjectPath>,
    /// Whether somebody can be asked.
    pub conversation: bool,
    /// Whether nothing may be asked at all (`-n`): a package that wants to ask is refused.
    pub silent: bool,
    /// How scripts are run.
    pub scripts: ScriptSettings,
    /// Language and time zone, for scripts.
    pub locale: Vec<(String, OsString)>,
}

/// What became of one package.
#[derive(Debug)]
pub struct Added {
    /// Its instance, or its name on the device where it did not come that far.
    pub name: String,
    /// What was to be done; none where it was refused.
    pub installation: Option<Installation>,
    /// What was done, or why not.
    pub result: Result<Receipt, Failure>,
    /// What its scripts have to say for the command as a whole.
    pub ending: Ending,
}

/// Installs packages. An error is one of the device or the root as a whole; what is wrong with one package is in its
/// part of the report, and the others are tried nevertheless.
pub fn add_packages(
    root: &Root,
    request: &AddRequest,
    caller: &Caller<'_>,
    attendant: &mut dyn Attendant,
) -> Result<PackagesReport<Added>, Failure> {
    may_change(root)?;
    let AdminFile { admin, unknown } = answers::admin(root, request.admin.as_deref())?;
    let mut report = PackagesReport {
        recovered: Recovered::Nothing,
        unknown_answers: unknown,
        missing: Vec::new(),
        packages: Vec::new(),
    };
    let opened = Device::open(&request.device, &request.packages)?;
    let device = match opened.and_then(|device| device.of_categories(&request.categories)) {
        Ok(device) => device,
        Err(missing) => return Ok(PackagesReport { missing, ..report }),
    };
    device.source.check_room_to_plan(&device.image)?;
    let ground = Ground::of(root)?;
    let system = system_scripts(&ground)?;
    let mut rehearsed = None;
    if !installed::has_database(&View::live(root))? {
        let policy = ground.policy.scripts;
        let place =
            Place { ground: &ground, admin: &admin, system: &system, policy, request, caller, patch: None };
        (report.packages, rehearsed) = place.rehearse(&device, attendant);
        if report.packages.len() == device.selected.len() {
            return Ok(report);
        }
        report.packages.clear();
    }
    let new = NewDatabase::make(root)?;
    let session = match Session::begin(ground, caller) {
        Ok(session) => session,
        Err(failure) => {
            new.remove_empty(root);
            return Err(failure);
        }
    };
    let policy = session.ground.policy.scripts;
    let place = Place {
        ground: &session.ground,
        admin: &admin,
        system: &system,
        policy,
        request,
        caller,
        patch: None,
    };
    // Others may have been here before the lock was taken.
    let mut rehearsed = if device.selected.len() == 1 && session.is_first()? { rehearsed } else { None };
    for &index in &device.selected {
        let added = place.add(&session, &device, index, rehearsed.take(), attendant);
        attendant.added(&added);
        let goes_on = added.result.as_ref().err().is_none_or(leaves_root_usable);
        report.packages.push(added);
        if !goes_on {
            break;
        }
    }
    if report.packages.iter().all(Added::left_nothing) {
        new.remove(root);
    }
    Ok(PackagesReport { recovered: session.recovered, ..report })
}

/// A root that packages are planned for.
#[derive(Clone, Copy)]
pub(in crate::operation) struct Place<'a> {
    pub(in crate::operation) ground: &'a Ground,
    pub(in crate::operation) admin: &'a Admin,
    /// The class action scripts that are there for all packages.
    pub(in crate::operation) system: &'a SystemScripts,
    /// Which scripts may run.
    pub(in crate::operation) policy: ScriptPolicy,
    pub(in crate::operation) request: &'a AddRequest,
    pub(in crate::operation) caller: &'a Caller<'a>,
    /// The patch as part of which the packages are installed.
    pub(in crate::operation) patch: Option<&'a OfPatch>,
}

/// A package whose scripts may run.
struct Stage<'p> {
    procedures: Procedures<'p>,
    medium: Medium,
    briefing: Briefing,
}

impl Place<'_> {
    /// The packages that are refused on a root that has no database yet: where all are, none is made. What a package
    /// would answer itself is not known here, so one that asks is not refused. Where one is not refused: how it is
    /// planned, if that does not depend on whether there is a database.
    fn rehearse(&self, device: &Device, attendant: &mut dyn Attendant) -> (Vec<Added>, Option<Prepared>) {
        let mut refused = Vec::new();
        for &index in &device.selected {
            match self.planned(device, index) {
                Ok(prepared) => return (Vec::new(), prepared.filter(Prepared::is_beside_database)),
                Err(failure) => {
                    let name = device.package(index).map(spooled_name).unwrap_or_default();
                    refused.push(Added::refused(name, failure));
                }
            }
        }
        for added in &refused {
            attendant.added(added);
        }
        (refused, None)
    }

    /// How a package is planned; none where it is to be asked itself.
    fn planned(&self, device: &Device, index: usize) -> Result<Option<Prepared>, Failure> {
        let package = device.package(index)?;
        let answered = self.answered(package)?.unwrap_or_default();
        let placed = self.place(device, index, &answered.params)?;
        let scripts = InstallScripts::of(package, &placed.params, self.system);
        if scripts.request || scripts.checkinstall {
            return Ok(None);
        }
        self.prepare(device, index, &placed, &answered.params, None).map(Some)
    }

    fn answered(&self, package: &PackageImage) -> Result<Option<Answered>, Failure> {
        answers::response(self.request.response.as_deref(), &spooled_name(package))
    }

    fn add(
        &self,
        session: &Session<'_>,
        device: &Device,
        index: usize,
        rehearsed: Option<Prepared>,
        attendant: &mut dyn Attendant,
    ) -> Added {
        let package = match device.package(index) {
            Ok(package) => package,
            Err(failure) => return Added::refused(device.image.name.clone(), failure),
        };
        let name = spooled_name(package);
        attendant.adding(&name, package);
        let mut added =
            Added { name, installation: None, result: Err(Failure::Declined), ending: Ending::default() };
        added.result = self.install(session, device, index, rehearsed, attendant, &mut added);
        added
    }

    /// The scripts of a package that goes there; refused where the policy does not allow one.
    fn allowed(&self, package: &PackageImage, placed: &Placed) -> Result<InstallScripts, Failure> {
        let scripts = InstallScripts::of(package, &placed.params, self.system);
        scripts
            .check(package, placed.instance.as_str(), self.policy)
            .map_err(|reason| reason.of(Command::Pkgadd, &placed.instance))?;
        Ok(scripts)
    }

    /// Installs a package; what becomes known of it on the way is noted in `added`.
    fn install(
        &self,
        session: &Session<'_>,
        device: &Device,
        index: usize,
        rehearsed: Option<Prepared>,
        attendant: &mut dyn Attendant,
        added: &mut Added,
    ) -> Result<Receipt, Failure> {
        let package = device.package(index)?;
        let answered = self.answered(package)?;
        let given = answered.clone().unwrap_or_default();
        let placed = self.place(device, index, &given.params)?;
        added.name = placed.instance.to_string();
        let scripts = self.allowed(package, &placed)?;
        attendant.placed(placed.instance.as_str(), placed.is_update(package));
        let mut stage = None;
        if scripts.request || scripts.checkinstall || scripts.take_part() {
            stage = Some(self.stage(device, package, &placed)?);
        }
        let answers = match stage.as_mut().filter(|_| scripts.request || scripts.checkinstall) {
            None => Answers { params: given.params, ..Answers::default() },
            Some(stage) => self.ask(stage, &scripts, answered, attendant).inspect_err(|_| {
                let head =
                    crate::operation::log::head(&format!("pkgadd <{}>", added.name), "nothing was changed");
                // What the script said has been heard, too; that it cannot be kept changes nothing.
                let _ = session.log(&[head.into_bytes(), stage.procedures.take_log()].concat());
            })?,
        };
        added.ending.warned |= answers.warned;
        // the answers may have changed where it goes
        let placed = self.place(device, index, &answers.params)?;
        let prepared = match rehearsed {
            Some(prepared) => prepared,
            None => self.prepare(device, index, &placed, &answers.params, Some(&mut *attendant))?,
        };
        let installation = &prepared.installation;
        attendant.installing(installation, package);
        added.name.clone_from(&installation.instance);
        added.installation = Some(installation.clone());
        if let Some(stage) = stage.filter(|_| installation.has_scripts) {
            return self.perform_scripted(session, device, index, &prepared, stage, attendant, added);
        }
        let plan = &installation.intended.plan;
        let mut content = OneSource { source: &device.source, image: &device.image };
        session.perform(plan, &mut content, None, crate::operation::log::of_installation(plan))
    }
}

impl Added {
    /// Whether the root is as it was before, as far as this package goes.
    fn left_nothing(&self) -> bool {
        let left = self.result.as_ref().err().map(Failure::left);
        matches!(left, Some(Left::Unchanged | Left::RolledBack))
    }

    fn refused(name: String, failure: Failure) -> Self {
        Self { name, installation: None, result: Err(failure), ending: Ending::default() }
    }
}
