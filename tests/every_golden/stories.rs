//! The scenarios as they were played with the classic tools: their steps, and the events between them.

use std::fs;
use std::sync::Mutex;

use super::play::Play;
use super::real_root::real_root;
use crate::reliability::crash::in_parallel;

/// A scenario, or the steps whose names have a certain start: its name, the start, and a function that plays them in
/// one or more roots.
pub(super) type Story = (&'static str, &'static str, fn(&'static str, &'static str) -> Vec<Play>);

pub(super) const STORIES: &[Story] = &[
    ("01-base-install", "", |name, _| one(name, base_install)),
    ("02-apply-01", "", |name, _| one(name, apply_01)),
    ("03-reapply-01", "", |name, _| {
        one(name, |play| play.steps(&["base", "apply-103201-01", "again", "again-unconditional"]))
    }),
    ("04-apply-02", "", |name, _| {
        one(name, |play| play.steps(&["base", "apply-103201-01", "apply-103201-02"]))
    }),
    ("05-superseded", "", |name, _| {
        one(name, |play| play.steps(&["base", "apply-103201-02", "apply-103201-01"]))
    }),
    ("06-obsoletes", "", |name, _| one(name, obsoletes)),
    ("07-restricted", "", |name, _| one(name, restricted)),
    ("08-deletes-newfiles", "", |name, _| one(name, deletes)),
    ("09-backout", "", |name, _| one(name, backout)),
    ("09b-backout-01", "", |name, _| one(name, backout_twice)),
    ("10-no-undo", "", |name, _| one(name, |play| play.steps(&["base", "apply-103201-01", "again"]))),
    ("11-undo-archive", "", |name, _| one(name, undo_archive)),
    ("11b-build-dir", "", |name, _| one(name, build_directory)),
    ("12-version-not-installed", "", |name, _| one(name, version_not_installed)),
    ("13-edited-ev", "", |name, _| one(name, edited)),
    ("14-datastream", "", |name, _| one(name, datastream)),
    ("15-real-root", "", |name, _| real_root(name)),
    ("16-script-fails", "fail-checkinstall-", script_fails),
    ("16-script-fails", "fail-preinstall-", script_fails),
    ("16-script-fails", "fail-i.none-", script_fails),
    ("16-script-fails", "fail-postinstall-", script_fails),
    ("17-awk-compat", "", |name, _| awk_compat(name)),
    ("19-pkgrm-installf", "", |name, _| one(name, pkgrm_installf)),
    ("21-shared-files", "", |name, _| one(name, shared_files)),
    ("25-request", "", |name, _| one(name, request)),
    ("26-messages", "", |name, _| one(name, messages)),
    ("27-order-names", "", |name, _| one(name, order_of_names)),
    ("28-stream-variants", "", |name, _| stream_variants(name)),
];

/// A scenario with one root.
fn one(name: &'static str, story: fn(&mut Play)) -> Vec<Play> {
    let mut play = Play::begin(name, &[""]);
    story(&mut play);
    vec![play]
}

/// Makes scripts leave their environment in `/envdump`, which they do if it exists.
fn wants_dumps(play: &Play) {
    play.stage().directory("/envdump");
    play.stage().mode("/envdump", 0o1777);
}

fn base_install(play: &mut Play) {
    wants_dumps(play);
    play.steps(&["base", "base2", "pkginfo-l", "pkginfo", "pkginfo-x", "pkgparam", "pkgparam1"]);
    play.steps(&["pkgchk", "pkgchk-l", "pkgchk-lp", "pkgchk-m"]);
    play.dumps();
}

fn apply_01(play: &mut Play) {
    play.step("base");
    wants_dumps(play);
    play.step("apply-103201-01");
    play.dumps();
}

fn obsoletes(play: &mut Play) {
    play.steps(&["base", "apply-103201-01", "apply-103203-01", "apply-103204-01"]);
    play.back_out("103204-01", "backout-103204-01");
    play.back_out("103203-01", "backout-103203-01");
}

fn restricted(play: &mut Play) {
    play.steps(&["base", "apply-R103300-01", "apply-ordinary-over-restricted"]);
    play.back_out("R103300-01", "backout-R103300-01");
    play.steps(&["apply-ordinary-after", "restricted-over-ordinary"]);
}

