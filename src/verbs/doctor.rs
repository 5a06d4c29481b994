//! `patchadm doctor`: what works on a root and what does not, a line each, with the command that helps.

use serde::Serialize;

use super::options::BriefVerbOptions;
use patchadm_cli::arguments::parse;
use patchadm_cli::call::{AppletKind, Invocation, PROGRAM};
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply};
use patchadm_cli::surroundings::{Output, Shade, Surroundings};
use patchadm_core::operation::doctor::{DoctorRequest, Finding, FindingState, diagnose, diagnose_unopened};
use patchadm_core::operation::session::RootAndPolicy;
use patchadm_inputs::http::{HttpSettings, Patience};

const USAGE: &str = "patchadm [-R root] doctor [option...]";

/// The code where somebody has to do something.
const TO_DO: Exit = Exit::finding(ExitCause::Attention);

/// Say what works on a root and what does not, with the command that helps
#[derive(clap::Parser)]
struct DoctorArgs {
    /// Fetch nothing over a network
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    common: BriefVerbOptions,
}

/// The answer of the verb.
#[derive(Debug, Serialize)]
struct DoctorReport {
    findings: Vec<FindingEntry>,
}

/// A finding.
#[derive(Debug, Serialize)]
struct FindingEntry {
    what: &'static str,
    state: &'static str,
    text: String,
    command: Option<String>,
    #[serde(skip)]
    shade: Option<Shade>,
}

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: DoctorArgs = parse(call, USAGE)?;
    let root = match args.common.root.open(call) {
        Ok(root) => root,
        Err(error) => {
            let Some(finding) = error.downcast_ref().and_then(diagnose_unopened) else { return Err(error) };
            return Ok(Reply::new(TO_DO, DoctorReport::of(vec![finding])));
        }
    };
    if call.surroundings.policy.is_some() {
        // A fault of the caller's own policy is none of the root.
        RootAndPolicy::of(&root).map_err(|failed| query_refused(&root, &failed))?;
    }
    let findings = diagnose(&root, &request(call, args.offline));
    let is_fine = findings.iter().all(|finding| finding.state != FindingState::Attention);
    let exit = if is_fine { Exit::OK } else { TO_DO };
    Ok(Reply::about(&root, exit, DoctorReport::of(findings)))
}

fn request(call: &Invocation, is_offline: bool) -> DoctorRequest<'_> {
    let Surroundings { now, binary, network, .. } = &call.surroundings;
    let classic = call.of.applets.iter().filter(|applet| applet.kind == AppletKind::Classic);
    DoctorRequest {
        now: *now,
        path: Surroundings::search_path(),
        program: binary.as_deref(),
        names: std::iter::once(PROGRAM).chain(classic.map(|applet| applet.name)).collect(),
        http: HttpSettings {
            authorities: None,
            certificate_file: network.certificate_file.clone(),
            certificate_directories: network.certificate_directories.clone(),
            proxies: network.proxies.clone(),
            patience: Patience::default(),
        },
        is_offline,
    }
}

impl DoctorReport {
    fn of(findings: Vec<Finding>) -> Self {
        Self { findings: findings.into_iter().map(FindingEntry::of).collect() }
    }
}

impl FindingEntry {
    fn of(Finding { what, state, text, command }: Finding) -> Self {
        let shade = match state {
            FindingState::Ok => Some(Shade::Effective),
            FindingState::Unknown => None,
            FindingState::Limited => Some(Shade::Replaced),
            FindingState::Attention => Some(Shade::Bad),
        };
        Self { what, state: state.word(), text, command, shade }
    }

    fn is_to_do(&self) -> bool {
        self.state == FindingState::Attention.word()
    }

    /// Returns the finding and the command, in one line.
    fn sentence(&self) -> String {
        let command = self.command.as_ref().map(|command| format!("; `{command}`")).unwrap_or_default();
        format!("{}{command}", self.text)
    }
}

impl CommandReport for DoctorReport {
    /// Prints a line for each finding. If only errors are wanted, prints what has to be done as one.
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if output.is_quiet() {
            let to_do = self.findings.iter().filter(|finding| finding.is_to_do());
            let lines: Vec<String> =
                to_do.map(|finding| format!("{}: {}", finding.what, finding.sentence())).collect();
            return if lines.is_empty() { Ok(()) } else { Ok(output.error(&lines.join("\n"))?) };
        }
        let width = |text: fn(&FindingEntry) -> &'static str| {
            self.findings.iter().map(|finding| text(finding).len()).max().unwrap_or_default()
        };
        let (of_what, of_state) = (width(|finding| finding.what), width(|finding| finding.state));
        for finding in &self.findings {
            output.print(format!("{:<of_what$}  ", finding.what))?;
            output.shaded(finding.shade, finding.state)?;
            let blanks = of_state - finding.state.len();
            output.line(format!("{:blanks$}  {}", "", finding.sentence()))?;
        }
        Ok(())
    }
}
