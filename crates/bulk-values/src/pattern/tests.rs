//! Patterns as recipes write them.

use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, package: &str) -> bool {
    Pattern::parse(pattern).unwrap().matches(&PkgName::parse(package).unwrap())
}

#[test]
fn a_range_means_the_versions_between_its_ends() {
    for (pattern, good, bad) in [
        ("zlib>=1.2", ["zlib-1.2", "zlib-1.2nb1"], ["zlib-1.2rc1", "zlib-ng-2.0"]),
        ("zlib>1.2", ["zlib-1.2nb1", "zlib-3"], ["zlib-1.2", "zlib-1.1"]),
        ("zlib<1.2", ["zlib-1.2alpha", "zlib-1.1.9"], ["zlib-1.2", "zlib-2"]),
        ("zlib<=1.2", ["zlib-1.2", "zlib-0"], ["zlib-1.2nb1", "zlib-1.2a"]),
        ("a-b>=2.12<2.41", ["a-b-2.12", "a-b-2.40.9"], ["a-b-2.41", "a-b-2.11"]),
        ("a>1.0alpha3nb2<=2", ["a-1.0alpha3nb3", "a-2.0"], ["a-1.0alpha3nb2", "a-2nb1"]),
        ("a>=", ["a-0", "a-1"], ["a-0alpha", "b-1"]),
    ] {
        assert!(good.iter().all(|package| matches(pattern, package)), "{pattern} {good:?}");
        assert!(!bad.iter().any(|package| matches(pattern, package)), "{pattern} {bad:?}");
    }
}

#[test]
fn braces_are_alternatives_and_may_be_nested() {
    assert!(matches("{mysql,mariadb}-client-[0-9]*", "mariadb-client-11.4"));
    assert!(!matches("{mysql,mariadb}-client-[0-9]*", "postgresql-client-16"));
    assert!(
        matches("boost-1.90{,nb*,.*}", "boost-1.90") && matches("boost-1.90{,nb*,.*}", "boost-1.90.0nb2")
    );
    assert!(matches("a>=2.3{nb*,}", "a-2.3"), "alternatives in a version");
    let nested = "{a{1,2},b{,x{y,z}}}>=1";
    for name in ["a1", "a2", "b", "bxy", "bxz"] {
        assert!(matches(nested, &format!("{name}-1")), "{name}");
    }
    assert!(!matches(nested, "a-1") && !matches(nested, "bx-1"));
    assert!(matches("{ezmlm>=0.53,ezmlm-idx-[0-9]*}", "ezmlm-idx-0.4"));
    assert!(matches("{}a-1", "a-1"));
}

#[test]
fn a_plain_name_is_one_pkgname() {
    assert!(matches("a-1.0", "a-1.0") && !matches("a-1.0", "a-1.0.0") && !matches("a", "a-1.0"));
}

