//! The report of `patchadm-make depot` about a depot.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use patchadm_cli::reply::json::milliseconds_since;
use patchadm_cli::reply::{CommandReport, ResultWord};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::depots::{DepotCheck, IndexReport};

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct DepotReport {
    result: ResultWord,
    duration_ms: u64,
    /// The name of the depot.
    depot: String,
    version: u64,
    objects: usize,
    errors: Vec<ObjectError>,
    /// Whether what is wrong is left out of an index that is in place now.
    #[serde(skip)]
    is_index: bool,
    #[serde(skip)]
    summary: String,
    #[serde(skip)]
    note: Option<String>,
}

/// A fault of an object of a depot.
#[derive(Debug, Serialize)]
struct ObjectError {
    object: String,
    reason: String,
}

impl ObjectError {
    /// Returns the sentence about something that is not in the index.
    fn left_out(&self) -> String {
        let Self { object, reason } = self;
        format!(
            "{object} is not in the index\nit cannot be read as a patch: {reason}.\n\
             Everything else is in the index; get it again, and index the directory anew."
        )
    }
}

impl DepotReport {
    /// The report about an index.
    pub(super) fn of_index(indexed: &IndexReport, directory: &Path, began: Instant) -> Self {
        let place = directory.display();
        let IndexReport { version, patches, .. } = indexed;
        let summary = if indexed.is_new {
            format!("{place}: version {version} has {patches} patches")
        } else {
            format!("{place}: version {version} stays, nothing is new")
        };
        let errors = indexed.passed_over.iter().map(|passed_over| ObjectError {
            object: passed_over.name.clone(),
            reason: passed_over.reason.clone(),
        });
        Self {
            result: if indexed.is_new { ResultWord::Done } else { ResultWord::NothingToDo },
            duration_ms: milliseconds_since(began),
            depot: indexed.depot.clone(),
            version: *version,
            objects: *patches,
            errors: errors.collect(),
            is_index: true,
            summary,
            note: indexed.left_out_of_xref.filter(|number| *number > 0).map(|number| {
                format!("left out of patchdiag.xref, which holds ids of six digits and two: {number}")
            }),
        }
    }

    /// The report about a check; `stale` says that the index has expired, where that is let pass.
    pub(super) fn of_check(checked: &DepotCheck, stale: Option<String>, began: Instant) -> Self {
        let (depot, faults) = (&checked.depot, &checked.faults);
        let (place, version, objects) = (depot.location(), depot.index().version, checked.objects);
        let found = match faults.len() {
            0 => "all as the index says".to_owned(),
            1 => "1 is wrong".to_owned(),
            more => format!("{more} are wrong"),
        };
        let errors = faults
            .iter()
            .map(|fault| ObjectError { object: fault.object.clone(), reason: fault.reason.clone() });
        Self {
            result: if faults.is_empty() { ResultWord::Done } else { ResultWord::Failed },
            duration_ms: milliseconds_since(began),
            depot: depot.index().depot.clone(),
            version,
            objects,
            errors: errors.collect(),
            is_index: false,
            summary: format!("{place}: version {version}, {objects} objects: {found}"),
            note: stale.or_else(|| depot.verdict().note().map(|note| note.replace("the patch", "the index"))),
        }
    }
}

impl CommandReport for DepotReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for error in &self.errors {
            if self.is_index {
                output.error(&error.left_out())?;
            } else {
                output.line(format!("{}: {}", error.object, error.reason))?;
            }
        }
        if let Some(note) = &self.note {
            output.line(note)?;
        }
        Ok(output.line(&self.summary)?)
    }
}
