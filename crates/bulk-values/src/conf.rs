//! `bulk.conf`, the configuration of a bulk build: parsing, and the text of a fresh file.
//!
//! `NAME=VALUE` lines; `#` begins a comment. Only `slot`, `limit`, `mount` and `env` may be repeated. The caller checks
//! everything that depends on the machine: cores, existing paths, its own user.

mod ids;
mod limits;
mod slot;
mod value;

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use ids::IdRange;
pub(crate) use limits::is_wider;
pub use limits::{LimitChanges, LimitName, LimitRule, LimitTooHigh, Limits};
pub use slot::{ProgramPathError, Slot, TaskPlaceholders};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportSettings {
    pub to: Vec<String>,
    pub from: Option<String>,
    pub subject: String,
    pub url: Option<String>,
    /// Gets the mail on its standard input.
    pub command: Option<Vec<String>>,
    pub copy: Option<PathBuf>,
}

/// Time that a run waits if no slot works; `None` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotPatience {
    pub for_slots: Option<Duration>,
    /// If the disks of all slots are full, because nobody is expected to make room.
    pub for_room: Option<Duration>,
}

/// A parsed `bulk.conf`. All paths are absolute if that of WORK is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    pub tree: PathBuf,
    /// `None`: `driver` in WORK if it exists, else the tree.
    pub driver: Option<PathBuf>,
    /// File with requested names; `None`: all.
    pub list: Option<PathBuf>,
    pub pool: PathBuf,
    pub distfiles: PathBuf,
    /// Directories for `file:` sources.
    pub file_sources: Vec<PathBuf>,
    /// The hosts of this machine or its link from which sources may come.
    pub local_sources: Vec<String>,
    /// The system that builds see.
    pub base: BuildBase,
    /// The output of this command identifies the base.
    pub base_id: Option<Vec<String>>,
    pub mounts: Vec<SandboxMount>,
    /// User id of a build.
    pub build_as: BuildIdentity,
    /// Fetches sources if the caller is root.
    pub build_user: Option<String>,
    /// Ids of root's sandboxes; `None`: the subordinate ids of `build_user`.
    pub ids: Option<IdRange>,
    pub network: BuildNetwork,
    /// For `scan`, `build` and `fetch`, each name once, in the order of lines.
    pub env: Vec<(String, String)>,
    /// As configured; see [`Configuration::slots_on`].
    slots: Vec<Slot>,
    /// Cores of this machine for tasks; `None`: all.
    pub cores: Option<u32>,
    /// Bytes for all tasks of this machine; `None`: no limit.
    pub memory_budget: Option<u64>,
    pub patience: SlotPatience,
    pub build_dir: PathBuf,
    /// Bytes of installed sets to keep; `None`: no limit.
    pub installed_limit: Option<u64>,
    pub limits: Limits,
    /// In the order of lines.
    pub limit_rules: Vec<LimitRule>,
    /// Records may raise their limits up to these.
    pub limit_max: LimitChanges,
    /// Seconds for a call of `scan`; `None`: no limit.
    pub scan_time: Option<u64>,
    /// Files that keys depend on.
    pub key_depends: KeyDepends,
    /// Check of results.
    pub check: CheckLevel,
    /// Make patches of restricted packages as well.
    pub restricted: bool,
    /// Each pattern must match a package of a set.
    pub required: Vec<String>,
    /// Minimum size of a set.
    pub minimum: Option<SetMinimum>,
    /// Replaces a package that was not built.
    pub set_on_failure: SetOnFailure,
    /// File with ids of patches.
    pub patch_ids: Option<PathBuf>,
    pub depot: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// File with the password of the key.
    pub password_file: Option<PathBuf>,
    pub report: ReportSettings,
    /// Uploads the packages of a set.
    pub upload_command: Option<Vec<String>>,
    /// Number of kept work directories of failed builds.
    pub keep_failed: u32,
    pub poll: Option<Vec<String>>,
    /// Runs that prune keeps.
    pub keep_runs: u32,
}

