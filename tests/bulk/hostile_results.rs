//! Malicious outputs: package scripts have the limits of the build, and no output, distfile or signal turns their
//! failure into one of the machine or of another recipe.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::sha256_text;
use rustix::process::{Pid, Signal, kill_process};

use super::{BulkBuild, BulkRun, everybody, for_everybody, mark, output_while_killing};
use crate::scenario::is_root;

for_everybody! {
    scripts_of_packages_and_scans_have_the_limits_of_builds,
    whatever_a_recipe_leaves_is_its_own_failure_and_no_machine_rests,
    a_package_whose_script_replaces_a_mount_point_fails_what_needs_it_and_no_machine_rests,
    a_sandbox_that_loses_its_first_process_again_is_the_failure_of_its_package_and_no_machine_rests,
}

/// Scripts that exceed a limit during installation: name, limits, script and cause.
const OVER: [(&str, &str, &str, &str); 6] = [
    ("disk", "disk=4M", "for n in 1 2 3; do head -c 60M /dev/zero > /var/tmp/$n; done; exit 0", "disk"),
    ("little", "disk=8M", "for n in 1 2 3; do head -c 7M /dev/zero > /var/tmp/$n; done; exit 0", "disk"),
    ("memory", "memory=256M", "head -c 900M /dev/zero | tail -n 1; exit 0", "memory"),
    (
        "processes",
        "processes=50",
        "for n in $(seq 150); do sleep 1000 & done; sleep 1000; exit 0",
        "processes",
    ),
    ("time", "time=5", "sleep 1000; exit 0", "time"),
    ("output", "output=100K", "yes; exit 0", "output"),
];

fn scripts_of_packages_and_scans_have_the_limits_of_builds(is_ordinary: bool) {
    let settings = "slot=local 2\ndisk=64M\n";
    let Some(build) = BulkBuild::of_recipes("scripts_of_packages…", is_ordinary, settings) else {
        return;
    };
    for (name, limits, script, _) in OVER {
        let text = format!(
            "mkdir $DESTDIR/opt; echo $PKGNAME > $DESTDIR/opt/$PKGNAME\ncat > $OUT/postinstall <<'End'\n{script}\nEnd\n"
        );
        build.recipe(name, &format!("LIMITS={limits}\n"), &text);
    }
    build.recipe("good", "", "mkdir $DESTDIR/opt; echo good > $DESTDIR/opt/good\n");
    let writes = "for n in 1 2; do head -c 60M /dev/zero > /tmp/$n; done; echo PKGNAME=scan-1.0\n";
    build.write("scan/scan", writes);
    let run = build.run("").ends(5);
    assert_eq!(run.in_state("done"), ["good"], "{}: {}", build.who(), run.said);
    for (name, _, _, cause) in OVER {
        let package = run.package(&format!("{name}-1.0"));
        assert_eq!(package["cause"], cause, "{}: {package}", build.who());
        assert_eq!(package["phase"], "check", "{}: {package}", build.who());
    }
    assert!(run.detail("scan-0").starts_with("scan: it wrote "), "{}", run.detail("scan-0"));
}

#[test]
fn files_without_blocks_count_as_disk_space_however_quickly_a_build_ends() {
    for is_ordinary in everybody() {
        let settings = "slot=local 1\ncheck=none\ndisk=4M\n";
        let Some(build) = BulkBuild::of_recipes("files_without_blocks…", is_ordinary, settings) else {
            continue;
        };
        build.recipe("many", "", "mkdir $DESTDIR/opt; cd /work; seq 3000 | xargs touch\n");
        build.recipe("few", "", "mkdir $DESTDIR/opt; cd /work; seq 300 | xargs touch\n");
        let run = build.run("").ends(5);
        assert_eq!(run.in_state("done"), ["few"], "{}", build.who());
        assert_eq!(run.package("many-1.0")["cause"], "disk", "{}", build.who());
    }
}

