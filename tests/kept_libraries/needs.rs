//! Libraries that stay, and the files that need them.

use super::{NEW, OLD, Pair, USER, package};
use crate::compiled::{Compiler, Source};
use crate::delivery::Patch;
use crate::records::Before;
use crate::scenario::Scenario;

#[test]
fn a_library_stays_in_place_for_its_program_and_goes_with_the_need() {
    let Some(pair) = Pair::new("a library stays in place") else { return };
    let stage = &pair.stage;
    let (before, inode) = (Before::of(stage), inode(stage, OLD));
    let kept = "ACMEx-SO keeps libx.so.1 (/usr/lib/libx.so.1) for needed /usr/bin/p";
    assert_eq!(stage.apply_tells("--libs keep", &pair.patch), [kept]);
    assert_eq!(inode, self::inode(stage, OLD));
    assert_eq!(stage.packages(), "ACMEp ACMEx ACMEx-SO");
    let between = Before::of(stage);
    assert_eq!(stage.apply_tells("", &pair.renewal()), ["dropped ACMEx-SO (/usr/lib/libx.so.1)"]);
    assert!(!stage.at(OLD).exists());
    assert_eq!(stage.packages(), "ACMEp ACMEx");
    stage.remove_tells("", "200-01");
    between.assert_again(stage, "the new program is backed out");
    assert_eq!(stage.remove_tells("", "100-01"), ["returned ACMEx-SO (/usr/lib/libx.so.1)"]);
    before.assert_again(stage, "both are backed out");
}

fn inode(stage: &Scenario, path: &str) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    stage.at(path).symlink_metadata().unwrap().ino()
}

/// Two libraries that need each other, a program that needs one of them, and a patch that deletes both.
fn cycle(test: &str) -> Option<(Scenario, Compiler, Patch)> {
    let compiler = Compiler::found(test)?;
    compiler.library_with("libb.so.1", &[], &[]);
    let a = compiler.library_with("liba.so.1", &["libb.so.1"], &[]);
    let b = compiler.library_with("libb.so.1", &["liba.so.1"], &[]);
    let program = compiler.program_with(&["liba.so.1"], &[]);
    let files = [("usr/lib/liba.so.1", &a[..]), ("usr/lib/libb.so.1", &b)];
    let stage = Scenario::with(&[package("ACMEab", &files), package("ACMEp", &[(USER, &program)])]);
    let new = compiler.library_with("liba.so.2", &[], &[]);
    let patched = package("ACMEab", &[("usr/lib/liba.so.2", &new)]);
    let patch = Patch::of("100-01", patched.deletes(&["usr/lib/liba.so.1", "usr/lib/libb.so.1"]));
    Some((stage, compiler, patch))
}

#[test]
fn two_libraries_that_need_each_other_stay_for_the_program_of_one() {
    let Some((stage, ..)) = cycle("two libraries that need each other") else { return };
    let Some((stage, patch)) = cycle("the same").map(|(_, _, patch)| (stage, patch)) else { return };
    let expected = [
        "ACMEab-SO keeps liba.so.1 (/usr/lib/liba.so.1) for needed /usr/bin/p",
        "ACMEab-SO keeps libb.so.1 (/usr/lib/libb.so.1) for needed /usr/bin/p",
    ];
    assert_eq!(stage.apply_tells("--libs keep", &patch), expected);
}

#[test]
fn a_kept_cycle_ends_when_its_consumer_goes() {
    let Some((stage, compiler, patch)) = cycle("a kept cycle ends") else { return };
    let before = Before::of(&stage);
    stage.apply_tells("--libs keep", &patch);
    let program = compiler.program_with(&["liba.so.2"], &[]);
    let renewal = Patch::of("200-01", package("ACMEp", &[(USER, &program)]));
    let dropped = "dropped ACMEab-SO (/usr/lib/liba.so.1 /usr/lib/libb.so.1)";
    assert_eq!(stage.apply_tells("", &renewal), [dropped]);
    assert_eq!(stage.packages(), "ACMEab ACMEp");
    stage.remove_tells("--libs keep", "100-01");
    stage.remove_tells("", "200-01");
    before.assert_again(&stage, "both are backed out");
}

