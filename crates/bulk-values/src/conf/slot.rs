//! Slots: command prefixes with placeholders that say where tasks run.

use std::time::Duration;

use super::value;

const MOST_COMMANDS: u32 = 4096;
const MOST_CORES: u32 = 1 << 16;
const LONGEST_NAME: usize = 64;
const MINUTES_BESIDE: u64 = 5;
/// Longer silence behind a prefix means that the machine or connection failed.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// On this machine an exit is noticed at once, so a silent process only waits for a processor.
const LONGEST_SILENCE_HERE: Duration = Duration::from_secs(600);
/// Signs of life within the maximum silence, at most `MOST_BETWEEN_SIGNS` apart.
const SIGNS: u32 = 6;
const MOST_BETWEEN_SIGNS: Duration = Duration::from_secs(5);

/// This machine, or whatever a command prefix reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Matches `[A-Za-z0-9][A-Za-z0-9._-]*`.
    pub name: String,
    /// Parallel tasks, at least 1.
    pub count: u32,
    /// Cores behind the prefix, for all its tasks together.
    pub cores: Option<u32>,
    /// Maximum silence set by `answer`; zero for no limit.
    answer: Option<Duration>,
    /// Cancels a job left at the engine; has placeholders.
    cancel: Vec<String>,
    prefix: Vec<String>,
}

/// Values of placeholders.
#[derive(Clone, Copy, Debug)]
pub struct TaskPlaceholders<'a> {
    /// For `{cpus}`.
    pub cpus: u32,
    /// Bytes; `{mem}` is in MiB, rounded up.
    pub memory: Option<u64>,
    /// Seconds; `{minutes}` is 5 minutes more, rounded up.
    pub time: Option<u64>,
    pub package: &'a str,
    /// Unique among all commands of all runs.
    pub job: &'a str,
}

/// A path that a shell behind a prefix might interpret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("slot {slot}: the path of the program, `{program}`, cannot be passed to it: {rule}")]
pub struct ProgramPathError {
    pub slot: String,
    pub program: String,
    rule: &'static str,
}

impl Slot {
    pub(super) fn local(count: u32) -> Self {
        Self {
            name: "local".to_owned(),
            count: count.max(1),
            cores: None,
            answer: None,
            cancel: Vec::new(),
            prefix: Vec::new(),
        }
    }