impl Configuration {
    /// Relative paths are below `work`, the directory of `bulk.conf`.
    pub fn parse(bytes: &[u8], work: &Path) -> Result<Self, ConfigurationError> {
        let lines = SettingLines::split(bytes, work)?;
        if lines.number("tree").is_none() {
            return Err(ConfigurationError::of_all("tree is not set"));
        }
        let configuration = Self {
            tree: lines.path("tree")?,
            driver: lines.some_path("driver")?,
            list: lines.some_path("list")?,
            pool: lines.path("pool")?,
            distfiles: lines.path("distfiles")?,
            file_sources: lines.each("file_source", value::absolute_path)?,
            local_sources: lines.each("local_source", value::host)?,
            base: read_base(&lines)?,
            base_id: lines.some("base_id", value::program)?,
            mounts: lines.each("mount", SandboxMount::parse)?,
            build_as: lines.one("build_as", |text| value::word(text, BuildIdentity::WORDS))?,
            build_user: lines.some("build_user", user_name)?,
            ids: lines.some("ids", IdRange::parse)?,
            network: lines.one("network", |text| Ok(network(text)))?,
            env: read_env(&lines)?,
            slots: read_slots(&lines)?,
            cores: lines.some("cores", |text| value::count(text, 1, 1 << 16))?,
            memory_budget: lines.some("memory_budget", value::size)?.and_then(limit),
            patience: read_patience(&lines)?,
            build_dir: lines.some_path("build_dir")?.unwrap_or_else(|| work.join("build")),
            installed_limit: limit(lines.one("installed_limit", value::size)?),
            limits: read_limits(&lines)?,
            limit_rules: lines.each("limit", LimitRule::parse)?,
            limit_max: lines.some("limit_max", LimitChanges::parse)?.unwrap_or_default(),
            scan_time: limit(lines.one("scan_time", value::time)?),
            key_depends: lines.one("key_depends", |text| value::word(text, KeyDepends::WORDS))?,
            check: lines.one("check", |text| value::word(text, CheckLevel::WORDS))?,
            restricted: lines.one("restricted", |text| value::word(text, &[("no", false), ("yes", true)]))?,
            required: lines.some("required", |text| Ok(value::list(text)))?.unwrap_or_default(),
            minimum: lines.some("minimum", set_minimum)?,
            set_on_failure: lines.one("set_on_failure", |text| value::word(text, SetOnFailure::WORDS))?,
            patch_ids: lines.some_path("patch_ids")?,
            depot: lines.some_path("depot")?,
            key: lines.some_path("key")?,
            password_file: lines.some_path("password_file")?,
            report: read_report(&lines)?,
            upload_command: lines.some("upload_command", value::program)?,
            keep_failed: lines.one("keep_failed", |text| value::count(text, 0, 1_000))?,
            poll: lines.some("poll", value::program)?,
            keep_runs: lines.one("keep_runs", |text| value::count(text, 1, u32::MAX))?,
        };
        configuration.check_slots(&lines)?;
        if let Some(nested) = configuration.find_nested(work, Path::to_owned) {
            let line = lines.number(nested.inner).max(lines.number(nested.outer));
            return Err(ConfigurationError { line, reason: nested.to_string() });
        }
        Ok(configuration)
    }

    /// Returns a fresh `bulk.conf`: each setting with an explanation and its default, commented out unless given here.
    pub fn fresh_text(
        work: &Path,
        tree: &str,
        base: Option<&str>,
        ids: Option<IdRange>,
    ) -> Result<String, ConfigurationError> {
        let ids = ids.map(|ids| ids.to_string());
        let settings = [("tree", Some(tree)), ("base", base), ("ids", ids.as_deref())];
        let settings: Vec<_> =
            settings.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        for (name, value) in &settings {
            if value.contains(char::is_control) || value.trim_matches([' ', '\t']) != *value {
                let value = value.escape_debug();
                return Err(ConfigurationError::of_all(format!(
                    "{name}: `{value}` is not allowed in a line"
                )));
            }
        }
        let text = fresh_text(&settings);
        Self::parse(text.as_bytes(), work)?;
        Ok(text)
    }