#[test]
fn of_a_diamond_everything_stays_that_the_program_reaches_whichever_package_has_it() {
    let Some(compiler) = Compiler::found("a diamond") else { return };
    let base = compiler.library_with("libd.so.1", &[], &[]);
    let left = compiler.library_with("libl.so.1", &["libd.so.1"], &[]);
    let right = compiler.library_with("libr.so.1", &["libd.so.1"], &[]);
    let other = compiler.library_with("libo.so.1", &[], &[]);
    let program = compiler.program_with(&["libl.so.1", "libr.so.1"], &[]);
    let sides = [("usr/lib/libl.so.1", &left[..]), ("usr/lib/libr.so.1", &right)];
    let bases = [("usr/lib/libd.so.1", &base[..]), ("usr/lib/libo.so.1", &other)];
    let stage = Scenario::with(&[
        package("ACMElr", &sides),
        package("ACMEd", &bases),
        package("ACMEp", &[(USER, &program)]),
    ]);
    let before = Before::of(&stage);
    let patch = Patch::new("100-01")
        .package(
            package("ACMElr", &[("usr/lib/new", b"new")])
                .deletes(&["usr/lib/libl.so.1", "usr/lib/libr.so.1"]),
        )
        .package(
            package("ACMEd", &[("usr/lib/newer", b"new")])
                .deletes(&["usr/lib/libd.so.1", "usr/lib/libo.so.1"]),
        );
    let expected = [
        "ACMEd-SO keeps libd.so.1 (/usr/lib/libd.so.1) for needed /usr/bin/p",
        "ACMElr-SO keeps libl.so.1 (/usr/lib/libl.so.1) for needed /usr/bin/p",
        "ACMElr-SO keeps libr.so.1 (/usr/lib/libr.so.1) for needed /usr/bin/p",
    ];
    assert_eq!(stage.apply_tells("--libs keep", &patch), expected);
    assert!(!stage.at("/usr/lib/libo.so.1").exists(), "nobody needs it");
    let depend = stage.text("/var/sadm/pkg/ACMElr-SO/install/depend");
    assert!(depend.ends_with("R ACMEp ACMEp for tests\n"), "{depend}");
    stage.remove_tells("", "100-01");
    before.assert_again(&stage, "backed out");
}

#[test]
fn every_link_on_the_way_to_a_library_stays_and_no_development_link() {
    let Some(compiler) = Compiler::found("every link on the way") else { return };
    let old = compiler.library_with("libx.so.1", &[], &[]);
    let program = compiler.program_with(&["libx.so.1"], &[]);
    let files = package("ACMEx", &[("usr/lib/libx.so.1.0.3", &old)])
        .symlink("usr/lib/libx.so.1", "libx.so.1.0")
        .symlink("usr/lib/libx.so.1.0", "./libx.so.1.0.3")
        .symlink("usr/lib/libx.so", "libx.so.1")
        .file("usr/include/x.h", 0o644, "void libx_f(void);\n");
    let stage = Scenario::with(&[files, package("ACMEp", &[(USER, &program)])]);
    let before = Before::of(&stage);
    let all = [
        "usr/lib/libx.so",
        "usr/lib/libx.so.1",
        "usr/lib/libx.so.1.0",
        "usr/lib/libx.so.1.0.3",
        "usr/include/x.h",
    ];
    let patch = Patch::of("100-01", package("ACMEx", &[("usr/lib/new", b"new")]).deletes(&all));
    let paths = "/usr/lib/libx.so.1 /usr/lib/libx.so.1.0 /usr/lib/libx.so.1.0.3";
    let kept = format!("ACMEx-SO keeps libx.so.1 ({paths}) for needed /usr/bin/p");
    assert_eq!(stage.apply_tells("--libs keep", &patch), [kept]);
    assert!(stage.at("/usr/lib/libx.so").symlink_metadata().is_err());
    let lines = stage.lines();
    let owned: Vec<&str> = lines
        .iter()
        .filter(|line| line.contains("ACMEx-SO"))
        .map(|line| line.split([' ', '=']).next().unwrap())
        .collect();
    assert_eq!(owned.join(" "), format!("/usr /usr/lib {paths}"));
    stage.remove_tells("", "100-01");
    before.assert_again(&stage, "backed out");
}

