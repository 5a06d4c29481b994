use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::{Command, Stdio};

use crate::goldens_of_packages::Stage;
use crate::scenario::{Run, is_root};

const SCENARIO: &str = "19-pkgrm-installf/out";

/// The root of the golden before its first step with installf.
fn stage(test: &str) -> Option<Stage> {
    let stage = Stage::new(test)?;
    let spool = stage.scenario.beside("spool");
    stage.add(&spool, "SUNWstuf");
    stage.add(&spool, "SUNWstux");
    let scenario = &stage.scenario;
    scenario.file("/opt/SUNWstuf/made", "made\n");
    scenario.mtime("/opt/SUNWstuf/made", 1_795_158_251);
    scenario.directory("/opt/SUNWstuf/mdir");
    scenario.symlink("/opt/SUNWstuf/mlink", "made");
    scenario.link("/opt/SUNWstuf/mhard", "/opt/SUNWstuf/made");
    Some(stage)
}

impl Stage {
    /// Runs a step of the golden as it was typed, without the shell that fed its standard input.
    fn step(&self, step: &str) -> Run {
        let typed = self.text(step, "cmd");
        let line = typed.trim().strip_prefix("orun ").unwrap();
        self.scenario.run(line)
    }

    fn text(&self, step: &str, file: &str) -> String {
        fs::read_to_string(self.goldens.join(SCENARIO).join(step).join(file)).unwrap()
    }

    /// Asserts that a step has the exit code and the messages of the classic tool.
    #[track_caller]
    fn follows(&self, step: &str) {
        self.is_as_classic(step, &self.step(step));
    }

    #[track_caller]
    fn is_as_classic(&self, step: &str, run: &Run) {
        assert_eq!(run.stdout, self.text(step, "stdout"), "{step}");
        assert_eq!(run.stderr, self.text(step, "stderr"), "{step}");
        assert_eq!(run.code.to_string(), self.text(step, "rc").trim(), "{step}");
    }

    /// Asserts that `contents` equals the classic one, without the classes that need scripts, the directories above
    /// packages that only we record, and the time; `without` names objects that this machine cannot make.
    #[track_caller]
    fn has_contents_of(&self, file: &str, without: &str) {
        let classic = fs::read_to_string(self.goldens.join(SCENARIO).join(file)).unwrap();
        let ours = fs::read_to_string(self.scenario.at("/var/sadm/install/contents")).unwrap();
        let scripted = [" build ", " preserve ", " script "];
        let implied = ["/opt d ", "/opt/SUNWstuf d ", "/opt/SUNWstux d "];
        let counts = |line: &&str| {
            !scripted.iter().any(|class| line.contains(class))
                && !implied.iter().any(|path| line.starts_with(path))
                && !line.starts_with("# Fri ")
                && (without.is_empty() || !line.starts_with(without))
        };
        let lines = |text: &'_ str| text.lines().filter(counts).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&ours), lines(&classic), "{file}");
    }
}

#[test]
fn objects_are_registered_and_given_up_as_by_the_classic_tools() {
    let Some(stage) = stage("objects_are_registered_and_given_up_as_by_the_classic_tools") else { return };
    for step in ["installf-f", "installf-d", "installf-s", "installf-l", "installf-p"] {
        stage.follows(step);
    }
    let without = if is_root() && makes_devices(&stage) {
        stage.follows("installf-c");
        ""
    } else {
        crate::skipped("the device of objects_are_registered_and_given_up: only root can make one");
        "/opt/SUNWstuf/mdir/null"
    };
    let mut dash = stage.scenario.command("installf -R @ROOT@ SUNWstuf -");
    let mut dash = dash.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = "/opt/SUNWstuf/mvol v 0600 root root\n/opt/SUNWstuf/mxdir x 0700 root root\n";
    dash.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(dash.wait_with_output().unwrap().status.success());
    stage.has_contents_of("contents-before-final", without);
    stage.follows("installf-final");
    stage.has_contents_of("installf-final/snap/contents", without);
    has_objects(&stage);
    stage.follows("installf-shared");
    stage.follows("installf-shared-final");
    stage.has_contents_of("contents-shared", without);
    stage.follows("removef-shared");
    stage.follows("removef-own");
    stage.has_contents_of("contents-removef-pending", without);
    for path in ["/opt/SUNWstuf/mpipe", "/opt/SUNWstuf/mlink"] {
        fs::remove_file(stage.scenario.at(path)).unwrap();
    }
    stage.follows("removef-final");
    stage.has_contents_of("contents-removef-final", without);
}

/// Even root cannot make devices in some namespaces.
fn makes_devices(stage: &Stage) -> bool {
    let node = stage.scenario.beside("node");
    let mut mknod = Command::new("mknod");
    mknod.arg(&node).args(["c", "1", "3"]).stderr(Stdio::null());
    mknod.status().is_ok_and(|status| status.success())
}

/// Asserts type, mode and links of the objects that installf made and finalized, and owners if they can be set.
fn has_objects(stage: &Stage) {
    let tree = stage.text("installf-final", "snap/tree");
    let mut compared = 0;
    for name in ["made", "mdir", "mhard", "mlink", "mpipe", "mxdir", "mdir/null"] {
        let Ok(seen) = fs::symlink_metadata(stage.scenario.at(&format!("/opt/SUNWstuf/{name}"))) else {
            continue;
        };
        let path = format!("./opt/SUNWstuf/{name}");
        let line = tree.lines().find(|line| line.split(' ').nth(6) == Some(&path)).unwrap();
        let columns: Vec<&str> = line.split(' ').collect();
        let kind = seen.file_type();
        let letter = match kind {
            _ if kind.is_dir() => "d",
            _ if kind.is_symlink() => "l",
            _ if kind.is_fifo() => "p",
            _ if kind.is_char_device() => "c",
            _ => "f",
        };
        let mode = format!("{:o}", seen.mode() & 0o7777);
        assert_eq!([letter, &mode], columns[..2], "{name}");
        if is_root() {
            assert_eq!(format!("{}:{}", seen.uid(), seen.gid()), columns[2], "{name}");
        }
        if letter == "f" {
            assert_eq!(seen.nlink().to_string(), columns[3], "{name}");
        }
        compared += 1;
    }
    assert!(compared >= 6);
}
