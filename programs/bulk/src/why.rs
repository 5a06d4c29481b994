//! `patchadm-bulk why`: the reasons for the state of a package, and its dependents.

use serde::Serialize;

use crate::ends::{known_tree_failed, run_failed};
use crate::preparation::WorkOperand;
use patchadm_building::base::base_digest;
use patchadm_building::driver::Driver;
use patchadm_building::run::{PackageReasons, RunError, why};
use patchadm_building::tree::ResolvedTree;
use patchadm_building::work::BulkWork;
use patchadm_bulk_values::result::{Blake3Digest, InputDifference};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, Reply};
use patchadm_cli::surroundings::Output;
use patchadm_rootfs::never;

const USAGE: &str = "patchadm-bulk why WORK NAME";

const NAMED_DEPENDENTS: usize = 20;

/// Explain the state of a package: its requirements, changes since its last successful build, and the packages waiting for it
#[derive(clap::Parser)]
struct WhyArgs {
    #[command(flatten)]
    work: WorkOperand,
    /// A package, with or without its version, or its location
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Serialize)]
struct WhyReport(PackageReasons);

impl CommandReport for WhyReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let reasons = &self.0;
        output.line(format!("{}: {}", reasons.package, reasons.state))?;
        output.line(format!("  {}", reasons.reason))?;
        if let Some(key) = &reasons.key {
            output.line(format!("  key: {key}"))?;
        }
        for InputDifference { input, was, is } in &reasons.differs {
            let digest = |digest: &Option<Blake3Digest>| {
                digest.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string())
            };
            output.line(format!("  differs: {input}\n    was {}\n    is  {}", digest(was), digest(is)))?;
        }
        for need in &reasons.needs {
            let state = need.state.map(|state| format!(" {state}")).unwrap_or_default();
            let package = need.package.as_deref().unwrap_or("nothing matches");
            output.line(format!("  needs: {} -> {package}{state}", need.pattern))?;
        }
        let named: Vec<&str> = reasons.dependents.iter().take(NAMED_DEPENDENTS).map(String::as_str).collect();
        let more = reasons.dependents.len().saturating_sub(NAMED_DEPENDENTS);
        let named = match (named.is_empty(), more) {
            (true, _) => String::new(),
            (false, 0) => format!(", directly by {}", named.join(" ")),
            (false, more) => format!(", directly by {} and {more} more", named.join(" ")),
        };
        Ok(output.line(format!("  needed by: {} packages{named}", reasons.needed_by))?)
    }
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk why";
    let args: WhyArgs = parse(call, USAGE)?;
    let work = args.work.open()?;
    let tree = ResolvedTree::read(&work).map_err(|error| known_tree_failed(&error))?;
    let package = tree.only_package(&args.name).map_err(|error| known_tree_failed(&error))?;
    let reasons = reasons_of(&work, &tree, package).map_err(|error| run_failed(&error))?;
    Ok(Reply::new(Exit::OK, WhyReport(reasons)))
}

fn reasons_of(work: &BulkWork, tree: &ResolvedTree, package: u32) -> Result<PackageReasons, RunError> {
    let driver = Driver::find(work)?;
    let base = base_digest(&work.conf, &never).map_err(RunError::Base)?;
    why(work, (&driver, base), tree, package)
}
