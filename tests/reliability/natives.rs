//! Stories with a simulated dpkg: registrations that follow it, and packages that are adopted on demand.

use std::fs;

use crate::adopt_refresh::{ONE, TWO, adopted, delivered, dpkg_installs};
use crate::delivery::Patch;
use crate::reliability::stories::{Command, Story};
use crate::scenario::Scenario;

/// A root in which dpkg has upgraded an adopted package with three patches. One remains in part, because a path filter
/// kept one of its files; one ends, and the content that an administrator had written before is put beside the new
/// file; one ends together with its additions.
pub(super) fn registration_refreshed() -> Story {
    let stage = adopted();
    let applied = |options: &str, id: &str, files: &[(&str, &str)]| {
        let package =
            files.iter().fold(delivered("1.0-1"), |package, (path, text)| package.file(path, 0o644, *text));
        let at = Patch::of(id, package).directory(&stage);
        stage.run(&format!("add {options} -R @ROOT@ {}", at.display())).ok();
    };
    applied("", "100-01", &[("usr/lib/libweb.so", "lib fixed\n"), ("usr/bin/web", "web fixed\n")]);
    stage.file("/usr/share/web/data", "data of an administrator\n");
    applied("--edited replace", "101-01", &[("usr/share/web/data", "data fixed\n")]);
    applied("", "102-01", &[("usr/share/web/more", "more\n")]);
    dpkg_installs(&stage, Some(&ONE), &TWO, &["/usr/lib/libweb.so"]);
    Story::of("adopt --refresh", stage, Command::Refresh)
}

/// A root in which dpkg has removed an adopted package with a patch.
pub(super) fn registration_ended() -> Story {
    let stage = adopted();
    let package =
        delivered("1.0-1").file("usr/bin/web", 0o644, "web fixed\n").file("usr/bin/more", 0o644, "more\n");
    let at = Patch::of("100-01", package).directory(&stage);
    stage.run(&format!("add -R @ROOT@ {}", at.display())).ok();
    for (path, _) in ONE.files {
        fs::remove_file(stage.at(path)).unwrap();
    }
    stage.file(
        "/var/lib/dpkg/status",
        "Package: web\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1.0-1\n",
    );
    Story::of("adopt --refresh of a removed package", stage, Command::Refresh)
}

/// A root that knows the program, with a dpkg package that is not adopted.
fn installed() -> Scenario {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/contents", "");
    stage.directory("/var/sadm/pkg");
    dpkg_installs(&stage, None, &ONE, &[]);
    stage.file("/opt/own/tool", "tool\n");
    stage.run("adopt --pkg ACMEown --pkg-version 1 --dir /opt/own -R @ROOT@").ok();
    stage
}

/// A patch is applied, and its package is adopted with it.
pub(super) fn adopted_on_demand() -> Story {
    let stage = installed();
    let package =
        delivered("1.0-1").file("usr/lib/libweb.so", 0o644, "lib fixed\n").deletes(&["usr/share/web/data"]);
    let patches = vec![Patch::of("100-01", package).directory(&stage)];
    Story::of("add --adopt", stage, Command::ApplyAdopting(patches))
}

/// All packages of dpkg are adopted.
pub(super) fn all_adopted() -> Story {
    Story::of("adopt --all", installed(), Command::AdoptAll)
}
