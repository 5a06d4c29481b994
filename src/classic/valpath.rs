//! valpath(1): checks properties of a path by its exit code.

use std::ffi::OsString;
use std::path::Path;

use serde::Serialize;

use patchadm_cli::arguments::{Extensions, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply};
use patchadm_core::operation::path_check::{PathProperty, has_all};

const USAGE: &str = "valpath [-abcflnortwxyz] path";

/// Check a path; the exit code is the result
#[derive(clap::Parser)]
#[allow(clippy::struct_excessive_bools)] // one for each letter of the command line
struct ValpathArgs {
    /// Check that the path is absolute
    #[arg(short)]
    absolute: bool,
    /// Check that it is a block device
    #[arg(short)]
    block: bool,
    /// Check that it is a character device
    #[arg(short)]
    character: bool,
    /// Check that it is a regular file
    #[arg(short = 'f')]
    regular: bool,
    /// Check that the path is relative
    #[arg(short = 'l')]
    relative: bool,
    /// Check that it does not exist
    #[arg(short)]
    new: bool,
    /// Check that it exists
    #[arg(short)]
    old: bool,
    /// Check that it is readable
    #[arg(short)]
    readable: bool,
    /// Check that it exists or could be created
    #[arg(short = 't')]
    creatable: bool,
    /// Check that it is writable
    #[arg(short)]
    writable: bool,
    /// Check that it is executable or searchable
    #[arg(short = 'x')]
    executable: bool,
    /// Check that it is a directory
    #[arg(short = 'y')]
    directory: bool,
    /// Check that it is not empty
    #[arg(short = 'z')]
    non_empty: bool,
    /// The path
    #[arg(value_name = "PATH")]
    path: OsString,
    #[command(flatten)]
    _extensions: Extensions,
}

#[derive(Serialize)]
struct ValpathReport {
    path: String,
    valid: bool,
}

/// Exit 0 if every letter is right, else 1; prints nothing.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: ValpathArgs = parse(call, USAGE)?;
    let path = Path::new(&args.path);
    let valid = has_all(path, &args.properties());
    let exit = if valid { Exit::OK } else { Exit::failed(ExitCause::NotApplicable) };
    Ok(Reply::new(exit, ValpathReport { path: path.display().to_string(), valid }))
}

impl CommandReport for ValpathReport {}

impl ValpathArgs {
    fn properties(&self) -> Vec<PathProperty> {
        let letters = [
            (self.absolute, PathProperty::Absolute),
            (self.relative, PathProperty::Relative),
            (self.new, PathProperty::New),
            (self.old, PathProperty::Old),
            (self.creatable, PathProperty::Creatable),
            (self.readable, PathProperty::Readable),
            (self.writable, PathProperty::Writable),
            (self.executable, PathProperty::Executable),
            (self.block, PathProperty::Block),
            (self.character, PathProperty::Character),
            (self.regular, PathProperty::Regular),
            (self.directory, PathProperty::Directory),
            (self.non_empty, PathProperty::NonEmpty),
        ];
        letters.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, property)| property).collect()
    }
}
