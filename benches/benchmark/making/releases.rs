//! `build` and `lint`, of trees that a seed decides.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{Pair, digests, in_turns, remove};
use crate::disk::Disk;
use crate::growth::inputs_of;
use crate::line::Line;
use crate::measure::Spread;
use crate::options::Options;
use crate::report::Report;
use crate::slices::{BLOCK, Material};
use crate::table::Table;

/// One file of so many differs.
const CHANGED: usize = 10;

/// Measures both.
pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report, table: &mut Table) -> Result<()> {
    let inputs = inputs_of(disk, "releases")?;
    let [old, new, large] = ["old", "new", "large"].map(|name| disk.at(name));
    let files = options.pick(20_000, 200);
    write_tree(&old, files, 0)?;
    write_tree(&new, files, 1)?;
    let out = disk.at("built");
    let pair = Pair {
        name: "build, two trees",
        line: build(&old, &new, &out),
        beside: "sha256sum of both, two processes",
        floor: digests(&old, &new),
        made: &[&out],
    };
    let [ours, theirs] = in_turns(&pair, disk, options, table)?;
    let ratio = Spread::of_ratio(&ours, &theirs);
    report.at_most(disk.name(), "build / sha256sum of both trees", 1.5, ratio, "");
    let memory = ours.spread(|cost| cost.peak / f64::from(1 << 20));
    report.at_most(disk.name(), "memory of build", 200.0, memory, " MiB");
    [&old, &new].into_iter().try_for_each(|tree| remove(tree))?;
    fs::create_dir(&old)?;
    write_tree(&large, files / 4, 0)?;
    let patch = inputs.join("large.tar");
    build(&old, &large, &patch).words("--format tar").run()?;
    let pair = Pair {
        name: "lint, a patch of 100 MB",
        line: Line::patchadm().arg("lint").arg(&patch),
        beside: "sha256sum of it",
        floor: Line::new("sha256sum").arg(&patch),
        made: &[],
    };
    let [ours, theirs] = in_turns(&pair, disk, options, table)?;
    report.at_most(disk.name(), "lint / sha256sum of the patch", 3.0, Spread::of_ratio(&ours, &theirs), "");
    [&old, &large, &inputs].into_iter().try_for_each(|made| remove(made))
}

/// The command that makes a patch of two trees.
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

/// Writes a release: files of 4 to 36 KiB, object code and text in turns. Of the later one every tenth file has another
/// first slice.
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