#[test]
fn who_inherits_an_rpath_keeps_what_it_finds_by_it_and_a_runpath_is_not_inherited() {
    let Some(compiler) = Compiler::found("RUNPATH against inherited RPATH") else { return };
    let b = compiler.library_with("libb.so.1", &[], &[]);
    let a = compiler.library_with("liba.so.1", &["libb.so.1"], &[]);
    let path = "-Wl,-rpath,/opt/acme/lib";
    let inherited = compiler.program_with(&["liba.so.1"], &["-Wl,--disable-new-dtags", path]);
    let own = compiler.program_with(&["liba.so.1"], &["-Wl,--enable-new-dtags", path]);
    let files = [("opt/acme/lib/liba.so.1", &a[..]), ("opt/acme/lib/libb.so.1", &b)];
    let programs = [("usr/bin/inherited", &inherited[..]), ("usr/bin/own", &own)];
    let stage = Scenario::with(&[package("ACMEab", &files), package("ACMEp", &programs)]);
    let takes =
        |path: &str| Patch::of("100-01", package("ACMEab", &[("opt/acme/new", b"new")]).deletes(&[path]));
    let kept = "ACMEab-SO keeps libb.so.1 (/opt/acme/lib/libb.so.1) for needed /opt/acme/lib/liba.so.1";
    assert_eq!(stage.plan_tells("--libs keep", &takes("opt/acme/lib/libb.so.1")).unwrap(), [kept]);
    let kept = "ACMEab-SO keeps liba.so.1 (/opt/acme/lib/liba.so.1) for needed /usr/bin/inherited, needed /usr/bin/own";
    assert_eq!(stage.plan_tells("--libs keep", &takes("opt/acme/lib/liba.so.1")).unwrap(), [kept]);
    // Without the program that passes its path on, nothing has ever found it.
    std::fs::remove_file(stage.at("/usr/bin/inherited")).unwrap();
    assert_eq!(
        stage.plan_tells("--libs keep", &takes("opt/acme/lib/libb.so.1")).unwrap(),
        Vec::<String>::new()
    );
}

#[test]
fn of_a_library_that_moves_to_another_directory_nothing_stays() {
    let Some(pair) = Pair::new("a library that moves") else { return };
    let stage = &pair.stage;
    let before = Before::of(stage);
    let same = std::fs::read(stage.at(OLD)).unwrap();
    let patch = Patch::of("100-01", package("ACMEx", &[("lib/libx.so.1", &same)]).deletes(&[OLD]));
    assert_eq!(stage.apply_tells("--libs keep", &patch), Vec::<String>::new());
    assert!(!stage.at(OLD).exists());
    assert_eq!(stage.packages(), "ACMEp ACMEx");
    stage.remove_tells("", "100-01");
    before.assert_again(stage, "backed out");
}

#[test]
fn a_library_that_a_program_may_load_later_stays_while_no_other_name_serves() {
    let Some(compiler) = Compiler::found("a dlopen note") else { return };
    let old = compiler.library_with("libx.so.1", &[], &[]);
    let json = r#"[{"soname":["libx.so.3","libx.so.1"],"priority":"suggested"}]"#.replace('"', "\\\"");
    let length = json.len() - json.matches('\\').count() + 1;
    let text = format!(
        "__asm__(\".section .note.dlopen,\\\"a\\\",%note\\n.balign 4\\n.long 4\\n.long {length}\\n.long 0x407c0c0a\\n\
         .asciz \\\"FDO\\\"\\n.asciz \\\"{}\\\"\\n.balign 4\\n.text\\n\");\nvoid use(void) {{}}\n",
        json.replace('\\', "\\\\\\")
    );
    let program = compiler.program(&Source { text: &text, ..Source::default() });
    let stage = Scenario::with(&[package("ACMEx", &[(OLD, &old)]), package("ACMEp", &[(USER, &program)])]);
    let takes = |soname: &str| {
        let path = format!("usr/lib/{soname}");
        let new = compiler.library_with(soname, &[], &[]);
        Patch::of("100-01", package("ACMEx", &[(&path, &new)]).deletes(&[OLD]))
    };
    let kept = "ACMEx-SO keeps libx.so.1 (/usr/lib/libx.so.1) for dlopen /usr/bin/p";
    assert_eq!(stage.plan_tells("--libs keep", &takes("libx.so.2")).unwrap(), [kept]);
    assert_eq!(stage.apply_tells("--libs keep", &takes("libx.so.3")), Vec::<String>::new());
    assert_eq!(stage.packages(), "ACMEp ACMEx");
}

