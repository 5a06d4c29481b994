//! The rules for accepting a value read from a root, each under its own name.
//!
//! A record may lie. The suite `tests/reliability/lies` shows that each lie is refused, and works without its rule.

/// Returns true if a value obeys the rule `name`, as decided by `kept`. With the feature `rules-left-out`, for the
/// suite only, rules in `PATCHADM_RULES_LEFT_OUT` (separated by commas) always hold.
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
