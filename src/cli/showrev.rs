//! showrev(1M): prints the revision of the system and the patches applied to it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::exit::{Exit, Stop};
use super::options::{Extensions, RootOption, parse};
use super::surroundings::Machine;
use super::text::patch;
use super::{Invocation, json};
use crate::operation::queries::applied_patches::applied_patches;
use crate::patch::AppliedPatch;

const USAGE: &str = "showrev [-a|-p] [-R root]";

/// What is printed where no patch is applied.
const NONE: &str = "No patches are installed";

/// Print the revision of the system and its patches
#[derive(clap::Parser)]
struct Args {
    /// Print the patches
    #[arg(short, conflicts_with = "all")]
    patches: bool,
    /// Print the system and the patches
    #[arg(short)]
    all: bool,
    #[arg(short, hide = true, value_name = "COMMAND")]
    command: Option<String>,
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    extensions: Extensions,
}

/// Runs it.
pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Exit> {
    let args: Args = parse(call, USAGE)?;
    if args.command.is_some() {
        let message = "the revision of a single command (-c) is not known".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    let machine = (!args.patches).then(|| call.surroundings.machine.clone());
    let (mut root, mut patches) = (None, None);
    if args.patches || args.all {
        let opened = args.root.open(call)?;
        patches = Some(applied_patches(call.surroundings.reader(&opened))?);
        root = Some(opened);
    }
    if args.extensions.json {
        let body = Body {
            system: machine.as_ref().map(|machine| system(machine).into()),
            patches: patches.map(|patches| patches.iter().map(PatchEntry::from).collect()),
        };
        call.output.print(json::document("showrev", root.as_ref(), Exit::OK, body)?)?;
        return Ok(Exit::OK);
    }
    for (name, value) in machine.as_ref().map(system).into_iter().flatten() {
        call.output.line(format!("{name}: {value}"))?;
    }
    if let Some(patches) = patches {
        call.output.print(patch::listing(&patches, NONE))?;
    }
    Ok(Exit::OK)
}

/// The system block: what uname(2) says, under the names of showrev(1M).
fn system(machine: &Machine) -> [(&'static str, String); 6] {
    let Machine { system, node, release, version, hardware, domain } = machine;
    [
        ("Hostname", node.clone()),
        ("Release", release.clone()),
        ("Kernel architecture", hardware.clone()),
        ("Application architecture", std::env::consts::ARCH.to_owned()),
        ("Domain", domain.clone()),
        ("Kernel version", format!("{system} {release} {version}")),
    ]
}

#[derive(Serialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patches: Option<Vec<PatchEntry>>,
}

/// A patch in a JSON document; patchadd(1M) `-p` has the same.
#[derive(Serialize)]
pub(super) struct PatchEntry {
    id: String,
    obsoletes: Vec<String>,
    requires: Vec<String>,
    incompatibles: Vec<String>,
    packages: Vec<String>,
}

impl From<&AppliedPatch> for PatchEntry {
    fn from(patch: &AppliedPatch) -> Self {
        Self {
            id: patch.id.to_string(),
            obsoletes: patch.obsoletes.iter().map(ToString::to_string).collect(),
            requires: patch.requires.iter().map(ToString::to_string).collect(),
            incompatibles: patch.incompatibles.iter().map(ToString::to_string).collect(),
            packages: patch.packages.iter().map(ToString::to_string).collect(),
        }
    }
}
