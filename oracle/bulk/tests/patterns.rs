//! Patterns and versions mean to us what they mean to the crate pkgsrc.

use std::cmp::Ordering;

use patchadm_bulk_values::pattern::{Pattern, Version};
use patchadm_bulk_values::records::PkgName;
use proptest::prelude::*;

/// A version as the crate understands it: letters, which it counts by their codes, are written as the numbers that they are
/// for `pkg_install`, and words in lower case. `None` for what cannot be written so: a number right after a letter.
fn for_oracle(version: &str) -> Option<String> {
    let mut written = String::new();
    let mut rest = version;
    while let Some(first) = rest.chars().next() {
        let words = ["alpha", "beta", "pre", "rc", "pl", "nb"];
        let word = words
            .iter()
            .find(|word| rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word)));
        if let Some(word) = word {
            written.push_str(word);
            rest = &rest[word.len()..];
            continue;
        }
        rest = &rest[first.len_utf8()..];
        if !first.is_ascii_alphabetic() {
            written.push(first);
            continue;
        }
        if rest.starts_with(|next: char| next.is_ascii_digit()) {
            return None;
        }
        written.push_str(&format!(".{}", u32::from(first.to_ascii_lowercase()) - u32::from('a') + 1));
    }
    Some(written)
}

fn version() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(0|1|2|10|20251208)(\\.[0-3]){0,3}(alpha|beta|rc|pre|pl|_|[a-cB])?(0|1|2|12)?(nb[0-3])?",
        1 => "[0-2.]{1,5}(alpha|ALPHA|rc|RC|pl|nb|z|[ab]|[.0-9_]){0,4}",
    ]
}

fn name() -> impl Strategy<Value = String> {
    "(a|b|ab|a-b|p5-x|py31[12]-x)"
}

fn pattern() -> impl Strategy<Value = String> {
    let range =
        || ("(>=|>|<=|<)", version()).prop_map(|(comparison, version)| format!("{comparison}{version}"));
    let ends = || {
        let parts = ("(>=|>)", version(), "(<=|<)", version());
        parts.prop_map(|(lower, low, upper, high)| format!("{lower}{low}{upper}{high}"))
    };
    let shell = || {
        prop_oneof![
            "-\\[0-9\\]\\*",
            "-\\*",
            "-\\[!1\\]\\*",
            "-\\[0-2\\].\\?\\*",
            version().prop_map(|version| format!("-{version}*")),
        ]
    };
    let braces = || version().prop_map(|version| format!("-{version}{{,nb*,.*}}"));
    let plain = || version().prop_map(|version| format!("-{version}"));
    let end = || prop_oneof![3 => range(), 2 => ends(), 2 => shell(), 1 => braces(), 1 => plain()];
    let names = prop_oneof![
        4 => name(),
        1 => (name(), name()).prop_map(|(one, other)| format!("{{{one},{other}}}")),
        1 => "\\{a\\{,b\\},p5\\}(-x)?",
        1 => "[ab]\\?",
    ];
    prop_oneof![
        6 => (names, end()).prop_map(|(names, end)| names + &end),
        1 => (name(), end(), name(), end()).prop_map(|(a, b, c, d)| format!("{{{a}{b},{c}{d}}}")),
        1 => "[ab{},<>=0-9*.-]{1,12}",
    ]
}

fn config() -> ProptestConfig {
    let is_whole = std::env::var_os("PATCHADM_TESTS").is_some_and(|tests| tests == "whole");
    ProptestConfig {
        cases: if is_whole { 1_000_000 } else { 50_000 },
        max_global_rejects: u32::MAX,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// How the crate orders two versions.
fn order_of_oracle(one: &str, other: &str) -> Ordering {
    let matches = |comparison: &str| {
        pkgsrc::Pattern::new(&format!("p{comparison}{other}")).unwrap().matches(&format!("p-{one}"))
    };
    match (matches(">"), matches("<")) {
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => Ordering::Equal,
        (true, true) => panic!("{one} is below and above {other}"),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn versions_have_the_same_order(one in version(), other in version()) {
        let (Some(one_there), Some(other_there)) = (for_oracle(&one), for_oracle(&other)) else {
            return Err(TestCaseError::reject("a number after a letter"));
        };
        let order = Version::parse(&one).cmp(&Version::parse(&other));
        prop_assert_eq!(order, order_of_oracle(&one_there, &other_there), "{} {}", one_there, other_there);
    }

    #[test]
    fn patterns_match_the_same_packages(pattern in pattern(), name in name(), version in version()) {
        // Letters of versions are the only difference, and are compared above.
        let is_plain = |text: &str| for_oracle(text).as_deref() == Some(text);
        prop_assume!(is_plain(&version));
        let package = PkgName::parse(&format!("{name}-{version}")).unwrap();
        let ours = Pattern::parse(&pattern);
        let theirs = pkgsrc::Pattern::new(&pattern);
        let has_letters = pattern.split(['<', '>']).skip(1).any(|rest| {
            let version = rest.trim_start_matches('=').split(['{', '}', ',']).next().unwrap_or_default();
            !is_plain(version)
        });
        prop_assume!(!has_letters);
        // Several stars in a row are refused by the shell patterns of the crate, and are one for pkg_install.
        prop_assume!(ours.is_err() || !matches!(theirs, Err(pkgsrc::PatternError::Glob { .. })));
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs.as_ref().map(|_| ()));
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            prop_assert_eq!(ours.matches(&package), theirs.matches(package.as_str()), "{}", package);
        }
    }
}
