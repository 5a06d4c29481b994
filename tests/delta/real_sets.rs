//! Two sets of Debian packages, before and after a round of updates.

use std::fs;
use std::os::unix::fs::symlink;

use super::sets::{delta, document, field, members, told, work};
use crate::scenario::{Scenario, shared};

/// The sets, as directories of links that a test may change; `None` if the data is missing.
fn stage(test: &str) -> Option<Scenario> {
    let cases = shared(test, "cases")?;
    let stage = Scenario::new();
    for set in ["release", "stable"] {
        fs::create_dir(stage.beside(set)).unwrap();
        for entry in fs::read_dir(cases.join(set)).unwrap() {
            let path = entry.unwrap().path();
            symlink(fs::canonicalize(&path).unwrap(), stage.beside(set).join(path.file_name().unwrap()))
                .unwrap();
        }
    }
    Some(stage)
}

#[test]
fn of_real_sets_exactly_the_sources_that_were_updated_are_built() {
    let Some(stage) = stage("delta over real sets") else { return };
    let run = delta(&stage, "");
    assert_eq!(
        told(&run),
        [
            "curl built curl-01",
            "jq unchanged -",
            "less unchanged -",
            "libonig unchanged -",
            "nginx built nginx-01",
            "openssl built openssl-01",
            "tree unchanged -",
            "tzdata built tzdata-01"
        ]
    );
    for (source, packages) in [
        ("curl", "[curl,libcurl3-gnutls,libcurl4]"),
        ("nginx", "[nginx,nginx-common]"),
        ("openssl", "[libssl3,openssl]"),
        ("tzdata", "[tzdata]"),
    ] {
        assert_eq!(field(&run, source, "packages"), packages);
        let members = members(&stage, &format!("{source}-01"));
        let packed = members.keys().filter(|name| name.ends_with("/pkginfo")).count();
        assert_eq!(packed, packages.split(',').count(), "{source}");
    }
    let first = work(&stage);
    let run = delta(&stage, "");
    assert_eq!((document(&run)["built"].as_u64(), document(&run)["kept"].as_u64()), (Some(0), Some(4)));
    assert!(work(&stage) == first);
    // One package goes back to its old version, and another one is truncated.
    let swap = |name: &str, from: &str| {
        fs::remove_file(stage.beside(&format!("stable/{name}"))).unwrap();
        fs::copy(stage.beside(from), stage.beside(&format!("stable/{name}"))).unwrap();
    };
    swap("tzdata_2026f-0+deb12u1_all.deb", "release/tzdata_2025b-0+deb12u1_all.deb");
    let cut = stage.beside("stable/libcurl4_7.88.1-10+deb12u15_amd64.deb");
    let bytes = fs::read(&cut).unwrap();
    fs::remove_file(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let run = delta(&stage, "");
    let changed: Vec<String> = told(&run).into_iter().filter(|line| !line.contains("unchanged")).collect();
    assert_eq!(
        changed,
        ["curl failed -", "nginx kept nginx-01", "openssl kept openssl-01", "tzdata built tzdata-02"]
    );
    assert_eq!(run.code, 5);
    assert!(first.iter().all(|(name, bytes)| !name.starts_with("patches/") || work(&stage)[name] == *bytes));
}

#[test]
fn rpm_and_debian_packages_stand_side_by_side() {
    let Some(made) = shared("delta over rpm packages", "cases/make/packages") else { return };
    let stage = Scenario::new();
    for (set, version) in [("release", "1.0"), ("stable", "1.1")] {
        fs::create_dir(stage.beside(set)).unwrap();
        for name in [
            format!("acme-tools-{version}-1.noarch.zstdio.rpm"),
            format!("acme-tools_{version}-1_amd64.xz.deb"),
        ] {
            fs::copy(made.join(&name), stage.beside(set).join(&name)).unwrap();
        }
    }
    let run = delta(&stage, "");
    assert_eq!(told(&run), ["acme built acme-01", "acme-tools built acme-tools-01"], "{}", run.stderr);
    for (patch, package) in [("acme-01", "DEBacme-tools"), ("acme-tools-01", "RPMacme-tools")] {
        let members = members(&stage, patch);
        assert!(members.contains_key(&format!("{patch}/{package}/pkgmap")), "{patch}: {:?}", members.keys());
    }
    assert_eq!(told(&delta(&stage, "")), ["acme kept acme-01", "acme-tools kept acme-tools-01"]);
}
