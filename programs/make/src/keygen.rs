//! `patchadm-make keygen`: makes a pair of keys.

use std::path::PathBuf;

use serde::Serialize;

use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::verbs::RootlessOptions;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{CommandReport, Exit, Reply, ResultWord};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::signing::generate_key;
use patchadm_inputs::sign::KeyRole;
use patchadm_producing::secret_key::signing_refused;
use patchadm_producing::secret_key::{PasswordOptions, password};

const USAGE: &str = "patchadm-make keygen -o name [--no-password|--password-file file] [--comment text]";

/// Make a key pair for signing patches and indexes
#[derive(clap::Parser)]
struct KeygenArgs {
    /// Write the keys to NAME.sec and NAME.pub
    #[arg(short = 'o', long = "output", value_name = "NAME")]
    output: PathBuf,
    #[command(flatten)]
    password: PasswordOptions,
    /// Set the comment in the secret key file
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    #[command(flatten)]
    _common: RootlessOptions,
}

#[derive(Serialize)]
struct KeygenReport {
    result: ResultWord,
    keys: [GeneratedKey; 1],
    #[serde(skip)]
    text: [String; 3],
}

#[derive(Serialize)]
struct GeneratedKey {
    id: String,
    name: Option<String>,
    file: String,
    roles: Vec<&'static str>,
    bases: Option<String>,
    expires: Option<String>,
    state: &'static str,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: KeygenArgs = parse(call, USAGE)?;
    let secret = password(call, &args.password, true)?;
    let made =
        generate_key(&args.output, secret.as_deref(), args.comment.as_deref()).map_err(signing_refused)?;
    let public = made.public_file.display().to_string();
    let text = [
        format!("key {}", made.public.id),
        format!("secret key: {}", made.secret_file.display()),
        format!("public key: {public}"),
    ];
    let key = GeneratedKey {
        id: made.public.id.to_string(),
        name: args.output.file_name().map(|name| name.to_string_lossy().into_owned()),
        file: public,
        roles: KeyRole::ALL.iter().map(|role| role.word()).collect(),
        bases: None,
        expires: None,
        state: "generated",
    };
    Ok(Reply::new(Exit::OK, KeygenReport { result: ResultWord::Done, keys: [key], text }))
}

impl CommandReport for KeygenReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.text.iter().try_for_each(|line| output.line(line))?)
    }
}
