//! The report of `patchadm recover --adopt-undo`, for one root or many.

use serde::Serialize;

use crate::many_roots::root_report::{RootBody, RootClass, RootReport, failure_line};
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, ResultWord, failure};
use patchadm_cli::surroundings::{Output, Zone};
use patchadm_core::operation::adopt_undo::{AdoptedUndo, AdoptionReport, UnreadableUndo};
use patchadm_core::operation::failure::Failure;
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;

/// Undo data that does not fit: the code of patchrm(1M).
const UNFIT: Exit = Exit::new(4, ExitCause::UndoData).as_refusal();

const NOTHING: &str = "There are no undo archives to register.";

#[derive(Debug, Serialize)]
pub(super) struct AdoptReport {
    result: ResultWord,
    changed: bool,
    adopted: Vec<AdoptedArchiveEntry>,
    unreadable: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    pub(super) exit: Exit,
    /// One for each archive, or the lines of a failure.
    #[serde(skip)]
    sentences: Vec<String>,
}

#[derive(Debug, Serialize)]
struct AdoptedArchiveEntry {
    id: String,
    package: String,
    run: Option<String>,
    recorded: String,
    adopted: bool,
    differs: Option<String>,
}

impl AdoptedArchiveEntry {
    fn of(one: &AdoptedUndo) -> Self {
        Self {
            id: one.patch.clone(),
            package: one.package.to_string(),
            run: one.run.clone(),
            recorded: one.recorded.clone(),
            adopted: one.is_adopted,
            differs: one.differs.clone(),
        }
    }
}

impl AdoptReport {
    pub(super) fn of(root: &Root, result: &Result<AdoptionReport, Failure>, zone: Zone) -> Self {
        let adopted = match result {
            Ok(adopted) => adopted,
            Err(failed) => return Self::of_failure(root, failed),
        };
        let (result, exit) = match adopted {
            AdoptionReport { archives, unreadable, .. }
                if !unreadable.is_empty() || archives.iter().any(|one| !one.is_adopted) =>
            {
                (ResultWord::Refused, if adopted.is_changed { Exit::PARTLY } else { UNFIT })
            }
            AdoptionReport { is_changed: true, .. } => (ResultWord::Done, Exit::OK),
            AdoptionReport { .. } => (ResultWord::NothingToDo, Exit::OK),
        };
        Self {
            result,
            changed: adopted.is_changed,
            adopted: adopted.archives.iter().map(AdoptedArchiveEntry::of).collect(),
            unreadable: adopted.unreadable.iter().map(|one| one.reason.clone()).collect(),
            error: None,
            exit,
            sentences: adopted
                .archives
                .iter()
                .map(|one| sentence(one, zone))
                .chain(adopted.unreadable.iter().map(lost))
                .collect(),
        }
    }

    fn of_failure(root: &Root, failed: &Failure) -> Self {
        Self {
            result: ResultWord::of_failure(failed),
            changed: false,
            adopted: Vec::new(),
            unreadable: Vec::new(),
            error: Some(failed.to_string()),
            exit: failure::verb_code(Command::Patchrm, failed),
            sentences: vec![failure::described(&Wording::of_verbs(root.prefix()), Command::Patchrm, failed)],
        }
    }

    pub(super) fn of_root(self, root: &Root) -> RootReport<Self> {
        let bound = self.adopted.iter().filter(|one| one.adopted).count();
        let told = format!("{bound} of {} undo archives registered", self.adopted.len());
        let (class, line, notes) = match &self.error {
            Some(error) => (RootClass::Failed, failure_line(self.exit, error), Vec::new()),
            None if self.sentences.is_empty() => (RootClass::Idle, NOTHING.to_owned(), Vec::new()),
            None if self.exit == Exit::OK => (RootClass::Done, told, self.sentences.clone()),
            None => (RootClass::Refused, told, self.sentences.clone()),
        };
        let (exit, changed, result) = (self.exit, self.changed, self.result);
        RootReport {
            result,
            notes,
            changed,
            ..RootReport::of_line(class, exit, line, root.prefix(), RootBody::Worked(self))
        }
    }
}

impl CommandReport for AdoptReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        if self.error.is_some() {
            return Ok(output.error(&self.sentences.concat())?);
        }
        if self.sentences.is_empty() {
            output.line(NOTHING)?;
        }
        Ok(self.sentences.iter().try_for_each(|sentence| output.line(sentence))?)
    }
}

fn lost(one: &UnreadableUndo) -> String {
    let meaning = if one.is_earlier {
        "that version can remove the patch, and this one cannot"
    } else {
        "it cannot be registered, and is lost unless it is restored from a backup"
    };
    format!("{}; {meaning}", one.reason)
}

/// Names the run, which tells archives of one patch apart.
fn sentence(one: &AdoptedUndo, zone: Zone) -> String {
    let AdoptedUndo { patch, package, run, made, recorded, differs, is_foreign, is_adopted } = one;
    let made = made.as_ref().map(|made| format!(" of {}", zone.minute_of(made))).unwrap_or_default();
    let run = run.as_ref().map_or("an unknown run".to_owned(), |run| format!("run {run}{made}"));
    let from = format!("{patch}, package {package}: an undo archive of {run}, for `{}`", recorded.trim());
    match (is_adopted, differs) {
        (true, None) => format!("{from}, is bound"),
        (true, Some(differs)) => format!("{from}, is registered although it differs: {differs}"),
        (false, None) => format!("{from}, matches; it is registered if {patch} is named"),
        (false, Some(differs)) if *is_foreign => {
            format!("{from}, differs: {differs}; it is registered only if {patch} is named, with --foreign")
        }
        (false, Some(differs)) => {
            format!("{from}, differs: {differs}; it is registered only if {patch} is named")
        }
    }
}
