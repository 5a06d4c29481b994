//! This version reads the files that version 0.1 left on a disk, and backs everything out.
//!
//! `testdata/compat/0.1` has the roots and other directories, and describes their origin and contents. Each test gets
//! its own copy, below another directory, with other inodes and ctimes.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};

use patchadm_changeset::format::{journal, manifest};
use patchadm_inputs::depot;
use patchadm_inputs::format::{objects_file, plan_file};

use crate::records::records;
use crate::scenario::{PROGRAM, Scenario, is_root};
use crate::tree::{Tree, assert_same};

/// The directory in which version 0.1 ran. Plans, stages and bulk builds contain its path.
const MADE_IN: &str = "/tmp/patchadm-compat-0.1/fixture";

/// The patches of the root `patched` in the order of application, with their states and the files with their undo data.
const PATCHED: [(&str, &str, &str); 7] = [
    ("100001-01", "superseded by 100001-02", "ACMEweb/save/100001-01/obsolete.gz"),
    ("100001-02", "obsoleted by 100002-01", "ACMEweb/save/100001-02/obsolete.Z"),
    ("100002-01", "effective", "ACMEweb/save/100002-01/undo"),
    ("100003-01", "effective", "ACMElib/save/100003-01/undo.zst"),
    ("100004-01", "effective", "ACMEweb/save/100004-01/undo.xz"),
    ("100005-01", "superseded by 100005-02", "ACMElib/save/100005-01/obsolete.files"),
    ("100005-02", "effective", "ACMElib/save/100005-02/undo.files"),
];

fn ids(patches: &[(&str, &str, &str)]) -> String {
    patches.iter().map(|(id, ..)| *id).collect::<Vec<_>>().join(" ")
}

/// A copy of one directory of the fixture, in which commands are run.
struct Left {
    stage: Scenario,
    part: &'static str,
}

impl Left {
    /// Unpacks a part with its owners. `None`, with a note, if the caller is not the superuser.
    fn of_root(test: &str, part: &'static str) -> Option<Self> {
        if !is_root() {
            crate::skipped(&format!("{test}: what root left takes the superuser"));
            return None;
        }
        Self::unpacked(test, part, &["--numeric-owner", "--xattrs", "--xattrs-include=*"])
    }

    /// Unpacks a part for any user: everything belongs to the user who runs the test.
    fn of_anybody(test: &str, part: &'static str) -> Option<Self> {
        Self::unpacked(test, part, &["--no-same-owner"])
    }

