//! The report of a run as text: for a terminal, `report.txt`, and mail.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use patchadm_svr4::package::control::visible;

use super::{ReportedPackage, ReportedPatches, RunReport, state_heading};
use crate::history::RunDifference;
use crate::journal::BuildState;

pub const MOST_HARMFUL: usize = 10;
const FIRST_SUSPECTS: usize = 5;

#[derive(Clone, Debug, Default)]
pub struct ReportTextInput<'a> {
    /// Such as the prefix of the mail's subject.
    pub title: &'a str,
    pub base: &'a str,
    /// Address of the run's directory, put before paths of logs.
    pub url: Option<&'a str>,
    /// `None` for the first run.
    pub difference: Option<&'a RunDifference>,
    /// Last lines of the logs of failures, by PKGNAME.
    pub log_ends: BTreeMap<&'a str, Vec<String>>,
}

/// Escapes control characters of records and logs.
pub fn report_text(report: &RunReport, input: &ReportTextInput<'_>) -> String {
    let mut out = ReportText { report, input, out: String::new() };
    out.put_head();
    out.put_counts();
    out.put_most_harmful();
    out.put_newly_failed();
    out.put_repaired();
    out.put_failures();
    out.put_not_reproducible();
    out.put_leftovers();
    out.put_shared_paths();
    out.put_remarks();
    out.put_machines();
    out.put_patches();
    out.out
}

struct ReportText<'a> {
    report: &'a RunReport,
    input: &'a ReportTextInput<'a>,
    out: String,
}

