use std::sync::Arc;

use crate::made::{MadeReport, TwoHosts};
use patchadm_cli::reply::words::{counted, counted_patches};
use patchadm_cli::surroundings::Zone;
use patchadm_planning::fleet::{
    Finding, FindingKind, FleetChanges, FleetPatch, HostStanding, PastReport, PatchOnHosts,
};
use patchadm_svr4::package::control::visible;

const NAMES_IN_LINE: usize = 4;

/// Names and texts of inventories begin no line of their own.
pub(crate) fn lines(made: &MadeReport<'_>) -> Vec<String> {
    let report = &made.report;
    let mut lines = vec![
        format!(
            "{}, {}, compared with {}",
            counted(report.hosts.len(), "host"),
            counted_patches(report.patches.len()),
            made.compared_with.words()
        ),
        String::new(),
    ];
    lines.extend(hosts(made));
    lines.extend(section("Missing", lacking(made)));
    lines.extend(section("Attention", attention(made)));
    lines.extend(made.two.iter().flat_map(two_hosts));
    lines.extend(made.changes.iter().flat_map(|(changes, past)| since(changes, past, made.zone)));
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.iter().map(|line| visible(line).into_owned()).collect()
}

fn section(heading: &str, lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() {
        return lines;
    }
    let below = lines.into_iter().map(|line| format!("  {line}"));
    std::iter::once(format!("{heading}:")).chain(below).chain([String::new()]).collect()
}

fn few<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMES_IN_LINE);
    let words: Vec<&str> = names.take(NAMES_IN_LINE).collect();
    let words = words.join(", ");
    if more > 0 { format!("{words} and {more} more") } else { words }
}

fn hosts(made: &MadeReport<'_>) -> Vec<String> {
    let rows: Vec<[String; 5]> = made
        .report
        .each_host()
        .map(|(host, standing)| {
            let listed = host.inventory.at.map_or_else(|| "not told".to_owned(), |at| made.zone.minute(at));
            let numbers = [standing.applied.len(), standing.lacks.len()].map(|number| number.to_string());
            let [applied, lacks] = numbers;
            [visible(&host.name).into_owned(), applied, lacks, listed, kinds(standing)]
        })
        .collect();
    if rows.is_empty() {
        return rows.into_iter().flatten().collect();
    }
    let head = ["Host", "Applied", "Missing", "Listed", "Attention"].map(str::to_owned);
    let all = || std::iter::once(&head).chain(&rows);
    let widths: [usize; 5] =
        std::array::from_fn(|at| all().map(|row| row[at].chars().count()).max().unwrap_or_default());
    let line = |row: &[String; 5]| {
        let [host, applied, lacks, listed, attention] = row;
        let [a, b, c, d, _] = widths;
        format!("{host:<a$}  {applied:>b$}  {lacks:>c$}  {listed:<d$}  {attention}").trim_end().to_owned()
    };
    all().map(line).chain([String::new()]).collect()
}

pub(crate) fn kinds(standing: &HostStanding) -> String {
    let has = |kind: &FindingKind| standing.findings.iter().any(|finding| finding.kind == *kind);
    FindingKind::ALL.iter().filter(|kind| has(kind)).map(|kind| kind.words()).collect::<Vec<_>>().join(", ")
}

fn lacking(made: &MadeReport<'_>) -> Vec<String> {
    let lacking = made.report.patches.iter().filter(|patch| !patch.lacking.is_empty());
    let line = |patch: &FleetPatch| {
        let names: Vec<&str> = made.report.names(&patch.lacking).collect();
        let synopsis =
            if patch.synopsis.is_empty() { String::new() } else { format!(" ({})", patch.synopsis) };
        format!("{}{synopsis}: {}", patch.id, few(names.into_iter()))
    };
    lacking.map(line).collect()
}

fn attention(made: &MadeReport<'_>) -> Vec<String> {
    let findings = made.report.findings();
    let line = |(finding, hosts): (&&Finding, &Vec<usize>)| {
        let names: Vec<&str> = made.report.names(hosts).collect();
        let few = few(names.into_iter());
        let text = made.zone.minutes_in(&finding.text);
        format!("{}: {}: {text} ({few})", finding.kind.words(), finding.about)
    };
    findings.iter().map(line).collect()
}

fn two_hosts(two: &TwoHosts<'_>) -> Vec<String> {
    let heading = format!("{} and {}", two.first.name, two.second.name);
    let side = |revision: &Option<String>| revision.clone().unwrap_or_else(|| "-".to_owned());
    let line = |(name, first, second): (&String, &Option<String>, &Option<String>)| {
        format!("{name}: {} | {}", side(first), side(second))
    };
    let patches = two.comparison.patches.iter().map(|one| line((&one.base, &one.first, &one.second)));
    let packages = two.comparison.packages.iter().flatten();
    let packages = packages.map(|one| line((&one.package, &one.first, &one.second)));
    let same = format!("{} the same on both", patches_same(two.comparison.same_patches));
    section(&heading, patches.chain(packages).chain([same]).collect())
}

fn patches_same(number: usize) -> String {
    if number == 1 { "1 patch is".to_owned() } else { format!("{number} patches are") }
}

fn since(changes: &FleetChanges, past: &PastReport, zone: Zone) -> Vec<String> {
    let names = |heading: &str, names: &[Arc<str>]| {
        let few = few(names.iter().map(|name| &**name));
        (!names.is_empty()).then(|| format!("{heading}: {few}"))
    };
    let listed = |heading: &str, list: &[PatchOnHosts]| -> Vec<String> {
        let line = |one: &PatchOnHosts| {
            format!("{heading} {}: {}", one.about, few(one.hosts.iter().map(|name| &**name)))
        };
        list.iter().map(line).collect()
    };
    let mut lines: Vec<String> = [names("new", &changes.new_hosts), names("gone", &changes.gone_hosts)]
        .into_iter()
        .flatten()
        .collect();
    lines.extend(listed("applied", &changes.applied));
    lines.extend(listed("removed", &changes.removed));
    lines.extend(listed("now missing", &changes.lacking));
    lines.extend(listed("no longer missing", &changes.no_longer_lacking));
    for (words, found) in [("new", &changes.new_findings), ("ended", &changes.ended_findings)] {
        lines.extend(found.iter().flat_map(|(kind, list)| listed(&format!("{words} {kind}"), list)));
    }
    if lines.is_empty() {
        lines.push("nothing".to_owned());
    }
    let when = past.at.as_ref().map_or("the previous report".to_owned(), |at| zone.minute_of(at));
    section(&format!("Changed since {when}"), lines)
}
