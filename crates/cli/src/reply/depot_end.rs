//! Exit code and next step if a depot cannot be used or a patch cannot be fetched.

use super::cause::ExitCause;
use super::cause_of::of_depot;
use super::exit::Exit;
use patchadm_core::operation::depots::{DepotError, FlagsFileError};
use patchadm_inputs::cache::CacheError;
use patchadm_inputs::http::{HttpError, HttpProblem};
use patchadm_rootfs::LockError;

/// A download failed, or has another size than in the index.
pub const DOWNLOAD: u8 = 40;

/// A directory cannot be indexed.
const NO_FIT: u8 = 10;

/// The named input is damaged.
const DAMAGED: u8 = 33;

/// Returns the exit for a depot that cannot be used. Every command has the same codes for it.
pub fn depot_exit(error: &DepotError) -> Exit {
    if let Some(signal) = error.signal() {
        return Exit::by_signal(signal);
    }
    let code = match of_depot(error) {
        ExitCause::Download => DOWNLOAD,
        ExitCause::Signature => return Exit::SIGNATURE,
        ExitCause::Locked => return Exit::LOCKED,
        ExitCause::DamagedInput => DAMAGED,
        ExitCause::NotApplicable => NO_FIT,
        _ => 1,
    };
    Exit::new(code, of_depot(error))
}

pub fn depot_advice(error: &DepotError) -> String {
    match error {
        DepotError::Http(error) => of_http(error).to_owned(),
        DepotError::Address(_) | DepotError::FileAddress(_) => {
            "Name a directory, or an address that begins with file:, http: or https:.".to_owned()
        }
        DepotError::NotThere(_) => "Name a directory that is there.".to_owned(),
        DepotError::NoDepot(_) | DepotError::NoPatches { .. } => {
            "Name the directory that the patches are in.".to_owned()
        }
        DepotError::Offline(_) => "Leave out --offline once, so that it is fetched.".to_owned(),
        DepotError::NoCache => "Name a directory for it with --cache.".to_owned(),
        DepotError::Cache(CacheError::NotPrivate(_)) => {
            "Name another directory with --cache, or make it yours with mode 0700.".to_owned()
        }
        DepotError::Cache(CacheError::InForeignPlace { .. }) => {
            "Name a directory with --cache that nobody else can exchange.".to_owned()
        }
        DepotError::Cache(CacheError::Held(_)) | DepotError::Lock(LockError::Held { .. }) => {
            "Try again when the other command is done.".to_owned()
        }
        DepotError::NoIndex(_) => {
            "Make one with `patchadm depot index DIR` where the patches are.".to_owned()
        }
        DepotError::Missing(_) => {
            "Try again later: the depot may be being mirrored at this moment.".to_owned()
        }
        DepotError::Index { .. } => {
            "Name the directory in which index.json lies; if it is the right one, its keeper has to fix it."
                .to_owned()
        }
        DepotError::IndexSignature { .. } => {
            "Find out who signed the index; `patchadm key trust` trusts a key.".to_owned()
        }
        DepotError::Size { .. } | DepotError::Digest(_) => {
            "Try again later; if it stays so, tell the keeper of the depot: do not use the file.".to_owned()
        }
        DepotError::DirectoryElsewhere(_) => "Its keeper has to make an archive of it.".to_owned(),
        DepotError::Twice { .. } => "Take one of them away.".to_owned(),
        DepotError::Published(_) => "Use `patchadm publish` for it.".to_owned(),
        DepotError::Flags(FlagsFileError::Words { .. }) => "Mend that line.".to_owned(),
        DepotError::Interrupted(_) => "Run it again: what was read or fetched is kept.".to_owned(),
        _ => "Look at what the message names.".to_owned(),
    }
}

/// Returns true if the text of an error begins with a path or an address, whose letters stay as they are.
pub fn begins_with_place(error: &DepotError) -> bool {
    matches!(
        error,
        DepotError::NotThere(_)
            | DepotError::NoDepot(_)
            | DepotError::Http(_)
            | DepotError::Offline(_)
            | DepotError::NoIndex(_)
            | DepotError::Index { .. }
            | DepotError::IndexSignature { .. }
            | DepotError::Missing(_)
            | DepotError::Size { .. }
            | DepotError::Digest(_)
            | DepotError::Published(_)
            | DepotError::Flags { .. }
    )
}

fn of_http(error: &HttpError) -> &'static str {
    match error.problem {
        HttpProblem::NotThere(_) => "Try again later: the depot may be being mirrored at this moment.",
        HttpProblem::UnknownIssuer => {
            "Name the certificates of its authority with --ca or `ca=` in the policy, if you trust it."
        }
        HttpProblem::Untrusted(_) => "Nothing is taken from a server that does not prove who it is.",
        HttpProblem::Certificates { .. } => "Name a file of certificates in PEM with --ca.",
        HttpProblem::Proxy(_) => "Name the proxy as HOST:PORT.",
        HttpProblem::SeenPassword(_) => "Name it in the environment, by PATCHADM_PROXY.",
        HttpProblem::Socks(_) => "Name an HTTP proxy as HOST:PORT, or none.",
        HttpProblem::Library(_) => "Fetch it by other means, and report this defect.",
        HttpProblem::NotBuilt => "Fetch the depot by other means, and name its directory.",
        HttpProblem::Downgrade(_) | HttpProblem::Redirects | HttpProblem::BadRedirect(_) => {
            "Name the address to which it should lead."
        }
        HttpProblem::Interrupted(_) => "Run it again: what was fetched is kept.",
        _ => "Run it again later: what was fetched is kept.",
    }
}
