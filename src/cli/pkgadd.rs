//! pkgadd(1M): installs packages, in the words of the classic command. Its own messages go to standard error.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::caller::{patience, with_caller};
use super::exit::{Exit, Stop};
use super::options::{CategoryOption, Extensions, RootOption, listed, parse, refuse_unsupported};
use super::output::Output;
use super::packages::{self, Ended, Package};
use super::{Invocation, menu, questions};
use crate::operation::add_package::{AddRequest, Added, add_packages};
use crate::operation::attendant::Attendant;
use crate::operation::device::SPOOL;
use crate::operation::installation::Installation;
use crate::package::Params;
use crate::plan::refusal::Command;
use crate::root::Root;
use crate::source::PackageImage;
use spool::Spooling;

mod layout;
mod spool;

const USAGE: &str = "\
pkgadd [-nSAGM] [-a admin] [-d device] [-R root] [-r response] [pkginst...|-Y category,...]
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
    /// Take the answers to the packages' questions from this file, or from a directory with a file for each package
    #[arg(short, value_name = "RESPONSE")]
    response: Option<PathBuf>,
    /// Print no copyright texts
    #[arg(short = 'S')]
    silent: bool,
    /// Put the packages into this directory instead of installing them
    #[arg(short, value_name = "SPOOL", conflicts_with = "non_interactive")]
    spool: Option<PathBuf>,
    #[command(flatten)]
    category: CategoryOption,
    #[command(flatten)]
    unsupported: Unsupported,
    /// The packages: an instance, PKG.* for all its instances, or all
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    extensions: Extensions,
}

/// Options of the classic command that are known and do nothing yet.
#[derive(clap::Args)]
struct Unsupported {
    #[arg(short, hide = true)]
    verbose: bool,
    #[arg(short = 'V', hide = true)]
    vfstab: Option<OsString>,
    #[arg(short = 'k', hide = true)]
    keystore: Option<OsString>,
    #[arg(short = 'P', hide = true)]
    passphrase: Option<OsString>,
    #[arg(short = 'x', hide = true)]
    proxy: Option<OsString>,
}

impl Unsupported {
    fn refuse(&self) -> Result<(), Stop> {
        let options = [
            ("-v", self.verbose),
            ("-V", self.vfstab.is_some()),
            ("-k", self.keystore.is_some()),
            ("-P", self.passphrase.is_some()),
            ("-x", self.proxy.is_some()),
        ];
        refuse_unsupported(options, USAGE)
    }
}

/// Runs it.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    args.unsupported.refuse()?;
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
    let root = args.root.open(call)?;
    let request = AddRequest {
        device,
        packages,
        categories,
        admin: args.admin,
        response: args.response,
        environment: environment(call),
        conversation,
    };
    let mut screen = Screen {
        output: Output::new(call.program),
        root: &root,
        device: &request.device,
        progress: !args.non_interactive && !in_json,
        outcome: !in_json,
        copyright: !args.silent && !in_json,
    };
    let wait = patience(&root, None);
    let report =
        with_caller(call, "pkgadd", wait, |caller| add_packages(&root, &request, caller, &mut screen))?;
    screen.output.flush()?;
    Ended { command: Command::Pkgadd, outcome: &report, package }.report(call, &root, in_json)
}

/// What is recorded of the environment with a package.
fn environment(call: &Invocation) -> Params {
    let locale = call.surroundings.locale.iter();
    let locale = locale.map(|(name, value)| (name.clone(), value.clone().into_vec()));
    let fixed = RECORDED.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    locale.chain(fixed).collect()
}

fn package(added: &Added) -> Package<'_> {
    let plan = added.installation.as_ref().map(|installation| &installation.plan);
    Package { name: &added.name, plan, result: &added.result }
}

/// Somebody before a terminal, or a script that reads what is printed.
struct Screen<'a> {
    output: Output,
    root: &'a Root,
    device: &'a Path,
    /// Whether the steps are told.
    progress: bool,
    /// Whether the outcome is told.
    outcome: bool,
    /// Whether copyright texts are printed.
    copyright: bool,
}

impl Screen<'_> {
    /// Prints where standard error can be written to; nothing depends on it.
    fn say(&mut self, text: &str) {
        drop(self.output.complain(text));
    }
}

impl Attendant for Screen<'_> {
    fn adding(&mut self, name: &str, package: &PackageImage) {
        if self.progress {
            let text = layout::heading(name, &self.device.display().to_string(), package);
            self.say(&text);
        }
        let copyright = package.install.get("copyright").filter(|_| self.copyright);
        if let Some(text) = copyright {
            let newline: &[u8] = if text.ends_with(b"\n") { b"" } else { b"\n" };
            drop(self.output.print([text, newline].concat()));
        } else if self.progress {
            let vendor = package.params.text("VENDOR").into_owned();
            if !vendor.is_empty() {
                self.say(&format!("{vendor}\n"));
            }
        }
    }

    fn installing(&mut self, installation: &Installation, package: &PackageImage) {
        if installation.is_update && self.outcome {
            self.say(&layout::update_notice(&installation.instance));
        }
        if self.progress {
            let text = layout::steps(installation, package, self.root);
            self.say(&text);
        }
    }

    fn added(&mut self, added: &Added) {
        if !self.outcome {
            return;
        }
        if let (true, Some(installation), Ok(_)) = (self.progress, &added.installation, &added.result) {
            let text = layout::paths(installation, self.root);
            self.say(&text);
        }
        packages::close(&mut self.output, Command::Pkgadd, "Installation of", &package(added));
    }

    fn agrees(&mut self, name: &str, questions: &[String]) -> bool {
        let prompt = format!("\nDo you want to continue with the installation of <{name}> [y,n,?] ");
        let help = "Answer y to install the package although this was found, n to leave the system as it is.";
        questions::agreed(&mut self.output, questions, &prompt, help)
    }
}
