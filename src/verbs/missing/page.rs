//! The answer of `patchadm missing` as a page.

use super::report::AnalysisReport;
use super::row::{AnalysisRow, UnknownEntry};
use patchadm_cli::reply::page::{Page, PagePatch, PageSection, PatchState, html_of};

pub(super) fn page_of(sections: Vec<PageSection>, made: &str) -> String {
    let title = match sections.as_slice() {
        [one] => format!("Patches of {}", one.heading),
        many => format!("Patches of {} machines", many.len()),
    };
    let facts = vec![("Made".to_owned(), made.to_owned())];
    html_of(&Page { title, facts, sections })
}

pub(super) fn section_of(report: &AnalysisReport) -> PageSection {
    let (kind, machine) = report.machine();
    let count = |is: &dyn Fn(&AnalysisRow) -> bool| report.rows().filter(|row| is(row)).count().to_string();
    let facts = [
        (kind, machine),
        ("Compared with", report.compared_with()),
        ("Listed", report.groups_in_words()),
        ("Patches", count(&|_| true)),
        ("Missing", report.missing().to_string()),
        ("Missing, recommended", count(&|row| row.is_missing && row.recommended)),
        ("Missing, security", count(&|row| row.is_missing && row.security)),
        ("Withdrawn", count(&|row| row.bad)),
    ];
    PageSection {
        heading: report.machine_name(),
        facts: facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        patches: report.rows().map(patch_of).collect(),
        notes: report
            .lost_lines()
            .chain(report.rows().flat_map(kept_notes))
            .chain(report.unknown().map(UnknownEntry::line))
            .collect(),
    }
}

/// Programs for which a patch is not in force.
fn kept_notes(row: &AnalysisRow) -> impl Iterator<Item = String> {
    let installed = row.installed.as_deref().unwrap_or_default();
    row.kept_shlibs.sentences().iter().map(move |sentence| format!("{}-{installed}: {sentence}", row.id))
}

fn patch_of(row: &AnalysisRow) -> PagePatch {
    PagePatch {
        base: row.id.clone(),
        installed: row.installed.clone(),
        current: row.current.clone(),
        state: state_of(row),
        is_recommended: row.recommended,
        is_security: row.security,
        is_withdrawn: row.bad,
        date: row.date.clone(),
        age_days: row.age_days,
        synopsis: row.synopsis.clone(),
        packages: row.packages.clone(),
        requires: row.requires.clone(),
        size: row.size,
        reboot: row.reboot.clone(),
    }
}

fn state_of(row: &AnalysisRow) -> PatchState {
    match (row.is_missing, &row.installed, &row.current, row.relation) {
        (true, ..) => PatchState::Missing,
        (false, None, ..) => PatchState::NotNeeded,
        (false, Some(_), None, _) => PatchState::Unlisted,
        (false, Some(_), Some(_), "=") => PatchState::Current,
        (false, Some(_), Some(_), ">") => PatchState::Newer,
        (false, Some(_), Some(_), _) => PatchState::Older,
    }
}
