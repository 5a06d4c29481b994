//! Refused promotions: each prints one clear line with the path and the command to type, and changes nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::mounts::Mounted;
use crate::promote::Staged;
use crate::scenario::{Run, Scenario, is_root};
use crate::tree::{Tree, assert_same};

/// The stage with its own files, but for the lock and the cache.
fn whole_stage(staged: &Staged) -> Tree {
    let own = [".patchadm-stage/lock", ".patchadm-stage/cache"];
    Tree::of(&staged.live.beside("web"), &own)
}

fn own(staged: &Staged, name: &str) -> std::path::PathBuf {
    staged.live.beside("web/.patchadm-stage").join(name)
}

/// Asserts that a line, with and without `--dry-run`, fails with this code and these words, and changes nothing.
#[track_caller]
fn refused(staged: &Staged, line: &str, code: i32, words: &[&str]) {
    let before = (whole_stage(staged), staged.live.everything());
    for option in ["", " --dry-run"] {
        let said = staged.live.run(&format!("{line}{option}")).fails(code);
        for word in words {
            assert!(said.contains(word), "{line}{option}: {word}: {said}");
        }
        assert_eq!(said.matches(": error: ").count(), 1, "{said}");
    }
    assert_same(&whole_stage(staged), &before.0);
    assert_same(&staged.live.everything(), &before.1);
}

#[test]
fn what_was_named_wrongly_is_told() {
    let staged = Staged::new();
    staged.write("bin/new", "new\n");
    let other = Scenario::new();
    other.file("/usr/pkg/a", "1\n");
    other.run("stage new theirs -R @ROOT@ --path usr/pkg").ok();
    let theirs = other.beside("theirs").display().to_string();
    fs::create_dir(staged.live.beside("plain")).unwrap();
    for (line, code, reason) in [
        ("stage promote none -R @ROOT@", 4, "none is neither a stage nor the name of one"),
        ("stage promote plain -R @ROOT@", 4, "plain is neither a stage nor the name of one"),
        (&format!("stage promote {theirs} -R @ROOT@"), 3, "belongs to the root "),
        ("stage promote -R @ROOT@", 2, "<STAGE>"),
        ("stage promote web web -R @ROOT@", 2, "unexpected argument 'web'"),
        ("stage promote web -R @ROOT@ --path usr/pkg --path usr/pkg/bin", 2, "usr/pkg"),
        ("stage promote web -R @ROOT@ --path usr/other", 4, "is not part of what was staged"),
        ("stage promote web -R @ROOT@ --delete --path usr/pkg", 2, "--two-way"),
        ("stage promote web -R @ROOT@ --two-way --delete", 2, "--path"),
        ("stage promote web -R @ROOT@ --max-delete some", 2, "some"),
        ("stage promote web -R @ROOT@ --exclude [a", 2, "[a"),
    ] {
        refused(&staged, line, code, &[reason]);
    }
    let said = staged.live.run(&format!("stage promote {theirs} -R @ROOT@")).fails(3);
    assert!(said.contains("-R "), "{said}");
}

#[test]
fn many_roots_have_no_stage_and_what_to_do_instead_is_said() {
    let staged = Staged::new();
    staged.write("bin/new", "new\n");
    fs::write(staged.live.beside("list"), format!("{}\n", staged.live.root().display())).unwrap();
    let before = (whole_stage(&staged), staged.live.everything());
    for line in [
        "stage promote web --roots list",
        "stage promote --roots list web",
        "stage promote web --roots=list",
        "--roots list stage promote web",
        "--roots=list stage promote web",
        "stage new other --path usr/pkg --roots list",
        "stage new --roots list other --path usr/pkg",
        "stage --roots list new other --path usr/pkg",
        "--roots list stage new other --path usr/pkg",
        "stage status web --roots list",
        "stage refresh --roots list web",
        "stage drop web --roots list",
        "stage enter --roots list web",
        "--roots list stage list",
    ] {
        let said = staged.live.run(line).fails(2);
        assert!(
            said.contains("a stage is a copy of one") && said.contains("`patchadm build`"),
            "{line}: {said}"
        );
        assert!(!staged.live.beside("other").exists());
    }
    assert_same(&whole_stage(&staged), &before.0);
    assert_same(&staged.live.everything(), &before.1);
    // Options after `--` belong to the command in the stage.
    staged.live.run("stage enter none -R @ROOT@ -- cat --roots list").fails(4);
}