    /// Unpacks with tar(1), which restores the times of symbolic links as well.
    fn unpacked(test: &str, part: &'static str, options: &[&str]) -> Option<Self> {
        static FIXTURE: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let archive: &[u8] = include_bytes!("../testdata/compat/0.1/fixture.tar.zst");
            let mut bytes = Vec::new();
            ruzstd::decoding::StreamingDecoder::new(archive).unwrap().read_to_end(&mut bytes).unwrap();
            bytes
        });
        // Not in memory: the sandbox of a bulk build has another `/dev`.
        let stage = if part == "bulk" { Scenario::on_disk() } else { Scenario::new() };
        let mut tar = Command::new("tar");
        tar.args(options).args(["-xpf", "-", "--strip-components=1", "-C"]).arg(stage.beside(""));
        let Ok(mut tar) = tar.arg(format!("fixture/{part}")).stdin(Stdio::piped()).spawn() else {
            crate::missing("tar", test);
            return None;
        };
        tar.stdin.take().unwrap().write_all(&FIXTURE).unwrap();
        assert!(tar.wait().unwrap().success());
        Some(Self { stage, part })
    }

    /// Replaces the directory in which version 0.1 ran with this one.
    fn moved_here(self, files: &[&str]) -> Self {
        let here = self.stage.beside("").display().to_string();
        for file in files {
            let text = fs::read_to_string(self.at(file)).unwrap();
            assert!(text.contains(MADE_IN), "{file}: {text}");
            fs::write(self.at(file), text.replace(MADE_IN, here.trim_end_matches('/'))).unwrap();
        }
        self
    }

    fn at(&self, path: &str) -> PathBuf {
        self.stage.beside(self.part).join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Runs a command that succeeds, and returns its output. `@/` stands for the directory.
    #[track_caller]
    fn run(&self, line: &str) -> String {
        self.stage.run(&self.line(line)).ok()
    }

    /// Runs a command that ends with this code, and returns all its output.
    #[track_caller]
    fn ends(&self, code: i32, line: &str) -> String {
        let run = self.stage.run(&self.line(line));
        assert_eq!(run.code, code, "{line}: {}{}", run.stdout, run.stderr);
        run.stdout + &run.stderr
    }

    fn line(&self, line: &str) -> String {
        line.replace("@/", &format!("{}/", self.part))
    }

    #[track_caller]
    fn document(&self, line: &str) -> Value {
        serde_json::from_str(&self.run(line)).unwrap()
    }

    /// Everything in the root but its records.
    fn tree(&self) -> Tree {
        Tree::of(&self.at("root"), &["var/sadm"])
    }

    /// Asserts that the root matches a listing of version 0.1, and that its records agree with it.
    #[track_caller]
    fn assert_root(&self, expected: &str) {
        assert_same(&self.tree(), &Tree::parse(&self.text(expected)));
        self.run("check --contents -R @/root");
    }

    /// Asserts that the root and its records are as they were without patches. The mode of one file differs from its
    /// record.
    #[track_caller]
    fn assert_before(&self) {
        assert_same(&self.tree(), &Tree::parse(&self.text("before.tree")));
        assert_eq!(records(&self.at("root")), records(&self.at("before")));
    }
}

#[test]
fn patches_with_undo_data_in_every_form_are_listed_shown_verified_and_backed_out_one_by_one() {
    let Some(left) = Left::of_root("patches_with_undo_data…", "patched") else { return };
    left.assert_root("after.tree");
    let listed = left.run("list -R @/root");
    let verified = left.run("check --contents -v -R @/root");
    for (line, (id, state, undo)) in listed.lines().zip(PATCHED) {
        assert!(line.starts_with(&format!("{id}  {state} ")) && line.contains("undo data: "), "{line}");
        let shown = left.document(&format!("show --json -R @/root {id}"));
        let file = shown["answers"][0]["undo"][0]["path"].as_str().unwrap();
        assert!(file.ends_with(undo) && left.at("root/var/sadm/pkg").join(undo).exists(), "{shown}");
        assert!(verified.contains(&format!("{undo} is sound")), "{verified}");
    }
    assert_eq!(listed.lines().count(), PATCHED.len(), "{listed}");
    assert_eq!(left.run("history -R @/root").lines().count(), 9);
    let note = &left.document("history --json -R @/root 3")["runs"][0]["note"];
    assert_eq!(note, "the first");
    assert!(left.run("show -R @/root /opt/acme/bin/acmed").contains("ACMEweb"));
    assert_eq!(left.text("root/opt/acme/etc/more.conf"), "more=maybe\n");
    assert_eq!(left.text("root/opt/acme/etc/more.conf.patch-100004-01"), "more=yes\n");
    for (id, ..) in PATCHED.iter().rev() {
        left.run(&format!("patchrm -R @/root {id}"));
    }
    left.assert_before();
}

#[test]
fn patches_with_undo_data_in_every_form_are_backed_out_by_one_command() {
    let Some(left) = Left::of_root("…by one command", "patched") else { return };
    left.run(&format!("remove -R @/root {}", ids(&PATCHED)));
    left.assert_before();
}

