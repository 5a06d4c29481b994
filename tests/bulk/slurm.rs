//! A slot behind `srun`: a real Slurm of one node with two CPUs, in namespaces that end with the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::machines::{HERE, assert_as_here, machine, names, slots_of, with_tree, with_tree_or_sample};
use super::{BulkBuild, BulkRun, assert_same_results, mark};
use crate::scenario::is_root;
use crate::workshop::eventually;

/// One slot, with the limits of its tasks.
const SETTINGS: &str = "slot=slurm 2 cores=2 srun -Q -n1 -c{cpus} --mem={mem}M -t{minutes} -J{package}\n\
                        memory=300M\ntime=10m\n";

const PROGRAMS: [&str; 5] = ["munged", "slurmctld-wlm", "slurmd-wlm", "srun", "unshare"];

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

fn has_slurm(test: &str) -> bool {
    let is_there =
        |program: &&str| PATH.split(':').any(|directory| Path::new(directory).join(program).exists());
    if !is_root() {
        crate::skipped(&format!("{test}: only root can start Slurm"));
        return false;
    }
    if let Some(missing) = PROGRAMS.iter().find(|program| !is_there(program)) {
        // Debian has them under another name, besides the one of an alternative.
        crate::missing(missing.trim_end_matches("-wlm"), test);
        return false;
    }
    true
}

/// The command, run where Slurm runs, and the directory with the files of Slurm.
fn with_slurm(build: &BulkBuild, command: &Command) -> (Command, PathBuf) {
    let directory = build.scenario.beside("slurm");
    fs::create_dir_all(&directory).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bulk/slurm");
    let mut inside = Command::new("/usr/bin/unshare");
    inside.args(["--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc", "/bin/sh"]);
    inside.arg(script).arg(&directory).arg(command.get_program()).args(command.get_args());
    inside.env_clear().env("PATH", PATH).stdin(Stdio::null());
    for (name, value) in command.get_envs().filter(|(name, _)| *name != "PATH") {
        inside.env(name, value.unwrap_or_default());
    }
    (inside, directory)
}

/// The fields of each job that Slurm recorded, ordered by job name, without the probe.
fn jobs(directory: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(directory.join("jobs")).unwrap();
    let fields = |line: &str| -> BTreeMap<String, String> {
        let fields = line.split_whitespace().filter_map(|field| field.split_once('='));
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let mut jobs: Vec<_> = text.lines().map(fields).filter(|job| job["Name"] != "probe").collect();
    jobs.sort_by(|one, other| one["Name"].cmp(&other["Name"]));
    jobs
}

#[test]
fn what_slurm_builds_is_as_this_machine_builds_it_and_each_task_is_a_job_with_its_limits() {
    let test = "what_slurm_builds…";
    if !has_slurm(test) {
        return;
    }
    for here in ["", "slot=local 1\n"] {
        let Some(build) = with_tree_or_sample(test, &format!("{SETTINGS}{here}")) else { return };
        let (mut inside, directory) = with_slurm(&build, &build.running(""));
        let run = BulkRun::of(&inside.output().unwrap()).ends(0);
        assert_as_here(&with_tree_or_sample(test, HERE).unwrap(), &build, &run);
        assert_eq!(machine(&run, "slurm")["trouble"], 0, "{}", run.said);
        let is_slurm = |package: &&serde_json::Value| package["slot"] == "slurm";
        let there =
            run.packages().iter().filter(is_slurm).map(|package| package["package"].as_str().unwrap());
        let jobs = jobs(&directory);
        let called: Vec<&str> = jobs.iter().map(|job| job["Name"].as_str()).collect();
        assert_eq!(called, there.collect::<Vec<_>>());
        for job in &jobs {
            let told = ["TimeLimit", "ProcCnt", "ExitCode"].map(|name| job[name].as_str());
            assert_eq!(told, ["15", "1", "0:0"], "{job:?}");
            assert!(job["Tres"].starts_with("cpu=1,mem=300M"), "{job:?}");
        }
        if here.is_empty() {
            assert_eq!(called.len(), run.packages().len());
        } else {
            assert_eq!(slots_of(&run), ["local", "slurm"]);
        }
    }
}

#[test]
fn where_slurmd_dies_in_the_middle_tasks_are_tried_again_and_nothing_fails() {
    let test = "where_slurmd_dies…";
    if !has_slurm(test) {
        return;
    }
    // A task whose node is lost is silent. A machine where a job takes longer to begin gets more time.
    for seconds in [4, 30, 300] {
        let mark = mark();
        let options = format!("answer={seconds}s cancel='scancel -Q --name={{job}}' srun -J{{job}} ");
        let slurm = SETTINGS.replace("srun ", &options).replace(" -J{package}", "");
        let settings = format!("{slurm}slot=local 1\n");
        let Some(build) = with_tree(test, &settings) else { return };
        make_longer(&build);
        let (mut inside, directory) = with_slurm(&build, &build.running(""));
        let inside = inside.env("MARK", &mark).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut inside = inside.spawn().unwrap();
        let has_begun = || {
            let journal = build.work().join("runs/1/journal");
            let journal = fs::read_to_string(journal).unwrap_or_default();
            journal.lines().any(|line| line.contains("running") && line.contains("slurm"))
        };
        eventually("a task runs, or nothing runs any more", || {
            has_begun() || inside.try_wait().unwrap().is_some()
        });
        std::thread::sleep(std::time::Duration::from_millis(500));
        fs::write(directory.join("kill"), "").unwrap();
        let run = BulkRun::of(&inside.wait_with_output().unwrap()).ends(0);
        assert_eq!(run.in_state("done"), names(), "{}", run.said);
        build.assert_nothing_left(&mark);
        if machine(&run, "slurm")["left_out"] != serde_json::Value::Null {
            continue;
        }
        assert!(machine(&run, "slurm")["trouble"].as_u64().unwrap() > 0, "{}", run.said);
        assert!(run.packages().iter().any(|package| package["tries"].as_u64() > Some(1)), "{:#}", run.report);
        assert_eq!(fs::read_to_string(directory.join("left")).unwrap(), "", "jobs that are still there");
        let here = with_tree(test, HERE).unwrap();
        make_longer(&here);
        assert_same_results(&build.results(&run), &here.results(&here.run("").ends(0)));
        return;
    }
    panic!("no probe was answered");
}

/// Makes two packages take long enough to be in progress when `slurmd` dies.
fn make_longer(build: &BulkBuild) {
    for name in ["alone", "apart"] {
        build.write(
            &format!("{name}/build"),
            "sleep 2; mkdir $DESTDIR/opt; echo it > $DESTDIR/opt/$PKGNAME\n",
        );
    }
}