/// Outputs that could be taken for a failure of the machine: name, script, cause and expected message.
const STRANGE: [(&str, &str, &str, &str); 12] = [
    ("log", "rmdir $OUT/root; echo > $OUT/log.gz", "result", "/out/log.gz has the name of a file that every"),
    ("own", "rmdir $OUT/root; echo > $OUT/result.json", "result", "/out/result.json has the name of a file"),
    ("phases", "seq -f '===> phase: %0300g' 2000; seq -f '===> phase: n%g' 2000; exit 3", "exit", "exit 3"),
    ("names", "rmdir $OUT/root; cd $OUT; seq 10000 | xargs touch", "result", "/out has more than 9900 names"),
    (
        "long-pkginfo",
        "mkdir $DESTDIR/opt; head -c 2M /dev/zero | tr '\\0' x > $OUT/pkginfo",
        "result",
        "pkginfo",
    ),
    (
        "claims",
        "mkdir $DESTDIR/opt; echo PATCHLIST=good-02 > $OUT/pkginfo",
        "result",
        "PATCHLIST is a record of a root",
    ),
    (
        "source",
        "mkdir $DESTDIR/opt; echo SOURCE=good > $OUT/pkginfo",
        "result",
        "SOURCE=good does not match the location, source",
    ),
    (
        "settings",
        "mkdir $DESTDIR/etc; head -c 100K /dev/zero | tr '\\0' '#' > $DESTDIR/etc/ld-musl-none.path",
        "result",
        "the settings of loaders up to /etc/ld-musl-none.path have 102400 bytes, more than 65536",
    ),
    (
        "deep",
        "deep=$(printf 'd/%.0s' $(seq 1900))\n\
         for n in $(seq 30); do echo \"d none /opt/$n/${deep}e 0755 root root\"; done > $OUT/prototype",
        "result",
        "its paths and the directories above them have more than 67108864 bytes",
    ),
    (
        "dots",
        "rmdir $OUT/root; mkdir -p $OUT/p/reloc\n\
         printf 'PKG=../../evil\\nNAME=p\\nARCH=all\\nVERSION=1\\nCATEGORY=a\\nBASEDIR=/\\n' > $OUT/p/pkginfo\n\
         printf ': 1 1\\n' > $OUT/p/pkgmap",
        "result",
        "",
    ),
    (
        "link",
        "mkdir $DESTDIR/opt; echo x > $DESTDIR/opt/link\ncat > $OUT/postinstall <<'End'\n\
         rm -rf /etc/patchadm; ln -s /tmp /etc/patchadm; exit 0\nEnd",
        "check",
        "",
    ),
    (
        "paths",
        "mkdir $DESTDIR/opt; echo x > $DESTDIR/opt/paths\ncat > $OUT/postinstall <<'End'\n\
         part=$(printf '%0250d' 0); dir=/srv/$part/$part/$part; mkdir -p $dir; cd $dir\n\
         for n in $(seq 99); do echo x > $part$n; done; exit 0\nEnd",
        "check",
        "still present after its removal: /srv/",
    ),
];

fn whatever_a_recipe_leaves_is_its_own_failure_and_no_machine_rests(is_ordinary: bool) {
    let Some(build) =
        BulkBuild::of_recipes("whatever_a_recipe…", is_ordinary, "slot=local 1\ncheck=strict\n")
    else {
        return;
    };
    for (name, script, ..) in STRANGE {
        build.recipe(name, "", &format!("{script}\n"));
    }
    build.recipe("good", "", "mkdir $DESTDIR/opt; echo good > $DESTDIR/opt/good\n");
    let run = build.run("").ends(5);
    assert_eq!(run.in_state("done"), ["good"], "{}: {}", build.who(), run.said);
    for (name, _, cause, says) in STRANGE {
        let package = run.package(&format!("{name}-1.0"));
        let told = (&package["state"], &package["cause"], &package["tries"]);
        assert_eq!(told, (&"failed".into(), &cause.into(), &1.into()), "{}: {package}", build.who());
        let detail = package["detail"].as_str().unwrap();
        assert!(detail.contains(says) && detail.len() < 10_000, "{}: {name}: {detail}", build.who());
    }
    for machine in run.report["machines"].as_array().unwrap() {
        assert_eq!(machine["trouble"], 0, "{machine}");
    }
}

/// Scripts that replace a mount point: name of the place, and commands.
const REPLACING: [(&str, &str); 3] = [
    ("out", "rmdir /out; ln -s / /out"),
    ("tree", "rmdir /tree; echo x > /tree"),
    ("distfiles", "rmdir /distfiles; echo x > /distfiles"),
];

fn a_package_whose_script_replaces_a_mount_point_fails_what_needs_it_and_no_machine_rests(is_ordinary: bool) {
    let settings = "slot=local 1\ncheck=none\n";
    let Some(build) = BulkBuild::of_recipes("a_package_whose_script_replaces…", is_ordinary, settings)
    else {
        return;
    };
    let makes = "mkdir $DESTDIR/opt; echo x > $DESTDIR/opt/$PKGNAME\n";
    for (place, script) in REPLACING {
        let text = format!("{makes}cat > $OUT/postinstall <<'End'\n{script}\nexit 0\nEnd\n");
        build.recipe(place, "", &text);
        build.recipe(&format!("needs-{place}"), &format!("ALL_DEPENDS={place}-[0-9]*\n"), makes);
    }
    build.recipe("good", "", makes);
    let run = build.run("").ends(5);
    for (place, _) in REPLACING {
        let package = run.package(&format!("needs-{place}-1.0"));
        let told = (&package["state"], &package["cause"], &package["tries"]);
        assert_eq!(told, (&"failed".into(), &"install".into(), &1.into()), "{}: {package}", build.who());
        let detail = package["detail"].as_str().unwrap();
        let says = format!(": it changes /{place}, which every sandbox needs");
        assert!(detail.contains(&says), "{}: {detail}", build.who());
    }
    for machine in run.report["machines"].as_array().unwrap() {
        assert_eq!(machine["trouble"], 0, "{machine}");
    }
}

