//! pkgmk(1): makes a package from a prototype. All messages go to standard error; `-n` prints the pkgmap.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use patchadm_cli::arguments::{Extensions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::cause_of::{of_io, of_root};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_cli::surroundings::output::without_numbers;
use patchadm_cli::surroundings::{Output, Surroundings};
use patchadm_making::make::{
    MadePackage, MakeError, MakeRequest, MakeStep, MakeWatch, ParameterDefaults, make_package, map_package,
};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::{Params, PkgInst};

const USAGE: &str = "\
pkgmk [-o] [-a arch] [-b base_src_dir] [-d device] [-f prototype] [-l limit] [-p pstamp]
      [-r rootpath,...] [-v version] [variable=value...] [pkginst]";

const SPOOL: &str = "/var/spool/pkg";

/// Make a package from a prototype
#[derive(clap::Parser)]
struct PkgmkArgs {
    /// Replace an existing package
    #[arg(short)]
    overwrite: bool,
    /// Set ARCH
    #[arg(short, value_name = "ARCH")]
    arch: Option<OsString>,
    /// Look for objects with relative paths in this directory; -r then applies only to absolute paths
    #[arg(short, value_name = "DIR")]
    basedir: Option<PathBuf>,
    /// Put the package into this directory instead of /var/spool/pkg
    #[arg(short, value_name = "DEVICE")]
    device: Option<PathBuf>,
    /// Read this prototype instead of prototype or Prototype
    #[arg(short = 'f', value_name = "PROTOTYPE")]
    prototype: Option<PathBuf>,
    /// Refuse to make a package of more than this many 512-byte blocks
    #[arg(short, value_name = "BLOCKS")]
    limit: Option<u64>,
    /// Set PSTAMP
    #[arg(short, value_name = "PSTAMP")]
    pstamp: Option<OsString>,
    /// Look for objects below these directories, separated by commas
    #[arg(short, value_name = "DIR,...")]
    roots: Option<OsString>,
    /// Set VERSION
    #[arg(short = 'v', value_name = "VERSION")]
    release: Option<OsString>,
    #[arg(short = 'n', hide = true)]
    map_only: bool,
    /// Variables and parameters, then the instance to make
    #[arg(value_name = "VARIABLE=VALUE PKGINST")]
    words: Vec<OsString>,
    #[command(flatten)]
    _extensions: Extensions,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PkgmkArgs = parse(call, USAGE)?;
    let request = args.request(&call.surroundings)?;
    let in_json = call.in_json;
    let mut warnings = Vec::new();
    let result = with_signals(|interrupt| {
        let mut screen = Output::new(call.program);
        let mut tell = |step: MakeStep| {
            if let MakeStep::Warning(warning) = &step {
                warnings.push(warning.to_string());
            }
            if !in_json {
                // Without standard error there is nobody to tell.
                let _ = screen.complain(step_text(&step));
            }
        };
        let mut watch = MakeWatch { tell: &mut tell, interrupt };
        if args.map_only { map_package(&request, &mut watch) } else { make_package(&request, &mut watch) }
    })?;
    let made = match result {
        Ok(made) => made,
        Err(error) => return Ok(Reply::new(exit_of(&error), MakeFailure::of(&error))),
    };
    if !args.map_only {
        call.output.heedless();
    }
    Ok(Reply::new(Exit::OK, MakeReport::of(made, warnings, args.map_only)))
}

fn exit_of(error: &MakeError) -> Exit {
    match error {
        MakeError::NoPkginfo => Exit::new(99, ExitCause::NotFound),
        MakeError::Interrupted(_) => Exit::new(3, ExitCause::Signal),
        MakeError::NoPrototype => Exit::failed(ExitCause::NotFound),
        MakeError::Exists(_) => Exit::failed(ExitCause::AlreadyApplied),
        MakeError::Foreign(_) => Exit::failed(ExitCause::Edited),
        MakeError::Read { error, .. } => Exit::failed(of_io(error)),
        MakeError::Write(error) => Exit::failed(of_root(error)),
        MakeError::Instance { .. } => Exit::failed(ExitCause::Usage),
        MakeError::Limit { .. } => Exit::failed(ExitCause::Restricted),
        _ => Exit::failed(ExitCause::DamagedInput),
    }
}

#[derive(Serialize)]
struct MakeFailure {
    result: ResultWord,
    error: String,
    troubles: Vec<String>,
}

impl MakeFailure {
    fn of(error: &MakeError) -> Self {
        let troubles = match error {
            MakeError::Prototype(troubles) => troubles.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        Self { result: exit_of(error).result(), error: error.to_string(), troubles }
    }
}

impl CommandReport for MakeFailure {
    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        for trouble in &self.troubles {
            output.complain(format!("{}\n", without_numbers(trouble)))?;
        }
        output.error(&self.error)?;
        Ok(output.complain("## Packaging was not successful.\n")?)
    }
}

