//! Each way in which a trial ends, on a real release and on a stage: by the waiting process, by the next command, by
//! the boot, by a check, by hand; beside dpkg, and without any space. Each time the tree is exactly the expected one.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::adopt_refresh::{self, ONE, TWO, dpkg_installs};
use crate::cases::{expected, found, installed};
use crate::delivery::Patch;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::promote::Staged;
use crate::records::Before;
use crate::scenario::{NOW, Scenario};
use crate::tree::assert_same;
use crate::trial::{
    history, is_on_trial, kill_waiter, last_end, let_it_expire, let_waiter_end, waiter, waiters,
};
use crate::workshop::eventually;

/// The patch of the case, and the revision after it.
const FIRST: &str = "300001-01";
const SECOND: &str = "300001-02";

fn openssl() -> Option<(Scenario, PathBuf)> {
    installed("a trial of a real release", "openssl")
}

/// Asserts that the tree is the expected one of this state, and that the records agree with it.
#[track_caller]
fn assert_state(stage: &Scenario, case: &Path, state: &str) {
    assert_same(&found(stage), &expected(case, state));
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "", "{state}");
    stage.run("check --contents -R @ROOT@").ok();
}

fn add(stage: &Scenario, case: &Path, options: &str, patch: &str) {
    stage.run(&format!("add {options} -R @ROOT@ {}", case.join(patch).display())).ok();
}

/// Recovers as every command does first, once nobody else is at work.
#[track_caller]
fn recover(stage: &Scenario) {
    let done = stage.run("recover --wait 60 -R @ROOT@");
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn who_waits_brings_a_real_release_back() {
    let Some((stage, case)) = openssl() else { return };
    let before = Before::of(&stage);
    add(&stage, &case, "--trial 1h", FIRST);
    assert_same(&found(&stage), &expected(&case, FIRST));
    let_waiter_end(&stage);
    assert_state(&stage, &case, "base");
    before.assert_again(&stage, "the process that waits did it");
}

#[test]
fn the_next_command_brings_a_real_release_back_when_nobody_waits_any_more() {
    for line in ["recover", "undo-data drop --superseded", "add @C@"] {
        let Some((stage, case)) = openssl() else { return };
        add(&stage, &case, "", FIRST);
        add(&stage, &case, "--trial 1h", SECOND);
        assert_same(&found(&stage), &expected(&case, SECOND));
        kill_waiter(&stage);
        let_it_expire(&stage);
        let line = line.replace("@C@", &case.join(FIRST).display().to_string());
        stage.run(&format!("{line} -R @ROOT@"));
        assert_eq!(last_end(&stage), "expired", "{line}");
        assert_state(&stage, &case, FIRST);
    }
}

#[test]
fn the_boot_brings_a_real_release_back() {
    let Some((stage, case)) = openssl() else { return };
    fs::write(stage.beside("boot_id"), "0b2a1c6e-5d1f-4c5e-9a8b-7c6d5e4f3a2b\n").unwrap();
    let mount = "mount --bind $BESIDE/boot_id /proc/sys/kernel/random/boot_id";
    let Some(root) = Mounted::new("the boot ends a trial", stage, mount) else { return };
    root.run(&format!("add --trial 30d -R @ROOT@ {}", case.join(FIRST).display())).ok();
    let stage = root.stage();
    kill_waiter(stage);
    root.run("recover -R @ROOT@").ok();
    assert!(is_on_trial(stage), "the boot is the same");
    // The kernel has another boot id after a boot.
    fs::write(stage.beside("boot_id"), "1b2a1c6e-5d1f-4c5e-9a8b-7c6d5e4f3a2b\n").unwrap();
    let said = root.run("list -R @ROOT@").ok();
    assert!(said.contains("will be reverted by the next command that changes the root"), "{said}");
    // The unit of systemd/ runs this at boot.
    root.run("recover -R @ROOT@ --wait 600").ok();
    assert_eq!(last_end(stage), "expired");
    assert_state(stage, &case, "base");
}

#[test]
fn a_failed_check_brings_a_real_release_back_and_a_good_one_keeps_it() {
    let Some((stage, case)) = openssl() else { return };
    let before = Before::of(&stage);
    let check = |script: &str| {
        let mut command = stage.command(&format!("add -R @ROOT@ {}", case.join(FIRST).display()));
        command.args(["--probe", script]).output().unwrap().status.code()
    };
    assert_eq!(check("test ! -e \"$PATCHADM_ROOT/usr/bin/openssl\""), Some(7));
    assert_state(&stage, &case, "base");
    before.assert_again(&stage, "the check failed");
    assert_eq!(check("test -x \"$PATCHADM_ROOT/usr/bin/openssl\""), Some(0));
    assert!(!is_on_trial(&stage));
    assert_state(&stage, &case, FIRST);
}

#[test]
fn a_confirmed_release_stays_whatever_comes_and_an_undone_one_is_gone() {
    let Some((stage, case)) = openssl() else { return };
    add(&stage, &case, "--trial 1h", FIRST);
    let mut late = waiter(&stage);
    stage.run("confirm -R @ROOT@").ok();
    eventually("nobody waits any more", || waiters(&stage).is_empty());
    assert!(late.status().unwrap().success(), "one that comes later finds nothing to do");
    recover(&stage);
    assert_state(&stage, &case, FIRST);
    add(&stage, &case, "--trial 1h", SECOND);
    stage.run("undo -R @ROOT@").ok();
    assert_eq!(last_end(&stage), "undone");
    assert_state(&stage, &case, FIRST);
    stage.run(&format!("remove -R @ROOT@ {FIRST}")).ok();
    assert_state(&stage, &case, "base");
}

#[test]
fn a_clock_that_is_set_ten_years_forth_or_back_ends_no_trial() {
    let mut stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "base\n")]);
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "100-01\n")).directory(&stage);
    stage.run("add --trial 1h -R @ROOT@ delivered/100-01").ok();
    kill_waiter(&stage);
    let years = 10 * 365 * 86_400;
    for now in [NOW + years, NOW - years] {
        stage.set("SOURCE_DATE_EPOCH", now.to_string());
        recover(&stage);
        assert!(is_on_trial(&stage), "{now}");
        let said = stage.run("list -R @ROOT@").ok();
        assert!(said.contains("on trial until"), "{said}");
        stage.run("remove -R @ROOT@ 100-01").fails(3);
    }
    stage.run("confirm -R @ROOT@").ok();
    assert_eq!(last_end(&stage), "confirmed");
}

