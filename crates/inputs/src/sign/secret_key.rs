//! Secret keys of minisign, encrypted with a stream that scrypt derives from the password, or stored as they are. The
//! memory for scrypt is limited: a foreign key file takes no more than one of minisign.

use std::fmt;

use blake2::Digest as _;
use ed25519_dalek::{Signer as _, SigningKey};

use super::signature::{self, ALGORITHM, KeyId, LARGEST_KEY_FILE, PublicKey, Signature, TrustedComment};
use patchadm_svr4::package::is_room_for;

const BY_SCRYPT: [u8; 2] = *b"Sc";
const NOT_ENCRYPTED: [u8; 2] = [0, 0];
const BY_BLAKE2B: [u8; 2] = *b"B2";

/// The costs of minisign: about a second and a gibibyte.
const OPERATIONS: u64 = 1 << 25;

const MEMORY: u64 = 1 << 30;
const LEAST_MEMORY: u64 = 1 << 24;
const SEALED: usize = 8 + 64 + 32;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretKeyError {
    #[error("it is not a secret key of minisign: {0}")]
    Form(&'static str),
    #[error("the key is encrypted, and no password was given")]
    NoPassword,
    #[error("the password is wrong, or the key is damaged")]
    WrongPassword,
    /// The file requires more memory than minisign ever does.
    #[error("decrypting the key needs more than 1 GiB of memory")]
    TooExpensive,
    #[error("not enough memory to decrypt the key: {0} MiB are needed")]
    NoRoom(u64),
}

#[derive(Clone)]
pub struct KeySeed {
    pub id: [u8; 8],
    pub secret: [u8; 32],
    pub salt: [u8; 32],
}

pub struct SecretKey {
    id: KeyId,
    key: SigningKey,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({})", self.id)
    }
}

struct SealedKey {
    encryption: [u8; 2],
    salt: [u8; 32],
    operations: u64,
    memory: u64,
    sealed: [u8; SEALED],
}

impl SecretKey {
    pub fn new(seed: &KeySeed) -> Self {
        Self { id: KeyId(seed.id), key: SigningKey::from_bytes(&seed.secret) }
    }

    /// The key file needs a password.
    pub fn is_encrypted(text: &[u8]) -> Result<bool, SecretKeyError> {
        Ok(SealedKey::parse(text)?.encryption == BY_SCRYPT)
    }

    /// Parses a key file; `password` is ignored unless the key is encrypted.
    pub fn parse(text: &[u8], password: Option<&[u8]>) -> Result<Self, SecretKeyError> {
        let mut sealed = SealedKey::parse(text)?;
        let is_encrypted = sealed.encryption == BY_SCRYPT;
        if is_encrypted {
            let password = password.ok_or(SecretKeyError::NoPassword)?;
            let cost = Cost::of(sealed.operations, sealed.memory)?;
            cipher(password, &sealed.salt, cost, &mut sealed.sealed)?;
        }
        let wrong = if is_encrypted {
            SecretKeyError::WrongPassword
        } else {
            SecretKeyError::Form("its two halves do not match")
        };
        Self::open(&sealed.sealed, is_encrypted).ok_or(wrong)
    }

    /// minisign leaves the checksum empty if a key has no password.
    fn open(plain: &[u8; SEALED], is_checked: bool) -> Option<Self> {
        let mut rest = &plain[..];
        let id = KeyId(*signature::take_array(&mut rest)?);
        let (secret, public) =
            (signature::take_array::<32>(&mut rest)?, signature::take_array::<32>(&mut rest)?);
        let check = signature::take_array::<32>(&mut rest)?;
        let key = SigningKey::from_bytes(secret);
        let found = Self { id, key };
        let is_whole = !is_checked || found.check() == *check;
        (is_whole && found.key.verifying_key().as_bytes() == public).then_some(found)
    }

    fn check(&self) -> [u8; 32] {
        let mut digest = blake2::Blake2b::<blake2::digest::consts::U32>::new();
        digest.update(ALGORITHM);
        digest.update(self.id.0);
        digest.update(self.key.to_keypair_bytes());
        digest.finalize().into()
    }

    pub fn public(&self) -> PublicKey {
        PublicKey { id: self.id, point: self.key.verifying_key().to_bytes() }
    }

    /// Encrypts if there is a password. If memory is short, less is used, as by minisign.
    pub fn write(
        &self,
        seed: &KeySeed,
        password: Option<&[u8]>,
        comment: &str,
    ) -> Result<String, SecretKeyError> {
        let memory = std::iter::successors(Some(MEMORY), |memory| Some(memory / 2))
            .find(|&memory| memory <= LEAST_MEMORY || is_room_for(memory + memory / 8))
            .unwrap_or(LEAST_MEMORY);
        self.write_at_cost(seed, password, comment, OPERATIONS / (MEMORY / memory), memory)
    }

