//! What a command answers: one value, the faces that render it, and the exit code.
//!
//! A command hands back a [`Reply`]. Its report is printed as text, for people and for scripts that read it, or with
//! `--json` as one document; commands that speak while they work print that part themselves.

pub mod exit;
pub mod failure;
pub(crate) mod json;
pub(crate) mod packages;
pub(crate) mod patch_text;
pub(crate) mod patches;
pub(crate) mod text;
pub(crate) mod words;

pub(crate) use exit::{Exit, Stop};

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::root::Root;
use crate::surroundings::Output;
use json::Document;

/// The answer of a command.
pub(crate) struct Reply {
    exit: Exit,
    root: Option<PathBuf>,
    report: Option<Box<dyn Faces>>,
}

/// A report that can be printed. Its serialized fields are those of its JSON document.
pub(crate) trait Report: Serialize {
    /// Prints the text face; some answers are only an exit code.
    fn print_text(&self, _output: &mut Output) -> anyhow::Result<()> {
        Ok(())
    }

    /// Prints what goes to standard error behind either face.
    fn print_remarks(&self, _output: &mut Output) -> anyhow::Result<()> {
        Ok(())
    }
}

/// The faces of a report, whatever its type.
trait Faces {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()>;
    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()>;
    fn document(&self, command: &'static str, root: Option<&Path>, exit: Exit) -> anyhow::Result<Vec<u8>>;
}

impl<R: Report> Faces for R {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Report::print_text(self, output)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Report::print_remarks(self, output)
    }

    fn document(&self, command: &'static str, root: Option<&Path>, exit: Exit) -> anyhow::Result<Vec<u8>> {
        Ok(Document::new(command, root, exit, self).text()?)
    }
}

impl Reply {
    /// An answer that is only an exit code: everything has been said.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self { exit, root: None, report: None }
    }

    /// An answer about nothing or about this machine.
    pub(crate) fn new(exit: Exit, report: impl Report + 'static) -> Self {
        Self { exit, root: None, report: Some(Box::new(report)) }
    }

    /// An answer about a root, which its document names.
    pub(crate) fn about(root: &Root, exit: Exit, report: impl Report + 'static) -> Self {
        Self { root: Some(root.prefix().to_owned()), ..Self::new(exit, report) }
    }

    /// Prints the face that is wanted; the exit code of the command.
    pub(crate) fn print(
        self,
        command: &'static str,
        in_json: bool,
        output: &mut Output,
    ) -> anyhow::Result<Exit> {
        if let Some(report) = self.report {
            if in_json {
                output.print(report.document(command, self.root.as_deref(), self.exit)?)?;
            } else {
                report.print_text(output)?;
            }
            report.print_remarks(output)?;
        }
        Ok(self.exit)
    }
}
