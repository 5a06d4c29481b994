//! `patchadm adopt --all`: every package of dpkg and rpm becomes a package.

use serde::Serialize;

use super::AdoptArgs;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::change_or_plan_failed;
use patchadm_cli::reply::words::{counted, print_notes, with_recovery};
use patchadm_cli::reply::{CommandReport, Exit, Reply, ResultWord};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::adopt::{
    AdoptAllReport, AdoptAllRequest, AdoptedPackage, LeftPackage, adopt_all,
};
use patchadm_planning::plan::refusal::Command;

pub(super) fn run(call: &mut Invocation, args: &mut AdoptArgs) -> anyhow::Result<Reply> {
    let command = Command::Adopt;
    let root = args.owner.open::<AdoptArgs>(call, &args.root, command)?;
    let request = AdoptAllRequest { wishes: args.wishes(call), dry_run: args.dry_run.dry_run };
    if !args.dry_run.dry_run {
        call.output.heedless();
    }
    let result =
        call.change(&root, command.name(), args.wait.seconds, |caller| adopt_all(&root, &request, caller))?;
    match result {
        Ok(report) => Ok(Reply::about(&root, Exit::OK, AllReply::of(report, args.dry_run.dry_run))),
        Err(failed) => Err(change_or_plan_failed(&root, command, &failed, args.dry_run.dry_run).into()),
    }
}

#[derive(Debug, Serialize)]
struct AllReply {
    result: ResultWord,
    changed: bool,
    adopted: Vec<AdoptedPackage>,
    left: Vec<LeftEntry>,
    /// Native packages that were adopted before.
    known: usize,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct LeftEntry {
    /// Manager and name there, if known.
    origin: Option<String>,
    reason: String,
}

impl AllReply {
    fn of(report: AdoptAllReport, dry_run: bool) -> Self {
        let is_planned = dry_run && !report.adopted.is_empty();
        let notes = with_recovery(&report.recovered, report.notes);
        Self {
            result: if is_planned { ResultWord::Planned } else { ResultWord::Done },
            changed: report.receipt.is_some(),
            adopted: report.adopted,
            left: report.left.into_iter().map(LeftEntry::of).collect(),
            known: report.known,
            notes,
        }
    }

    fn sentence(&self) -> String {
        let objects: usize = self.adopted.iter().map(|one| one.objects).sum();
        let before = match self.known {
            0 => String::new(),
            count => format!(
                " {} adopted before.",
                if count == 1 { "1 was".to_owned() } else { format!("{count} were") }
            ),
        };
        let packages = counted(self.adopted.len(), "package");
        let done = match self.result {
            ResultWord::Planned => format!("{packages} would be adopted"),
            _ => format!("Adopted {packages}"),
        };
        format!("{done}: {}.{before}", counted(objects, "object"))
    }
}

impl LeftEntry {
    fn of(one: LeftPackage) -> Self {
        Self { origin: one.origin.map(|origin| origin.to_string()), reason: one.reason }
    }
}

impl CommandReport for AllReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        output.line(self.sentence())?;
        for one in &self.left {
            match &one.origin {
                Some(origin) => output.line(format!("  {origin} is not adopted: {}", one.reason))?,
                None => output.line(format!("  left: {}", one.reason))?,
            }
        }
        for path in self.adopted.iter().flat_map(|one| &one.differing) {
            output.line(format!("  {path} differs from its record"))?;
        }
        // A path filter may leave out thousands of documentation paths.
        let missing: usize = self.adopted.iter().map(|one| one.missing.len()).sum();
        match missing {
            0 => Ok(()),
            1 => Ok(output.line("  1 listed path does not exist")?),
            count => Ok(output.line(format!("  {count} listed paths do not exist"))?),
        }
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(print_notes(output, &self.notes)?)
    }
}
