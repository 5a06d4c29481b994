//! Applying a signed patch, beside the same patch unsigned.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{remove, row};
use crate::contender::install_base;
use crate::delivery::PATCH;
use crate::disk::Disk;
use crate::growth::inputs_of;
use crate::inputs::Inputs;
use crate::line::Line;
use crate::measure::{Costs, measure};
use crate::options::Options;
use crate::report::Report;

/// Measures both in turns, as a directory and as one file.
pub(super) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    let scratch = inputs_of(disk, "signed")?;
    let key = scratch.join("key");
    Line::patchadm().words("keygen --no-password -o").arg(&key).run()?;
    let root = disk.at("signed");
    install_base(&Line::patchadm(), inputs, &root)?;
    Line::patchadm().words("key trust -R").arg(&root).arg(key.with_extension("pub")).run()?;
    let packed = scratch.join("patch.tar");
    let pack = Line::shell("tar -C \"$0\" -cf \"$1\" .").arg(&inputs.patch).arg(&packed);
    pack.run()?;
    let directory = scratch.join(PATCH);
    Line::new("cp").arg("-a").arg(&inputs.patch).arg(&directory).run()?;
    let secret = key.with_extension("sec");
    Line::patchadm().words("sign --key").arg(&secret).arg(&directory).arg(&packed).run()?;
    for (name, plain, signed) in
        [("a directory", &inputs.patch, &directory), ("a tar archive", &packed, &packed)]
    {
        let [ours, theirs] = in_turns(disk, &root, [plain, signed], options)?;
        let row = row(&format!("add, {name}, signed"), &ours, "the same unsigned", &theirs);
        report.row(row.times_floor(1.15));
    }
    [&root, &scratch].into_iter().try_for_each(|made| remove(made))
}

/// Applies the signed and the unsigned patch in turns, and removes it after each run.
fn in_turns(
    disk: &Disk,
    root: &Path,
    [plain, signed]: [&PathBuf; 2],
    options: &Options,
) -> Result<[Costs; 2]> {
    let add = |word: &str, patch: &Path| {
        Line::patchadm().words("add --signature").arg(word).arg("-R").arg(root).arg(patch)
    };
    let lines = [add("require", signed), add("off", plain)];
    let back_out = Line::patchadm().words("remove -R").arg(root).arg(PATCH);
    let mut costs = [Costs::default(), Costs::default()];
    for _ in 0..options.runs() {
        for (line, costs) in lines.iter().zip(&mut costs) {
            costs.0.push(measure(disk, line)?);
            back_out.run()?;
        }
    }
    Ok(costs)
}
