use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};

use crate::arguments::fetching::{DepotOption, FetchOptions, fetch_bar};
use crate::arguments::verbs::SignatureOptions;
use crate::call::Invocation;
use crate::reply::depot_end::{depot_advice, depot_exit};
use crate::reply::failure::{hinted, query_refused};
use crate::reply::{Exit, ExitCause, Stop};
use crate::surroundings::caller::with_signals_for_now;
use patchadm_core::operation::analysis::{AnalysisError, parse_cross_reference, read_cross_reference};
use patchadm_core::operation::depot_memory::last_used_depot;
use patchadm_core::operation::depots::{
    Depot, DepotError, DepotLocation, DepotProgress, FetchSession, fetch_bytes, open_depot,
};
use patchadm_core::operation::failure::{Failure, IgnoredDepot};
use patchadm_core::operation::patches::apply::{SignatureRequest, demands, is_unverified};
use patchadm_core::operation::session::RootAndPolicy;
use patchadm_inputs::http::Address;
use patchadm_inputs::password::without_password;
use patchadm_inputs::sign::{Demand, DemandWord};
use patchadm_planning::analyze::{CrossReference, from_depot};
use patchadm_rootfs::Root;
use patchadm_svr4::format::patchdiag::LARGEST_FILE;

/// Options that say what a machine is compared with.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ComparisonOptions {
    /// Compare with this patch cross-reference (patchdiag.xref)
    #[arg(long, value_name = "FILE|URL", conflicts_with = "depot")]
    xref: Option<OsString>,
    #[command(flatten)]
    depot: DepotOption,
    #[command(flatten)]
    signature: SignatureOptions,
}

pub struct ReferenceComparison {
    pub reference: CrossReference,
    pub name: String,
    /// The depot and the demands on its index, to be compared with what each root remembers.
    depot: Option<(Depot, DemandWord)>,
    /// The reason why the policy of the host names the depot, and not that of the root.
    ignored_depot: Option<IgnoredDepot>,
    signature: SignatureRequest,
    now: DateTime<Utc>,
}

enum NamedPlace {
    File(OsString),
    Address(Address),
    Depot(DepotLocation),
}

impl ComparisonOptions {
    pub fn is_said(&self) -> bool {
        self.xref.is_some() || self.depot.depot.is_some()
    }
}

impl ReferenceComparison {
    /// Opens what the options name, else the depot of the policy. For many roots, and for machines that are not here,
    /// the running system says which keys are trusted.
    pub fn open(
        call: &mut Invocation,
        (options, fetching): (&ComparisonOptions, &FetchOptions),
        root: &Root,
        usage: &'static str,
    ) -> anyhow::Result<Self> {
        let now = call.surroundings.now;
        let signature = options.signature.clone().request();
        let mut ignored_depot: Option<IgnoredDepot> = None;
        let (place, name) = match (&options.xref, &options.depot.depot) {
            (Some(file), _) => (place_of_file(file).map_err(|error| depot_refused(&error))?, file.clone()),
            (None, Some(depot)) => {
                let location = DepotLocation::parse(depot).map_err(|error| depot_refused(&error))?;
                (NamedPlace::Depot(location), depot.clone())
            }
            (None, None) => {
                let ground = RootAndPolicy::of(root).map_err(|failure| query_refused(root, &failure))?;
                ignored_depot.clone_from(&ground.ignored_depot);
                of_policy(root, ground, usage)?
            }
        };
        let name = name.to_string_lossy().into_owned();
        match place {
            NamedPlace::File(file) => {
                let reference =
                    read_cross_reference(Path::new(&file)).map_err(|error| analysis_refused(&error))?;
                Ok(Self { reference, name, depot: None, ignored_depot, signature, now })
            }
            NamedPlace::Address(address) => {
                let text = fetch(call, (options, fetching), root, |session, _| {
                    fetch_bytes(session, &address, LARGEST_FILE as u64)
                })?;
                let reference = parse_cross_reference(Path::new(&name), &text)
                    .map_err(|error| analysis_refused(&error))?;
                Ok(Self { reference, name, depot: None, ignored_depot, signature, now })
            }
            NamedPlace::Depot(location) => {
                let (depot, word) = fetch(call, (options, fetching), root, |session, demands| {
                    Ok((open_depot(&location, demands, session)?, strictest(demands)))
                })?;
                let reference = from_depot(depot.index());
                Ok(Self { reference, name, depot: Some((depot, word)), ignored_depot, signature, now })
            }
        }
    }

    /// Compares the index of the depot with what the root remembers of it. Returns a note for the user, if any.
    pub fn must_be_current(&self, root: &Root) -> Result<Option<String>, Stop> {
        let Some((depot, word)) = &self.depot else { return Ok(None) };
        let stale = depot.check(root, *word, self.now).map_err(|failure| query_refused(root, &failure))?;
        Ok(stale.map(|stale| stale.to_string()))
    }

    /// Returns the sentence about a depot of the root's own policy that is not used.
    pub fn ignored_depot(&self) -> Option<String> {
        self.ignored_depot.as_ref().map(ToString::to_string)
    }

    /// Returns a note about a depot on a network for which the root trusts no key.
    pub fn unverified(&self, ground: &RootAndPolicy) -> Result<Option<String>, Failure> {
        if self.depot.is_none() {
            return Ok(None);
        }
        unverified(ground, &self.signature, &self.name)
    }

