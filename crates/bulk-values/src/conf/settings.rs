//! Names, defaults and explanations of `bulk.conf`; the text of a fresh file, and the lines of a file.

use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::value;

pub(super) struct SettingName {
    pub(super) name: &'static str,
    is_repeatable: bool,
    /// `None` if there is no default, or it depends on the machine.
    pub(super) default: Option<&'static str>,
    form: &'static str,
    pub(super) text: &'static str,
}

impl SettingName {
    /// The text after `NAME=` in a fresh file: the default, or the form of a value.
    pub(super) fn shown(&self) -> &'static str {
        self.default.unwrap_or(self.form)
    }
}

/// Visible in builds if the base is the host.
const HOST: &str = "/usr /bin /sbin /lib /lib32 /lib64 /libx32 /etc/alternatives /etc/ld.so.cache \
                               /etc/ld.so.conf /etc/ld.so.conf.d /etc/ssl";

const fn with(name: &'static str, default: &'static str, text: &'static str) -> SettingName {
    SettingName { name, is_repeatable: false, default: Some(default), form: "", text }
}

const fn without(name: &'static str, form: &'static str, text: &'static str) -> SettingName {
    SettingName { name, is_repeatable: false, default: None, form, text }
}

const fn repeatable(name: &'static str, form: &'static str, text: &'static str) -> SettingName {
    SettingName { name, is_repeatable: true, default: None, form, text }
}

pub(super) const NAMES: &[SettingName] = &[
    without("tree", "PATH", "The tree of recipes; it must be given"),
    without(
        "driver",
        "PATH",
        "The programs that know the tree: WORK/driver if it exists, else the tree itself",
    ),
    without("list", "FILE", "All packages that are wanted, a name a line; without it every location"),
    with("pool", "pool", "The results; may be shared by several working directories"),
    with("distfiles", "distfiles", "The sources that were fetched; may be shared, too"),
    repeatable("file_source", "PATH", "A directory of the machine from which `file:` sources may come"),
    repeatable(
        "local_source",
        "HOST",
        "A host from which sources may come although its address is one of the machine or its link",
    ),
    with("base", "host", "The system that builds see: `host`, or a directory with a whole system"),
    without("base_id", "COMMAND", "A command that prints the state of the base"),
    with("host", HOST, "With base=host: what of the host builds see, read-only, if it exists"),
    repeatable(
        "mount",
        "[rw:]SRC[:DST]",
        "What else of the machine builds see; with rw: they may write there",
    ),
    with("build_as", "user", "The user in a build: `user`, or `root` (of the sandbox only)"),
    without("build_user", "NAME", "The user that fetches sources if the caller is root"),
    without(
        "ids",
        "START[:COUNT]",
        "If the caller is root: the ids that all users of a sandbox have on this machine, and nobody else has",
    ),
    with("network", "no", "The network of builds: `no`, `yes`, or patterns of packages that get it"),
    repeatable("env", "NAME=VALUE", "A variable for scan, build and fetch"),
    repeatable(
        "slot",
        "NAME COUNT [cores=N] [answer=TIME] [cancel=COMMAND] [PREFIX...]",
        "Where tasks run, and how many at a time; without one on this machine, one for two cores",
    ),
    without("cores", "N", "The cores of this machine that tasks may use; without it all"),
    without(
        "memory_budget",
        "SIZE",
        "The memory that all tasks of this machine may use together; without it no limit",
    ),
    without("build_dir", "PATH", "Where tasks work, local to each machine; without it WORK/build"),
    with(
        "installed_limit",
        "10G",
        "The disk space for installed dependencies that are kept for the next build",
    ),
    with("wait_for_slots", "10m", "How long a run waits where no slot works; 0 is no limit"),
    with("wait_for_room", "30s", "The same where the build_dir of every slot is full"),
    with("time", "1h", "The longest build"),
    with("silence", "20m", "The longest time without output of a build"),
    with("cpu", "1h", "The most CPU time of one process"),
    with("memory", "0", "The most memory of a build; 0 is no limit"),
    with("processes", "4096", "The most processes of a build"),
    with("disk", "20G", "The most disk space of a build"),
    with("output", "64M", "The longest log of a build"),
    repeatable(
        "limit",
        "PATTERN NAME=VALUE...",
        "Limits for some packages; the last line that fits wins, name by name",
    ),
    with("scan_time", "60s", "The longest call of scan, and of fetch"),
    with(
        "key_depends",
        "scan",
        "The files that results depend on: `scan`, those a scan read, or `location`, the recipe's own",
    ),
    with(
        "check",
        "install",
        "The check of results: `none`, `install` and remove, or `strict`, which leaves nothing over",
    ),
    without("limit_max", "NAME=VALUE...", "How far records may raise limits; without it not at all"),
    with("restricted", "no", "Whether restricted packages get patches, too"),
    without("required", "PATTERN...", "Packages without which there is no new set"),
    without("minimum", "N or N%", "The least packages of a new set: a number, or a share of the set before"),
    with(
        "set_on_failure",
        "old",
        "What a set has of a package that failed: the `old` one, `without` it, or `none`: no set",
    ),
    without("patch_ids", "FILE", "The ids of patches, for delta"),
    without("depot", "PATH", "Where patches are published; a run then makes them"),
    without("key", "FILE", "The secret key that signs patches; a run then signs and publishes them"),
    without("password_file", "FILE", "The password of the key"),
    without("report_to", "ADDRESS...", "Who gets the report by mail"),
    without("report_from", "ADDRESS", "The sender of the report"),
    with("report_subject", "bulk build", "What the subject of the report begins with"),
    without("report_url", "URL", "The address of the directory of a run, for the report"),
    without(
        "report_command",
        "COMMAND",
        "A command that gets the mail on its standard input, such as sendmail -t",
    ),
    without("report_copy", "PATH", "A directory that gets a copy of reports and of the logs of what failed"),
    without(
        "upload_command",
        "COMMAND",
        "A command that uploads the packages of each new set, called in the directory that has them",
    ),
    with("keep_failed", "0", "How many work directories of failed builds are kept, for enter --failed"),
    without("poll", "COMMAND", "A command that prints the state of the tree"),
    with("keep_runs", "10", "The runs that prune keeps"),
];