#[test]
fn undo_data_in_every_form_is_written_again_in_another_one() {
    let Some(left) = Left::of_root("undo_data_in_every_form…", "patched") else { return };
    for form in ["zst", "gz"] {
        left.ends(0, &format!("undo-data repack --undo-format {form} --older-than 1d -R @/root"));
        left.assert_root("after.tree");
    }
    left.run("undo -R @/root");
    left.run(&format!("remove -R @/root {}", ids(&PATCHED[..6])));
    left.assert_before();
}

#[test]
fn undo_data_that_the_scripts_of_a_patch_made_is_used() {
    let Some(left) = Left::of_root("undo_data_that_the_scripts…", "scripted") else { return };
    left.run("check --contents -R @/root");
    left.run("patchrm -R @/root 100001-01");
    left.assert_root("before.tree");
}

#[test]
fn undo_data_that_was_given_up_or_is_elsewhere_is_told_as_that() {
    let Some(left) = Left::of_root("undo_data_that_was_given_up…", "given-up") else { return };
    let listed = left.run("list -R @/root");
    for (id, undo) in [("100001-01", "dropped"), ("100003-01", "none")] {
        let line = listed.lines().find(|line| line.starts_with(id)).unwrap();
        assert!(line.ends_with(&format!("undo data: {undo}")), "{line}");
        left.ends(3, &format!("remove -R @/root {id}"));
    }
    // The record names an absolute path, which is another one here.
    left.ends(1, "remove -R @/root 100005-01");
    let elsewhere = left.at("root/srv/undo");
    left.run(&format!("remove -R @/root --undo-dir {} 100005-01", elsewhere.display()));
    left.assert_root("before.tree");
}

#[test]
fn a_run_on_trial_is_confirmed_or_undone_or_expires() {
    let test = "a_run_on_trial…";
    let Some(left) = Left::of_root(test, "trial") else { return };
    left.assert_root("after.tree");
    assert!(left.run("status -R @/root").contains("on trial until 2026-12-01 12:"));
    left.run("confirm -R @/root");
    left.assert_root("after.tree");
    left.run("remove -R @/root 100001-01");
    left.assert_root("before.tree");

    let Some(left) = Left::of_root(test, "trial") else { return };
    left.run("undo -R @/root");
    left.assert_root("before.tree");

    // The commands of the boot unit and of the timer of a trial.
    for line in ["-R @/root recover", "-R @/root recover --wait 600"] {
        let Some(mut left) = Left::of_root(test, "trial") else { return };
        let two_days_later = 1_796_300_000_u64;
        left.stage.set("SOURCE_DATE_EPOCH", two_days_later.to_string());
        left.run(line);
        left.assert_root("before.tree");
        assert_eq!(left.run("list -R @/root"), "No patches are applied.\n");
    }
}

#[test]
fn interrupted_runs_are_rolled_back_or_completed() {
    let test = "interrupted_runs…";
    for (part, before, after, applied) in [
        ("killed/switching", "No patches are applied.", "before.tree", ""),
        ("killed/committed", "100002-01  effective", "after.tree", "100002-01"),
        ("killed/backout", "100005-02  effective", "before.tree", "100003-01 100005-02"),
    ] {
        let Some(left) = Left::of_root(test, part) else { return };
        let listed = left.ends(0, "list -R @/root");
        assert!(listed.contains(before), "{listed}");
        assert_eq!(listed.contains("was interrupted"), part != "killed/committed", "{listed}");
        let said = left.run("recover -R @/root");
        let end = if part == "killed/committed" { "was complete" } else { "was rolled back" };
        assert!(said.contains(end), "{said}");
        left.assert_root(after);
        assert_eq!(left.run("recover -R @/root"), "No run was interrupted.\n");
        if !applied.is_empty() {
            left.run(&format!("remove -R @/root {applied}"));
        }
        assert_eq!(left.run("list -R @/root"), "No patches are applied.\n");
        let original = Left::of_root(test, "plan").unwrap();
        assert_same(&left.tree(), &original.tree());
    }
}

