//! `patchadm-bulk init`: makes a working directory.

use std::path::PathBuf;

use serde::Serialize;

use crate::ends::work_failed;
use patchadm_building::driver::{PKGSRC, RECIPES};
use patchadm_building::work::{CONFIGURATION, NewWork, make_work};
use patchadm_cli::arguments::verbs::RootlessOptions;
use patchadm_cli::arguments::{one_of, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, Reply};
use patchadm_cli::surroundings::Output;

const USAGE: &str = "patchadm-bulk init WORK --tree TREE [--driver recipes|pkgsrc] [--base PATH]";

const DRIVERS: [(&str, &[(&str, &str)]); 2] = [("recipes", &RECIPES), ("pkgsrc", &PKGSRC)];

/// Create the directory for a bulk build
#[derive(clap::Parser)]
struct InitArgs {
    /// Use this tree of recipes
    #[arg(long, value_name = "TREE")]
    tree: String,
    /// Copy this driver into WORK, for a tree without one
    #[arg(long, value_name = "DRIVER", value_parser = one_of(&DRIVERS), hide_possible_values = true)]
    driver: Option<&'static [(&'static str, &'static str)]>,
    /// Build with the complete system in PATH instead of the programs of this machine
    #[arg(long, value_name = "PATH")]
    base: Option<String>,
    #[command(flatten)]
    _common: RootlessOptions,
    /// The directory; it must be empty or must not exist
    #[arg(value_name = "WORK")]
    work: PathBuf,
}

#[derive(Serialize)]
struct InitReport {
    work: String,
    conf: String,
}

impl CommandReport for InitReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(output.line(format!("{} is ready; its settings are in {}", self.work, self.conf))?)
    }
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk init";
    let args: InitArgs = parse(call, USAGE)?;
    let tree = std::path::absolute(&args.tree)?.to_string_lossy().into_owned();
    let new = NewWork {
        path: &args.work,
        tree: &tree,
        base: args.base.as_deref(),
        driver: args.driver.unwrap_or_default(),
    };
    let work = make_work(&new).map_err(|error| work_failed(&error))?;
    let conf = work.path.join(CONFIGURATION).display().to_string();
    let report = InitReport { work: args.work.display().to_string(), conf };
    Ok(Reply::new(Exit::OK, report))
}
