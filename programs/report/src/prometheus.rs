//! The report for the textfile collector of Prometheus's `node_exporter`: numbers of hosts, history of the root.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use chrono::DateTime;

use crate::made::{MadeReport, NAMED_TWICE};
use patchadm_changeset::format::history::HistoryEntry;
use patchadm_cli::reply::Exit;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::overtaken::NATIVE_CHANGED;
use patchadm_core::operation::queries::runs::{PastRuns, past_runs};
use patchadm_planning::fleet::{
    Finding, FindingKind, FleetHost, FleetPatchStanding, HostStanding, InventoryPatch,
};
use patchadm_rootfs::Root;
use patchadm_svr4::package::control::is_hidden;

struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

impl Metric {
    fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: "gauge", help, samples: Vec::new() }
    }

    fn counter(name: &'static str, help: &'static str) -> Self {
        Self { kind: "counter", ..Self::gauge(name, help) }
    }

    fn write(&self, text: &mut String) {
        if self.samples.is_empty() {
            return;
        }
        let Self { name, kind, help, .. } = self;
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP patchadm_{name} {help}\n# TYPE patchadm_{name} {kind}");
        for (labels, value) in &self.samples {
            let labels: Vec<String> =
                labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
            let _ = writeln!(text, "patchadm_{name}{{{}}} {value}", labels.join(","));
        }
    }
}

/// Without an inventory, the report is about the root and has its history.
pub(crate) fn document(root: Option<&Root>, made: &MadeReport<'_>) -> anyhow::Result<String> {
    let mut metrics = of_hosts(made);
    if let (Some(root), Some(host)) = (root, made.report.hosts.first()) {
        let history = past_runs(root).map_err(|failed| query_refused(root, &failed))?;
        metrics.extend(of_history(&history, host));
    }
    Ok(metrics.iter().fold(String::new(), |mut text, metric| {
        metric.write(&mut text);
        text
    }))
}

fn labels(host: &FleetHost) -> Vec<(&'static str, String)> {
    vec![("host", host.inventory.machine.clone()), ("root", host.inventory.root.clone())]
}

type HostValue = fn(&FleetHost, &HostStanding) -> Option<f64>;

const OF_HOSTS: [(&str, &str, HostValue); 11] = [
    ("patches_applied", "Patches with their changes in effect on the root.", |_, standing| {
        count(standing.applied.len())
    }),
    ("patches_in_force", "Applied patches that are neither superseded nor obsoleted.", |host, _| {
        count(host.inventory.patches.iter().filter(|patch| is_in_force(patch)).count())
    }),
    ("fixes_lost", "Patches with a fix that dpkg or rpm has overwritten.", |_, standing| {
        found(standing, FindingKind::LostFix)
    }),
    ("registrations_stale", "Adopted packages that dpkg or rpm has changed since.", |_, standing| {
        found(standing, FindingKind::StaleRegistration)
    }),
    ("patches_on_trial", "Patches that are reverted unless you confirm them.", |host, _| {
        count(host.inventory.trial.as_ref().map_or(0, |trial| trial.patches.len()))
    }),
    ("run_unfinished", "1 if a run was interrupted and has not been recovered, else 0.", |host, _| {
        count(usize::from(host.inventory.unfinished.is_some()))
    }),
    ("undo_bytes", "Bytes of undo data.", |host, _| {
        let bytes = host.inventory.patches.iter().fold(0, |sum, patch| patch.undo_bytes.saturating_add(sum));
        Some(number(i64::try_from(bytes).unwrap_or(i64::MAX)))
    }),
    ("undo_damaged", "Patches with damaged or lost undo data.", |_, standing| {
        found(standing, FindingKind::DamagedUndo)
    }),
    ("inventories_conflicting", "Other inventories that name this host and do not count.", |_, standing| {
        found(standing, FindingKind::NamedTwice)
    }),
    ("check_exit_code", "The exit code of report --check for this root alone.", |_, standing| {
        Some(f64::from(code_of_check(standing)))
    }),
    ("listed_timestamp_seconds", "Time at which the root was listed.", |host, _| {
        host.inventory.at.map(|at| number(at.timestamp()))
    }),
];

fn of_hosts(made: &MadeReport<'_>) -> Vec<Metric> {
    let missing: (&str, &str, HostValue) =
        ("patches_missing", "Patches of the depot that the root is missing.", |_, standing| {
            count(standing.lacks.len())
        });
    let has_depot = made.compared_with.kind == "depot";
    let metric = |(name, help, value): (&'static str, &'static str, HostValue)| {
        let mut metric = Metric::gauge(name, help);
        for (host, standing) in made.report.hosts.iter().zip(&made.report.standings) {
            metric.samples.extend(value(host, standing).map(|value| (labels(host), value)));
        }
        metric
    };
    OF_HOSTS.into_iter().chain(has_depot.then_some(missing)).map(metric).collect()
}

fn count(number: usize) -> Option<f64> {
    u32::try_from(number).ok().map(f64::from)
}

fn found(standing: &HostStanding, kind: FindingKind) -> Option<f64> {
    count(standing.findings.iter().filter(|finding| finding.kind == kind).count())
}

fn code_of_check(standing: &HostStanding) -> u8 {
    let is_native =
        |finding: &Finding| matches!(finding.kind, FindingKind::LostFix | FindingKind::StaleRegistration);
    let is_named_twice = standing.findings.iter().any(|finding| finding.kind == FindingKind::NamedTwice);
    match (standing.findings.iter().any(is_native), standing.lacks.is_empty()) {
        (true, _) => NATIVE_CHANGED.verb_code(),
        (false, false) => Exit::MISSING.verb_code(),
        (false, true) if is_named_twice => NAMED_TWICE.verb_code(),
        (false, true) => Exit::OK.verb_code(),
    }
}

fn is_in_force(patch: &InventoryPatch) -> bool {
    patch.standing == FleetPatchStanding::Effective
}

fn of_history(history: &PastRuns, host: &FleetHost) -> Vec<Metric> {
    let mut totals: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for run in &history.runs {
        *totals.entry((&run.line.command, &run.line.result)).or_default() += 1;
    }
    let mut runs = Metric::counter("runs_total", "Runs in the history of the root.");
    for ((command, result), total) in totals {
        let own = [("command", command.to_owned()), ("result", result.to_owned())];
        runs.samples.push((labels(host).into_iter().chain(own).collect(), f64::from(total)));
    }
    let last = history.runs.last().map(|run| &run.line);
    let of_last = |name, help, value: fn(&HistoryEntry) -> Option<f64>| {
        let mut metric = Metric::gauge(name, help);
        metric.samples.extend(last.and_then(value).map(|value| (labels(host), value)));
        metric
    };
    vec![
        runs,
        of_last("last_run_timestamp_seconds", "Time at which the last run began.", |line| {
            DateTime::parse_from_rfc3339(&line.time).ok().map(|began| number(began.timestamp()))
        }),
        of_last("last_run_duration_seconds", "Duration of the last run.", |line| {
            Some(Duration::from_millis(line.duration).as_secs_f64())
        }),
        of_last("last_run_rolled_back", "1 if the last run was rolled back, else 0.", |line| {
            Some(if line.result == "done" { 0.0 } else { 1.0 })
        }),
    ]
}

/// Exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
fn number(exact: i64) -> f64 {
    exact as f64
}

/// Labels have only three escapes; other control characters become the replacement character.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str(r"\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str(r"\n"),
            letter if is_hidden(letter) => out.push(char::REPLACEMENT_CHARACTER),
            letter => out.push(letter),
        }
    }
    out
}
