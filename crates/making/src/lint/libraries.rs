//! Checks of the libraries that a patch changes against its release: the remaining programs must find what they need.

use std::collections::BTreeSet;
use std::io::{self, Read};

use super::against_base::{in_release, own_package};
use super::codes::LintCode;
use super::findings::LintFindings;
use super::subject::{LintPackage, LintSubject};
use crate::build::{AbiCheck, AbiError};
use crate::release::Release;
use patchadm_inputs::source::{Image, Source, SourceError, SourceProblem};
use patchadm_svr4::package::ObjectPath;

/// Examines the programs and libraries of the patch, and those of the release if something goes. A file that cannot be
/// examined is not a finding.
pub(super) fn check(
    (source, image): (&Source, &Image),
    subject: &LintSubject<'_>,
    base: &Release,
    found: &mut LintFindings,
) -> Result<(), SourceError> {
    let mut libraries = AbiCheck::default();
    for package in &subject.packages {
        if let Some(own) = own_package(package, base) {
            libraries.goes(own, changed_paths(package)).map_err(of_release)?;
        }
    }
    source.stream_checked(image, &mut |_, _| true, &mut |package, path, _, data: &mut dyn Read| {
        let name = image.packages.get(package).map_or("", |package| &package.directory);
        let looked = libraries.comes(&format!("{name}: {path}"), data);
        let read = looked.and_then(|()| io::copy(data, &mut io::sink()).map(drop));
        read.map_err(|error| of_file(source.path(), Some(path.to_string()), error))
    })?;
    for finding in libraries.breaks(base).map_err(of_release)? {
        found.of_patch(LintCode::Abi, finding);
    }
    Ok(())
}

/// Returns the paths that a package of the patch delivers or deletes, as releases write them.
fn changed_paths(package: &LintPackage<'_>) -> BTreeSet<ObjectPath> {
    let delivered = package.objects.values().map(|entry| &entry.path);
    let paths = delivered.chain(package.deletes.values().copied());
    paths.filter_map(|path| ObjectPath::new(&in_release(path)).ok()).collect()
}

fn of_release(error: AbiError) -> SourceError {
    match error {
        AbiError::Source(error) => error,
        AbiError::Read { origin, error } => of_file(origin.as_ref(), None, error),
    }
}

fn of_file(path: &std::path::Path, file: Option<String>, error: io::Error) -> SourceError {
    SourceError { path: path.to_owned(), problem: SourceProblem::Io { file, error } }
}
