//! `patchadm stage list`: the stages of a root.

use std::fmt::Write as _;

use serde::Serialize;

use super::ends::stage_failed;
use crate::verbs::options::RootlessOptions;
use patchadm_cli::arguments::{RootOption, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, Reply};
use patchadm_cli::surroundings::{Output, Zone};
use patchadm_core::operation::stages::list::{StageEntry, StageState, list_stages};

const USAGE: &str = "patchadm [-R root] stage list [option...]";

/// List the stages of a root
#[derive(clap::Parser)]
struct StageListArgs {
    #[command(flatten)]
    root: RootOption,
    #[command(flatten)]
    _common: RootlessOptions,
}

#[derive(Serialize)]
struct StageListReport {
    stages: Vec<StageEntry>,
}

pub(super) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "stage list";
    let args: StageListArgs = parse(call, USAGE)?;
    let root = args.root.open(call)?;
    let stages =
        list_stages(&root).map_err(|error| stage_failed(&root, "the stages cannot be listed", &error))?;
    Ok(Reply::about(&root, Exit::OK, StageListReport { stages }))
}

fn line(entry: &StageEntry, zone: Zone) -> String {
    let StageEntry { listed, state, inside, promotions } = entry;
    let mut line = format!("{} {} {}", zone.minute_of(&listed.created), listed.name, listed.path);
    if *state != StageState::Ok {
        line.push_str(", ");
        line.push_str(state.word());
    }
    match *inside {
        0 => {}
        1 => line.push_str(", in use by 1 command"),
        // Writing to a string does not fail.
        count => drop(write!(line, ", in use by {count} commands")),
    }
    if !promotions.is_empty() {
        line.push_str(", promoted as ");
        line.push_str(&promotions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    }
    line
}

impl CommandReport for StageListReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.stages.is_empty() {
            output.line("the root has no stages")?;
        }
        let zone = output.zone();
        Ok(self.stages.iter().try_for_each(|entry| output.line(line(entry, zone)))?)
    }
}
