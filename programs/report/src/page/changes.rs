//! Two hosts held against each other, and what changed since the report before.

use super::lists::ListLimit;
use super::parts::part;
use crate::made::MadeReport;
use patchadm_cli::reply::page::{PageCell, PagePart, PageRow};
use patchadm_planning::fleet::PatchOnHosts;

/// Returns the table of the differences between two hosts.
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

/// Returns what changed since the report before.
pub(super) fn changes(made: &MadeReport<'_>, limit: ListLimit) -> Option<PagePart> {
    let (changes, past) = made.changes.as_ref()?;
    let row = |what: &str, about: &str, hosts: &[String], class: &'static str| PageRow {
        cells: vec![
            PageCell::of(about),
            PageCell { class, ..PageCell::of(what) },
            limit.list(hosts.iter().map(String::as_str)),
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
        ("lacking now", &changes.lacking, "missing"),
        ("no longer lacking", &changes.no_longer_lacking, "fine"),
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
    let heading = format!("Changed since {}", past.at.as_deref().unwrap_or("the report before"));
    let caption = format!("{} hosts are in both reports", changes.common);
    if rows.is_empty() {
        let remarks = vec!["Nothing has changed.".to_owned()];
        return Some(PagePart { heading, remarks, ..PagePart::default() });
    }
    Some(part(&heading, caption, &["About", "What", "Hosts"], rows))
}