impl ReportText<'_> {
    fn line(&mut self, text: &str) {
        self.out.push_str(&visible(text));
        self.out.push('\n');
    }

    fn heading(&mut self, text: &str) {
        self.out.push('\n');
        self.line(text);
    }

    fn put_head(&mut self) {
        let report = self.report;
        self.line(self.input.title);
        self.out.push('\n');
        self.line(&format!("Base:   {}", self.input.base));
        if let Some(platform) = &report.platform {
            for (name, value) in [("OS:     ", &platform.os), ("Compiler: ", &platform.compiler)] {
                if let Some(value) = value {
                    self.line(&format!("{name}{value}"));
                }
            }
        }
        self.line(&format!("Begin:  {}", report.began));
        self.line(&format!("End:    {}", report.ended));
        self.line(&format!("Run:    {}", report.run_words()));
        self.line(&format!("Set:    {}", report.set_words()));
        if let Some(set) = report.set.as_ref().filter(|set| !set.kept.is_empty()) {
            self.line(&format!("Kept from the previous set: {}", set.kept.join(" ")));
        }
        for left_out in report.set.iter().flat_map(|set| &set.left_out) {
            self.line(&format!("Not in the set: {}", left_out.words()));
        }
        for unmet in report.set.iter().flat_map(|set| &set.unmet) {
            self.line(&format!("Unmet:  {} needs {}", unmet.package, unmet.library));
        }
        if let Some(upload) = &report.upload {
            self.line(&format!("Upload: {}", upload.words()));
        }
        if let Some(url) = self.input.url {
            self.line(&format!("Logs:   {url}"));
        }
    }

    fn put_counts(&mut self) {
        use BuildState::{
            Deferred, Done, Failed, IndirectFailed, IndirectPrefailed, Open, Prefailed, Running, UpToDate,
        };
        let count = |state| self.report.count(state);
        let ended = [Done, UpToDate, Failed, IndirectFailed, Prefailed, IndirectPrefailed, Deferred];
        // Only an interrupted run leaves packages open.
        let open = Some(count(Open) + count(Running)).filter(|open| *open > 0);
        let lines = [("Total", self.report.counts.values().sum())]
            .into_iter()
            .chain(ended.map(|state| (state_heading(state), count(state))))
            .chain(open.map(|open| (state_heading(Open), open)));
        self.out.push('\n');
        for (name, number) in lines {
            self.line(&format!("{:<28} {number:>7}", format!("{name}:")));
        }
    }

    fn put_most_harmful(&mut self) {
        let packages = self.report.most_harmful(MOST_HARMFUL);
        if packages.is_empty() {
            return;
        }
        self.heading("Most harmful failures (location, packages that need it, of these waiting for nothing else, maintainer)");
        for package in packages {
            let maintainer = package.maintainer.as_deref().unwrap_or("-");
            self.line(&format!(
                "  {:<30} {:>6} {:>6}  {maintainer}",
                visible(&package.location),
                package.breaks,
                package.breaks_alone
            ));
        }
    }

    fn put_newly_failed(&mut self) {
        let Some(difference) = self.input.difference.filter(|difference| !difference.failed.is_empty())
        else {
            return;
        };
        self.heading("Newly failed, with what changed since the last success");
        for name in &difference.failed {
            let package = self.report.packages.iter().find(|package| package.package == *name);
            let suspects = package.map(suspects).unwrap_or_default();
            self.line(&format!("  {name}{suspects}"));
        }
    }

    fn put_repaired(&mut self) {
        let Some(difference) = self.input.difference.filter(|difference| !difference.repaired.is_empty())
        else {
            return;
        };
        self.heading("Repaired");
        for name in &difference.repaired {
            self.line(&format!("  {name}"));
        }
    }

    fn put_failures(&mut self) {
        let states = [
            (BuildState::Failed, "Failures"),
            (BuildState::Prefailed, "Explicitly broken or masked"),
            (BuildState::Deferred, "Deferred"),
        ];
        for (state, heading) in states {
            let packages: Vec<&ReportedPackage> =
                self.report.packages.iter().filter(|package| package.state == state).collect();
            if !packages.is_empty() {
                self.heading(heading);
            }
            for package in packages {
                self.put_failure(package);
            }
        }
    }

    fn put_failure(&mut self, package: &ReportedPackage) {
        let mut line = format!("  {}", package.package);
        if let Some(cause) = package.cause {
            let _ = write!(line, "  {cause}");
        }
        if let Some(phase) = &package.phase {
            let _ = write!(line, "  in phase {phase}");
        }
        if let Some(run) = package.run.filter(|run| *run != self.report.run) {
            let _ = write!(line, "  in run {run}");
        }
        if let Some(maintainer) = &package.maintainer {
            let _ = write!(line, "  {maintainer}");
        }
        self.line(&line);
        if let Some(detail) = &package.detail {
            self.line(&format!("      {detail}"));
        }
        if let Some(log) = &package.log {
            let url = self.input.url.map(|url| format!("{}/", url.trim_end_matches('/'))).unwrap_or_default();
            self.line(&format!("      {url}{log}"));
        }
        for line in self.input.log_ends.get(package.package.as_str()).into_iter().flatten() {
            self.line(&format!("      | {line}"));
        }
    }

    fn put_not_reproducible(&mut self) {
        if !self.report.not_reproducible.is_empty() {
            self.heading("Not reproducible");
        }
        for package in &self.report.not_reproducible {
            self.line(&format!("  {package}"));
        }
    }

    fn put_leftovers(&mut self) {
        if !self.report.leftovers.is_empty() {
            self.heading("Leftovers of packages that were removed");
        }
        for leftover in &self.report.leftovers {
            self.line(&format!("  {}", leftover.package));
            for path in &leftover.paths {
                self.line(&format!("      {path}"));
            }
        }
    }

    fn put_shared_paths(&mut self) {
        if !self.report.shared_paths.is_empty() {
            self.heading("Paths of several packages (the last one is not in the set)");
        }
        for shared in &self.report.shared_paths {
            let more = if shared.more > 0 { format!(" and {} more", shared.more) } else { String::new() };
            self.line(&format!("  {}{more}: {}", shared.path, shared.packages.join(", ")));
        }
    }

    fn put_remarks(&mut self) {
        if !self.report.remarks.is_empty() {
            self.heading("Remarks about packages");
        }
        for remarks in &self.report.remarks {
            self.line(&format!("  {}", remarks.package));
            for remark in &remarks.remarks {
                self.line(&format!("      {remark}"));
            }
        }
    }

    fn put_machines(&mut self) {
        let troubled = |machine: &&super::MachineReport| machine.trouble > 0 || machine.left_out.is_some();
        let machines: Vec<_> = self.report.machines.iter().filter(troubled).collect();
        if !machines.is_empty() {
            self.heading("Machine trouble");
        }
        for machine in machines {
            let left_out = machine.left_out.as_ref().map(|reason| format!("; left out: {reason}"));
            let times = if machine.trouble == 1 { "time" } else { "times" };
            let left_out = left_out.unwrap_or_default();
            self.line(&format!("  {}  {} {times}{left_out}", machine.slot, machine.trouble));
        }
    }

    fn put_patches(&mut self) {
        if let Some(patches) = &self.report.patches {
            self.out.push('\n');
            self.out.push_str(&patches_text(patches));
        }
    }
}

