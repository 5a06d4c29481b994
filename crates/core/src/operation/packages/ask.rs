//! `pkgask`: runs request scripts and writes response files; changes nothing in the root. A missing request script or
//! an existing response file is an error.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::operation::device::{DeliveredPackage, OpenDevice};
use crate::operation::failure::Failure;
use crate::operation::packages::planning::{AddInput, AddRequest};
use crate::operation::packages::report::PackageObserver;
use crate::operation::scripts::interview::ScriptAnswers;
use crate::operation::scripts::{ScriptSettings, system_scripts};
use crate::operation::session::{Caller, RootAndPolicy};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::scripts::InstallScripts;
use patchadm_rootfs::{Dir, NewTree, Root};
use patchadm_svr4::format::admin::Admin;
use patchadm_svr4::package::{Mode, Params};

#[derive(Clone, Debug, Default)]
pub struct AskRequest {
    pub device: PathBuf,
    pub packages: Vec<String>,
    /// A file, or a directory for one file per package.
    pub response: PathBuf,
    /// Prompting is allowed.
    pub conversation: bool,
    /// The scripts read standard input, which is no terminal.
    pub reads_input: bool,
    pub scripts: ScriptSettings,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskReport {
    pub made: Vec<PathBuf>,
    /// Words that match no package. If there are any, nothing is asked.
    pub missing: Vec<String>,
    /// A script warned; there is no response file of its answers.
    pub warned: bool,
}

/// Calls `done` with each response file and whether it was written.
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

/// Fails if the file exists.
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
