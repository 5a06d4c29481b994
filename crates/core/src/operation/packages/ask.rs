//! `pkgask`: runs the request scripts of packages, and writes response files for later installations.
//!
//! Nothing in the root is changed. A package without a request script is an error, as is an existing response file.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::operation::device::{DeliveredPackage, OpenDevice};
use crate::operation::failure::Failure;
use crate::operation::packages::planning::{AddInput, AddRequest};
use crate::operation::packages::report::PackageObserver;
use crate::operation::scripts::ScriptSettings;
use crate::operation::scripts::interview::ScriptAnswers;
use crate::operation::scripts::system::system_scripts;
use crate::operation::session::{Caller, RootAndPolicy};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::scripts::InstallScripts;
use patchadm_rootfs::{Dir, NewTree, Root};
use patchadm_svr4::format::admin::Admin;
use patchadm_svr4::package::{Mode, Params};

/// The options and operands of pkgask(1M).
#[derive(Clone, Debug, Default)]
pub struct AskRequest {
    /// The source of the packages.
    pub device: PathBuf,
    /// The selected packages.
    pub packages: Vec<String>,
    /// The file for the answers, or a directory for one file per package.
    pub response: PathBuf,
    /// True if prompting is allowed.
    pub conversation: bool,
    /// True if the scripts read the standard input of the program, which is no terminal.
    pub reads_input: bool,
    /// The settings of scripts.
    pub scripts: ScriptSettings,
}

/// The outcome of pkgask(1M).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskReport {
    /// The response files that were made, package by package.
    pub made: Vec<PathBuf>,
    /// Words that match no package. If there are any, nothing is asked.
    pub missing: Vec<String>,
    /// True if a script warned; there is no response file of its answers then.
    pub warned: bool,
}

/// Runs the request scripts, and calls `done` with each response file and whether it was written.
pub fn ask_packages(
    root: &Root,
    request: &AskRequest,
    caller: &Caller<'_>,
    observer: &mut dyn PackageObserver,
    done: &mut dyn FnMut(&mut dyn PackageObserver, &Path, bool),
) -> Result<AskReport, Failure> {
    let device = match OpenDevice::open(&request.device, &request.packages, caller.interrupt)? {
        Ok(device) => device,
        Err(missing) => return Ok(AskReport { missing, ..AskReport::default() }),
    };
    device.source.check_room_to_plan(&device.image)?;
    let ground = RootAndPolicy::of(root)?;
    let system = system_scripts(&ground)?;
    let add = AddRequest {
        device: request.device.clone(),
        conversation: request.conversation,
        reads_input: request.reads_input,
        scripts: request.scripts.clone(),
        ..AddRequest::default()
    };
    let admin = Admin::delivered();
    let input = AddInput::new(&ground, &admin, &system, &add, caller);
    let mut asked = AskReport::default();
    for &index in &device.selected {
        let delivered = device.delivered(index)?;
        let name = delivered.image.spooled_name();
        let file = response_file(&request.response, &name)?;
        observer.adding(&name, delivered.image);
        let answers = input.answers(delivered, observer)?;
        if answers.warned {
            asked.warned = true;
            done(observer, &file, false);
            continue;
        }
        write(&file, &answers.text).map_err(|error| bad(&file, &error))?;
        done(observer, &file, true);
        asked.made.push(file);
    }
    Ok(asked)
}

impl<'a> AddInput<'a> {
    fn answers(
        &self,
        delivered: DeliveredPackage<'a>,
        observer: &mut dyn PackageObserver,
    ) -> Result<ScriptAnswers, Failure> {
        let package = delivered.image;
        let refuse = |reason: Reason| reason.of(Command::Pkgadd, &package.spooled_name());
        let placed = self.place(delivered, &Params::new())?;
        let request = package.install.contains_key("request");
        if !request {
            return Err(refuse(Reason::NothingToAsk).into());
        }
        let scripts = InstallScripts { request, ..InstallScripts::default() };
        scripts.check(package, placed.instance.as_str(), self.policy).map_err(refuse)?;
        let mut setup = self.with_scripts(delivered, &placed)?;
        self.ask(&mut setup, &scripts, None, observer)
    }
}

/// Returns the file for the answers of a package, which must not exist.
fn response_file(named: &Path, package: &str) -> Result<PathBuf, Failure> {
    let file = if named.is_dir() { named.join(package) } else { named.to_owned() };
    match file.symlink_metadata() {
        Ok(_) => Err(Failure::BadResponseFile(format!("response file <{}> must not exist", file.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(file),
        Err(error) => Err(bad(&file, &error)),
    }
}

fn bad(file: &Path, error: &io::Error) -> Failure {
    Failure::BadResponseFile(format!("response file <{}>: {error}", file.display()))
}

fn write(file: &Path, text: &[u8]) -> io::Result<()> {
    let above = file.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().unwrap_or_default();
    Ok(NewTree::below(Dir::of_host(above)?).write(name.as_bytes(), text, Mode::of(0o644)).map(drop)?)
}
