//! What is told of a run: one value, and from it the text and the mail.

mod mail;
mod patches_text;
mod run_report;
mod text;

pub use mail::{MailInput, report_mail, subject};
pub use patches_text::patches_text;
pub use run_report::{
    LeftOutPackage, LeftoverReport, MachineReport, PackageRemarks, PackageReport, PatchesReport, RunPlatform,
    RunReport, SetReport, SharedPath, SourcePatchReport, TakenLibrary, UnmetLibrary, UploadReport,
    state_heading,
};
pub use text::{MOST_HARMFUL, ReportTextInput, report_text};

#[cfg(test)]
mod tests;