fn suspects(package: &ReportedPackage) -> String {
    let first: Vec<&str> = package.suspects.iter().take(FIRST_SUSPECTS).map(String::as_str).collect();
    let more = package.suspects.len().saturating_sub(FIRST_SUSPECTS);
    match (first.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!(": {}", first.join(", ")),
        (false, more) => format!(": {} and {more} more", first.join(", ")),
    }
}

const WITHOUT: [(&str, &str); 4] = [
    ("new", "New, and in no patch"),
    ("gone", "Gone, and in no patch"),
    ("foreign", "Not of this format, and in no patch"),
    ("restricted", "Not redistributable, and in no patch"),
];

/// Describes built and failed patches, removed libraries, and packages without a patch, without control characters.
pub fn patches_text(patches: &ReportedPatches) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(&visible(text));
        out.push('\n');
    };
    let listed = patches.sources.iter().filter(|one| matches!(one.state.as_str(), "built" | "failed"));
    let listed: Vec<_> = listed.collect();
    line(if listed.is_empty() { "No patches were made" } else { "Patches" });
    for source in listed {
        let id = source.id.as_deref().unwrap_or("-");
        let reason = if source.reason.is_empty() { String::new() } else { format!(": {}", source.reason) };
        line(&format!("  {id}  {}  {}{reason}", source.source, source.state));
        let log = source.others.get("log").and_then(serde_json::Value::as_str);
        if let Some(log) = log.filter(|_| source.state == "failed") {
            line(&format!("      {log}"));
        }
    }
    for taken in &patches.takes_away {
        let packages = taken.packages.join(" ");
        line(&format!("  {} removes {}, which these need: {packages}", taken.id, taken.library));
    }
    if !patches.takes_away.is_empty() {
        line("  Apply them with the patches of the packages that need them, or use --libs keep.");
    }
    for (field, words) in WITHOUT {
        let names = patches.others.get(field).and_then(serde_json::Value::as_array);
        let names: Vec<&str> = names.into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
        if !names.is_empty() {
            line(&format!("  {words}: {}", names.join(" ")));
        }
    }
    let shared = patches.others.get("shared_paths").and_then(serde_json::Value::as_array);
    for shared in shared.into_iter().flatten() {
        let packages = shared["packages"].as_array().into_iter().flatten();
        let packages: Vec<&str> = packages.filter_map(serde_json::Value::as_str).collect();
        let path = shared["path"].as_str().unwrap_or_default();
        line(&format!("  {path} is in {}: the last one gets no patch", packages.join(" and in ")));
    }
    if let Some(refused) = patches.others.get("refused").and_then(serde_json::Value::as_str) {
        line(&format!("Nothing is published: {refused}"));
        if let Some(log) = patches.others.get("log").and_then(serde_json::Value::as_str) {
            line(&format!("      {log}"));
        }
    }
    out
}
