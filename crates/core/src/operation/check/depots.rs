//! Can the index of the policy's depot, or of remembered ones, be reached? Its content and signature are ignored. Each
//! depot is asked in a thread, which is abandoned after a time limit.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::operation::check::{RootExamination, RootFinding};
use crate::operation::depots::{DepotError, DepotLocation};
use crate::operation::whose_root::RootStanding;
use patchadm_inputs::depot::{LARGEST_MEMORY, SeenDepots};
use patchadm_inputs::http::{HttpClient, HttpRequest, HttpSettings, Patience, Proxies};
use patchadm_inputs::password::without_password;
use patchadm_inputs::policy::Policy;
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::never;
use patchadm_svr4::places;

const LONGEST: Duration = Duration::from_secs(8);

/// The last seen ones.
const MOST_ASKED: usize = 4;

struct KnownDepots {
    locations: Vec<String>,
    /// False for a depot that is only remembered.
    is_of_policy: bool,
}

pub(super) fn depots(examination: &RootExamination<'_>) -> Vec<RootFinding> {
    let Ok(policy) = &examination.policy else {
        return vec![RootFinding::unknown("depot", "the policy does not say which depot")];
    };
    let is_of_others = match &examination.changes {
        Ok(RootStanding::Caller(_)) => false,
        Ok(RootStanding::Owner(_)) => true,
        Err(failure) => failure.untrusted().is_some(),
    };
    // Another user who can write there would choose the address that the superuser contacts.
    if is_of_others {
        return vec![RootFinding::unknown("depot", "not contacted: others can change which depot is used")];
    }
    let known = match known_depots(examination, policy) {
        Ok(known) => known,
        Err(finding) => return vec![finding],
    };
    if known.locations.is_empty() {
        return vec![RootFinding::ok("depot", "no depot is configured or was used before")];
    }
    let http = settings(examination, policy);
    let is_offline = examination.request.is_offline;
    let asked: Vec<AskedDepot> =
        known.locations.into_iter().map(|named| AskedDepot::ask(named, &http, is_offline)).collect();
    let mut left = LONGEST;
    asked.iter().map(|depot| of_answer(depot, depot.wait(&mut left), known.is_of_policy)).collect()
}

fn known_depots(examination: &RootExamination<'_>, policy: &Policy) -> Result<KnownDepots, RootFinding> {
    if let Some(depot) = &policy.depot {
        return Ok(KnownDepots { locations: vec![without_password(depot)], is_of_policy: true });
    }
    let place = places::depots();
    let shown = examination.root.show(&place);
    let text = match examination.root.read(&place, LARGEST_MEMORY as u64) {
        Ok(text) => text.unwrap_or_default(),
        Err(error) if error.is_refused_access() => {
            return Err(RootFinding::unknown("depot", error.to_string()));
        }
        Err(error) => return Err(RootFinding::attention("depot", error.to_string())),
    };
    let seen = SeenDepots::parse(&text).map_err(|error| {
        RootFinding::attention(
            "depot",
            format!("{shown}: {error}; restore it from a backup, or remove that line"),
        )
    })?;
    let mut seen: Vec<_> = seen.depots().collect();
    seen.sort_by(|one, other| other.seen.cmp(&one.seen));
    let (mut depots, mut locations) = (BTreeSet::new(), Vec::new());
    for one in seen {
        // Of several locations of a depot, the one used last.
        if depots.insert(&one.depot) && !locations.contains(&one.location) {
            locations.push(one.location.clone());
        }
    }
    locations.truncate(MOST_ASKED);
    Ok(KnownDepots { locations, is_of_policy: false })
}

fn settings(examination: &RootExamination<'_>, policy: &Policy) -> HttpSettings {
    let of_caller = examination.request.http.clone();
    let second = Duration::from_secs(1);
    HttpSettings {
        authorities: of_caller.authorities.clone().or_else(|| policy.ca.clone()),
        proxies: policy.proxy.clone().map_or_else(|| of_caller.proxies.clone(), Proxies::only),
        patience: Patience {
            connect: second * 2,
            first_byte: second * 3,
            slow: second * 3,
            pauses: Vec::new(),
            ..Patience::default()
        },
        ..of_caller
    }
}

struct AskedDepot {
    named: String,
    /// `None` if the depot is not asked.
    answer: Option<Receiver<Result<(), DepotError>>>,
}

impl AskedDepot {
    /// Skips a network that must not be used.
    fn ask(named: String, http: &HttpSettings, is_offline: bool) -> Self {
        let location = DepotLocation::parse(OsStr::new(&named));
        if is_offline && matches!(location, Ok(DepotLocation::Address(_))) {
            return Self { named, answer: None };
        }
        let (tell, answer) = channel();
        let http = http.clone();
        // A dead file system or resolver blocks the thread, not the caller.
        thread::spawn(move || {
            // The caller may have stopped waiting.
            let _ = tell.send(location.and_then(|location| reach(&location, &http)));
        });
        Self { named, answer: Some(answer) }
    }

    /// Returns why the depot is unreachable; `None` if it is not asked.
    fn wait(&self, left: &mut Duration) -> Option<Result<(), String>> {
        let Self { named, answer } = self;
        Some(match answer.as_ref()?.recv_timeout(*left) {
            Ok(reached) => reached.map_err(|error| error.to_string()),
            Err(RecvTimeoutError::Timeout) => {
                // The others have had the same time.
                *left = Duration::ZERO;
                Err(format!("{named} does not respond within {} seconds", LONGEST.as_secs()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(format!("{named} was not contacted")),
        })
    }
}

/// Ignores the content.
fn reach(location: &DepotLocation, http: &HttpSettings) -> Result<(), DepotError> {
    match location {
        DepotLocation::Address(address) => {
            let index = address.below("index.json");
            HttpClient::new(http).get(&HttpRequest::whole(&index), &never)?;
            Ok(())
        }
        DepotLocation::Directory(path) => reach_directory(path),
    }
}

fn reach_directory(path: &Path) -> Result<(), DepotError> {
    match std::fs::read_dir(path) {
        Ok(_) if path.join("objects").is_dir() && !path.join("index.json").is_file() => {
            Err(DepotError::NoIndex(path.display().to_string()))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(DepotError::NotThere(path.to_owned()))
        }
        Err(error) => Err(DepotError::Read { path: path.to_owned(), error }),
    }
}

fn of_answer(
    AskedDepot { named, .. }: &AskedDepot,
    answer: Option<Result<(), String>>,
    is_of_policy: bool,
) -> RootFinding {
    match answer {
        None => RootFinding::unknown("depot", format!("{named} is not contacted with --offline")),
        Some(Ok(())) if is_of_policy => RootFinding::ok("depot", format!("{named} can be reached")),
        Some(Ok(())) => {
            RootFinding::ok("depot", format!("no depot configured; {named}, used before, can be reached"))
        }
        Some(Err(reason)) if is_of_policy => {
            RootFinding::attention("depot", format!("the depot of the policy cannot be reached: {reason}"))
                .with_command(format!("patchadm depot check {}", Wording::quoted(named)))
        }
        Some(Err(reason)) => {
            RootFinding::limited("depot", format!("a depot that was used before cannot be reached: {reason}"))
        }
    }
}
