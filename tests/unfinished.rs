//! A journal that cannot be read: no command touches anything, and every command says so.

use std::fs;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Scenario, code_of};

#[test]
fn a_damaged_journal_stops_every_writer_with_65_and_nothing_is_touched() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"));
    stage.patchadd("", &patch).ok();
    let journal = stage.at("/var/sadm/patchadm/journal");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[100] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let before = (stage.everything(), bytes);
    for line in [
        "patchadd -u -R @ROOT@ delivered/100-01",
        "patchrm -R @ROOT@ 100-01",
        "add -R @ROOT@ delivered/100-01",
        "remove -R @ROOT@ 100-01",
        "recover -R @ROOT@",
        "pkgadd -n -R @ROOT@ -d spool ACMEweb",
        "pkgrm -n -R @ROOT@ ACMEweb",
        "patchadd -p -R @ROOT@",
        "pkgparam -R @ROOT@ ACMEweb PATCHLIST",
    ] {
        let said = stage.run(line).fails(code_of(line, 65, 9));
        assert!(said.contains("@ROOT@/var/sadm/patchadm/journal"), "{line}: {said}");
        assert_eq!((stage.everything(), fs::read(&journal).unwrap()), before, "{line}");
    }
}
