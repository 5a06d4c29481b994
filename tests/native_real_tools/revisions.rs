//! Revisions of one patch that lose their fix: the one in force alarms, and losses behind it are not forgotten.

use crate::native_root::{Deb, DpkgRoot, End, patch_of};

const A: &str = "/usr/share/acme/a";
const B: &str = "/usr/share/acme/b";
const C: &str = "/usr/share/acme/c";

fn acme(version: &str) -> Deb {
    let put = |deb: Deb, path: &&str| deb.file(path, &format!("{path} of {version}\n"));
    [A, B, C].iter().fold(Deb::new("acme", version), put)
}

#[test]
fn a_later_revision_that_is_lost_too_alarms_alone() {
    for root in DpkgRoot::both("two revisions that are lost, one after the other") {
        root.install(&acme("1"));
        root.adopt(&["acme"]);
        root.applied(&patch_of("100-01", "acme", "1", &[(A, "a fixed\n")]));
        root.upgrade(&acme("2"));
        root.tells(&[("100-01", End::Lost(&[A]))]);
        root.applied(&patch_of("100-02", "acme", "2", &[(B, "b fixed\n")]));
        root.tells(&[("100-01", End::Ended), ("100-02", End::Stands)]);
        root.upgrade(&acme("3"));
        root.tells(&[("100-01", End::Ended), ("100-02", End::Lost(&[B]))]);
        root.ok("adopt --refresh --accept 100-02 -R @ROOT@");
        root.tells(&[("100-01", End::Ended), ("100-02", End::Ended)]);
    }
}

#[test]
fn the_loss_of_an_earlier_revision_alarms_once_the_later_one_is_backed_out() {
    for root in DpkgRoot::both("an earlier revision that lost a path behind a later one") {
        root.install(&acme("1"));
        root.adopt(&["acme"]);
        root.applied(&patch_of("100-01", "acme", "1", &[(A, "a fixed\n"), (B, "b fixed\n")]));
        root.applied(&patch_of("100-02", "acme", "1", &[(C, "c fixed\n")]));
        root.upgrade(&Deb::new("taker", "1").field("Replaces", "acme").file(A, "a of taker\n"));
        root.tells(&[("100-02", End::Stands)]);
        let removed = root.remove("100-02");
        assert_eq!(removed.code, 0, "{}", removed.said());
        root.tells(&[("100-01", End::PartlyLost(&[A]))]);
        assert_eq!(root.content(A), "a of taker\n");
        assert_eq!(root.content(B), "b fixed\n");
    }
}