/// A stage that changes, adds and deletes.
fn staged() -> Staged {
    let live = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "httpd\n")]);
    live.file("/usr/pkg/bin/tool", "tool 1\n");
    live.link("/usr/pkg/bin/again", "/usr/pkg/bin/tool");
    for number in 0..8 {
        live.file(&format!("/usr/pkg/share/{number}"), format!("{number}\n"));
    }
    let staged = Staged::of(live);
    staged.write("bin/tool", "tool 2\n");
    staged.write("doc/new", "new\n");
    staged.remove("share/7");
    staged
}

#[test]
fn a_promotion_ends_by_who_waits_the_next_command_a_check_and_by_hand() {
    for how in ["waits", "next", "check", "undo", "confirm"] {
        let staged = staged();
        let (tree, before) = (staged.tree(), Before::of(&staged.live));
        match how {
            "waits" => {
                staged.promote("--trial 1h").ok();
                assert_same(&staged.tree(), &staged.staged_tree());
                let_waiter_end(&staged.live);
            }
            "next" => {
                staged.promote("--trial 1h").ok();
                let_it_expire(&staged.live);
                recover(&staged.live);
                assert_eq!(last_end(&staged.live), "expired");
            }
            "check" => {
                let said = staged.promote("--probe false");
                assert_eq!(said.code, 7, "{said:?}");
                assert_eq!(last_end(&staged.live), "failed");
            }
            "undo" => {
                staged.promote("--trial 1h").ok();
                staged.live.run("undo -R @ROOT@").ok();
                assert_eq!(last_end(&staged.live), "undone");
            }
            _ => {
                staged.promote("--trial 1h").ok();
                staged.live.run("confirm -R @ROOT@").ok();
                assert_same(&staged.tree(), &staged.staged_tree());
                continue;
            }
        }
        assert!(!is_on_trial(&staged.live), "{how}");
        assert_same(&staged.tree(), &tree);
        before.assert_again(&staged.live, how);
        staged.promote("").ok();
        assert_same(&staged.tree(), &staged.staged_tree());
    }
}

/// A root with a patch on trial, of a package that was adopted from dpkg.
fn adopted_on_trial() -> Scenario {
    let stage = adopt_refresh::adopted();
    let patch = adopt_refresh::delivered("1.0-1")
        .file("usr/lib/libweb.so", 0o644, "lib fixed\n")
        .file("usr/bin/web", 0o755, "web fixed\n")
        .file("usr/share/web/more", 0o644, "more\n");
    let at = Patch::of("100-01", patch).directory(&stage);
    stage.run(&format!("add --trial 1h -R @ROOT@ {}", at.display())).ok();
    stage
}