fn a_sandbox_that_loses_its_first_process_again_is_the_failure_of_its_package_and_no_machine_rests(
    is_ordinary: bool,
) {
    let Some(build) = BulkBuild::of_recipes("a_sandbox_that_loses…", is_ordinary, "slot=local 1\n") else {
        return;
    };
    let [once, always] = [mark(), mark()];
    let makes = "mkdir $DESTDIR/opt; echo x > $DESTDIR/opt/$PKGNAME\n";
    let waits = format!("MARK={always} sleep 100\n");
    build.recipe("once", "", &format!("MARK={once} sleep 1\n{makes}"));
    build.recipe("build", "", &format!("echo '===> phase: compile'\n{waits}{makes}"));
    let script = format!("{makes}cat > $OUT/postinstall <<'End'\n{waits}exit 0\nEnd\n");
    build.recipe("check", "", &script);
    // Its script waits only where `needed` is installed, too: in the sandbox of `needs`.
    let waits_there = format!("[ ! -e /packages/needed.pkg ] || {waits}");
    build.recipe("beside", "", &script.replace(&waits, &waits_there));
    build.recipe("needed", "", "mkdir $DESTDIR/opt; echo x > $DESTDIR/opt/needed\n");
    build.recipe("needs", "ALL_DEPENDS=needed-[0-9]* beside-[0-9]*\n", makes);
    build.write("scan/scan", format!("{waits}echo PKGNAME=scan-1.0\n"));
    build.recipe("good", "", makes);
    let output = output_while_killing(build.running(""), &[(&once, 1), (&always, u32::MAX)]);
    let run = BulkRun::of(&output).ends(5);
    let beside = run.package("beside-1.0");
    let who = build.who();
    assert_eq!(run.in_state("done"), ["beside", "good", "needed", "once"], "{who}: {beside}");
    let lost = "the first process of its sandbox was ended by signal 9";
    for (name, cause) in [("build", "signal"), ("check", "check"), ("needs", "install")] {
        let package = run.package(&format!("{name}-1.0"));
        let told = (&package["state"], &package["cause"], &package["tries"], &package["detail"]);
        assert_eq!(
            told,
            (&"failed".into(), &cause.into(), &1.into(), &lost.into()),
            "{}: {package}",
            build.who()
        );
    }
    assert_eq!(run.package("build-1.0")["phase"], "compile");
    assert_eq!(run.detail("scan-0"), format!("scan: {lost}"), "{}", build.who());
    for machine in run.report["machines"].as_array().unwrap() {
        assert_eq!(machine["trouble"], 0, "{machine}");
    }
}

#[test]
fn a_distfile_keeps_its_name_from_other_recipes_and_is_no_larger_than_the_disk_of_its_package() {
    for is_ordinary in everybody() {
        let settings = "slot=local 2\ncheck=none\ndisk=4M\n";
        let Some(build) = BulkBuild::of_recipes("a_distfile_keeps…", is_ordinary, settings) else {
            continue;
        };
        let fields = |name: &str, text: &str, url: &str| {
            let sum = sha256_text(&Sha256::digest(text.as_bytes()));
            format!("DISTFILES={name}:{sum}:{}\nDISTURL={url}\n", text.len())
        };
        let url = build.write_elsewhere("evil", "evilevil");
        let install = "mkdir $DESTDIR/opt; cat $DISTDIR/v.tar\n";
        let distfiles = build.work().join("distfiles");
        fs::write(distfiles.join("v.tar"), "by hand!").unwrap();
        build.recipe("victim", &fields("v.tar", "by hand!", "file:/nowhere"), install);
        build.recipe("aevil", &fields("v.tar", "evilevil", &url), install);
        let large = format!("DISTFILES=large:{}:3000000000\nDISTURL={url}\n", "0".repeat(64));
        build.recipe("large", &large, install);
        for state in ["done", "up-to-date"] {
            let run = build.run("").ends(5);
            assert_eq!(run.in_state(state), ["aevil", "victim"], "{}: {}", build.who(), run.said);
            assert_eq!(run.package("large-1.0")["cause"], "distfile");
            let says = "DISTFILES has 3000000000 bytes, over the limit disk=4194304 of the package";
            assert_eq!(run.detail("large-1.0"), says);
        }
        assert_eq!(build.log("victim-1.0"), "by hand!");
        assert_eq!(build.log("aevil-1.0"), "evilevil");
        assert_eq!(fs::read_to_string(distfiles.join("v.tar")).unwrap(), "by hand!");
    }
}

