//! The report as a page for a browser.
//!
//! A thousand hosts with hundreds of patches each are a matrix that no page can show cell by cell. It is told by its rows and
//! columns, whose names are lists that the reader opens, and as a matrix of the groups of hosts that differ.

mod changes;
mod lists;
mod matrix;
mod parts;

use crate::made::MadeReport;
use crate::text::kinds;
use changes::{changes, two_hosts};
use lists::ListLimit;
use matrix::{groups_part, matrix_part};
use parts::{count, narrowed, part};
use patchadm_cli::reply::page::{PageCell, PagePart, PageRow, TablePage, html_of_tables};
use patchadm_planning::fleet::{FindingKind, FleetHost, FleetPatch, HostStanding};

/// The most rows of the table of findings.
const MOST_FINDINGS: usize = 5_000;

/// The kinds of patches that a reader can choose among.
const PATCH_KINDS: [(&str, &str); 4] = [
    ("lacking", "lacking somewhere"),
    ("everywhere", "applied on every host"),
    ("trial", "on trial"),
    ("lost", "lost"),
];

/// The columns of the table of patches.
const PATCH_COLUMNS: [&str; 8] =
    ["Patch", "Lacking", "Applied", "In force", "On trial", "Lost", "Synopsis", "Packages"];

/// Returns the page.
pub(crate) fn page_of(made: &MadeReport<'_>) -> String {
    let page = FleetPage { made, limit: ListLimit::of(&made.report) };
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
    html_of_tables(&TablePage { title, facts: page.facts(), skip: "To the tables", parts: parts.collect() })
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
            unread => format!("{}, of which {unread} could not be read", made.documents),
        };
        let facts = [
            ("Made", made.at.format("%Y-%m-%d %H:%M UTC").to_string()),
            ("Compared with", made.compared_with.words()),
            ("Inventories", documents),
            ("Hosts", report.hosts.len().to_string()),
            ("Hosts that lack a patch", report.lacking_hosts().to_string()),
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
        let caption = "These count nowhere below".to_owned();
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
        let part =
            part("What needs attention", caption, &["About", "What", "In words", "Hosts"], rows.collect());
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

    /// Tells whether what hosts are compared with has flags of patches.
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
            ("lacking", "that lack a patch"),
            ("complete", "that lack none"),
            ("attention", "that need attention"),
        ];
        let columns = ["Host", "Lacks", "Applied", "Attention", "Listed (UTC)", "Program", "Inventory"];
        let caption = "Hosts, each with the number of patches; open a number for their ids".to_owned();
        (!rows.is_empty()).then(|| narrowed(part("Hosts", caption, &columns, rows), &kinds))
    }

    fn host(&self, host: &FleetHost, standing: &HostStanding) -> PageRow {
        let listed = host.inventory.at.map(|at| at.format("%Y-%m-%d %H:%M").to_string());
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
