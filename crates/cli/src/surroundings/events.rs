//! Sends events of runs to the journal of systemd, else to syslog, in one datagram each and without waiting. A run
//! never depends on it: a lost event is noted.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;

use patchadm_changeset::format::history::TrialEnd;
use patchadm_inputs::database::history::HistoryEntry;
use patchadm_rootfs::Root;
use patchadm_svr4::package::control::printable;

/// The socket of the journal, and that of syslog.
const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventReceiver {
    /// The journal if it runs, else syslog if that does.
    OfMachine,
    Journal(PathBuf),
    Syslog(PathBuf),
    Nobody,
}

impl EventReceiver {
    /// Parses `PATCHADM_EVENTS`: `none`, `journal:SOCKET` or `syslog:SOCKET`; `None` for anything else.
    pub(super) fn of(variable: Option<&OsStr>) -> Option<Self> {
        let Some(word) = variable else { return Some(Self::OfMachine) };
        let word = word.to_str()?;
        if word == "none" {
            return Some(Self::Nobody);
        }
        let (kind, socket) = word.split_once(':')?;
        let socket = Some(PathBuf::from(socket)).filter(|socket| socket.is_absolute())?;
        match kind {
            "journal" => Some(Self::Journal(socket)),
            "syslog" => Some(Self::Syslog(socket)),
            _ => None,
        }
    }

    /// Returns the value of `PATCHADM_EVENTS` that names it; `None` if the variable is not needed.
    pub fn variable(&self) -> Option<String> {
        match self {
            Self::OfMachine => None,
            Self::Nobody => Some("none".to_owned()),
            Self::Journal(socket) => Some(format!("journal:{}", socket.display())),
            Self::Syslog(socket) => Some(format!("syslog:{}", socket.display())),
        }
    }

    /// Resolves `OfMachine`.
    fn found(&self) -> Self {
        match self {
            Self::OfMachine if Path::new(JOURNAL).exists() => Self::Journal(JOURNAL.into()),
            Self::OfMachine if Path::new(SYSLOG).exists() => Self::Syslog(SYSLOG.into()),
            Self::OfMachine => Self::Nobody,
            named => named.clone(),
        }
    }

    fn take(&self, event: &RunEvent, now: NaiveDateTime) -> io::Result<()> {
        self.send(|is_journal| {
            if is_journal {
                event.journal_fields()
            } else {
                event.syslog_line(&stamp(now), std::process::id())
            }
        })
    }

    /// Does not wait. `datagram` gets true for the journal.
    fn send(&self, datagram: impl FnOnce(bool) -> Vec<u8>) -> io::Result<()> {
        let (socket, datagram) = match self {
            Self::OfMachine | Self::Nobody => return Ok(()),
            Self::Journal(socket) => (socket, datagram(true)),
            Self::Syslog(socket) => (socket, datagram(false)),
        };
        let sender = UnixDatagram::unbound()?;
        sender.set_nonblocking(true)?;
        sender.send_to(&datagram, socket).map(drop)
    }
}

impl fmt::Display for EventReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(socket) => write!(f, "the journal at {}", socket.display()),
            Self::Syslog(socket) => write!(f, "syslog at {}", socket.display()),
            Self::OfMachine | Self::Nobody => f.write_str("nobody"),
        }
    }
}

/// Sends an event for each run, with this local time. Returns a sentence about each lost event.
pub(super) fn tell_of_runs(
    receiver: &EventReceiver,
    now: NaiveDateTime,
    root: &Root,
    entries: &[HistoryEntry],
) -> Vec<String> {
    let receiver = receiver.found();
    let lost =
        |event: &RunEvent| receiver.take(event, now).err().map(|error| (event.run().to_owned(), error));
    let events = RunEvent::of_history(root.prefix(), entries);
    let lost = events.iter().filter_map(lost).map(|(run, error)| {
        format!("{receiver} did not accept the event of the run {run} ({error}); the run is not affected")
    });
    lost.collect()
}