#[test]
fn a_stage_and_a_promoted_path_are_not_one_inside_the_other() {
    let staged = Staged::new();
    staged.write("bin/new", "new\n");
    let words = ["are nested", "@ROOT@/usr/pkg"];
    // The live tree itself as the stage, also through a link.
    let live = staged.live.root().display().to_string();
    symlink(&live, staged.live.beside("link")).unwrap();
    for tree in [live.as_str(), "link"] {
        refused(&staged, &format!("stage promote {tree} -R @ROOT@ --two-way --path usr/pkg"), 3, &words[..1]);
    }
    // A tree inside a promoted path, and one that holds it.
    fs::create_dir_all(staged.live.at("/usr/pkg/dest/usr/pkg")).unwrap();
    let inside = staged.live.at("/usr/pkg/dest").display().to_string();
    refused(&staged, &format!("stage promote {inside} -R @ROOT@ --two-way --path usr/pkg"), 3, &words);
    symlink("dest", staged.live.at("/usr/pkg/to-dest")).unwrap();
    let through = staged.live.at("/usr/pkg/to-dest").display().to_string();
    refused(&staged, &format!("stage promote {through} -R @ROOT@ --two-way --path usr/pkg"), 3, &words[..1]);
}

#[test]
fn a_stage_bound_to_another_place_is_still_inside_what_is_promoted() {
    let live = Scenario::new();
    live.file("/usr/pkg/a", "1\n");
    live.directory("/usr/pkg/dest/usr/pkg");
    let script = "mkdir $BESIDE/bound && mount --bind $ROOT/usr/pkg/dest $BESIDE/bound";
    let Some(root) = Mounted::new("promote_refused", live, script) else { return };
    let before = root.everything();
    let said = root.run("stage promote bound -R @ROOT@ --two-way --path usr/pkg").fails(3);
    assert!(said.contains("are nested"), "{said}");
    assert_same(&root.everything(), &before);
}

#[test]
fn a_path_that_is_missing_on_one_side_is_named() {
    let staged = Staged::new();
    staged.write("bin/new", "new\n");
    fs::rename(staged.live.at("/usr/pkg"), staged.live.at("/usr/aside")).unwrap();
    refused(&staged, "stage promote web -R @ROOT@", 1, &["@ROOT@/usr/pkg does not exist", "--path"]);
    fs::rename(staged.live.at("/usr/aside"), staged.live.at("/usr/pkg")).unwrap();
    fs::rename(staged.at(""), staged.live.beside("web/aside")).unwrap();
    refused(&staged, "stage promote web -R @ROOT@", 1, &["web/usr/pkg does not exist", "--path"]);
    fs::write(staged.live.beside("web/usr/pkg"), "no directory\n").unwrap();
    refused(&staged, "stage promote web -R @ROOT@", 1, &["web/usr/pkg is not a directory"]);
    fs::remove_file(staged.live.beside("web/usr/pkg")).unwrap();
    symlink("../aside", staged.live.beside("web/usr/pkg")).unwrap();
    refused(&staged, "stage promote web -R @ROOT@", 1, &["web/usr/pkg"]);
}

#[test]
fn files_of_a_stage_that_are_damaged_are_named() {
    let staged = Staged::new();
    staged.write("bin/new", "new\n");
    for name in ["identity", "base.0"] {
        let whole = fs::read(own(&staged, name)).unwrap();
        for end in [0, 1, whole.len() / 2, whole.len() - 1] {
            fs::write(own(&staged, name), &whole[..end]).unwrap();
            refused(&staged, "stage promote web -R @ROOT@", 1, &[&format!(".patchadm-stage/{name}")]);
        }
        fs::write(own(&staged, name), &whole).unwrap();
    }
    fs::write(own(&staged, "unfinished"), "").unwrap();
    refused(
        &staged,
        "stage promote web -R @ROOT@",
        3,
        &["was never completed", "`patchadm -R @ROOT@ stage drop`"],
    );
}

#[test]
fn a_stage_of_another_root_is_refused_once_neither_marker_nor_path_are_those_of_the_root() {
    let staged = Staged::new();
    staged.write("bin/new", "new\n");
    let identity = fs::read_to_string(own(&staged, "identity")).unwrap();
    let root = fs::canonicalize(staged.live.root()).unwrap().display().to_string();
    fs::write(own(&staged, "identity"), identity.replace(&root, "/srv/elsewhere")).unwrap();
    // The journal has the marker, too, not only `root-id`.
    fs::remove_file(staged.live.at("/var/sadm/patchadm/root-id")).unwrap();
    assert_eq!(staged.promote("--dry-run").code, 0);
    fs::remove_file(staged.live.at("/var/sadm/patchadm/journal")).unwrap();
    let words = ["belongs to the root /srv/elsewhere", "-R /srv/elsewhere"];
    refused(&staged, "stage promote web -R @ROOT@", 3, &words);
    for line in ["stage status web -R @ROOT@", "stage refresh web -R @ROOT@"] {
        let said = staged.live.run(line).fails(3);
        assert!(said.contains(words[0]), "{line}: {said}");
    }
}

