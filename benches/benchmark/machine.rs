//! The machine that measures, as the head of a report names it.

use std::fs;
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Instructions that digests, checksums and compression have code of their own for.
const FLAGS: [&str; 7] = ["sha_ni", "avx2", "avx512f", "avx512bw", "sse4_1", "sse4_2", "pclmulqdq"];

/// The processor and the cores, and the day.
pub(crate) fn in_short() -> String {
    let text = describe();
    let processor: Vec<&str> = text.splitn(3, ", ").take(2).collect();
    format!("{}, {}", chrono::Utc::now().format("%Y-%m-%d"), processor.join(", "))
}

/// CPU, its instructions, cores, memory, kernel, and the moment.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_once(':').map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let processor = read("/proc/cpuinfo");
    let (cpu, flags) = (after(&processor, "model name"), after(&processor, "flags"));
    let (has, lacks): (Vec<&str>, Vec<&str>) =
        FLAGS.iter().partition(|name| flags.split(' ').any(|flag| flag == **name));
    let named = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let cores = cores();
    let memory = after(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
    let memory = memory / f64::from(1 << 20);
    let system = rustix::system::uname();
    let kernel = system.release().to_string_lossy().into_owned();
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M UTC");
    format!(
        "{cpu}, {cores} cores, {memory:.0} GiB of memory, Linux {kernel}; {now}.\n\nInstructions: {}. Missing: {}.",
        named(has),
        named(lacks)
    )
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How much more work all cores do at once than one does alone. Cores that share their units with each other, or with the
/// guests of the same host, are worth less than their number; what works side by side is slower there, what works on one
/// core is not.
pub(crate) fn worth_of_cores() -> f64 {
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

/// Compresses as the floor does, again and again; how often.
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
