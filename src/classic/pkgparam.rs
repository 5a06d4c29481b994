//! pkgparam(1): prints parameters of a package, or of a file in the same syntax.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

use patchadm_cli::arguments::{Extensions, RootOption, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::must_have_records;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::queries::packages::{parameter_file, parameters, spooled_parameters};
use patchadm_svr4::format::params::compact;
use patchadm_svr4::package::Params;

const USAGE: &str = "\
pkgparam [-v] [-d device] [-R root] pkginst [param...]
pkgparam -f file [-v] [param...]";

/// Print parameters of a package
#[derive(clap::Parser)]
struct PkgparamArgs {
    /// Print NAME='value' instead of the value alone
    #[arg(short)]
    verbose: bool,
    /// Read the parameters in this file instead of those of a package
    #[arg(short, value_name = "FILE", conflicts_with_all = ["device", "root"])]
    file: Option<PathBuf>,
    /// Read the package from this directory, datastream or archive instead of the installed one
    #[arg(short, value_name = "DEVICE")]
    device: Option<PathBuf>,
    #[command(flatten)]
    root: RootOption,
    /// The package (not with -f), then the parameters [default: all]
    #[arg(value_name = "PKGINST PARAM")]
    words: Vec<String>,
    #[command(flatten)]
    _extensions: Extensions,
}

/// An unknown parameter prints nothing and is no error.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: PkgparamArgs = parse(call, USAGE)?;
    let (params, names) = args.find(call)?;
    let parameters = selected(&params, names).map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Reply::new(Exit::OK, PkgparamReport { parameters, as_assignments: args.verbose }))
}

struct PkgparamReport {
    parameters: Vec<(String, Vec<u8>)>,
    as_assignments: bool,
}

impl Serialize for PkgparamReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // If several have one name, the first counts.
        let pairs = self.parameters.iter().rev().map(|(name, value)| (name, text(value)));
        BTreeMap::from([("parameters", pairs.collect::<BTreeMap<_, _>>())]).serialize(serializer)
    }
}

impl CommandReport for PkgparamReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for (name, value) in &self.parameters {
            output.line(if self.as_assignments { assignment(name, value) } else { value.clone() })?;
        }
        Ok(())
    }
}

impl PkgparamArgs {
    fn find(&self, call: &Invocation) -> anyhow::Result<(Params, &[String])> {
        if let Some(file) = &self.file {
            return Ok((parameter_file(file)?, &self.words));
        }
        let Some((instance, names)) = self.words.split_first() else {
            return Err(Stop::Usage { message: "no package specified".to_owned(), usage: USAGE }.into());
        };
        let params = if let Some(device) = &self.device {
            spooled_parameters(device, instance)?
        } else {
            let root = self.root.open(call)?;
            must_have_records(&root, 1)?;
            parameters(call.surroundings.reader(&root), instance)?
        };
        let unknown = || Stop::Refused {
            exit: Exit::failed(ExitCause::NotFound),
            message: format!("unable to locate parameter information for \"{instance}\""),
        };
        Ok((params.ok_or_else(unknown)?, names))
    }
}

/// Returns named parameters in the order of names, or all in the order of the file.
fn selected<'a>(params: &'a Params, names: &'a [String]) -> impl Iterator<Item = (&'a str, Vec<u8>)> {
    let chosen: Vec<(&str, &[u8])> = if names.is_empty() {
        params.iter().collect()
    } else {
        names.iter().filter_map(|name| Some((name.as_str(), params.get(name)?))).collect()
    };
    chosen.into_iter().map(|(name, value)| match name {
        "ARCH" | "CATEGORY" => (name, compact(value)),
        _ => (name, value.to_vec()),
    })
}

/// Formats `NAME='value'` for a shell.
fn assignment(name: &str, value: &[u8]) -> Vec<u8> {
    let mut line = format!("{name}='").into_bytes();
    for &byte in value {
        if byte == b'\'' {
            line.extend(b"'\"'\"'");
        } else {
            line.push(byte);
        }
    }
    line.push(b'\'');
    line
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apostrophe_is_printed_so_that_a_shell_reads_it_back() {
        assert_eq!(assignment("NAME", b"it's"), br#"NAME='it'"'"'s'"#);
    }

    #[test]
    fn parameters_come_in_the_order_asked_for_and_the_first_of_a_name_counts() {
        let params: Params = [("B", "1"), ("A", "2"), ("B", "3"), ("ARCH", "a, b")].into_iter().collect();
        let shown = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            selected(&params, &names)
                .map(|(name, value)| format!("{name}={}", text(&value)))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(&["A", "NOPE", "B"]), ["A=2", "B=1"]);
        assert_eq!(shown(&[]), ["B=1", "A=2", "B=3", "ARCH=a,b"]);
    }
}
