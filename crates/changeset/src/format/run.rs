use std::fmt;

/// All run numbers are lower, so there is always a next one.
pub(super) const RUNS: u64 = 1 << 63;

/// A run with this number has no next one.
pub const LAST_NUMBER: u64 = RUNS - 1;

/// Placeholder for a run's name in a JSON record that is made before the run.
pub const RUN_MARK: &str = "\u{1}";

/// JSON escapes it, so it occurs nowhere else in a record.
const ESCAPED_MARK: &[u8] = br"\u0001";

pub fn around_mark(record: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let at = record.windows(ESCAPED_MARK.len()).position(|part| part == ESCAPED_MARK);
    let (before, rest) = record.split_at(at.unwrap_or(record.len()));
    (before.to_vec(), rest.get(ESCAPED_MARK.len()..).unwrap_or_default().to_vec())
}

/// `<number>-<16 hexadecimal digits>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// One more than that of the previous run.
    pub number: u64,
    /// Random, so that copied roots do not share runs.
    pub nonce: u64,
}

impl Run {
    pub fn parse(text: &str) -> Option<Self> {
        let (number, nonce) = text.split_once('-')?;
        if nonce.len() != 16 {
            return None;
        }
        Some(Self { number: number.parse().ok()?, nonce: u64::from_str_radix(nonce, 16).ok()? })
    }

    /// Exact spelling, and a number that another run can follow.
    pub fn is_name(text: &str) -> bool {
        Self::parse(text).is_some_and(|run| run.number < RUNS && run.to_string() == text)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.number, self.nonce)
    }
}
