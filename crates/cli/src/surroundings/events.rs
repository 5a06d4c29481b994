//! Sends events of runs to the journal of systemd, else to syslog, in one datagram each and without waiting. A run
//! never depends on it: a lost event is noted.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;

use super::run_event::RunEvent;
use patchadm_inputs::database::history::HistoryEntry;
use patchadm_rootfs::Root;

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

    /// Does not wait.
    fn take(&self, event: &RunEvent, now: NaiveDateTime) -> io::Result<()> {
        let (socket, datagram) = match self {
            Self::OfMachine | Self::Nobody => return Ok(()),
            Self::Journal(socket) => (socket, event.journal_fields()),
            Self::Syslog(socket) => {
                (socket, event.syslog_line(&now.format("%b %e %H:%M:%S").to_string(), std::process::id()))
            }
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
}
