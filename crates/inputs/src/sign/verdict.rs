//! The verdict on a signature, from the keys and the policy of a root.

use std::fmt;

use chrono::{DateTime, SecondsFormat};

use super::key_directory::{KeyRing, KeyRole, TrustedKey};
use super::manifest::{Manifest, ManifestForm};
use super::signature::{IS_AVAILABLE, KeyId, Signature, SignatureFormat};
use patchadm_changeset::format::history::SignatureRecord;

/// Strictest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DemandWord {
    Off,
    /// Applies patches without a good signature with a note, and refuses bad ones.
    Warn,
    /// Refuses patches without a good signature.
    Require,
}

impl DemandWord {
    pub const ALL: [(&'static str, Self); 3] =
        [("require", Self::Require), ("warn", Self::Warn), ("off", Self::Off)];

    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Require => "require",
        }
    }
}

/// Of one policy, with its trusted keys.
#[derive(Clone, Debug)]
pub struct Demand {
    pub word: DemandWord,
    pub keys: KeyRing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignatureState {
    Unchecked,
    /// Good, and its key may sign this.
    Trusted,
    Unsigned,
    /// The root does not have its key.
    UnknownKey,
    /// Its key is past the last day.
    Expired,
    /// Its key may only sign something else.
    NotAllowed,
    Revoked,
    /// Signature, manifest, id or content do not belong together.
    Bad,
}

impl SignatureState {
    /// Returns the word for JSON and the history.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Trusted => "trusted",
            Self::Unsigned => "unsigned",
            Self::UnknownKey => "unknown-key",
            Self::Expired => "expired",
            Self::NotAllowed => "not-allowed",
            Self::Revoked => "revoked",
            Self::Bad => "bad",
        }
    }

    pub fn is_refused_by(self, demand: DemandWord) -> bool {
        match self {
            Self::Unchecked | Self::Trusted => false,
            Self::Unsigned | Self::UnknownKey => demand == DemandWord::Require,
            Self::Expired | Self::NotAllowed | Self::Revoked | Self::Bad => demand != DemandWord::Off,
        }
    }
}

/// On one patch or index, for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub state: SignatureState,
    /// According to the signature.
    pub key: Option<KeyId>,
    pub name: Option<String>,
    /// In seconds since 1970, if the signature covers a time.
    pub time: Option<i64>,
    pub form: Option<ManifestForm>,
    pub policy: DemandWord,
    /// The end of a sentence about the patch; empty without a fault.
    pub reason: String,
}

impl Verdict {
    pub fn unchecked() -> Self {
        Self::of(SignatureState::Unchecked, DemandWord::Off, "")
    }

    fn of(state: SignatureState, policy: DemandWord, reason: impl Into<String>) -> Self {
        Self { state, key: None, name: None, time: None, form: None, policy, reason: reason.into() }
    }

    pub fn is_refused(&self) -> bool {
        self.state.is_refused_by(self.policy)
    }

    /// Returns the verdict for reports and the history.
    pub fn record(&self) -> SignatureRecord {
        let moment = self.time.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        SignatureRecord {
            state: self.state.word().to_owned(),
            key: self.key.map(|key| key.to_string()),
            name: self.name.clone(),
            time: moment.map(|moment| moment.to_rfc3339_opts(SecondsFormat::Secs, true)),
            form: self.form.map(|form| form.word().to_owned()),
            policy: self.policy.word().to_owned(),
        }
    }

    /// The note on an applied patch: its signer, or that its signature proves nothing; `None` if it was not examined.
    pub fn note(&self) -> Option<String> {
        match self.state {
            SignatureState::Unsigned | SignatureState::UnknownKey => {
                Some(format!("the patch {}", self.reason))
            }
            SignatureState::Trusted => {
                let key = self.key.map(|key| key.to_string()).unwrap_or_default();
                let name = self.name.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
                Some(format!("the patch is signed by key {key}{name}"))
            }
            _ => None,
        }
    }

    #[must_use]
    pub fn but_reason(self, reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..self }
    }

    /// Returns the verdict for content that differs from the manifest.
    #[must_use]
    pub fn but_bad(self, reason: impl Into<String>) -> Self {
        Self { state: SignatureState::Bad, reason: reason.into(), ..self }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.reason.is_empty() { self.state.word() } else { &self.reason })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedFiles {
    pub manifest: Vec<u8>,
    pub signature: Option<(SignatureFormat, Vec<u8>)>,
}

