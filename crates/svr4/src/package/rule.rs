//! The rules for accepting a value read from a root, each under its own name.
//!
//! A record may be well-formed and lie. Every check of a record's field against the values that this program could have
//! written calls [`holds`] with the name of its rule. The suite `tests/reliability/lies` then shows two things about
//! each rule: its lie is refused, and without the rule the lie works. A check without such a lie protects nothing.

/// Returns true if a value obeys the rule `name`, as decided by `kept`.
///
/// In a build with the feature `rules-left-out`, which is for that suite only, the rules named in the variable
/// `PATCHADM_RULES_LEFT_OUT` (separated by commas) always hold.
#[must_use]
pub fn holds(name: &'static str, kept: bool) -> bool {
    kept || is_left_out(name)
}

#[cfg(not(feature = "rules-left-out"))]
fn is_left_out(_name: &str) -> bool {
    false
}

#[cfg(feature = "rules-left-out")]
fn is_left_out(name: &str) -> bool {
    std::env::var("PATCHADM_RULES_LEFT_OUT").is_ok_and(|names| names.split(',').any(|left| left == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_holds_where_it_is_kept() {
        assert!(holds("test.rule", true));
        assert!(!holds("test.rule", false));
    }
}
