//! The rules that limit a key of a root, and the list of revoked keys (patchadm-signatures(5)).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate};
use regex::Regex;

use super::public_key::{KeyFileError, KeyId};
use patchadm_svr4::format::params::ParamFile;

/// A kind of object that a key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyRole {
    /// Patches.
    Patch,
    /// Indexes of depots.
    Index,
}

impl KeyRole {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Patch, Self::Index];

    /// Returns the word in the rules and in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Index => "index",
        }
    }
}

/// Why the rules of a key, or the list of revoked keys, do not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRulesError {
    /// It is not a file of parameters.
    #[error("{0}")]
    Syntax(String),
    /// A rule is not known, or has an impossible value.
    #[error("{name}: {reason}")]
    Rule {
        /// Its name.
        name: String,
        /// Its fault.
        reason: String,
    },
    /// A line of the list of revoked keys names no key.
    #[error("line {line}: {reason}")]
    Revocation {
        /// The line.
        line: usize,
        /// Its fault.
        reason: KeyFileError,
    },
}

/// The rules of a key: `NAME.rules` beside `NAME.pub`. The default limits nothing.
#[derive(Clone, Debug)]
pub struct KeyRules {
    /// The last day of signatures that are believed, by the time in their trusted comment.
    pub expires: Option<NaiveDate>,
    /// The roles that the key may sign for.
    pub roles: Vec<KeyRole>,
    /// The bases of the patches that it may sign, matched as a whole.
    pub bases: Option<Regex>,
    /// The same pattern, as it was written.
    pub bases_text: Option<String>,
}

impl Default for KeyRules {
    fn default() -> Self {
        Self { expires: None, roles: KeyRole::ALL.to_vec(), bases: None, bases_text: None }
    }
}

impl KeyRules {
    /// Reads a file of rules. A rule that is not known is an error: without it the key could do more.
    pub fn parse(text: &[u8]) -> Result<Self, KeyRulesError> {
        let file = ParamFile::parse(text).map_err(|error| KeyRulesError::Syntax(error.to_string()))?;
        let params = file.params();
        let mut rules = Self::default();
        let mut seen = Vec::new();
        for (name, value) in params.iter() {
            let wrong =
                |reason: String| KeyRulesError::Rule { name: name.escape_debug().to_string(), reason };
            if seen.contains(&name) {
                return Err(wrong("it comes twice".to_owned()));
            }
            seen.push(name);
            let value = str::from_utf8(value).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
            rules.set(name, value).map_err(wrong)?;
        }
        Ok(rules)
    }

    /// Sets one rule by its name.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "expires" => {
                let day = NaiveDate::parse_from_str(value, "%Y-%m-%d");
                self.expires = Some(day.map_err(|_| format!("<{value}> is not a day, as 2027-12-31"))?);
            }
            "roles" => {
                let words = value.split([',', ' ', '\t']).filter(|word| !word.is_empty());
                self.roles = words.map(role).collect::<Result<_, _>>()?;
            }
            "bases" => {
                let pattern = Regex::new(&format!("^(?:{value})$"));
                self.bases = Some(pattern.map_err(|_| format!("<{value}> is not a regular expression"))?);
                self.bases_text = Some(value.to_owned());
            }
            _ => return Err("no such rule; there are expires, roles, bases".to_owned()),
        }
        Ok(())
    }

    /// Writes the file; empty if nothing is limited.
    pub fn write(&self) -> String {
        let mut text = String::new();
        if let Some(day) = self.expires {
            let _ = writeln!(text, "expires={day}");
        }
        if self.roles != KeyRole::ALL {
            let words: Vec<_> = self.roles.iter().map(|role| role.word()).collect();
            let _ = writeln!(text, "roles={}", words.join(" "));
        }
        if let Some(pattern) = &self.bases_text {
            let value = patchadm_svr4::format::params::write(
                &[("bases".to_owned(), pattern.clone().into_bytes())].into_iter().collect(),
            );
            text.push_str(&String::from_utf8_lossy(&value));
        }
        text
    }

    /// Tells whether a signature of this time, in seconds since 1970, is past the last day.
    pub fn is_expired(&self, time: Option<i64>) -> bool {
        let Some(last) = self.expires else { return false };
        let day = time.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).map(|at| at.date_naive());
        day.is_none_or(|day| day > last)
    }
}

