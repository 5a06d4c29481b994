//! Real releases: each changed package is patched and restored.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::debs::{add_copy, deb_in, field, has_dpkg_deb, unpack};
use super::delivered;
use crate::records::Before;
use crate::scenario::{Scenario, shared};
use crate::tree::Tree;

/// The packages of one source in both releases, and a root with the old ones.
struct Software {
    stage: Scenario,
    packages: &'static [&'static str],
    cases: PathBuf,
    /// True if `/lib` of the root is a link to `/usr/lib`.
    is_merged: bool,
}

impl Software {
    /// Unpacks both releases, each package separately, and the old one below the root.
    fn of(test: &str, packages: &'static [&'static str], is_merged: bool) -> Option<Self> {
        let cases = shared(test, "cases")?;
        if !has_dpkg_deb(test) {
            return None;
        }
        let software = Self { stage: Scenario::new(), packages, cases, is_merged };
        for (set, side) in [("release", "old"), ("stable", "new")] {
            fs::create_dir(software.stage.beside(side)).unwrap();
            for package in packages {
                let deb = deb_in(&software.cases.join(set), package);
                fs::copy(&deb, software.stage.beside(side).join(deb.file_name().unwrap())).unwrap();
                let place = software.unpacked(side, package);
                unpack(&deb, &place);
                if is_merged && place.join("lib").is_dir() {
                    add_copy(&place.join("lib"), &place.join("usr/lib"));
                    fs::remove_dir_all(place.join("lib")).unwrap();
                }
            }
        }
        if is_merged {
            software.stage.directory("/usr/lib");
            software.stage.symlink("/lib", "usr/lib");
        }
        for package in packages {
            add_copy(&software.unpacked("old", package), &software.stage.root());
        }
        Some(software)
    }

    /// The directory of an unpacked package; for a root with a merged `/usr`, in its layout there.
    fn unpacked(&self, side: &str, package: &str) -> PathBuf {
        self.stage.beside(&format!("{side}-{package}"))
    }

    fn deb(&self, side: &str, package: &str) -> PathBuf {
        deb_in(&self.stage.beside(side), package)
    }

    /// The path on disk for a path of a package.
    fn on_disk(&self, path: &str) -> String {
        if self.is_merged && path.starts_with("lib/") { format!("usr/{path}") } else { path.to_owned() }
    }

    /// The changed paths, as they were found without this program; on request with those where only the time changed.
    /// A link has no time in a package.
    fn changes(&self, with_times: bool) -> BTreeSet<String> {
        let mut changes = BTreeSet::new();
        for package in self.packages {
            let arch = field(&self.deb("old", package), "Architecture");
            let file = self.cases.join(format!("make/delta/{package}_{arch}.changes"));
            let text = fs::read_to_string(file).unwrap();
            let tree = self.unpacked("new", package);
            for (kind, path) in text.lines().map(|line| line.split_once('\t').unwrap()) {
                let is_file = || tree.join(self.on_disk(path)).symlink_metadata().unwrap().is_file();
                if kind != "mtime_only" || (with_times && is_file()) {
                    changes.insert(path.to_owned());
                }
            }
        }
        changes
    }

    /// Adopts each package with a list of its paths.
    fn adopt_by_paths(&self) {
        for package in self.packages {
            let deb = self.deb("old", package);
            let tree = Tree::of(&self.unpacked("old", package), &[]);
            let paths: String = tree.objects().keys().map(|path| format!("/{path}\n")).collect();
            fs::write(self.stage.beside("paths"), paths).unwrap();
            self.adopt(package, &deb, "--paths paths");
        }
    }

    fn adopt(&self, package: &str, deb: &Path, source: &str) {
        let (version, arch) = (field(deb, "Version"), field(deb, "Architecture"));
        let named = format!("--pkg DEB{package} --pkg-version {version} --arch {arch}");
        self.stage.run(&format!("adopt {named} -R @ROOT@ {source}")).ok();
    }

    /// Records the packages in the root as dpkg would have, and adopts them from there.
    fn adopt_by_dpkg(&self) {
        let info = self.stage.at("/var/lib/dpkg/info");
        fs::create_dir_all(&info).unwrap();
        let mut status = String::new();
        for package in self.packages {
            let deb = self.deb("old", package);
            let control = self.stage.beside(&format!("control-{package}"));
            assert!(Command::new("dpkg-deb").arg("-e").arg(&deb).arg(&control).status().unwrap().success());
            for file in ["md5sums", "conffiles"].iter().filter(|file| control.join(file).exists()) {
                fs::copy(control.join(file), info.join(format!("{package}.{file}"))).unwrap();
            }
            let listing = Command::new("dpkg-deb").arg("-c").arg(&deb).output().unwrap().stdout;
            let listing = String::from_utf8(listing).unwrap();
            let paths = listing.lines().map(|line| line.split_whitespace().nth(5).unwrap());
            let paths: String = paths.map(|path| format!("{}\n", path[1..].trim_end_matches('/'))).collect();
            fs::write(info.join(format!("{package}.list")), paths.replacen('\n', "/.\n", 1)).unwrap();
            let control = fs::read_to_string(control.join("control")).unwrap();
            status += &format!("Status: install ok installed\n{control}\n");
        }
        fs::write(self.stage.at("/var/lib/dpkg/status"), status).unwrap();
        for package in self.packages {
            let said = self.stage.run(&format!("adopt --dpkg {package} -R @ROOT@")).ok();
            assert!(!said.contains("differs") && !said.contains("does not exist"), "{said}");
        }
    }

    fn build(&self, form: &str, options: &str) -> PathBuf {
        let out = self.stage.beside(&format!("patch.{form}"));
        let line =
            format!("build --id 300100-01 --from old --to new -o patch.{form} --format {form} {options}");
        let run = self.stage.run(&line);
        assert_eq!(run.code, 0, "{}", run.stderr);
        out
    }

    /// Makes the patch, applies it and backs it out; returns the size of the archive.
    fn go_the_way(&self, with_times: bool) -> u64 {
        let (stage, changes) = (&self.stage, self.changes(with_times));
        let options = if with_times { "--mtimes" } else { "" };
        assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
        assert_eq!(delivered(&self.build("dir", options)), changes);
        let archive = self.build("tar.gz", options);
        let linted = stage.run("lint --base old patch.dir patch.tar.gz");
        assert_eq!((linted.code, linted.stderr.as_str()), (0, ""), "{}", linted.stdout);
        let (records, before) = (Before::of(stage), self.tree());
        stage.run("add -R @ROOT@ patch.tar.gz").ok();
        self.assert_applied(&before, &changes);
        let run = stage.run("patchrm -R @ROOT@ 300100-01");
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        records.assert_again(stage, "backed out");
        fs::metadata(archive).unwrap().len()
    }

    fn tree(&self) -> Tree {
        Tree::of(&self.stage.root(), &["var/sadm"])
    }

    /// Asserts that the changed paths are as in the new release, and everything else as before.
    fn assert_applied(&self, before: &Tree, changes: &BTreeSet<String>) {
        let changed: BTreeSet<String> = changes.iter().map(|path| self.on_disk(path)).collect();
        let news = self.packages.iter().map(|package| Tree::of(&self.unpacked("new", package), &[]));
        let news: Vec<Tree> = news.collect();
        let now = self.tree();
        assert_eq!(now.paths(), before.paths(), "no release adds or removes an object");
        for path in now.objects().keys() {
            let from_new = news.iter().find_map(|tree| tree.objects().get(path)).map(|new| new.join("\t"));
            let expected = from_new.filter(|_| changed.contains(path)).unwrap_or_else(|| before.line(path));
            assert_eq!(now.line(path), expected, "{path}");
        }
    }

    /// The compressed size of the changed files, in an archive without anything else.
    fn floor(&self) -> u64 {
        let summary = fs::read_to_string(self.cases.join("make/delta/summary.tsv")).unwrap();
        let lines = summary.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let own = lines.filter(|columns| self.packages.contains(&columns[1]));
        own.map(|columns| columns.last().unwrap().parse::<u64>().unwrap()).sum()
    }

    fn assert_small(&self, bytes: u64) {
        let floor = self.floor();
        assert!(bytes * 10 <= floor * 11, "{bytes} bytes, {floor} without anything else");
    }
}

