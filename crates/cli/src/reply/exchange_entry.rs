//! The way in which changes below the directories to be exchanged became visible.

use serde::Serialize;

use patchadm_changeset::transaction::{ExchangeReport, ExchangeWay};
use patchadm_rootfs::{DirectoryUser, Root};

/// A directory whose changes should become visible at once.
#[derive(Clone, Debug, Serialize)]
pub struct ExchangeEntry {
    /// The directory, from `/` of the root on.
    path: String,
    /// The same as a person would type it.
    #[serde(skip)]
    shown: String,
    way: &'static str,
    /// The reason why its objects are renamed one by one.
    reason: Option<String>,
}

/// A process that stays in the old one of an exchanged directory.
#[derive(Clone, Debug, Serialize)]
pub struct HolderEntry {
    process: u32,
    program: String,
    /// The path that it holds, as the system gives it.
    path: String,
}

impl ExchangeEntry {
    /// Makes the entry of a directory of a root.
    pub fn of(root: &Root, report: &ExchangeReport) -> Self {
        let way = match report.way {
            ExchangeWay::Renames => "renames",
            ExchangeWay::Exchange => "exchange",
            ExchangeWay::Nothing => "nothing",
        };
        let (path, shown) = (report.path.to_string(), root.show(&report.path));
        Self { path, shown, way, reason: report.reason.clone() }
    }
}

impl From<&DirectoryUser> for HolderEntry {
    fn from(user: &DirectoryUser) -> Self {
        Self { process: user.process, program: user.program.clone(), path: user.path.clone() }
    }
}

/// Returns the lines of the directories and of the processes that stay in them, for a person.
pub fn exchange_lines((entries, holders): (&[ExchangeEntry], &[HolderEntry]), is_plan: bool) -> Vec<String> {
    let [becomes, are] = if is_plan { ["would become", "would be"] } else { ["became", "were"] };
    let mut lines: Vec<String> = Vec::new();
    for ExchangeEntry { shown: path, way, reason, .. } in entries {
        lines.push(match (*way, reason) {
            ("exchange", _) => format!("{path}: all changes {becomes} visible at once"),
            (_, Some(reason)) => format!("{path}: objects {are} renamed one by one: {reason}"),
            _ => format!("{path}: nothing changes there"),
        });
    }
    for HolderEntry { process, program, path } in holders {
        lines.push(format!("process {process} ({program}) stays in the old directory with {path}"));
    }
    lines
}