fn deletes(play: &mut Play) {
    play.steps(&["base", "apply-103400-01"]);
    play.back_out("103400-01", "backout-103400-01");
}

fn backout(play: &mut Play) {
    play.steps(&["base", "apply-103201-01", "apply-103201-02"]);
    play.back_out("103201-01", "backout-older");
    play.back_out("103201-02", "backout-103201-02");
    play.back_out("103201-01", "backout-01-obsoleted");
}

fn backout_twice(play: &mut Play) {
    play.steps(&["base", "apply-103201-01"]);
    play.back_out("103201-01", "backout-103201-01");
    play.step("reapply");
    play.back_out("103201-01", "backout2");
}

fn undo_archive(play: &mut Play) {
    play.stage().directory("/undo-archive");
    play.steps(&["base", "apply-103201-01", "apply-103201-02"]);
    play.back_out("103201-02", "backout-103201-02");
}

fn build_directory(play: &mut Play) {
    play.stage().directory("/builddir");
    play.steps(&["base", "apply-103201-01"]);
    play.back_out("103201-01", "backout-103201-01");
}

fn version_not_installed(play: &mut Play) {
    let admin = play.out().join("admin");
    let overwrite = fs::read_to_string(&admin).unwrap();
    fs::write(&admin, overwrite.replace("instance=overwrite", "instance=unique")).unwrap();
    play.steps(&["nothing-installed", "base", "other-version"]);
    fs::write(&admin, overwrite).unwrap();
    play.step("other-version-overwrite");
}

fn edited(play: &mut Play) {
    play.step("base");
    for (path, line) in [
        ("etc/stuf.conf", "C=9 (admin)\n"),
        ("etc/stuf.log", "more log\n"),
        ("etc/build.conf", "admin\n"),
        ("share/script.dat", "edited\n"),
    ] {
        play.append(&format!("/opt/SUNWstuf/{path}"), line);
    }
    play.steps(&["pkgchk-before", "apply-103500-01", "pkgchk-after"]);
    play.back_out("103500-01", "backout-103500-01");
    play.step("pkgchk-backout");
}

fn datastream(play: &mut Play) {
    play.steps(&["pkgtrans-1", "pkgtrans-2", "pkgtrans-all", "pkgtrans-patch"]);
    play.steps(&["pkgtrans-rev", "pkgtrans-noover", "pkgtrans-over"]);
    play.stage().directory("/spool");
    play.step("pkgtrans-from");
    let compare = "for p in SUNWstuf SUNWstux; do diff -r @PKGS@/base/$p @ROOT@/spool/$p && echo \"$p identical\"; done";
    let unpacked = play.shell(compare);
    play.text_as_in("unpacked.diff", &unpacked);
    play.steps(&[
        "pkginfo-ds",
        "pkginfo-ds-l",
        "pkgparam-ds",
        "pkgadd-ds",
        "pkgadd-ds-patch",
        "pkgadd-spool",
    ]);
    play.stage().directory("/spool2");
    play.step("pkgadd-spool2");
    let unpacked = play.shell("find @ROOT@/spool2");
    play.listing_as_in("spool2.ls", &unpacked);
}

/// Plays each patch whose script fails in a root of its own; the patches are those whose names begin with `start`.
fn script_fails(name: &'static str, start: &'static str) -> Vec<Play> {
    each(&parts_of(name, start), |patch| {
        let mut play = Play::begin(name, &[patch]);
        play.run(&format!(
            "orun pkgadd -n -R @ROOT@ -a {}/{patch}/admin -d @PKGS@/base SUNWstuf",
            out(&play)
        ));
        play.steps(&["apply", "pkgchk", "pkginfo"]);
        play
    })
}

