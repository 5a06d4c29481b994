use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use patchadm_changeset::format::journal::{
    Domain, Journal, JournalEntry, JournalHeader, VERSION, outcome_sector,
};
use patchadm_changeset::records::contents;
use patchadm_changeset::transaction::{read_queue, undo_queue};
use patchadm_inputs::database::survey::{SurveySettings, survey};
use patchadm_inputs::database::undo_data::OutsideAccess;
use patchadm_inputs::database::{RecordView, open_run};
use patchadm_inputs::inventory::Touched;
use patchadm_planning::plan::registration::merged;
use patchadm_rootfs::{Lock, Root};
use patchadm_svr4::package::ObjectPath;

use crate::installf::stage;
use crate::scenario::{Run, Scenario};
use crate::tree::assert_same;

const RUN: &str = "99-00000000000000aa";
const STAGE: &str = "/var/sadm/patchadm/stage/99-00000000000000aa";

/// A root in the middle of a run that holds its lock. The test plays the scripts of the run.
struct InRun {
    scenario: Scenario,
    root: Root,
    _lock: Lock,
}

impl InRun {
    fn new() -> Self {
        let mut scenario = stage();
        scenario.directory(STAGE);
        let stage = ObjectPath::new(STAGE.as_bytes()).unwrap();
        let header = JournalHeader {
            version: VERSION,
            run: RUN.to_owned(),
            command: "pkgadd".to_owned(),
            root: "00112233445566ff".to_owned(),
            ..JournalHeader::default()
        };
        let domain = JournalEntry::Domain(Domain { top: ObjectPath::root(), stage, lacks: Vec::new() });
        let files = Journal::to_files(header, &[domain]).unwrap();
        fs::write(scenario.at(&format!("/var/sadm/patchadm/ops-{RUN}")), files.ops).unwrap();
        fs::write(scenario.at("/var/sadm/patchadm/journal"), files.journal).unwrap();
        let root = Root::open(&scenario.root()).unwrap();
        let lock = Lock::take(&root, "pkgadd", |_| false).unwrap();
        scenario.set("PATCHADM_RUN", RUN);
        Self { scenario, root, _lock: lock }
    }

    fn stage(&self) -> ObjectPath {
        open_run(&self.root).unwrap().unwrap().stage.unwrap()
    }

    /// The lines of `contents` as the last batch of the run would leave them.
    fn lines(&self) -> Vec<String> {
        let queue = read_queue(&self.root, &self.stage()).unwrap();
        let view = RecordView::live(&self.root);
        let paths = contents::paths_of_queue(&view, &queue).unwrap();
        let host = Root::open(Path::new("/")).unwrap();
        let setting = SurveySettings {
            host: &host,
            separator: "-",
            new_marker: "0",
            outside: OutsideAccess::default(),
            interrupt: &|| None,
        };
        let touched = Touched { paths, ..Touched::default() };
        let inventory = survey(&view, &touched, &setting).unwrap();
        let edits = merged(&inventory, &queue);
        let is_same = |line: &String| {
            !edits.keys().any(|path| line.split([' ', '=']).next() == Some(&path.to_string()))
        };
        let mut lines: BTreeSet<String> = self.scenario.lines().into_iter().filter(is_same).collect();
        let written = edits.into_values().flatten().map(|line| String::from_utf8(line.write()).unwrap());
        lines.extend(written);
        lines.into_iter().collect()
    }

    fn undo(&self) {
        undo_queue(&self.root, &read_queue(&self.root, &self.stage()).unwrap()).unwrap();
    }
}

/// The actions of a script: commands, and files that it makes between them.
const SCRIPT: [&str; 14] = [
    "installf -R @ROOT@ ACMEa /opt/ACMEa/var/run d 0750 root sys",
    "installf -R @ROOT@ ACMEa /opt/ACMEa/pipe p 0600 root root",
    "installf -R @ROOT@ -c conf ACMEa /opt/ACMEa/conf e 0600 root sys",
    "installf -R @ROOT@ ACMEb /opt/ACMEa/bin/tool f 0750 root sys",
    "installf -R @ROOT@ ACMEa /opt/ACMEa/never f 0644 root root",
    "make /opt/ACMEa/conf",
    "installf -R @ROOT@ ACMEa /opt/ACMEa/new/soft=../bin/tool s",
    "installf -R @ROOT@ ACMEa /opt/ACMEa/bin/hard=tool l",
    "removef -R @ROOT@ ACMEa /opt/ACMEa/bin/tool",
    "removef -R @ROOT@ ACMEb /opt/ACMEb/bin/tool",
    "installf -R @ROOT@ -f ACMEa",
    "removef -R @ROOT@ -f ACMEb",
    "installf -R @ROOT@ -f ACMEb",
    "removef -R @ROOT@ -f ACMEa",
];

