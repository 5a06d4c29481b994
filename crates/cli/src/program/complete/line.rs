//! The words of a command line as a shell passes them, and their meaning so far.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};

const MOST_WORDS: usize = 10_000;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct WordsOfShell {
    /// The last component of the command's name.
    pub(super) called: String,
    /// Between the command and the current word.
    pub(super) before: Vec<OsString>,
    /// The typed part; of `--option=value` only the value.
    pub(super) current: String,
    /// The option of a current word of the form `--option=value`.
    pub(super) option: Option<String>,
    /// This shell wants it before each candidate.
    pub(super) prefix: String,
}

impl WordsOfShell {
    /// Reads shell, place and words; `None` if they make no sense.
    pub(super) fn read(arguments: &[OsString], home: Option<&Path>) -> Option<Self> {
        let mut arguments = arguments.iter().take(MOST_WORDS).map(|word| word.to_string_lossy());
        let shell = arguments.next()?;
        let place: usize = arguments.next()?.parse().ok()?;
        let typed: Vec<String> = arguments.map(|word| plain(&word, home)).collect();
        let called = Path::new(typed.first()?).file_name()?.to_str()?.to_owned();
        let current = typed.get(place).cloned().unwrap_or_default();
        let mut before = typed.get(1..place).unwrap_or_default().to_vec();
        let (option, current) = if shell == "bash" {
            split_of_bash(&mut before, current)
        } else {
            let split = current.split_once('=').filter(|(option, _)| option.starts_with("--"));
            match split {
                Some((option, value)) => (Some(option.to_owned()), value.to_owned()),
                None => (None, current),
            }
        };
        let of_fish = option.as_ref().filter(|_| shell == "fish");
        let prefix = of_fish.map(|option| format!("{option}=")).unwrap_or_default();
        let before = joined(before).into_iter().map(OsString::from).collect();
        Some(Self { called, before, current, option, prefix })
    }
}

/// bash splits `--option=value` into three words: returns the option of the current word, and its value.
fn split_of_bash(before: &mut Vec<String>, current: String) -> (Option<String>, String) {
    let is_option = |word: Option<&String>| word.is_some_and(|word| word.starts_with("--"));
    if current == "=" && is_option(before.last()) {
        return (before.pop(), String::new());
    }
    if before.last().is_some_and(|word| word == "=") && is_option(before.iter().rev().nth(1)) {
        before.pop();
        return (before.pop(), current);
    }
    (None, current)
}

/// Joins the words that bash has split at `=`.
fn joined(words: Vec<String>) -> Vec<String> {
    let mut joined: Vec<String> = Vec::new();
    let mut goes_on = false;
    for word in words {
        match joined.last_mut().filter(|last| last.starts_with("--")) {
            Some(last) if word == "=" || goes_on => {
                goes_on = word == "=" && !goes_on;
                last.push_str(&word);
            }
            _ => {
                goes_on = false;
                joined.push(word);
            }
        }
    }
    joined
}

/// Removes quotes and backslashes; `~/` is the home directory.
fn plain(word: &str, home: Option<&Path>) -> String {
    let (mut plain, mut quote, mut letters) = (String::new(), None, word.chars());
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', None) => plain.extend(letters.next()),
            ('\'' | '"', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            (letter, _) => plain.push(letter),
        }
    }
    match (word.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest).display().to_string(),
        _ => plain,
    }
}

#[derive(Debug)]
pub(super) struct TypedLine {
    /// Given options by id, with their values.
    said: Vec<(String, Option<String>)>,
    waiting: Option<String>,
    operands: usize,
    /// True after `--`: only operands follow.
    only_operands: bool,
    /// The directory in the current word, with its slash.
    directory: Option<String>,
}

#[derive(Debug)]
pub(super) enum WantedWord {
    /// Options with their help.
    Option(Vec<(String, String)>),
    Value(Box<Arg>),
    /// Nothing can follow.
    None,
}

impl TypedLine {
    pub(super) fn of(command: &Command, before: &[OsString], current: &str) -> Self {
        let directory = current.rfind('/').and_then(|slash| current.get(..=slash)).map(str::to_owned);
        let mut line = Self { said: Vec::new(), waiting: None, operands: 0, only_operands: false, directory };
        for word in before {
            line.take(command, &word.to_string_lossy());
        }
        line
    }

