//! `publish`: some patches into a depot that has many.

use std::fs::{self, File};
use std::path::Path;

use anyhow::Result;

use super::{remove, row};
use crate::delivery::PackageWriter;
use crate::disk::Disk;
use crate::growth::inputs_of;
use crate::line::Line;
use crate::measure::{Costs, measure};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::{grouped, seconds};

/// Bytes of the only file of each patch.
const SIZE: usize = 3000;

/// Measures publishing beside copying the same patches.
pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let scratch = inputs_of(disk, "published")?;
    let (many, few) = (options.pick(10_000, 50), options.pick(100, 5));
    let key = scratch.join("key");
    Line::patchadm().words("keygen --no-password -o").arg(&key).run()?;
    let secret = key.with_extension("sec");
    let depot = disk.at("depot");
    let publish =
        |work: &Path| Line::patchadm().words("publish --unsigned --key").arg(&secret).arg(work).arg(&depot);
    let first = disk.at("first");
    write_patches(&scratch, &first, 100_000, many)?;
    publish(&first).run()?;
    remove(&first)?;
    let (mut ours, mut theirs) = (Costs::default(), Costs::default());
    let copy = disk.at("copy");
    for round in 0..options.runs() {
        let work = disk.at("work");
        write_patches(&scratch, &work, 200_000 + round * few, few)?;
        let copying = Line::shell("cp -r \"$0\" \"$1\"; sync -f \"$1\"").arg(&work).arg(&copy);
        theirs.0.push(measure(disk, &copying)?);
        ours.0.push(measure(disk, &publish(&work))?);
        [&work, &copy].into_iter().try_for_each(|made| remove(made))?;
    }
    let name = format!("publish, {} patches into {}", grouped(few), grouped(many));
    let beyond = ours.wall().median - theirs.wall().median;
    report.row(row(&name, &ours, "cp -r and sync -f", &theirs));
    report.row(Row::new(format!("{name}, beyond the copying"), seconds(beyond)).at_most(3.0, beyond, " s"));
    [&depot, &scratch].into_iter().try_for_each(|made| remove(made))
}

/// Writes `count` patches as tar archives, with ids from `first` on.
fn write_patches(scratch: &Path, into: &Path, first: usize, count: usize) -> Result<()> {
    fs::create_dir_all(into)?;
    for base in first..first + count {
        let id = format!("{base}-01");
        let mut package = PackageWriter::of_patch(scratch, &id, "ACMEsmall")?;
        let content: Vec<u8> = id.bytes().cycle().take(SIZE).collect();
        package.file("opt/small/file", &content, 1_600_000_000)?;
        package.finish()?;
        let mut archive = tar::Builder::new(File::create(into.join(format!("{id}.tar")))?);
        archive.append_dir_all(&id, scratch.join(&id))?;
        archive.finish()?;
        fs::remove_dir_all(scratch.join(&id))?;
    }
    Ok(())
}