fn play(stage: &Scenario) -> Vec<Run> {
    let mut runs = Vec::new();
    for step in SCRIPT {
        match step.strip_prefix("make ") {
            Some(path) => stage.file(path, "conf\n"),
            None => runs.push(stage.run(step)),
        }
    }
    runs
}

#[test]
fn a_script_of_a_run_has_the_same_answers_objects_and_lines_as_calls_outside_of_one() {
    let (inside, outside) = (InRun::new(), stage());
    let before = inside.scenario.lines();
    let (answers, expected) = (play(&inside.scenario), play(&outside));
    assert_eq!(answers, expected);
    assert_eq!(
        expected.iter().map(|run| run.code).collect::<Vec<_>>(),
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
    );
    assert_eq!(expected[8].stdout, "@ROOT@/opt/ACMEb/bin/tool\n");
    for stage in [&inside.scenario, &outside] {
        let pipe = stage.at("/opt/ACMEa/pipe");
        assert!(Command::new("touch").args(["-d", "@1"]).arg(pipe).status().unwrap().success());
    }
    assert_same(&inside.scenario.tree(), &outside.tree());
    assert_eq!(inside.scenario.lines(), before, "the run itself changes the database");

    assert_eq!(inside.lines(), sorted(&outside));
}

#[test]
fn what_a_script_made_goes_with_the_run_and_what_it_wrote_itself_stays() {
    let inside = InRun::new();
    let before = inside.scenario.tree();
    play(&inside.scenario);
    fs::remove_file(inside.scenario.at("/opt/ACMEa/conf")).unwrap();
    inside.undo();
    assert_same(&inside.scenario.tree(), &before);
}

#[test]
fn what_is_queued_already_counts_when_paths_are_given_up() {
    let inside = InRun::new();
    let run = |words: &str| inside.scenario.run(words).ok();
    assert_eq!(run("removef -R @ROOT@ ACMEa /opt/ACMEa/bin/tool"), "@ROOT@/opt/ACMEa/bin/tool\n");
    run("installf -R @ROOT@ ACMEb /opt/ACMEa/bin/tool");
    assert_eq!(run("removef -R @ROOT@ ACMEa /opt/ACMEa/bin/tool"), "");
}

#[test]
fn a_command_that_does_not_belong_to_the_open_run_is_one_of_its_own() {
    let mut inside = InRun::new();
    inside.scenario.set("PATCHADM_RUN", "98-00000000000000aa");
    inside.scenario.run("installf -R @ROOT@ ACMEa /opt/ACMEa/x").fails(64);
    inside.scenario.set("PATCHADM_RUN", RUN);
    let (sector, offset) = outcome_sector(patchadm_changeset::format::journal::RunOutcome::Commit);
    let journal = fs::OpenOptions::new().write(true).open(inside.scenario.at("/var/sadm/patchadm/journal"));
    std::os::unix::fs::FileExt::write_all_at(&journal.unwrap(), &sector, offset).unwrap();
    inside.scenario.run("installf -R @ROOT@ ACMEa /opt/ACMEa/x").fails(64);
}

#[test]
fn what_cannot_be_made_is_not_asked_for() {
    let inside = InRun::new();
    let text =
        inside.scenario.run("installf -R @ROOT@ ACMEa /opt/ACMEa/bin/tool/x d 0755 root root").fails(1);
    assert!(text.contains("is not a directory"), "{text}");
    let text = inside.scenario.run("installf -R @ROOT@ ACMEz /opt/x").fails(1);
    assert_eq!(text, "installf: ERROR: package instance <ACMEz> is not installed\n");
    assert_eq!(inside.lines(), sorted(&inside.scenario));
}

fn sorted(stage: &Scenario) -> Vec<String> {
    BTreeSet::from_iter(stage.lines()).into_iter().collect()
}
