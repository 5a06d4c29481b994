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
}

impl ExchangeEntry {
    pub fn of(root: &Root, report: &ExchangeReport) -> Self {
        let (path, shown) = (report.path.to_string(), root.show(&report.path));
        Self { path, shown, way: report.way }
    }
}

pub fn exchange_lines(
    (entries, holders): (&[ExchangeEntry], &[DirectoryUser]),
    is_plan: bool,
) -> Vec<String> {
    let becomes = if is_plan { "would become" } else { "became" };
    let mut lines: Vec<String> = Vec::new();
    for ExchangeEntry { shown: path, way, .. } in entries {
        lines.push(match way {
            ExchangeWay::Exchange => format!("{path}: all changes {becomes} visible atomically"),
            _ => format!("{path}: nothing changes there"),
        });
    }
    for DirectoryUser { process, program, path } in holders {
        lines.push(format!("process {process} ({program}) keeps using the old directory at {path}"));
    }
    lines
}