    /// Returns the configured slots, or this machine with a task for every two cores. `jobs` sets tasks of the local
    /// slot.
    pub fn slots_on(&self, machine_cores: u32, jobs: Option<u32>) -> Vec<Slot> {
        let mut slots = self.slots.clone();
        if slots.is_empty() {
            slots.push(Slot::local(self.cores.unwrap_or(machine_cores) / 2));
        }
        for slot in slots.iter_mut().filter(|slot| slot.is_local()) {
            slot.count = jobs.unwrap_or(slot.count).max(1);
        }
        slots
    }

    /// At least 1; see [`Configuration::slots_on`].
    pub fn local_tasks_on(&self, machine_cores: u32, jobs: Option<u32>) -> u32 {
        let slots = self.slots_on(machine_cores, jobs);
        slots.iter().filter(|slot| slot.is_local()).map(|slot| slot.count).max().unwrap_or(1)
    }

    /// Interval of a task's signs of life.
    pub fn between_signs_of(&self, slot: &str) -> Duration {
        self.slots_on(1, None)
            .iter()
            .find(|known| known.name == slot)
            .map_or_else(|| Slot::local(1).between_signs(), Slot::between_signs)
    }

    /// Applies general limits, then LIMITS of the record, then matching `limit` lines; the last one wins name by name.
    pub fn limits_of(
        &self,
        record: &LimitChanges,
        does_mean: impl Fn(&str) -> bool,
    ) -> Result<Limits, LimitTooHigh> {
        let rules: Vec<&LimitRule> =
            self.limit_rules.iter().filter(|rule| does_mean(&rule.pattern)).collect();
        limits::limits_of(self.limits, record, &self.limit_max, &rules)
    }

    /// Finds WORK, pool or `build_dir` inside tree or base, or the reverse. `resolve` may follow symbolic links.
    pub fn find_nested(&self, work: &Path, resolve: impl Fn(&Path) -> PathBuf) -> Option<NestedPlaces> {
        let named = |name, path: &Path| (name, resolve(path));
        let written = [named("WORK", work), named("pool", &self.pool), named("build_dir", &self.build_dir)];
        let mut read = vec![named("tree", &self.tree)];
        match &self.base {
            BuildBase::Directory(base) => read.push(named("base", base)),
            BuildBase::Host(paths) => read.extend(paths.iter().map(|path| named("host", path))),
        }
        let written: Vec<_> = written.iter().map(|(name, path)| (*name, path.as_path())).collect();
        let read: Vec<_> = read.iter().map(|(name, path)| (*name, path.as_path())).collect();
        find_nested(&written, &read)
    }

    /// True if root calls, and builds must not run as root.
    pub fn lacks_build_user(&self, caller_is_root: bool) -> bool {
        caller_is_root && self.build_as == BuildIdentity::User && self.build_user.is_none()
    }

    /// Slot names must be unique, at most one slot local, and placeholders for limits need a limit.
    fn check_slots(&self, lines: &SettingLines<'_>) -> Result<(), ConfigurationError> {
        let numbers: Vec<usize> = lines.all("slot").map(|(number, _)| number).collect();
        for (index, (slot, number)) in self.slots.iter().zip(&numbers).enumerate() {
            let mut before = self.slots.iter().take(index);
            if before.clone().any(|other| other.name == slot.name) {
                return Err(ConfigurationError::at(
                    *number,
                    format!("slot: two have the name {}", slot.name),
                ));
            }
            if slot.is_local() && before.any(Slot::is_local) {
                return Err(ConfigurationError::at(
                    *number,
                    "slot: a second one without PREFIX, on this machine",
                ));
            }
            for (word, limit) in [("mem", LimitName::Memory), ("minutes", LimitName::Time)] {
                if slot.has_placeholder(word) && self.may_be_unlimited(limit) {
                    let limit = limit.word();
                    let reason = format!("slot: {{{word}}} needs a limit of {limit} for every package");
                    return Err(ConfigurationError::at(*number, reason));
                }
            }
        }
        Ok(())
    }