    /// Parses `NAME COUNT [cores=N] [answer=TIME] [cancel=COMMAND] [PREFIX…]`; options may have any order.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut words = value::command(text)?.into_iter().peekable();
        let name = words.next().filter(|name| is_name(name));
        let name = name.ok_or("its name is not letters, digits and ._- with a letter or digit first")?;
        let count = words.next().ok_or("its COUNT is missing")?;
        let count = value::count(&count, 1, MOST_COMMANDS).map_err(|reason| format!("COUNT: {reason}"))?;
        let (mut cores, mut answer, mut cancel) = (None, None, None);
        while let Some(option) = words.next_if(|word| is_option(word)) {
            let (name, value) = option.split_once('=').unwrap_or_default();
            let is_second = match name {
                "cores" => cores.replace(value::count(value, 1, MOST_CORES)?).is_some(),
                "answer" => {
                    let time = value::time(value).map_err(|reason| format!("answer: {reason}"))?;
                    answer.replace(Duration::from_secs(time)).is_some()
                }
                _ => cancel.replace(cancel_command(value)?).is_some(),
            };
            if is_second {
                return Err(format!("{name} is set twice"));
            }
        }
        let cancel = cancel.unwrap_or_default();
        let prefix: Vec<String> = words.collect();
        if prefix.first().is_some_and(String::is_empty) {
            return Err("the first word of its prefix is empty".to_owned());
        }
        for word in prefix.iter().chain(&cancel).flat_map(|word| placeholders(word)) {
            if !["cpus", "mem", "minutes", "package", "job", "slot"].contains(&word) {
                return Err(format!(
                    "`{{{word}}}` is not one of {{cpus}} {{mem}} {{minutes}} {{package}} {{job}} {{slot}}"
                ));
            }
        }
        let names_job =
            |words: &[String]| words.iter().any(|word| placeholders(word).any(|name| name == "job"));
        let is_named = names_job(&cancel) && names_job(&prefix);
        if !cancel.is_empty() && !is_named {
            return Err(
                "cancel: it and the prefix must name {job}: otherwise it would cancel jobs of others"
                    .to_owned(),
            );
        }
        Ok(Self { name, count, cores, answer, cancel, prefix })
    }

    /// True for tasks on this machine without a prefix.
    pub fn is_local(&self) -> bool {
        self.prefix.is_empty()
    }

    /// A process that is silent for longer is given up; `None` for no limit.
    pub fn longest_silence(&self) -> Option<Duration> {
        let default = if self.is_local() { LONGEST_SILENCE_HERE } else { LONGEST_SILENCE };
        Some(self.answer.unwrap_or(default)).filter(|limit| !limit.is_zero())
    }

    /// Interval of signs of life.
    pub fn between_signs(&self) -> Duration {
        self.longest_silence().map_or(MOST_BETWEEN_SIGNS, |limit| (limit / SIGNS).min(MOST_BETWEEN_SIGNS))
    }

    pub(super) fn has_placeholder(&self, name: &str) -> bool {
        self.prefix.iter().any(|word| placeholders(word).any(|found| found == name))
    }

    /// Checks a path for a prefix such as ssh, which hands its words to a shell: no blanks, nothing that it interprets.
    pub fn check_program(&self, program: &str) -> Result<(), ProgramPathError> {
        let error =
            |rule| Err(ProgramPathError { slot: self.name.clone(), program: program.to_owned(), rule });
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._+-@%,:=".contains(&byte);
        if !program.starts_with('/') {
            return error("it is not absolute");
        }
        if !self.is_local() && !program.bytes().all(is_plain) {
            return error("only letters, digits and /._+-@%,:= need no quoting in any shell");
        }
        Ok(())
    }

    /// Empty for this machine.
    pub fn prefix_for(&self, task: &TaskPlaceholders<'_>) -> Vec<String> {
        self.prefix.iter().map(|word| self.filled(word, task)).collect()
    }

    /// Empty if there is none.
    pub fn cancel_for(&self, task: &TaskPlaceholders<'_>) -> Vec<String> {
        self.cancel.iter().map(|word| self.filled(word, task)).collect()
    }

    fn filled(&self, word: &str, task: &TaskPlaceholders<'_>) -> String {
        let mut out = String::with_capacity(word.len());
        let mut rest = word;
        while let Some((before, name, after)) = next_placeholder(rest) {
            out.push_str(before);
            match name {
                "cpus" => out.push_str(&task.cpus.to_string()),
                // Without a limit there is no value; the configuration was rejected then.
                "mem" => out.push_str(&task.memory.unwrap_or_default().div_ceil(1 << 20).to_string()),
                "minutes" => {
                    let minutes = task.time.unwrap_or_default().div_ceil(60).saturating_add(MINUTES_BESIDE);
                    out.push_str(&minutes.to_string());
                }
                "package" => out.push_str(task.package),
                "job" => out.push_str(task.job),
                _ => out.push_str(&self.name),
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

fn is_option(word: &str) -> bool {
    ["cores=", "answer=", "cancel="].iter().any(|option| word.starts_with(option))
}

fn cancel_command(text: &str) -> Result<Vec<String>, String> {
    let words = value::command(text).map_err(|reason| format!("cancel: {reason}"))?;
    if words.first().is_none_or(String::is_empty) {
        return Err("cancel: it has no command".to_owned());
    }
    Ok(words)
}

fn is_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric();
    name.len() <= LONGEST_NAME
        && name.bytes().next().is_some_and(is_word)
        && name.bytes().all(|byte| is_word(byte) || b"._-".contains(&byte))
}

fn placeholders(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let (_, name, after) = next_placeholder(rest)?;
        rest = after;
        Some(name)
    })
}

