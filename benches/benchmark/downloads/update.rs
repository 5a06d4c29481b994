//! `update` with many patches of a distant depot, beside curl, which only fetches the same files.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::time::Duration;

use anyhow::Result;

use super::server;
use crate::disk::Disk;
use crate::growth::patches::{self, Patch};
use crate::growth::{clear, inputs_of};
use crate::line::{Line, is_installed};
use crate::measure::{Costs, measure};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::{grouped, mebibytes};

/// How long the server waits before each answer.
const LATENCY: Duration = Duration::from_millis(20);

/// Limit of an update, as a multiple of curl's time.
const RATIO: f64 = 1.5;

/// Files of each patch.
const FILES: usize = 10;

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let count = options.pick(50, 2);
    if !is_installed("curl") {
        report.skipped("update from a depot", "there is no curl");
        return Ok(());
    }
    let inputs = inputs_of(disk, "update")?;
    let (depot, template) = (inputs.join("depot"), disk.at("template"));
    let files = patches::files(count * FILES);
    patches::install(&inputs, &files, &template)?;
    fs::create_dir(&depot)?;
    let mut names = Vec::new();
    let mut bytes = 0;
    for (number, files) in files.chunks(FILES).enumerate() {
        let patch = Patch::write(&inputs, 640_000 + number, files)?;
        let name = format!("{}.tar", patch.id);
        let tar = depot.join(&name);
        Line::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&inputs).arg(&patch.id).run()?;
        bytes += tar.metadata()?.len();
        names.push(name);
    }
    Line::patchadm().words("depot index").arg(&depot).run()?;
    let address = server::serve(&depot, LATENCY)?;
    let (root, cache, copied) = (disk.at("updated"), disk.at("cache"), disk.at("copied"));
    let update = |depot: &str| {
        let line =
            Line::patchadm().arg("-R").arg(&root).words("update -y --signature off --cache").arg(&cache);
        line.arg("-M").arg(depot)
    };
    let curl = Line::new("curl").words("-sSf --parallel --parallel-max 50 --remote-name-all --output-dir");
    let curl = names.iter().fold(curl.arg(&copied), |line, name| line.arg(format!("{address}{name}")));
    let local = depot.to_string_lossy().into_owned();
    let lines = [update(&address), update(&local), curl];
    let mut costs: [Costs; 3] = Default::default();
    for _ in 0..options.runs() {
        for (line, costs) in lines.iter().zip(&mut costs) {
            Line::new("cp").arg("-a").arg(&template).arg(&root).run()?;
            // The program refuses a cache that others may enter.
            [&cache, &copied].into_iter().try_for_each(|path| DirBuilder::new().mode(0o700).create(path))?;
            costs.0.push(measure(disk, line)?);
            clear(&[&root, &cache, &copied])?;
        }
    }
    let [far, near, curl] = &costs;
    let count = grouped(count);
    report.row(Row::beside(format!("update by {count} patches, 20 ms"), far, curl).times_floor(RATIO));
    report.row(Row::wall(format!("update by {count} patches, depot in a directory"), near));
    let size = mebibytes(bytes as f64);
    report.say(&format!(
        "The {count} patches have {FILES} files each, {size} in all. Their floor is `curl --parallel --parallel-max 50`, which applies \
         nothing."
    ));
    clear(&[&inputs, &template])
}