#[test]
fn what_dpkg_wrote_over_a_patch_on_trial_stays_when_the_trial_is_over() {
    let stage = adopted_on_trial();
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    let_it_expire(&stage);
    recover(&stage);
    assert!(!is_on_trial(&stage));
    assert_eq!(last_end(&stage), "expired");
    let told = stage.run("history -R @ROOT@").ok();
    assert!(told.contains("expired, 2 paths left to dpkg"), "{told}");
    for (path, content) in TWO.files {
        assert_eq!(stage.text(path), *content, "{path}");
    }
    assert!(!stage.at("/usr/share/web/more").exists(), "what the patch added goes");
    assert!(!stage.at("/usr/share/web/data").exists(), "what dpkg removed stays away");
    assert_eq!(stage.run("pkgparam -R @ROOT@ DEBweb VERSION").ok(), "1.0-2\n");
    assert_eq!(stage.run("pkgparam -R @ROOT@ DEBweb PATCHLIST").ok(), "\n");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    stage.run("confirm -R @ROOT@").fails(7);
}

#[test]
fn what_dpkg_left_alone_goes_back_to_what_the_patch_had_found() {
    let stage = adopted_on_trial();
    // The same version comes again, and a filter of dpkg leaves the program as it is.
    dpkg_installs(&stage, Some(&ONE), &ONE, &["/usr/bin/web"]);
    assert_eq!(stage.text("/usr/bin/web"), "web fixed\n");
    let_it_expire(&stage);
    recover(&stage);
    assert!(!is_on_trial(&stage));
    assert_eq!(stage.text("/usr/lib/libweb.so"), "lib one\n", "dpkg wrote it");
    assert_eq!(stage.text("/usr/bin/web"), "web one\n", "dpkg did not");
    assert!(!stage.at("/usr/share/web/more").exists());
}

#[test]
fn a_patch_on_trial_of_a_package_that_dpkg_removed_is_gone_with_it() {
    let stage = adopted_on_trial();
    for (path, _) in ONE.files {
        fs::remove_file(stage.at(path)).unwrap();
    }
    stage.file("/var/lib/dpkg/status", "");
    fs::remove_file(stage.at("/var/lib/dpkg/info/web.list")).unwrap();
    fs::remove_file(stage.at("/var/lib/dpkg/info/web.md5sums")).unwrap();
    let_it_expire(&stage);
    recover(&stage);
    assert!(!is_on_trial(&stage));
    assert_eq!(last_end(&stage), "expired");
    assert!(!stage.at("/usr/share/web/more").exists());
    assert!(!stage.run("pkginfo -R @ROOT@").stdout.contains("DEBweb"));
}

/// Bytes that do not compress.
fn noise(mut state: u32) -> Vec<u8> {
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(300 << 10).collect()
}

#[test]
fn without_space_for_records_a_trial_stays_and_the_next_comer_with_space_ends_it() {
    for (form, left) in [("files", 0), ("files", 24), ("gz", 0)] {
        let web = |seed| Package::new("ACMEweb").file("lib/big", 0o644, noise(seed));
        let stage = Scenario::with(&[web(1)]);
        Patch::of("100-01", web(2)).directory(&stage);
        let mounts = "mkdir -p $ROOT/keep; cp -a $ROOT/var/. $ROOT/keep; mount -t tmpfs -o mode=755,size=3m tmpfs $ROOT/var
            cp -a $ROOT/keep/. $ROOT/var; rm -r $ROOT/keep";
        let Some(root) = Mounted::new("a trial without space", stage, mounts) else { return };
        let before = root.tree(&["var/sadm"]);
        root.run(&format!("add --trial 1h --undo-format {form} -R @ROOT@ delivered/100-01")).ok();
        kill_waiter(root.stage());
        let record = root.at("/var/sadm/patchadm/trial/record");
        let text = fs::read_to_string(&record).unwrap();
        let told: Value = serde_json::from_str(&text).unwrap();
        let boot = told["boot"].as_str().unwrap();
        fs::write(&record, text.replace(boot, "00000000-0000-0000-0000-000000000000")).unwrap();
        fill(&root.at("/var/filler"), left);

        let (tree, said) = (root.everything(), root.run("recover --wait 20 -R @ROOT@"));
        assert_ne!(said.code, 0, "{form} {left}: {said:?}");
        assert!(said.stderr.contains(" free, "), "{form} {left}: {said:?}");
        assert_same(&root.everything(), &tree);
        assert!(record.exists(), "it is still on trial");
        let listed = root.run("list -R @ROOT@").ok();
        assert!(listed.contains("will be reverted by the next command"), "{listed}");

        fs::remove_file(root.at("/var/filler")).unwrap();
        root.run("recover --wait 20 -R @ROOT@").ok();
        assert!(!record.exists());
        assert_same(&root.tree(&["var/sadm"]), &before);
        let history = fs::read_to_string(root.at("/var/sadm/patchadm/history")).unwrap();
        assert!(history.lines().last().unwrap().contains("\"end\":\"expired\""), "{history}");
    }
}