#[test]
fn an_interrupted_run_is_put_right_by_the_next_change() {
    let test = "an_interrupted_run…";
    let Some(delivered) = Left::of_root(test, "plan") else { return };
    let add = format!("add -R @/root {}", delivered.at("delivered/100003-01").display());
    for (part, line, end, listed) in [
        ("killed/switching", &*add, "was rolled back", "100003-01  effective"),
        ("killed/committed", "remove -R @/root 100002-01", "was complete", "No patches"),
        ("killed/backout", "remove -R @/root 100005-02", "was rolled back", "100003-01  effective"),
    ] {
        let left = Left::of_root(test, part).unwrap();
        let said = left.ends(0, line);
        assert!(said.contains(end), "{said}");
        let all = left.run("list -R @/root");
        assert!(all.starts_with(listed) && all.lines().count() == 1, "{all}");
        left.run("check --contents -R @/root");
    }
}

#[test]
fn a_kept_library_is_pruned_when_nobody_needs_it_or_delivered_again_by_a_backout() {
    let test = "a_kept_library…";
    let Some(left) = Left::of_root(test, "kept") else { return };
    assert!(left.run("list -R @/root").contains("1 program that still loads libx.so.1: /usr/bin/p"));
    assert!(left.run("libs list -R @/root").contains("libx.so.1  needed, "));
    left.run("libs prune -R @/root");
    assert!(left.at("root/usr/lib/libx.so.1").exists());
    fs::remove_file(left.at("root/usr/bin/p")).unwrap();
    assert!(left.run("libs list -R @/root").contains("libx.so.1  unneeded, "));
    assert_eq!(left.run("libs prune -R @/root"), "libx.so.1: removed (ACMEx-SO)\n");
    assert!(!left.at("root/usr/lib/libx.so.1").exists());

    let Some(left) = Left::of_root(test, "kept") else { return };
    left.run("remove -R @/root 200001-01");
    left.assert_root("before.tree");
    assert_eq!(left.run("pkginfo -L -R @/root"), "ACMEp\nACMEx\n");
}

#[test]
fn adopted_packages_are_known_and_a_lost_fix_is_told_until_its_loss_is_accepted() {
    let Some(left) = Left::of_root("adopted_packages…", "native") else { return };
    let lost = "300002-01  LOST to acme-two 1.0-2 (dpkg)";
    let listed = left.ends(4, "list --check -R @/root");
    assert!(listed.contains("300001-01  effective") && listed.contains(lost), "{listed}");
    // The copy has other inodes than the registrations, which are stale until the refresh unless a rule renews them
    // silently. Either way, the refresh changes no object and no patch.
    let tree = left.tree();
    let planned = left.stage.run(&left.line("remove --dry-run -R @/root 300001-01"));
    assert_eq!(planned.code, 0, "{planned:?}");
    left.run("adopt --refresh -R @/root");
    assert_same(&left.tree(), &tree);
    let refreshed = left.ends(4, "list --check -R @/root");
    assert!(refreshed.contains("300001-01  effective") && refreshed.contains(lost), "{refreshed}");

    left.run("remove -R @/root 300001-01");
    assert!(left.text("root/usr/lib/acme-one/program").starts_with("one 1: line 0\n"));
    assert!(!left.at("root/usr/share/acme-one/added").exists());
    // dpkg has put another version there since the patch was applied.
    left.run("remove -R @/root 300003-01");
    assert!(left.text("root/usr/lib/acme-three/program").starts_with("three 2: line 0\n"));
    left.run("adopt --refresh --accept 300002-01 -R @/root");
    assert_eq!(left.run("list --check -R @/root"), "No patches are applied.\n");
    assert!(left.text("root/usr/lib/acme-two/program").starts_with("two 2: line 0\n"));
    left.run("adopt --forget --pkg ACMEtree -R @/root");
    assert_eq!(left.run("pkgchk -R @/root"), "");
}