    fn may_be_unlimited(&self, name: LimitName) -> bool {
        let rules = self.limit_rules.iter().map(|rule| &rule.changes);
        self.limits.get(name).is_none()
            || rules.chain([&self.limit_max]).any(|changes| changes.get(name) == Some(0))
    }
}

fn limit(value: u64) -> Option<u64> {
    (value != 0).then_some(value)
}

fn network(text: &str) -> BuildNetwork {
    match text {
        "no" => BuildNetwork::No,
        "yes" => BuildNetwork::Yes,
        patterns => BuildNetwork::For(value::list(patterns)),
    }
}

fn user_name(text: &str) -> Result<String, String> {
    let is_plain = |letter: char| !letter.is_whitespace() && !matches!(letter, ':' | '/' | ',');
    if text.starts_with('-') || !text.chars().all(is_plain) {
        return Err(format!("`{text}` is not a valid user name"));
    }
    Ok(text.to_owned())
}

fn set_minimum(text: &str) -> Result<SetMinimum, String> {
    match text.strip_suffix('%') {
        Some(percent) => value::count(percent, 0, 100).map(SetMinimum::Percent),
        None => value::count(text, 0, u32::MAX).map(SetMinimum::Packages),
    }
}

fn read_base(lines: &SettingLines<'_>) -> Result<BuildBase, ConfigurationError> {
    let host = lines
        .one("host", |text| value::list(text).iter().map(|path| value::absolute_path(path)).collect())?;
    let is_host = lines.one("base", |text| Ok(text == "host"))?;
    if is_host { Ok(BuildBase::Host(host)) } else { Ok(BuildBase::Directory(lines.path("base")?)) }
}

fn read_env(lines: &SettingLines<'_>) -> Result<Vec<(String, String)>, ConfigurationError> {
    let variables = lines.each("env", value::variable)?;
    for (index, ((name, _), (number, _))) in variables.iter().zip(lines.all("env")).enumerate() {
        if variables.iter().take(index).any(|(before, _)| before == name) {
            return Err(ConfigurationError::at(number, format!("env: {name} is set twice")));
        }
    }
    Ok(variables)
}

fn read_slots(lines: &SettingLines<'_>) -> Result<Vec<Slot>, ConfigurationError> {
    lines.each("slot", Slot::parse)
}

fn read_patience(lines: &SettingLines<'_>) -> Result<SlotPatience, ConfigurationError> {
    let time = |name| Ok(limit(lines.one(name, value::time)?).map(Duration::from_secs));
    Ok(SlotPatience { for_slots: time("wait_for_slots")?, for_room: time("wait_for_room")? })
}

fn read_limits(lines: &SettingLines<'_>) -> Result<Limits, ConfigurationError> {
    let mut limits = Limits::default();
    for name in LimitName::ALL {
        limits.set(name, lines.one(name.word(), |text| name.parse_value(text))?);
    }
    Ok(limits)
}

fn read_report(lines: &SettingLines<'_>) -> Result<ReportSettings, ConfigurationError> {
    Ok(ReportSettings {
        to: lines.some("report_to", value::addresses)?.unwrap_or_default(),
        from: lines.some("report_from", value::address)?,
        subject: lines.one("report_subject", |text| Ok(text.to_owned()))?,
        url: lines.some("report_url", value::url)?,
        command: lines.some("report_command", value::program)?,
        copy: lines.some_path("report_copy")?,
    })
}

