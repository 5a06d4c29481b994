//! The log of a patch: its inputs, and the outcome.

use std::fmt::Write as _;

use chrono::DateTime;

use super::inputs::InputFile;
use super::report::SourceOutcome;
use super::sources::SourcePackages;
use crate::build::{BuildFinding, PatchDraft, ReleaseSide};

/// Formats what a patch was built from: the moment, each file with its digest.
pub(super) fn beginning(source: &str, date: i64, packages: &SourcePackages, files: &[InputFile]) -> String {
    let moment = DateTime::from_timestamp(date, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ");
    let mut text = format!("{moment} source {source}\n");
    for file in packages.files.iter().filter_map(|at| files.get(*at)) {
        let side = if file.side == ReleaseSide::From { "release" } else { "stable" };
        let digest = file.content.as_ref().map_or("-", |content| &content.digest.sha256);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{side} {digest} {}", file.path.display());
    }
    text
}

/// Formats what a draft holds.
pub(super) fn of_draft(draft: &PatchDraft<'_>) -> String {
    let mut text = String::new();
    for drafted in &draft.packages {
        let (sparse, counts) = (&drafted.sparse, drafted.sparse.counts());
        let _ = writeln!(
            text,
            "package {} {} {}: {} added, {} replaced, {} deleted, {} with other attributes",
            sparse.pkg,
            sparse.version,
            sparse.arch,
            counts.added,
            counts.replaced,
            counts.deleted,
            counts.attributes
        );
    }
    for unpaired in &draft.unpaired {
        let side = if unpaired.side == ReleaseSide::From { "release" } else { "stable" };
        let _ = writeln!(text, "only in {side}: {} {}", unpaired.name, unpaired.arch);
    }
    for script in &draft.scripts_left_out {
        let _ = writeln!(text, "left out: script {script}");
    }
    for finding in &draft.findings {
        let _ = match finding {
            BuildFinding::Abi(finding) => writeln!(text, "{}: {finding}", finding.code()),
            BuildFinding::SameTime(finding) => writeln!(text, "same-time: {finding}"),
        };
    }
    text
}

/// Formats how it ended.
pub(super) fn end(outcome: &SourceOutcome) -> String {
    let id = outcome.id.as_deref().unwrap_or("-");
    let mut text = format!("{} {id}: {}\n", outcome.end.word(), outcome.reason);
    for (what, names) in [("packed", &outcome.packages), ("unchanged siblings", &outcome.siblings_unchanged)]
    {
        if !names.is_empty() {
            let _ = writeln!(text, "{what}: {}", names.join(" "));
        }
    }
    if let Some(key) = &outcome.key {
        let _ = writeln!(text, "key {key}");
    }
    text
}
