//! The secret key for signing, and its password, from a file or the terminal.

use std::path::{Path, PathBuf};

use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{hinted, source_code};
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_cli::surroundings::caller::with_signals_for_now;
use patchadm_cli::surroundings::{Output, questions};
use patchadm_core::operation::signing::{SigningError, read_secret_key};
use patchadm_inputs::input_file::read_own;
use patchadm_inputs::sign::SecretKey;
use patchadm_inputs::source::{SourceError, SourceProblem};
use patchadm_planning::plan::refusal::{Command, Wording};

/// The password is the first line of `password_file`, or asked for.
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

enum KeyFailure {
    Signing(SigningError),
    Command(anyhow::Error),
}

impl From<SigningError> for KeyFailure {
    fn from(error: SigningError) -> Self {
        Self::Signing(error)
    }
}

pub fn signing_refused(error: SigningError) -> anyhow::Error {
    let exit = match &error {
        SigningError::Differs { .. } | SigningError::Unfit { .. } => Exit::SIGNATURE,
        SigningError::Exists(_) => Exit::of_verb(ExitCause::Exists),
        SigningError::Source(source) => source_code(Command::Patchadd, source),
        SigningError::Io { .. } => Exit::failed(ExitCause::NotFound),
        _ => return error.into(),
    };
    let advice = match &error {
        SigningError::Differs { path, .. } => {
            format!("{RIGHT_OR_NOT}, delete {}, and sign the patch again", path.display())
        }
        SigningError::Source(SourceError { path, problem: SourceProblem::HoldsPatches(names) }) => {
            let patches: Vec<PathBuf> = names.iter().map(|name| path.join(name)).collect();
            format!("specify each patch: {}", signing_command(patches.iter().map(PathBuf::as_path)))
        }
        _ => String::new(),
    };
    Stop::Refused { exit, message: hinted(&error.to_string(), &advice) }.into()
}

/// Begins the advice about a patch that does not match its manifest.
pub(crate) const RIGHT_OR_NOT: &str = "remove the named file if it does not belong to the patch, or restore an altered \
    patch from its source; only if the patch is right";

/// Returns the command that signs targets, the first of many.
pub(crate) fn signing_command<'p>(targets: impl IntoIterator<Item = &'p Path>) -> String {
    let mut targets = targets.into_iter().map(|target| Wording::quoted(&target.to_string_lossy()));
    let named: Vec<String> = targets.by_ref().take(MOST_NAMED).collect();
    let others = if targets.next().is_some() { ", and the others in the same way" } else { "" };
    format!("`patchadm sign --key FILE {}`{others}", named.join(" "))
}

const MOST_NAMED: usize = 5;

/// In bytes.
const LONGEST: u64 = 1024;

/// Options about the password of a secret key.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PasswordOptions {
    /// Store the secret key without a password
    #[arg(long, conflicts_with = "password_file")]
    pub no_password: bool,
    /// Read the password of the secret key from the first line of FILE
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// Returns the password from options or terminal, if needed. Asks for a new one twice.
pub fn password(
    call: &mut Invocation,
    options: &PasswordOptions,
    is_new: bool,
) -> anyhow::Result<Option<Vec<u8>>> {
    if options.no_password {
        return Ok(None);
    }
    if let Some(file) = &options.password_file {
        let text = read_own(file, LONGEST);
        let text =
            text.map_err(|error| refused(ExitCause::NotFound, format!("{}: {error}", file.display())))?;
        let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
        return Ok(Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec()));
    }
    if !call.surroundings.stdin_is_terminal {
        let message =
            "there is no terminal to ask for the password\nhint: specify its file with `--password-file`";
        return Err(refused(ExitCause::Usage, message.to_owned()).into());
    }
    // A signal that ends the program at the prompt would leave the terminal without echo.
    Ok(Some(with_signals_for_now(|interrupt| typed(&mut call.output, is_new, interrupt))??))
}

fn typed(output: &mut Output, is_new: bool, interrupt: &dyn Fn() -> Option<i32>) -> Result<Vec<u8>, Stop> {
    let mut ask = |question| {
        let declined = || {
            let exit = interrupt().map_or(Exit::failed(ExitCause::Declined), Exit::by_signal);
            Stop::Refused { exit, message: "no password was typed".to_owned() }
        };
        questions::secret(output, question).ok_or_else(declined)
    };
    let typed = ask("Password: ")?;
    if is_new && ask("Password (one more time): ")? != typed {
        return Err(refused(ExitCause::Declined, "the passwords are not the same".to_owned()));
    }
    Ok(typed)
}

fn refused(cause: ExitCause, message: String) -> Stop {
    Stop::Refused { exit: Exit::failed(cause), message }
}
