//! `patchadm-make delta`: makes the patches of a stable branch.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use patchadm_cli::arguments::verbs::{DryRunOption, RootlessOptions};
use patchadm_cli::arguments::{VerboseOption, one_of, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::hinted;
use patchadm_cli::reply::json::milliseconds_since;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_making::build::{BuildRequest, PatchForm, ReleaseSide, UnpairedPackage};
use patchadm_making::delta::{DeltaReport, DeltaRequest, SourceEnd, SourceOutcome, delta, parse_bases};
use patchadm_producing::ends::{is_patch, of_failure, stop as stopped};
use patchadm_producing::patch_options::{FILE_FORMS, PatchOptions, read, wrong};
use patchadm_svr4::patch::PatchId;
use serde::Serialize;

use crate::releases::left_out_scripts;

/// The first failed source determines the exit code; the others get their patches nevertheless.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: DeltaArgs = parse(call, USAGE)?;
    if is_patch(&args.work) {
        let message = format!("`{}` is a patch, not a working directory", args.work.display());
        let message = hinted(&message, "specify another directory with `--work`");
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    let template = args.template(call.surroundings.now.timestamp())?;
    let patch = |id: PatchId| BuildRequest { id, ..template.clone() };
    let bases = args.bases()?;
    let busy = call.busy("comparing");
    let made = with_signals(|interrupt| {
        let request = DeltaRequest {
            release: &args.release,
            stable: &args.stable,
            work: &args.work,
            bases,
            only: &args.only,
            form: args.format,
            rebuild: args.rebuild,
            is_dry_run: args.dry_run.dry_run,
            patch: &patch,
            against: &args.patch.against,
            needs: BTreeMap::new(),
            trials: None,
            cores: call.surroundings.processors,
            interrupt,
            meter: busy.meter().clone(),
        };
        delta(&request, &mut |_| false)
    })?;
    let report = made.map_err(|error| stopped(&error))?;
    let exit = match report.first_failure() {
        None => Exit::OK,
        Some(failure) if report.count("failed") == report.sources.len() => of_failure(failure),
        Some(_) => Exit::PARTLY,
    };
    let result = result_word(&report, args.dry_run.dry_run);
    Ok(Reply::new(exit, DeltaReply::of(report, result, call.surroundings.began)))
}

fn result_word(report: &DeltaReport, is_dry_run: bool) -> ResultWord {
    match (report.count("failed"), report.count("built")) {
        (0, 0) => ResultWord::NothingToDo,
        (0, _) if is_dry_run => ResultWord::Planned,
        (0, _) => ResultWord::Done,
        _ => ResultWord::Failed,
    }
}

pub(super) const USAGE: &str = "patchadm-make delta [option...] --release dir --stable dir --work dir";

/// Make patches for a stable branch: one for each source with a changed package
#[derive(clap::Parser)]
pub(super) struct DeltaArgs {
    /// Read the released packages from DIR
    #[arg(long, value_name = "DIR")]
    pub(super) release: PathBuf,
    /// Read the maintained packages from DIR
    #[arg(long, value_name = "DIR")]
    pub(super) stable: PathBuf,
    /// Use DIR, which contains the earlier patches, as the working directory
    #[arg(long, value_name = "DIR")]
    pub(super) work: PathBuf,
    /// Read the bases of patches from FILE, one `SOURCE BASE` per line
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Examine only these sources; repeatable
    #[arg(long, value_name = "SOURCE", num_args = 1.., action = clap::ArgAction::Append)]
    pub(super) only: Vec<String>,
    /// Set the format: zip, tar, tar.gz, or datastream [default: tar.gz]
    #[arg(long, value_name = "FORM", value_parser = one_of(&FILE_FORMS), hide_possible_values = true, default_value = "tar.gz", hide_default_value = true)]
    pub(super) format: PatchForm,
    /// Rebuild the highest revision for each source, unless it is signed
    #[arg(long)]
    rebuild: bool,
    #[command(flatten)]
    pub(super) dry_run: DryRunOption,
    #[command(flatten)]
    pub(super) patch: PatchOptions,
    #[command(flatten)]
    _common: RootlessOptions,
    #[command(flatten)]
    _verbose: VerboseOption,
}

impl DeltaArgs {
    /// `now` is the time of the patch; the id is a placeholder.
    fn template(&self, now: i64) -> Result<BuildRequest, Stop> {
        let id = PatchId::new("source-01").map_err(|error| wrong(&error, USAGE))?;
        self.patch.request(id, now, USAGE)
    }

    pub(super) fn bases(&self) -> Result<BTreeMap<String, String>, Stop> {
        let Some(path) = &self.ids else { return Ok(BTreeMap::new()) };
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        parse_bases(&text).map_err(|error| Stop::Refused {
            exit: Exit::of_verb(ExitCause::Settings),
            message: format!(
                "not all patches were made: {}: {error}\nhint: correct that line",
                path.display()
            ),
        })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct DeltaReply {
    result: ResultWord,
    duration_ms: u64,
    sources: Vec<SourceOutcome>,
    built: usize,
    kept: usize,
    failed: usize,
    to_sign: usize,
}

impl DeltaReply {
    pub(super) fn of(report: DeltaReport, result: ResultWord, began: Instant) -> Self {
        Self {
            result,
            duration_ms: milliseconds_since(began),
            built: report.count("built"),
            kept: report.count("kept"),
            failed: report.count("failed"),
            to_sign: report.to_sign,
            sources: report.sources,
        }
    }
}

impl CommandReport for DeltaReply {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for source in &self.sources {
            let is_told = match source.end {
                SourceEnd::Unchanged => output.is_verbose(),
                SourceEnd::Failed(_) => false,
                _ => true,
            };
            for line in source.lines().iter().filter(|_| is_told) {
                output.line(line)?;
            }
        }
        let Self { built, kept, failed, to_sign, .. } = self;
        Ok(output.line(format!("{built} built, {kept} kept, {failed} failed; {to_sign} to be signed"))?)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        for source in &self.sources {
            for UnpairedPackage { name, arch, side } in &source.unpaired {
                let is = if *side == ReleaseSide::From { "no longer maintained" } else { "new" };
                let source = &source.source;
                output.note(&format!("{source}: {name} {arch} is {is}, and in no patch"))?;
            }
        }
        let left_out = self.sources.iter().flat_map(|source| source.scripts_left_out.iter().cloned());
        if let Some(counts) = left_out_scripts(&left_out.collect::<Vec<_>>()) {
            output.note(&counts)?;
        }
        for SourceOutcome { source, reason, .. } in
            self.sources.iter().filter(|one| matches!(one.end, SourceEnd::Failed(_)))
        {
            output.error(&format!("{source}: {reason}"))?;
        }
        Ok(())
    }
}
