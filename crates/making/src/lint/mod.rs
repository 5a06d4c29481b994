//! `lint`: faults of a patch, found without applying it or running a script.
//!
//! Every check adds its findings, and none ends the others. A signature must exist but is not verified.

mod against;
mod contents;
mod findings;
mod identity;
mod packages;
mod subject;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::release::Release;
use findings::LintFindings;
pub use findings::{LintCode, LintFinding, Severity};
pub use packages::SyntaxCheck;
use patchadm_inputs::source::{self, Extent, Form, Image, Origin, SourceError, SourceProblem, patches_in};
pub use subject::ComparedPatch;
use subject::LintSubject;

pub struct LintInput<'a> {
    /// The release that it is for.
    pub base: Option<&'a Release>,
    pub depot: &'a [ComparedPatch],
    /// Checks the syntax of a script.
    pub syntax: &'a SyntaxCheck<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LintedPatch {
    /// `None` if its packages name none or several.
    pub id: Option<String>,
    /// Errors first.
    pub findings: Vec<LintFinding>,
}

pub fn lint(path: &Path, input: &LintInput<'_>) -> Result<LintedPatch, SourceError> {
    let mut found = LintFindings::default();
    let (source, image) = match source::open(Origin::Path(path), Extent::Unchecked) {
        Ok(opened) => opened,
        Err(error) => return found_at_opening(error),
    };
    let subject = check_image(&image, input, &mut found);
    let held = source.members(&image)?;
    contents::check_contents(&subject, &held, &mut found);
    if let Some(base) = input.base.filter(|_| !found.has_damaged_content()) {
        against::check_libraries((&source, &image), &subject, base, &mut found)?;
    }
    contents::check_signature(path, &held, &mut found);
    if held.beside.iter().any(|name| name == "MANIFEST") {
        contents::check_members(&subject, &source.digests(&image)?, &mut found);
    }
    if image.form != Form::Directory {
        let unreadable = |error| SourceError {
            path: path.to_owned(),
            problem: SourceProblem::Io { file: Some("manifest".to_owned()), error },
        };
        contents::check_file(&subject, path, &mut found).map_err(unreadable)?;
    }
    Ok(LintedPatch { id: subject.id.as_ref().map(ToString::to_string), findings: found.sorted() })
}

/// Reads a directory of patches, to check others against them.
pub fn depot_patches(directory: &Path) -> Result<Vec<ComparedPatch>, SourceError> {
    let mut patches = Vec::new();
    for (name, _) in patches_in(directory) {
        let (_, image) = source::open(Origin::Path(&directory.join(name)), Extent::Unchecked)?;
        patches.extend(ComparedPatch::of(&image));
    }
    Ok(patches)
}

/// Returns `None` for what is no patch: [`lint`] says why.
pub fn compared_patch(path: &Path) -> Option<ComparedPatch> {
    let (_, image) = source::open(Origin::Path(path), Extent::Unchecked).ok()?;
    ComparedPatch::of(&image)
}

/// Finds what earlier revisions change and a later one does not.
pub fn missing_of_earlier(later: &Path, earlier: &[PathBuf]) -> Result<Vec<LintFinding>, SourceError> {
    if earlier.is_empty() {
        return Ok(Vec::new());
    }
    let (_, image) = source::open(Origin::Path(later), Extent::Unchecked)?;
    let subject = LintSubject::of(&image, &mut LintFindings::default());
    let mut found = LintFindings::default();
    for earlier in earlier.iter().filter_map(|path| compared_patch(path)) {
        against::check_cumulative(&subject, &earlier, &mut found);
    }
    Ok(found.sorted())
}

fn check_image<'i>(image: &'i Image, input: &LintInput<'_>, found: &mut LintFindings) -> LintSubject<'i> {
    let subject = LintSubject::of(image, found);
    identity::check_identity(&subject, found);
    packages::check_objects(&subject, found);
    packages::check_scripts(&subject, input.syntax, found);
    identity::check_files_beside(&subject, found);
    if let Some(base) = input.base {
        against::check_against_base(&subject, base, found);
    }
    against::check_against_depot(&subject, input.depot, found);
    subject
}

fn found_at_opening(error: SourceError) -> Result<LintedPatch, SourceError> {
    let mut found = LintFindings::default();
    match &error.problem {
        SourceProblem::Symlink { package, file } => {
            found.of_path(LintCode::Type, package, file, "there is a symbolic link in its place");
        }
        SourceProblem::Corrupt { package, file, reason } => {
            found.of_path(LintCode::Member, package, file, reason);
        }
        _ => return Err(error),
    }
    Ok(LintedPatch { id: None, findings: found.sorted() })
}
