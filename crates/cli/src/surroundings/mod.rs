//! Everything a command takes from its surroundings: environment, clock, host, user, terminal.
//!
//! This is the one place that reads them; everything else gets them as values. `SOURCE_DATE_EPOCH` fixes the clock, so
//! that runs can be repeated; `TZ` counts through the local time zone.

pub mod bar;
pub mod caller;
pub mod ending;
pub mod events;
pub mod fetch_bar;
pub mod manner;
pub mod network;
pub mod output;
pub mod questions;
pub mod recovery;
mod secrets;
pub mod slots_bar;
pub mod work_bar;
mod zone;

pub use manner::{Manner, Shade, WhenToColour};
pub use output::Output;
pub use zone::{TextPiece, Zone, installation_minute, moments_in};

use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, IsTerminal};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{DateTime, Utc};
use rustix::time::{ClockId, clock_gettime};

use events::EventReceiver;
use network::NetworkSurroundings;
use patchadm_core::operation::scripts::ScriptSettings;
use patchadm_inputs::database::{RecordReader, policy};
use patchadm_inputs::input_file::read_small;
use patchadm_inputs::native::NativeManager;
use patchadm_inputs::trial::Moment;
use patchadm_rootfs::{Root, accounts_of, may_others_write_at, strange_above};

/// The variable that says who is told of runs.
pub const EVENTS: &str = "PATCHADM_EVENTS";

/// The variable that tells a process that it does as the owner of a root what the superuser asked for, and in which
/// directory.
pub const AS_OWNER: &str = "PATCHADM_AS_OWNER";

/// The beginning of its value if the superuser can be asked.
pub const ASKS: &str = "asks ";

/// The place of temporary directories unless `TMPDIR` names one.
const TEMPORARY: &str = "/var/tmp";

/// The surroundings of a command when it begins.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The first word of the command line.
    pub called: PathBuf,
    /// `PKG_INSTALL_ROOT`, where it is set and not empty.
    pub install_root: Option<PathBuf>,
    /// The root below which `DPKG_ADMINDIR` is, the directory of the records of the dpkg that calls its hook.
    pub dpkg_root: Option<PathBuf>,
    /// True if `DPKG_FRONTEND_LOCKED` is set: the calling program holds the frontend lock of dpkg.
    pub is_dpkg_locked: bool,
    /// `PATCHADM_NATIVE_UPGRADE`: counts in the place of `native_upgrade` in the policy.
    pub native_upgrade: Option<String>,
    /// `PATCHADM_RUN`: the run whose script started this command, where one did.
    pub run: Option<String>,
    /// `PATCHADM_TRUST`: what that run answered to the question whose the root is.
    pub trust: Option<String>,
    /// `PATCHADM_AS_OWNER`: this process does as the owner of a root what the superuser asked for. The identity of the
    /// root directory.
    pub for_superuser: Option<String>,
    /// The superuser's process answers questions at a terminal; standard input is a socket to it.
    pub asks_superuser: bool,
    /// The file of the running program, where the system tells.
    pub binary: Option<PathBuf>,
    /// The moment that counts as now.
    pub now: DateTime<Utc>,
    /// The file mode creation mask of the caller; the program has one of its own.
    pub umask: u32,
    /// When the command began, by a clock that is never set: for durations.
    pub began: Instant,
    /// The time zone in which moments are shown.
    pub zone: Zone,
    /// The names of this machine, from uname(2).
    pub machine: Machine,
    /// The number of processors that the program may use.
    pub processors: usize,
    /// The directory for private directories: `TMPDIR`, else `/var/tmp`.
    pub temporary: PathBuf,
    /// The home directory of the caller.
    pub home: Option<PathBuf>,
    /// True if standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// True if standard input is a terminal, so that the user can be asked.
    pub stdin_is_terminal: bool,
    /// True if standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// How wide help is: as the terminal of standard output, 100 columns at most and without one.
    pub width: usize,
    /// When the environment wants colours: `NO_COLOR`, `CLICOLOR_FORCE`, `TERM`.
    pub colours: WhenToColour,
    /// The file of `--policy` with its text; known once the arguments are read.
    pub policy: Option<(PathBuf, Vec<u8>)>,
    /// The command line without secrets, as the history keeps it; known once the command is chosen.
    pub typed: Option<String>,
    /// True if only errors are printed; known once the arguments are read.
    pub is_quiet: bool,
    /// The variables that say in which language and time zone the command runs: LANG, `LC_*`, TZ.
    pub locale: Vec<(String, OsString)>,
    /// Proxies, certificates and the place of the cache.
    pub network: NetworkSurroundings,
    /// `PATCHADM_EVENTS`: who is told of runs.
    pub events: EventReceiver,
}

