//! Records of small and of large trees, resolved.

use super::*;

/// Records of locations, each with its output in one line: `PKGNAME: need need` and fields after `;`.
fn records(packages: &[(&str, &str)]) -> Records {
    let mut records = Records::new();
    for (location, package) in packages {
        let mut fields = package.split("; ");
        let (pkgname, needs) = fields.next().unwrap().split_once(':').unwrap();
        let first = format!("PKGNAME={pkgname}\nALL_DEPENDS={needs}");
        let output = std::iter::once(&*first).chain(fields).collect::<Vec<_>>().join("\n");
        records.read(&RecipeLocation::parse(location).unwrap(), output.as_bytes()).unwrap();
    }
    records
}

fn name(records: &Records, index: u32) -> String {
    records.get(index).unwrap().pkgname().to_string()
}

fn depends(packages: &[(&str, &str)], index: u32) -> Vec<String> {
    let records = records(packages);
    resolve(&records, &NameHolders::default())
        .depends(index)
        .iter()
        .map(|&need| name(&records, need))
        .collect()
}

/// The states of all packages, a line each.
fn states(packages: &[(&str, &str)]) -> Vec<String> {
    let records = records(packages);
    let resolution = resolve(&records, &NameHolders::default());
    let states = resolution.states().iter().map(|state| match state {
        ResolvedState::Open => "open".to_owned(),
        ResolvedState::Prefailed(reason) => reason.to_string(),
        ResolvedState::IndirectPrefailed(because) => {
            let because: Vec<String> = because.named.iter().map(|&index| name(&records, index)).collect();
            format!("because of {}", because.join(" "))
        }
    });
    states.collect()
}

#[test]
fn depends_are_in_the_order_of_all_depends_each_once() {
    let packages = [("a/z", "z-1: x>=1 y-[0-9]* x-1 {x,q}>=1"), ("a/x", "x-1:"), ("a/y", "y-2:")];
    assert_eq!(depends(&packages, 0), ["x-1", "y-2"]);
}

#[test]
fn the_highest_version_is_meant_then_the_named_location_then_the_last_in_byte_order() {
    let versions =
        [("a/z", "z-1: x>=1:a/x1"), ("a/x1", "x-1.9:"), ("a/x2", "x-1.10:"), ("a/x3", "x-1.10rc1:")];
    assert_eq!(depends(&versions, 0), ["x-1.10"]);
    let equal = |need: &str| {
        let package = format!("z-1: {need}");
        depends(&[("a/z", &package), ("a/q", "q-1.0:"), ("a/x", "x-1:"), ("a/p", "p-1:")], 0)
    };
    assert_eq!(equal("{x,q,p}>=1:../../a/x"), ["x-1"]);
    assert_eq!(equal("{x,q,p}>=1:../q"), ["q-1.0"]);
    assert_eq!(equal("{x,q,p}>=1"), ["x-1"]);
    assert_eq!(equal("{q,p}>=1:a/other"), ["q-1.0"]);
}

#[test]
fn one_version_that_all_patterns_match_takes_the_place_of_two() {
    let packages = |need: &'static str| {
        [("a/z", need), ("a/x3", "x-3:"), ("a/x2", "x-2:"), ("a/x1", "x-1:"), ("a/y", "y-1:")]
    };
    assert_eq!(depends(&packages("z-1: x>=1 y-1 x<3"), 0), ["x-2", "y-1"]);
    assert_eq!(depends(&packages("z-1: x>=3 x<2"), 0), ["x-3", "x-1"], "there is none: both stay");
    assert_eq!(depends(&packages("z-1: x>=1 x>=2"), 0), ["x-3"]);
}

#[test]
fn a_need_that_nothing_matches_fails_the_package_alone() {
    let packages = [
        ("a/z", "z-1: y-1"),
        ("a/y", "y-1: w-1 x>=2"),
        ("a/x", "x-1:"),
        ("a/w", "w-1:"),
        ("a/v", "v-1: {a,b"),
    ];
    assert_eq!(
        states(&packages),
        [
            "because of y-1",
            "it needs x>=2, which nothing matches",
            "open",
            "open",
            "it needs {a,b, which is not a pattern: its braces do not match",
        ]
    );
    assert!(depends(&packages, 1).is_empty(), "all or nothing");
    let records = records(&packages);
    assert_eq!(resolve(&records, &NameHolders::default()).found(1), [Some(3), None]);
}

