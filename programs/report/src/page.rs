//! The report as a web page.
//!
//! A thousand hosts with hundreds of patches do not fit cell by cell: names of rows and columns are lists to open, and
//! a matrix shows groups of hosts that differ.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use patchadm_pages::{PageCell, PageList, PagePart, PageRow, PageTable, TablePage, html_of_tables};
use patchadm_planning::fleet::{
    FindingKind, FleetHost, FleetPatch, FleetReport, HostGroup, HostStanding, PatchOnHosts, groups,
};

use crate::made::MadeReport;
use crate::text::kinds;

const MOST_FINDINGS: usize = 5_000;

const PATCH_KINDS: [(&str, &str); 4] = [
    ("lacking", "missing somewhere"),
    ("everywhere", "applied on every host"),
    ("trial", "on trial"),
    ("lost", "lost"),
];

const PATCH_COLUMNS: [&str; 8] =
    ["Patch", "Missing", "Applied", "In force", "On trial", "Lost", "Synopsis", "Packages"];

pub(crate) fn page_of(made: &MadeReport<'_>) -> String {
    let page = FleetPage { made, limit: ListLimit::of(made) };
    let parts = [
        page.unread(),
        page.findings(),
        page.patches(),
        page.hosts(),
        groups_part(made, page.limit),
        matrix_part(made),
        two_hosts(made),
    ];
    let parts = parts.into_iter().flatten().chain(changes(made, page.limit)).chain(page.notes());
    let title = match made.report.hosts {
        [one] => format!("Patches of {}", one.name),
        hosts => format!("Patches of {} hosts", hosts.len()),
    };
    html_of_tables(&TablePage {
        title,
        facts: page.facts(),
        skip: "Skip to the tables",
        parts: parts.collect(),
    })
}

/// Returns a moment as documents record it; pages show that in one form.
pub(crate) fn recorded(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

struct FleetPage<'a> {
    made: &'a MadeReport<'a>,
    limit: ListLimit,
}