/// The fields of uname(2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Name of the operating system, `uname -s`.
    pub system: String,
    /// Name of this host, `uname -n`.
    pub node: String,
    /// Release of the system, `uname -r`.
    pub release: String,
    /// Version of that release, `uname -v`.
    pub version: String,
    /// Kind of hardware, `uname -m`.
    pub hardware: String,
    /// NIS domain; empty if there is none.
    pub domain: String,
}

/// The reasons why the surroundings make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SurroundingsError {
    /// `SOURCE_DATE_EPOCH` is no moment.
    #[error("SOURCE_DATE_EPOCH is not a number of seconds since 1970: <{0}>")]
    Epoch(String),
    /// `PATCHADM_EVENTS` names nobody who could be told of runs.
    #[error("PATCHADM_EVENTS must be none, journal:SOCKET or syslog:SOCKET, not <{0}>")]
    Events(String),
    /// Somebody else may exchange what is in `TMPDIR`.
    #[error("TMPDIR is {path}, and {reason}, so others could replace files there")]
    Temporary {
        /// The directory.
        path: String,
        /// Whose it is.
        reason: String,
    },
    /// `TMPDIR` is no directory, or cannot be read.
    #[error("TMPDIR is {path}, {reason}: unset TMPDIR, or specify a directory that exists")]
    NoTemporary {
        /// The directory.
        path: String,
        /// The problem, as a clause.
        reason: String,
    },
    /// `-R` and `PKG_INSTALL_ROOT` name different roots.
    #[error("Command line install root contends with environment.")]
    RootContends,
}

impl Surroundings {
    /// Reads the surroundings.
    pub fn read() -> Result<Self, SurroundingsError> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let as_owner = set(AS_OWNER).map(|value| value.to_string_lossy().into_owned());
        let question = as_owner.as_deref().and_then(|value| value.strip_prefix(ASKS));
        Ok(Self {
            called: std::env::args_os().next().map(PathBuf::from).unwrap_or_default(),
            install_root: set("PKG_INSTALL_ROOT").map(PathBuf::from),
            dpkg_root: set("DPKG_ADMINDIR").and_then(|records| root_of_dpkg(Path::new(&records))),
            is_dpkg_locked: std::env::var_os("DPKG_FRONTEND_LOCKED").is_some(),
            native_upgrade: set("PATCHADM_NATIVE_UPGRADE").and_then(|word| word.into_string().ok()),
            run: set("PATCHADM_RUN").and_then(|run| run.into_string().ok()),
            trust: set("PATCHADM_TRUST").and_then(|word| word.into_string().ok()),
            for_superuser: question.map(str::to_owned).or_else(|| as_owner.clone()),
            asks_superuser: question.is_some(),
            binary: std::env::current_exe().ok(),
            now: set("SOURCE_DATE_EPOCH").map_or_else(|| Ok(Utc::now()), |epoch| moment(&epoch))?,
            umask: 0,
            began: Instant::now(),
            zone: Zone::of(set("TZ").as_deref()),
            machine: Machine::this(),
            processors: patchadm_rootfs::processors(),
            temporary: temporary(set("TMPDIR").map(PathBuf::from))?,
            home: set("HOME").map(PathBuf::from),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            width: manner::width_of_help(),
            colours: WhenToColour::of(|name| std::env::var_os(name).filter(|value| !value.is_empty())),
            policy: None,
            typed: None,
            is_quiet: false,
            locale: locale(std::env::vars_os()),
            network: NetworkSurroundings::of(set),
            events: event_receiver(set(EVENTS).as_deref())?,
        })
    }

    /// Returns the root to work on: `-R`, else `PKG_INSTALL_ROOT`, else `/`. Both, and not the same, is an error.
    pub fn root(&self, option: Option<&Path>) -> Result<PathBuf, SurroundingsError> {
        match (option, &self.install_root) {
            (Some(option), Some(environment)) if option != environment => {
                Err(SurroundingsError::RootContends)
            }
            (Some(root), _) => Ok(root.to_owned()),
            (None, Some(root)) => Ok(root.clone()),
            (None, None) => Ok(PathBuf::from("/")),
        }
    }

    /// Returns the root under the policy that the caller named, if one was.
    pub fn under_policy(&self, root: Root) -> Root {
        match &self.policy {
            None => root,
            Some((path, text)) => policy::instead(root, path, text),
        }
    }

    /// Returns the root with the locks that the program that calls holds for this one.
    pub fn under_locks(&self, root: Root) -> Root {
        if self.is_dpkg_locked { root.with_held_locks(NativeManager::Dpkg.lock_files()) } else { root }
    }

    /// Makes the reader of the records of `root`: a command that a script of a run started has a part in that run.
    pub fn reader<'a>(&'a self, root: &'a Root) -> RecordReader<'a> {
        RecordReader::within(root, self.run.as_deref())
    }

    /// Returns how scripts are run that nobody asked for.
    pub fn script_settings(&self) -> ScriptSettings {
        let (temporary, locale) = (self.temporary.clone(), self.locale.clone());
        let executable = PathBuf::from("/proc/self/exe");
        ScriptSettings { executable, temporary, locale, ..ScriptSettings::default() }
    }

    /// Returns the whole environment, for a command that is to have it.
    pub fn environment() -> Vec<(OsString, OsString)> {
        std::env::vars_os().collect()
    }

    /// Returns the kind of the caller's terminal, for a shell that inherits nothing else.
    pub fn terminal() -> Option<OsString> {
        std::env::var_os("TERM").filter(|terminal| !terminal.is_empty())
    }

    /// Returns the directories in which the caller's shell looks for programs.
    pub fn search_path() -> Vec<PathBuf> {
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
    }

    /// Returns the shell of the caller, and the working directory, if the system tells.
    pub fn shell_and_directory() -> (Option<OsString>, Option<PathBuf>) {
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
        (shell, std::env::current_dir().ok())
    }

    /// Returns the name of the caller from the accounts of this machine; the number if there is none.
    pub fn user() -> String {
        let uid = rustix::process::getuid().as_raw();
        let accounts = Root::open(Path::new("/")).and_then(|host| accounts_of(&host, &host));
        accounts.map_or_else(|_| uid.to_string(), |accounts| accounts.user(uid).into())
    }
}