/// Sends a message about something that is no run. Nothing tells that it is lost.
pub(super) fn warn(receiver: &EventReceiver, now: NaiveDateTime, message: &str) {
    let _ = receiver.found().send(|is_journal| {
        if is_journal {
            let mut bytes = Vec::new();
            let fields = [("MESSAGE", message), ("PRIORITY", "4"), ("SYSLOG_IDENTIFIER", PROGRAM)];
            for (name, value) in fields {
                add_field(&mut bytes, name, value);
            }
            bytes
        } else {
            syslog_line(WARNING, &stamp(now), std::process::id(), message)
        }
    });
}

/// Priority by syslog(3).
const WARNING: u8 = 4;

fn stamp(now: NaiveDateTime) -> String {
    now.format("%b %e %H:%M:%S").to_string()
}

/// Returns a line by RFC 3164, facility `daemon`; `stamp` is its time, as in `Nov 20 07:00:00`.
fn syslog_line(priority: u8, stamp: &str, process: u32, message: &str) -> Vec<u8> {
    const DAEMON: u8 = 3 << 3;
    let priority = DAEMON | priority;
    // A second line would be a message of its own.
    let message = message.replace('\n', r"\012");
    let line = format!("<{priority}>{stamp} {PROGRAM}[{process}]: {message}");
    printable(line.as_bytes()).into_owned()
}

/// Identifies events in the journal.
const PROGRAM: &str = "patchadm";

/// In bytes; the rest of a longer list of ids or packages is counted.
const LONGEST_LIST: usize = 24 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    /// A run changed a root.
    Done,
    /// A run changed a root, and its patches are on trial.
    OnTrial,
    /// Patches on trial stay.
    Confirmed,
    /// Patches on trial are backed out, or cannot be.
    TrialOver,
    /// The root is as before the run.
    RolledBack,
}

impl EventKind {
    /// Returns the id of the message, by which the journal finds all events of the kind.
    fn message_id(self) -> &'static str {
        match self {
            Self::Done => "b9d04953c598422ab1f59a682d17f3d8",
            Self::OnTrial => "c143bc25113f49adb57e14ff0ea966ed",
            Self::Confirmed => "20b650ac67d84f74aab854244bc136c9",
            Self::TrialOver => "dec122afcc214d6b979de61f3206327f",
            Self::RolledBack => "ee52cd67d6c74834ad23d9e4ace7f0dd",
        }
    }

    /// Returns its priority by syslog(3): 5 is a notice, 4 a warning.
    fn priority(self) -> u8 {
        match self {
            Self::Done | Self::OnTrial | Self::Confirmed => 5,
            Self::TrialOver | Self::RolledBack => 4,
        }
    }
}

/// The event of a run (patchadm-events(5)).
#[derive(Clone, Debug)]
pub(super) struct RunEvent {
    kind: EventKind,
    root: String,
    /// The first line of the run in the history; it has the common fields.
    entry: HistoryEntry,
    patches: Vec<String>,
    packages: Vec<String>,
}

impl RunEvent {
    /// One event for each run; the lines of a run are adjacent.
    pub(super) fn of_history(root: &Path, entries: &[HistoryEntry]) -> Vec<Self> {
        let runs = entries.chunk_by(|one, next| one.run == next.run && one.result == next.result);
        runs.filter_map(|run| Self::of_run(root, run)).collect()
    }

    fn of_run(root: &Path, run: &[HistoryEntry]) -> Option<Self> {
        let entry = run.first()?.clone();
        let mut packages: Vec<String> = run.iter().flat_map(|line| line.packages.clone()).collect();
        packages.sort_unstable();
        packages.dedup();
        let patches = run.iter().flat_map(|line| line.patches.clone()).collect();
        let root = root.display().to_string();
        Some(Self { kind: kind_of(&entry), root, entry, patches, packages })
    }

    pub(super) fn run(&self) -> &str {
        &self.entry.run
    }

