//! `patchadm-bulk diff`: differences between two runs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ends::{report_failed, root_failed};
use crate::preparation::WorkOperand;
use patchadm_building::differences::{ComparedFiles, ComparisonLimits, ObjectDifference, differences};
use patchadm_building::pool::{Pool, PoolEntry};
use patchadm_building::report_files::read_report;
use patchadm_building::work::BulkWork;
use patchadm_bulk_values::history::RunDifference;
use patchadm_bulk_values::report::{ReportedPackage, RunReport};
use patchadm_cli::arguments::parse;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, Reply};
use patchadm_cli::surroundings::Output;
use patchadm_rootfs::never;

const USAGE: &str = "patchadm-bulk diff WORK RUN RUN [--bytes]";

/// Show the differences between two runs
#[derive(clap::Parser)]
struct DiffArgs {
    /// Also show which bytes differ in packages that both runs built
    #[arg(long)]
    bytes: bool,
    #[command(flatten)]
    work: WorkOperand,
    /// The number of the earlier run
    #[arg(value_name = "RUN")]
    earlier: u64,
    /// The number of the later run
    #[arg(value_name = "RUN")]
    later: u64,
}

#[derive(Serialize)]
struct DiffReport {
    #[serde(flatten)]
    difference: RunDifference,
    bytes: Vec<ByteDifference>,
    #[serde(skip)]
    notes: Vec<String>,
}

#[derive(Serialize)]
struct ByteDifference {
    package: String,
    #[serde(flatten)]
    difference: ObjectDifference,
}

impl CommandReport for DiffReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let RunDifference { failed, repaired, new, gone, slower } = &self.difference;
        let lists = [("newly failed", failed), ("repaired", repaired), ("new", new), ("gone", gone)];
        for (words, packages) in lists {
            for package in packages {
                output.line(format!("{words}: {package}"))?;
            }
        }
        for ByteDifference { package, difference } in &self.bytes {
            output.line(format!("bytes: {package}: {difference}"))?;
        }
        for build in slower {
            output
                .line(format!("slower: {}, {} ms instead of {} ms", build.package, build.ms, build.was_ms))?;
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.notes.iter().try_for_each(|note| output.warning(note))?)
    }
}

fn bytes(
    work: &BulkWork,
    (earlier, later): (&RunReport, &RunReport),
) -> anyhow::Result<(Vec<ByteDifference>, Vec<String>)> {
    let pool = Pool::open(&work.conf.pool).map_err(|error| root_failed(&error))?;
    let find = |package: &ReportedPackage| -> anyhow::Result<Option<PoolEntry>> {
        let Some(key) = package.key.filter(|_| package.state.has_result()) else { return Ok(None) };
        Ok(pool.find(&key).map_err(|error| root_failed(&error))?.into_entry())
    };
    let before: BTreeMap<&str, &ReportedPackage> =
        earlier.packages.iter().map(|package| (package.package.as_str(), package)).collect();
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    for package in &later.packages {
        let Some(old) = before.get(package.package.as_str()) else { continue };
        if old.key == package.key || !old.state.has_result() || !package.state.has_result() {
            continue;
        }
        let (Some(was), Some(is)) = (find(old)?, find(package)?) else {
            notes.push(format!("{}: the pool no longer has both of its results", package.package));
            continue;
        };
        let names = |entry: &PoolEntry| -> Vec<String> {
            entry.result.stored_files().map(|(name, _, _)| name.to_owned()).collect()
        };
        let (old_names, new_names) = (names(&was), names(&is));
        let compared = differences(
            &ComparedFiles { directory: &was.path, names: &old_names },
            &ComparedFiles { directory: &is.path, names: &new_names },
            &[],
            ComparisonLimits { interrupt: &never, longest: None },
        );
        match compared {
            Ok(differing) => {
                let of_package = |difference| ByteDifference { package: package.package.clone(), difference };
                found.extend(differing.into_iter().map(of_package));
            }
            Err(error) => notes.push(format!("{}: its results cannot be compared: {error}", package.package)),
        }
    }
    Ok((found, notes))
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    call.name = "bulk diff";
    let args: DiffArgs = parse(call, USAGE)?;
    let work = args.work.open()?;
    let read = |run| read_report(&work, run).map_err(|error| report_failed(&error));
    let (earlier, later) = (read(args.earlier)?, read(args.later)?);
    let difference = RunDifference::between(&earlier.run_packages(), &later.run_packages());
    let (bytes, notes) =
        if args.bytes { bytes(&work, (&earlier, &later))? } else { (Vec::new(), Vec::new()) };
    Ok(Reply::new(Exit::OK, DiffReport { difference, bytes, notes }))
}
