//! The state of both trees of a promotion in a plan file, so that a change of either is detected and located.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use patchadm_changeset::format::escaped::is_hex;
use patchadm_changeset::format::manifest::decode;
use patchadm_svr4::package::ObjectPath;

/// The states of all objects up to this number are kept; of larger trees only the fingerprint tells.
pub const MOST_STATES: usize = 200_000;

/// The hexadecimal digits that are kept of the digest of a state.
pub const STATE_DIGITS: usize = 16;

/// The inputs that a promotion was planned with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionStates {
    /// The digest of base, both trees and the number of the last run: `b3:` and 64 hexadecimal digits.
    pub fingerprint: String,
    /// The stage; `None` for a tree without identity.
    pub stage: Option<String>,
    /// The base that was compared with: `0`, or the id of a promotion; `None` without one.
    pub base: Option<String>,
    /// The number of the last run of the root; 0 for none.
    pub run: u64,
    /// The objects of the stage, with digests of their states.
    pub staged: BTreeMap<String, String>,
    /// The same of the live tree.
    pub live: BTreeMap<String, String>,
}

impl PromotionStates {
    /// Returns an impossible value: the name of the field, and the value.
    pub(super) fn fault(&self) -> Option<(&'static str, &str)> {
        let digits = self.fingerprint.strip_prefix("b3:");
        if !digits.is_some_and(|digits| is_hex(digits, 64)) {
            return Some(("fingerprint", &self.fingerprint));
        }
        for (path, digest) in self.staged.iter().chain(&self.live) {
            if !path.starts_with('/') || ObjectPath::new(&decode(path)).is_err() {
                return Some(("path", path));
            }
            if !is_hex(digest, STATE_DIGITS) {
                return Some(("digest of a state", digest));
            }
        }
        None
    }

    /// Returns the objects whose states differ, each with the words for then and now.
    pub(super) fn differences<'a>(&'a self, now: &'a Self) -> Vec<(String, &'static str, &'static str)> {
        let sides =
            [(&self.staged, &now.staged, "in the stage"), (&self.live, &now.live, "on the live tree")];
        let mut found = Vec::new();
        for (then, now, side) in sides {
            let paths: std::collections::BTreeSet<&String> = then.keys().chain(now.keys()).collect();
            for path in paths {
                let (then, now) = (then.get(path), now.get(path));
                if then != now {
                    let words = |one: Option<&String>, word| if one.is_some() { word } else { "nothing" };
                    found.push((format!("{path} {side}"), words(then, "an object"), words(now, "another")));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states() -> PromotionStates {
        let digest = |digit: &str| digit.repeat(STATE_DIGITS);
        PromotionStates {
            fingerprint: format!("b3:{}", "0".repeat(64)),
            staged: [("/usr/a".to_owned(), digest("a")), ("/usr/b".to_owned(), digest("b"))].into(),
            live: [("/usr/a".to_owned(), digest("a"))].into(),
            ..PromotionStates::default()
        }
    }

    #[test]
    fn what_no_plan_has_is_told_with_its_field() {
        assert_eq!(states().fault(), None);
        let of = |change: fn(&mut PromotionStates)| {
            let mut states = states();
            change(&mut states);
            states.fault().map(|(field, value)| format!("{field} {value}"))
        };
        assert_eq!(of(|states| states.fingerprint = "b3:0".to_owned()).unwrap(), "fingerprint b3:0");
        assert_eq!(
            of(|states| drop(states.live.insert("usr".to_owned(), String::new()))).unwrap(),
            "path usr"
        );
        let short = of(|states| drop(states.live.insert("/usr".to_owned(), "0".to_owned())));
        assert_eq!(short.unwrap(), "digest of a state 0");
    }

    #[test]
    fn every_path_that_differs_is_told_with_its_side() {
        let (then, mut now) = (states(), states());
        assert_eq!(then.differences(&now), []);
        now.staged.remove("/usr/a");
        now.live.insert("/usr/a".to_owned(), "c".repeat(STATE_DIGITS));
        now.live.insert("/usr/c".to_owned(), "c".repeat(STATE_DIGITS));
        let told: Vec<String> = then
            .differences(&now)
            .into_iter()
            .map(|(subject, then, now)| format!("{subject}: {then}, {now}"))
            .collect();
        assert_eq!(
            told,
            [
                "/usr/a in the stage: an object, nothing",
                "/usr/a on the live tree: an object, another",
                "/usr/c on the live tree: nothing, another"
            ]
        );
    }
}