/// Fills the file system of a path until this many KiB are free.
fn fill(path: &Path, left: u64) {
    let seen = rustix::fs::statvfs(path.parent().unwrap()).unwrap();
    let size = seen.f_bavail * seen.f_frsize - left * 1024;
    fs::write(path, vec![1; usize::try_from(size).unwrap()]).unwrap();
}

#[test]
fn limits_of_undo_data_wait_for_the_end_of_a_trial_and_follow_when_it_is_confirmed() {
    let web = |text: &str| Package::new("ACMEweb").file("bin/httpd", 0o755, text.repeat(5_000));
    for probe in [false, true] {
        let stage = Scenario::with(&[web("base\n")]);
        for id in ["100-01", "100-02", "100-03"] {
            Patch::of(id, web(id)).directory(&stage);
        }
        stage.run("add -R @ROOT@ delivered/100-01").ok();
        stage.run("add -R @ROOT@ delivered/100-02").ok();
        stage.file("/etc/patchadm/policy", "undo_max=0\n");
        let state = |id: &str| {
            let said = stage.run(&format!("show --json -R @ROOT@ {id}")).ok();
            serde_json::from_str::<Value>(&said).unwrap()["answers"][0]["undo"][0]["state"].clone()
        };
        let said = if probe {
            stage.run("add --json --probe true -R @ROOT@ delivered/100-03")
        } else {
            let said = stage.run("add --json --trial 1h -R @ROOT@ delivered/100-03").ok();
            assert!(!said.contains("irremovable"), "{said}");
            assert_eq!((state("100-01"), state("100-02")), ("saved".into(), "saved".into()));
            stage.run("confirm --json -R @ROOT@")
        };
        assert_eq!(said.code, 0, "{said:?}");
        let said: Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(said["irremovable"], serde_json::json!(["100-01", "100-02"]), "{said}");
        assert_eq!(state("100-01"), "committed");
        assert_eq!(state("100-03"), "saved", "the newest revision keeps its undo data");
        let lines = history(&stage);
        let words: Vec<&Value> = lines.iter().rev().take(2).map(|line| &line["command"]).collect();
        assert_eq!(words, ["undo-limit", "confirm"]);
        stage.run("remove -R @ROOT@ 100-03").ok();
        assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "100-02".repeat(5_000));
    }
}

#[test]
fn stale_registrations_are_refreshed_beside_a_trial() {
    let stage = adopted_on_trial();
    dpkg_installs(&stage, Some(&ONE), &TWO, &["/usr/bin/web"]);
    stage.run("adopt --refresh -R @ROOT@").ok();
    assert!(is_on_trial(&stage), "the part that dpkg left alone is still on trial");
    assert_eq!(stage.run("pkgparam -R @ROOT@ DEBweb VERSION").ok(), "1.0-2\n");
    stage.run("confirm -R @ROOT@").ok();
    assert_eq!(last_end(&stage), "confirmed");
    assert_eq!(stage.text("/usr/bin/web"), "web fixed\n");
}

#[test]
fn a_trial_that_may_goes_on_after_a_boot_and_no_longer_than_one_more() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "base\n")]);
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "100-01\n")).directory(&stage);
    let before = Before::of(&stage);
    let boot = |number: u32| format!("{number}b2a1c6e-5d1f-4c5e-9a8b-7c6d5e4f3a2b\n");
    fs::write(stage.beside("boot_id"), boot(0)).unwrap();
    let mount = "mount --bind $BESIDE/boot_id /proc/sys/kernel/random/boot_id";
    let Some(root) = Mounted::new("a trial goes on after a boot", stage, mount) else { return };
    let stage = root.stage();
    root.run("add --trial 30d --trial-reboots 1 -R @ROOT@ delivered/100-01").ok();
    kill_waiter(stage);
    fs::write(stage.beside("boot_id"), boot(1)).unwrap();
    let said = root.run("list -R @ROOT@").ok();
    assert!(said.contains("on trial until"), "the boot is allowed before anybody counted it: {said}");
    for _ in 0..2 {
        root.run("recover -R @ROOT@").ok();
        let record = crate::trial::record(stage);
        assert_eq!((&record["boots"], &record["monotonic"]), (&1.into(), &0.into()), "it is counted once");
        assert_eq!(record["boot"], boot(1).trim());
    }
    kill_waiter(stage);
    root.run("remove -R @ROOT@ 100-01").fails(3);
    fs::write(stage.beside("boot_id"), boot(2)).unwrap();
    root.run("recover -R @ROOT@").ok();
    assert!(!is_on_trial(stage));
    assert_eq!(last_end(stage), "expired");
    before.assert_again(stage, "the second boot was one too many");
}