/// Minimum similarity for suggesting a name, as in clap.
const ALIKE: f64 = 0.7;

pub(super) fn find(name: &str) -> Option<&'static SettingName> {
    NAMES.iter().find(|known| known.name == name)
}

fn nearest(wrong: &str) -> Option<&'static str> {
    let alike = NAMES.iter().map(|known| (strsim::jaro(wrong, known.name), known.name));
    let alike = alike.filter(|(measure, _)| *measure > ALIKE);
    alike.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

const HEAD: &str = "\
# The configuration of a bulk build: NAME=VALUE lines. Lines with # in front are comments; those below show the defaults.
# slot, limit, mount and env may be repeated. Paths are absolute, or below this directory.
# Sizes: bytes, or with K, M, G, T. Times: seconds, or with s, m, h. As a limit, 0 is no limit.
";

/// Returns a fresh `bulk.conf` with these settings, all others commented out. The caller has to parse it, to reject
/// values that cannot stand in a file.
pub(super) fn fresh_text(settings: &[(&str, &str)]) -> String {
    let mut text = HEAD.to_owned();
    for name in NAMES {
        let set = settings.iter().find(|(set, _)| *set == name.name);
        let (mark, value) = set.map_or(("#", name.shown()), |(_, value)| ("", *value));
        // Writing to a string does not fail.
        let _ = write!(text, "\n# {}.\n{mark}{}={value}\n", name.text, name.name);
    }
    text
}

const LONGEST_FILE: usize = 1 << 20;

pub(super) struct SettingLines<'a> {
    lines: Vec<SettingLine<'a>>,
    work: &'a Path,
}

struct SettingLine<'a> {
    number: usize,
    name: &'static SettingName,
    value: &'a str,
}

