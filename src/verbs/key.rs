//! `patchadm key`: the keys that a root trusts. Keys are made by `patchadm-make`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use serde::Serialize;

use super::options::BriefVerbOptions;
use crate::as_owner::options::OwnerOptions;
use patchadm_cli::arguments::{one_of, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::query_refused;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, ResultWord, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::keys::{KeysError, RootKeys, read_keys, revoke_key, trust_key};
use patchadm_inputs::input_file::read_start;
use patchadm_inputs::sign::{KeyId, KeyRole, KeyRules, PublicKey};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;

const USAGE: &str = "patchadm [-R root] key [list]\n\
    patchadm [-R root] key trust file [--name name] [--expires date] [--roles list] [--bases regex] [--as-owner|--trust-root]\n\
    patchadm [-R root] key revoke keyid [--reason text] [--as-owner|--trust-root]";

/// In bytes.
const LARGEST: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyAction {
    Trust,
    Revoke,
    List,
}

const ACTIONS: [(&str, KeyAction); 3] =
    [("trust", KeyAction::Trust), ("revoke", KeyAction::Revoke), ("list", KeyAction::List)];

/// Manage the signing keys that a root trusts: list, trust, revoke
#[derive(clap::Parser)]
struct KeyArgs {
    /// Name the trusted key [default: the name of its file]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Trust signatures up to this day, such as 2027-12-31
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
    /// Set what the key may sign [default: patch,index]
    #[arg(long, value_name = "LIST")]
    roles: Option<String>,
    /// Let the key sign only patches whose base matches REGEX
    #[arg(long, value_name = "REGEX")]
    bases: Option<String>,
    /// Record the reason for the revocation
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    owner: OwnerOptions,
    #[command(flatten)]
    common: BriefVerbOptions,
    /// Action: list, trust or revoke [default: list]
    #[arg(value_name = "ACTION", value_parser = one_of(&ACTIONS), hide_possible_values = true)]
    action: Option<KeyAction>,
    /// For trust, a public key file; for revoke, a key id
    #[arg(value_name = "FILE|KEYID")]
    subject: Option<String>,
}

#[derive(Serialize)]
struct KeysReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<ResultWord>,
    keys: Vec<ShownKey>,
    /// Files beside the keys without a meaning.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<String>,
    #[serde(skip)]
    text: Vec<String>,
}

#[derive(Serialize)]
struct ShownKey {
    id: String,
    name: Option<String>,
    file: Option<String>,
    roles: Vec<&'static str>,
    bases: Option<String>,
    expires: Option<String>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: KeyArgs = parse(call, USAGE)?;
    match args.must_fit()? {
        KeyAction::Trust => trust(call, &args),
        KeyAction::Revoke => revoke(call, &args),
        KeyAction::List => list(call, &args),
    }
}

fn usage(message: impl Into<String>) -> Stop {
    Stop::Usage { message: message.into(), usage: USAGE }
}

impl KeyArgs {
    /// Returns the action if all given options belong to it.
    fn must_fit(&self) -> Result<KeyAction, Stop> {
        use KeyAction::{List, Revoke, Trust};
        let action = self.action.unwrap_or(List);
        let said = [
            ("--name", self.name.is_some(), Trust),
            ("--expires", self.expires.is_some(), Trust),
            ("--roles", self.roles.is_some(), Trust),
            ("--bases", self.bases.is_some(), Trust),
            ("--reason", self.reason.is_some(), Revoke),
        ];
        let of_others =
            said.iter().filter(|(.., of)| *of != action).map(|(option, is_said, _)| (*option, *is_said));
        let of_changes = self.owner.said().into_iter().filter(|_| action == List);
        if let Some((option, _)) = of_others.chain(of_changes).find(|(_, is_said)| *is_said) {
            return Err(usage(format!("{option} is not an option of this action")));
        }
        match (action, &self.subject) {
            (List, Some(word)) => Err(usage(format!("unexpected argument <{word}>"))),
            (Trust, None) => Err(usage("no public key file specified")),
            (Revoke, None) => Err(usage("no key id specified")),
            _ => Ok(action),
        }
    }

    fn rules(&self) -> Result<KeyRules, Stop> {
        let mut rules = KeyRules::default();
        let said = [("expires", &self.expires), ("roles", &self.roles), ("bases", &self.bases)];
        for (name, value) in said {
            if let Some(value) = value {
                rules.set(name, value).map_err(|reason| usage(format!("--{name}: {reason}")))?;
            }
        }
        Ok(rules)
    }
}

fn trust(call: &mut Invocation, args: &KeyArgs) -> anyhow::Result<Reply> {
    let rules = args.rules()?;
    let file = PathBuf::from(args.subject.as_deref().unwrap_or_default());
    let name = match (&args.name, file.file_stem()) {
        (Some(name), _) => name.clone(),
        (None, stem) => stem.unwrap_or_default().to_string_lossy().into_owned(),
    };
    let root = args.owner.open::<KeyArgs>(call, &args.common.root, Command::Patchadd)?;
    let key = read_public_key(&file)?;
    let changed =
        call.change(&root, "key", None, |caller| trust_key(&root, (&name, &key, &rules), caller))?;
    let changed = changed.map_err(|error| keys_refused(&root, &error))?;
    let text = if changed { "is trusted" } else { "is already trusted" };
    about_root(call, &root, changed, key.id, &format!("key {} ({name}) {text}", key.id))
}