    /// Fails if the depot has neither an index nor patches.
    pub fn must_have_patches(&self) -> anyhow::Result<()> {
        let Some((depot, _)) = &self.depot else { return Ok(()) };
        depot.must_have_patches().map_err(|error| depot_refused(&error))
    }

    /// Returns a note about everything in the directory of the depot that is not a patch.
    pub fn passed_over(&self) -> Option<String> {
        let (depot, _) = self.depot.as_ref()?;
        if let Err(error) = depot.must_have_patches() {
            return Some(error.to_string());
        }
        match depot.passed_over() {
            [] => None,
            [(name, reason)] => Some(format!("{name} is skipped, because it is not a patch: {reason}")),
            many => Some(format!(
                "{} files in {} are skipped, because they are not patches.",
                many.len(),
                self.name
            )),
        }
    }
}

/// Returns a note about a depot on a network for which the root trusts no key.
pub fn unverified(
    ground: &RootAndPolicy,
    request: &SignatureRequest,
    depot: &str,
) -> Result<Option<String>, Failure> {
    let note = || format!("{} is not verified: the root trusts no key", without_password(depot));
    Ok(is_unverified(ground, request, depot)?.then(note))
}

fn place_of_file(file: &OsString) -> Result<NamedPlace, DepotError> {
    match DepotLocation::parse(file) {
        Ok(DepotLocation::Address(_)) => Ok(NamedPlace::Address(Address::parse(&file.to_string_lossy())?)),
        _ => Ok(NamedPlace::File(file.clone())),
    }
}

fn of_policy(
    root: &Root,
    ground: RootAndPolicy,
    usage: &'static str,
) -> anyhow::Result<(NamedPlace, OsString)> {
    let Some(depot) = ground.policy.depot else {
        let last = last_used_depot(root).map(|last| without_password(&last));
        let last = last.map(|last| format!("; the last depot used was {last}")).unwrap_or_default();
        let how = ground.ignored_depot.map_or_else(
            || "specify a depot with -M, or a file with --xref".to_owned(),
            |ignored| ignored.to_string(),
        );
        let message = format!("nothing to compare with: {how}{last}");
        return Err(Stop::Usage { message, usage }.into());
    };
    let location = DepotLocation::parse(depot.as_ref()).map_err(|error| depot_refused(&error))?;
    Ok((NamedPlace::Depot(location), depot.into()))
}

fn fetch<T>(
    call: &mut Invocation,
    (options, fetching): (&ComparisonOptions, &FetchOptions),
    root: &Root,
    work: impl FnOnce(&FetchSession<'_>, &[Demand]) -> Result<T, DepotError>,
) -> anyhow::Result<T> {
    let ground_and_demands = || -> Result<(RootAndPolicy, Vec<Demand>), Failure> {
        let ground = RootAndPolicy::of(root)?;
        let demands = demands(&ground, &options.signature.clone().request())?;
        Ok((ground, demands))
    };
    let (ground, demands) = ground_and_demands().map_err(|failure| query_refused(root, &failure))?;
    let bar = fetch_bar(call);
    let progress = |progress: DepotProgress<'_>| bar.show(progress);
    let fetched = with_signals_for_now(|interrupt| {
        let access = fetching.access(&call.surroundings, &ground.policy, None, interrupt, &progress);
        work(&FetchSession::new(access), &demands)
    })?;
    drop(bar);
    fetched.map_err(|error| depot_refused(&error))
}

fn strictest(demands: &[Demand]) -> DemandWord {
    let words = demands.iter().map(|demand| demand.word);
    words.max_by_key(|word| *word == DemandWord::Require).unwrap_or(DemandWord::Off)
}

/// A file does not exist or has none of the expected forms: the code of patchadd(1M).
const NOT_USABLE: u8 = 33;

/// A list of packages or patches is damaged: the code of patchadd(1M) for a damaged pkginfo.
const DAMAGED_LIST: u8 = 28;

pub fn analysis_refused(error: &AnalysisError) -> anyhow::Error {
    let (code, next) = match error {
        AnalysisError::File { .. } => (NOT_USABLE, "check the spelling and the working directory"),
        AnalysisError::CrossReference { .. } => {
            (NOT_USABLE, "download the file again, unmodified, and not as a web page")
        }
        AnalysisError::Patches { .. } | AnalysisError::Packages { .. } => {
            (DAMAGED_LIST, "save the complete output of the commands again, unmodified")
        }
    };
    let cause = match error {
        AnalysisError::File { reason, .. } => match reason.kind() {
            io::ErrorKind::NotFound => ExitCause::NotFound,
            io::ErrorKind::PermissionDenied => ExitCause::NoRights,
            _ => ExitCause::Internal,
        },
        _ => ExitCause::DamagedInput,
    };
    not_analysed(Exit::new(code, cause), error, next)
}

fn depot_refused(error: &DepotError) -> anyhow::Error {
    not_analysed(depot_exit(error), error, &depot_advice(error))
}

fn not_analysed(exit: Exit, reason: &dyn Display, next: &str) -> anyhow::Error {
    Stop::Refused { exit, message: hinted(&format!("nothing was analyzed: {reason}"), next) }.into()
}
