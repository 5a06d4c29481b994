//! The number of files in the patch, beside the floor.

use anyhow::Result;

use super::{clear, inputs_of, write_patch};
use crate::contender;
use crate::delivery::PACKAGE;
use crate::disk::Disk;
use crate::floor;
use crate::inputs::Inputs;
use crate::line::Line;
use crate::measure::in_turns;
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::grouped;
use crate::workload::{File, Workload};

const ID: &str = "800001-01";

pub(super) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    let counts = options.pick(&[1, 10, 100, 1_000, 5_000, 20_000][..], &[1, 5]);
    let floor = contender::floor(disk, inputs)?.root;
    let root = contender::patchadm(disk, inputs)?.root;
    for &count in counts {
        let directory = inputs_of(disk, "growth")?;
        let part = part(&inputs.workload, count);
        let patch = write_patch(&directory, ID, PACKAGE, &part.files)?;
        let (changes, undo) = (directory.join("changes"), floor.join("undo.gz"));
        floor::write_changes(&changes, &part)?;
        let source = patch.join(PACKAGE).join("reloc");
        let commands = [
            Line::inner("@floor-apply")?.arg(&changes).arg(&source).arg(&floor).arg(&undo),
            Line::patchadm().words("patchadd -R").arg(&root).arg(&patch),
            Line::inner("@floor-back")?.arg(&changes).arg(&floor).arg(&undo),
            Line::patchadm().words("patchrm -R").arg(&root).arg(ID),
        ];
        let costs = in_turns(disk, options.runs(), commands.each_ref())?;
        let [floor, add, floor_back, remove] = &costs;
        let files = if count == 1 { "1 file".to_owned() } else { format!("{} files", grouped(count)) };
        report.row(Row::beside(format!("add, {files}"), add, floor));
        report.row(Row::beside(format!("remove, {files}"), remove, floor_back));
        clear(&[&directory])?;
    }
    clear(&[&floor, &root])
}

/// Returns a workload that replaces `count` files from all over the tree.
fn part(workload: &Workload, count: usize) -> Workload {
    let step = workload.files.len() / count;
    let files: Vec<File> = workload.files.iter().step_by(step).take(count).cloned().collect();
    let replaced = (0..files.len()).collect();
    Workload { files, replaced, deleted: Vec::new(), added: Vec::new() }
}
