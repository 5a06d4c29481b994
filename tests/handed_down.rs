//! Parameters of a package after backouts in any order: they equal those of a root that has only the remaining patches.

use std::collections::BTreeMap;
use std::fs;

use patchadm_svr4::format::params::ParamFile;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

const IDS: [&str; 3] = ["100-01", "200-01", "300-01"];

/// The second patch sets none of the parameters; the third sets those of the first again.
fn patch(id: &str) -> Patch {
    let package = Package::new("ACMEweb").file(&format!("share/{id}"), 0o644, id);
    let package = match id {
        "200-01" => package,
        _ => package
            .param("WORD", id)
            .param("Patch_label", id)
            .param("SUNW_OBSOLETES", if id == "100-01" { "90-01" } else { "91-01" }),
    };
    Patch::of(id, package)
}

fn with(ids: &[&str]) -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("share/base", 0o644, "base")]);
    for id in ids {
        stage.patchadd("", &patch(id)).ok();
    }
    stage
}

/// All parameters but the records of single patches.
fn shown(stage: &Scenario) -> BTreeMap<String, Vec<u8>> {
    let pkginfo = fs::read(stage.at("/var/sadm/pkg/ACMEweb/pkginfo")).unwrap();
    let params = ParamFile::parse(&pkginfo).unwrap().params();
    // An empty list of patches is equivalent to none.
    let counts = |(name, value): &(&str, &[u8])| {
        !(name.starts_with("PATCH_INFO_") || value.is_empty() && name.starts_with("PATCH"))
    };
    params.iter().filter(counts).map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

#[test]
fn a_parameter_goes_with_the_patch_that_brought_it_in_every_order() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let alone = |ids: &[&str]| shown(&with(ids));
    for order in orders {
        let stage = with(&IDS);
        let mut left = IDS.to_vec();
        for id in order.map(|place| IDS[place]) {
            stage.run(&format!("patchrm -R @ROOT@ {id}")).ok();
            left.retain(|other| *other != id);
            assert_eq!(shown(&stage), alone(&left), "{order:?}: {id} has gone");
        }
    }
}
