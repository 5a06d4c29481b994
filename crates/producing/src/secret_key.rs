//! The secret key that a verb signs with, and the password that it may need.

use std::path::{Path, PathBuf};

use crate::password::{PasswordOptions, password};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::source_code;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_core::operation::signing::{SigningError, read_secret_key};
use patchadm_inputs::sign::SecretKey;
use patchadm_planning::plan::refusal::Command;

/// Reads a secret key. The password that it needs is the first line of `password_file`, else it is asked for.
pub fn secret_key(
    call: &mut Invocation,
    file: &Path,
    password_file: Option<PathBuf>,
) -> anyhow::Result<SecretKey> {
    let options = PasswordOptions { no_password: false, password_file };
    let ask = || password(call, &options, false).map(Option::unwrap_or_default).map_err(KeyFailure::Command);
    read_secret_key(file, ask).map_err(|failure| match failure {
        KeyFailure::Signing(error) => signing_refused(error),
        KeyFailure::Command(error) => error,
    })
}

/// Why no secret key could be read.
enum KeyFailure {
    Signing(SigningError),
    Command(anyhow::Error),
}

impl From<SigningError> for KeyFailure {
    fn from(error: SigningError) -> Self {
        Self::Signing(error)
    }
}

/// Returns the end by a key or patch of a producer's that cannot be used.
pub fn signing_refused(error: SigningError) -> anyhow::Error {
    let exit = match &error {
        SigningError::Differs { .. } | SigningError::Unfit { .. } => Exit::SIGNATURE,
        SigningError::Exists(_) => Exit::failed(ExitCause::Usage),
        SigningError::Source(source) => source_code(Command::Patchadd, source),
        SigningError::Io { .. } => Exit::failed(ExitCause::NotFound),
        _ => return error.into(),
    };
    Stop::Refused { exit, message: error.to_string() }.into()
}
