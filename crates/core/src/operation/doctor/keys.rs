//! The keys that the root trusts.

use std::fmt::Write as _;

use chrono::{Days, NaiveDate};

use super::examination::Examination;
use super::finding::Finding;
use crate::operation::keys::{KeysError, RootKeys, read_keys};
use patchadm_inputs::sign::{DemandWord, KeyRole, TrustedKey};
use patchadm_planning::plan::refusal::Wording;
use patchadm_svr4::package::ObjectPath;

/// The days before the last one of a key on which it is told.
const SOON: u64 = 30;

/// Keys that are expired or will soon be, and a policy that demands signatures without a key.
pub(super) fn keys(examination: &Examination<'_>) -> Vec<Finding> {
    let RootKeys { ring, place } = match read_keys(examination.root) {
        Ok(keys) => keys,
        Err(KeysError::Failed(failure)) => return vec![Finding::unknown("key", failure.to_string())],
        Err(error) => return vec![Finding::attention("key", error.to_string())],
    };
    let today = examination.request.now.date_naive();
    let good: Vec<&TrustedKey> =
        ring.keys.iter().filter(|trusted| ring.revoked.reason(trusted.key.id).is_none()).collect();
    let findings: Vec<Finding> =
        good.iter().filter_map(|key| of_key(examination, (key, &place), today)).collect();
    if !findings.is_empty() {
        return findings;
    }
    let demand = examination.policy.as_ref().ok().and_then(|policy| policy.signature);
    vec![match good.len() {
        0 if demand == Some(DemandWord::Require) => {
            Finding::attention("key", "the policy requires signatures, and no key is trusted")
                .with_command(examination.wording().verb("key trust FILE"))
        }
        0 => Finding::ok("key", "no key is trusted"),
        1 => Finding::ok("key", "1 key is trusted"),
        number => Finding::ok("key", format!("{number} keys are trusted")),
    }]
}

/// Returns the finding about a key that is expired, or will be soon. `place` is the directory of the keys.
fn of_key(
    examination: &Examination<'_>,
    (trusted, place): (&TrustedKey, &ObjectPath),
    today: NaiveDate,
) -> Option<Finding> {
    let last = trusted.rules.expires?;
    let (id, name) = (trusted.key.id, &trusted.name);
    if last < today {
        let text = format!("key {id} ({name}) expired on {last}: what it signed after that day is refused");
        return Some(Finding::attention("key", text).with_command(renewal(examination, trusted, place)));
    }
    let is_soon = last <= today.checked_add_days(Days::new(SOON)).unwrap_or(today);
    let text = format!("key {id} ({name}) expires on {last}");
    is_soon.then(|| Finding::limited("key", text).with_command(renewal(examination, trusted, place)))
}

/// Returns the command that gives a key another last day. Its other rules are said again, because the new ones replace all.
fn renewal(examination: &Examination<'_>, trusted: &TrustedKey, place: &ObjectPath) -> String {
    let TrustedKey { name, rules, .. } = trusted;
    let mut words = format!("key trust --name {} --expires YYYY-MM-DD", Wording::quoted(name));
    if rules.roles != KeyRole::ALL {
        let roles: Vec<&str> = rules.roles.iter().map(|role| role.word()).collect();
        let _ = write!(words, " --roles {}", roles.join(","));
    }
    if let Some(bases) = &rules.bases_text {
        let _ = write!(words, " --bases {}", Wording::quoted(bases));
    }
    let file = format!("{}/{name}.pub", examination.show(place));
    examination.wording().verb(&format!("{words} {}", Wording::quoted(&file)))
}
