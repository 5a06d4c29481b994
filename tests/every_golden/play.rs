//! The setting of the classic steps, for our own commands: a root, packages, admin and response files, and each
//! command as it was recorded.
//!
//! Scripts run as root, so everything happens in a sandbox that can only read the machine.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::compare::Difference;
use super::seen::{self, Seen};
use super::undo;
use super::words::words;
use crate::sandbox::Sandbox;
use crate::scenario::{Scenario, shared};

/// A scenario, step by step.
pub(super) struct Play {
    pub(super) scenario: &'static str,
    /// Directories with the steps, below the results of the scenario. There are several if one of our runs stands for
    /// several classic ones, which must all have had the same result.
    pub(super) parts: Vec<String>,
    /// The classic results of all scenarios.
    goldens: PathBuf,
    stage: Scenario,
    sandbox: Sandbox,
    /// The working directory of commands.
    directory: PathBuf,
    pub(super) driven: BTreeSet<String>,
    pub(super) differences: Vec<Difference>,
}

/// The accounts that the classic roots had.
const PASSWD: &str =
    "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nadm:x:3:4::/:/bin/false\n";
const GROUP: &str = "root:x:0:\nbin:x:2:\nsys:x:3:\nadm:x:4:\nnogroup:x:65534:\n";

impl Play {
    /// The initial root of a scenario, with all packages beside it.
    pub(super) fn begin(scenario: &'static str, parts: &[&str]) -> Self {
        let goldens = shared(scenario, "goldens").unwrap();
        // These scenarios show the order of a directory listing.
        let is_on_disk = ["14-datastream", "27-order-names"].contains(&scenario);
        let stage = if is_on_disk { Scenario::bare() } else { Scenario::bare_in_memory() };
        for (path, mode) in [("/var/tmp", 0o1777), ("/tmp", 0o1777), ("/var/sadm/install", 0o755)] {
            stage.directory(path);
            stage.mode(path, mode);
        }
        stage.directory("/var/sadm/pkg");
        stage.directory("/opt");
        for (path, text) in [("/etc/passwd", PASSWD), ("/etc/group", GROUP)] {
            stage.file(path, text);
            fs::File::open(stage.at(path)).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
        }
        // The user of checkinstall must be able to reach the packages.
        fs::set_permissions(stage.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
        copy_packages(&goldens.join("pkgs"), &stage.beside("pkgs"));
        let sandbox = Sandbox::new(&stage.beside("")).unwrap();
        let play = Self {
            scenario,
            parts: parts.iter().map(|part| (*part).to_owned()).collect(),
            directory: stage.beside(""),
            goldens,
            stage,
            sandbox,
            driven: BTreeSet::new(),
            differences: Vec::new(),
        };
        play.copy_inputs("");
        for part in parts.iter().filter(|part| !part.is_empty()) {
            play.copy_inputs(part);
        }
        play
    }

    /// Copies the admin and response files of a part, whose paths are those of the machine where they were made.
    fn copy_inputs(&self, part: &str) {
        let results = self.results().join(part);
        fs::create_dir_all(self.out().join(part)).unwrap();
        for file in fs::read_dir(&results).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.file_name().unwrap().to_str().unwrap();
            if name.starts_with("admin") || name.starts_with("response") {
                let text = self.here(&fs::read_to_string(&file).unwrap());
                fs::write(self.out().join(part).join(name), text).unwrap();
            }
        }
    }

    /// The classic results of the scenario.
    pub(super) fn results(&self) -> PathBuf {
        self.goldens.join(self.scenario).join("out")
    }

    /// Stands for the directory of the results here: it has the files that commands read and write.
    pub(super) fn out(&self) -> PathBuf {
        self.beside("goldens").join(self.scenario).join("out")
    }