/// One run stands for all variants, since the machine decides which awk and which shell there is.
fn awk_compat(name: &'static str) -> Vec<Play> {
    let variants = ["sun", "gawk", "mawk", "bwk", "sun-dash", "sun-bash", "sun-ksh"];
    let mut play = Play::begin(name, &variants);
    play.run(&format!("orun pkgadd -n -R @ROOT@ -a {}/admin -d @PKGS@/base SUNWstuf", out(&play)));
    play.steps(&["apply-103201-01", "apply-103203-01", "apply-103204-01", "apply-103400-01"]);
    play.back_out("103400-01", "backout-103400-01");
    play.back_out("103204-01", "backout-103204-01");
    let files = play.shell(
        "cd @ROOT@ && find opt etc -type f -o -type l | sort | xargs ls -ln | awk '{print $1,$5,$9,$10,$11}'",
    );
    for variant in variants {
        play.contents_as_in(&format!("{variant}/final.contents"));
        play.text_as_in(&format!("sum/{variant}.files"), &files);
    }
    vec![play]
}

fn pkgrm_installf(play: &mut Play) {
    play.steps(&["base", "base2"]);
    play.append("/opt/SUNWstuf/made", "made\n");
    play.stage().directory("/opt/SUNWstuf/mdir");
    play.stage().symlink("/opt/SUNWstuf/mlink", "made");
    play.stage().link("/opt/SUNWstuf/mhard", "/opt/SUNWstuf/made");
    play.steps(&["installf-f", "installf-d", "installf-s", "installf-l", "installf-c", "installf-p"]);
    play.step("installf-dash");
    play.contents_as_in("contents-before-final");
    play.steps(&["installf-final", "pkgchk-1", "installf-shared", "installf-shared-final"]);
    play.contents_as_in("contents-shared");
    play.steps(&["removef-shared", "removef-own"]);
    play.contents_as_in("contents-removef-pending");
    play.shell("rm -f @ROOT@/opt/SUNWstuf/mpipe @ROOT@/opt/SUNWstuf/mlink");
    play.step("removef-final");
    play.contents_as_in("contents-removef-final");
    play.steps(&["pkgchk-bad", "pkgchk-bad-n", "pkgchk-f", "pkgchk-q"]);
    play.steps(&["pkgrm", "pkgrm2", "pkgrm3", "pkginfo"]);
}

fn shared_files(play: &mut Play) {
    play.step("base");
    play.enter("work/work-21");
    let work = play.beside("work/work-21");
    fs::create_dir_all(work.join("src")).unwrap();
    fs::create_dir_all(work.join("spool")).unwrap();
    fs::write(work.join("src/data"), generated(333, "shared")).unwrap();
    let pkginfo = "PKG=SUNWshr\nNAME=Shr\nARCH=i386\nVERSION=1.0\nCATEGORY=application\nBASEDIR=/opt/SUNWstuf\n\
                   CLASSES=none\n";
    fs::write(work.join("pkginfo"), pkginfo).unwrap();
    let prototype = "i pkginfo\nd none share 0755 root bin\nf none share/data=src/data 0644 root bin\n\
                     f none share/shr=src/data 0644 root bin\nd none lib 0700 root sys\n\
                     s none lib/libstuf.so=libother\n";
    fs::write(work.join("prototype"), prototype).unwrap();
    play.run("orun pkgmk -o -r . -d @WORK@/work-21/spool -f prototype");
    play.steps(&[
        "conflict-quit",
        "conflict-nocheck",
        "pkgchk-stuf",
        "pkgchk-lp",
        "apply-103203-01",
        "pkgrm",
    ]);
}

fn request(play: &mut Play) {
    wants_dumps(play);
    play.stage().directory("/opt/SUNWstuf");
    play.step("pkgask");
    let asked = fs::read_to_string(play.out().join("asked")).unwrap_or_default();
    play.text_as_in("asked.txt", &asked);
    play.steps(&["pkgadd-n-norequest", "pkgadd-resp", "pkgadd-interactive"]);
    play.dumps();
}