    /// Returns the event in one line for people.
    fn message(&self) -> String {
        let HistoryEntry { run, command, result, user, duration, .. } = &self.entry;
        let number = run.split_once('-').map_or(run.as_str(), |(number, _)| number);
        let subject = if self.patches.is_empty() { &self.packages } else { &self.patches };
        let subject = listed(subject);
        let blank = if subject.is_empty() { "" } else { " " };
        let (root, seconds) = (&self.root, seconds(*duration));
        format!("run {number} of {root}: {command}{blank}{subject}: {result} by {user} in {seconds}")
    }

    /// Returns the fields of the event for the journal of systemd, in its native form.
    pub(super) fn journal_fields(&self) -> Vec<u8> {
        let entry = &self.entry;
        let trial_end = entry.trial_end.as_ref();
        let fields = [
            ("MESSAGE", Some(self.message())),
            ("MESSAGE_ID", Some(self.kind.message_id().to_owned())),
            ("PRIORITY", Some(self.kind.priority().to_string())),
            ("SYSLOG_IDENTIFIER", Some(PROGRAM.to_owned())),
            ("PATCHADM_ROOT", Some(self.root.clone())),
            ("PATCHADM_RUN", Some(entry.run.clone())),
            ("PATCHADM_COMMAND", Some(entry.command.clone())),
            ("PATCHADM_RESULT", Some(entry.result.clone())),
            ("PATCHADM_PATCHES", (!self.patches.is_empty()).then(|| listed(&self.patches))),
            ("PATCHADM_PACKAGES", (!self.packages.is_empty()).then(|| listed(&self.packages))),
            ("PATCHADM_USER", Some(entry.user.clone())),
            ("PATCHADM_BEGAN", Some(entry.time.clone())),
            ("PATCHADM_DURATION_MS", Some(entry.duration.to_string())),
            ("PATCHADM_UNDOES", entry.undoes.clone()),
            ("PATCHADM_NOTE", entry.note.clone()),
            ("PATCHADM_TRIAL_UNTIL", entry.trial.as_ref().map(|trial| trial.until.clone())),
            ("PATCHADM_TRIAL_RUN", trial_end.map(|end| end.run.clone())),
            ("PATCHADM_TRIAL_END", trial_end.map(TrialEnd::told)),
        ];
        fields.into_iter().fold(Vec::new(), |mut bytes, (name, value)| {
            if let Some(value) = value {
                add_field(&mut bytes, name, &value);
            }
            bytes
        })
    }

    pub(super) fn syslog_line(&self, stamp: &str, process: u32) -> Vec<u8> {
        syslog_line(self.kind.priority(), stamp, process, &self.message())
    }
}

fn kind_of(entry: &HistoryEntry) -> EventKind {
    match &entry.trial_end {
        _ if entry.result != "done" => EventKind::RolledBack,
        Some(end) if end.end == "confirmed" => EventKind::Confirmed,
        Some(_) => EventKind::TrialOver,
        None if entry.trial.is_some() => EventKind::OnTrial,
        None => EventKind::Done,
    }
}

