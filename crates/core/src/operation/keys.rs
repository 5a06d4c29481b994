//! The keys of a root: which it trusts, and which it never trusts again.
//!
//! Changes are made under the lock of the root, each file by one rename that is flushed to the disk before the next. A key
//! gets its rules before it gets its file, so that it is never there without them. A key that is revoked keeps its file:
//! what it signed is refused as revoked, not as signed by somebody unknown.

use super::failure::Failure;
use super::session::{Caller, RootAndPolicy, Session};
use patchadm_inputs::database::policy;
use patchadm_inputs::sign::{
    KeyDirectory, KeyDirectoryError, KeyFileError, KeyId, KeyRing, KeyRules, PublicKey,
};
use patchadm_rootfs::{Dir, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};

/// What a file under a private name belongs to.
const PROGRAM: &str = "patchadm-key";

/// Why keys were not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The root could not be locked or changed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The keys of the root cannot be believed.
    #[error(transparent)]
    Directory(#[from] KeyDirectoryError),
    /// The file is no key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A name for a key is no name of a file.
    #[error(
        "<{0}> is no name for a key: letters, digits, `.`, `_`, `+` and `-`, and no dot at its beginning"
    )]
    Name(String),
    /// Another key has the name.
    #[error("the name {name} is that of another key, {id}")]
    Taken {
        /// The name.
        name: String,
        /// The key that has it.
        id: KeyId,
    },
    /// The key was revoked.
    #[error("key {0} is revoked")]
    Revoked(KeyId),
}

impl From<RootError> for KeysError {
    fn from(error: RootError) -> Self {
        Self::Failed(error.into())
    }
}

/// The keys of a root, and where they are.
pub struct RootKeys {
    /// The keys, with what was revoked.
    pub ring: KeyRing,
    /// Their directory, inside the root.
    pub place: ObjectPath,
}

/// Reads the keys of a root from the directory that its policy names.
pub fn read_keys(root: &Root) -> Result<RootKeys, KeysError> {
    root.look_at_records()?;
    let place = policy::of_root(root).map_err(Failure::from)?.keys;
    Ok(RootKeys { ring: KeyDirectory::new(root, &place).read()?, place })
}

/// Trusts a key within these rules under a name; one that is trusted by that name gets the rules. Returns what changed:
/// false where all was so already.
pub fn trust_key(
    root: &Root,
    (name, key, rules): (&str, &PublicKey, &KeyRules),
    caller: &Caller<'_>,
) -> Result<bool, KeysError> {
    if !is_name(name) {
        return Err(KeysError::Name(name.to_owned()));
    }
    let session = Session::begin(RootAndPolicy::of(root)?, caller)?;
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

/// Revokes a key, whether the root knows it or not. Returns what changed: false where it was revoked already.
pub fn revoke_key(root: &Root, (id, reason): (KeyId, &str), caller: &Caller<'_>) -> Result<bool, KeysError> {
    let session = Session::begin(RootAndPolicy::of(root)?, caller)?;
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

/// Opens the directory, and makes it with those above it where it is missing.
fn key_directory(root: &Root, place: &ObjectPath) -> Result<Dir, RootError> {
    let physical = root.resolver().locate_dir(place)?;
    if let Some(dir) = root.dir_if_there(&physical)? {
        dir.remove_leftovers(PROGRAM)?;
        return Ok(dir);
    }
    let above = match place.parent() {
        Some(parent) => key_directory(root, &parent)?,
        None => return root.dir(&physical),
    };
    let made = above.make_dir(place.name(), Mode::of(0o755))?;
    above.sync()?;
    Ok(made)
}

/// Writes a file by one rename that is on the disk afterwards.
fn put(dir: &Dir, name: &str, text: &str) -> Result<(), RootError> {
    dir.replace_file(PROGRAM, name.as_bytes(), text.as_bytes(), Mode::of(0o644))?;
    dir.sync()
}