impl FleetPage<'_> {
    fn facts(&self) -> Vec<(String, String)> {
        let (made, report) = (self.made, &self.made.report);
        let documents = match made.unread.len() {
            0 => made.documents.to_string(),
            unread => format!("{} ({unread} could not be read)", made.documents),
        };
        let facts = [
            ("Made", recorded(made.at)),
            ("Compared with", made.compared_with.words()),
            ("Inventories", documents),
            ("Hosts", report.hosts.len().to_string()),
            ("Hosts missing a patch", report.lacking_hosts().to_string()),
            ("Patches", report.patches.len().to_string()),
        ];
        let facts = facts.into_iter().map(|(name, value)| (name.to_owned(), value));
        let found = FindingKind::ALL.into_iter().map(|kind| (kind, report.hosts_with(kind)));
        let found = found.filter(|(_, hosts)| *hosts > 0);
        facts
            .chain(found.map(|(kind, hosts)| (format!("Hosts with: {}", kind.words()), hosts.to_string())))
            .collect()
    }

    fn unread(&self) -> Option<PagePart> {
        let rows = self.made.unread.iter().map(|unread| PageRow {
            cells: vec![
                PageCell::of(&unread.source),
                PageCell { class: "warning", ..PageCell::of(&unread.reason) },
            ],
            ..PageRow::default()
        });
        let rows: Vec<PageRow> = rows.collect();
        let caption = "Not included in the counts below".to_owned();
        (!rows.is_empty())
            .then(|| part("Inventories that could not be read", caption, &["Inventory", "Reason"], rows))
    }

    fn findings(&self) -> Option<PagePart> {
        let hosts = self.made.report.findings();
        if hosts.is_empty() {
            return None;
        }
        let total = hosts.len();
        let rows = hosts.into_iter().take(MOST_FINDINGS).map(|(finding, places)| PageRow {
            kind: finding.kind.word().into(),
            cells: vec![
                PageCell::of(&finding.about),
                PageCell { class: colour(finding.kind), ..PageCell::of(finding.kind.words()) },
                PageCell::of(&finding.text),
                self.limit.hosts(&self.made.report, &places),
            ],
        });
        let there = FindingKind::ALL.into_iter().filter(|kind| self.made.report.hosts_with(*kind) > 0);
        let kinds: Vec<_> = there.map(|kind| (kind.word(), kind.words())).collect();
        let caption = match total.saturating_sub(MOST_FINDINGS) {
            0 => format!("{total} findings"),
            more => format!("{MOST_FINDINGS} findings, and {more} more, which report --json lists"),
        };
        let part = part("Needs attention", caption, &["About", "What", "In words", "Hosts"], rows.collect());
        Some(narrowed(part, &kinds))
    }

    fn patches(&self) -> Option<PagePart> {
        let patches = &self.made.report.patches;
        let rows: Vec<PageRow> = patches.iter().map(|patch| self.patch(patch)).collect();
        let (mut kinds, mut columns) = (PATCH_KINDS.to_vec(), PATCH_COLUMNS.to_vec());
        if self.has_flags() {
            kinds.extend(["recommended", "security", "withdrawn"].map(|flag| (flag, flag)));
            columns.push("Flags");
        }
        let caption = "Patches, each with the number of hosts; open a number for their names".to_owned();
        (!rows.is_empty()).then(|| narrowed(part("Patches", caption, &columns, rows), &kinds))
    }

    fn has_flags(&self) -> bool {
        self.made.compared_with.kind == "depot"
    }

    fn patch(&self, patch: &FleetPatch) -> PageRow {
        let report = &self.made.report;
        let flags = [
            (patch.is_recommended, "recommended"),
            (patch.is_security, "security"),
            (patch.is_withdrawn, "withdrawn"),
        ];
        let flags: Vec<&str> =
            flags.into_iter().filter_map(|(is_set, word)| is_set.then_some(word)).collect();
        let kinds = [
            (!patch.lacking.is_empty(), "lacking"),
            (patch.applied.len() == report.hosts.len(), "everywhere"),
            (!patch.on_trial.is_empty(), "trial"),
            (!patch.lost.is_empty(), "lost"),
        ];
        let kinds = kinds.into_iter().filter_map(|(is_set, word)| is_set.then_some(word));
        let kinds: Vec<&str> = kinds.chain(flags.iter().copied()).collect();
        let mut cells = vec![
            PageCell::of(patch.id.as_str()),
            self.limit.hosts(report, &patch.lacking),
            count(patch.applied.len()),
            count(patch.effective),
            self.limit.hosts(report, &patch.on_trial),
            self.limit.hosts(report, &patch.lost),
            PageCell { class: "synopsis", ..PageCell::of(&patch.synopsis) },
            PageCell::of(patch.packages.join(", ")),
        ];
        cells.extend(self.has_flags().then(|| PageCell::of(flags.join(", "))));
        PageRow { kind: kinds.join(" ").into(), cells }
    }

    fn hosts(&self) -> Option<PagePart> {
        let rows: Vec<PageRow> =
            self.made.report.each_host().map(|(host, standing)| self.host(host, standing)).collect();
        let kinds = [
            ("lacking", "missing a patch"),
            ("complete", "missing none"),
            ("attention", "that need attention"),
        ];
        let columns = ["Host", "Missing", "Applied", "Attention", "Listed", "Program", "Inventory"];
        let caption = "Hosts, each with the number of patches; open a number for their ids".to_owned();
        (!rows.is_empty()).then(|| narrowed(part("Hosts", caption, &columns, rows), &kinds))
    }

    fn host(&self, host: &FleetHost, standing: &HostStanding) -> PageRow {
        let listed = host.inventory.at.map(recorded);
        let version = host.inventory.version.as_deref().unwrap_or_default();
        let attention = kinds(standing);
        let kinds = [
            (!standing.lacks.is_empty(), "lacking"),
            (standing.lacks.is_empty(), "complete"),
            (!standing.findings.is_empty(), "attention"),
        ];
        let kinds: Vec<&str> =
            kinds.into_iter().filter_map(|(is_set, word)| is_set.then_some(word)).collect();
        let cells = vec![
            PageCell::of(&host.name),
            self.limit.patches(&self.made.report, &standing.lacks),
            count(standing.applied.len()),
            PageCell { class: "warning", ..PageCell::of(attention) },
            PageCell { class: "moment", ..PageCell::of(listed.unwrap_or_else(|| "not told".to_owned())) },
            PageCell::of(version),
            PageCell::of(&host.source),
        ];
        PageRow { kind: kinds.join(" ").into(), cells }
    }

    fn notes(&self) -> Option<PagePart> {
        let remarks = self.made.notes();
        (!remarks.is_empty()).then(|| PagePart {
            heading: "Notes".to_owned(),
            remarks,
            ..PagePart::default()
        })
    }
}

