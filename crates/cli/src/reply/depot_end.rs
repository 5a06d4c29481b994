//! Exit code and next step if a depot cannot be used or a patch cannot be fetched.

use std::path::Path;

use super::cause::ExitCause;
use super::cause_of::of_depot;
use super::exit::Exit;
use patchadm_core::operation::depots::{DepotError, FlagsFileError, is_on_network};
use patchadm_inputs::cache::CacheError;
use patchadm_inputs::http::{HttpError, HttpProblem};
use patchadm_inputs::sign::SignatureState;
use patchadm_planning::plan::refusal::Wording;
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
            "specify a directory, or a file:, http: or https: URL".to_owned()
        }
        DepotError::NotThere(_) => "specify an existing directory".to_owned(),
        DepotError::NoDepot(_) | DepotError::NoPatches { .. } => {
            "specify the directory that contains the patches".to_owned()
        }
        DepotError::Offline(_) => "run it once without `--offline` to download it".to_owned(),
        DepotError::NoCache => "specify a directory for it with `--cache`".to_owned(),
        DepotError::Cache(CacheError::NotPrivate(_)) => {
            "specify another directory with `--cache`, or own this one, with mode 0700".to_owned()
        }
        DepotError::Cache(CacheError::InForeignPlace { .. }) => {
            "specify a directory with `--cache` that nobody else can replace".to_owned()
        }
        DepotError::Cache(CacheError::Held(_)) | DepotError::Lock(LockError::Held { .. }) => {
            "try again when the other command has finished".to_owned()
        }
        DepotError::NoIndex(directory)
            if !is_on_network(directory.as_ref()) && !Path::new(directory).join("objects").exists() =>
        {
            format!("`patchadm depot index {}`", Wording::quoted(directory))
        }
        DepotError::NoIndex(_) => {
            "create one with `patchadm depot index DIR`, in the directory of the patches".to_owned()
        }
        DepotError::Missing(_) => {
            "try again later; the depot may be updating right now".to_owned()
        }
        DepotError::MissingSignature(_) => {
            "try again later; the depot may be updating right now; otherwise the index was never signed, or changed afterwards, and its maintainer must publish it again"
                .to_owned()
        }
        DepotError::Index { .. } => {
            "specify the directory that contains index.json; if it is the right one, ask the maintainer of the depot to fix it"
                .to_owned()
        }
        DepotError::IndexSignature { verdict, .. } => index_advice(verdict.state, "`patchadm key trust FILE`"),
        DepotError::Size { .. } | DepotError::Digest(_) => {
            "try again later; if the problem persists, do not use the file, and tell the maintainer of the depot".to_owned()
        }
        DepotError::DirectoryElsewhere(_) => "ask the maintainer of the depot to publish it as an archive".to_owned(),
        DepotError::Twice { .. } => "remove one of them".to_owned(),
        DepotError::Published(_) => "use `patchadm publish`".to_owned(),
        DepotError::Flags(FlagsFileError::Words { .. }) => "fix that line".to_owned(),
        DepotError::Interrupted(_) => "run it again; downloads are kept".to_owned(),
        _ => "check the file named in the message".to_owned(),
    }
}

/// Returns what to do about the signature of an index; `trust` is the command for a key that is not known yet.
pub(super) fn index_advice(state: SignatureState, trust: &str) -> String {
    match state {
        SignatureState::Revoked => "ask the publisher to sign the index with another key".to_owned(),
        SignatureState::Expired | SignatureState::NotAllowed => {
            "ask the publisher to sign the index with another key, or change the rules of this one".to_owned()
        }
        SignatureState::Bad => "do not use the depot, and tell its maintainer".to_owned(),
        SignatureState::Unchecked
        | SignatureState::Trusted
        | SignatureState::Unsigned
        | SignatureState::UnknownKey => {
            format!("find out who signed the index, and trust that key with {trust}")
        }
    }
}

/// Returns true if the text of an error begins with a path or an address, whose letters stay as they are.
pub fn begins_with_place(error: &DepotError) -> bool {
    matches!(
        error,
        DepotError::NotThere(_)
            | DepotError::NoDepot(_)
            | DepotError::NoPatches { .. }
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
        HttpProblem::NotThere(_) => "try again later; the depot may be updating right now",
        HttpProblem::UnknownIssuer => {
            "if you trust its authority, specify the CA certificates with `--ca`, or set `ca` in the policy"
        }
        HttpProblem::Untrusted(_) => "use a server with a valid certificate",
        HttpProblem::Malformed(_) => {
            "check that the URL names a web server, and that no proxy changes its answers"
        }
        HttpProblem::Certificates { .. } => "specify a PEM file of certificates with `--ca`",
        HttpProblem::Proxy(_) => "specify the proxy as HOST:PORT",
        HttpProblem::SeenPassword(_) => "set it in the environment variable PATCHADM_PROXY",
        HttpProblem::Socks(_) => "specify an HTTP proxy as HOST:PORT, or none",
        HttpProblem::Library(_) => "download it by other means, and report this bug",
        HttpProblem::NotBuilt => "download the depot by other means, and specify its directory",
        HttpProblem::Downgrade(_) | HttpProblem::Redirects | HttpProblem::BadRedirect(_) => {
            "specify the final URL"
        }
        HttpProblem::Interrupted(_) => "run it again; downloads are kept",
        _ => "run it again later; downloads are kept",
    }
}
