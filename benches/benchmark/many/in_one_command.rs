//! Several patches in one command, applied and backed out, beside one patch with the same files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::delivery::{PACKAGE, write_base};
use crate::disk::Disk;
use crate::growth::{Lines, clear, inputs_of, write_patch};
use crate::inputs::fresh;
use crate::line::Line;
use crate::measure::{Costs, Spread, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, grouped, known, mebibytes, seconds, spread, whole};
use crate::workload::File;

/// Files of each of the patches.
const FILES: usize = 10;

/// The memory that the backout of 1,000 patches may take, in MiB.
const MEMORY: f64 = 150.0;

/// How much more 200 patches may cost than one, and how much more than theirs the ratio of 1,000 may be.
const MORE: f64 = 1.5;
const GROWTH: f64 = 1.2;

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    report.heading(&format!("Patches of {FILES} files in one command, {}", disk.name()));
    let counts = options.pick(&[1, 10, 50, 200, 1000][..], &[1, 2]);
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

    let columns = [
        "patches",
        "work",
        "in one command",
        "CPU",
        "flushes",
        "peak",
        "one patch",
        "CPU",
        "flushes",
        "peak",
        "ratio",
    ];
    let mut table = Table::new(&columns);
    let mut lines = Lines::new();
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
        let backouts = &many.backout;
        for (work, many, one) in
            [("apply", &many.application, &one.application), ("back out", &many.backout, &one.backout)]
        {
            table.row(row(count, work, many, one));
        }
        let walls = [&many.application, &one.application, &many.backout, &one.backout].map(Costs::wall);
        lines.add(count, walls);
        let ratios = [
            Spread::of_ratio(&many.application, &one.application),
            Spread::of_ratio(&many.backout, &one.backout),
        ];
        if count == 1000 {
            let peak = backouts.spread(|cost| cost.peak / f64::from(1 << 20));
            report.at_most(disk.name(), "memory of the backout of 1,000 patches", MEMORY, peak, " MiB");
        }
        for ((ratio, work), of_200) in ratios.into_iter().zip(["", "backout of "]).zip(&mut of_200) {
            if count == 200 {
                *of_200 = ratio.median;
                let work = format!("{work}200 patches in one command / one patch");
                report.at_most(disk.name(), &work, MORE, ratio, "");
            } else if count == 1000 {
                let work = format!("{work}1,000 patches, that ratio / that of 200");
                report.at_most(disk.name(), &work, GROWTH, ratio.scaled(1.0 / *of_200), "");
            }
        }
    }
    report.table(&table);
    let plot = ["growth-patches", "Patches of ten files in one command", "patches"];
    lines.draw(report, disk, plot, ["apply", "apply one patch", "back out", "back out one patch"]);
    clear(&[&template, &inputs])
}

/// A patch that was written.
struct Patch {
    id: String,
    path: PathBuf,
}

impl Patch {
    fn write(inputs: &Path, base: usize, files: &[File]) -> Result<Self> {
        let id = format!("{base}-01");
        let path = write_patch(inputs, &id, PACKAGE, files)?;
        Ok(Self { id, path })
    }
}

/// What applying patches costs, and backing them out again.
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

fn row(count: usize, work: &str, many: &Costs, one: &Costs) -> Vec<String> {
    let figures = |costs: &Costs| {
        let cpu = costs.spread(|cost| cost.cpu).median;
        let peak = costs.spread(|cost| cost.peak).median;
        [
            spread(costs.wall()),
            seconds(cpu),
            known(costs.counted(|cost| cost.flushes), whole),
            mebibytes(peak),
        ]
    };
    let ratio = format!("{:.2}", Spread::of_ratio(many, one).median);
    let cells = [grouped(count), work.to_owned()].into_iter().chain(figures(many)).chain(figures(one));
    cells.chain([ratio]).collect()
}

/// The files that are patched.
fn files(count: usize) -> Vec<File> {
    let path = |number: usize| format!("opt/split/d{:03}/f{number:04}", number / 100);
    (0..count).map(|number| File::new(path(number), 20_000, 6_000_000 + number as u64)).collect()
}

/// Installs them below a new root.
fn install(inputs: &Path, files: &[File], root: &Path) -> Result<()> {
    let base = inputs.join("base");
    write_base(&base, files)?;
    fresh(root)?;
    Line::patchadm().words("pkgadd -n -R").arg(root).arg("-d").arg(base).arg(PACKAGE).run()
}