/// Checks the signature, then the manifest, then the rights of the key. Returns the manifest if it is trusted. Content
/// is not compared.
pub fn judge(files: Option<&SignedFiles>, demand: &Demand, role: KeyRole) -> (Verdict, Option<Manifest>) {
    let verdict = |state, reason: String| (Verdict::of(state, demand.word, reason), None);
    if demand.word == DemandWord::Off {
        return (Verdict::unchecked(), None);
    }
    let Some(files) = files else {
        return verdict(SignatureState::Unsigned, "is not signed".to_owned());
    };
    let Some((format, text)) = &files.signature else {
        return verdict(SignatureState::Unsigned, "has a manifest, but no signature for it".to_owned());
    };
    let signature = match Signature::parse(text, *format) {
        Ok(signature) => signature,
        Err(error) => return verdict(SignatureState::Bad, format!("has an invalid signature: {error}")),
    };
    let (mut verdict, manifest) = of_signature(&signature, files, demand, role);
    verdict.key = Some(signature.key);
    if !matches!(verdict.state, SignatureState::UnknownKey | SignatureState::Bad) {
        verdict.time = signature.time();
    }
    (verdict, manifest)
}

fn of_signature(
    signature: &Signature,
    files: &SignedFiles,
    demand: &Demand,
    role: KeyRole,
) -> (Verdict, Option<Manifest>) {
    let id = signature.key;
    let verdict = |state, reason: String| (Verdict::of(state, demand.word, reason), None);
    if !IS_AVAILABLE {
        let reason = format!("is signed by key {id}, and this build of patchadm verifies no signatures");
        return verdict(SignatureState::UnknownKey, reason);
    }
    let known: Vec<&TrustedKey> = demand.keys.of_id(id).collect();
    let signer = known.iter().find(|trusted| signature.is_of(&trusted.key, &files.manifest));
    if let Some(reason) = demand.keys.revoked.reason(id) {
        let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        return verdict(SignatureState::Revoked, format!("signed by key {id}, which is revoked{why}"));
    }
    let Some(signer) = signer else {
        return if known.is_empty() {
            verdict(SignatureState::UnknownKey, format!("is signed by key {id}, which is unknown here"))
        } else {
            verdict(SignatureState::Bad, format!("the signature by key {id} does not match the manifest"))
        };
    };
    let (mut found, manifest) = of_key(signer, signature, files, role, demand.word);
    found.name = Some(signer.name.clone());
    (found, manifest)
}

fn of_key(
    signer: &TrustedKey,
    signature: &Signature,
    files: &SignedFiles,
    role: KeyRole,
    policy: DemandWord,
) -> (Verdict, Option<Manifest>) {
    let verdict = |state, reason: String| (Verdict::of(state, policy, reason), None);
    let id = signature.key;
    if signer.rules.is_expired(signature.time()) {
        let reason = match signature.time() {
            Some(_) => format!("signed by key {id} after it expired"),
            None => format!("signed without a date by key {id}, which expires"),
        };
        return verdict(SignatureState::Expired, reason);
    }
    if !signer.rules.roles.contains(&role) {
        let what = if role == KeyRole::Patch { "patches" } else { "indexes" };
        return verdict(SignatureState::NotAllowed, format!("signed by key {id}, which may not sign {what}"));
    }
    if role == KeyRole::Index {
        return verdict(SignatureState::Trusted, String::new());
    }
    let manifest = match Manifest::parse(&files.manifest) {
        Ok(manifest) => manifest,
        Err(error) => return verdict(SignatureState::Bad, format!("signed by key {id}, but {error}")),
    };
    let base = manifest.patch.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let base = base.trim_end_matches(|letter: char| !letter.is_ascii_alphanumeric());
    if signer.rules.bases.as_ref().is_some_and(|bases| !bases.is_match(base)) {
        let reason = format!("signed by key {id}, which may not sign patches of base {base}");
        return verdict(SignatureState::NotAllowed, reason);
    }
    let found = Verdict::of(SignatureState::Trusted, policy, "");
    (Verdict { form: Some(manifest.form), ..found }, Some(manifest))
}

