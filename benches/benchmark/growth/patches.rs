//! Several patches in one command, applied and backed out, beside one patch with the same files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{clear, inputs_of, write_patch};
use crate::delivery::{PACKAGE, write_base};
use crate::disk::Disk;
use crate::inputs::fresh;
use crate::line::Line;
use crate::measure::{Costs, Spread, measure};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::{grouped, mebibytes};
use crate::workload::File;

/// Files of each of the patches.
const FILES: usize = 10;

/// Memory limit of removing 1,000 patches, in MiB.
const MEMORY: f64 = 150.0;

/// Limits: 200 patches as a multiple of one patch, and the ratio of 1,000 patches as a multiple of the ratio of 200.
const MORE: f64 = 1.5;
const GROWTH: f64 = 1.2;

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let counts = options.pick(&[1, 10, 200, 1_000][..], &[1, 2]);
    let most = counts.last().copied().unwrap_or_default();
    let inputs = inputs_of(disk, "growth")?;
    let files = files(most * FILES);
    let template = disk.at("template");
    install(&inputs, &files, &template)?;
    let split: Vec<Patch> = files
        .chunks(FILES)
        .enumerate()
        .map(|(number, files)| Patch::write(&inputs, 600_000 + number, files))
        .collect::<Result<_>>()?;

    let mut of_200 = [f64::NAN; 2];
    for &count in counts {
        let one = Patch::write(&inputs, 700_000 + count, &files[..count * FILES])?;
        let mut costs = [Both::default(), Both::default()];
        for _ in 0..options.runs() {
            for (patches, costs) in [&split[..count], std::slice::from_ref(&one)].into_iter().zip(&mut costs)
            {
                costs.measure(disk, &template, patches)?;
            }
        }
        let [many, one] = costs;
        let pairs = [("add", &many.application, &one.application), ("remove", &many.backout, &one.backout)];
        for ((step, many, one), of_200) in pairs.into_iter().zip(&mut of_200) {
            let ratio = Spread::of_ratio(many, one);
            let patches =
                if count == 1 { "1 patch".to_owned() } else { format!("{} patches", grouped(count)) };
            let row = Row::beside(format!("{step} of {patches} of {FILES} files"), many, one);
            let limit = match count {
                200 => {
                    *of_200 = ratio.median;
                    Some(MORE)
                }
                1_000 => Some(GROWTH * *of_200),
                _ => None,
            };
            report.row(match limit {
                Some(limit) => row.times_floor((limit * 100.0).round() / 100.0),
                None => row,
            });
        }
        if count == 1_000 {
            let peak = many.backout.spread(|cost| cost.peak);
            let row = Row::new("memory of remove of 1,000 patches", mebibytes(peak.median));
            report.row(row.at_most(MEMORY, peak.scaled(1.0 / f64::from(1 << 20)), " MiB"));
        }
    }
    report.say("The floor of many patches is one patch with the same files.");
    clear(&[&template, &inputs])
}

/// A patch that was written.
pub(crate) struct Patch {
    pub(crate) id: String,
    pub(crate) path: PathBuf,
}

impl Patch {
    pub(crate) fn write(inputs: &Path, base: usize, files: &[File]) -> Result<Self> {
        let id = format!("{base}-01");
        let path = write_patch(inputs, &id, PACKAGE, files)?;
        Ok(Self { id, path })
    }
}

/// Costs of applying patches and of removing them.
#[derive(Default)]
struct Both {
    application: Costs,
    backout: Costs,
}

impl Both {
    /// Measures both on a fresh copy of a root, each with one command.
    fn measure(&mut self, disk: &Disk, template: &Path, patches: &[Patch]) -> Result<()> {
        let root = disk.at("growth");
        Line::new("cp").arg("-a").arg(template).arg(&root).run()?;
        let paths = patches.iter().map(|patch| patch.path.clone().into_os_string());
        let ids = patches.iter().map(|patch| OsString::from(&patch.id));
        let command = |verb: &str| Line::patchadm().arg("-R").arg(&root).arg(verb);
        self.application.0.push(measure(disk, &paths.fold(command("add"), Line::arg))?);
        self.backout.0.push(measure(disk, &ids.fold(command("remove"), Line::arg))?);
        clear(&[&root])
    }
}

/// Returns the files to patch.
pub(crate) fn files(count: usize) -> Vec<File> {
    let path = |number: usize| format!("opt/split/d{:03}/f{number:04}", number / 100);
    (0..count).map(|number| File::new(path(number), 20_000, 6_000_000 + number as u64)).collect()
}

/// Installs the files below a new root.
pub(crate) fn install(inputs: &Path, files: &[File], root: &Path) -> Result<()> {
    let base = inputs.join("base");
    write_base(&base, files)?;
    fresh(root)?;
    Line::patchadm().words("pkgadd -n -R").arg(root).arg("-d").arg(base).arg(PACKAGE).run()
}