    fn write_at_cost(
        &self,
        seed: &KeySeed,
        password: Option<&[u8]>,
        comment: &str,
        operations: u64,
        memory: u64,
    ) -> Result<String, SecretKeyError> {
        let check = password.map_or([0; 32], |_| self.check());
        let plain = [&self.id.0[..], &self.key.to_keypair_bytes(), &check].concat();
        let mut sealed = [0; SEALED];
        sealed.iter_mut().zip(plain).for_each(|(to, from)| *to = from);
        let Some(password) = password else {
            let sealed =
                SealedKey { encryption: NOT_ENCRYPTED, salt: [0; 32], operations: 0, memory: 0, sealed };
            return Ok(sealed.write(comment));
        };
        cipher(password, &seed.salt, Cost::of(operations, memory)?, &mut sealed)?;
        let sealed = SealedKey { encryption: BY_SCRYPT, salt: seed.salt, operations, memory, sealed };
        Ok(sealed.write(comment))
    }

    /// Signs the message's BLAKE2b-512 digest, as minisign does, and the comment, which must be one line.
    pub fn sign(&self, message: &[u8], trusted_comment: &str) -> Signature {
        let bytes = self.key.sign(&signature::prehash(message)).to_bytes();
        let text = trusted_comment.as_bytes().to_vec();
        let signature = self.key.sign(&[&bytes[..], &text].concat()).to_bytes();
        let trusted = Some(TrustedComment { text, signature });
        Signature { key: self.id, is_hashed: true, bytes, trusted }
    }
}

impl SealedKey {
    fn parse(text: &[u8]) -> Result<Self, SecretKeyError> {
        if text.len() > LARGEST_KEY_FILE {
            return Err(SecretKeyError::Form("it is larger than 4 KiB"));
        }
        let [comment, key] = signature::text_lines(text)[..] else {
            return Err(SecretKeyError::Form("it does not have two lines"));
        };
        if signature::untrusted_comment(comment).is_none() {
            return Err(SecretKeyError::Form("its first line is not a comment line"));
        }
        let bytes =
            signature::decode::<158>(key).ok_or(SecretKeyError::Form("its second line is not 158 bytes"))?;
        let sealed = Self::of(&bytes).ok_or(SecretKeyError::Form("its algorithm is not Ed25519"))?;
        match sealed.encryption {
            BY_SCRYPT | NOT_ENCRYPTED => Ok(sealed),
            _ => Err(SecretKeyError::Form("it is encrypted in an unknown way")),
        }
    }

    fn of(bytes: &[u8; 158]) -> Option<Self> {
        let mut rest = &bytes[..];
        let algorithm = signature::take_array::<2>(&mut rest)?;
        let encryption = *signature::take_array(&mut rest)?;
        let check = signature::take_array::<2>(&mut rest)?;
        let salt = *signature::take_array(&mut rest)?;
        let operations = u64::from_le_bytes(*signature::take_array(&mut rest)?);
        let memory = u64::from_le_bytes(*signature::take_array(&mut rest)?);
        let sealed = *signature::take_array(&mut rest)?;
        let is_known = *algorithm == ALGORITHM && *check == BY_BLAKE2B;
        is_known.then_some(Self { encryption, salt, operations, memory, sealed })
    }

    fn write(&self, comment: &str) -> String {
        let Self { encryption, salt, operations, memory, sealed } = self;
        let cost = [operations.to_le_bytes(), memory.to_le_bytes()].concat();
        signature::armored(comment, &[&ALGORITHM[..], encryption, &BY_BLAKE2B, salt, &cost, sealed].concat())
    }
}

#[derive(Clone, Copy)]
struct Cost {
    log_n: u8,
    p: u32,
}

/// libsodium always uses this block size.
const BLOCKS: u32 = 8;

impl Cost {
    /// Like libsodium.
    fn of(operations: u64, memory: u64) -> Result<Self, SecretKeyError> {
        if operations > OPERATIONS || memory > MEMORY {
            return Err(SecretKeyError::TooExpensive);
        }
        let operations = operations.max(32768);
        let log_of = |most: u64| (1..63).find(|&log| 1u64 << log > most / 2).unwrap_or(62);
        let blocks = u64::from(BLOCKS);
        let (log_n, p) = if operations < memory / 32 {
            (log_of(operations / (blocks * 4)), 1)
        } else {
            let log_n = log_of(memory / (blocks * 128));
            (log_n, (operations / 4 / (1 << log_n) / blocks).max(1))
        };
        let p = u32::try_from(p).map_err(|_| SecretKeyError::TooExpensive)?;
        Ok(Self { log_n: u8::try_from(log_n).unwrap_or(u8::MAX), p })
    }