fn colour(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::OnTrial => "quiet",
        FindingKind::StaleRegistration | FindingKind::HalfApplied => "missing",
        _ => "warning",
    }
}

const MOST_COLUMNS: usize = 16;

const MOST_GROUPS: usize = 1_000;

/// `None` for a single host, or if no two hosts are alike.
fn groups_part(made: &MadeReport<'_>, limit: ListLimit) -> Option<PagePart> {
    let groups = groups(&made.report);
    if made.report.hosts.len() < 2 || groups.len() == made.report.hosts.len() {
        return None;
    }
    let total = groups.len();
    let rows = groups.iter().take(MOST_GROUPS).enumerate().map(|(number, group)| PageRow {
        cells: vec![
            PageCell { key: Some(number as u64), ..PageCell::of(group_name(made, number, group)) },
            limit.hosts(&made.report, &group.hosts),
            count(group.applied.len()),
            limit.patches(&made.report, &group.lacks),
        ],
        ..PageRow::default()
    });
    let caption = match total.saturating_sub(MOST_GROUPS) {
        0 => format!("{total} groups; the hosts of each have and are missing the same patches"),
        more => format!("The {MOST_GROUPS} largest groups, and {more} more"),
    };
    let columns = ["Group", "Hosts", "Applied", "Missing"];
    Some(part("Hosts with the same patches", caption, &columns, rows.collect()))
}

/// `None` if groups do not differ.
fn matrix_part(made: &MadeReport<'_>) -> Option<PagePart> {
    let groups = groups(&made.report);
    let shown = groups.get(..MOST_COLUMNS).unwrap_or(&groups);
    let rows: Vec<PageRow> = made
        .report
        .patches
        .iter()
        .enumerate()
        .filter_map(|(place, patch)| row(place, patch.id.as_str(), shown))
        .collect();
    if rows.is_empty() {
        return None;
    }
    let same = made.report.patches.len().saturating_sub(rows.len());
    let left_out = match groups.len().saturating_sub(shown.len()) {
        0 => String::new(),
        more => format!("; {more} smaller groups or hosts are not shown"),
    };
    let caption = format!(
        "The patches in which these differ (– is neither applied nor missing); {same} are the same in all of them{left_out}"
    );
    let name = |(number, group): (usize, &HostGroup)| group_name(made, number, group).into();
    let columns = std::iter::once("Patch".into()).chain(shown.iter().enumerate().map(name)).collect();
    let kinds = vec![("lacking", "missing somewhere")];
    let table = PageTable { caption, columns, kinds, rows };
    Some(PagePart { heading: "Hosts and patches".to_owned(), table: Some(table), ..PagePart::default() })
}

fn group_name(made: &MadeReport<'_>, number: usize, group: &HostGroup) -> String {
    let host = group.hosts.first().and_then(|place| made.report.hosts.get(*place));
    match host.filter(|_| group.hosts.len() == 1) {
        Some(host) => host.name.clone(),
        None => format!("Group {}", number + 1),
    }
}