/// Its text differs from the current one only in an option and an exit code. The other hooks differ only in comments.
#[test]
fn the_hook_of_apt_still_stops_an_upgrade_that_loses_a_fix() {
    let Some(left) = Left::of_root("the_hook_of_apt…", "native") else { return };
    let hook = include_str!("../packaging/hooks/80patchadm")
        .replace("exit code 3,", "exit code 69,")
        .replace("--before-upgrade; [ $? -ne 3 ] || exit 3", "--foresee; [ $? -ne 69 ] || exit 69");
    for directory in ["root/etc/apt/apt.conf.d", "root/etc/patchadm"] {
        fs::create_dir_all(left.at(directory)).unwrap();
    }
    fs::write(left.at("root/etc/apt/apt.conf.d/80patchadm"), &hook).unwrap();
    let shown = left.stage.run(&left.line("setup hooks show -R @/root")).stdout;
    assert!(shown.contains("80patchadm: outdated\n"), "{shown}");

    let root = left.at("root").display().to_string();
    let (_, line) = hook.split_once("{ \"").unwrap();
    let (line, _) = line.split_once("\"; };").unwrap();
    let line = line
        .replace("/usr/bin/patchadm", PROGRAM)
        .replace("/var/sadm/pkg", &format!("{root}/var/sadm/pkg"))
        .replace("$PATCHADM adopt", &format!("$PATCHADM -R {root} adopt"));
    let input = left.at("input");
    fs::write(&input, "VERSION 3\nA=b\n\nacme-one 1.0-1 all none < 1.0-2 all none /one.deb\n").unwrap();
    for (word, code) in [("stop", 69), ("warn", 0)] {
        fs::write(left.at("root/etc/patchadm/policy"), format!("native_upgrade={word}\n")).unwrap();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &line]).env_clear().stdin(fs::File::open(&input).unwrap());
        let output = shell.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("300001-01 would be LOST to acme-one 1.0-2"), "{said}");
        assert!(said.contains("`--foresee` is called `--before-upgrade` now; "), "{said}");
    }
    left.run("adopt --refresh --from-hook -R @/root");
}