impl Machine {
    fn this() -> Self {
        let uname = rustix::system::uname();
        let text = |field: &std::ffi::CStr| field.to_string_lossy().into_owned();
        let domain = text(uname.domainname());
        Self {
            system: text(uname.sysname()),
            node: text(uname.nodename()),
            release: text(uname.release()),
            version: text(uname.version()),
            hardware: text(uname.machine()),
            domain: if domain == "(none)" { String::new() } else { domain },
        }
    }
}

/// Language and time zone, sorted by name.
fn locale(environment: impl Iterator<Item = (OsString, OsString)>) -> Vec<(String, OsString)> {
    let named = environment.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let counts = |name: &str| matches!(name, "LANG" | "TZ") || name.starts_with("LC_");
    let mut locale: Vec<_> = named.filter(|(name, value)| counts(name) && !value.is_empty()).collect();
    locale.sort();
    locale
}

fn event_receiver(variable: Option<&OsStr>) -> Result<EventReceiver, SurroundingsError> {
    let shown = || variable.unwrap_or_default().to_string_lossy().escape_debug().to_string();
    EventReceiver::of(variable).ok_or_else(|| SurroundingsError::Events(shown()))
}

/// Returns the directory for private directories. Nobody but the caller and the superuser may rename what is in it.
fn temporary(named: Option<PathBuf>) -> Result<PathBuf, SurroundingsError> {
    let Some(path) = named else { return Ok(PathBuf::from(TEMPORARY)) };
    let shown = || path.display().to_string().escape_debug().to_string();
    let absent = |reason: String| Err(SurroundingsError::NoTemporary { path: shown(), reason });
    let seen = match path.metadata() {
        Ok(seen) if seen.is_dir() => seen,
        Ok(_) => return absent("which is not a directory".to_owned()),
        // As if it were unset: in a chroot it often is missing, and a stranger could make it at any moment.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(PathBuf::from(TEMPORARY)),
        Err(error) => return absent(format!("which cannot be examined ({})", error.kind())),
    };
    let is_own = [0, rustix::process::geteuid().as_raw()].contains(&seen.uid());
    let is_sticky = seen.mode() & 0o1000 != 0;
    let reason = if !is_own {
        format!("it belongs to uid {}", seen.uid())
    } else if !is_sticky && may_others_write_at(&path, seen.mode(), seen.gid() == 0) {
        "others may write to it".to_owned()
    } else {
        match strange_above(&path) {
            Ok(Some(strange)) => strange.to_string(),
            Ok(None) => return Ok(path),
            Err(error) => return absent(format!("which cannot be examined ({error})")),
        }
    };
    Err(SurroundingsError::Temporary { path: shown(), reason })
}

fn moment(epoch: &OsString) -> Result<DateTime<Utc>, SurroundingsError> {
    let seconds = epoch.to_str().and_then(|text| text.parse().ok());
    seconds
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .ok_or_else(|| SurroundingsError::Epoch(epoch.to_string_lossy().escape_debug().to_string()))
}

/// Returns the root whose records of dpkg are in this directory; `None` if it is not where dpkg has them.
fn root_of_dpkg(records: &Path) -> Option<PathBuf> {
    let above = records.ends_with("var/lib/dpkg").then(|| records.ancestors().nth(3))??;
    Some(if above.as_os_str().is_empty() { PathBuf::from(".") } else { above.to_owned() })
}