/// The system that builds see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildBase {
    /// Existing paths of the host.
    Host(Vec<PathBuf>),
    /// A directory with a whole system.
    Directory(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildIdentity {
    /// The caller, or `build_user` if the caller is root.
    User,
    /// 0 inside the sandbox.
    Root,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildNetwork {
    No,
    Yes,
    For(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDepends {
    /// The files that the scan of its recipe read.
    Scan,
    Location,
}

/// Check of a result, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckLevel {
    None,
    /// Installed and removed.
    Install,
    /// Installed and removed without leftovers.
    Strict,
}

/// Minimum size of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetMinimum {
    /// Number of packages.
    Packages(u32),
    /// Percent of the previous set.
    Percent(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOnFailure {
    /// The entry of the previous set.
    Old,
    Without,
    NoSet,
}

impl BuildIdentity {
    pub(super) const WORDS: &[(&str, Self)] = &[("user", Self::User), ("root", Self::Root)];
}

impl KeyDepends {
    pub(super) const WORDS: &[(&str, Self)] = &[("scan", Self::Scan), ("location", Self::Location)];
}

impl CheckLevel {
    pub(super) const WORDS: &[(&str, Self)] =
        &[("none", Self::None), ("install", Self::Install), ("strict", Self::Strict)];
}

impl SetOnFailure {
    pub(super) const WORDS: &[(&str, Self)] =
        &[("old", Self::Old), ("without", Self::Without), ("none", Self::NoSet)];
}

/// A directory or file of the machine, visible in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxMount {
    /// Results of builds then depend on more than their keys.
    pub is_writable: bool,
    /// The absolute path on the machine.
    pub source: PathBuf,
    /// The absolute path in the sandbox.
    pub target: PathBuf,
}

impl SandboxMount {
    /// Returns a directory or file that commands read at `target`.
    pub fn read_only(source: &Path, target: impl Into<PathBuf>) -> Self {
        Self { is_writable: false, source: source.to_owned(), target: target.into() }
    }

    /// Parses `[rw:]SRC[:DST]`, both absolute; DST defaults to SRC.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("rw:");
        let (source, target) = {
            let paths = rest.unwrap_or(text);
            paths.split_once(':').unwrap_or((paths, paths))
        };
        if target.contains(':') {
            return Err(format!("`{text}` is not [rw:]SRC[:DST]"));
        }
        Ok(Self {
            is_writable: rest.is_some(),
            source: value::absolute_path(source)?,
            target: value::absolute_path(target)?,
        })
    }
}

/// Two nested places, so that a run would change its own input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{inner} is inside {outer}")]
pub struct NestedPlaces {
    /// `WORK`, or a name in `bulk.conf`.
    pub inner: &'static str,
    pub outer: &'static str,
}

/// Finds a written place inside a read one, or the reverse.
fn find_nested(written: &[(&'static str, &Path)], read: &[(&'static str, &Path)]) -> Option<NestedPlaces> {
    let pairs = written.iter().flat_map(|one| read.iter().map(move |other| (one, other)));
    pairs
        .flat_map(|(one, other)| [(one, other), (other, one)])
        .find(|((_, inner), (_, outer))| inner.starts_with(outer))
        .map(|((inner, _), (outer, _))| NestedPlaces { inner, outer })
}

struct SettingName {
    name: &'static str,
    is_repeatable: bool,
    /// `None` if there is no default, or it depends on the machine.
    default: Option<&'static str>,
    form: &'static str,
    text: &'static str,
}

impl SettingName {
    /// The text after `NAME=` in a fresh file: the default, or the form of a value.
    fn shown(&self) -> &'static str {
        self.default.unwrap_or(self.form)
    }
}

/// Visible in builds if the base is the host.
const HOST_PATHS: &str = "/usr /bin /sbin /lib /lib32 /lib64 /libx32 /etc/alternatives /etc/ld.so.cache \
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

const SETTINGS: &[SettingName] = &[
    without("tree", "PATH", "The tree of recipes (required)"),
    without(
        "driver",
        "PATH",
        "The directory of the driver [default: WORK/driver if it exists, else the tree]",
    ),
    without("list", "FILE", "The packages to build, one name per line [default: every location]"),
    with("pool", "pool", "The results; several working directories may share them"),
    with("distfiles", "distfiles", "The fetched sources; several working directories may share them"),
    repeatable("file_source", "PATH", "A directory of the machine from which `file:` sources may come"),
    repeatable("local_source", "HOST", "A host from which sources may come, although its address is local"),
    with("base", "host", "The system that builds see: `host`, or a directory with a complete system"),
    without("base_id", "COMMAND", "A command that prints the state of the base"),
    with(
        "host",
        HOST_PATHS,
        "With base=host: the paths of the host that builds see, read-only, if they exist",
    ),
    repeatable(
        "mount",
        "[rw:]SRC[:DST]",
        "Another path of the machine that builds see; with rw: they may write there",
    ),
    with("build_as", "user", "The user in a build: `user`, or `root` (of the sandbox only)"),
    without("build_user", "NAME", "The user that fetches sources if the caller is root"),
    without(
        "ids",
        "START[:COUNT]",
        "If the caller is root: a range of ids for sandboxes that no account of this machine uses",
    ),
    with("network", "no", "Network access of builds: `no`, `yes`, or patterns of packages"),
    repeatable("env", "NAME=VALUE", "A variable for scan, build and fetch"),
    repeatable(
        "slot",
        "NAME COUNT [cores=N] [answer=TIME] [cancel=COMMAND] [PREFIX...]",
        "Machines for tasks, and the number of tasks at a time [default: this machine, one task for two cores]",
    ),
    without("cores", "N", "The cores of this machine that tasks may use [default: all]"),
    without(
        "memory_budget",
        "SIZE",
        "The memory that all tasks of this machine may use together [default: no limit]",
    ),
    without(
        "build_dir",
        "PATH",
        "The directory where tasks work, local to each machine [default: WORK/build]",
    ),
    with(
        "installed_limit",
        "10G",
        "The disk space for installed dependencies that are kept for the next build",
    ),
    with("wait_for_slots", "10m", "How long a run waits if no slot works; 0 is no limit"),
    with("wait_for_room", "30s", "How long a run waits if the build_dir of every slot is full"),
    with("time", "1h", "Time limit of a build, and of fetching all distfiles of a package"),
    with("silence", "20m", "Time limit without output of a build"),
    with("cpu", "1h", "CPU time limit of one process"),
    with("memory", "0", "Memory limit of a build; 0 is no limit"),
    with("processes", "4096", "Limit of the processes of a build"),
    with("disk", "20G", "Disk space limit of a build"),
    with("output", "64M", "Size limit of the log of a build"),
    repeatable(
        "limit",
        "PATTERN NAME=VALUE...",
        "Limits for some packages; for each name, the last matching line applies",
    ),
    with("scan_time", "60s", "Time limit of one call of scan or fetch"),
    with(
        "key_depends",
        "scan",
        "The files that results depend on: `scan` (those read by a scan) or `location` (the recipe's own)",
    ),
    with(
        "check",
        "install",
        "The check of results: `none`, `install` (and remove), or `strict` (also refuse leftovers)",
    ),
    without("limit_max", "NAME=VALUE...", "How far records may raise limits [default: not at all]"),
    with("restricted", "no", "Also make patches of restricted packages: `yes` or `no`"),
    without("required", "PATTERN...", "Packages that a new set must contain"),
    without(
        "minimum",
        "N or N%",
        "The minimum size of a new set: a number, or a percentage of the previous set",
    ),
    with(
        "set_on_failure",
        "old",
        "If a package failed, make a set with the `old` one, `without` it, or `none`",
    ),
    without("patch_ids", "FILE", "The ids of patches, for delta"),
    without("depot", "PATH", "The depot where patches are published; a run then makes them"),
    without("key", "FILE", "The secret key that signs patches; a run then signs and publishes them"),
    without("password_file", "FILE", "The password of the key"),
    without("report_to", "ADDRESS...", "The recipients of the report"),
    without("report_from", "ADDRESS", "The sender of the report"),
    with("report_subject", "bulk build", "The beginning of the subject of the report"),
    without("report_url", "URL", "The address of the directory of a run, for the report"),
    without(
        "report_command",
        "COMMAND",
        "A command that reads the mail from standard input, such as sendmail -t",
    ),
    without("report_copy", "PATH", "A directory for copies of the reports and of the logs of failures"),
    without(
        "upload_command",
        "COMMAND",
        "A command that uploads the packages of each new set, called in their directory",
    ),
    with("keep_failed", "0", "Number of failed builds whose directories are kept for enter --failed"),
    without("poll", "COMMAND", "A command that prints the state of the tree"),
    with("keep_runs", "10", "Number of runs that prune keeps"),
];

/// Minimum similarity for suggesting a name, as in clap.
const ALIKE: f64 = 0.7;

fn find(name: &str) -> Option<&'static SettingName> {
    SETTINGS.iter().find(|known| known.name == name)
}

