//! `patchadm-make sign`: signs patches by their manifests.

use std::path::PathBuf;

use chrono::SecondsFormat;
use serde::Serialize;

use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::verbs::RootlessOptions;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::signing::sign_target;
use patchadm_producing::secret_key::secret_key;
use patchadm_producing::secret_key::signing_refused;

const USAGE: &str = "patchadm-make sign --key file [--password-file file] target...";

/// Sign patches, manifests of patches, or the index of a depot
#[derive(clap::Parser)]
struct SignArgs {
    /// Sign with the secret key in FILE
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Read the password of the secret key from the first line of FILE
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    _common: RootlessOptions,
    /// Patches, manifests of patches, or the index of a depot
    #[arg(value_name = "TARGET")]
    targets: Vec<PathBuf>,
}

#[derive(Serialize)]
struct SignReport {
    result: ResultWord,
    signed: Vec<ShownSignature>,
}

#[derive(Serialize)]
struct ShownSignature {
    target: String,
    signature: String,
    key: String,
    time: String,
}

/// Targets signed before a failure stay signed.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let SignArgs { key, password_file, _common: _, targets } = parse(call, USAGE)?;
    let usage = |message: &str| Stop::Usage { message: message.to_owned(), usage: USAGE };
    let key = key.ok_or_else(|| usage("no secret key specified (--key)"))?;
    if targets.is_empty() {
        return Err(usage("nothing to sign").into());
    }
    let now = call.surroundings.now;
    let key = secret_key(call, &key, password_file)?;
    let time = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut signed = Vec::new();
    for target in &targets {
        let made = sign_target(&key, target, now.timestamp()).map_err(signing_refused)?;
        signed.push(ShownSignature {
            target: made.target.display().to_string(),
            signature: made.file.display().to_string(),
            key: made.key.to_string(),
            time: time.clone(),
        });
    }
    Ok(Reply::new(Exit::OK, SignReport { result: ResultWord::Done, signed }))
}

impl CommandReport for SignReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        for one in &self.signed {
            output.line(format!("{} signed by key {}: {}", one.target, one.key, one.signature))?;
        }
        Ok(())
    }
}