#[test]
fn a_signal_ends_an_installation_soon_and_the_package_is_open() {
    let Some(build) = BulkBuild::of_recipes("a_signal_ends…", !is_root(), "slot=local 1\n") else { return };
    let script = "mkdir $DESTDIR/opt; echo x > $DESTDIR/opt/x\ncat > $OUT/postinstall <<'End'\n\
                  trap '' TERM INT HUP; echo it is installed now; sleep 1000; exit 0\nEnd\n";
    build.recipe("sleeps", "", script);
    let mut running = build.running("").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = build.work().join("runs/1/logs/sleeps-1.0.log");
    while !fs::read_to_string(&log).is_ok_and(|text| text.contains("it is installed now")) {
        assert!(running.try_wait().unwrap().is_none(), "it has ended before");
        std::thread::sleep(Duration::from_millis(50));
    }
    let pid = Pid::from_raw(i32::try_from(running.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let run = BulkRun::of(&running.wait_with_output().unwrap());
    assert_eq!(run.code, 128 + 15, "{}", run.said);
    assert_eq!(run.in_state("open"), ["sleeps"]);
    build.assert_nothing_left("none");
}

#[test]
fn the_ids_of_sandboxes_are_nobody_s_subordinate_ids() {
    let test = "the_ids_of_sandboxes…";
    if !is_root() {
        crate::skipped(&format!("{test}: only root has ids to give"));
        return;
    }
    if !crate::has("unshare", test) {
        return;
    }
    let Some(build) = BulkBuild::of_recipes(test, false, "slot=local 1\ncheck=none\n") else { return };
    build.recipe("good", "", "mkdir $DESTDIR/opt\n");
    let conf = fs::read_to_string(build.work().join("bulk.conf")).unwrap();
    let range = conf.lines().find_map(|line| line.strip_prefix("ids=")).unwrap();
    let start: u32 = range.split_once(':').unwrap().0.parse().unwrap();
    let with = |file: &str, owner: &str| {
        let text = format!("{owner}:{}:65536\n", start + 1);
        fs::write(build.scenario.beside(file), text).unwrap();
        let theirs = build.running("");
        let mounts = "mount --bind \"$0/$1\" /etc/$1 || exit 99; shift; exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", mounts]).arg(build.scenario.beside("")).arg(file);
        command.arg(theirs.get_program()).args(theirs.get_args()).env_clear();
        command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        for (name, value) in theirs.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        BulkRun::of(&command.output().unwrap())
    };
    for file in ["subuid", "subgid"] {
        if !Path::new("/etc").join(file).exists() {
            crate::skipped(&format!("{test}: there is no /etc/{file}"));
            continue;
        }
        let refused = with(file, "somebody").ends(1);
        let says = format!("/etc/{file} has {}:65536 for somebody; choose other ids", start + 1);
        assert!(refused.said.contains(&says), "{}", refused.said);
    }
}

#[test]
fn a_record_that_no_result_and_no_order_could_hold_is_its_own_failure() {
    let Some(build) =
        BulkBuild::of_recipes("a_record_that_no_result…", !is_root(), "slot=local 1\ncheck=none\n")
    else {
        return;
    };
    let makes = "mkdir $DESTDIR/opt; echo x > $DESTDIR/opt/$PKGNAME\n";
    // Each file is looked up; with long names, fewer are enough.
    let files: Vec<String> = (0..30_000).map(|number| format!("x{number:0240}")).collect();
    build.recipe("aevil", &format!("SCAN_DEPENDS={}\n", files.join(" ")), makes);
    // Each of these characters takes six bytes in JSON.
    build.recipe("bevil", &format!("COMMENT={}\n", "\u{1}".repeat(7 << 20)), makes);
    build.recipe("good", "", makes);
    build.recipe("needs", "ALL_DEPENDS=aevil-[0-9]*\n", makes);
    for state in ["done", "up-to-date"] {
        let run = build.run("").ends(5);
        assert_eq!(run.in_state(state), ["good"], "{}", run.said);
        for (package, says) in [
            ("aevil-1.0", "its key has 30011 inputs with "),
            ("bevil-1.0", "the order for its task would have 4404"),
        ] {
            let told = run.package(package);
            assert_eq!((&told["state"], &told["fault"]), (&"prefailed".into(), &"scan".into()), "{told}");
            assert!(run.detail(package).starts_with(says), "{}", run.detail(package));
        }
        assert_eq!(run.in_state("indirect-prefailed"), ["needs"]);
        for machine in run.report["machines"].as_array().unwrap() {
            assert_eq!(machine["trouble"], 0, "{machine}");
        }
    }
}