    fn memory(self) -> u64 {
        (1u64 << self.log_n.min(40)) * 128 * u64::from(BLOCKS)
    }
}

fn cipher(
    password: &[u8],
    salt: &[u8; 32],
    cost: Cost,
    sealed: &mut [u8; SEALED],
) -> Result<(), SecretKeyError> {
    // The library allocates without asking.
    if !is_room_for(cost.memory() + cost.memory() / 8) {
        return Err(SecretKeyError::NoRoom(cost.memory() >> 20));
    }
    let mut stream = [0; SEALED];
    // This length is only for password hashes.
    let params = scrypt::Params::new(cost.log_n, BLOCKS, cost.p, scrypt::Params::RECOMMENDED_LEN);
    let params = params.map_err(|_| SecretKeyError::TooExpensive)?;
    scrypt::scrypt(password, salt, &params, &mut stream).map_err(|_| SecretKeyError::TooExpensive)?;
    sealed.iter_mut().zip(stream).for_each(|(byte, key)| *byte ^= key);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/../../testdata/signatures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn seed() -> KeySeed {
        KeySeed { id: [7; 8], secret: [8; 32], salt: [9; 32] }
    }

    #[test]
    fn keys_of_minisign_are_read_with_and_without_password() {
        assert_eq!(SecretKey::is_encrypted(&read("plain.sec")), Ok(false));
        let plain = SecretKey::parse(&read("plain.sec"), None).unwrap();
        assert_eq!(plain.public(), PublicKey::parse(&read("plain.pub")).unwrap());
        let locked = read("locked.sec");
        assert_eq!(SecretKey::is_encrypted(&locked), Ok(true));
        assert_eq!(SecretKey::parse(&locked, None).unwrap_err(), SecretKeyError::NoPassword);
        if !is_room_for(MEMORY * 2) {
            crate::skipped("a key encrypted by minisign: it takes 1 GiB of memory");
            return;
        }
        let opened = SecretKey::parse(&locked, Some(b"test")).unwrap();
        assert_eq!(opened.public(), PublicKey::parse(&read("locked.pub")).unwrap());
    }

    #[test]
    fn a_key_without_password_is_written_as_minisign_writes_it() {
        let text = read("plain.sec");
        let key = SecretKey::parse(&text, None).unwrap();
        let written = key.write(&seed(), None, "patchadm test key, no password").unwrap();
        assert_eq!(written.as_bytes(), text);
    }

    #[test]
    fn what_is_written_with_a_password_is_read_with_it_and_with_no_other() {
        let key = SecretKey::new(&seed());
        let text = key.write_at_cost(&seed(), Some(b"one"), "c", 1 << 15, 1 << 20).unwrap();
        assert!(SecretKey::parse(text.as_bytes(), Some(b"one")).unwrap().public() == key.public());
        let wrong = SecretKey::parse(text.as_bytes(), Some(b"two")).unwrap_err();
        assert_eq!(wrong, SecretKeyError::WrongPassword);
    }

    #[test]
    fn a_file_that_asks_for_endless_memory_is_refused() {
        let text = String::from_utf8(read("locked.sec")).unwrap();
        let bytes = signature::decode::<158>(text.lines().nth(1).unwrap().as_bytes()).unwrap();
        for (at, byte) in [(43, 1), (51, 1)] {
            let mut changed = bytes;
            changed[at] = byte;
            let text = signature::armored("c", &changed);
            let error = SecretKey::parse(text.as_bytes(), Some(b"test")).unwrap_err();
            assert_eq!(error, SecretKeyError::TooExpensive, "byte {at}");
        }
    }

    #[test]
    fn a_signature_is_good_for_its_message_and_comment_only() {
        let key = SecretKey::new(&seed());
        let signature = key.sign(b"message", "timestamp:17\tfile:m\thashed");
        assert_eq!(signature.time(), Some(17));
        let text = signature.write("signed by a test");
        let read = Signature::parse(text.as_bytes(), super::super::SignatureFormat::Minisign).unwrap();
        assert_eq!(read, signature);
        assert!(read.is_of(&key.public(), b"message") && !read.is_of(&key.public(), b"massage"));
        let other = text.replace("timestamp:17", "timestamp:18");
        let other = Signature::parse(other.as_bytes(), super::super::SignatureFormat::Minisign).unwrap();
        assert!(!other.is_of(&key.public(), b"message"));
    }
}
