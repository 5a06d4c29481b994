//! showrev(1M): prints the revision of the system and the patches applied to it.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use patchadm_cli::arguments::{Extensions, RootOption, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::must_have_records;
use patchadm_cli::reply::text::patch;
use patchadm_cli::reply::{CommandReport, Exit, Reply, Stop};
use patchadm_cli::surroundings::{Machine, Output};
use patchadm_core::operation::queries::applied_patches::applied_patches;
use patchadm_svr4::patch::AppliedPatch;

const USAGE: &str = "showrev [-a|-p] [-R root]";

const NONE: &str = "No patches are installed";

/// Print the revision of the system and its patches
#[derive(clap::Parser)]
struct ShowrevArgs {
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
    _extensions: Extensions,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: ShowrevArgs = parse(call, USAGE)?;
    if args.command.is_some() {
        let message = "the revision of a single command (-c) is unknown".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    let system = (!args.patches).then(|| SystemBlock(system(&call.surroundings.machine)));
    if !args.patches && !args.all {
        return Ok(Reply::new(Exit::OK, ShowrevReport { system, patches: None }));
    }
    let root = args.root.open(call)?;
    must_have_records(&root, 1)?;
    let patches = applied_patches(call.surroundings.reader(&root))?;
    let patches = Some(PatchListing { patches, none: NONE });
    Ok(Reply::about(&root, Exit::OK, ShowrevReport { system, patches }))
}

/// Values of uname(2) under the names of showrev(1M).
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
struct ShowrevReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<SystemBlock>,
    #[serde(flatten)]
    patches: Option<PatchListing>,
}

impl CommandReport for ShowrevReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for (name, value) in self.system.iter().flat_map(|system| &system.0) {
            output.line(format!("{name}: {value}"))?;
        }
        self.patches.iter().try_for_each(|patches| patches.print_text(output))
    }
}

/// Names and values in the order of the text.
struct SystemBlock([(&'static str, String); 6]);

impl Serialize for SystemBlock {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.iter().cloned().collect::<BTreeMap<_, _>>().serialize(serializer)
    }
}

/// Patches in the order of application, as in patchadd(1M) `-p`.
#[derive(Serialize)]
pub(super) struct PatchListing {
    #[serde(serialize_with = "as_listed")]
    pub(super) patches: Vec<AppliedPatch>,
    #[serde(skip)]
    pub(super) none: &'static str,
}

impl CommandReport for PatchListing {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(output.print(patch::listing(&self.patches, self.none))?)
    }
}

fn as_listed<S: Serializer>(patches: &[AppliedPatch], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(patches.iter().map(ShowrevPatch::from))
}

#[derive(Serialize)]
struct ShowrevPatch {
    id: String,
    obsoletes: Vec<String>,
    requires: Vec<String>,
    incompatibles: Vec<String>,
    packages: Vec<String>,
}

impl From<&AppliedPatch> for ShowrevPatch {
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