/// Splits a word into text before its first placeholder, name, and text after. Other braces are text.
fn next_placeholder(word: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + word.get(from..)?.find('{')?;
        let inside = word.get(open + 1..)?;
        let length = inside.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        let (name, after) = inside.split_at_checked(length)?;
        if let Some(after) = after.strip_prefix('}').filter(|_| length > 0) {
            return Some((word.get(..open)?, name, after));
        }
        from = open + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskPlaceholders<'_> = TaskPlaceholders {
        cpus: 4,
        memory: Some((3 << 30) + 1),
        time: Some(3601),
        package: "curl-8.1",
        job: "curl-8.1.7.3.0f",
    };

    fn words(slot: &str) -> Vec<String> {
        Slot::parse(slot).unwrap().prefix_for(&TASK)
    }

    #[test]
    fn the_placeholders_of_a_queue_are_filled() {
        let slot = "slurm 16 cores=64 srun -Q -n1 -c{cpus} --mem={mem}M -t{minutes} -J{package} {slot}";
        let expected = ["srun", "-Q", "-n1", "-c4", "--mem=3073M", "-t66", "-Jcurl-8.1", "slurm"];
        assert_eq!(words(slot), expected);
        let slot = Slot::parse(slot).unwrap();
        assert_eq!((slot.count, slot.cores, slot.is_local()), (16, Some(64), false));
        assert!(slot.has_placeholder("mem"));
    }

    #[test]
    fn what_a_command_leaves_at_its_engine_is_cancelled_by_its_name() {
        let slot = Slot::parse("slurm 2 cores=4 cancel='scancel -Q --name={job}' srun -J{job} -n1").unwrap();
        assert_eq!(slot.prefix_for(&TASK), ["srun", "-Jcurl-8.1.7.3.0f", "-n1"]);
        assert_eq!(slot.cancel_for(&TASK), ["scancel", "-Q", "--name=curl-8.1.7.3.0f"]);
        assert_eq!(Slot::parse("b1 1 ssh b1").unwrap().cancel_for(&TASK), Vec::<String>::new());
        for wrong in
            ["cancel='scancel -u me' srun -J{job}", "cancel='scancel {job}' srun", "cancel= srun {job}"]
        {
            let reason = Slot::parse(&format!("slurm 2 {wrong}")).unwrap_err();
            assert!(reason.starts_with("cancel: it "), "{reason}");
        }
    }

    #[test]
    fn a_slot_is_given_up_after_the_silence_that_it_may_have() {
        let silence = |slot: &str| Slot::parse(slot).unwrap().longest_silence().map(|limit| limit.as_secs());
        assert_eq!(silence("b1 4 answer=2m ssh b1"), Some(120));
        assert_eq!(silence("b1 4 cancel='scancel {job}' answer=90 cores=8 srun -J{job}"), Some(90));
        assert_eq!(silence("local 2 answer=0"), None, "0 is no limit");
        assert!(silence("local 2") > silence("b1 2 ssh b1"), "here the end of a process is seen at once");
        for slot in ["local 2", "local 2 answer=0", "b1 2 ssh b1", "b1 1 answer=1 ssh b1"] {
            let slot = Slot::parse(slot).unwrap();
            let limit = slot.longest_silence().unwrap_or(Duration::MAX);
            assert!(
                slot.between_signs() <= MOST_BETWEEN_SIGNS && slot.between_signs() * 3 <= limit,
                "{slot:?}"
            );
        }
        assert_eq!(
            Slot::parse("b1 1 answer=soon ssh b1").unwrap_err(),
            "answer: `soon` is not a time: a number of seconds, or with s, m, h"
        );
        assert_eq!(Slot::parse("b1 1 answer=1 answer=2 ssh b1").unwrap_err(), "answer is set twice");
    }

    #[test]
    fn braces_around_no_word_are_text() {
        assert_eq!(words("a 1 x {} {a,b} {{cpus}} '{ mem }' {"), ["x", "{}", "{a,b}", "{4}", "{ mem }", "{"]);
    }

    #[test]
    fn a_slot_without_prefix_is_this_machine() {
        let slot = Slot::parse("local 2 cores=8").unwrap();
        assert!(slot.is_local());
        assert_eq!(slot.prefix_for(&TASK), Vec::<String>::new());
    }

    #[test]
    fn a_wrong_slot_is_refused_with_its_reason() {
        let reason = |text: &str| Slot::parse(text).unwrap_err();
        assert_eq!(
            reason("a 1 srun {memory}"),
            "`{memory}` is not one of {cpus} {mem} {minutes} {package} {job} {slot}"
        );
        assert_eq!(reason("a"), "its COUNT is missing");
        assert_eq!(reason("a 0"), "COUNT: `0` is not a number from 1 to 4096");
        assert_eq!(reason("a 1 'ssh"), "a quote is not closed");
        assert!(reason("-a 1").starts_with("its name"), "a name cannot look like an option");
        assert!(Slot::parse("a 1 cores=0 ssh b").is_err());
        assert!(Slot::parse("a 1 ''").is_err());
    }

    #[test]
    fn a_program_is_given_to_a_prefix_only_if_no_shell_changes_it() {
        let [here, there] = ["local 1", "b1 1 ssh b1"].map(|slot| Slot::parse(slot).unwrap());
        assert_eq!(here.check_program("/opt/my tools/patchadm"), Ok(()));
        assert_eq!(there.check_program("/usr/bin/patchadm"), Ok(()));
        for wrong in ["/opt/my tools/patchadm", "/opt/$x/patchadm", "/opt/a;b", "patchadm"] {
            assert!(there.check_program(wrong).is_err(), "{wrong}");
        }
        assert!(here.check_program("patchadm").is_err());
    }
}
