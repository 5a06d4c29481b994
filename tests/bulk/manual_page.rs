//! The manual page that introduces bulk builds: its commands print the output that it shows, and it covers each line
//! of the setup that it replaces. The page of the configuration has every setting with its default.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::BulkBuild;
use crate::making_patches::commands;
use crate::readme::{run, steady};
use crate::scenario::is_root;

/// Settings, files, commands and warnings in the guide to bulk builds with pbulk.
const LINES: [&str; 66] = [
    "mkdir -p /content/{distfiles,mk,packages/bootstrap,scripts}",
    "DISTDIR=         /content/distfiles",
    "FETCH_USING=     curl",
    "MAKE_JOBS=       4",
    ".include \"/content/mk/mk-generic.conf\"",
    "PACKAGES=        /content/packages/2013Q4/x86_64",
    "WRKOBJDIR=       /home/pbulk/build",
    "git clone -b pkgsrc_2013Q4",
    "cvs -d co -rpkgsrc-2013Q4 -P pkgsrc",
    "curl -s | patch -p0",
    "./bootstrap --abi=64 --prefix=/usr/pbulk --mk-fragment=/content/mk/mk-pbulk.conf",
    "./cleanup; cd ..",
    "PATH=/usr/pbulk/sbin:/usr/pbulk/bin:$PATH",
    "cd pkgtools/pbulk",
    "bmake package-install",
    "cd ../mksandbox",
    "groupadd -g 500 pbulk",
    "useradd -u 500 -g 500 -c 'pbulk user' -s /bin/bash -m pbulk",
    "-alldirs -maproot=root",
    "mkdir /chroot",
    "mksandbox --rodirs=/usr/pbulk --rwdirs=/content --without-pkgsrc /chroot/test",
    "/chroot/test/sandbox",
    "/chroot/test/sandbox umount",
    "mount -v | grep /chroot/test/",
    "rm -rf /chroot/test",
    "if [ -d ${chrootdir} ]; then",
    "echo \"Chroot ${chrootdir} exists, retrying in 10 seconds or ^C to quit\"",
    "sleep 10",
    "/usr/pbulk/sbin/mksandbox --without-pkgsrc \\",
    "--rodirs=/usr/pbulk --rwdirs=/content ${chrootdir} >/dev/null 2>&1",
    "mkdir -p ${chrootdir}/home/pbulk",
    "chown pbulk:pbulk ${chrootdir}/home/pbulk",
    "for retry in 1 2 3",
    "${chrootdir}/sandbox umount >/dev/null 2>&1",
    "mounts=`mount -v | grep \"${chrootdir}/\"`",
    "if [ -z \"${mounts}\" ]; then",
    "rm -rf ${chrootdir}",
    "sleep 5",
    "/content/scripts/mksandbox /chroot/build-bootstrap",
    "/chroot/build-bootstrap/sandbox",
    "--gzip-binary-kit=/content/packages/bootstrap/bootstrap-2013Q4-pbulk.tar.gz \\",
    "/content/scripts/rmsandbox /chroot/build-bootstrap",
    "ulimit -t 3600",
    "base_url=",
    "reuse_scan_results=yes",
    "master_ip=",
    "scan_clients=\"\"",
    "build_clients=\"\"",
    "master_mode=no",
    "MANTA_USER=\"pkgsrc\"",
    "MANTA_KEY_ID=\"40:b7:2e:b5:de:04:17:78:35:0b:d8:72:b9:da:8d:0e\"",
    "MANTA_PATH=\"/usr/pbulk/bin:/content/manta/node_modules/.bin\"",
    "report_manta_target=\"/pkgsrc/public/reports/Darwin/2013Q4/x86_64\"",
    "report_rsync_target=",
    "pkg_rsync_target=\"\"",
    "report_subject_prefix=\"pkgsrc-2013Q4\"",
    "report_recipients=\"\"",
    "bootstrapkit=/content/packages/bootstrap/bootstrap-2013Q4-pbulk.tar.gz",
    "chroot_create=/content/scripts/mksandbox",
    "chroot_delete=/content/scripts/rmsandbox",
    "chroot_dir=/chroot/pkgsrc-2013Q4",
    "build_chroots=4",
    "scan_chroots=4",
    "limited_list=/content/mk/pkglist",
    "bulkbuild pbulk-32bit.conf",
    "MASTER_SITE_OVERRIDE",
];

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(name)).unwrap()
}

#[test]
fn the_page_has_each_line_of_the_setup_of_pbulk() {
    let page = page("bulk-builds.7").replace("\\(ga", "`").replace("\\e", "\\").replace("\\&", "");
    let lines: Vec<&str> = page.lines().map(str::trim).collect();
    for line in LINES {
        let stands = lines.iter().any(|found| {
            *found == line
                || found.strip_prefix(".Ql ") == Some(&format!("{line} ."))
                || *found == format!(".Ev {line}")
        });
        assert!(stands, "{line}");
    }
}