fn row(place: usize, id: &str, groups: &[HostGroup]) -> Option<PageRow> {
    let standing = |group: &HostGroup| {
        let (applied, lacks) = (group.applied.binary_search(&place), group.lacks.binary_search(&place));
        (applied.is_ok(), lacks.is_ok())
    };
    let standings: Vec<(bool, bool)> = groups.iter().map(standing).collect();
    if standings.windows(2).all(|pair| matches!(pair, [one, other] if one == other)) {
        return None;
    }
    let cell = |standing: &(bool, bool)| match standing {
        (true, _) => PageCell { class: "fine", ..PageCell::of("has") },
        (false, true) => PageCell { class: "missing", ..PageCell::of("missing") },
        (false, false) => PageCell { class: "quiet", ..PageCell::of("–") },
    };
    let is_lacking = standings.iter().any(|(_, lacks)| *lacks);
    Some(PageRow {
        kind: if is_lacking { "lacking".into() } else { "".into() },
        cells: std::iter::once(PageCell::of(id)).chain(standings.iter().map(cell)).collect(),
    })
}

pub(super) fn two_hosts(made: &MadeReport<'_>) -> Option<PagePart> {
    let two = made.two.as_ref()?;
    let comparison = &two.comparison;
    let row = |kind: &str, name: &str, first: &Option<String>, second: &Option<String>| PageRow {
        cells: vec![
            PageCell::of(name),
            PageCell::of(kind),
            PageCell::of(first.as_deref().unwrap_or("–")),
            PageCell::of(second.as_deref().unwrap_or("–")),
        ],
        ..PageRow::default()
    };
    let patches = comparison.patches.iter().map(|one| row("patch", &one.base, &one.first, &one.second));
    let packages = comparison.packages.iter().flatten();
    let packages = packages.map(|one| row("package", &one.package, &one.first, &one.second));
    let caption = format!(
        "Differences; of {} patches both have the same revision{}",
        comparison.same_patches,
        if comparison.packages.is_none() {
            ", and packages are not compared: they are not listed"
        } else {
            ""
        }
    );
    let heading = format!("{} and {}", two.first.name, two.second.name);
    let rows = patches.chain(packages).collect();
    let mut part = part(&heading, caption, &["Name", "Kind"], rows);
    if let Some(table) = &mut part.table {
        table.columns.extend([two.first.name.clone().into(), two.second.name.clone().into()]);
    }
    Some(part)
}

pub(super) fn changes(made: &MadeReport<'_>, limit: ListLimit) -> Option<PagePart> {
    let (changes, past) = made.changes.as_ref()?;
    let row = |what: &str, about: &str, hosts: &[Arc<str>], class: &'static str| PageRow {
        cells: vec![
            PageCell::of(about),
            PageCell { class, ..PageCell::of(what) },
            limit.list(hosts.iter().map(|name| &**name)),
        ],
        ..PageRow::default()
    };
    let mut rows = Vec::new();
    for (what, hosts) in [("new", &changes.new_hosts), ("gone", &changes.gone_hosts)] {
        if !hosts.is_empty() {
            rows.push(row(what, "Hosts", hosts, "quiet"));
        }
    }
    let lists: [(&str, &[PatchOnHosts], &'static str); 4] = [
        ("applied", &changes.applied, "fine"),
        ("removed", &changes.removed, "missing"),
        ("now missing", &changes.lacking, "missing"),
        ("no longer missing", &changes.no_longer_lacking, "fine"),
    ];
    for (what, list, class) in lists {
        rows.extend(list.iter().map(|one| row(what, &one.about, &one.hosts, class)));
    }
    let found = [("new", &changes.new_findings, "warning"), ("ended", &changes.ended_findings, "fine")];
    for (what, kinds, class) in found {
        for (kind, list) in kinds {
            let what = format!("{what}: {}", kind.replace('-', " "));
            rows.extend(list.iter().map(|one| row(&what, &one.about, &one.hosts, class)));
        }
    }
    let heading = format!("Changed since {}", past.at.as_deref().unwrap_or("the previous report"));
    let caption = match changes.common {
        1 => "1 host is in both reports".to_owned(),
        common => format!("{common} hosts are in both reports"),
    };
    if rows.is_empty() {
        let remarks = vec!["Nothing has changed.".to_owned()];
        return Some(PagePart { heading, remarks, ..PagePart::default() });
    }
    Some(part(&heading, caption, &["About", "What", "Hosts"], rows))
}