impl<'a> SettingLines<'a> {
    /// Base of relative paths.
    pub(super) fn split(bytes: &'a [u8], work: &'a Path) -> Result<Self, ConfigurationError> {
        if bytes.len() > LONGEST_FILE {
            return Err(ConfigurationError::of_all(format!("it is longer than {LONGEST_FILE} bytes")));
        }
        let mut all = Self { lines: Vec::new(), work };
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let number = index + 1;
            let line =
                std::str::from_utf8(line).map_err(|_| ConfigurationError::at(number, "it is not UTF-8"))?;
            let line = line.trim_matches([' ', '\t']);
            if !line.is_empty() && !line.starts_with('#') {
                all.add(number, line).map_err(|reason| ConfigurationError::at(number, reason))?;
            }
        }
        Ok(all)
    }

    fn add(&mut self, number: usize, line: &'a str) -> Result<(), String> {
        if line.contains(|letter: char| letter.is_control() && letter != '\t') {
            return Err("it has a control character".to_owned());
        }
        let (name, value) = line.split_once('=').ok_or("it is not NAME=VALUE")?;
        let (name, value) = (name.trim_end_matches([' ', '\t']), value.trim_start_matches([' ', '\t']));
        let Some(name) = find(name) else {
            let nearest = nearest(name).map(|near| format!("; did you mean `{near}`?"));
            return Err(format!("there is no setting `{name}`{}", nearest.unwrap_or_default()));
        };
        if value.is_empty() {
            return Err(format!("{} has no value", name.name));
        }
        let before = self.lines.iter().find(|line| line.name.name == name.name && !name.is_repeatable);
        if let Some(before) = before {
            return Err(format!("{} is set in line {}, too", name.name, before.number));
        }
        self.lines.push(SettingLine { number, name, value });
        Ok(())
    }

    /// Lines of a repeatable name with their numbers.
    pub(super) fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = (usize, &'a str)> + 's {
        self.lines.iter().filter(move |line| line.name.name == name).map(|line| (line.number, line.value))
    }

    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.all(name).next().map(|(number, _)| number)
    }

    pub(super) fn each<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigurationError> {
        self.all(name).map(|(number, value)| at_line(number, name, read(value))).collect()
    }

    pub(super) fn some<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigurationError> {
        let line = self.all(name).next();
        line.map(|(number, value)| at_line(number, name, read(value))).transpose()
    }

    pub(super) fn one<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigurationError> {
        if let Some(value) = self.some(name, &read)? {
            return Ok(value);
        }
        let default = find(name).and_then(|name| name.default).unwrap_or_default();
        read(default).map_err(|reason| ConfigurationError::of_all(format!("{name} is not set: {reason}")))
    }

    pub(super) fn some_path(&self, name: &str) -> Result<Option<PathBuf>, ConfigurationError> {
        self.some(name, |text| value::path(text, self.work))
    }

    pub(super) fn path(&self, name: &str) -> Result<PathBuf, ConfigurationError> {
        self.one(name, |text| value::path(text, self.work))
    }
}

fn at_line<T>(number: usize, name: &str, value: Result<T, String>) -> Result<T, ConfigurationError> {
    value.map_err(|reason| ConfigurationError::at(number, format!("{name}: {reason}")))
}

/// An invalid `bulk.conf`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigurationError {
    /// Counted from 1; `None` if something is missing.
    pub line: Option<usize>,
    /// Setting and fault, in one line.
    pub reason: String,
}

impl ConfigurationError {
    pub(super) fn at(line: usize, reason: impl Into<String>) -> Self {
        Self { line: Some(line), reason: without_passwords(&reason.into()) }
    }

    pub(super) fn of_all(reason: impl Into<String>) -> Self {
        Self { line: None, reason: without_passwords(&reason.into()) }
    }
}

/// Hides passwords in quoted values: the text before the last `@` of each word with a `:`.
fn without_passwords(reason: &str) -> String {
    let shown = |word: &str| match word.rsplit_once('@') {
        Some((before, host)) if before.contains(':') => {
            let quote = if before.starts_with('`') { "`" } else { "" };
            format!("{quote}...@{host}")
        }
        _ => word.to_owned(),
    };
    reason.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "line {line}: {}", self.reason),
            None => out.write_str(&self.reason),
        }
    }
}
