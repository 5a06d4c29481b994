//! The rules by which a value read from a root is believed, each under a name of its own.
//!
//! A record may be well-formed and lie. Wherever a field of one is checked against what this program could have written,
//! the check asks [`holds`] with the name of its rule. The suite `tests/reliability/lies` then shows two things of each
//! rule: the lie that it answers is refused, and without the rule the lie works. A check that no lie needs protects nobody.

/// Whether a value keeps the rule `name`, which `kept` decides.
///
/// In a build with the feature `rules-left-out`, which is for that suite only, the rules that the variable
/// `PATCHADM_RULES_LEFT_OUT` names (separated by commas) hold always.
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
