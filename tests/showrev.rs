use crate::scenario::Scenario;

#[test]
fn patches_are_listed_line_by_line_as_clients_expect_them() {
    let stage = Scenario::new();
    let kernel = "PATCHLIST=106793-01 IDR148363-26\n\
                  PATCH_INFO_106793-01=Installed: Fri Nov 20 06:37:39 UTC 2026 From: web1            Obsoletes:  Requires: Incompatibles:\n\
                  PATCH_INFO_IDR148363-26=Installed: Fri Nov 20 06:38:00 UTC 2026 From: web1 Obsoletes: 1-01, 2-02 \
                  Requires: 147441-26 Incompatibles: 147441-27\n\
                  PATCH_INFO_99-01=backed out\n";
    stage.package("SUNWzfskr", kernel);
    stage.package("SUNWnfsckr", "PATCHLIST=IDR148363-26\n");
    assert_eq!(
        stage.run("showrev -p -R @ROOT@").ok(),
        "Patch: 106793-01 Obsoletes:  Requires:  Incompatibles:  Packages: SUNWzfskr\n\
         Patch: IDR148363-26 Obsoletes: 1-01, 2-02 Requires: 147441-26 Incompatibles: 147441-27 \
         Packages: SUNWnfsckr, SUNWzfskr\n"
    );
    let document: serde_json::Value =
        serde_json::from_str(&stage.run("showrev -p --json -R @ROOT@").ok()).unwrap();
    assert_eq!(document["patches"][1]["obsoletes"], serde_json::json!(["1-01", "2-02"]));
}

#[test]
fn a_root_without_patches_says_so() {
    assert_eq!(Scenario::new().run("showrev -p -R @ROOT@").ok(), "No patches are installed\n");
}

#[test]
fn the_system_block_names_host_and_release_and_all_adds_the_patches() {
    let stage = Scenario::new();
    let block = stage.run("showrev").ok();
    assert!(block.starts_with("Hostname: "), "{block}");
    assert!(block.contains("\nKernel version: "), "{block}");
    assert_eq!(stage.run("showrev -a -R @ROOT@").ok(), format!("{block}No patches are installed\n"));
}

#[test]
fn the_revision_of_a_command_is_wrong_usage() {
    let text = Scenario::new().run("showrev -c ls").fails(1);
    assert!(text.ends_with("usage: showrev [-a|-p] [-R root]\n"), "{text}");
}

#[test]
fn the_system_and_the_patches_alone_exclude_each_other() {
    let text = Scenario::new().run("showrev -a -p").fails(1);
    assert!(text.contains("\nusage: showrev [-a|-p] [-R root]\n"), "{text}");
}

#[test]
fn a_patch_that_a_package_only_names_is_listed_with_what_it_obsoletes() {
    let stage = Scenario::new();
    stage.package("SUNWcsr.2", "SUNW_PATCHID=100444-35\nSUNW_OBSOLETES=100400-01\n");
    let line = "Patch: 100444-35 Obsoletes: 100400-01 Requires:  Incompatibles:  Packages: SUNWcsr.2\n";
    assert_eq!(stage.run("showrev -p -R @ROOT@").ok(), line);
    assert_eq!(stage.run("patchadd -p -R @ROOT@").ok(), line);
}

#[test]
fn a_policy_that_makes_no_sense_is_an_error() {
    let stage = Scenario::new();
    stage.file("/etc/patchadm/policy", "separator=/\n");
    assert!(
        stage.run("showrev -p -R @ROOT@").fails(1).starts_with("showrev: ERROR: @ROOT@/etc/patchadm/policy")
    );
}