#[test]
fn a_library_of_another_class_serves_nobody_and_its_programs_need_nothing_of_ours() {
    let Some(pair) = Pair::new("a 32-bit stranger") else { return };
    if !std::process::Command::new("cc")
        .args(["-m32", "-E", "-x", "c", "/dev/null"])
        .output()
        .unwrap()
        .status
        .success()
        || cfg!(not(target_arch = "x86_64"))
    {
        return crate::skipped("a 32-bit stranger: cc(1) makes nothing for 32 bits");
    }
    let compiler = Compiler::found("a 32-bit stranger").unwrap();
    let library = compiler.library_with("libx.so.1", &[], &["-m32"]);
    let program = compiler.program_with(&["libx.so.1"], &["-m32"]);
    let stage = &pair.stage;
    // The loader finds it first, and passes it over.
    stage.install(&package("ACMEold", &[("lib/libx.so.1", &library), ("usr/bin/old", &program)]));
    let kept = "ACMEx-SO keeps libx.so.1 (/usr/lib/libx.so.1) for needed /usr/bin/p";
    assert_eq!(stage.apply_tells("--libs keep", &pair.patch), [kept]);
    let patch = Patch::of("300-01", package("ACMEold", &[("lib/new", b"new")]).deletes(&["lib/libx.so.1"]));
    let kept = "ACMEold-SO keeps libx.so.1 (/lib/libx.so.1) for needed /usr/bin/old";
    assert_eq!(stage.apply_tells("--libs keep", &patch), [kept]);
}

#[test]
fn a_root_inside_the_root_is_not_entered_and_named() {
    let Some(pair) = Pair::new("a nested root") else { return };
    let stage = &pair.stage;
    let program = std::fs::read(stage.at(USER)).unwrap();
    stage.directory("/srv/chroot/var/sadm/pkg");
    stage.file("/srv/chroot/usr/bin/inner", &program);
    stage.file("/srv/own/usr/bin/outer", &program);
    let line = format!("plan --json --libs keep -R @ROOT@ {}", pair.patch.directory(stage).display());
    let document = stage.run(&line).ok();
    let kept =
        "ACMEx-SO keeps libx.so.1 (/usr/lib/libx.so.1) for needed /srv/own/usr/bin/outer, needed /usr/bin/p";
    assert_eq!(super::told(&document).unwrap(), [kept]);
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let skipped = &document["patches"][0]["shlibs"]["skipped"];
    assert!(skipped.as_array().unwrap().iter().any(|path| path == "/srv/chroot"), "{skipped}");
    // Directories that the policy names are scanned.
    stage.file("/etc/patchadm/policy", "shlib_scan=/srv/chroot\n");
    let told = stage.plan_tells("--libs keep", &pair.patch).unwrap();
    assert!(told[0].contains("/srv/chroot/usr/bin/inner"), "{told:?}");
}

#[test]
fn what_the_policy_names_stays_without_a_program_and_what_it_skips_needs_nothing() {
    let Some(pair) = Pair::new("what the policy names") else { return };
    let stage = &pair.stage;
    stage.file("/etc/patchadm/policy", "shlib_skip=/usr/bin\n");
    assert_eq!(stage.plan_tells("--libs keep", &pair.patch).unwrap(), Vec::<String>::new());
    stage.file("/etc/patchadm/policy", "shlib_skip=/usr/bin\nshlib_keep=/usr/lib/lib*.so.1\nshlibs=keep\n");
    let kept = "ACMEx-SO keeps libx.so.1 (/usr/lib/libx.so.1) for policy /usr/lib/libx.so.1";
    assert_eq!(stage.apply_tells("", &pair.patch), [kept]);
    assert!(stage.at(NEW).exists());
}

#[test]
fn a_library_without_a_soname_is_known_by_its_name() {
    let Some(compiler) = Compiler::found("a library without a SONAME") else { return };
    let plain = compiler.plain_library("libplain.so");
    let program = compiler.program_with_plain("libplain.so");
    let stage = Scenario::with(&[
        package("ACMEx", &[("usr/lib/libplain.so", &plain)]),
        package("ACMEp", &[(USER, &program)]),
    ]);
    let patch = Patch::of("100-01", package("ACMEx", &[(NEW, b"new")]).deletes(&["usr/lib/libplain.so"]));
    let kept = "ACMEx-SO keeps libplain.so (/usr/lib/libplain.so) for needed /usr/bin/p";
    assert_eq!(stage.apply_tells("--libs keep", &patch), [kept]);
}
