//! pkgadd(1M): installs packages. Its own messages go to standard error.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::as_owner::options::OwnerOptions;
use crate::classic::console::Console;
use crate::classic::menu;
use patchadm_cli::arguments::{
    CategoryOption, Extensions, LibraryOptions, RootOption, ScriptTimeout, inside, listed, object_path,
    parse, script_settings,
};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::packages::EndedPackages;
use patchadm_cli::reply::{Reply, Stop};
use patchadm_core::operation::device::SPOOL;
use patchadm_core::operation::packages::add::{AddRequest, add_packages};
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_svr4::package::{ObjectPath, Params};

mod console;
mod layout;
mod spool;

pub(crate) use console::AddDetails;
use console::ended;

const USAGE: &str = "\
pkgadd [-nvSAGM] [-a admin] [-d device] [-R root] [-r response] [-V vfstab] [-k keystore] [-P passphrase]
    [-x proxy] [--replace-edited path] [--script-timeout duration] [--update] [pkginst...|-Y category,...]
pkgadd -s spool [-d device] [pkginst...|-Y category,...]";

/// Search path and administration directory recorded with packages, as the classic tools set them.
const RECORDED: [(&str, &str); 2] =
    [("PATH", "/sbin:/usr/sbin:/usr/bin:/usr/sadm/install/bin"), ("OAMBASE", "/usr/sadm/sysadm")];

/// Install packages
#[derive(clap::Parser)]
struct PkgaddArgs {
    /// Use this admin file: a path, a name in var/sadm/install/admin, or none
    #[arg(short, value_name = "ADMIN")]
    admin: Option<PathBuf>,
    /// Accepted for compatibility: there are no remote copies
    #[arg(short = 'A')]
    _remote: bool,
    /// Read the packages from this directory, datastream or archive
    #[arg(short, value_name = "DEVICE")]
    device: Option<PathBuf>,
    /// Accepted for compatibility: there is one zone
    #[arg(short = 'G')]
    _global: bool,
    /// Accepted for compatibility: client file systems are never mounted
    #[arg(short = 'M')]
    _no_mount: bool,
    /// Ask no questions, and print only the result
    #[arg(short)]
    non_interactive: bool,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    owner: OwnerOptions,
    /// Read the answers to the packages' questions from this file, or from a directory with a file for each package
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
    /// Accepted for compatibility: signatures are not checked
    #[arg(short = 'k', value_name = "KEYSTORE")]
    _keystore: Option<OsString>,
    /// Accepted for compatibility: signatures are not checked
    #[arg(short = 'P', value_name = "PASSPHRASE")]
    _passphrase: Option<OsString>,
    /// Accepted for compatibility: nothing is fetched from a network
    #[arg(short = 'x', value_name = "PROXY")]
    _proxy: Option<OsString>,
    /// Replace this symbolic link to a directory with the directory of a package; repeatable
    #[arg(long = "replace-edited", value_name = "PATH", value_parser = object_path, action = clap::ArgAction::Append)]
    overridden: Vec<ObjectPath>,
    /// Replace other versions of each package, older or newer
    #[arg(long, conflicts_with = "spool")]
    update: bool,
    #[command(flatten)]
    libraries: LibraryOptions,
    #[command(flatten)]
    script_timeout: ScriptTimeout,
    /// Put the packages into this directory instead of installing them
    #[arg(short, value_name = "SPOOL", conflicts_with = "non_interactive")]
    spool: Option<PathBuf>,
    #[command(flatten)]
    category: CategoryOption,
    /// The packages: an instance, PKG.* for all its instances, or all
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    _extensions: Extensions,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PkgaddArgs = parse(call, USAGE)?;
    let conversation = !args.non_interactive && !call.in_json && call.surroundings.stdin_is_terminal;
    let device = args.device.unwrap_or_else(|| PathBuf::from(SPOOL));
    let mut packages = listed(&args.packages);
    let categories = args.category.categories;
    if packages.is_empty() && categories.is_empty() {
        let chosen = if conversation { menu::choose(&mut call.output, &device)? } else { None };
        let message = "no package is named; `all` means every package of the device".to_owned();
        packages = chosen.ok_or(Stop::Usage { message, usage: USAGE })?;
    }
    if let Some(spool) = args.spool {
        return spool::run(call, &spool, device, packages, categories);
    }
    let reads_input = scripts_read_input(call, &device);
    let root = args.owner.open::<PkgaddArgs>(call, &args.root, Command::Pkgadd)?;
    let request = AddRequest {
        device,
        packages,
        categories,
        admin: args.admin,
        response: args.response,
        environment: environment(call),
        overridden: inside(&root, &args.overridden),
        update: args.update,
        conversation,
        reads_input,
        silent: args.non_interactive || call.in_json,
        scripts: script_settings(call, args.trace, args.script_timeout),
        shlibs: args.libraries.request(),
    };
    let copyright = !args.silent && !call.in_json;
    let details = AddDetails { device: &request.device, copyright, vendor: !args.silent };
    let mut console = Console::new(call, &root, !args.non_interactive, details);
    console.output.heedless();
    let outcome =
        call.change(&root, "pkgadd", None, |caller| add_packages(&root, &request, caller, &mut console))?;
    call.output = console.output;
    Ok(EndedPackages {
        command: Command::Pkgadd,
        wording: Wording::of_classic(root.prefix()),
        outcome,
        package: ended,
    }
    .reply(&root))
}

/// True if request scripts read standard input: it is no terminal and has no packages.
pub(crate) fn scripts_read_input(call: &Invocation, device: &Path) -> bool {
    let input = rustix::fs::fstat(std::io::stdin()).ok();
    let is_device = input.is_none_or(|input| {
        device.metadata().is_ok_and(|seen| (seen.dev(), seen.ino()) == (input.st_dev, input.st_ino))
    });
    !call.surroundings.stdin_is_terminal && !is_device
}

pub(crate) fn environment(call: &Invocation) -> Params {
    let locale = call.surroundings.locale.iter();
    let locale = locale.map(|(name, value)| (name.clone(), value.clone().into_vec()));
    let fixed = RECORDED.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    locale.chain(fixed).collect()
}
