//! Patches are tried before they count: each one when it is made, all together before they are handed over.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

use patchadm_making::build::{BuildRequest, ListChoices, PairNaming, PatchForm, PatchLists, ReadmeText};
use patchadm_making::delta::{
    DeltaError, DeltaReport, DeltaRequest, MadePatch, PatchToTry, PatchTrials, TrialFailure, TriedPatches,
    TriedTogether, delta,
};
use patchadm_releases::CompareOptions;
use patchadm_rootfs::WorkMeter;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

use super::sets::{names, stage};
use crate::scenario::Scenario;

/// A trial that fails some patches, and optionally all of them together.
#[derive(Default)]
struct Trials {
    failing: Vec<&'static str>,
    fails_together: bool,
    /// A source whose patch does not fit with any other.
    guilty: Option<&'static str>,
    asked: Mutex<Vec<String>>,
}

impl Trials {
    fn tried(&self, what: String, fails: bool) -> TriedPatches {
        let log = format!("tried {what}\n").into_bytes();
        self.asked.lock().unwrap().push(what);
        let end = if fails { Err(TrialFailure::Patch("it does not work".to_owned())) } else { Ok(()) };
        TriedPatches { log, end }
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked
    }
}

impl PatchTrials for Trials {
    fn try_patch(&self, patch: &PatchToTry<'_>) -> TriedPatches {
        assert!(patch.path.exists() && patch.required.is_empty());
        let id = patch.id.to_string();
        let fails = self.failing.contains(&&*id);
        self.tried(id, fails)
    }

    fn try_together(&self, patches: &[MadePatch]) -> TriedTogether {
        let ids: Vec<&str> = patches.iter().map(|patch| patch.id.as_str()).collect();
        let is_there = |source: &&str| patches.iter().any(|patch| patch.source == *source);
        let guilty = self.guilty.filter(is_there);
        let fails = self.fails_together || guilty.is_some();
        let guilty = guilty.map(|source| (source.to_owned(), "it fits no other one".to_owned()));
        let tried = self.tried(format!("together {}", ids.join(" ")), fails);
        TriedTogether { tried, guilty: guilty.into_iter().collect() }
    }
}

fn request_of(id: PatchId) -> BuildRequest {
    BuildRequest {
        id,
        date: 1_700_000_000,
        naming: PairNaming::default(),
        choices: ListChoices::default(),
        compare: CompareOptions::default(),
        basedir: ObjectPath::root(),
        lists: PatchLists::default(),
        properties: Vec::new(),
        fixed_in: None,
        readme: ReadmeText::default(),
        with_scripts: true,
        class_scripts: BTreeMap::new(),
        restricted: None,
        allow_abi_break: false,
    }
}

/// Makes the patches with a trial; returns the report and the trials that ran.
fn run(stage: &Scenario, trials: &Trials) -> (DeltaReport, Vec<String>) {
    let report = make(stage, trials).unwrap();
    (report, trials.asked())
}

fn make(stage: &Scenario, trials: &Trials) -> Result<DeltaReport, DeltaError> {
    let [release, stable, work] = ["release", "stable", "work"].map(|name| stage.beside(name));
    let request = DeltaRequest {
        release: &release,
        stable: &stable,
        work: &work,
        bases: BTreeMap::new(),
        only: &[],
        form: PatchForm::TarGz,
        rebuild: false,
        is_dry_run: false,
        patch: &request_of,
        against: &[],
        needs: BTreeMap::new(),
        trials: Some(trials),
        cores: 2,
        interrupt: &|| None,
        meter: WorkMeter::default(),
    };
    delta(&request, &mut |_| false)
}

/// The outcome of each source.
fn ends(report: &DeltaReport) -> Vec<String> {
    let end = |one: &patchadm_making::delta::SourceOutcome| format!("{} {}", one.source, one.end.word());
    report.sources.iter().map(end).collect()
}

fn handed_over(stage: &Scenario) -> usize {
    fs::read_to_string(stage.beside("work/handover/LIST")).map_or(0, |list| list.lines().count())
}