#[test]
fn what_is_no_pattern_is_refused_with_the_rule() {
    for (text, reason) in [
        ("{a,b", "braces"),
        ("a}b{c", "braces"),
        ("{a,b}}>1", "braces"),
        ("a>1<2<3", "range"),
        ("a<1>0", "range"),
        ("a>1>=2", "range"),
        ("a-[0-9", "[ has no ]"),
        (&"{a,b}".repeat(9), "256 patterns"),
        (&"{".repeat(33), "32 pairs"),
        (&"a".repeat(1025), "1024 bytes"),
    ] {
        let error = Pattern::parse(text).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(Pattern::parse(&"{a,b}".repeat(8)).is_ok(), "256 of them");
}

#[test]
fn every_alternative_tells_where_its_packages_are() {
    let pattern = Pattern::parse("{a>1,b-[0-9]*,c-1,*}").unwrap();
    let expected = [Reach::Name("a"), Reach::Prefix("b-"), Reach::Prefix("c-1"), Reach::Prefix("")];
    assert_eq!(pattern.alternatives().iter().map(Alternative::reach).collect::<Vec<_>>(), expected);
}

proptest! {
    #[test]
    fn what_a_pattern_matches_is_within_its_reach(
        pattern in "(\\{[ab],[ab]?\\}|[ab]){1,2}(-[0-9]\\*|>=[01]|<2|-\\*|-1)", package in "[ab]{1,3}-[0-2]",
    ) {
        let package = PkgName::parse(&package).unwrap();
        let pattern = Pattern::parse(&pattern).unwrap();
        let within = pattern.alternatives().iter().any(|alternative| match alternative.reach() {
            Reach::Name(name) => name == package.name(),
            Reach::Prefix(prefix) => package.as_str().starts_with(prefix),
        });
        prop_assert!(within || !pattern.matches(&package));
    }

    #[test]
    fn any_text_is_a_pattern_or_refused(text in "[{},a<>=*\\[\\]?1é-]{0,40}") {
        if let Err(error) = Pattern::parse(&text) {
            prop_assert!(!error.reason.is_empty());
        }
    }
}

#[test]
fn versions_are_ordered_as_pkg_install_orders_them() {
    let order = [
        "0.9",
        "1.0alpha",
        "1.0alphanb1",
        "1.0alpha2",
        "1.0beta",
        "1.0rc",
        "1.0RC1",
        "1.0",
        "1.0nb1",
        "1.0nb10",
        "1.0a",
        "1.0.1nb1",
        "1.0.1.1",
        "1.0B",
        "1.0c",
        "1.0.26.1",
        "1.1pre1",
        "1.1",
        "1.10",
        "2",
        "20251208",
    ];
    for pair in order.windows(2) {
        assert!(Version::parse(pair[0]) < Version::parse(pair[1]), "{pair:?}");
    }
}

#[test]
fn versions_that_say_the_same_are_equal() {
    for (one, other) in [
        ("1.0", "1.0.0"),
        ("1", "1."),
        ("", "0"),
        ("1.0pl1", "1.0.1"),
        ("1_1", "1.1"),
        ("1a", "1.1"),
        ("1.0nb", "1.0"),
        ("1.0rc1", "1.0pre1"),
        ("1-é~:", "1"),
        ("1nb2", "1nb5nb2"),
        ("1nb01", "1nb1"),
        ("99999999999999999999", "99999999999999999998"),
    ] {
        assert_eq!(Version::parse(one), Version::parse(other));
    }
}

proptest! {
    #[test]
    fn the_order_is_one(texts in proptest::collection::vec("(alpha|beta|rc|pl|nb|[0-2a.]){0,6}", 3)) {
        let [a, b, c] = [0, 1, 2].map(|at| Version::parse(&texts[at]));
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert!(!(a <= b && b <= c) || a <= c);
    }
}

fn shell_matches(pattern: &str, name: &str) -> bool {
    ShellPattern::parse(pattern).unwrap().matches(name)
}

#[test]
fn a_shell_pattern_matches_the_whole_name() {
    for (pattern, good, bad) in [
        ("a-[0-9]*", "a-1.0", "a-b-1.0"),
        ("a-1.*", "a-1.", "a-1"),
        ("*-[!0-9]*", "a-x", "a-1"),
        ("a?c", "abc", "ac"),
        ("[]a]b", "]b", "bb"),
        ("[^]a]b", "bb", "ab"),
        ("[a-]", "-", "b"),
        ("[a-c-]", "-", "d"),
        ("*b*c", "abxbc", "abxb"),
        ("a\\*", "a*", "ab"),
        ("net/*", "net/curl", "www/curl"),
        ("a**", "a", "b"),
    ] {
        assert!(shell_matches(pattern, good), "{pattern} {good}");
        assert!(!shell_matches(pattern, bad), "{pattern} {bad}");
    }
}

#[test]
fn an_open_bracket_and_a_lone_backslash_are_refused() {
    assert_eq!(ShellPattern::parse("a-[0-9"), Err("a [ has no ]"));
    assert_eq!(ShellPattern::parse("a-[]"), Err("a [ has no ]"));
    assert_eq!(ShellPattern::parse("a\\"), Err("it ends with \\"));
}

#[test]
fn many_stars_take_no_exponential_time() {
    assert!(!shell_matches(&"*a".repeat(400), &"a".repeat(399)));
    assert!(shell_matches(&"*a".repeat(400), &"ba".repeat(400)));
}

#[test]
fn a_long_match_asks_the_caller_every_65536_comparisons_and_ends_when_told() {
    let pattern = ShellPattern::parse(&format!("*{}b", "a".repeat(1000))).unwrap();
    let name = "a".repeat(100_000);
    let mut asked = 0;
    let mut ask = || {
        asked += 1;
        if asked < 3 { Ok(()) } else { Err("enough") }
    };
    assert_eq!(pattern.matches_while(&name, &mut ask), Err("enough"));
    assert_eq!(asked, 3);
    let short = pattern.matches_while("aaa", &mut || Err("not asked"));
    assert_eq!(short, Ok(false));
}

/// Matches a shell pattern of `*`, `?` and letters by its definition: tries everything.
fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            by_definition(rest, name)
                || name.split_first().is_some_and(|(_, more)| by_definition(pattern, more))
        }
        (Some((wanted, rest)), Some((byte, more))) => {
            (wanted == byte || *wanted == b'?') && by_definition(rest, more)
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn stars_match_what_their_definition_says(pattern in "[ab?*]{0,8}", name in "[ab]{0,8}") {
        prop_assert_eq!(shell_matches(&pattern, &name), by_definition(pattern.as_bytes(), name.as_bytes()));
    }
}
