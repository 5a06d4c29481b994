//! Resource limits of tasks.

use serde::{Deserialize, Serialize};

use super::value;

/// Named as in `bulk.conf` and causes of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitName {
    /// Wall time of `build`, in seconds.
    Time,
    /// Seconds without output.
    Silence,
    /// CPU seconds of one process.
    Cpu,
    /// Bytes of all processes.
    Memory,
    Processes,
    /// Bytes below the task's own directories.
    Disk,
    /// Bytes of the log.
    Output,
}

impl LimitName {
    /// In the order of the manual.
    pub const ALL: [Self; 7] =
        [Self::Time, Self::Silence, Self::Cpu, Self::Memory, Self::Processes, Self::Disk, Self::Output];

    pub fn word(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Silence => "silence",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Disk => "disk",
            Self::Output => "output",
        }
    }

    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.word() == word)
    }

    /// 0 means no limit.
    pub fn parse_value(self, text: &str) -> Result<u64, String> {
        match self {
            Self::Time | Self::Silence | Self::Cpu => value::time(text),
            Self::Memory | Self::Disk | Self::Output => value::size(text),
            Self::Processes => value::decimal(text).ok_or_else(|| format!("`{text}` is not a number")),
        }
    }
}

/// Limits of one task in the units of [`LimitName`], 0 for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    time: u64,
    silence: u64,
    cpu: u64,
    memory: u64,
    processes: u64,
    disk: u64,
    output: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: 3600,
            silence: 20 * 60,
            cpu: 3600,
            memory: 0,
            processes: 4096,
            disk: 20 << 30,
            output: 64 << 20,
        }
    }
}

impl Limits {
    /// `None` for no limit.
    pub fn get(&self, name: LimitName) -> Option<u64> {
        let value = match name {
            LimitName::Time => self.time,
            LimitName::Silence => self.silence,
            LimitName::Cpu => self.cpu,
            LimitName::Memory => self.memory,
            LimitName::Processes => self.processes,
            LimitName::Disk => self.disk,
            LimitName::Output => self.output,
        };
        (value != 0).then_some(value)
    }

    /// 0 means no limit.
    pub fn set(&mut self, name: LimitName, value: u64) {
        let place = match name {
            LimitName::Time => &mut self.time,
            LimitName::Silence => &mut self.silence,
            LimitName::Cpu => &mut self.cpu,
            LimitName::Memory => &mut self.memory,
            LimitName::Processes => &mut self.processes,
            LimitName::Disk => &mut self.disk,
            LimitName::Output => &mut self.output,
        };
        *place = value;
    }
}

/// Values for some limits, each name once, 0 for no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitChanges(Vec<(LimitName, u64)>);

impl LimitChanges {
    /// Parses `NAME=VALUE` words separated by blanks; there may be none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut changes = Self::default();
        for word in text.split_ascii_whitespace() {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("`{word}` is not NAME=VALUE"))?;
            let name = LimitName::of_word(name).ok_or_else(|| format!("`{name}` is not a limit"))?;
            if changes.get(name).is_some() {
                return Err(format!("`{}` is given twice", name.word()));
            }
            changes.0.push((name, name.parse_value(value)?));
        }
        Ok(changes)
    }

    /// Returns 0 for no limit, `None` for an unnamed limit.
    pub fn get(&self, name: LimitName) -> Option<u64> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A `limit` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRule {
    /// Matches PKGNAME, the name without version, and the location.
    pub pattern: String,
    pub changes: LimitChanges,
}

impl LimitRule {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (pattern, changes) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let changes = LimitChanges::parse(changes)?;
        if changes.is_empty() {
            return Err(format!("it sets no limit for `{pattern}`"));
        }
        Ok(Self { pattern: pattern.to_owned(), changes })
    }
}

/// A record raises a limit above `limit_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("LIMITS asks for {}={requested}, which is more than limit_max allows", .name.word())]
pub struct LimitTooHigh {
    pub name: LimitName,
    /// 0 for no limit.
    pub requested: u64,
}

/// True if a limit is wider than another one; 0 is no limit.
pub(crate) fn is_wider(value: u64, than: u64) -> bool {
    than != 0 && (value == 0 || value > than)
}

/// A record may lower a limit, and raise it up to `most`; matching rules override it, in order.
pub(super) fn limits_of(
    base: Limits,
    record: &LimitChanges,
    most: &LimitChanges,
    rules: &[&LimitRule],
) -> Result<Limits, LimitTooHigh> {
    let mut limits = base;
    for name in LimitName::ALL {
        let ruled = rules.iter().rev().find_map(|rule| rule.changes.get(name));
        let value = match (ruled, record.get(name)) {
            (Some(value), _) => value,
            (None, Some(requested)) => {
                let now = base.get(name).unwrap_or_default();
                let is_allowed = !is_wider(requested, now)
                    || most.get(name).is_some_and(|most| !is_wider(requested, most));
                if !is_allowed {
                    return Err(LimitTooHigh { name, requested });
                }
                requested
            }
            (None, None) => continue,
        };
        limits.set(name, value);
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> LimitChanges {
        LimitChanges::parse(text).unwrap()
    }

    #[test]
    fn a_record_lowers_any_limit_and_raises_it_up_to_the_most_allowed() {
        let most = changes("time=4h memory=0");
        let of = |record: &str| limits_of(Limits::default(), &changes(record), &most, &[]);
        assert_eq!(of("time=10m").unwrap().get(LimitName::Time), Some(600));
        assert_eq!(of("time=4h").unwrap().get(LimitName::Time), Some(4 * 3600));
        assert_eq!(of("memory=1G").unwrap().get(LimitName::Memory), Some(1 << 30));
        let refused = of("time=5h").unwrap_err();
        assert_eq!(refused.to_string(), "LIMITS asks for time=18000, which is more than limit_max allows");
        assert_eq!(of("time=0").unwrap_err().name, LimitName::Time, "no limit is more than any");
        assert_eq!(of("disk=21G").unwrap_err().name, LimitName::Disk, "nothing is allowed of it");
    }

    #[test]
    fn the_last_rule_wins_name_by_name_and_over_the_record() {
        let rules =
            ["a time=2h disk=1G", "a time=3h", "a output=0"].map(|text| LimitRule::parse(text).unwrap());
        let rules: Vec<&LimitRule> = rules.iter().collect();
        let record = changes("time=9h output=1M silence=1m");
        let limits = limits_of(Limits::default(), &record, &LimitChanges::default(), &rules).unwrap();
        assert_eq!(limits.get(LimitName::Time), Some(3 * 3600));
        assert_eq!(limits.get(LimitName::Disk), Some(1 << 30));
        assert_eq!(limits.get(LimitName::Output), None);
        assert_eq!(limits.get(LimitName::Silence), Some(60));
    }

    #[test]
    fn a_rule_names_limits_and_each_once() {
        for wrong in ["big", "big time", "big tiem=1", "big time=1 time=2", "big time=x", "big processes=4K"]
        {
            assert!(LimitRule::parse(wrong).is_err(), "{wrong}");
        }
    }
}
