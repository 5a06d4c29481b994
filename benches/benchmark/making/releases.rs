//! `build` and `lint` of generated trees.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{Pair, digests, in_turns, remove, row};
use crate::disk::Disk;
use crate::growth::inputs_of;
use crate::line::Line;
use crate::options::Options;
use crate::report::{Report, Row};
use crate::slices::{BLOCK, Material};
use crate::table::{grouped, mebibytes, megabytes};

/// One of so many files differs.
const CHANGED: usize = 10;

/// Measures `build` and `lint`.
pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let inputs = inputs_of(disk, "releases")?;
    let [old, new, large] = ["old", "new", "large"].map(|name| disk.at(name));
    let files = options.pick(20_000, 200);
    write_tree(&old, files, 0)?;
    write_tree(&new, files, 1)?;
    let out = disk.at("built");
    let floor = digests(&old, &new);
    let pair = Pair { line: build(&old, &new, &out), floor, made: &[&out] };
    let [ours, theirs] = in_turns(&pair, disk, options)?;
    let name = format!("build, two trees of {} files", grouped(files));
    report.row(row(&name, &ours, "sha256sum of both", &theirs).times_floor(1.5));
    let peak = ours.spread(|cost| cost.peak);
    let memory = Row::new("memory of build", mebibytes(peak.median));
    report.row(memory.at_most(200.0, peak.scaled(1.0 / f64::from(1 << 20)), " MiB"));
    [&old, &new].into_iter().try_for_each(|tree| remove(tree))?;
    fs::create_dir(&old)?;
    write_tree(&large, files / 4, 0)?;
    let patch = inputs.join("large.tar");
    build(&old, &large, &patch).words("--format tar").run()?;
    let floor = Line::new("sha256sum").arg(&patch);
    let pair = Pair { line: Line::patchadm().arg("lint").arg(&patch), floor, made: &[] };
    let [ours, theirs] = in_turns(&pair, disk, options)?;
    let name = format!("lint, a patch of {}", megabytes(patch.metadata()?.len() as f64));
    report.row(row(&name, &ours, "sha256sum of it", &theirs).times_floor(3.0));
    [&old, &large, &inputs].into_iter().try_for_each(|made| remove(made))
}

/// Returns the command that makes a patch of two trees.
fn build(old: &Path, new: &Path, out: &Path) -> Line {
    let tree = |path: &Path| format!("tree:{}", path.display());
    Line::patchadm()
        .words("build --id 300001-01 --pkg ACMEbig --arch all --base-version 1.0 --basedir /opt/big --owner root:root")
        .words("--allow-abi-break --from")
        .arg(tree(old))
        .arg("--to")
        .arg(tree(new))
        .arg("-o")
        .arg(out)
}

/// Writes a release: files of 4 to 36 KiB, object code and text in turns. In the later generation, every tenth file
/// has another first slice.
fn write_tree(root: &Path, files: usize, generation: u64) -> Result<()> {
    let mut content = Vec::new();
    for file in 0..files {
        let directory = root.join(format!("d{:03}", file / 100));
        if file % 100 == 0 {
            fs::create_dir_all(&directory)?;
        }
        let material = if file % 2 == 0 { Material::ObjectCode } else { Material::Text };
        content.resize((1 + file * 7 % 9) * BLOCK, 0);
        for (slice, number) in content.chunks_mut(BLOCK).zip(0..) {
            let is_changed = number == 0 && file % CHANGED == 0;
            material.fill(slice, file as u64, number, if is_changed { generation } else { 0 });
        }
        fs::write(directory.join(format!("f{file}")), &content)?;
    }
    Ok(())
}
