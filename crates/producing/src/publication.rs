//! Publication in a depot: the key of its index, the report, and exit codes of failures.

use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::SecondsFormat;
use serde::Serialize;

use crate::secret_key::{RIGHT_OR_NOT, secret_key, signing_command};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::cause_of::{of_io, of_root};
use patchadm_cli::reply::failure::{hinted, source_code};
use patchadm_cli::reply::json::milliseconds_since;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, ResultWord, Stop};
use patchadm_cli::surroundings::{Output, Zone};
use patchadm_core::operation::depots::FlagsFileError;
use patchadm_core::operation::publish::{IndexSigning, PublishError, PublishReport, PublishState, SignIndex};
use patchadm_inputs::input_file::read_small;
use patchadm_inputs::sign::{PublicKey, SecretKey};
use patchadm_inputs::source::SourceError;
use patchadm_making::lint::{self, LintFinding};
use patchadm_planning::plan::refusal::{Command, Wording};
use patchadm_rootfs::LockError;

/// Default validity of an index, in days.
pub const DAYS: u32 = 30;

const LARGEST_KEY: u64 = 4096;

/// The key of `--key`.
pub enum IndexKey {
    None,
    Public(PublicKey),
    Secret(SecretKey),
}

pub fn signing<'a>(key: &IndexKey, sign: &'a SignIndex<'a>, is_unsigned: bool) -> IndexSigning<'a> {
    match key {
        IndexKey::Secret(key) => IndexSigning::Here { key: key.public(), sign },
        IndexKey::Public(key) => IndexSigning::Elsewhere(Some(key.clone())),
        IndexKey::None if is_unsigned => IndexSigning::Never,
        IndexKey::None => IndexSigning::Elsewhere(None),
    }
}

/// Reads a secret or public key. `--finish` signs nothing, so a public key is enough.
pub fn read_key(
    call: &mut Invocation,
    file: Option<&Path>,
    password_file: Option<PathBuf>,
) -> anyhow::Result<IndexKey> {
    let Some(file) = file else { return Ok(IndexKey::None) };
    // An unreadable file or one without a public key is reported as no secret key.
    let text = read_small(file, LARGEST_KEY).unwrap_or_default();
    if let Ok(public) = PublicKey::parse(&text) {
        return Ok(IndexKey::Public(public));
    }
    secret_key(call, file, password_file).map(IndexKey::Secret)
}

/// Returns the findings of `lint` about what a revision lacks of earlier ones.
pub fn missing_of_earlier(later: &Path, earlier: &[PathBuf]) -> Result<Vec<String>, SourceError> {
    let found = lint::missing_of_earlier(later, earlier)?;
    Ok(found.iter().map(LintFinding::to_string).collect())
}

/// Exit code for damaged input.
const DAMAGED: u8 = 33;

pub fn refused(error: &PublishError) -> anyhow::Error {
    let (exit, next) = end_of(error);
    Stop::Refused { exit, message: hinted(&format!("nothing was published\n{error}"), &next) }.into()
}

fn end_of(error: &PublishError) -> (Exit, String) {
    let (exit, next) = match error {
        PublishError::Lock(LockError::Held { .. }) => {
            (Exit::LOCKED, "try again when the other command has finished")
        }
        PublishError::Lock(LockError::Root(error)) | PublishError::Depot(error) => {
            (Exit::failed(of_root(error)), "check the named file or directory")
        }
        PublishError::Directory { path, error } => {
            return (Exit::failed(of_io(error)), format!("check the directory {}", quoted(path)));
        }
        PublishError::Read { error, .. } => (Exit::failed(of_io(error)), "check the named file or directory"),
        PublishError::Flags(FlagsFileError::Words { .. }) => {
            (Exit::of_verb(ExitCause::Settings), "fix that line")
        }
        PublishError::Flags(FlagsFileError::Read { error, .. }) => {
            (Exit::failed(of_io(error)), "check the named file")
        }
        PublishError::Source(error) => {
            (source_code(Command::Patchadd, error), "remove the file, or replace it with a complete patch")
        }
        PublishError::Patch { .. } => (
            Exit::new(DAMAGED, ExitCause::DamagedInput),
            "remove the file, or replace it with a patch that is a single file",
        ),
        PublishError::Index { .. } | PublishError::DamagedObject(_) => {
            (Exit::new(DAMAGED, ExitCause::DamagedInput), "restore it from a mirror or a backup")
        }
        PublishError::Unsigned(index) if index.ends_with("index/next.json") => {
            return (Exit::SIGNATURE, signing_command([index.as_path()]));
        }
        PublishError::Unsigned(_) => (
            Exit::SIGNATURE,
            "restore it from a mirror or a backup; an index that was never signed is accepted with `--unsigned`",
        ),
        PublishError::Signature { .. } => (
            Exit::SIGNATURE,
            "find out who signed it; patchadm-depot(5) describes how to change the key of a depot",
        ),
        PublishError::Manifest { .. } => {
            let again = "delete its manifest; `patchadm sign --key FILE PATCH` makes it again";
            return (Exit::SIGNATURE, format!("{RIGHT_OR_NOT}, {again}"));
        }
        PublishError::Changed(_) => {
            (Exit::of_verb(ExitCause::Edited), "publish again when nobody is writing to it")
        }
        PublishError::OtherBytes(_) | PublishError::Twice { .. } => {
            (Exit::of_verb(ExitCause::NotApplicable), "give the later one another revision, or remove it")
        }
        PublishError::NotCumulative { .. } => (
            Exit::of_verb(ExitCause::NotApplicable),
            "build it again from the first release, with `--previous` for the revision before it",
        ),
        PublishError::Finish(_) => {
            (Exit::of_verb(ExitCause::NotApplicable), "publish again, and sign the new index")
        }
        PublishError::TooLarge(_) | PublishError::NoVersion => {
            (Exit::of_verb(ExitCause::NotApplicable), "start a new depot")
        }
        PublishError::NoIndex(_) => (Exit::failed(ExitCause::NotFound), "publish patches first"),
        PublishError::Interrupted(signal) => (Exit::by_signal(*signal), "run it again"),
        _ => (Exit::failed(ExitCause::Internal), "check the depot"),
    };
    (exit, next.to_owned())
}

