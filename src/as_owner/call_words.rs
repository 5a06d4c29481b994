//! Arguments for the owner's process: without the caller's own options, and with absolute paths.

use std::any::TypeId;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};

use patchadm_cli::arguments::options::{self, COLOUR, ROOT_LISTS};
use patchadm_cli::call::Invocation;

/// Options that the owner's process must not get: it works on one root, and writes into a pipe, without colors.
const OF_THE_CALLER: [&str; 6] = ["as_owner", "trust_root", "root", ROOT_LISTS, "jobs", COLOUR];

/// These commands ask unless told not to; a pipe leaves nobody to ask.
const ASKING: [&str; 2] = ["pkgadd", "pkgrm"];

#[derive(Clone, Debug)]
pub(crate) struct CallWords {
    command: &'static str,
    rest: Vec<OsString>,
}

impl CallWords {
    pub(crate) fn of<A: clap::CommandFactory>(call: &Invocation) -> anyhow::Result<Self> {
        let mut command = options::command::<A>(call);
        command.build();
        let matches = command.clone().try_get_matches_from(options::words(call))?;
        let is_said =
            |arg: &&Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        let said = || {
            let arguments = command.get_arguments().filter(is_said);
            arguments.filter(|arg| !OF_THE_CALLER.contains(&arg.get_id().as_str()))
        };
        let mut rest = Vec::new();
        if ASKING.contains(&call.name) {
            rest.push("-n".into());
        }
        for arg in said().filter(|arg| !arg.is_positional()) {
            add_option(&mut rest, arg, &matches);
        }
        rest.push("--".into());
        for arg in said().filter(|arg| arg.is_positional()) {
            rest.extend(values(arg, &matches));
        }
        Ok(Self { command: call.name, rest })
    }

    pub(super) fn for_root(&self, root: &Path) -> io::Result<Vec<OsString>> {
        let root = std::path::absolute(root)?;
        let command = self.command.split(' ').map(OsString::from);
        Ok(command.chain(["-R".into(), root.into()]).chain(self.rest.clone()).collect())
    }
}

fn add_option(words: &mut Vec<OsString>, arg: &Arg, matches: &ArgMatches) {
    let (flag, joint) = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => (format!("--{long}"), "="),
        (None, Some(short)) => (format!("-{short}"), ""),
        (None, None) => return,
    };
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        words.push(flag.into());
        return;
    }
    for value in values(arg, matches) {
        let mut word = OsString::from(&flag);
        word.push(joint);
        word.push(value);
        words.push(word);
    }
}

/// Returns an argument's values as typed, with existing files as absolute paths.
fn values(arg: &Arg, matches: &ArgMatches) -> Vec<OsString> {
    let are_paths = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    let raw = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
    raw.map(|value| if are_paths { absolute(value) } else { value.to_owned() }).collect()
}

fn absolute(value: &std::ffi::OsStr) -> OsString {
    let path = Path::new(value);
    // A name without a file here may be one that the command knows: an admin file, a patch id.
    if value == "-" || path.is_absolute() || path.symlink_metadata().is_err() {
        return value.to_owned();
    }
    std::path::absolute(path).map_or_else(|_| value.to_owned(), OsString::from)
}
