//! Limits of memory and processes, enforced by a control group where one can be created, and by polling elsewhere.
//! Both report the same causes, and leave no process behind.

use std::process::Command;
use std::time::{Duration, Instant};

use super::own_mounts::with_mounts;
use super::{BulkBuild, BulkRun, mark};
use crate::everyman::NOBODY;
use crate::scenario::is_root;

/// Recipes that exceed a limit: a name, the limit, and a script that would run for long.
const OVER: [(&str, &str, &str); 4] = [
    ("memory", "memory=64M", "head -c 200M /dev/zero | tail; sleep 1000"),
    // The script goes on after a kill in its control group.
    (
        "heedless-of-memory",
        "memory=64M",
        "head -c 200M /dev/zero | tail || :; mkdir $DESTDIR/opt; sleep 1000",
    ),
    ("processes", "processes=20", "for n in $(seq 40); do sleep 1000 & done; sleep 1000"),
    ("heedless-of-processes", "processes=20", "(for n in $(seq 40); do sleep 1000 & done) || :; sleep 1000"),
];

/// The end of the reason, with and without a group.
fn reason(name: &str, has_group: bool) -> &'static str {
    match (name.ends_with("memory"), has_group) {
        (true, true) => " bytes of memory in its control group, limit 67108864",
        (true, false) => " bytes of memory in its processes, limit 67108864",
        (false, true) => "21 processes and threads in its control group, limit 20",
        (false, false) => " processes and threads, limit 20",
    }
}

/// Hides all control groups.
const HIDDEN: &str = "mount -t tmpfs none /sys/fs/cgroup";

/// True if root can create groups with both limits here; otherwise skips the test.
fn has_groups(test: &str) -> bool {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let is_there = is_root()
        && ["memory", "pids"].iter().all(|controller| {
            let line = own.lines().find(|line| line.split(':').nth(1) == Some(controller));
            let group = line.and_then(|line| line.splitn(3, ':').nth(2));
            group.is_some_and(|group| {
                let at = format!("/sys/fs/cgroup/{controller}{group}/patchadm-test-{}", mark());
                std::fs::create_dir(&at).is_ok() && std::fs::remove_dir(&at).is_ok()
            })
        });
    if !is_there {
        crate::skipped(&format!("{test}: no control groups of version 1 can be made here"));
    }
    is_there
}

fn going_over(test: &str, is_ordinary: bool, mark: &str) -> Option<BulkBuild> {
    let build =
        BulkBuild::of_recipes(test, is_ordinary, &format!("slot=local 4\ncheck=none\nenv=MARK={mark}\n"))?;
    for (name, limits, script) in OVER {
        build.recipe(name, &format!("LIMITS={limits}\n"), script);
    }
    Some(build)
}

#[track_caller]
fn assert_over(run: BulkRun, has_group: bool) {
    let run = run.ends(5);
    for (name, ..) in OVER {
        let package = format!("{name}-1.0");
        let cause = name.rsplit('-').next().unwrap();
        let told = run.package(&package);
        assert_eq!(told["cause"], cause, "{package}: {told:#}");
        assert!(
            run.detail(&package).ends_with(reason(name, has_group)),
            "{package}: {}",
            run.detail(&package)
        );
        assert!(told["ms"].as_u64().unwrap() < 20_000, "{package}: {told:#}");
    }
}

#[test]
fn what_goes_over_memory_or_processes_ends_with_its_cause_with_and_without_a_control_group() {
    let test = "what_goes_over_memory_or_processes…";
    if !has_groups(test) || !crate::has("unshare", test) {
        return;
    }
    for has_group in [true, false] {
        let mark = mark();
        let Some(build) = going_over(test, false, &mark) else { return };
        let running = build.running("");
        let mut running = if has_group { running } else { with_mounts(&running, HIDDEN) };
        assert_over(BulkRun::of(&running.output().unwrap()), has_group);
        build.assert_nothing_left(&mark);
    }
}

#[test]
fn an_ordinary_user_has_a_control_group_for_each_task_where_one_was_handed_to_them() {
    let test = "an_ordinary_user_has_a_control_group…";
    if !has_groups(test) || !crate::has("setpriv", test) {
        return;
    }
    let mark = mark();
    let Some(build) = going_over(test, true, &mark) else { return };
    let group = HandedGroup::make(&mark);
    let running = build.running("");
    let script =
        group.files().iter().map(|file| format!("echo $$ > {file}")).collect::<Vec<_>>().join(" && ");
    let mut inside = Command::new("/bin/sh");
    inside.args([
        "-c",
        &format!("{script} && exec /usr/bin/setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$@\""),
        "sh",
    ]);
    inside.arg(running.get_program()).args(running.get_args()).env_clear();
    for (name, value) in running.get_envs() {
        inside.env(name, value.unwrap_or_default());
    }
    assert_over(BulkRun::of(&inside.output().unwrap()), true);
    build.assert_nothing_left(&mark);
}

/// A group of each hierarchy that belongs to the ordinary user; removed on drop.
struct HandedGroup(Vec<std::path::PathBuf>);

impl HandedGroup {
    fn make(name: &str) -> Self {
        let groups = ["memory", "pids"].map(|controller| {
            let at = std::path::PathBuf::from(format!("/sys/fs/cgroup/{controller}/patchadm-test-{name}"));
            std::fs::create_dir(&at).unwrap();
            std::os::unix::fs::chown(&at, Some(NOBODY), Some(NOBODY)).unwrap();
            at
        });
        Self(groups.to_vec())
    }

    fn files(&self) -> Vec<String> {
        self.0.iter().map(|group| group.join("cgroup.procs").display().to_string()).collect()
    }
}

impl Drop for HandedGroup {
    fn drop(&mut self) {
        for group in &self.0 {
            let until = Instant::now() + Duration::from_secs(10);
            while std::fs::remove_dir(group).is_err() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
