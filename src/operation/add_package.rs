//! `pkgadd`: packages of a source are installed one after another, each a run of its own.
//!
//! Everything that can be read in advance is read first: what is wrong with a package of the selection ends the
//! command before the first one is installed. Packages that were installed stay when a later one fails.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::answers::{self, AdminFile};
use super::attendant::Attendant;
use super::content::OneSource;
use super::device::Device;
use super::failure::Failure;
use super::identical::mark_identical;
use super::installation::{Installation, described, instances};
use super::packages::{PackagesReport, leaves_root_usable};
use super::query::spooled_name;
use super::session::{Caller, Ground, Session, may_change};
use crate::database::{View, installed};
use crate::format::admin::Admin;
use crate::package::{Installed, Inventory, Params, PkgInst, Touched};
use crate::plan::concern::{Delivered, delivered_files};
use crate::plan::install::{InstallOptions, install};
use crate::plan::refusal::{Reason, Refusal};
use crate::root::Root;
use crate::source::PackageImage;
use crate::transaction::{Receipt, Recovered};

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
    /// Whether somebody can be asked.
    pub conversation: bool,
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
    let ground = Ground::of(root)?;
    if !installed::has_database(&View::live(root))? {
        let place = Place { ground: &ground, admin: &admin, request, caller };
        report.packages = place.refused(&device, attendant);
        if report.packages.len() == device.selected.len() {
            return Ok(report);
        }
        report.packages.clear();
        Session::make_database(root)?;
    }
    let session = Session::begin(ground, caller)?;
    let place = Place { ground: &session.ground, admin: &admin, request, caller };
    for &index in &device.selected {
        let added = place.add(&session, &device, index, attendant);
        attendant.added(&added);
        let goes_on = added.result.as_ref().err().is_none_or(leaves_root_usable);
        report.packages.push(added);
        if !goes_on {
            break;
        }
    }
    Ok(PackagesReport { recovered: session.recovered, ..report })
}

/// A root that packages are planned for.
struct Place<'a> {
    ground: &'a Ground,
    admin: &'a Admin,
    request: &'a AddRequest,
    caller: &'a Caller<'a>,
}

impl Place<'_> {
    /// The packages that are refused on a root that has no database yet: where all are, none is made.
    fn refused(&self, device: &Device, attendant: &mut dyn Attendant) -> Vec<Added> {
        let mut refused = Vec::new();
        for &index in &device.selected {
            let Err(failure) = self.prepare(device, index, None) else { return Vec::new() };
            let name = device.package(index).map(spooled_name).unwrap_or_default();
            refused.push(Added { name, installation: None, result: Err(failure) });
        }
        for added in &refused {
            attendant.added(added);
        }
        refused
    }

    fn add(
        &self,
        session: &Session<'_>,
        device: &Device,
        index: usize,
        attendant: &mut dyn Attendant,
    ) -> Added {
        let package = match device.package(index) {
            Ok(package) => package,
            Err(failure) => {
                return Added { name: device.image.name.clone(), installation: None, result: Err(failure) };
            }
        };
        let name = spooled_name(package);
        attendant.adding(&name, package);
        let installation = match self.prepare(device, index, Some(&mut *attendant)) {
            Ok(installation) => installation,
            Err(failure) => return Added { name, installation: None, result: Err(failure) },
        };
        attendant.installing(&installation, package);
        let mut content = OneSource { source: &device.source, image: &device.image };
        let text = super::log::of_installation(&installation.plan);
        let result = session.perform(installation.plan.clone(), &mut content, None, text);
        Added { name: installation.instance.clone(), installation: Some(installation), result }
    }

    /// Plans a package, and asks what is open.
    fn prepare(
        &self,
        device: &Device,
        index: usize,
        attendant: Option<&mut (dyn Attendant + '_)>,
    ) -> Result<Installation, Failure> {
        let package = device.package(index)?;
        let name = spooled_name(package);
        let response = answers::response(self.request.response.as_deref(), &name)?;
        let present = self.packages(package)?;
        let instances = instances(package, &present, self.admin, &response);
        let inventory = self.survey(device, index, &instances)?;
        let options = InstallOptions {
            admin: self.admin.clone(),
            conversation: false,
            environment: self.request.environment.clone(),
            response,
        };
        let plan = |admin: &Admin, conversation: bool| {
            let options = InstallOptions { admin: admin.clone(), conversation, ..options.clone() };
            install(&device.image, index, &inventory, &options, &self.caller.occasion)
        };
        let planned = match (plan(self.admin, false), attendant) {
            (Err(refusal), Some(attendant)) if self.request.conversation && is_question(&refusal) => {
                let questions = answers::open_questions(self.admin, |admin| plan(admin, false));
                // a refusal is no question, and has to be told before any is asked
                let planned = plan(self.admin, true)?;
                if !attendant.agrees(&name, &questions) {
                    return Err(Failure::Declined);
                }
                planned
            }
            (planned, _) => planned?,
        };
        Ok(described(planned, package, &instances, &present, self.admin))
    }

    /// The installed instances of a package.
    fn packages(&self, package: &PackageImage) -> Result<BTreeMap<PkgInst, Installed>, Failure> {
        let view = View::live(&self.ground.root);
        let abbreviation = package.params.text("PKG");
        let mut found = BTreeMap::new();
        for instance in installed::packages(&view)? {
            if instance.abbreviation() == abbreviation.trim()
                && let Some(installed) = installed::installed(&view, &instance)?
            {
                found.insert(instance, installed);
            }
        }
        Ok(found)
    }

    /// Surveys what the package touches, whichever instance the planner chooses.
    fn survey(
        &self,
        device: &Device,
        index: usize,
        instances: &BTreeMap<PkgInst, Installed>,
    ) -> Result<Inventory, Failure> {
        let mut touched = Touched::default();
        let package = device.package(index)?;
        for (instance, as_installed) in instances {
            touched.add(instance, index, package, &as_installed.params);
        }
        let mut inventory = self.ground.survey(&touched, None)?;
        let files = delivered_files(&device.image, instances);
        let files: Vec<Delivered<'_>> = files.into_iter().filter(|file| file.package == index).collect();
        mark_identical(&device.source, &device.image, files, &mut inventory)?;
        Ok(inventory)
    }
}

fn is_question(refusal: &Refusal) -> bool {
    matches!(*refusal.reason, Reason::Interaction(_))
}
