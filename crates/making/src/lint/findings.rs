//! Findings as values, and the list in which the checks put them.

use std::fmt::Display;

use serde::Serialize;

use super::codes::{LintCode, Severity};

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LintFinding {
    /// The kind.
    pub code: LintCode,
    /// How bad it is.
    pub severity: Severity,
    /// The directory of the package, or `None` for the patch as a whole.
    pub package: Option<String>,
    /// The path as the package writes it, or the name of a script, field or parameter.
    pub path: Option<String>,
    /// The finding, in words.
    pub text: String,
}

/// The findings of one patch, in the order in which they were found.
#[derive(Debug, Default)]
pub(super) struct LintFindings(Vec<LintFinding>);

impl LintFindings {
    /// Adds a finding about the patch as a whole.
    pub(super) fn of_patch(&mut self, code: LintCode, text: impl Display) {
        self.push(code, None, None, text);
    }

    /// Adds a finding about a package.
    pub(super) fn of_package(&mut self, code: LintCode, package: &str, text: impl Display) {
        self.push(code, Some(package.to_owned()), None, text);
    }

    /// Adds a finding about a path, script or parameter of a package.
    pub(super) fn of_path(&mut self, code: LintCode, package: &str, path: &dyn Display, text: impl Display) {
        self.push(code, Some(package.to_owned()), Some(path.to_string()), text);
    }

    /// Adds a finding.
    pub(super) fn push(
        &mut self,
        code: LintCode,
        package: Option<String>,
        path: Option<String>,
        text: impl Display,
    ) {
        let text = text.to_string();
        self.0.push(LintFinding { code, severity: code.severity(), package, path, text });
    }

    /// Tells whether a file is not what the pkgmap says, so that reading it again would end with that.
    pub(super) fn has_damaged_content(&self) -> bool {
        let is_damage =
            |code| matches!(code, LintCode::Checksum | LintCode::Size | LintCode::Member | LintCode::Type);
        self.0.iter().any(|finding| is_damage(finding.code))
    }

    /// Returns the findings: errors first, each kind in the order of the manual, packages and paths as they were found.
    pub(super) fn sorted(mut self) -> Vec<LintFinding> {
        self.0.sort_by_key(|finding| (finding.severity, finding.code));
        self.0
    }
}