    fn take(&mut self, command: &Command, word: &str) {
        if let Some(option) = self.waiting.take() {
            self.said.push((option, Some(word.to_owned())));
        } else if self.only_operands || !word.starts_with('-') || word == "-" {
            self.operands += 1;
        } else if word == "--" {
            self.only_operands = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) =
                long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
            if let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(name)) {
                self.say(arg, value.map(str::to_owned));
            }
        } else {
            self.take_letters(command, word.get(1..).unwrap_or_default());
        }
    }

    /// Reads clustered letters; the text behind a letter that takes a value is its value.
    fn take_letters(&mut self, command: &Command, letters: &str) {
        for (at, letter) in letters.char_indices() {
            let Some(arg) = command.get_arguments().find(|arg| arg.get_short() == Some(letter)) else {
                return;
            };
            let rest = letters.get(at + letter.len_utf8()..).unwrap_or_default();
            let value = (arg.get_action().takes_values() && !rest.is_empty()).then(|| rest.to_owned());
            self.say(arg, value);
            if arg.get_action().takes_values() {
                return;
            }
        }
    }

    fn say(&mut self, arg: &Arg, value: Option<String>) {
        let id = arg.get_id().to_string();
        if value.is_none() && arg.get_action().takes_values() {
            self.waiting = Some(id);
        } else {
            self.said.push((id, value));
        }
    }

    pub(super) fn value_of(&self, id: &str) -> Option<&str> {
        self.said.iter().rev().find(|(said, _)| said == id).and_then(|(_, value)| value.as_deref())
    }

    /// Returns the directory that the current word begins with, up to its last slash.
    pub(super) fn current_directory(&self) -> Option<&str> {
        self.directory.as_deref()
    }

    pub(super) fn root(&self) -> Option<PathBuf> {
        self.value_of("root").map(PathBuf::from)
    }

    /// Returns the required kind of the current word.
    pub(super) fn wanted(&self, command: &Command, words: &WordsOfShell) -> WantedWord {
        let value =
            |arg: Option<&Arg>| arg.map_or(WantedWord::None, |arg| WantedWord::Value(Box::new(arg.clone())));
        if let Some(option) = &words.option {
            let name = option.trim_start_matches('-');
            return value(command.get_arguments().find(|arg| arg.get_long() == Some(name)));
        }
        if let Some(id) = &self.waiting {
            return value(command.get_arguments().find(|arg| arg.get_id() == id.as_str()));
        }
        if words.current.starts_with('-') && !self.only_operands {
            return WantedWord::Option(options(command));
        }
        let operands: Vec<&Arg> = command.get_positionals().collect();
        value(operands.get(self.operands).or(operands.last()).copied())
    }
}

fn options(command: &Command) -> Vec<(String, String)> {
    let shown = command.get_arguments().filter(|arg| !arg.is_positional() && !arg.is_hide_set());
    let mut options = Vec::new();
    for arg in shown {
        let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let about = about.split(['\n', ';', ':']).next().unwrap_or_default().to_owned();
        let long = arg.get_long().map(|long| format!("--{long}"));
        let short = arg.get_short().map(|short| format!("-{short}"));
        options.extend(long.into_iter().chain(short).map(|option| (option, about.clone())));
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(shell: &str, place: usize, words: &[&str]) -> WordsOfShell {
        let head = [OsString::from(shell), place.to_string().into()];
        let arguments: Vec<OsString> = head.into_iter().chain(words.iter().map(OsString::from)).collect();
        WordsOfShell::read(&arguments, Some(Path::new("/home/me"))).unwrap()
    }

    #[test]
    fn an_option_with_its_value_is_one_word_to_zsh_and_three_to_bash() {
        let bash = read("bash", 4, &["patchadm", "list", "--color", "=", "al"]);
        assert_eq!((bash.option.as_deref(), bash.current.as_str()), (Some("--color"), "al"));
        assert_eq!(bash.before, ["list"]);
        let bash = read("bash", 3, &["patchadm", "list", "--color", "="]);
        assert_eq!((bash.option.as_deref(), bash.current.as_str()), (Some("--color"), ""));
        let bash = read("bash", 5, &["patchadm", "list", "--color", "=", "never", "-"]);
        assert_eq!(bash.before, ["list", "--color=never"]);
        let fish = read("fish", 2, &["patchadm", "list", "--color=al"]);
        assert_eq!((fish.option.as_deref(), fish.prefix.as_str()), (Some("--color"), "--color="));
        assert_eq!(read("zsh", 2, &["patchadm", "list", "--color=al"]).prefix, "");
    }

    #[test]
    fn quotes_and_the_home_directory_are_understood() {
        let words = read("bash", 4, &["/usr/bin/patchadm", "-R", "~/a", "show", "'10\"5"]);
        assert_eq!((words.called.as_str(), words.current.as_str()), ("patchadm", "10\"5"));
        assert_eq!(words.before, ["-R", "/home/me/a", "show"]);
        assert_eq!(read("zsh", 1, &["patchadm", r"a\ b"]).current, "a b");
    }
}
