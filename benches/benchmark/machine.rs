//! The machine that measures, as the head of a report names it.

use std::fs;

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
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = after(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0.0);
    let memory = memory / f64::from(1 << 20);
    let system = rustix::system::uname();
    let kernel = system.release().to_string_lossy().into_owned();
    let now = chrono::Utc::now().format("%Y-%m-%d %H:%M UTC");
    format!(
        "{cpu}, {cores} cores, {memory:.0} GiB of memory, Linux {kernel}; {now}.\n\nInstructions: {}. Not there: {}.",
        named(has),
        named(lacks)
    )
}
