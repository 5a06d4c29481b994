//! Databases of rpm in roots of other users: a query by the superuser runs none of their code, writes nothing, and
//! ends.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::native_root::has_rpm;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::workshop::eventually;

/// Queries that ask rpm.
const QUERIES: [&str; 4] =
    ["show /usr/bin/web -R @ROOT@", "list --check -R @ROOT@", "status -R @ROOT@", "check -R @ROOT@"];

/// A root with a package that was adopted from rpm.
fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("RPMweb").file("bin/web", 0o755, "one\n")]);
    let pkginfo = stage.text("/var/sadm/pkg/RPMweb/pkginfo");
    stage.file("/var/sadm/pkg/RPMweb/pkginfo", format!("{pkginfo}PATCHADM_ADOPTED=rpm web\n"));
    stage
}

/// A name that makes rpm create a file if it expands macros in it.
fn macro_that_makes(file: &Path) -> String {
    let octal = file.display().to_string().replace('/', "\\057");
    format!("%(touch $(printf '{octal}'))")
}

/// Puts an empty database at a path, without showing that path to the rpm that makes it.
fn database(stage: &Scenario, at: &Path) {
    let made = stage.beside("database");
    fs::create_dir(&made).unwrap();
    assert!(Command::new("rpm").arg("--dbpath").arg(&made).arg("--initdb").status().unwrap().success());
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::rename(&made, at).unwrap();
}

#[test]
fn no_macro_in_the_path_of_a_database_is_expanded() {
    if !has_rpm("no_macro_in_the_path_of_a_database_is_expanded", &["rpm"]) {
        return;
    }
    let stage = stage();
    let made = stage.beside("made");
    let name = macro_that_makes(&made);
    database(&stage, &stage.at(&format!("/{name}")));
    stage.directory("/var/lib");
    symlink(format!("/{name}"), stage.at("/var/lib/rpm")).unwrap();
    for line in QUERIES {
        stage.run(line);
        assert!(!made.exists(), "{line}");
    }
    // The directory above the root belongs to another user, too.
    let above = stage.beside(&name);
    fs::create_dir(&above).unwrap();
    fs::remove_file(stage.at("/var/lib/rpm")).unwrap();
    database(&stage, &stage.at("/var/lib/rpm"));
    assert!(Command::new("cp").arg("-a").arg(stage.root()).arg(&above).status().unwrap().success());
    for line in QUERIES {
        let mut command = stage.command(line.trim_end_matches(" -R @ROOT@"));
        command.arg("-R").arg(above.join(stage.root().file_name().unwrap()));
        command.output().unwrap();
        assert!(!made.exists(), "{line}");
    }
}

#[test]
fn a_link_among_the_files_of_a_database_leads_to_no_new_file() {
    if !has_rpm("a_link_among_the_files_of_a_database_leads_to_no_new_file", &["rpm"]) {
        return;
    }
    let stage = stage();
    stage.directory("/var/lib/rpm");
    let beside = stage.beside("new");
    fs::create_dir(&beside).unwrap();
    symlink(beside.join("rpmdb.sqlite"), stage.at("/var/lib/rpm/rpmdb.sqlite")).unwrap();
    let before = stage.everything();
    for line in QUERIES {
        stage.run(line);
        assert_eq!(fs::read_dir(&beside).unwrap().count(), 0, "{line}");
    }
    assert_eq!(stage.everything().difference(&before), "", "a query writes nothing");
}

/// The rpm process that a process has started.
fn rpm_of(parent: u32) -> Option<PathBuf> {
    let mut processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_it = |process: &PathBuf| {
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        status.contains("Name:\trpm\n") && status.contains(&format!("\nPPid:\t{parent}\n"))
    };
    processes.find(is_it)
}

#[test]
fn a_database_without_end_has_no_rights_and_ends_with_the_query() {
    if !has_rpm("a_database_without_end_has_no_rights_and_ends_with_the_query", &["rpm", "sqlite3"]) {
        return;
    }
    let stage = stage();
    let place = stage.at("/var/lib/rpm");
    database(&stage, &place);
    let view = "pragma journal_mode=delete; alter table Packages rename to Other; \
                create view Packages as with recursive r(hnum, blob) as \
                (select 1, x'00' union all select hnum + 1, blob from r) select hnum, blob from r where hnum < 0;";
    let changed = Command::new("sqlite3").arg(place.join("rpmdb.sqlite")).arg(view).output().unwrap();
    assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
    let mut command = stage.command("show /usr/bin/web -R @ROOT@");
    let mut query = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("rpm is at work", || rpm_of(query.id()).is_some());
    let rpm = rpm_of(query.id()).unwrap();
    let status = fs::read_to_string(rpm.join("status")).unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert_eq!(line("Uid:"), "Uid:\t65534\t65534\t65534\t65534");
    assert_eq!(line("Groups:").trim_end(), "Groups:");
    for name in ["CapPrm:", "CapEff:"] {
        assert_eq!(line(name), format!("{name}\t0000000000000000"));
    }
    kill_process(Pid::from_child(&query), Signal::TERM).unwrap();
    query.wait().unwrap();
    let is_gone = || fs::read_to_string(rpm.join("status")).map_or(true, |text| text.contains("State:\tZ"));
    eventually("rpm has ended", is_gone);
}