    pub(super) fn stage(&self) -> &Scenario {
        &self.stage
    }

    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.stage().beside(name)
    }

    /// The placeholders of the goldens and their values here.
    fn places(&self) -> [(&'static str, PathBuf); 5] {
        [
            ("@CLASSIC@/orun", PathBuf::from(env!("CARGO_BIN_EXE_patchadm"))),
            ("@ROOT@", self.stage().root()),
            ("@PKGS@", self.beside("pkgs")),
            ("@GOLDENS@", self.beside("goldens")),
            ("@WORK@", self.beside("work")),
        ]
    }

    /// A text of the goldens with the paths of this machine.
    pub(super) fn here(&self, text: &str) -> String {
        self.places()
            .iter()
            .fold(text.to_owned(), |text, (name, place)| text.replace(name, place.to_str().unwrap()))
    }

    /// A text with the placeholders of the goldens.
    pub(super) fn there(&self, text: &str) -> String {
        self.places()
            .iter()
            .fold(text.to_owned(), |text, (name, place)| text.replace(place.to_str().unwrap(), name))
    }

    /// Sets the working directory of later commands, which is beside the root.
    pub(super) fn enter(&mut self, directory: &str) {
        self.directory = self.beside(directory);
        fs::create_dir_all(&self.directory).unwrap();
    }

    /// A command line in words, in the environment of the classic tools.
    fn command(&self, words: &[String]) -> Command {
        let (program, arguments) = words.split_first().unwrap();
        let program = if program == "orun" { env!("CARGO_BIN_EXE_patchadm") } else { program };
        let mut command = self.sandbox.command(program);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .env("SOURCE_DATE_EPOCH", crate::scenario::NOW.to_string());
        command
    }

    /// Runs a command that is not a step of its own and must succeed.
    pub(super) fn run(&self, line: &str) -> String {
        self.output_of(&line.split(' ').collect::<Vec<_>>())
    }

    /// Output of a command that must succeed; `@SCENE@` is the directory of the scenario.
    pub(super) fn output_of(&self, words: &[&str]) -> String {
        let scene = self.beside("");
        let scene = scene.to_str().unwrap().trim_end_matches('/');
        let words: Vec<String> =
            words.iter().map(|word| self.here(&word.replace("@SCENE@", scene))).collect();
        let output = self.command(&words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        self.there(&String::from_utf8(output.stdout).unwrap())
    }

    /// Output of a shell script that may fail; `@ROOT@` and similar words stand for directories.
    pub(super) fn shell(&self, script: &str) -> String {
        let words = ["sh", "-c", &self.here(script)].map(str::to_owned);
        String::from_utf8(self.command(&words).output().unwrap().stdout).unwrap()
    }

    /// Appends to a file of the root, as an administrator does.
    pub(super) fn append(&self, path: &str, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.stage().at(path)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// The recorded command of a step.
    fn recorded(&self, step: &str) -> Vec<String> {
        let file = self.results().join(&self.parts[0]).join(step).join("cmd");
        words(&self.here(&fs::read_to_string(file).unwrap()))
    }

    /// Plays a step: runs its command and compares everything that was recorded.
    pub(super) fn step(&mut self, step: &str) {
        let output = self.command(&self.recorded(step)).output().unwrap();
        self.compare(step, &output);
    }

    pub(super) fn steps(&mut self, steps: &[&str]) {
        for step in steps {
            self.step(step);
        }
    }

    /// Plays a step and answers all of its questions with `y`.
    pub(super) fn answered(&mut self, step: &str) {
        let answers = self.beside("answers");
        fs::write(&answers, "y\n".repeat(1000)).unwrap();
        let mut command = self.command(&self.recorded(step));
        let output = command.stdin(fs::File::open(&answers).unwrap()).output().unwrap();
        self.compare(step, &output);
    }

    /// Plays a step whose scripts trace every command to standard output, which each shell prints in its own way.
    /// Compares everything else, and the number of scripts that traced their end.
    pub(super) fn traced(&mut self, step: &str) {
        let mut output = self.command(&self.recorded(step)).output().unwrap();
        let ends = |text: &str| text.lines().filter(|line| line.trim_end() == "+ exit 0").count();
        let trace = fs::read_to_string(self.results().join(step).join("stdout")).unwrap();
        let [mut classic, mut ours] = [Seen::new(), Seen::new()];
        classic.insert("scripts that ended".to_owned(), ends(&trace).to_string());
        ours.insert(
            "scripts that ended".to_owned(),
            ends(&String::from_utf8_lossy(&output.stdout)).to_string(),
        );
        self.enter_differences(step, &classic, &ours);
        output.stdout = trace.into_bytes();
        self.compare(step, &output);
    }

    /// Does what patchrm did at the time: installs the undo data of a patch, with the current lists.
    pub(super) fn back_out(&mut self, id: &str, step: &str) {
        let package = self.stage().at("/var/sadm/pkg/SUNWstuf");
        let pkginfo = fs::read_to_string(package.join("pkginfo")).unwrap_or_default();
        let list = |name: &str| {
            let start = format!("{name}=");
            pkginfo.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default().to_owned()
        };
        let response =
            format!("OLDLIST=\"{}\"\nPATCH_OBSOLETES=\"{}\"\n", list("PATCHLIST"), list("PATCH_OBSOLETES"));
        let Some(stream) = undo_of(&package.join("save").join(id)) else {
            return self.differ(step, "not driven", "a stream with undo data", "none");
        };
        for part in &self.parts {
            let out = self.out().join(part);
            fs::write(out.join(format!("{step}.stream")), &stream).unwrap();
            fs::write(out.join(format!("response.{step}")), &response).unwrap();
        }
        self.step(step);
    }

    /// Writes the decompressed undo data of a patch to the results.
    pub(super) fn save_undo(&self, id: &str, file: &str) {
        let save = self.stage().at("/var/sadm/pkg/SUNWstuf/save").join(id);
        fs::write(self.out().join(file), undo_of(&save).unwrap_or_default()).unwrap();
    }

    /// Plays a step without a record of its own: pkgadd with one of the streams. The summary has its exit code and
    /// the number of files that it installed.
    pub(super) fn variant(&mut self, stream: &str) {
        fs::copy(self.results().join(format!("{stream}.ds")), self.out().join(format!("{stream}.ds")))
            .unwrap();
        let line = format!(
            "orun pkgadd -n -R @ROOT@ -a @GOLDENS@/{0}/out/admin -d @GOLDENS@/{0}/out/{stream}.ds SUNWstux",
            self.scenario
        );
        let output = self.command(&words(&self.here(&line))).output().unwrap();
        let [mut classic, mut ours] = [Seen::new(), Seen::new()];
        let summary = fs::read_to_string(self.results().join("summary")).unwrap();
        let line = summary.lines().find_map(|line| line.strip_prefix(&format!("{stream} rc="))).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        classic.insert("exit code".to_owned(), words[0].to_owned());
        classic.insert("files".to_owned(), words[1].to_owned());
        ours.insert("exit code".to_owned(), output.status.code().unwrap().to_string());
        ours.insert("files".to_owned(), self.shell("find @ROOT@/opt -type f | wc -l").trim().to_owned());
        let directory = self.results().join(stream);
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            seen::printed(&mut classic, name, &fs::read_to_string(directory.join(name)).unwrap());
            seen::printed(&mut ours, name, &self.there(&String::from_utf8_lossy(bytes)));
        }
        self.enter_differences(stream, &classic, &ours);
    }
}

/// The stream that backs a patch out, if the save directory has it or points to it.
fn undo_of(save: &Path) -> Option<Vec<u8>> {
    if let Some(stream) = undo::decompressed(save) {
        return Some(stream);
    }
    let pointer = fs::read_to_string(save.join("remote")).ok()?;
    let file = pointer.lines().find_map(|line| line.strip_prefix("FIND_AT="))?;
    Some(undo::unpacked(Path::new(file)))
}

/// Copies packages to a place where every user can read them, and keeps their times.
fn copy_packages(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_packages(&source, &copy);
            continue;
        }
        fs::copy(&source, &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
        if !["pkginfo", "pkgmap"].iter().any(|name| copy.ends_with(name)) {
            let delivered = std::time::UNIX_EPOCH + std::time::Duration::from_secs(981_173_106);
            fs::File::open(&copy).unwrap().set_modified(delivered).unwrap();
        }
    }
}