fn revoke(call: &mut Invocation, args: &KeyArgs) -> anyhow::Result<Reply> {
    let id: KeyId =
        args.subject.as_deref().unwrap_or_default().parse().map_err(|error| usage(format!("{error}")))?;
    let root = args.owner.open::<KeyArgs>(call, &args.common.root, Command::Patchadd)?;
    let reason = args.reason.as_deref().unwrap_or_default();
    let changed = call.change(&root, "key", None, |caller| revoke_key(&root, (id, reason), caller))?;
    let changed = changed.map_err(|error| keys_refused(&root, &error))?;
    let text = if changed { "is revoked" } else { "is already revoked" };
    about_root(call, &root, changed, id, &format!("key {id} {text}"))
}

fn about_root(call: &Invocation, root: &Root, changed: bool, id: KeyId, text: &str) -> anyhow::Result<Reply> {
    let (mut keys, ignored) = shown_keys(call, root)?;
    keys.retain(|shown| shown.id == id.to_string());
    let result = Some(if changed { ResultWord::Done } else { ResultWord::NothingToDo });
    Ok(Reply::about(root, Exit::OK, KeysReport { result, keys, ignored, text: vec![text.to_owned()] }))
}

fn list(call: &mut Invocation, args: &KeyArgs) -> anyhow::Result<Reply> {
    let root = args.common.root.open(call)?;
    let (keys, ignored) = shown_keys(call, &root)?;
    let text = if keys.is_empty() {
        vec!["no keys are trusted".to_owned()]
    } else {
        keys.iter().map(line).collect()
    };
    Ok(Reply::about(&root, Exit::OK, KeysReport { result: Some(ResultWord::Done), keys, ignored, text }))
}

fn shown_keys(call: &Invocation, root: &Root) -> anyhow::Result<(Vec<ShownKey>, Vec<String>)> {
    let keys = read_keys(root).map_err(|error| keys_refused(root, &error))?;
    let today = call.surroundings.now.date_naive();
    let place = root.show(&keys.place);
    let ignored = keys.ring.ignored.iter().map(|ignored| format!("{place}: {ignored}")).collect();
    Ok((shown(root, &keys, today), ignored))
}

fn shown(root: &Root, RootKeys { ring, place }: &RootKeys, today: NaiveDate) -> Vec<ShownKey> {
    let place = root.show(place);
    let mut keys: Vec<ShownKey> = Vec::new();
    for trusted in &ring.keys {
        let reason = ring.revoked.reason(trusted.key.id);
        let is_expired = trusted.rules.expires.is_some_and(|last| last < today);
        let state = match reason {
            Some(_) => "revoked",
            None if is_expired => "expired",
            None => "trusted",
        };
        keys.push(ShownKey {
            id: trusted.key.id.to_string(),
            name: Some(trusted.name.clone()),
            file: Some(format!("{place}/{}.pub", trusted.name)),
            roles: trusted.rules.roles.iter().map(|role| role.word()).collect(),
            bases: trusted.rules.bases_text.clone(),
            expires: trusted.rules.expires.map(|day| day.to_string()),
            state,
            reason: reason.map(str::to_owned),
        });
    }
    let strangers = ring.revoked.iter().filter(|(id, _)| ring.of_id(*id).next().is_none());
    keys.extend(strangers.map(|(id, reason)| ShownKey {
        id: id.to_string(),
        name: None,
        file: None,
        roles: Vec::new(),
        bases: None,
        expires: None,
        state: "revoked",
        reason: Some(reason.to_owned()),
    }));
    keys
}

fn line(key: &ShownKey) -> String {
    let mut line = format!("{} {:<8} {}", key.id, key.state, key.name.as_deref().unwrap_or("-"));
    if !key.roles.is_empty() && key.roles.len() < KeyRole::ALL.len() {
        let _ = write!(line, ", {} only", key.roles.join(" "));
    }
    if let Some(bases) = &key.bases {
        let _ = write!(line, ", bases {bases}");
    }
    if let Some(day) = &key.expires {
        let _ = write!(line, ", until {day}");
    }
    if let Some(reason) = key.reason.as_deref().filter(|reason| !reason.is_empty()) {
        let _ = write!(line, " ({reason})");
    }
    line.trim_end().to_owned()
}

fn read_public_key(file: &Path) -> anyhow::Result<PublicKey> {
    let refused = |cause, error: &dyn std::fmt::Display| {
        let message = format!("the key was not trusted: {}: {error}", file.display());
        Stop::Refused { exit: Exit::failed(cause), message }
    };
    let text = read_start(file, LARGEST).map_err(|error| refused(ExitCause::NotFound, &error))?;
    Ok(PublicKey::parse(&text).map_err(|error| refused(ExitCause::DamagedInput, &error))?)
}

fn keys_refused(root: &Root, error: &KeysError) -> anyhow::Error {
    let exit = match error {
        KeysError::Failed(failure) => return query_refused(root, failure).into(),
        KeysError::Directory(_) | KeysError::Revoked(_) => Exit::SIGNATURE,
        KeysError::Key(_) => Exit::failed(ExitCause::DamagedInput),
        KeysError::Name(_) => Exit::failed(ExitCause::Usage),
        _ => Exit::of_verb(ExitCause::Exists),
    };
    Stop::Refused { exit, message: format!("no key was changed: {error}") }.into()
}

impl CommandReport for KeysReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.text.iter().try_for_each(|line| output.line(line))?)
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        Ok(self.ignored.iter().try_for_each(|ignored| output.warning(ignored))?)
    }
}