#[test]
fn who_comes_second_waits_or_is_told_who_is_first() {
    let staged = Staged::new();
    staged.write("bin/new", "new\n");
    let hook = "#!/bin/sh\n: > $ROOTDIR/../began\nwhile [ ! -e $ROOTDIR/../go ]; do sleep 0.1; done\n";
    staged.live.file("/etc/hook", hook);
    staged.live.mode("/etc/hook", 0o755);
    staged.live.file("/etc/patchadm/policy", "promote_before=/etc/hook\n");
    let mut first = staged.live.command("stage promote web -R @ROOT@");
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !staged.live.beside("began").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the hook does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    for line in ["stage promote web -R @ROOT@", "stage refresh web -R @ROOT@", "stage drop web -R @ROOT@"] {
        let said = staged.live.run(line).fails(6);
        assert!(said.contains("patchadm") || said.contains("promote"), "{line}: {said}");
    }
    assert!(!staged.live.at("/usr/pkg/bin/new").exists());
    let waits =
        staged.live.command("stage promote web -R @ROOT@ --wait 60").stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    fs::write(staged.live.beside("go"), "").unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(0));
    let waited = waits.wait_with_output().unwrap();
    assert_eq!(waited.status.code(), Some(0));
    assert!(String::from_utf8(waited.stdout).unwrap().starts_with("nothing to promote"));
}

#[test]
fn a_disk_that_is_full_is_18_and_nothing_is_changed() {
    let live = Scenario::new();
    live.file("/usr/pkg/a", "1\n");
    let script = "mkdir -p $BESIDE/keep; cp -a $ROOT/usr/pkg/. $BESIDE/keep
        mount -t tmpfs -o mode=755,size=1m tmpfs $ROOT/usr/pkg; cp -a $BESIDE/keep/. $ROOT/usr/pkg";
    let Some(root) = Mounted::new("promote_refused", live, script) else { return };
    root.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    fs::write(root.stage().beside("web/usr/pkg/large"), vec![7; 3 << 20]).unwrap();
    let before = root.everything();
    for option in ["", " --dry-run"] {
        let said = root.run(&format!("stage promote web -R @ROOT@{option}")).fails(3);
        assert!(said.contains("@ROOT@/usr/pkg has ") && said.contains("are needed"), "{said}");
    }
    assert_same(&root.everything(), &before);
    root.run("stage promote web -R @ROOT@ --exclude large").ok();
}

#[test]
fn a_mount_point_that_came_or_went_is_refused_and_nothing_below_it_is_deleted() {
    let live = Scenario::new();
    live.file("/usr/pkg/a", "1\n");
    live.file("/usr/pkg/data/kept", "1\n");
    live.directory("/opt/other");
    let script = "mount --bind $ROOT/opt/other $ROOT/usr/pkg/data";
    let Some(root) = Mounted::new("promote_refused", live, script) else { return };
    root.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    fs::write(root.stage().beside("web/usr/pkg/a"), "2\n").unwrap();
    // Outside the namespace nothing is mounted there.
    let before = root.stage().everything();
    let said = root.stage().run("stage promote web -R @ROOT@").fails(3);
    assert!(said.contains("/usr/pkg/data is not a mount point, and was one"), "{said}");
    assert_same(&root.stage().everything(), &before);
    root.run("stage promote web -R @ROOT@").ok();
    // And the reverse.
    root.stage().run("stage new plain -R @ROOT@ --path usr/pkg").ok();
    fs::write(root.stage().beside("plain/usr/pkg/a"), "3\n").unwrap();
    fs::remove_dir_all(root.stage().beside("plain/usr/pkg/data")).unwrap();
    let before = root.everything();
    let said = root.run("stage promote plain -R @ROOT@").fails(3);
    assert!(said.contains("/usr/pkg/data is a mount point, and was not"), "{said}");
    assert_same(&root.everything(), &before);
}

#[test]
fn nothing_takes_the_place_of_a_directory_that_holds_what_stays() {
    let staged = Staged::new();
    staged.live.file("/usr/pkg/share/live-only", "live\n");
    fs::remove_dir_all(staged.at("share")).unwrap();
    staged.write("share", "a file\n");
    let words = ["/usr/pkg/share", "changed in the stage and in the live tree"];
    for edited in ["stop", "keep"] {
        let line = format!("stage promote web -R @ROOT@ --max-delete 100% --edited {edited}");
        if edited == "stop" {
            refused(&staged, &line, 3, &words);
        }
    }
    refused(&staged, "stage promote web -R @ROOT@ --max-delete 100% --edited replace", 3, &words[..1]);
    // Something else is in the place of a needed directory.
    let staged = Staged::new();
    staged.write("share/more/new", "new\n");
    staged.live.file("/usr/pkg/share/more", "a file of somebody\n");
    refused(&staged, "stage promote web -R @ROOT@ --edited keep", 3, &["/usr/pkg/share/more"]);
}