/// The settings and steps of the guide, each with a row in the table of the page.
const ROWS: [&str; 43] = [
    "mkdir /content/...",
    "DISTDIR",
    "FETCH_USING",
    "MAKE_JOBS",
    "PACKAGES, WRKOBJDIR",
    "other lines of mk.conf",
    "git clone, cvs co",
    "curl | patch",
    "bootstrap of pbulk",
    "pbulk, mksandbox",
    "groupadd, useradd",
    "exports -maproot=root",
    "mksandbox --rodirs",
    "/chroot/test/sandbox",
    "sandbox umount, rm -rf",
    "script mksandbox",
    "script rmsandbox",
    "--gzip-binary-kit",
    "ulimit -t 3600",
    "base_url",
    "reuse_scan_results",
    "master_ip",
    "scan_clients",
    "build_clients",
    "master_mode=no",
    "MANTA_*",
    "report_rsync_target",
    "pkg_rsync_target",
    "report_subject_prefix",
    "report_recipients",
    "bootstrapkit",
    "chroot_create, _delete",
    "chroot_dir",
    "build_chroots",
    "scan_chroots",
    "bulklog",
    "packages",
    "pkgsrc",
    "limited_list",
    "bulkbuild",
    "bulkbuild FILE",
    "DNS in chroots of OSX",
    "races of chroots",
];

#[test]
fn the_table_of_the_page_has_a_row_for_each_line_of_the_setup_and_each_no_has_its_reason() {
    let page = page("bulk-builds.7").replace("\\-", "-");
    let (_, table) = page.split_once(".Bl -column").unwrap();
    let (table, _) = table.split_once("\n.El").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix(".It Li \"")?.split_once("\" Ta "));
    let rows: BTreeMap<&str, (&str, &str)> = rows
        .map(|(line, rest)| (line, rest.split_once(" Ta").unwrap_or((rest, ""))))
        .map(|(line, (here, reason))| (line, (here, reason.trim())))
        .collect();
    assert_eq!(rows.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from(ROWS));
    let settings = described();
    for (line, (here, reason)) in rows {
        assert!(here != "no" || !reason.is_empty(), "{line} is nothing here, and no reason is told");
        let Some(name) = here.strip_prefix("Cm ").filter(|name| !name.starts_with("bulk ")) else { continue };
        let name = name.split('=').next().unwrap();
        assert!(settings.contains_key(name), "{line}: {name} is no setting");
    }
}

#[test]
fn the_first_steps_of_the_page_print_what_it_says() {
    let Some(build) = BulkBuild::of_sample("the_first_steps_of_the_page…", !is_root(), "") else { return };
    drop(build);
    let mut shown = commands(&page("bulk-builds.7"));
    assert!(shown.len() > 15, "only {} commands", shown.len());
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bulk/tree");
    let first = &mut shown[0].command;
    assert_eq!(first, "cp -R testdata/bulk/tree tree");
    *first = first.replace("testdata/bulk/tree", sample);
    let outputs = run(&shown, &[]);
    assert_eq!(outputs.len(), shown.len());
    for (shown, output) in shown.iter().zip(outputs) {
        assert_eq!(steady(&output), steady(&shown.output), "$ {}", shown.command);
    }
}

/// The settings of the page, each with its text.
fn described() -> BTreeMap<String, String> {
    let page = page("bulk.conf.5");
    let items = page.split("\n.It Cm ").skip(1).map(|item| {
        let (head, text) = item.split_once('\n').unwrap();
        (head.split(' ').next().unwrap().to_owned(), text.to_owned())
    });
    items.collect()
}

#[test]
fn the_page_of_the_configuration_has_every_setting_with_its_default() {
    let Some(build) = BulkBuild::of_recipes("the_page_of_the_configuration…", !is_root(), "") else {
        return;
    };
    let text = fs::read_to_string(build.work().join("bulk.conf")).unwrap();
    // Settings in comments have their defaults. The others are of this test, except those that `init` has written.
    let fresh = text.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    let fresh: BTreeMap<&str, &str> = fresh.filter(|(name, _)| !name.contains(' ')).collect();
    let described = described();
    let known: BTreeSet<&str> = fresh.keys().copied().chain(["tree", "ids"]).collect();
    assert_eq!(described.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
    let mut compared = 0;
    for (name, value) in fresh {
        // The form of a value has words in capital letters; a default has none.
        let is_form = value.split(|letter: char| !letter.is_ascii_alphabetic()).any(|word| {
            !word.is_empty()
                && word.chars().all(|letter| letter.is_ascii_uppercase())
                && !["G", "M", "K"].contains(&word)
        });
        if is_form {
            continue;
        }
        let text =
            described[name].replace(['\n', ' '], "").replace(".Pa", "").replace(".Cm", "").replace(".Dq", "");
        let default = format!("Thedefaultis{}.", value.replace(' ', ""));
        assert!(text.contains(&default), "{name}: {default} is not in {text}");
        compared += 1;
    }
    assert!(compared > 15, "only {compared} defaults");
}