/// A value with several lines gets its length before it, so that it cannot form another field.
fn add_field(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend((value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend(value.as_bytes());
    bytes.push(b'\n');
}

/// Returns words with blanks between them; of very many the first, and the number of the others.
fn listed(words: &[String]) -> String {
    let mut text = String::new();
    for (at, word) in words.iter().enumerate() {
        let blank = if at == 0 { "" } else { " " };
        if text.len() + word.len() > LONGEST_LIST {
            return format!("{text}{blank}and {} more", words.len() - at);
        }
        text.push_str(blank);
        text.push_str(word);
    }
    text
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_the_machine_s_a_socket_or_nobody() {
        let of = |word: &str| EventReceiver::of(Some(OsStr::new(word)));
        assert_eq!(EventReceiver::of(None), Some(EventReceiver::OfMachine));
        assert_eq!(of("none"), Some(EventReceiver::Nobody));
        assert_eq!(of("journal:/run/x"), Some(EventReceiver::Journal("/run/x".into())));
        assert_eq!(of("syslog:/dev/log"), Some(EventReceiver::Syslog("/dev/log".into())));
        for word in ["none", "journal:/run/x", "syslog:/dev/log"] {
            assert_eq!(of(word).and_then(|receiver| receiver.variable()).as_deref(), Some(word));
        }
        for bad in ["", "journal", "journal:x", "file:/tmp/x", "None"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    fn entry(run: &str, patch: &str) -> HistoryEntry {
        let line = format!(
            r#"{{"run":"{run}","time":"2026-11-20T07:00:00Z","user":"root","command":"patchadd","result":"done","duration":1234,"patches":["{patch}"],"packages":["ACMEweb"]}}"#
        );
        HistoryEntry::parse(line.as_bytes()).unwrap()
    }

    fn fields(event: &RunEvent) -> String {
        String::from_utf8(event.journal_fields()).unwrap()
    }

    #[test]
    fn a_run_of_several_patches_is_one_event() {
        let entries = [entry("3-00ff", "100-01"), entry("3-00ff", "101-01"), entry("4-00aa", "102-01")];
        let events = RunEvent::of_history(Path::new("/mnt"), &entries);
        let messages: Vec<String> = events.iter().map(RunEvent::message).collect();
        assert_eq!(
            messages,
            [
                "run 3 of /mnt: patchadd 100-01 101-01: done by root in 1.2 s",
                "run 4 of /mnt: patchadd 102-01: done by root in 1.2 s"
            ]
        );
        let fields = fields(&events[0]);
        assert!(fields.contains("\nPATCHADM_PATCHES=100-01 101-01\nPATCHADM_PACKAGES=ACMEweb\n"), "{fields}");
    }

    #[test]
    fn each_kind_has_its_id_and_priority() {
        let mut entry = entry("1-a", "100-01");
        let kind =
            |entry: &HistoryEntry| RunEvent::of_history(Path::new("/"), std::slice::from_ref(entry))[0].kind;
        assert_eq!(kind(&entry), EventKind::Done);
        for (end, expected) in [
            ("confirmed", EventKind::Confirmed),
            ("expired", EventKind::TrialOver),
            ("stuck", EventKind::TrialOver),
        ] {
            entry.trial_end = Some(TrialEnd { run: "1-a".to_owned(), end: end.to_owned(), left: None });
            assert_eq!(kind(&entry), expected);
        }
        entry.result = "rolled-back".to_owned();
        assert_eq!((kind(&entry), kind(&entry).priority()), (EventKind::RolledBack, 4));
    }

    #[test]
    fn a_value_of_several_lines_is_no_other_field() {
        let mut entry = entry("1-a", "100-01");
        entry.note = Some("one\nPRIORITY=0".to_owned());
        let event = &RunEvent::of_history(Path::new("/"), &[entry])[0];
        let expected = [b"PATCHADM_NOTE\n".as_slice(), &14_u64.to_le_bytes(), b"one\nPRIORITY=0\n"].concat();
        let fields = event.journal_fields();
        assert!(fields.windows(expected.len()).any(|window| window == expected));
    }

    #[test]
    fn a_line_of_syslog_is_one_line() {
        let mut entry = entry("1-a", "100-01");
        entry.user = "eve\n<0>\u{1b}[2J".to_owned();
        let event = &RunEvent::of_history(Path::new("/"), &[entry])[0];
        let line = String::from_utf8(event.syslog_line("Nov 20 07:00:00", 7)).unwrap();
        assert!(
            line.starts_with("<29>Nov 20 07:00:00 patchadm[7]: run 1 of /: patchadd 100-01: done by eve")
        );
        assert!(!line.contains(['\n', '\u{1b}']), "{line:?}");
    }

    #[test]
    fn a_list_that_no_message_can_hold_is_counted() {
        let ids: Vec<String> = (0..10_000).map(|number| format!("{number:06}-01")).collect();
        let text = listed(&ids);
        assert!(text.len() < LONGEST_LIST + 32 && text.ends_with(" more") && text.starts_with("000000-01 "));
        assert_eq!(listed(&ids[..2]), "000000-01 000001-01");
    }
}
