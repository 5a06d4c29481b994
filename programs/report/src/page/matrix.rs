//! Hosts with the same patches, and the matrix of those that differ.

use super::lists::ListLimit;
use super::parts::{count, part};
use crate::made::MadeReport;
use patchadm_cli::reply::page::{PageCell, PagePart, PageRow, PageTable};
use patchadm_planning::fleet::{HostGroup, groups};

/// The most columns of the matrix.
const MOST_COLUMNS: usize = 16;

/// The most groups that are listed.
const MOST_GROUPS: usize = 1_000;

/// Returns the table of groups; none where there is one host, or where no two hosts are alike.
pub(super) fn groups_part(made: &MadeReport<'_>, limit: ListLimit) -> Option<PagePart> {
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
        0 => format!("{total} groups; the hosts of each have and lack the same patches"),
        more => format!("The {MOST_GROUPS} largest groups, and {more} more"),
    };
    let columns = ["Group", "Hosts", "Applied", "Lacks"];
    Some(part("Hosts with the same patches", caption, &columns, rows.collect()))
}

/// Returns the matrix of groups and the patches in which they differ; none where nothing differs.
pub(super) fn matrix_part(made: &MadeReport<'_>) -> Option<PagePart> {
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
        "The patches in which these differ (– is neither applied nor lacking); {same} are alike in all of them{left_out}"
    );
    let name = |(number, group): (usize, &HostGroup)| group_name(made, number, group).into();
    let columns = std::iter::once("Patch".into()).chain(shown.iter().enumerate().map(name)).collect();
    let kinds = vec![("lacking", "lacking somewhere")];
    let table = PageTable { caption, columns, kinds, rows };
    Some(PagePart { heading: "Hosts and patches".to_owned(), table: Some(table), ..PagePart::default() })
}

/// Returns the name of a group: that of its host, if it is only one.
fn group_name(made: &MadeReport<'_>, number: usize, group: &HostGroup) -> String {
    let host = group.hosts.first().and_then(|place| made.report.hosts.get(*place));
    match host.filter(|_| group.hosts.len() == 1) {
        Some(host) => host.name.clone(),
        None => format!("Group {}", number + 1),
    }
}

/// Returns the row of a patch; none where all groups stand to it in the same way.
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
        (false, true) => PageCell { class: "missing", ..PageCell::of("lacks") },
        (false, false) => PageCell { class: "quiet", ..PageCell::of("–") },
    };
    let is_lacking = standings.iter().any(|(_, lacks)| *lacks);
    Some(PageRow {
        kind: if is_lacking { "lacking".into() } else { "".into() },
        cells: std::iter::once(PageCell::of(id)).chain(standings.iter().map(cell)).collect(),
    })
}