/// Repeats `work` while the program runs. Starts the program again until it has ended with 33 or has run often
/// enough.
fn meanwhile(staged: &Staged, work: impl Fn(u64) + Sync) -> Vec<Run> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0;
            while !is_over.load(Ordering::Relaxed) {
                work(turn);
                turn += 1;
            }
        });
        let runs = (0..6).map(|_| staged.promote("--dry-run")).collect();
        is_over.store(true, Ordering::Relaxed);
        runs
    })
}

#[track_caller]
fn assert_clear(run: Run, path: &str) {
    if run.code != 0 {
        let said = run.fails(3);
        assert!(said.contains(path) && said.contains("changes while it is read: try again"), "{said}");
    }
}

#[test]
fn what_becomes_something_else_while_it_is_read_is_named() {
    let staged = Staged::on_disk();
    for number in 0..200 {
        staged.write(&format!("turns/{number}"), &"x".repeat(3000));
    }
    let turns = staged.at("turns");
    let swap = |turn: u64, make: &dyn Fn(&Path)| {
        let (aside, at) = (turns.with_extension("new"), turns.join(((turn * 37) % 200).to_string()));
        make(&aside);
        let _ = fs::rename(&aside, &at);
        fs::write(&aside, "y").unwrap();
        let _ = fs::rename(&aside, &at);
    };
    let pipe = |at: &Path| {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    let link = |at: &Path| symlink("/etc/passwd", at).unwrap();
    for make in [&pipe as &(dyn Fn(&Path) + Sync), &link] {
        for run in meanwhile(&staged, |turn| swap(turn, &|at| make(at))) {
            assert_clear(run, "/usr/pkg");
        }
    }
    // A directory that becomes a link.
    for number in 0..200 {
        staged.write(&format!("places/{number}/file"), &"x".repeat(3000));
    }
    let places = staged.at("places");
    let runs = meanwhile(&staged, |turn| {
        let (at, aside) = (places.join(((turn * 37) % 200).to_string()), places.with_extension("aside"));
        if fs::rename(&at, &aside).is_ok() {
            symlink("/etc", &at).unwrap();
            fs::remove_file(&at).unwrap();
            fs::rename(&aside, &at).unwrap();
        }
    });
    for run in runs {
        assert_clear(run, "/places");
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named() {
    let staged = Staged::new();
    staged.write("large", &"x".repeat(8 << 20));
    let at = staged.at("large");
    let file = fs::OpenOptions::new().write(true).open(&at).unwrap();
    let runs = meanwhile(&staged, |turn| {
        use std::os::unix::fs::FileExt as _;
        file.write_at(b"y", turn % (8 << 20)).unwrap();
    });
    assert!(runs.iter().any(|run| run.code == 3), "{:?}", runs.first());
    for run in runs {
        assert_clear(run, "web/usr/pkg/large");
    }
}

#[test]
fn a_name_that_a_backout_would_take_for_a_variable_is_refused_for_a_new_file_too() {
    let staged = Staged::new();
    staged.write("share/$HOME", "new\n");
    let before = staged.live.everything();
    let said = staged.promote("").fails(3);
    assert!(said.contains("$HOME> uses a variable that has no value"), "{said}");
    assert!(said.contains("could not be removed afterwards"), "{said}");
    assert_same(&staged.live.everything(), &before);
    staged.promote("--no-undo").ok();
    assert_same(&staged.tree(), &staged.staged_tree());
}

#[test]
fn a_device_that_an_ordinary_user_cannot_make_is_named() {
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    if !is_root() {
        crate::skipped("promote_refused: only root makes a device to begin with");
        return;
    }
    let staged = Staged::new();
    staged.write("bin/new", "new\n");
    let status = std::process::Command::new("mknod").arg(staged.at("null")).args(["c", "1", "3"]).status();
    assert!(status.unwrap().success());
    let top = staged.live.beside("");
    assert!(
        std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(&top).status().unwrap().success()
    );
    let before = (whole_stage(&staged), staged.live.everything());
    for option in ["", " --dry-run"] {
        let mut command = staged.live.command(&format!("stage promote web -R @ROOT@{option}"));
        let output = command.uid(NOBODY).gid(NOBODY).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("/usr/pkg/null") && said.contains("--exclude"), "{said}");
    }
    assert_same(&whole_stage(&staged), &before.0);
    assert_same(&staged.live.everything(), &before.1);
    let mut command = staged.live.command("stage promote web -R @ROOT@ --exclude null");
    let output = command.uid(NOBODY).gid(NOBODY).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
