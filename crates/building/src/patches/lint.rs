//! A patch is looked at before it is tried: against the released set.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use patchadm_making::lint::{LintCode, LintFinding, LintInput, Severity, lint};
use patchadm_making::release::{Release, open};
use patchadm_rootfs::WorkMeter;

use crate::first_names::first_names;

/// The released set as the base of patches, read when the first of them is looked at.
pub(super) struct LintBase {
    directory: PathBuf,
    cores: usize,
    syntax: fn(&[u8]) -> Result<(), String>,
    base: OnceLock<Result<Release, String>>,
}

impl LintBase {
    /// The packages in a directory; `syntax` is the shell's verdict on a script.
    pub(super) fn of(directory: &Path, cores: usize, syntax: fn(&[u8]) -> Result<(), String>) -> Self {
        Self { directory: directory.to_owned(), cores, syntax, base: OnceLock::new() }
    }

    /// Looks at a patch; returns its errors in words. With `may_take_away`, libraries that go are none. An error of the outer
    /// kind is one of the machine.
    pub(super) fn look_at(&self, patch: &Path, may_take_away: bool) -> Result<Result<(), String>, String> {
        let base = self.base.get_or_init(|| {
            let mut operand = OsString::from("set:");
            operand.push(&self.directory);
            open(&operand, self.cores, &WorkMeter::default()).map_err(|error| error.to_string())
        });
        let base = base.as_ref().map_err(Clone::clone)?;
        let input = LintInput { base: Some(base), depot: &[], syntax: &self.syntax };
        let linted = match lint(patch, &input) {
            Ok(linted) => linted,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let errors: Vec<String> = linted
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .filter(|finding| !(may_take_away && finding.code == LintCode::Abi))
            .map(shown)
            .collect();
        Ok(if errors.is_empty() { Ok(()) } else { Err(first_names(&errors)) })
    }
}

fn shown(finding: &LintFinding) -> String {
    let place = [finding.package.as_deref(), finding.path.as_deref()];
    let place: Vec<&str> = place.into_iter().flatten().collect();
    let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(": ")) };
    format!("{}: {place}{}", finding.code, finding.text)
}