#[test]
fn reasons_of_records_fail_their_packages_and_are_told_to_what_needs_them() {
    let packages = [
        ("a/d", "d-1: c-1 b-1"),
        ("a/c", "c-1: a-1; PKG_SKIP_REASON=not here; PKG_FAIL_REASON=broken"),
        ("a/b", "b-1: a-1"),
        ("a/a", "a-1:; PKG_FAIL_REASON=broken"),
    ];
    assert_eq!(states(&packages), ["because of c-1 a-1", "not here", "because of a-1", "broken"]);
}

#[test]
fn of_two_packages_with_one_pkgname_the_first_location_keeps_it() {
    let packages = [("b/x", "x-1: q-1"), ("a/y", "x-1:"), ("a/z", "z-1: x-1:b/x"), ("b/x", "x-1:")];
    let lost = "x-1 of b/x has the name of a package of a/y, which keeps it";
    assert_eq!(states(&packages), [lost, "open", "open", lost]);
    assert_eq!(resolve(&records(&packages), &NameHolders::default()).depends(2), [1]);
}

#[test]
fn a_failed_scan_is_prefailed_and_nothing_matches_it() {
    let mut records = records(&[("a/x", "x-1: net_curl-0"), ("a/y", "a_q-0:")]);
    let curl = records.add_failed_scan(&RecipeLocation::parse("net/curl").unwrap(), "scan: exit 2: no");
    let other = records.add_failed_scan(&RecipeLocation::parse("a/q").unwrap(), "scan: exit 1: no");
    let resolution = resolve(&records, &NameHolders::default());
    let reason = |index: u32| match resolution.state(index).unwrap() {
        ResolvedState::Prefailed(reason) => reason.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(reason(curl), "scan: exit 2: no");
    assert_eq!(reason(0), "it needs net_curl-0, which nothing matches");
    assert_eq!(resolution.state(1), Some(&ResolvedState::Open), "it takes no name from a package");
    assert_eq!(reason(other), "a_q-0 of a/q has the name of a package of a/y, which keeps it");
}

#[test]
fn all_packages_of_a_circle_fail_and_the_rest_goes_on() {
    let packages = [
        ("a/b", "b-1: c-1 x-1"),
        ("a/a", "a-1: b-1"),
        ("a/c", "c-1: a-1; PKG_SKIP_REASON=not here"),
        ("a/s", "s-1: s>=0"),
        ("a/x", "x-1:"),
        ("a/z", "z-1: a-1 x-1"),
    ];
    let circle = "it needs itself: a-1 → b-1 → c-1 → a-1";
    let expected = [circle, circle, "not here", "it needs itself: s-1 → s-1", "open", "because of a-1"];
    assert_eq!(states(&packages), expected);
}

#[test]
fn a_long_circle_is_told_in_short() {
    let packages: Vec<(String, String)> =
        (0..100).map(|n| (format!("a/p{n}"), format!("p{n:03}-1: p{:03}-1", (n + 1) % 100))).collect();
    let packages: Vec<(&str, &str)> = packages.iter().map(|(a, b)| (&**a, &**b)).collect();
    let text = &states(&packages)[50];
    assert!(text.starts_with("it needs itself: p000-1 → p001-1 → "), "{text}");
    assert!(text.ends_with(" → p019-1 → … (80 more) → p000-1"), "{text}");
}

#[test]
fn what_is_installed_is_what_is_needed_and_what_that_needs_to_run() {
    let packages = [
        ("a/z", "z-1: y-1 x-1"),
        ("a/y", "y-1: v-1 w-1; RUN_DEPENDS=w-1"),
        ("a/x", "x-1: w-1"),
        ("a/w", "w-1: u-1"),
        ("a/v", "v-1:"),
        ("a/u", "u-1:"),
    ];
    let records = records(&packages);
    let names: Vec<String> = resolve(&records, &NameHolders::default())
        .to_install(0)
        .iter()
        .map(|&index| name(&records, index))
        .collect();
    assert_eq!(names, ["u-1", "w-1", "y-1", "x-1"], "not v-1, which only the build of y-1 needs");
}

#[test]
fn a_chain_of_10000_and_a_package_with_5000_dependents_are_resolved() {
    let mut packages = vec![("a/p0".to_owned(), "p0-1:".to_owned())];
    packages.extend((1..10_000).map(|n| (format!("a/p{n}"), format!("p{n}-1: p{}>=1:../p{}", n - 1, n - 1))));
    packages.extend((0..5_000).map(|n| (format!("a/q{n}"), format!("q{n}-1: p9999-[0-9]*"))));
    let packages: Vec<(&str, &str)> = packages.iter().map(|(a, b)| (&**a, &**b)).collect();
    let resolution = resolve(&records(&packages), &NameHolders::default());
    assert!(resolution.states().iter().all(|state| *state == ResolvedState::Open));
    let depths = resolution.graph().depths();
    assert_eq!((depths[0], depths[9_999], depths[10_000]), (15_000, 5_001, 1));
    assert_eq!(resolution.to_install(10_000).len(), 10_000);
    assert_eq!(resolution.to_install(10_000).first(), Some(&0));
}

#[test]
fn a_tree_of_100000_packages_is_resolved() {
    let mut records = Records::new();
    for n in 0..100_000_u32 {
        let needs: Vec<String> =
            (1..=4).filter_map(|k| Some(format!("p{}>=0", n.checked_sub(k * k * 7)?))).collect();
        let output = format!("PKGNAME=p{n}-1\nALL_DEPENDS={}\n", needs.join(" "));
        records.read(&RecipeLocation::parse(&format!("a/p{n}")).unwrap(), output.as_bytes()).unwrap();
    }
    let resolution = resolve(&records, &NameHolders::default());
    assert!(resolution.states().iter().all(|state| *state == ResolvedState::Open));
    assert_eq!(resolution.depends(99_999), [99_992, 99_971, 99_936, 99_887]);
}

/// The states of all packages if these had names in the set before.
fn states_with(holders: &[(&str, &str)], packages: &[(&str, &str)]) -> Vec<String> {
    let records = records(packages);
    let holders = NameHolders::new(holders.iter().copied());
    let resolution = resolve(&records, &holders);
    let shown = (0..).zip(resolution.states()).map(|(index, state)| match state {
        ResolvedState::Open => {
            resolution.depends(index).iter().map(|&need| name(&records, need)).collect::<Vec<_>>().join(" ")
        }
        ResolvedState::Prefailed(reason) => reason.to_string(),
        ResolvedState::IndirectPrefailed(_) => "indirect".to_owned(),
    });
    shown.collect()
}

#[test]
fn whoever_had_a_pkgname_in_the_set_before_keeps_it() {
    let before = [("victim-1.0", "z/victim"), ("user-1", "z/user")];
    let packages =
        [("a/evil", "victim-1.0:"), ("z/user", "user-1: victim-[0-9]*"), ("z/victim", "victim-1.0:")];
    let lost = "victim-1.0 of a/evil has the name of a package of z/victim, which keeps it";
    assert_eq!(states_with(&before, &packages), [lost, "victim-1.0", ""]);
    // Another version is another package, as in pbulk.
    let packages =
        [("a/next", "victim-2.0:"), ("z/user", "user-1: victim-[0-9]*"), ("z/victim", "victim-1.0:")];
    assert_eq!(states_with(&before, &packages), ["", "victim-2.0", ""]);
}

#[test]
fn a_pkgname_is_free_when_its_holder_is_gone_and_not_when_its_scan_fails() {
    let before = [("victim-1.0", "z/victim")];
    assert_eq!(states_with(&before, &[("a/heir", "victim-1.0:")]), [""]);
    assert_eq!(states_with(&before, &[("a/heir", "victim-1.0:"), ("z/victim", "victim-1.1:")]), ["", ""]);

    let mut records = records(&[("a/heir", "victim-1.0:")]);
    records.add_failed_scan(&RecipeLocation::parse("z/victim").unwrap(), "scan: exit 1: no");
    let resolution = resolve(&records, &NameHolders::new(before));
    let Some(ResolvedState::Prefailed(reason)) = resolution.state(0) else { panic!("it has the name") };
    assert!(reason.to_string().ends_with("of z/victim, which keeps it"), "{reason}");
}

#[test]
fn whoever_had_a_source_of_patches_in_the_set_before_keeps_it() {
    let packages =
        [("net/curl", "curl-8:"), ("net_curl", "evil-1:"), ("z/user", "user-1: {curl,evil}-[0-9]*")];
    let lost = |location: &str, keeper: &str| {
        format!("patches of {location} would have the source net_curl of {keeper}, which keeps it")
    };
    let of_old = lost("net_curl", "net/curl");
    for before in [&[][..], &[("curl-7", "net/curl")]] {
        assert_eq!(states_with(before, &packages), ["", &*of_old, "curl-8"]);
    }
    let of_new = lost("net/curl", "net_curl");
    assert_eq!(states_with(&[("evil-1", "net_curl")], &packages), [&*of_new, "", "evil-1"]);
}

#[test]
fn a_source_of_patches_is_free_when_its_holder_is_gone_and_not_when_its_scan_fails() {
    let before = [("curl-8", "net/curl")];
    assert_eq!(states_with(&before, &[("net_curl", "heir-1:")]), [""]);
    let mut records = records(&[("net_curl", "heir-1:")]);
    records.add_failed_scan(&RecipeLocation::parse("net/curl").unwrap(), "scan: exit 1: no");
    let reason_with = |holders: NameHolders| match resolve(&records, &holders).state(0) {
        Some(ResolvedState::Prefailed(reason)) => Some(reason.to_string()),
        _ => None,
    };
    let reason = reason_with(NameHolders::new(before)).unwrap();
    assert!(reason.ends_with("of net/curl, which keeps it"), "{reason}");
    assert_eq!(reason_with(NameHolders::default()), None, "a location that never had it has no claim");
}

#[test]
fn a_location_with_patterns_without_end_fails_alone() {
    // The review's case: each pattern may mean any package.
    let patterns = |record: usize| {
        let all = (0..70).map(|number| format!("*{record:x}f{number:x}*a*b*c-[0-9]*"));
        all.collect::<Vec<_>>().join(" ")
    };
    let evil: Vec<String> = (0..900)
        .map(|record| format!("PKGNAME=evil{record}-1\nALL_DEPENDS={}\n", patterns(record)))
        .collect();
    let mut records = Records::new();
    for (location, output) in [
        ("a/evil", evil.concat()),
        ("b/user", "PKGNAME=user-1\nALL_DEPENDS=lib-[0-9]* *fits-[0-9]*\n".to_owned()),
        ("b/lib", "PKGNAME=lib-1\nPKGNAME=fits-1\n".to_owned()),
    ] {
        records.read(&RecipeLocation::parse(location).unwrap(), output.as_bytes()).unwrap();
    }
    let resolution = resolve(&records, &NameHolders::default());
    let last = resolution.state(899).unwrap();
    assert_eq!(last, &ResolvedState::Prefailed(PrefailReason::TooManyPatterns));
    assert_eq!(resolution.state(900), Some(&ResolvedState::Open));
    assert_eq!(resolution.depends(900), [901, 902]);
}

fn named_records() -> Records {
    let mut records = Records::new();
    for (location, output) in [
        ("net/curl", "PKGNAME=curl-8\nALL_DEPENDS=zlib>1:../../devel/zlib zlib>2:../../devel/zlib\n"),
        ("devel/x", "PKGNAME=py1-x-1\nALL_DEPENDS=curl>1\nPKGNAME=py2-x-1\n"),
    ] {
        records.read(&RecipeLocation::parse(location).unwrap(), output.as_bytes()).unwrap();
    }
    records
}

#[test]
fn a_name_is_a_pkgname_a_name_without_version_or_a_location() {
    let records = named_records();
    assert_eq!(select(&records, ["devel/x"]).unwrap(), [1, 2]);
    assert_eq!(select(&records, ["py2-x", "curl-8", "net/curl"]).unwrap(), [0, 2]);
    let error = select(&records, ["curl", "wget\n"]).unwrap_err();
    assert_eq!(error.to_string(), "no package has this PKGNAME, name or location: wget\\n");
}

#[test]
fn the_last_part_of_a_location_is_enough_where_one_has_it_and_what_may_be_meant_is_told() {
    let mut records = named_records();
    assert_eq!(select(&records, ["x"]).unwrap(), [1, 2]);
    let error_of = |records: &Records, name: &str| select(records, [name]).unwrap_err().to_string();
    let begin = "no package has this PKGNAME, name or location: ";
    assert_eq!(error_of(&records, "x-3"), format!("{begin}x-3; did you mean devel/x?"));
    assert_eq!(error_of(&records, "crul"), format!("{begin}crul; did you mean curl?"));
    records.read(&RecipeLocation::parse("net/x").unwrap(), b"PKGNAME=other-1\n").unwrap();
    assert_eq!(error_of(&records, "x"), format!("{begin}x; did you mean devel/x or net/x?"));
}

#[test]
fn needs_tell_which_locations_are_to_be_scanned_next() {
    let records = named_records();
    let zlib = BTreeSet::from([RecipeLocation::parse("devel/zlib").unwrap()]);
    let expected = NeededLocations { named: zlib, needs_listing: false };
    assert_eq!(needed_locations(&records, 0..1), expected);
    assert_eq!(needed_locations(&records, 0..9), NeededLocations { needs_listing: true, ..expected });
}