/// The kernel's id of the current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

const LONGEST_ID: u64 = 64;

impl Surroundings {
    /// The command begins now: time spent on questions does not count.
    pub fn begin_now(&mut self) {
        self.began = Instant::now();
        self.now = self.moment().wall;
    }

    /// Sends a warning to the receiver of events.
    pub fn log_warning(&self, message: &str) {
        events::warn(&self.events, self.zone.at(self.moment().wall.timestamp()), message);
    }

    /// Returns the clocks as they stand now. `SOURCE_DATE_EPOCH` fixes the clock on the wall alone.
    pub fn moment(&self) -> Moment {
        let is_fixed = std::env::var_os("SOURCE_DATE_EPOCH").is_some_and(|epoch| !epoch.is_empty());
        let wall = if is_fixed { self.now } else { Utc::now() };
        let boot = read_small(Path::new(BOOT_ID), LONGEST_ID).ok();
        let boot = boot.and_then(|text| String::from_utf8(text).ok()).map(|text| text.trim().to_owned());
        let since_boot = clock_gettime(ClockId::Boottime);
        let milliseconds = i128::from(since_boot.tv_sec) * 1000 + i128::from(since_boot.tv_nsec) / 1_000_000;
        Moment { wall, boot, since_boot: u64::try_from(milliseconds).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_dpkg_is_above_its_records() {
        assert_eq!(root_of_dpkg(Path::new("/var/lib/dpkg")), Some(PathBuf::from("/")));
        assert_eq!(root_of_dpkg(Path::new("/mnt/var/lib/dpkg/")), Some(PathBuf::from("/mnt")));
        assert_eq!(root_of_dpkg(Path::new("/srv/dpkg")), None);
    }

    fn surroundings(install_root: Option<&str>) -> Surroundings {
        Surroundings {
            called: PathBuf::from("patchadm"),
            install_root: install_root.map(PathBuf::from),
            dpkg_root: None,
            is_dpkg_locked: false,
            native_upgrade: None,
            run: None,
            trust: None,
            for_superuser: None,
            asks_superuser: false,
            binary: None,
            now: DateTime::UNIX_EPOCH,
            umask: 0,
            began: Instant::now(),
            zone: Zone::Utc,
            machine: Machine::default(),
            processors: 1,
            temporary: PathBuf::from("/var/tmp"),
            home: None,
            network: NetworkSurroundings::default(),
            events: EventReceiver::Nobody,
            stdout_is_terminal: false,
            stdin_is_terminal: false,
            stderr_is_terminal: false,
            width: manner::WIDEST_HELP,
            colours: WhenToColour::OnTerminal,
            policy: None,
            typed: None,
            is_quiet: false,
            locale: Vec::new(),
        }
    }

    #[test]
    fn option_and_environment_may_name_the_same_root_and_not_two() {
        let both = surroundings(Some("/a"));
        assert_eq!(both.root(Some(Path::new("/a/"))), Ok(PathBuf::from("/a/")));
        assert_eq!(both.root(None), Ok(PathBuf::from("/a")));
        assert_eq!(both.root(Some(Path::new("/b"))), Err(SurroundingsError::RootContends));
        assert_eq!(surroundings(None).root(None), Ok(PathBuf::from("/")));
    }

    #[test]
    fn language_and_time_zone_are_taken_from_the_environment_and_nothing_else() {
        let environment =
            [("TZ", "UTC0"), ("HOME", "/root"), ("LC_TIME", ""), ("LC_ALL", "C"), ("LANG", "de_DE")];
        let found = locale(environment.into_iter().map(|(name, value)| (name.into(), value.into())));
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["LANG", "LC_ALL", "TZ"]);
    }

    #[test]
    fn a_time_zone_is_one_of_the_system_or_a_file() {
        for (value, zone) in [
            ("Europe/Berlin", Zone::Local),
            (":UTC", Zone::Local),
            ("CET-1CEST,M3.5.0,M10.5.0/3", Zone::Local),
            ("/etc/passwd", Zone::Local),
            (":/dev/zero", Zone::Utc),
            ("../../../dev/zero", Zone::Utc),
            ("/no/such/zone", Zone::Utc),
        ] {
            assert_eq!(Zone::of(Some(OsStr::new(value))), zone, "{value}");
        }
        assert_eq!(Zone::of(None), Zone::Local);
    }

    #[test]
    fn the_clock_can_be_fixed_and_a_broken_fix_is_an_error() {
        assert_eq!(moment(&"1795158000".into()).unwrap().to_rfc3339(), "2026-11-20T07:00:00+00:00");
        for bad in ["", "yesterday", "1.5", "99999999999999999"] {
            assert!(moment(&bad.into()).is_err(), "{bad}");
        }
    }
}
