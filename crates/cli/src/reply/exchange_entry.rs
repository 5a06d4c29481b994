//! How changes below directories to be exchanged became visible.

use serde::Serialize;

use patchadm_changeset::transaction::{ExchangeReport, ExchangeWay};
use patchadm_rootfs::{DirectoryUser, Root};

/// A directory whose changes should become visible at once.
#[derive(Clone, Debug, Serialize)]
pub struct ExchangeEntry {
    /// From `/` of the root on.
    path: String,
    /// As a person would type it.
    #[serde(skip)]
    shown: String,
    way: ExchangeWay,
    /// The reason why its objects are renamed one by one.
    reason: Option<String>,
}

impl ExchangeEntry {
    pub fn of(root: &Root, report: &ExchangeReport) -> Self {
        let (path, shown) = (report.path.to_string(), root.show(&report.path));
        Self { path, shown, way: report.way, reason: report.reason.clone() }
    }
}

pub fn exchange_lines(
    (entries, holders): (&[ExchangeEntry], &[DirectoryUser]),
    is_plan: bool,
) -> Vec<String> {
    let [becomes, are] = if is_plan { ["would become", "would be"] } else { ["became", "were"] };
    let mut lines: Vec<String> = Vec::new();
    for ExchangeEntry { shown: path, way, reason, .. } in entries {
        lines.push(match (*way, reason) {
            (ExchangeWay::Exchange, _) => format!("{path}: all changes {becomes} visible at once"),
            (_, Some(reason)) => format!("{path}: objects {are} renamed one by one: {reason}"),
            _ => format!("{path}: nothing changes there"),
        });
    }
    for DirectoryUser { process, program, path } in holders {
        lines.push(format!("process {process} ({program}) stays in the old directory with {path}"));
    }
    lines
}
