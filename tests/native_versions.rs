//! The order of versions, compared with that of dpkg and rpm themselves. Skipped by name where they are not installed.

use std::cmp::Ordering;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use patchadm_inputs::native::NativeManager;

/// The number of pairs to compare; `PATCHADM_VERSIONS` overrides it.
const PAIRS: usize = 20_000;

/// Pseudo-random numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    /// A version of a few parts: digits, letters and the characters that count.
    fn version(&mut self, parts: &[&str]) -> String {
        let epoch = if self.below(5) == 0 { format!("{}:", self.below(3)) } else { String::new() };
        let mut text = format!("{epoch}{}", self.below(12));
        for _ in 0..self.below(7) {
            text.push_str(parts[self.below(parts.len())]);
        }
        text
    }

    /// Two versions, of which the second is often the first with a small change.
    fn pair(&mut self, parts: &[&str]) -> (String, String) {
        let one = self.version(parts);
        let mut other = if self.below(3) == 0 { self.version(parts) } else { one.clone() };
        if self.below(2) == 0 {
            other.push_str(parts[self.below(parts.len())]);
        }
        (one, other)
    }
}

fn pairs(seed: u64, parts: &[&str]) -> Vec<(String, String)> {
    let wanted = std::env::var("PATCHADM_VERSIONS").ok().and_then(|text| text.parse().ok());
    let mut numbers = Numbers(seed);
    (0..wanted.unwrap_or(PAIRS)).map(|_| numbers.pair(parts)).collect()
}

/// Passes all pairs to a program, and compares its answers (-1, 0 or 1 in each line) with ours.
fn compare(manager: NativeManager, pairs: &[(String, String)], mut program: Command) {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("pairs");
    let text: String = pairs.iter().map(|(one, other)| format!("{one} {other}\n")).collect();
    fs::File::create(&at).unwrap().write_all(text.as_bytes()).unwrap();
    let output = program.env("PAIRS", &at).stdin(fs::File::open(&at).unwrap()).stderr(Stdio::null()).output();
    let Ok(output) = output else { return skipped(manager) };
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<&str> = answers.split_whitespace().collect();
    if answers.is_empty() {
        return skipped(manager);
    }
    assert_eq!(answers.len(), pairs.len());
    for ((one, other), answer) in pairs.iter().zip(answers) {
        let ours = match manager.compare(one, other) {
            Ordering::Less => "-1",
            Ordering::Equal => "0",
            Ordering::Greater => "1",
        };
        assert_eq!(ours, answer, "{manager}: {one} and {other}");
    }
}

fn skipped(manager: NativeManager) {
    crate::skipped(&format!("the order of versions of {manager}: it cannot be asked here"));
}

#[test]
fn versions_of_dpkg_are_in_its_own_order() {
    let parts =
        ["0", "1", "9", "10", "007", ".", "-", "-1", "~", "~rc", "+", "+b1", "a", "Z", "deb12u1", "."];
    let mut perl = Command::new("perl");
    let compared =
        "my @two = map { Dpkg::Version->new($_, check => 0) } split; print $two[0] <=> $two[1], qq(\\n)";
    perl.args(["-MDpkg::Version", "-ne", compared]);
    compare(NativeManager::Dpkg, &pairs(0x5eed_0038, &parts), perl);
}

#[test]
fn versions_of_rpm_are_in_its_own_order() {
    let parts = ["0", "1", "9", "10", "007", ".", "_", "~", "~rc", "^", "^git", "+", "a", "Z", "el9", "."];
    let mut rpm = Command::new("rpm");
    let lua = "%{lua: local out = {}; for line in io.lines(os.getenv('PAIRS')) do \
               local one, other = line:match('(%S+) (%S+)'); out[#out + 1] = tostring(rpm.vercmp(one, other)) end; \
               print(table.concat(out, ' '))}";
    rpm.args(["--eval", lua]);
    compare(NativeManager::Rpm, &pairs(0x5eed_0039, &parts), rpm);
}