fn nearest(wrong: &str) -> Option<&'static str> {
    let alike = SETTINGS.iter().map(|known| (strsim::jaro(wrong, known.name), known.name));
    let alike = alike.filter(|(measure, _)| *measure > ALIKE);
    alike.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

const HEAD: &str = "\
# The configuration of a bulk build: NAME=VALUE lines. Lines that begin with # are comments; those below show the defaults.
# slot, limit, mount and env may be repeated. Paths are absolute, or below this directory.
# Sizes: bytes, or with K, M, G, T. Times: seconds, or with s, m, h. As a limit, 0 is no limit.
";

/// Returns a fresh `bulk.conf` with these settings, all others commented out. The caller has to parse it, to reject
/// values that cannot stand in a file.
fn fresh_text(settings: &[(&str, &str)]) -> String {
    let mut text = HEAD.to_owned();
    for name in SETTINGS {
        let set = settings.iter().find(|(set, _)| *set == name.name);
        let (mark, value) = set.map_or(("#", name.shown()), |(_, value)| ("", *value));
        // Writing to a string does not fail.
        let _ = write!(text, "\n# {}.\n{mark}{}={value}\n", name.text, name.name);
    }
    text
}

const LONGEST_FILE: usize = 1 << 20;

struct SettingLines<'a> {
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
    fn split(bytes: &'a [u8], work: &'a Path) -> Result<Self, ConfigurationError> {
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
            return Err(format!("{} is already set in line {}", name.name, before.number));
        }
        self.lines.push(SettingLine { number, name, value });
        Ok(())
    }

    /// Lines of a repeatable name with their numbers.
    fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = (usize, &'a str)> + 's {
        self.lines.iter().filter(move |line| line.name.name == name).map(|line| (line.number, line.value))
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.all(name).next().map(|(number, _)| number)
    }

    fn each<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigurationError> {
        self.all(name).map(|(number, value)| at_line(number, name, read(value))).collect()
    }

    fn some<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigurationError> {
        let line = self.all(name).next();
        line.map(|(number, value)| at_line(number, name, read(value))).transpose()
    }

    fn one<T>(&self, name: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<T, ConfigurationError> {
        if let Some(value) = self.some(name, &read)? {
            return Ok(value);
        }
        let default = find(name).and_then(|name| name.default).unwrap_or_default();
        read(default).map_err(|reason| ConfigurationError::of_all(format!("{name} is not set: {reason}")))
    }

    fn some_path(&self, name: &str) -> Result<Option<PathBuf>, ConfigurationError> {
        self.some(name, |text| value::path(text, self.work))
    }

    fn path(&self, name: &str) -> Result<PathBuf, ConfigurationError> {
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
    fn at(line: usize, reason: impl Into<String>) -> Self {
        Self { line: Some(line), reason: without_passwords(&reason.into()) }
    }

    fn of_all(reason: impl Into<String>) -> Self {
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

#[cfg(test)]
mod tests;
