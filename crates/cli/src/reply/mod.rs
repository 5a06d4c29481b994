//! The answer of a command: a [`Reply`] holds one report, printed as text or with `--json` as one document, and the
//! exit code. Commands that speak while they work print that part themselves.

pub mod advice;
pub mod cause;
pub mod cause_of;
pub mod change_entry;
pub mod depot_end;
pub mod exchange_entry;
pub mod exit;
pub mod failure;
pub mod json;
pub mod merge_entry;
pub mod overtaken;
pub mod packages;
pub mod patch_entry;
pub mod patch_list;
pub mod patches;
pub mod preparation;
pub mod promotion;
pub mod refreshed;
pub mod result_word;
pub mod shlibs;
pub mod text;
pub mod trial;
pub mod undo;
pub mod unified_diff;
pub mod verb_codes;
pub mod words;

pub use cause::ExitCause;
pub use exit::{Exit, ExitTable, Stop};
pub use result_word::ResultWord;

use std::path::PathBuf;

use serde::Serialize;

use crate::surroundings::Output;
use json::DocumentHead;
use patchadm_rootfs::Root;

pub struct Reply {
    exit: Exit,
    root: Option<PathBuf>,
    report: Option<Box<dyn Faces>>,
}

/// The serialized fields are those of the JSON document.
pub trait CommandReport: Serialize {
    /// Prints the text face; some answers are only an exit code.
    fn print_text(&self, _output: &mut Output) -> anyhow::Result<()> {
        Ok(())
    }

    /// Remarks go to standard error after either form.
    fn print_remarks(&self, _output: &mut Output) -> anyhow::Result<()> {
        Ok(())
    }
}

trait Faces {
    fn print(&self, head: DocumentHead<'_>, in_json: bool, output: &mut Output) -> anyhow::Result<()>;
}

impl<R: CommandReport> Faces for R {
    fn print(&self, head: DocumentHead<'_>, in_json: bool, output: &mut Output) -> anyhow::Result<()> {
        if in_json {
            output.document(head.text_of(self)?)?;
        } else {
            self.print_text(output)?;
        }
        self.print_remarks(output)
    }
}

impl Reply {
    /// Everything has been said.
    pub fn silent(exit: Exit) -> Self {
        Self { exit, root: None, report: None }
    }

    /// About nothing or about this machine.
    pub fn new(exit: Exit, report: impl CommandReport + 'static) -> Self {
        Self { exit, root: None, report: Some(Box::new(report)) }
    }

    /// The document names the root.
    pub fn about(root: &Root, exit: Exit, report: impl CommandReport + 'static) -> Self {
        Self { root: Some(root.prefix().to_owned()), ..Self::new(exit, report) }
    }

    pub fn print(self, command: &'static str, in_json: bool, output: &mut Output) -> anyhow::Result<Exit> {
        let table = ExitTable::of(output.program());
        let recovered = output.recovery().sentence();
        let (root, recovered) = (self.root.as_deref(), recovered.as_deref());
        let head = DocumentHead { command, root, exit: self.exit, table, recovered };
        if let Some(report) = self.report {
            report.print(head, in_json, output)?;
        }
        Ok(self.exit)
    }
}