impl PkgmkArgs {
    fn request(&self, surroundings: &Surroundings) -> Result<MakeRequest, Stop> {
        let usage = |message: String| Stop::Usage { message, usage: USAGE };
        let mut assignments = Params::new();
        let options = [("ARCH", &self.arch), ("VERSION", &self.release), ("PSTAMP", &self.pstamp)];
        for (name, value) in options {
            if let Some(value) = value {
                assignments.set(name, value.as_bytes());
            }
        }
        let mut instance = None;
        for word in &self.words {
            if let Some((name, value)) = assignment(word) {
                let name = name.ok_or_else(|| usage(format!("{} sets no variable", shown(word))))?;
                assignments.set(name, value);
            } else if instance.is_some() {
                return Err(usage("only one package can be made at a time".to_owned()));
            } else {
                let named = word.to_str().and_then(|word| PkgInst::new(word).ok());
                instance = Some(named.ok_or_else(|| Stop::Refused {
                    exit: Exit::failed(ExitCause::Usage),
                    message: format!("invalid package instance <{}>", shown(word)),
                })?);
            }
        }
        Ok(MakeRequest {
            prototype: self.prototype.clone(),
            device: self.device.clone().unwrap_or_else(|| PathBuf::from(SPOOL)),
            overwrite: self.overwrite,
            roots: self.roots.as_deref().map(list).unwrap_or_default(),
            basedir: self.basedir.clone(),
            assignments,
            limit: self.limit,
            instance,
            defaults: defaults(surroundings),
            now: surroundings.now.timestamp(),
        })
    }
}

/// Parses `name=value`; no name if it is invalid.
fn assignment(word: &OsString) -> Option<(Option<&str>, &[u8])> {
    let bytes = word.as_bytes();
    let equals = bytes.iter().position(|&byte| byte == b'=')?;
    let name = bytes.get(..equals).and_then(|name| std::str::from_utf8(name).ok());
    let name = name.filter(|name| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    });
    Some((name, bytes.get(equals + 1..).unwrap_or_default()))
}

fn list(roots: &std::ffi::OsStr) -> Vec<PathBuf> {
    let parts = roots.as_bytes().split(|&byte| byte == b',').filter(|part| !part.is_empty());
    parts.map(|part| Path::new(<std::ffi::OsStr>::from_bytes(part)).to_owned()).collect()
}

fn shown(word: &OsString) -> String {
    word.to_string_lossy().escape_debug().to_string()
}

fn defaults(surroundings: &Surroundings) -> ParameterDefaults {
    let now = surroundings.zone.at(surroundings.now.timestamp());
    ParameterDefaults {
        arch: surroundings.machine.hardware.clone(),
        version: format!("Dev Release {}", now.format("%m/%d/%Y")),
        pstamp: format!("{}{}", surroundings.machine.node, now.format("%Y%m%d%H%M%S")),
    }
}

fn step_text(step: &MakeStep) -> String {
    match step {
        MakeStep::Building => "## Building pkgmap from package prototype file.\n".to_owned(),
        MakeStep::Processing => "## Processing pkginfo file.\n".to_owned(),
        MakeStep::Volumizing(count) => format!("## Attempting to volumize {count} entries in pkgmap.\n"),
        MakeStep::Part { blocks, entries } => format!("part  1 -- {blocks} blocks, {entries} entries\n"),
        MakeStep::Packaging => "## Packaging one part.\n".to_owned(),
        MakeStep::Writing(path) => format!("{}\n", path.display()),
        MakeStep::Validating => "## Validating control scripts.\n".to_owned(),
        MakeStep::Complete => "## Packaging complete.\n".to_owned(),
        MakeStep::Warning(warning) => format!("WARNING: {warning}\n"),
    }
}

#[derive(Serialize)]
struct MakeReport {
    result: ResultWord,
    package: String,
    directory: String,
    entries: usize,
    parameters: Vec<[String; 2]>,
    warnings: Vec<String>,
    #[serde(skip)]
    pkgmap: Option<Pkgmap>,
}

impl MakeReport {
    fn of(made: MadePackage, warnings: Vec<String>, map_only: bool) -> Self {
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        Self {
            result: if map_only { ResultWord::Planned } else { ResultWord::Done },
            package: made.package.to_string(),
            directory: made.directory.display().to_string(),
            entries: made.pkgmap.entries.len(),
            parameters: made.parameters.iter().map(|(name, value)| [name.to_owned(), text(value)]).collect(),
            warnings,
            pkgmap: map_only.then_some(made.pkgmap),
        }
    }
}

impl CommandReport for MakeReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.pkgmap.iter().try_for_each(|pkgmap| output.print(pkgmap.write()))?)
    }
}
