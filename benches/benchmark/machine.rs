//! Description of the machine and of the measured build, for each section.

use std::fs;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::line::Line;
use crate::options::Options;

/// Returns the date, and the commit of the checkout.
pub(crate) fn when() -> String {
    let day = chrono::Utc::now().format("%Y-%m-%d");
    format!("{day} at {}", commit())
}

/// Returns the command, and how often it measures.
pub(crate) fn command(options: &Options) -> String {
    let words = std::env::args().skip(1).filter(|word| word != "--bench" && word != "--write-docs");
    let command = words.fold("cargo bench --bench benchmark --".to_owned(), |line, word| {
        // The location of a directory on this machine means nothing to readers.
        line + " " + word.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default()
    });
    let is_other = std::env::var_os("PATCHADM_BENCH_PROGRAM").is_some();
    let build = if is_other { ", of another build" } else { "" };
    format!("by `{}`, medians of {} runs{build}", command.trim_end_matches(" --"), options.runs())
}

/// Describes CPU, cores, memory and kernel.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let cpu = after(&read("/proc/cpuinfo"), "model name");
    let cores = cores();
    let memory = after(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
    let memory = memory / f64::from(1 << 20);
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    let kernel = release.split('-').next().unwrap_or_default();
    let worth = worth_of_cores();
    format!(
        "{cpu}, {cores} cores that do {worth:.2} times the work of one, {memory:.0} GiB of memory, Linux {kernel}"
    )
}

/// Returns the commit of the checkout, and notes if its sources differ from it.
fn commit() -> String {
    let git = |words: &str| {
        let line = Line::new("git").words("-C").arg(env!("CARGO_MANIFEST_DIR")).words(words);
        line.output().ok().map(|output| String::from_utf8_lossy(&output).trim().to_owned())
    };
    let Some(commit) = git("rev-parse --short HEAD") else { return "an unknown commit".to_owned() };
    let is_changed = git("status --porcelain -- . :!docs").is_none_or(|changes| !changes.is_empty());
    format!("commit {commit}{}", if is_changed { " with changes" } else { "" })
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Returns how much more work all cores do at once than one does alone. Cores that share their units with each other,
/// or with other guests of the host, are worth less than their number: parallel work is slower there, serial work is
/// not.
fn worth_of_cores() -> f64 {
    const SLICE: Duration = Duration::from_millis(100);
    let program = fs::read("/proc/self/exe").unwrap_or_default();
    let content = program.get(..1 << 18).unwrap_or(&program);
    let cores = cores();
    let done = |threads: usize| -> f64 {
        let until = Instant::now() + SLICE;
        thread::scope(|scope| {
            let working: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| compress_until(content, until))).collect();
            working.into_iter().map(|thread| thread.join().unwrap_or(0)).sum::<u32>().into()
        })
    };
    let mut ratios: Vec<f64> = (0..9).map(|_| done(cores) / done(1).max(1.0)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Compresses like the floor until a moment, and returns how often.
fn compress_until(content: &[u8], until: Instant) -> u32 {
    let mut times = 0;
    while Instant::now() < until {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
        if encoder.write_all(content).and_then(|()| encoder.finish()).is_err() {
            break;
        }
        times += 1;
    }
    times
}
