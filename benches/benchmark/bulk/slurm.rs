//! The same packages through `srun`, beside local slots: a Slurm of one node with two processors, in namespaces that end with it.

use std::fs;

use anyhow::Result;

use super::ground::{Ground, Recipe};
use crate::disk::{Disk, is_root};
use crate::line::{Line, is_installed};
use crate::measure::Costs;
use crate::options::Options;
use crate::report::Report;
use crate::table::{grouped, seconds};

/// How many times as long it may take.
const LIMIT: f64 = 1.15;

const SLOT: &str =
    "slot=slurm 2 cores=2 srun -Q -n1 -c{cpus} --mem={mem}M -t{minutes} -J{package}\nmemory=300M\n";

/// Measures both.
pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let programs = ["munged", "slurmctld-wlm", "slurmd-wlm", "srun", "unshare"];
    if let Some(missing) = programs.into_iter().find(|program| !is_installed(program)) {
        report.skipped("slots of Slurm", &format!("there is no {missing}"));
        return Ok(());
    }
    if !is_root() {
        report.skipped("slots of Slurm", "only root can start Slurm");
        return Ok(());
    }
    let (packages, more) = options.pick((200, "sleep 1"), (2, ""));
    Report::progress(&format!("{} packages through srun", grouped(packages)));
    let ground = Ground::new(disk, "bulk", packages, |_| Recipe { more, ..Recipe::default() })?;
    ground.scan().run()?;
    let local = Costs(vec![ground.measure(&ground.run(""))?]);
    ground.begin("")?;
    ground.set("slot=local 2\n", SLOT)?;
    ground.scan().run()?;
    let directory = disk.at("slurm");
    fs::create_dir_all(&directory)?;
    // What is started there is ready before the run begins: it says when.
    let timed = "begin=$(date +%s.%N); \"$@\"; code=$?; echo $begin $(date +%s.%N) > \"$0\"; exit $code";
    let times = directory.join("times");
    let inside = Line::new("unshare")
        .words("--mount --net --pid --uts --fork --kill-child --mount-proc /bin/sh")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bulk/slurm"))
        .arg(&directory)
        .words("/bin/sh -c")
        .arg(timed)
        .arg(&times)
        .line(&ground.run(""));
    inside.run()?;
    let text = fs::read_to_string(&times)?;
    let moments: Vec<f64> = text.split_whitespace().filter_map(|moment| moment.parse().ok()).collect();
    let through = moments.last().zip(moments.first()).map_or(f64::NAN, |(end, begin)| end - begin);
    let here = local.wall().median;
    report.say(&format!(
        "{} packages of one second: {} on local slots, {} through srun.\n",
        grouped(packages),
        seconds(here),
        seconds(through)
    ));
    report.at_most(disk.name(), "packages through srun / local", LIMIT, through / here, "");
    fs::remove_dir_all(directory)?;
    ground.clear()
}
