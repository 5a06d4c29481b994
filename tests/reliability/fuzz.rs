//! Runs the parsers on inputs that nobody writes: the saved inputs of `fuzz/`, then inputs that are made from them.
//!
//! The bodies are those of the fuzz targets, so that the findings of a fuzzer stay found on every machine. After the
//! saved inputs come new ones, made from a seed so that each run plays the same: by flipped bits, words of the format,
//! and pieces moved, doubled, cut out and taken from other inputs. No coverage guides it; that is the fuzzer's work.
//!
//! A second process with a memory limit plays all of it; a decoder that trusts a length runs into the limit. An input
//! that breaks a promise is written to `target/reliability/`, from where it can be given to the fuzzer.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::random::Random;
use crate::reliability::{figures, sample_or_whole};

// In the fuzz crate its items are public.
#[allow(unreachable_pub)]
#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

use targets::{TARGETS, Target};

/// Executions of all targets together: of a sample, and of the whole.
const EXECUTIONS: (u64, u64) = (12_000, 2_000_000);

/// Memory limit of the process, in bytes: the test binary itself, the runtime, and 256 MiB.
const MEMORY: u64 = 512 << 20;

/// Time limit for one input. Machines are busy; a quadratic parser takes minutes.
const LONGEST: Duration = Duration::from_secs(20);

/// The largest generated input.
const LARGEST: usize = 16 << 10;

/// Set for the process that plays.
const PLAYS: &str = "PATCHADM_FUZZ_PLAYS";

#[test]
fn no_input_breaks_a_promise_of_a_parser() {
    let executions = sample_or_whole(EXECUTIONS.0, EXECUTIONS.1);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "reliability::fuzz::the_other_process", "--nocapture", "--ignored"]);
    command.env(PLAYS, executions.to_string()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
    let played = said.lines().find_map(|line| line.strip_prefix("played ")).expect("it says what it played");
    let played: u64 = played.parse().unwrap();
    assert!(played >= executions);
    let targets = TARGETS.len() as u64;
    figures("fuzz", &[("executions", played), ("targets", targets), ("panics", 0), ("broken promises", 0)]);
}

#[test]
#[ignore = "played by no_input_breaks_a_promise_of_a_parser, in a process of its own"]
#[allow(clippy::print_stdout)] // the process that started it reads that
fn the_other_process() {
    let Ok(executions) = std::env::var(PLAYS) else { return };
    let executions: u64 = executions.parse().unwrap();
    let limit = Rlimit { current: Some(MEMORY), maximum: getrlimit(Resource::As).maximum };
    setrlimit(Resource::As, limit).unwrap();
    let mut played = 0;
    for target in TARGETS {
        played += Session::new(target).play(executions.div_ceil(TARGETS.len() as u64));
    }
    println!("\nplayed {played}");
}

#[test]
fn every_target_has_a_binary_and_saved_inputs() {
    let there = |directory: &str| -> Vec<String> {
        let names = fs::read_dir(fuzz().join(directory)).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<String> =
            names.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let mut known: Vec<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    known.sort();
    assert_eq!(there("fuzz_targets"), known);
    assert_eq!(there("corpus"), known);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &known {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        let text = fs::read_to_string(fuzz().join("fuzz_targets").join(format!("{name}.rs"))).unwrap();
        assert!(text.contains(&format!("play(\"{name}\", input)")), "{name}");
    }
    assert!(there("regressions").iter().all(|name| name == "README" || known.contains(name)));
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// One target, being played.
struct Session<'t> {
    target: &'t Target,
    saved: Vec<Vec<u8>>,
    random: Random,
}

impl<'t> Session<'t> {
    fn new(target: &'t Target) -> Self {
        let mut saved = Vec::new();
        for directory in ["corpus", "regressions"] {
            let Ok(entries) = fs::read_dir(fuzz().join(directory).join(target.name)) else { continue };
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            saved.extend(paths.iter().map(|path| fs::read(path).unwrap()));
        }
        let seed = target.name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { target, saved, random: Random(seed) }
    }

    /// Plays the saved inputs, then new ones up to `executions`. Returns how many were played.
    fn play(&mut self, executions: u64) -> u64 {
        let saved = self.saved.clone();
        saved.iter().for_each(|input| self.once(input));
        let made = executions.saturating_sub(saved.len() as u64);
        for _ in 0..made {
            let input = self.made();
            self.once(&input);
        }
        saved.len() as u64 + made
    }

    fn once(&self, input: &[u8]) {
        let began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| (self.target.play)(input)));
        let took = began.elapsed();
        if result.is_ok() && took < LONGEST {
            return;
        }
        let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/reliability");
        let at = at.join(format!("fuzz-{}.input", self.target.name));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, input).unwrap();
        panic!("target {}, {took:?}: the input is in {}", self.target.name, at.display());
    }

    /// A new input, made from a saved one.
    fn made(&mut self) -> Vec<u8> {
        let mut input = self.any_saved();
        for _ in 0..=self.random.below(6) {
            self.mutate(&mut input);
        }
        input.truncate(LARGEST);
        input
    }

    fn any_saved(&mut self) -> Vec<u8> {
        let at = self.random.below(self.saved.len());
        self.saved.get(at).cloned().unwrap_or_default()
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let (from, to) = self.range(input.len());
        match self.random.below(10) {
            0 if !input.is_empty() => input[from.min(to - 1)] ^= 1 << self.random.below(8),
            1 if !input.is_empty() => input[from.min(to - 1)] = u8::try_from(self.random.below(256)).unwrap(),
            2 => drop(input.drain(from..to)),
            3 => input.truncate(from),
            4 => {
                let piece = input[from..to].to_vec();
                let at = self.random.below(input.len() + 1);
                input.splice(at..at, piece);
            }
            5 => {
                let other = self.any_saved();
                let (start, end) = self.range(other.len());
                input.splice(from..to, other[start..end].iter().copied());
            }
            6 => {
                let piece = input[from..to.min(from + 40)].to_vec();
                let times = 1 << self.random.below(9);
                input.splice(from..from, piece.repeat(times));
            }
            7 => {
                let number = [0, 1, 9, 255, 4096, 65_535, 4_294_967_295, u64::MAX][self.random.below(8)];
                input.splice(from..from, number.to_string().into_bytes());
            }
            _ => {
                let token = self.target.tokens[self.random.below(self.target.tokens.len())];
                let end = if self.random.below(2) == 0 { from } else { to.min(from + token.len()) };
                // A letter up to 255 stands for the byte of that number: archives are not UTF-8.
                input.splice(from..end, token.chars().map(|letter| u8::try_from(letter).unwrap_or(b'?')));
            }
        }
    }

    /// A range of something that is `length` long: often short, and empty only if `length` is 0.
    fn range(&mut self, length: usize) -> (usize, usize) {
        let from = self.random.below(length.max(1));
        let most = if self.random.below(4) == 0 { length - from } else { (length - from).min(16) };
        (from, from + if most == 0 { 0 } else { 1 + self.random.below(most) })
    }
}