fn messages(play: &mut Play) {
    play.stage().directory("/opt/SUNWstuf");
    for step in ["base", "base2", "patch"] {
        play.answered(step);
    }
    play.traced("patch-v");
    play.save_undo("103201-01", "u.stream");
    for step in ["backout", "pkgchk-v", "pkgrm", "pkgadd-none", "pkgadd-nodir"] {
        play.answered(step);
    }
    let work = play.beside("work/stux");
    fs::create_dir_all(work.join("src")).unwrap();
    fs::write(work.join("src/stux"), generated(700, "stux v1")).unwrap();
    fs::write(work.join("src/shared"), "shared\n").unwrap();
    let stux = fs::read_to_string(play.beside("pkgs/base/SUNWstux/pkginfo")).unwrap();
    let unstamped = stux.lines().filter(|line| !line.starts_with("PSTAMP=")).map(|line| format!("{line}\n"));
    fs::write(work.join("pkginfo"), unstamped.collect::<String>()).unwrap();
    let prototype = "i pkginfo\nd none bin 0755 root bin\nf none bin/stux=src/stux 0755 root bin\n\
                     d none share 0755 root bin\nf none share/shared=src/shared 0644 root bin\n\
                     s none bin/stuxlink=stux\n";
    fs::write(work.join("prototype"), prototype).unwrap();
    play.answered("pkgmk");
}

fn order_of_names(play: &mut Play) {
    play.enter("work/work-27");
    let work = play.beside("work/work-27");
    fs::create_dir_all(work.join("src/a")).unwrap();
    fs::create_dir_all(work.join("spool")).unwrap();
    let names =
        ["a-b", "a.b", "aB", "ab", "a/b", "a/z", "a0", "Z", "_x", "zz", "x=y", "é", "sp ace", "dollar$x"];
    for name in names {
        fs::write(work.join("src").join(name), format!("{name}\n")).unwrap();
    }
    let pkginfo = "PKG=SUNWord\nNAME=Ord\nARCH=i386\nVERSION=1.0\nCATEGORY=application\nBASEDIR=/opt/o\n\
                   CLASSES=zz none aa\nBINDIR=usr/bin\n";
    fs::write(work.join("pkginfo"), pkginfo).unwrap();
    let found = play.run("orun pkgproto src=.");
    play.text_as_in("proto.out", &found);
    fs::copy(play.results().join("prototype"), work.join("prototype")).unwrap();
    play.step("pkgmk");
    let pkgmap = fs::read_to_string(work.join("spool/SUNWord/pkgmap")).unwrap_or_default();
    play.text_as_in("pkgmap", &pkgmap);
    play.step("pkgadd");
    for (name, step) in [("sp ace", "sp_ace"), ("x=y", "x_y"), ("dollar$x", "dollar_x")] {
        fs::write(work.join("proto1"), format!("i pkginfo\nf none {name}=src/Z 0644 root sys\n")).unwrap();
        play.step(&format!("pkgmk-odd-{step}"));
    }
    let pkgmap = fs::read_to_string(play.stage().at("/tmp/SUNWord/pkgmap")).unwrap_or_default();
    play.text_as_in("pkgmap-odd-dollar_x", &pkgmap);
}

/// A root of its own for each stream.
fn stream_variants(name: &'static str) -> Vec<Play> {
    each(&parts_of(name, ""), |stream| {
        let mut play = Play::begin(name, &[""]);
        if play.results().join(format!("{stream}.ds")).is_file() {
            play.variant(stream);
        }
        play
    })
}

/// Plays each part in a root of its own, as many at a time as there are processors.
fn each(parts: &[String], story: impl Fn(&str) -> Play + Sync) -> Vec<Play> {
    let plays = Mutex::new(Vec::new());
    in_parallel(parts, |part| {
        let play = story(part);
        plays.lock().unwrap().push(play);
    });
    plays.into_inner().unwrap()
}

/// The directories of results that have steps in them, or are steps.
fn parts_of(scenario: &str, start: &str) -> Vec<String> {
    let results = crate::scenario::shared(scenario, "goldens").unwrap().join(scenario).join("out");
    let directories =
        fs::read_dir(results).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir());
    let names = directories.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(start)).collect()
}

fn out(play: &Play) -> String {
    play.out().display().to_string()
}

/// A deterministic text of this size, as in the packages.
fn generated(size: usize, seed: &str) -> String {
    let lines = (1..).map(|line| format!("{seed} line {line} abcdefghijklmnopqrstuvwxyz\n"));
    let text: String = lines.take(size / 30 + 1).collect();
    text[..size].to_owned()
}
