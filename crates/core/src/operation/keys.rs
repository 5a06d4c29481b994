//! Trusted and revoked keys of a root, changed under its lock by durable renames. A key gets its rules before its file,
//! so that it never exists without them. A revoked key keeps its file, so that its signatures are refused as revoked,
//! not as unknown.

use super::failure::Failure;
use super::new_database::made_directory;
use super::session::{Caller, RootAndPolicy};
use crate::operation::trial::begin_change;
use patchadm_inputs::database::policy;
use patchadm_inputs::sign::{
    KeyDirectory, KeyDirectoryError, KeyFileError, KeyId, KeyRing, KeyRules, PublicKey,
};
use patchadm_rootfs::{Dir, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};

const PROGRAM: &str = "patchadm-key";

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    #[error(transparent)]
    Failed(#[from] Failure),
    #[error(transparent)]
    Directory(#[from] KeyDirectoryError),
    #[error(transparent)]
    Key(#[from] KeyFileError),
    #[error(
        "<{0}> is not a name for a key: letters, digits, `.`, `_`, `+` and `-`, not beginning with a dot"
    )]
    Name(String),
    #[error("the name {name} belongs to another key, {id}")]
    Taken { name: String, id: KeyId },
    #[error("key {0} is revoked")]
    Revoked(KeyId),
}

impl From<RootError> for KeysError {
    fn from(error: RootError) -> Self {
        Self::Failed(error.into())
    }
}

pub struct RootKeys {
    pub ring: KeyRing,
    /// Inside the root.
    pub place: ObjectPath,
}

pub fn read_keys(root: &Root) -> Result<RootKeys, KeysError> {
    root.look_at_records()?;
    let place = policy::of_root(root).map_err(Failure::from)?.keys;
    Ok(RootKeys { ring: KeyDirectory::new(root, &place).read()?, place })
}

/// Trusts a key under a name; an already trusted key gets the new rules. Returns whether anything changed.
pub fn trust_key(
    root: &Root,
    (name, key, rules): (&str, &PublicKey, &KeyRules),
    caller: &Caller<'_>,
) -> Result<bool, KeysError> {
    if !is_name(name) {
        return Err(KeysError::Name(name.to_owned()));
    }
    let session = begin_change(RootAndPolicy::of(root)?, caller)?;
    let (root, place) = (&session.ground.root, &session.ground.policy.keys);
    let ring = KeyDirectory::new(root, place).read()?;
    if ring.revoked.reason(key.id).is_some() {
        return Err(KeysError::Revoked(key.id));
    }
    let known = ring.keys.iter().find(|known| known.name == name);
    match known {
        Some(known) if known.key != *key => {
            return Err(KeysError::Taken { name: name.to_owned(), id: known.key.id });
        }
        Some(known) if known.rules.write() == rules.write() => return Ok(false),
        _ => {}
    }
    let dir = key_directory(root, place)?;
    let rules = rules.write();
    let rules_name = format!("{name}.rules");
    if rules.is_empty() {
        dir.remove(rules_name.as_bytes())?;
        dir.sync()?;
    } else {
        put(&dir, &rules_name, &rules)?;
    }
    if known.is_none() {
        put(&dir, &format!("{name}.pub"), &key.write())?;
    }
    Ok(true)
}

/// The root need not know the key. Returns false if it was already revoked.
pub fn revoke_key(root: &Root, (id, reason): (KeyId, &str), caller: &Caller<'_>) -> Result<bool, KeysError> {
    let session = begin_change(RootAndPolicy::of(root)?, caller)?;
    let (root, place) = (&session.ground.root, &session.ground.policy.keys);
    let mut revoked = KeyDirectory::new(root, place).read()?.revoked;
    if revoked.reason(id).is_some() {
        return Ok(false);
    }
    revoked.add(id, reason);
    put(&key_directory(root, place)?, "revoked", &revoked.write())?;
    Ok(true)
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.bytes().all(is_letter)
}

/// Also removes remains of killed commands.
fn key_directory(root: &Root, place: &ObjectPath) -> Result<Dir, RootError> {
    let dir = made_directory(root, place)?;
    dir.remove_leftovers(PROGRAM)?;
    Ok(dir)
}

/// Writes a durable file by one rename.
fn put(dir: &Dir, name: &str, text: &str) -> Result<(), RootError> {
    dir.replace_file(PROGRAM, name.as_bytes(), text.as_bytes(), Mode::of(0o644))?;
    dir.sync()
}
