//! `pkgrm`: installed packages are removed one after another, each a run of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::answers::{self, AdminFile};
use super::attendant::Attendant;
use super::content::NoContent;
use super::failure::Failure;
use super::packages::{PackagesReport, leaves_root_usable};
use super::select::Selection;
use super::session::{Caller, Ground, Session, may_change, must_have_database};
use crate::database::contents::lines_of_package;
use crate::database::{View, installed, places};
use crate::format::admin::Admin;
use crate::package::{Inventory, Mode, ObjectPath, PkgInst, RecordFile, Timestamp, Touched};
use crate::plan::remove::remove;
use crate::plan::{Action, Plan};
use crate::root::Root;
use crate::transaction::Receipt;

/// The largest `depend` file that is read, in bytes.
const LARGEST_DEPEND: u64 = 1 << 20;

/// What pkgrm(1M) was asked for.
#[derive(Clone, Debug, Default)]
pub struct RemoveRequest {
    /// Which packages: names, `PKG.*`.
    pub packages: Vec<String>,
    /// The admin file: absolute, a name below `var/sadm/install/admin` of the root, or `none`.
    pub admin: Option<PathBuf>,
    /// Whether somebody is asked, about each package. If not, the request counts as confirmed.
    pub conversation: bool,
}

/// What removing a package means.
#[derive(Clone, Debug)]
pub struct Removal {
    /// What is done.
    pub plan: Plan,
    /// Objects that stay because other packages own them too.
    pub shared: Vec<ObjectPath>,
    /// After it has been done: directories that stay because they are not empty.
    pub full: Vec<ObjectPath>,
}

/// What became of one package.
#[derive(Debug)]
pub struct Removed {
    /// Its instance.
    pub name: String,
    /// What was to be done; none where it was refused.
    pub removal: Option<Removal>,
    /// What was done, or why not.
    pub result: Result<Receipt, Failure>,
}

/// Removes packages. An error is one of the root as a whole; what is wrong with one package is in its part of the
/// report, and the others are tried nevertheless.
pub fn remove_packages(
    root: &Root,
    request: &RemoveRequest,
    caller: &Caller<'_>,
    attendant: &mut dyn Attendant,
) -> Result<PackagesReport<Removed>, Failure> {
    may_change(root)?;
    must_have_database(root)?;
    let AdminFile { admin, unknown } = answers::admin(root, request.admin.as_deref())?;
    let session = Session::begin(Ground::of(root)?, caller)?;
    let (selected, missing) = selected(&session.ground.root, &request.packages)?;
    let mut packages = Vec::new();
    let wanted = if missing.is_empty() { selected } else { Vec::new() };
    for package in wanted {
        let removed = one(&session, request, &admin, &package, attendant);
        attendant.removed(&removed);
        let goes_on = removed.result.as_ref().err().is_none_or(leaves_root_usable);
        packages.push(removed);
        if !goes_on {
            break;
        }
    }
    Ok(PackagesReport { recovered: session.recovered, unknown_answers: unknown, missing, packages })
}

/// The installed packages that are meant, in the order in which they were named, and the words that fit none.
fn selected(root: &Root, words: &[String]) -> Result<(Vec<PkgInst>, Vec<String>), Failure> {
    let all = installed::packages(&View::live(root))?;
    let (mut selected, mut missing) = (Vec::new(), Vec::new());
    for pattern in Selection::of(words).patterns {
        let fitting: Vec<&PkgInst> = all.iter().filter(|one| pattern.fits(one.as_str())).collect();
        if fitting.is_empty() {
            missing.push(pattern.to_string());
        }
        for package in fitting {
            if !selected.contains(package) {
                selected.push(package.clone());
            }
        }
    }
    Ok((selected, missing))
}

fn one(
    session: &Session<'_>,
    request: &RemoveRequest,
    admin: &Admin,
    package: &PkgInst,
    attendant: &mut dyn Attendant,
) -> Removed {
    let name = package.to_string();
    let mut removal = match prepare(session, request, admin, package, attendant) {
        Ok(removal) => removal,
        Err(failure) => return Removed { name, removal: None, result: Err(failure) },
    };
    let text = super::log::of_removal(&removal.plan);
    let result = session.perform(removal.plan.clone(), &mut NoContent, None, text);
    if result.is_ok() {
        removal.full = directories_left(&session.ground.root, &removal.plan);
    }
    Removed { name, removal: Some(removal), result }
}

fn prepare(
    session: &Session<'_>,
    request: &RemoveRequest,
    admin: &Admin,
    package: &PkgInst,
    attendant: &mut dyn Attendant,
) -> Result<Removal, Failure> {
    let inventory = survey(session, package)?;
    if let Some(installed) = inventory.packages.get(package) {
        attendant.removing(package.as_str(), &installed.params);
    }
    let occasion = &session.caller.occasion;
    let plan = |admin: &Admin, conversation: bool| remove(package, &inventory, admin, conversation, occasion);
    let planned = plan(admin, request.conversation)?;
    if request.conversation {
        let questions = answers::open_questions(admin, |admin| plan(admin, false));
        if !attendant.agrees(package.as_str(), &questions) {
            return Err(Failure::Declined);
        }
    }
    let stays = inventory.lines.iter().filter(|(_, line)| line.is_owned_by(package) && line.owners.len() > 1);
    let shared = stays.map(|(path, _)| path.clone()).collect();
    Ok(Removal { plan: planned, shared, full: Vec::new() })
}

/// Everything that the package owns, the directories of its patches, and what the others depend on.
fn survey(session: &Session<'_>, package: &PkgInst) -> Result<Inventory, Failure> {
    let view = View::live(&session.ground.root);
    let mut touched = Touched::default();
    touched.packages.insert(package.clone());
    touched.paths.extend(lines_of_package(&view, package)?.into_keys());
    let patches = installed::params(&view, package)?.map(|params| params.text("PATCHLIST").into_owned());
    for id in patches.iter().flat_map(|list| list.split_whitespace()) {
        touched.paths.extend(ObjectPath::new(format!("/var/sadm/patch/{id}").as_bytes()).ok());
    }
    let mut inventory = session.ground.survey(&touched, None)?;
    for (other, installed) in inventory.packages.iter_mut().filter(|(other, _)| *other != package) {
        installed.records = depend_file(&view, other)?;
    }
    Ok(inventory)
}

/// The `depend` file of an installed package, as a record.
fn depend_file(view: &View<'_>, package: &PkgInst) -> Result<BTreeMap<Vec<u8>, RecordFile>, Failure> {
    let name = b"install/depend".to_vec();
    let Ok(path) = places::package(package).join(&name) else { return Ok(BTreeMap::new()) };
    let bytes = view.read(&path, LARGEST_DEPEND)?;
    let record = |bytes| RecordFile { bytes, mode: Mode::of(0o644), mtime: Timestamp::default() };
    Ok(bytes.map(|bytes| (name, record(bytes))).into_iter().collect())
}

/// Directories of a plan that was carried out which are there still.
fn directories_left(root: &Root, plan: &Plan) -> Vec<ObjectPath> {
    let removed = plan.changes.iter().filter(|change| matches!(change.action, Action::RemoveDirectory));
    let view = View::live(root);
    removed.map(|change| change.path.clone()).filter(|path| matches!(view.look(path), Ok(Some(_)))).collect()
}
