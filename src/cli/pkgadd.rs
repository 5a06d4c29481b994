//! pkgadd(1M): installs packages, in the words of the classic command. Its own messages go to standard error.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use super::caller::{patience, with_caller};
use super::exit::{Exit, Stop};
use super::options::{CategoryOption, Extensions, RootOption, listed, parse};
use super::output::Output;
use super::packages::{Ended, Package};
use super::screen::Screen;
use super::verb::{inside, object_path};
use super::whose_root::OwnerOptions;
use super::{Invocation, menu};
use crate::operation::device::SPOOL;
use crate::operation::packages::add::{AddRequest, add_packages};
use crate::operation::packages::report::Added;
use crate::operation::scripts::ScriptSettings;
use crate::package::{ObjectPath, Params};
use crate::plan::refusal::Command;
use spool::Spooling;

mod layout;
mod screen;
mod spool;

pub(super) use screen::Adding;

const USAGE: &str = "\
pkgadd [-nvSAGM] [-a admin] [-d device] [-R root] [-r response] [-V vfstab] [-k keystore] [-P passphrase]
    [-x proxy] [--override path] [--script-timeout seconds] [pkginst...|-Y category,...]
pkgadd -s spool [-d device] [pkginst...|-Y category,...]";

/// The search path and administration directory that packages are recorded with, as the classic tools set them.
const RECORDED: [(&str, &str); 2] =
    [("PATH", "/sbin:/usr/sbin:/usr/bin:/usr/sadm/install/bin"), ("OAMBASE", "/usr/sadm/sysadm")];

/// Install packages
#[derive(clap::Parser)]
struct Args {
    /// Use this admin file: a path, a name below var/sadm/install/admin, or none
    #[arg(short, value_name = "ADMIN")]
    admin: Option<PathBuf>,
    /// Accepted for compatibility: there are no remote copies
    #[arg(short = 'A')]
    _remote: bool,
    /// Take the packages from this directory, datastream or archive
    #[arg(short, value_name = "DEVICE")]
    device: Option<PathBuf>,
    /// Accepted for compatibility: there is one zone
    #[arg(short = 'G')]
    _global: bool,
    /// Accepted for compatibility: client file systems are never mounted
    #[arg(short = 'M')]
    _no_mount: bool,
    /// Ask nothing, and print the outcome only
    #[arg(short)]
    non_interactive: bool,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    /// Take the answers to the packages' questions from this file, or from a directory with a file for each package
    #[arg(short, value_name = "RESPONSE")]
    response: Option<PathBuf>,
    /// Print no copyright texts
    #[arg(short = 'S')]
    silent: bool,
    /// Show every command of the packages' scripts, as sh -x does
    #[arg(short = 'v')]
    trace: bool,
    /// Accepted for compatibility: file systems of clients are never mounted
    #[arg(short = 'V', value_name = "VFSTAB")]
    _vfstab: Option<PathBuf>,
    /// Accepted for compatibility: signatures are not looked at
    #[arg(short = 'k', value_name = "KEYSTORE")]
    _keystore: Option<OsString>,
    /// Accepted for compatibility: signatures are not looked at
    #[arg(short = 'P', value_name = "PASSPHRASE")]
    _passphrase: Option<OsString>,
    /// Accepted for compatibility: nothing is fetched from a network
    #[arg(short = 'x', value_name = "PROXY")]
    _proxy: Option<OsString>,
    /// Replace this symbolic link to a directory by the directory of a package; may be repeated
    #[arg(long = "override", value_name = "PATH", value_parser = object_path, action = clap::ArgAction::Append)]
    overridden: Vec<ObjectPath>,
    /// End a script that takes longer than this, 0 for never; otherwise as the policy of the root says
    #[arg(long, value_name = "SECONDS")]
    script_timeout: Option<u64>,
    /// Put the packages into this directory instead of installing them
    #[arg(short, value_name = "SPOOL", conflicts_with = "non_interactive")]
    spool: Option<PathBuf>,
    #[command(flatten)]
    category: CategoryOption,
    /// The packages: an instance, PKG.* for all its instances, or all
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    extensions: Extensions,
}

/// Runs it.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    let in_json = args.extensions.json;
    let conversation = !args.non_interactive && !in_json && call.surroundings.stdin_is_terminal;
    let device = args.device.unwrap_or_else(|| PathBuf::from(SPOOL));
    let mut packages = listed(&args.packages);
    let categories = args.category.categories;
    if packages.is_empty() && categories.is_empty() {
        let chosen = if conversation { menu::choose(&mut call.output, &device)? } else { None };
        let message = "no package is named; `all` means every package of the device".to_owned();
        packages = chosen.ok_or(Stop::Usage { message, usage: USAGE })?;
    }
    if let Some(spool) = args.spool {
        return spool::run(call, Spooling { device, spool, packages, categories }, in_json);
    }
    let root = args.owner.open::<Args>(call, &args.root, Command::Pkgadd)?;
    let request = AddRequest {
        device,
        packages,
        categories,
        admin: args.admin,
        response: args.response,
        environment: environment(call),
        overridden: inside(&root, &args.overridden),
        conversation,
        silent: args.non_interactive || in_json,
        scripts: script_settings(call, args.trace, args.script_timeout),
    };
    let mut screen = Screen {
        output: Output::new(call.program),
        root: &root,
        progress: !args.non_interactive && !in_json,
        outcome: !in_json,
        scene: Adding { device: &request.device, copyright: !args.silent && !in_json, vendor: !args.silent },
    };
    call.output.heedless();
    screen.output.heedless();
    let wait = patience(&root, None);
    let report =
        with_caller(call, "pkgadd", wait, |caller| add_packages(&root, &request, caller, &mut screen))?;
    screen.output.flush()?;
    call.output.inherit_loss(screen.output);
    Ended { command: Command::Pkgadd, outcome: &report, package }.report(call, &root, in_json)
}

/// How scripts are run.
pub(super) fn script_settings(call: &Invocation, trace: bool, limit: Option<u64>) -> ScriptSettings {
    let temporary = call.surroundings.temporary.clone();
    let locale = call.surroundings.locale.clone();
    ScriptSettings { executable: PathBuf::from("/proc/self/exe"), temporary, trace, limit, locale }
}

/// What is recorded of the environment with a package.
pub(super) fn environment(call: &Invocation) -> Params {
    let locale = call.surroundings.locale.iter();
    let locale = locale.map(|(name, value)| (name.clone(), value.clone().into_vec()));
    let fixed = RECORDED.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    locale.chain(fixed).collect()
}

fn package(added: &Added) -> Package<'_> {
    let plan = added.installation.as_ref().map(|installation| &installation.intended.plan);
    Package { name: &added.name, plan, result: &added.result, ending: added.ending }
}