fn quoted(path: &Path) -> String {
    Wording::quoted(&path.to_string_lossy())
}

#[derive(Debug, Serialize)]
pub struct PublicationReport {
    result: ResultWord,
    duration_ms: u64,
    depot: Option<String>,
    version: u64,
    index_sha256: Option<String>,
    expires: Option<String>,
    added: Vec<String>,
    kept: Vec<String>,
    to_sign: Vec<String>,
    #[serde(skip)]
    state: PublishState,
    #[serde(skip)]
    place: String,
}

impl PublicationReport {
    pub fn of(published: &PublishReport, place: &Path, began: Instant) -> Self {
        Self {
            result: match published.state {
                PublishState::Published | PublishState::Waiting => ResultWord::Done,
                PublishState::Unchanged => ResultWord::NothingToDo,
                PublishState::Planned => ResultWord::Planned,
                PublishState::Unsigned => ResultWord::Refused,
            },
            duration_ms: milliseconds_since(began),
            depot: published.depot.clone(),
            version: published.version,
            index_sha256: published.index_sha256.clone(),
            expires: published.expires.map(|expires| expires.to_rfc3339_opts(SecondsFormat::Secs, true)),
            added: published.added.clone(),
            kept: published.kept.clone(),
            to_sign: published.to_sign.iter().map(|path| path.display().to_string()).collect(),
            state: published.state,
            place: place.display().to_string(),
        }
    }

    /// The publication, and the files to be signed.
    pub fn lines(&self, zone: Zone) -> Vec<String> {
        let mut lines = vec![self.summary(zone)];
        lines.extend(self.added.iter().map(|id| format!("  added {id}")));
        if !self.kept.is_empty() {
            lines.push(format!("  there already: {}", self.kept.len()));
        }
        lines.extend(self.to_sign.iter().map(|path| format!("  to sign: {path}")));
        lines
    }

    fn summary(&self, zone: Zone) -> String {
        let Self { place, version, .. } = self;
        match self.state {
            PublishState::Unsigned => return "nothing was published: there are no signatures yet".to_owned(),
            PublishState::Unchanged => return format!("{place}: version {version} stays; nothing is new"),
            PublishState::Published | PublishState::Waiting | PublishState::Planned => {}
        }
        let until = match &self.expires {
            Some(moment) => format!("valid until {}", zone.minute_of(moment)),
            None => "valid for ever".to_owned(),
        };
        match self.state {
            PublishState::Waiting => format!("{place}: version {version} waits to be signed, {until}"),
            PublishState::Planned => format!("{place}: would publish version {version}, {until}"),
            _ => format!("{place}: published version {version}, {until}"),
        }
    }

    pub fn advice(&self) -> Option<String> {
        match self.state {
            PublishState::Waiting => Some(format!(
                "hint: run {}, then `patchadm publish --finish {}`",
                signing_command(self.to_sign.iter().map(Path::new)),
                Wording::quoted(&self.place)
            )),
            PublishState::Unsigned => Some(format!(
                "hint: run {}, or publish without signatures with `--unsigned`",
                signing_command(self.to_sign.iter().map(Path::new))
            )),
            _ => None,
        }
    }
}

impl CommandReport for PublicationReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        self.lines(output.zone()).iter().try_for_each(|line| output.line(line))?;
        Ok(self.advice().map_or(Ok(()), |advice| output.line(advice))?)
    }
}