#[cfg(test)]
#[cfg(feature = "sign")]
mod tests {
    use super::super::{KeyRules, PublicKey, Revocations};
    use super::*;

    fn read(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/../../testdata/signatures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn ring(rules: &str, revoked: &str) -> KeyRing {
        let key = PublicKey::parse(&read("plain.pub")).unwrap();
        let rules = KeyRules::parse(rules.as_bytes()).unwrap();
        let keys = vec![TrustedKey { name: "build".to_owned(), key, rules }];
        KeyRing { keys, revoked: Revocations::parse(revoked.as_bytes()).unwrap(), ignored: Vec::new() }
    }

    fn signed(case: &str, manifest: &str) -> SignedFiles {
        let signature = read(&format!("300001-03.manifest.{case}.minisig"));
        SignedFiles { manifest: read(manifest), signature: Some((SignatureFormat::Minisign, signature)) }
    }

    fn verdict(files: Option<&SignedFiles>, keys: KeyRing, word: DemandWord) -> (Verdict, Option<Manifest>) {
        judge(files, &Demand { word, keys }, KeyRole::Patch)
    }

    #[test]
    fn a_good_signature_of_a_known_key_is_trusted() {
        let files = signed("hashed", "300001-03.manifest");
        let (found, manifest) = verdict(Some(&files), ring("", ""), DemandWord::Require);
        assert_eq!((found.state, found.is_refused()), (SignatureState::Trusted, false));
        assert_eq!(found.key.unwrap().to_string(), "7802F643AC6161C8");
        assert_eq!((found.name.as_deref(), found.time), (Some("build"), Some(1_795_156_559)));
        assert_eq!(manifest.unwrap().patch, "300001-03");
    }

    #[test]
    fn every_other_state_has_its_reason_and_its_consequence() {
        use SignatureState::{Bad, Expired, NotAllowed, Revoked, UnknownKey, Unsigned};
        let good = "300001-03.manifest";
        let without = SignedFiles { manifest: read(good), signature: None };
        let one = |case| Some(signed(case, good));
        let revoked = "7802F643AC6161C8 stolen\n";
        for (files, rules, revoked, state, refused, reason) in [
            (None, "", "", Unsigned, [false, true], "is not signed"),
            (Some(without), "", "", Unsigned, [false, true], "has a manifest, but no signature for it"),
            (one("other"), "", "", UnknownKey, [false, true], "which is unknown here"),
            (one("hashed"), "", revoked, Revoked, [true, true], "which is revoked (stolen)"),
            (one("hashed"), "expires=2026-11-19\n", "", Expired, [true, true], "after it expired"),
            (one("nodate"), "expires=2099-11-19\n", "", Expired, [true, true], "without a date"),
            (one("hashed"), "roles=index\n", "", NotAllowed, [true, true], "may not sign patches"),
            (one("hashed"), "bases=30000\n", "", NotAllowed, [true, true], "of base 300001"),
            (one("bit-flipped"), "", "", Bad, [true, true], "does not match the manifest"),
            (one("cut"), "", "", Bad, [true, true], "it does not have four lines"),
            (Some(signed("hashed", "tampered.manifest")), "", "", Bad, [true, true], "does not match"),
        ] {
            for (word, is_refused) in [DemandWord::Warn, DemandWord::Require].into_iter().zip(refused) {
                let (found, manifest) = verdict(files.as_ref(), ring(rules, revoked), word);
                assert_eq!((found.state, found.is_refused()), (state, is_refused), "{found}");
                assert!(found.to_string().contains(reason) && manifest.is_none(), "{found}");
            }
            let (found, _) = verdict(files.as_ref(), ring(rules, revoked), DemandWord::Off);
            assert_eq!((found.state, found.is_refused()), (SignatureState::Unchecked, false));
        }
    }

    #[test]
    fn a_key_within_its_rules_is_trusted() {
        let files = signed("legacy", "300001-03.manifest");
        let rules = "expires=2026-11-20\nroles=patch\nbases=3000..\n";
        let (found, _) = verdict(Some(&files), ring(rules, ""), DemandWord::Warn);
        assert_eq!(found.state, SignatureState::Trusted, "{found}");
    }
}
