//! A result is installed and removed once, in a fresh layer over what it needs.

use std::path::Path;

use patchadm_bulk_values::journal::FailureCause;
use patchadm_rootfs::{Dir, FileType, ObjectStatus, RootError};
use patchadm_svr4::package::Mode;

use super::inputs::TaskInputs;
use super::installing::{Installation, Installed, RECORDS, left_by_packages, stopped_while};
use super::order::{TaskFailure, start_of};
use super::packing::PackedResult;
use super::sandbox_run::Ticks;
use super::step::StepError;
use crate::base::PLACES;
use crate::file_copy::copy_file;
use crate::sandbox::{LayerKind, SandboxLimits, TaskLog};
use crate::tree_walk::each_below;

/// What is left anyway at the top of a layer: directories that are made for the installation, and its records.
const OURS: [&str; 3] = ["tmp", "dev", "proc"];

/// The limits of the list of leftovers: number of paths, and bytes.
const MOST_LEFT: usize = 100;
const MOST_BYTES: usize = 8 << 10;

/// Installs and removes the packages of a result; returns the paths that are left.
pub(super) fn check(
    inputs: &TaskInputs<'_>,
    layer: Option<&Path>,
    packed: &PackedResult,
    (log, ticks): (&mut TaskLog, Ticks<'_>),
) -> Result<Vec<String>, StepError> {
    let (place, limits) = (inputs.place, &inputs.order.limits);
    for part in ["upper", "scratch"] {
        place.empty(part)?;
    }
    let delivered = place.empty("packages")?;
    let results = Dir::of_host(&place.part("results"))?;
    for (file, _) in &packed.packages {
        copy_file(&results, file.as_bytes(), &delivered, file.as_bytes())?;
        delivered.set_mode(file.as_bytes(), Mode::of(0o644))?;
    }
    let installation = Installation {
        base: inputs.base,
        lower: layer.map(Path::to_owned).into_iter().collect(),
        upper: place.part("upper"),
        scratch: place.part("scratch"),
        packages: place.part("packages"),
        place,
        limits: SandboxLimits::of(limits),
        room: RECORDS,
    };
    let files: Vec<String> = packed.packages.iter().map(|(file, _)| file.clone()).collect();
    let names: Vec<String> =
        packed.packages.iter().rev().map(|(_, params)| params.text("PKG").into_owned()).collect();
    let detail = match installation.run((&files, &names), log, ticks)? {
        Installed::Done => {
            let before = layer.unwrap_or(&inputs.base.layer);
            let before = (inputs.base.kind == LayerKind::Copy).then(|| Dir::of_host(before)).transpose()?;
            let left = left_below(&Dir::of_host(&place.part("upper"))?, before.as_ref());
            match left.map_err(left_by_packages) {
                Ok(left) => return Ok(left),
                Err(Ok(Installed::Refused(detail))) => detail,
                Err(refused) => refused.map(|_| String::new())?,
            }
        }
        Installed::Refused(detail) => format!("it does not install: {detail}"),
        Installed::Remains(detail) => format!("it does not remove: {detail}"),
        Installed::Over(stopped) => return Err(stopped_while(stopped, limits, "check").into()),
    };
    Err(TaskFailure::of(FailureCause::Check, detail).into())
}

/// Returns what is left in a layer, but for the records below `var/sadm`, directories that lead to nothing else, and what is as
/// it was in the tree of which the layer is a copy.
fn left_below(upper: &Dir, before: Option<&Dir>) -> Result<Vec<String>, RootError> {
    let (mut left, mut bytes) = (Vec::new(), 0);
    each_below::<RootError>(upper, |above, name, seen| {
        let path = above.at(name).to_string();
        let top = path.trim_start_matches('/');
        let is_ours = PLACES.contains(&top) || OURS.contains(&top) || top == "var/sadm";
        // What overlayfs has for an object that was removed is no object.
        let is_whiteout = seen.file_type == FileType::Character && seen.device == (0, 0);
        let is_directory = seen.file_type == FileType::Directory;
        let may_be_left = !is_ours && !is_whiteout && !is_directory && left.len() < MOST_LEFT;
        if may_be_left && !is_as_before(before, above, name, seen)? {
            bytes += path.len();
            if left.is_empty() || bytes <= MOST_BYTES {
                left.push(start_of(&path, MOST_BYTES).to_owned());
            }
        }
        Ok(!is_ours)
    })?;
    left.sort_unstable();
    Ok(left)
}

/// Tells whether a file or link is as it was in the tree before: nothing wrote it anew.
fn is_as_before(
    before: Option<&Dir>,
    above: &Dir,
    name: &[u8],
    seen: &ObjectStatus,
) -> Result<bool, RootError> {
    let Some(before) = before else { return Ok(false) };
    let Some(dir) = before.root().dir_of_object(above.path())? else { return Ok(false) };
    let of = |seen: &ObjectStatus| (seen.file_type, seen.mode, seen.size, seen.mtime);
    Ok(dir.look(name)?.is_some_and(|was| of(seen) == of(&was)))
}