#[test]
fn links_of_the_classic_commands_and_completion_scripts_work() {
    let stage = Scenario::new();
    for name in [
        "installf", "patchadd", "patchrm", "pkgadd", "pkgask", "pkgchk", "pkginfo", "pkgmk", "pkgparam",
        "pkgproto", "pkgrm", "pkgtrans", "puttext", "removef", "showrev", "valpath",
    ] {
        symlink(PROGRAM, stage.beside(name)).unwrap();
        let output = Command::new(stage.beside(name)).arg("--version").env_clear().output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
    for shell in ["bash", "zsh", "fish"] {
        let said = stage.run(&format!("__complete {shell} 1 patchadm li")).ok();
        assert!(said.starts_with("list\t"), "{shell}: {said}");
    }
}

/// In version 0.1, `--version` of `adopt` took the version of the package.
#[test]
fn an_old_command_line_does_not_succeed_by_printing_the_version() {
    let stage = Scenario::new();
    let said = stage.run("adopt -R @ROOT@ --pkg ACME --version 1.0 --dir @ROOT@/opt").fails(2);
    assert!(said.contains("the version of the package is given with --pkg-version"), "{said}");
    stage.run("adopt --version").ok();
}

#[test]
fn every_setting_of_the_policy_that_the_packages_brought_is_known() {
    let stage = Scenario::new();
    let policy = "restricted=^(T|IDR)[0-9]\nseparator=-\nexclude=105181-17 106541\nfirst=SUNWswmt\nwait=0\n\
        undo_format=gz\nundo_dir=/export/undo\nundo_keep=20\nundo_max=10%\nundo_warn=10%\ntrial=30m\n\
        native_upgrade=warn\nadopt=ask\nedited=stop\nscripts=run\nscript_timeout=3600\nsignature=warn\n\
        keys=/etc/patchadm/keys\ndepot=https://patches.example.com/10\nca=/etc/ssl/certs/patches.pem\n\
        proxy=proxy.example.com:3128\ncache=/var/cache/patchadm\ncache_limit=2147483648\nshlibs=report\n\
        shlib_keep=libplugin.so.*\nshlib_skip=/srv/chroot/**\nshlib_scan=/net/tools\nmax_delete=25%\n\
        promote_exclude=*.log\npromote_before=/usr/local/sbin/before-promotion\n\
        promote_after=/usr/local/sbin/after-promotion\n";
    stage.file("/etc/patchadm/policy", policy);
    stage.run("list -R @ROOT@").ok();
    // Only the policy of the host may have these settings.
    for line in
        ["trusted_roots=/zones/*/root", "as_owner_roots=/home/*/tree", "untrusted_roots=/srv/images/*"]
    {
        stage.file("/etc/patchadm/policy", format!("{line}\n"));
        let said = stage.run("list -R @ROOT@").fails(1);
        assert!(said.contains("this setting is valid only in the policy of the host"), "{said}");
    }
}

#[test]
fn the_page_about_compatibility_has_the_versions_of_the_formats() {
    let page = include_str!("../docs/book/src/compatibility.md");
    let document: Value = serde_json::from_str(&Scenario::new().run("list --json -R @ROOT@").ok()).unwrap();
    for (row, version) in [
        ("JSON documents", document["schema"].as_str().unwrap().to_owned()),
        ("journal, ", journal::VERSION.to_string()),
        ("manifest of undo data", manifest::VERSION.to_string()),
        ("saved plan", plan_file::SCHEMA.to_owned()),
        ("depot index", depot::SCHEMA.to_owned()),
        ("objects of a package", objects_file::VERSION.to_string()),
    ] {
        let line = page.lines().find(|line| line.starts_with(&format!("| {row}"))).unwrap();
        let now = line.split(" | ").nth(2).unwrap();
        assert_eq!(now.trim_matches('`'), version, "{line}");
    }
}

#[test]
fn a_stage_is_listed_promoted_and_its_promotions_are_backed_out() {
    let test = "a_stage_is_listed…";
    for promote in ["stage promote -R @/root @/web", "stage promote -R @/root --plan @/plan.json"] {
        let Some(left) = Left::of_root(test, "stages") else { return };
        assert!(left.run("stage list -R @/root").contains(&format!("web {MADE_IN}/stages/web, missing")));
        let left =
            left.moved_here(&["root/var/sadm/patchadm/stages", "web/.patchadm-stage/identity", "plan.json"]);
        assert!(left.run("stage list -R @/root").contains("/stages/web, promoted as web-01"));
        left.assert_root("promoted.tree");
        let said = left.run("stage status -R @/root @/web");
        assert!(
            said.contains("web-02: would be applied (LOCLweb, ACMEweb; 1 replaced, 1 added, 0 deleted; "),
            "{said}"
        );
        left.run(promote);
        assert_eq!(left.text("root/opt/acme/share/banner.txt"), "Acme of the stage\n");
        assert_eq!(left.text("root/opt/acme/share/newer"), "newer\n");
        left.run("remove -R @/root web-02");
        left.assert_root("promoted.tree");
        left.run("remove -R @/root web-01");
        fs::remove_file(left.at("root/opt/acme/share/local")).unwrap();
        left.assert_root("before.tree");
        left.run("stage drop -R @/root @/web");
        assert!(!left.at("web").exists());
    }
}

#[test]
fn a_signed_depot_is_checked_read_and_published_to() {
    let Some(left) = Left::of_root("a_signed_depot…", "depot") else { return };
    assert!(left.run("key list -R @/root").contains(" trusted  release, bases 1000[0-9]*, until 2099-12-31"));
    let checked = left.run("depot check -R @/root @/depot");
    assert!(checked.contains("version 2, 8 objects: everything matches the index"), "{checked}");
    left.ends(4, "update --check -R @/root -M @/depot");
    let said = left.run("update -R @/root -M @/depot --cache cache");
    assert!(said.contains("100002-01: applied") && said.contains("the patch is signed by key "), "{said}");
    left.run("remove -R @/root 100002-01 100001-01");
    left.assert_root("before.tree");

    fs::rename(left.at("work/100001-01.zip"), left.at("again.zip")).unwrap();
    assert!(left.run("sign --key @/release.sec @/again.zip").contains("signed by key "));
    let said = left.run("publish --key @/release.sec --refresh @/depot");
    assert!(said.contains("published version 3"), "{said}");
    assert!(left.run("depot check -R @/root @/depot").contains("version 3, "));
}

#[test]
fn a_signed_depot_is_read_by_everybody() {
    let Some(left) = Left::of_anybody("a_signed_depot_is_read…", "depot") else { return };
    let keys = left.at("root/etc/patchadm/keys");
    let options = format!("-M @/depot --signature require --keys {} --cache cache", keys.display());
    let said = left.ends(0, &format!("plan -R @/root {options} 100002-01"));
    assert!(
        said.contains("100002-01: would be applied") && said.contains("the patch is signed by key "),
        "{said}"
    );
    assert!(left.run("list -R @/root").starts_with("100001-01  effective "));
    // The check finds other owners unless the caller is the superuser.
    let verified = left.stage.run(&left.line("check --contents -R @/root"));
    assert!(verified.stdout.contains("is intact"), "{verified:?}");
    left.run("show -R @/root 100001-01");
    left.run("history -R @/root");
}

#[test]
fn a_plan_file_is_carried_out() {
    for verb in ["add", "update"] {
        let Some(left) = Left::of_root("a_plan_file…", "plan") else { return };
        let left = left.moved_here(&["plan.json"]);
        let mut plan: Value = serde_json::from_str(&left.text("plan.json")).unwrap();
        if verb == "update" {
            // `update` saved the same plan for patches that it found in a depot.
            plan["command"] = json!(verb);
            plan["options"]["depot"] = json!(left.at("delivered"));
            plan["options"]["operands"] = json!(["missing"]);
        }
        fs::write(left.at("plan.json"), plan.to_string()).unwrap();
        let said = left.run("add -R @/root --plan @/plan.json");
        assert!(said.contains("100001-01: applied") && said.contains("100003-01: applied"), "{said}");
        left.run("remove -R @/root 100001-01 100003-01");
        left.assert_root("before.tree");
    }
}

#[test]
fn exported_undo_data_is_imported() {
    let Some(left) = Left::of_root("exported_undo_data…", "exported") else { return };
    left.assert_root("after.tree");
    assert_eq!(left.run("list -R @/root").matches("undo data: exported").count(), 2);
    left.ends(3, "remove -R @/root 100001-01 100003-01");
    left.run("undo-data import -R @/root @/undo.tar");
    left.run("remove -R @/root 100001-01 100003-01");
    left.assert_root("before.tree");
}

/// The working directory of a bulk build, moved to its new place.
fn bulk(test: &str) -> Option<Left> {
    let left = Left::of_root(test, "bulk")?;
    let users = format!("work/pool/users/{}", left.text("work/id").trim());
    Some(left.moved_here(&["work/bulk.conf", &users]))
}

#[test]
fn a_bulk_build_is_read_reported_released_and_not_built_again() {
    let Some(left) = bulk("a_bulk_build…") else { return };
    assert!(left.run("bulk status @/work").contains("run 2: "));
    assert!(left.run("bulk history @/work").contains("5 done; with a set"));
    assert!(left.run("bulk why @/work fails").contains("it failed in run 2 (exit)"));
    assert!(left.run("bulk log @/work libone").contains("Removal of <libone> was successful."));
    assert_eq!(left.run("bulk diff @/work 1 2"), "newly failed: fails-1.0\n");
    fs::remove_file(left.at("work/runs/1/report.txt")).unwrap();
    left.run("bulk report @/work 1");
    assert!(left.text("work/runs/1/report.txt").contains("Set:    1 (5 packages)"));
    let target = |name: &str| fs::read_link(left.at("work/sets").join(name)).unwrap();
    assert_eq!((target("released"), target("current")), (PathBuf::from("1"), PathBuf::from("2")));
    for id in ["chain_libone-01", "service_settings-01"] {
        left.run(&format!("show {}", left.at(&format!("work/patches/patches/{id}.tar.gz")).display()));
    }
    let (conf, text) = (left.at("work/bulk.conf"), left.text("work/bulk.conf"));
    // Version 0.1 took the ids of patches from the file that `ids` names.
    for (ids, reason) in [("", "set ids="), ("ids=/srv/ids\n", "the file with ids of patches is `patch_ids`")]
    {
        fs::write(&conf, text.clone() + ids).unwrap();
        let refused = left.stage.run(&left.line("bulk run --dry-run @/work"));
        assert!(refused.code == 1 && refused.stderr.contains(reason), "{refused:#?}");
    }
    fs::write(&conf, text + "ids=700000\n").unwrap();
    let planned = left.stage.run(&left.line("bulk run --dry-run @/work"));
    if planned.stderr.contains("sandboxes are not allowed on any slot") {
        crate::skipped("a_bulk_build…: root may not make namespaces here");
    } else if cfg!(target_arch = "x86_64") {
        // The keys of results and the data of the scan are still valid.
        assert!(planned.ok().contains("0 to build, 0 perhaps, 5 not"));
    }
    left.run("bulk release --force @/work 2");
    assert_eq!(target("released"), PathBuf::from("2"));
    left.run("bulk prune --keep 1 @/work");
    assert!(!left.at("work/sets/1").exists() && left.at("work/sets/2").exists());
}

#[test]
fn a_bulk_run_that_was_interrupted_is_continued() {
    let Some(left) = bulk("a_bulk_run…") else { return };
    // As if the run had been killed while it built the last package.
    let journal = left.text("work/runs/2/journal");
    let lines: Vec<&str> = journal.lines().collect();
    let (before, after) = lines.split_at(lines.len() - 3);
    let built: Value = serde_json::from_str(after[0]).unwrap();
    let key = built["key"].as_str().unwrap();
    fs::write(left.at("work/runs/2/journal"), before.join("\n") + "\n").unwrap();
    for made in [format!("work/pool/{}/{key}", &key[..2]), "work/sets/2".to_owned()] {
        fs::remove_dir_all(left.at(&made)).unwrap();
    }
    fs::remove_file(left.at("work/sets/current")).unwrap();
    symlink("1", left.at("work/sets/current")).unwrap();
    let said = left.run("bulk status @/work");
    assert!(said.contains(", interrupted: ") && said.contains("it was building settings-1.0"), "{said}");

    fs::write(left.at("work/bulk.conf"), left.text("work/bulk.conf") + "ids=700000\n").unwrap();
    let run = left.stage.run(&left.line("bulk run @/work"));
    if run.stderr.contains("sandboxes are not allowed on any slot") {
        return crate::skipped("a_bulk_run…: root may not make namespaces here");
    }
    assert_eq!(run.code, 5, "{run:#?}");
    assert!(run.stdout.contains(", continued after an interruption\n"), "{run:#?}");
    assert!(run.stdout.contains("Set:    2 (5 packages)\n"), "{run:#?}");
    assert_eq!(fs::read_link(left.at("work/sets/current")).unwrap(), PathBuf::from("2"));
    assert!(left.text("work/runs/2/journal").contains("{\"set\":2}"));
}