fn role(word: &str) -> Result<KeyRole, String> {
    let found = KeyRole::ALL.into_iter().find(|role| role.word() == word);
    found.ok_or_else(|| format!("<{word}> is neither patch nor index"))
}

/// The revoked keys of a root, each with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations(BTreeMap<KeyId, String>);

impl Revocations {
    /// Reads the file `revoked`: lines `KEYID reason`; empty lines and those that begin with `#` say nothing.
    pub fn parse(text: &[u8]) -> Result<Self, KeyRulesError> {
        let mut revoked = BTreeMap::new();
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (id, reason) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            let id = id.parse().map_err(|reason| KeyRulesError::Revocation { line: at + 1, reason })?;
            revoked.entry(id).or_insert_with(|| reason.trim().to_owned());
        }
        Ok(Self(revoked))
    }

    /// Adds a key; what was said of it before stays.
    pub fn add(&mut self, id: KeyId, reason: &str) {
        let reason = reason.split(char::is_control).collect::<Vec<_>>().join(" ");
        self.0.entry(id).or_insert_with(|| reason.trim().to_owned());
    }

    /// Returns the reason why a key is revoked; none if it is not.
    pub fn reason(&self, id: KeyId) -> Option<&str> {
        self.0.get(&id).map(String::as_str)
    }

    /// Returns every revoked key and the reason, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (KeyId, &str)> {
        self.0.iter().map(|(id, reason)| (*id, reason.as_str()))
    }

    /// Writes the file.
    pub fn write(&self) -> String {
        let line = |(id, reason): (&KeyId, &String)| format!("{id} {reason}").trim_end().to_owned() + "\n";
        self.0.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written() {
        let text = "expires=2027-12-31\nroles=patch\nbases=3000[0-9]*\n";
        let rules = KeyRules::parse(text.as_bytes()).unwrap();
        assert_eq!(rules.roles, [KeyRole::Patch]);
        let bases = rules.bases.as_ref().unwrap();
        assert!(bases.is_match("300001") && !bases.is_match("x300001") && !bases.is_match("30000x"));
        assert_eq!(rules.write(), text);
        assert_eq!(KeyRules::default().write(), "");
    }

    #[test]
    fn a_key_is_good_to_the_end_of_its_last_day_and_never_for_an_undated_signature() {
        let rules = KeyRules::parse(b"expires=1970-01-02\n").unwrap();
        for (time, is_expired) in
            [(Some(0), false), (Some(172_799), false), (Some(172_800), true), (None, true)]
        {
            assert_eq!(rules.is_expired(time), is_expired, "{time:?}");
        }
        assert!(!KeyRules::default().is_expired(None));
    }

    #[test]
    fn a_misspelt_rule_is_an_error_and_not_more_rights() {
        for (text, reason) in [
            ("expire=2027-12-31\n", "expire: no such rule; there are expires, roles, bases"),
            ("expires=soon\n", "expires: <soon> is not a day, as 2027-12-31"),
            ("roles=patch all\n", "roles: <all> is neither patch nor index"),
            ("bases=(\n", "bases: <(> is not a regular expression"),
            ("roles=patch\nroles=index\n", "roles: it comes twice"),
        ] {
            assert_eq!(KeyRules::parse(text.as_bytes()).unwrap_err().to_string(), reason);
        }
    }

    #[test]
    fn revoked_keys_keep_their_first_reason() {
        let mut revoked = Revocations::parse(b"# ours\n7802F643AC6161C8 stolen\n\n").unwrap();
        let id = "7802F643AC6161C8".parse().unwrap();
        revoked.add(id, "again");
        revoked.add(KeyId([0; 8]), "a\nb");
        assert_eq!(revoked.reason(id), Some("stolen"));
        assert_eq!(revoked.write(), "0000000000000000 a b\n7802F643AC6161C8 stolen\n");
        assert_eq!(
            Revocations::parse(b"\nfoo bar\n").unwrap_err().to_string(),
            "line 2: <foo> is no key id: sixteen hexadecimal digits"
        );
    }
}
