//! Random mixtures: patches of one package, applied and backed out by the program, by scripts and by pkgadd, in any
//! order that is allowed, with edits in between. The form of undo data is drawn for each patch, and undo data is
//! rewritten in other forms between the steps; a file that undo data kept as it was comes back itself.
//!
//! After each step every object, `contents`, every parameter and the records equal those of a fresh root on which only
//! the remaining patches were applied, and `list` and `check` say so. Deliberate differences are listed in
//! [`DIFFERENCES`], and every one of them is found. Scripts run in a sandbox; without one only the program's own engine
//! is played.

mod fresh;
mod play;
mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::sync::Mutex;

use crate::differences::{Difference, Explained, assert_explained, explains};
use crate::random::Random;
use crate::reliability::{Sampled, figures, is_whole};
use crate::sandbox::Sandbox;
use crate::scenario::Scenario;
use fresh::Template;
use play::{Counts, Play};

/// Number of sequences in a sample, and in the whole.
const SEQUENCES: (u64, u64) = (4, 2_400);

/// Set for the process that plays.
const PLAYS: &str = "PATCHADM_MIXTURES";

/// Deliberate differences from a fresh root. Copies of files edited before a backout are compared one by one.
const DIFFERENCES: &[Explained] = &[
    ("*", "*", "pkginfo PATCHLIST without a patch", "an empty list tells classic readers the same as none"),
    (
        "*",
        "*",
        "pkginfo PATCH_OBSOLETES without a patch",
        "an empty list tells classic readers the same as none",
    ),
    ("*", "*", "pkginfo PATCH_INFO_* of a patch that has gone", "the record says that it was backed out"),
];

/// Counts of what was played, and the lines of [`DIFFERENCES`] that explain what was found.
type Played = (BTreeMap<String, u64>, BTreeSet<usize>);

in_parts!(every_mixture_of_patches_engines_edits_and_backouts_is_exact, mix, 2);

/// Plays a part of the sequences. The last one of all parts checks that everything explained was found.
fn mix(part: usize, parts: usize) {
    static MET: Mutex<(usize, BTreeSet<usize>)> = Mutex::new((0, BTreeSet::new()));
    let stage = Scenario::new();
    let (counts, explained): Played = match Sandbox::new(&stage.beside("")) {
        None => checked(&play(false, part, parts)),
        Some(sandbox) => {
            let mut command = sandbox.command(std::env::current_exe().unwrap());
            command.args([
                "--exact",
                "reliability::mixtures::the_process_in_the_sandbox",
                "--nocapture",
                "--ignored",
            ]);
            command.env(PLAYS, format!("{part} {parts}")).env("TMPDIR", "/tmp").stdin(Stdio::null());
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
            let line =
                said.lines().find_map(|line| line.strip_prefix("played ")).expect("it says what it played");
            serde_json::from_str(line).unwrap()
        }
    };
    let mut met = MET.lock().unwrap();
    met.0 += 1;
    met.1.extend(explained);
    if is_whole() || met.0 == parts {
        let lines = DIFFERENCES.iter().enumerate();
        let gone: Vec<_> = lines.filter(|(line, _)| !met.1.contains(line)).collect();
        assert!(gone.is_empty(), "no longer different: {gone:?}");
    }
    let mut told = vec![("other trees", 0)];
    told.extend(counts.iter().map(|(what, count)| (what.as_str(), *count)));
    figures("mixtures", &told);
}

#[test]
#[ignore = "played by every_mixture_of_patches_engines_edits_and_backouts_is_exact, in a sandbox"]
#[allow(clippy::print_stdout)] // the process that started it reads that
fn the_process_in_the_sandbox() {
    let Ok(plays) = std::env::var(PLAYS) else { return };
    let (part, parts) = plays.split_once(' ').unwrap();
    let played = checked(&play(true, part.parse().unwrap(), parts.parse().unwrap()));
    println!("\nplayed {}", serde_json::to_string(&played).unwrap());
}

/// Asserts that only explained differences were found. Returns what was played.
fn checked((counts, differences): &(Counts, Vec<Difference>)) -> Played {
    let is_met = |one: &&Explained| differences.iter().any(|difference| explains(one, difference));
    let met: Vec<Explained> = DIFFERENCES.iter().filter(is_met).copied().collect();
    assert_explained(differences, &met);
    let lines = (0..DIFFERENCES.len()).filter(|line| met.contains(&DIFFERENCES[*line])).collect();
    (counts.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect(), lines)
}

/// Plays a part of the sequences, on every processor.
fn play(has_scripts: bool, part: usize, parts: usize) -> (Counts, Vec<Difference>) {
    let (part, parts) = (part as u64, parts as u64);
    let template = Template::new();
    let found = Mutex::new((Counts::new(), Vec::new()));
    let explained = Mutex::new(BTreeMap::new());
    let sequences = Sampled::of(SEQUENCES.0, SEQUENCES.1);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                while let Some(number) = sequences.next() {
                    if number % parts != part {
                        continue;
                    }
                    let mut random = Random(number.wrapping_mul(0x2545_f491_4f6c_dd1d));
                    let patches = story::patches(&mut random);
                    let mut play = Play::new(&template, &patches, random, has_scripts, number);
                    play.play();
                    let mut found = found.lock().unwrap();
                    *found.0.entry("sequences").or_default() += 1;
                    for (what, count) in play.counts {
                        *found.0.entry(what).or_default() += count;
                    }
                    let unexplained = play.differences.into_iter();
                    let unexplained = unexplained
                        .map(|(one, step, what, both)| (format!("{number} {one}"), step, what, both));
                    found.1.extend(unexplained);
                    explained.lock().unwrap().extend(play.explained);
                }
            });
        }
    });
    let (counts, mut differences) = found.into_inner().unwrap();
    differences.extend(explained.into_inner().unwrap().into_values());
    (counts, differences)
}