#[test]
fn what_fails_its_trial_is_no_patch_and_what_does_not_fit_together_is_not_handed_over() {
    let stage = stage();
    let failing = Trials { failing: vec!["openssl-01"], ..Trials::default() };
    let (report, asked) = run(&stage, &failing);
    assert_eq!(ends(&report), ["curl built", "less unchanged", "openssl failed"]);
    assert_eq!(report.sources[2].reason, "its trial failed: it does not work");
    assert_eq!(asked, ["curl-01", "openssl-01", "together curl-01"]);
    let patches: Vec<String> = names(&stage).into_iter().filter(|name| name.ends_with(".tar.gz")).collect();
    assert_eq!((patches, handed_over(&stage)), (vec!["patches/curl-01.tar.gz".to_owned()], 1));
    let log = fs::read_to_string(stage.beside("work/logs/openssl-01.log")).unwrap();
    assert!(log.contains("tried openssl-01\nfailed openssl-01: its trial failed: "), "{log}");

    // The failed one used up no revision. Together they do not fit, so nobody is asked for a signature.
    let apart = Trials { fails_together: true, ..Trials::default() };
    let (report, asked) = run(&stage, &apart);
    assert_eq!(ends(&report), ["curl kept", "less unchanged", "openssl built"]);
    assert_eq!(asked, ["openssl-01", "together curl-01 openssl-01"]);
    let together = report.together.unwrap();
    assert_eq!(together.failure, Some(TrialFailure::Patch("it does not work".to_owned())));
    assert_eq!(fs::read_to_string(together.log).unwrap(), "tried together curl-01 openssl-01\n");
    assert_eq!((report.to_sign, handed_over(&stage)), (0, 1));

    // Although none of them is new, they are tried together until they pass, and then not again.
    let (report, asked) = run(&stage, &Trials::default());
    assert_eq!(asked, ["together curl-01 openssl-01"]);
    assert!(report.together.is_some_and(|together| together.failure.is_none()));
    assert_eq!(handed_over(&stage), 2);
    let (report, asked) = run(&stage, &Trials::default());
    let as_before = report.together.is_some_and(|together| together.failure.is_none());
    assert_eq!((asked, as_before, report.to_sign), (Vec::new(), true, 2));
}

#[test]
fn a_patch_that_keeps_others_from_passing_is_one_no_more_and_the_others_are_handed_over() {
    let stage = stage();
    let guilty = Trials { guilty: Some("openssl"), ..Trials::default() };
    let (report, asked) = run(&stage, &guilty);
    assert_eq!(ends(&report), ["curl built", "less unchanged", "openssl failed"]);
    assert_eq!(report.sources[2].reason, "its trial failed: it fits no other one");
    assert_eq!(asked, ["curl-01", "openssl-01", "together curl-01", "together curl-01 openssl-01"]);
    let together = report.together.unwrap();
    assert_eq!(together.failure, None);
    let log = fs::read_to_string(together.log).unwrap();
    assert_eq!(log, "tried together curl-01 openssl-01\ntried together curl-01\n");
    let patches: Vec<String> = names(&stage).into_iter().filter(|name| name.ends_with(".tar.gz")).collect();
    assert_eq!((patches, handed_over(&stage)), (vec!["patches/curl-01.tar.gz".to_owned()], 1));

    // It used up no revision, and comes after the one that passed.
    let (report, asked) = run(&stage, &Trials::default());
    assert_eq!(ends(&report), ["curl kept", "less unchanged", "openssl built"]);
    assert_eq!(asked, ["openssl-01", "together curl-01 openssl-01"]);

    // A signed patch is known elsewhere, so it stays, and nothing else is handed over.
    fs::write(stage.beside("work/patches/openssl-01.tar.gz.manifest.minisig"), "").unwrap();
    fs::remove_file(stage.beside("work/tried")).unwrap();
    let (report, _) = run(&stage, &guilty);
    assert_eq!(ends(&report), ["curl kept", "less unchanged", "openssl kept"]);
    assert!(report.together.is_some_and(|together| together.failure.is_some()));
}

#[test]
fn patches_count_as_tried_together_only_when_their_log_is_there() {
    let stage = stage();
    let log = stage.beside("work/logs/together.log");
    fs::create_dir_all(&log).unwrap();
    let trials = Trials::default();
    assert!(make(&stage, &trials).is_err(), "the log cannot be written");
    assert!(trials.asked().contains(&"together curl-01 openssl-01".to_owned()));
    assert_eq!(handed_over(&stage), 0);

    fs::remove_dir(&log).unwrap();
    let (report, asked) = run(&stage, &Trials::default());
    assert_eq!(asked, ["together curl-01 openssl-01"]);
    assert_eq!((report.together.unwrap().log, handed_over(&stage)), (log.clone(), 2));
    assert_eq!(fs::read_to_string(log).unwrap(), "tried together curl-01 openssl-01\n");
}