#[test]
fn openssl_is_patched_and_comes_back() {
    let test = "openssl_is_patched_and_comes_back";
    let Some(software) = Software::of(test, &["libssl3", "openssl"], false) else { return };
    software.adopt_by_paths();
    software.assert_small(software.go_the_way(false));
}

#[test]
fn curl_is_patched_and_comes_back() {
    let test = "curl_is_patched_and_comes_back";
    let packages = &["curl", "libcurl3-gnutls", "libcurl4"];
    let Some(software) = Software::of(test, packages, false) else { return };
    software.adopt_by_paths();
    software.assert_small(software.go_the_way(false));
}

#[test]
fn tzdata_is_adopted_as_a_tree_and_patched_and_comes_back() {
    let test = "tzdata_is_adopted_as_a_tree_and_patched_and_comes_back";
    let Some(software) = Software::of(test, &["tzdata"], false) else { return };
    software.adopt("tzdata", &software.deb("old", "tzdata"), "--basedir / --dir @ROOT@/usr");
    software.assert_small(software.go_the_way(false));
}

#[test]
fn nginx_is_patched_and_comes_back() {
    let test = "nginx_is_patched_and_comes_back";
    let Some(software) = Software::of(test, &["nginx", "nginx-common"], false) else { return };
    software.adopt_by_paths();
    software.assert_small(software.go_the_way(false));
}

#[test]
fn nginx_of_dpkg_is_patched_on_a_merged_usr_and_comes_back() {
    let test = "nginx_of_dpkg_is_patched_on_a_merged_usr_and_comes_back";
    let Some(software) = Software::of(test, &["nginx", "nginx-common"], true) else { return };
    software.adopt_by_dpkg();
    software.go_the_way(false);
    assert_eq!(fs::read_link(software.stage.at("/lib")).unwrap(), Path::new("usr/lib"));
}

#[test]
fn a_new_time_is_delivered_to_the_files_of_a_merged_usr_where_that_is_asked_for() {
    let test = "a_new_time_is_delivered_to_the_files_of_a_merged_usr_where_that_is_asked_for";
    let Some(software) = Software::of(test, &["nginx", "nginx-common"], true) else { return };
    software.adopt_by_dpkg();
    assert!(software.changes(true).contains("lib/systemd/system/nginx.service"));
    software.go_the_way(true);
    assert_eq!(fs::read_link(software.stage.at("/lib")).unwrap(), Path::new("usr/lib"));
}
