//! How the changes below directories became visible that should be exchanged.

use serde::Serialize;

use patchadm_changeset::transaction::{ExchangeReport, ExchangeWay};
use patchadm_rootfs::{DirectoryUser, Root};

/// A directory whose changes should become visible at once.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ExchangeEntry {
    /// The directory, from `/` of the root on.
    path: String,
    way: &'static str,
    /// The reason why its objects are renamed one by one.
    reason: Option<String>,
}

/// A process that stays in the old one of an exchanged directory.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HolderEntry {
    process: u32,
    program: String,
    /// What it holds, as the system tells it.
    path: String,
}

impl From<&ExchangeReport> for ExchangeEntry {
    fn from(report: &ExchangeReport) -> Self {
        let way = match report.way {
            ExchangeWay::Renames => "renames",
            ExchangeWay::Exchange => "exchange",
            ExchangeWay::Nothing => "nothing",
        };
        Self { path: report.path.to_string(), way, reason: report.reason.clone() }
    }
}

impl From<&DirectoryUser> for HolderEntry {
    fn from(user: &DirectoryUser) -> Self {
        Self { process: user.process, program: user.program.clone(), path: user.path.clone() }
    }
}

/// The lines of the directories and of the processes that stay in them, for a person.
pub(crate) fn exchange_lines(
    root: &Root,
    (entries, holders): (&[ExchangeEntry], &[HolderEntry]),
    is_plan: bool,
) -> Vec<String> {
    let [becomes, are] = if is_plan { ["would become", "would be"] } else { ["became", "were"] };
    let of_root = |path: &str| match root.is_system() {
        true => path.to_owned(),
        false => format!("{}{path}", root.prefix().display().to_string().trim_end_matches('/')),
    };
    let mut lines: Vec<String> = Vec::new();
    for ExchangeEntry { path, way, reason } in entries {
        let path = of_root(path);
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