/// Size limit for all lists of a page, in bytes.
const ROOM: usize = 5 << 20;

const LIMITS: [usize; 7] = [usize::MAX, 2_000, 1_000, 300, 100, 30, 10];

#[derive(Clone, Copy, Debug)]
pub(super) struct ListLimit(usize);

impl ListLimit {
    /// The longest limit with which all lists fit.
    pub(super) fn of(made: &MadeReport<'_>) -> Self {
        let (report, findings) = (&made.report, made.report.findings());
        let changes = made.changes.as_ref().map(|(changes, _)| changes);
        let bytes = |limit: usize| {
            let of_patches =
                report.patches.iter().flat_map(|patch| [&patch.lacking, &patch.on_trial, &patch.lost]);
            let hosts = of_patches.chain(findings.values().take(MOST_FINDINGS));
            let hosts = hosts.flat_map(|places| report.names(places).take(limit)).map(str::len);
            let ids = report.standings.iter().flat_map(|standing| report.ids(&standing.lacks).take(limit));
            let changed = changes.into_iter().flat_map(|changes| {
                let patches =
                    [&changes.applied, &changes.removed, &changes.lacking, &changes.no_longer_lacking];
                let found = changes.new_findings.values().chain(changes.ended_findings.values());
                patches.into_iter().chain(found).flatten()
            });
            let changed = changed.flat_map(|one| one.hosts.iter().take(limit)).map(|host| host.len());
            hosts.chain(ids.map(str::len)).chain(changed).map(|length| length + 2).sum::<usize>()
        };
        Self(LIMITS.into_iter().find(|limit| bytes(*limit) <= ROOM).unwrap_or(0))
    }

    pub(super) fn list<'a>(self, names: impl ExactSizeIterator<Item = &'a str>) -> PageCell {
        let more = names.len().saturating_sub(self.0);
        PageCell::of_list(PageList { names: names.take(self.0).map(str::to_owned).collect(), more })
    }

    pub(super) fn hosts(self, report: &FleetReport<'_>, places: &[usize]) -> PageCell {
        let names = report.names(places.get(..self.0).unwrap_or(places)).map(str::to_owned).collect();
        PageCell::of_list(PageList { names, more: places.len().saturating_sub(self.0) })
    }

    pub(super) fn patches(self, report: &FleetReport<'_>, places: &[usize]) -> PageCell {
        let names = report.ids(places.get(..self.0).unwrap_or(places)).map(str::to_owned).collect();
        PageCell::of_list(PageList { names, more: places.len().saturating_sub(self.0) })
    }
}

fn part(heading: &str, caption: String, columns: &[&'static str], rows: Vec<PageRow>) -> PagePart {
    let columns = columns.iter().copied().map(Into::into).collect();
    let table = PageTable { caption, columns, kinds: Vec::new(), rows };
    PagePart { heading: heading.to_owned(), table: Some(table), ..PagePart::default() }
}

fn narrowed(mut part: PagePart, kinds: &[(&'static str, &'static str)]) -> PagePart {
    if let Some(table) = &mut part.table {
        table.kinds = kinds.to_vec();
    }
    part
}

pub(super) fn count(number: usize) -> PageCell {
    PageCell::of_number(Some(number as u64), |number| number.to_string())
}
