//! A result is installed and removed once, in a fresh layer over what it needs.

use std::path::Path;

use patchadm_bulk::journal::FailureCause;
use patchadm_rootfs::{Dir, FileType};

use super::inputs::TaskInputs;
use super::installing::{Installation, Installed, Ticks};
use super::order::TaskFailure;
use super::packing::PackedResult;
use super::step::{StepError, TaskError};
use crate::base::PLACES;
use crate::file_copy::copy_file;
use crate::sandbox::TaskLog;

/// What is left anyway at the top of a layer: directories that are made for the installation, and its records.
const OURS: [&str; 3] = ["tmp", "dev", "proc"];

/// The most paths that are told of what is left.
const MOST_LEFT: usize = 100;

/// Installs and removes the packages of a result; returns the paths that are left.
pub(super) fn check(
    inputs: &TaskInputs<'_>,
    layer: Option<&Path>,
    packed: &PackedResult,
    (log, ticks): (&mut TaskLog, Ticks<'_>),
) -> Result<Vec<String>, StepError> {
    let place = inputs.place;
    for part in ["upper", "scratch"] {
        place.empty(part)?;
    }
    let delivered = place.empty("packages")?;
    let results = Dir::of_host(&place.part("results"))?;
    for (file, _) in &packed.packages {
        copy_file(&results, file.as_bytes(), &delivered, file.as_bytes())?;
    }
    let installation = Installation {
        base: inputs.base,
        lower: layer.map(Path::to_owned).into_iter().collect(),
        upper: place.part("upper"),
        scratch: place.part("scratch"),
        packages: place.part("packages"),
        place,
    };
    let files: Vec<String> = packed.packages.iter().map(|(file, _)| file.clone()).collect();
    let names: Vec<String> =
        packed.packages.iter().rev().map(|(_, params)| params.text("PKG").into_owned()).collect();
    let detail = match installation.run((&files, &names), log, ticks)? {
        Installed::Done => return Ok(left_below(&Dir::of_host(&place.part("upper"))?)?),
        Installed::Refused(detail) => format!("it does not install: {detail}"),
        Installed::Remains(detail) => format!("it does not remove: {detail}"),
    };
    Err(TaskFailure::of(FailureCause::Check, detail).into())
}

/// Returns what is left in a layer, but for the records below `var/sadm` and directories that lead to nothing else.
fn left_below(upper: &Dir) -> Result<Vec<String>, TaskError> {
    let mut left = Vec::new();
    let mut open = vec![upper.again()?];
    while let Some(dir) = open.pop() {
        let mut names = dir.names()?;
        names.sort_unstable();
        for name in names {
            let path = dir.at(&name).to_string();
            let top = path.trim_start_matches('/');
            let is_ours = PLACES.contains(&top) || OURS.contains(&top) || top == "var/sadm";
            let Some(seen) = dir.look(&name)?.filter(|_| !is_ours) else { continue };
            match seen.file_type {
                FileType::Directory => open.push(dir.dir(&name)?),
                // What overlayfs has for an object that was removed is no object.
                FileType::Character if seen.device == (0, 0) => {}
                _ if left.len() < MOST_LEFT => left.push(path),
                _ => {}
            }
        }
    }
    left.sort_unstable();
    Ok(left)
}
