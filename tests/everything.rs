//! Patches that change every kind of object into every other, applied, revised, obsoleted and backed out. After each
//! step, every attribute of the tree is compared.
//!
//! `testdata/everything` describes the packages. After an apply, the tree must match the descriptions. After a backout,
//! the tree must match the picture taken before, and so must the database, except for the differences in the table in
//! `play`.

mod delivery;
mod description;
mod expectation;
mod picture;
mod play;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use delivery::{FORMS, deliver};
use description::Package;
use patchadm_svr4::package::escape;
use picture::{Kind, Node, Picture, differences, node, picture};
use play::{Home, Moment, Play};

use crate::reliability::sample_or_whole;
use crate::undo_forms::{UndoForms, undo_directories};

/// The number of moments at which a run is killed.
const KILLS: u32 = 16;

/// Applies, revises and obsoletes a patch, and backs all out step by step.
fn there_and_back(mut play: Play) {
    let base = Moment::now(&play.stage);
    let first = play.apply("900-01", "directory");
    let second = play.apply("900-02", "tar.gz");
    play.apply("910-01", "datastream");
    assert_eq!(play.patch_list("ACMEall"), "900-01 900-02 910-01");
    assert_eq!(play.patch_list("ACMEtwo"), "900-01 900-02");

    play.back_out("910-01");
    second.is_now(&play.stage, "after the backout of 910-01");
    play.back_out("900-02");
    first.is_now(&play.stage, "after the backout of 900-02");
    play.back_out("900-01");
    base.is_now(&play.stage, "after the backout of 900-01");
    assert_eq!(play.patch_list("ACMEall"), "");
}

/// Like [`there_and_back`], with undo data in random forms that is rewritten in between.
fn there_and_back_in_forms(mut play: Play, seed: u64) {
    play.forms = Some(UndoForms::of(seed));
    let now = |play: &Play| Moment::now(&play.stage).in_any_form();
    let mut moments = vec![(String::new(), now(&play))];
    let mut told = format!("seed {seed}");
    for (id, form) in [("900-01", "directory"), ("900-02", "tar.gz"), ("910-01", "datastream")] {
        moments.push((id.to_owned(), play.apply(id, form).in_any_form()));
        told += &format!(", {}", play.repack());
    }
    while let Some((id, moment)) = moments.pop() {
        moment.is(&now(&play), &format!("{told}, with {id}"));
        if !id.is_empty() {
            told += &format!(", {}", play.repack());
            play.back_out(&id);
        }
    }
    assert_eq!(undo_directories(&play.stage), Vec::<String>::new(), "{told}: nothing is left");
}

#[test]
fn whatever_forms_undo_data_has_every_kind_of_change_is_made_and_taken_back() {
    let homes =
        [(Home::Plain, false), (Home::Mounted, false), (Home::Plain, true), (Home::BehindLink, false)];
    for seed in 0..sample_or_whole(1, 24) {
        for (number, (home, ordinary)) in (0..).zip(homes) {
            match Play::begin_in(home, ordinary) {
                Some(play) => there_and_back_in_forms(play, seed * 4 + number),
                None => crate::skipped("undo data in forms that are drawn: may not mount"),
            }
        }
    }
}

#[test]
fn every_kind_of_change_is_made_and_taken_back() {
    there_and_back(Play::begin(false));
}

#[test]
fn an_ordinary_user_does_the_same_to_a_tree_of_their_own() {
    there_and_back(Play::begin(true));
}

#[test]
fn a_link_above_the_objects_is_followed_inside_the_root() {
    there_and_back(Play::begin_in(Home::BehindLink, false).unwrap());
}

#[test]
#[allow(clippy::print_stdout)] // a test that is skipped says so
fn objects_may_be_on_another_file_system_than_their_records() {
    match Play::begin_in(Home::Mounted, false) {
        Some(play) => there_and_back(play),
        None => crate::skipped("objects_may_be_on_another_file_system_than_their_records: may not mount"),
    }
}

#[test]
fn an_ordinary_user_is_told_which_owners_are_recorded_only() {
    let play = Play::begin(true);
    let patch = deliver(&play.stage.beside(""), "900-01", &play.packages("900-01"), "directory");
    let told = play.run("add -R @ROOT@", Some(&patch)).ok();
    assert!(
        told.contains("owners and groups that are recorded but not set: adm, bin, root, sys\n"),
        "{told}"
    );
}

in_parts!(the_form_of_a_patch_makes_no_difference, come_in_forms, 3);

fn come_in_forms(part: usize, parts: usize) {
    /// `contents` after applying each form.
    static OF_ALL: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
    let mut contents: Vec<Vec<u8>> = Vec::new();
    for form in FORMS.into_iter().skip(part).step_by(parts) {
        let mut play = Play::begin(false);
        let base = Moment::now(&play.stage);
        play.apply("900-01", form);
        contents.push(fs::read(play.stage.at("var/sadm/install/contents")).unwrap());
        play.back_out("900-01");
        base.is_now(&play.stage, &format!("after the backout of a patch that came as {form}"));
    }
    let mut of_all = OF_ALL.lock().unwrap();
    of_all.extend(contents);
    assert!(of_all.windows(2).all(|pair| pair[0] == pair[1]), "the same lines whatever the form");
}

#[test]
fn the_form_of_the_undo_data_makes_no_difference() {
    for (form, name) in
        [("gz", "undo.gz"), ("Z", "undo.Z"), ("none", "undo"), ("zst", "undo.zst"), ("xz", "undo.xz")]
    {
        let play = Play::begin(false);
        let base = Moment::now(&play.stage);
        let patch = deliver(&play.stage.beside(""), "900-01", &play.packages("900-01"), "directory");
        play.run(&format!("add -R @ROOT@ --undo-format {form}"), Some(&patch)).ok();
        assert!(play.stage.at("var/sadm/pkg/ACMEall/save/900-01").join(name).exists());
        play.run("remove -R @ROOT@ 900-01", None).ok();
        base.is_now(&play.stage, &format!("after a backout from {name}"));
    }
}

#[test]
fn a_directory_of_the_patch_stays_when_somebody_put_a_file_into_it() {
    let mut play = Play::begin(false);
    let base = Moment::now(&play.stage);
    play.apply("900-01", "directory");
    fs::write(play.stage.at("opt/all/made/deep/mine"), "mine\n").unwrap();
    // The other picture may reuse an inode number.
    let own = |path: &str| Node { file: 0, ..node(&play.stage.at(path)) };
    let mine = ["opt/all/made", "opt/all/made/deep", "opt/all/made/deep/mine"];
    let kept: Vec<_> = mine.iter().map(|path| (path.as_bytes().to_vec(), own(path))).collect();

    play.back_out("900-01");
    let mut expected = base.tree;
    expected.extend(kept);
    assert_eq!(differences(&expected, &picture(&play.stage.root())), "");
}

#[test]
fn what_was_edited_since_is_kept_beside_what_comes_back() {
    let mut play = Play::begin(false);
    let base = Moment::now(&play.stage);
    play.apply("900-01", "directory");
    let at = |path: &str| play.stage.at("opt/all").join(path);
    for path in ["plain/replaced", "plain/added", "link/file", "type/symlink-to-file", "names/new\nline"] {
        fs::write(at(path), format!("{path} of today\n")).unwrap();
    }
    fs::remove_file(at("sym/current")).unwrap();
    symlink("v9", at("sym/current")).unwrap();
    fs::remove_file(at("size/block")).unwrap();
    fs::remove_file(at("type/file-to-pipe")).unwrap();
    fs::write(at("type/file-to-pipe"), "no pipe any more\n").unwrap();
    fs::set_permissions(at("plain/dos"), fs::Permissions::from_mode(0o600)).unwrap();

    play.back_out("900-01");
    let mut now = picture(&play.stage.root());
    let edited: Vec<Vec<u8>> = now.keys().filter(|path| path.ends_with(b".edited-900-01")).cloned().collect();
    let edited: BTreeMap<Vec<u8>, Node> =
        edited.into_iter().map(|path| now.remove_entry(&path).unwrap()).collect();
    assert_eq!(differences(&base.tree, &now), "");
    let kept: Vec<String> = edited
        .iter()
        .map(|(path, node)| {
            let name = path.strip_prefix(b"opt/all/").unwrap().strip_suffix(b".edited-900-01").unwrap();
            match &node.kind {
                Kind::File(bytes) => {
                    format!("{}: {}", name.escape_ascii(), bytes.trim_ascii_end().escape_ascii())
                }
                kind => format!("{}: {}", name.escape_ascii(), kind.shown()),
            }
        })
        .collect();
    let expected = [
        "link/far/fourth: link/file of today",
        "link/file: link/file of today",
        "link/new: link/file of today",
        "link/second: link/file of today",
        "link/third: link/file of today",
        "names/new\\nline: names/new\\nline of today",
        "plain/added: plain/added of today",
        "plain/replaced: plain/replaced of today",
        "sym/current: link to v9",
        "type/file-to-link: plain/added of today",
        "type/file-to-pipe: no pipe any more",
        "type/symlink-to-file: type/symlink-to-file of today",
    ];
    assert_eq!(kept, expected);
}

#[test]
fn a_directory_that_holds_something_of_somebody_else_does_not_change_its_type() {
    let mut play = Play::begin(false);
    let mine = play.stage.at("opt/all/type/dir-to-file/mine");
    fs::write(&mine, "mine\n").unwrap();
    let before = Moment::now(&play.stage);
    let patch = deliver(&play.stage.beside(""), "900-01", &play.packages("900-01"), "tar");
    let complaint = play.run("patchadd -R @ROOT@", Some(&patch)).fails(10);
    assert!(complaint.contains("/opt/all/type/dir-to-file"), "{complaint}");
    before.is_now(&play.stage, "after a refused patch");

    fs::remove_file(mine).unwrap();
    play.apply("900-01", "zip");
    fs::write(play.stage.at("opt/all/type/file-to-dir/deep/mine"), "mine\n").unwrap();
    let before = Moment::now(&play.stage);
    let complaint = play.run("patchrm -R @ROOT@ 900-01", None).fails(5);
    assert!(complaint.contains("/opt/all/type/file-to-dir"), "{complaint}");
    before.is_now(&play.stage, "after a refused backout");
}

#[test]
fn a_name_that_somebody_made_a_file_of_its_own_stays_one() {
    let play = Play::begin(false);
    let third = play.stage.at("opt/all/link/third");
    let copy = fs::read(&third).unwrap();
    fs::remove_file(&third).unwrap();
    fs::write(&third, copy).unwrap();
    let mine = node(&third);
    let base = Moment::now(&play.stage);
    let patch = deliver(&play.stage.beside(""), "900-01", &play.packages("900-01"), "directory");
    let told = play.run("add -R @ROOT@", Some(&patch)).ok();
    assert!(told.contains("/link/third is no longer another name of "), "{told}");
    assert!(node(&third) == mine, "not linked to the new file");
    play.back_out("900-01");
    base.is_now(&play.stage, "after the backout");
}

#[test]
fn a_package_of_a_patch_that_is_not_installed_is_patched_when_it_is_there() {
    let mut play = Play::begin(false);
    play.apply("900-01", "directory");
    assert!(!play.stage.at("usr/absent").exists());
    assert!(!play.stage.at("var/sadm/pkg/ACMEabsent").exists());

    let mut absent: Package =
        play.packages("900-01").into_iter().find(|package| package.name == "ACMEabsent").unwrap();
    absent.params.remove("SUNW_PATCHID");
    absent.entries.values_mut().for_each(|entry| entry.content = b"unpatched\n".to_vec());
    let spool = deliver(&play.stage.beside("spool-2"), "later", &[absent], "directory");
    let run = play.run("pkgadd -n -R @ROOT@ all -d", Some(&spool));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    play.world.installed = vec!["ACMEabsent".to_owned()];
    play.apply("900-01", "zip");
    assert_eq!(play.patch_list("ACMEabsent"), "900-01");
    assert_eq!(play.patch_list("ACMEall"), "900-01");
}

/// Kills applies and backouts at many moments, and recovers. Each is then complete or undone, as the records said
/// before the recovery.
fn killed_and_recovered(mut play: Play) {
    let base = Moment::now(&play.stage);
    let began = Instant::now();
    let patched = play.apply("900-01", "tar.gz");
    let whole = began.elapsed();
    let patch = play.stage.beside("900-01.tar.gz");
    for moment in 0..KILLS {
        let is_applied = !play.patch_list("ACMEall").is_empty();
        let line = if is_applied { "patchrm -R @ROOT@ 900-01" } else { "patchadd -R @ROOT@" };
        let mut command = play.stage.command(line);
        command.args((!is_applied).then_some(&patch)).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        thread::sleep(whole * moment / KILLS);
        child.kill().unwrap();
        child.wait().unwrap();

        let seen = play.patch_list("ACMEall");
        play.run("recover -R @ROOT@", None).ok();
        let what = format!("{line} killed at {moment} of {KILLS}, PATCHLIST {seen:?}");
        if seen.is_empty() {
            base.is_now(&play.stage, &what);
        } else {
            assert_eq!(timeless(&patched.tree, &Moment::now(&play.stage).tree), "", "{what}");
        }
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_all_or_nothing() {
    killed_and_recovered(Play::begin(false));
}

#[test]
#[allow(clippy::print_stdout)] // a test that is skipped says so
fn a_run_over_two_file_systems_that_is_killed_leaves_all_or_nothing() {
    match Play::begin_in(Home::Mounted, false) {
        Some(play) => killed_and_recovered(play),
        None => crate::skipped("a_run_over_two_file_systems_that_is_killed…: may not mount"),
    }
}

/// The differences of two trees without the times of objects to which a package gives none.
fn timeless(expected: &Picture, found: &Picture) -> String {
    let mut expected = expected.clone();
    let made = expected.values_mut().filter(|node| !matches!(node.kind, Kind::File(_)));
    made.for_each(|node| node.mtime = None);
    differences(&expected, found)
}

#[test]
fn names_with_odd_bytes_are_recorded_with_escapes() {
    let mut play = Play::begin(false);
    play.apply("900-01", "tar");
    let contents = fs::read(play.stage.at("var/sadm/install/contents")).unwrap();
    let names: [&[u8]; 5] = [b"with blank", b"a=b", b"new\nline", b"\xff\xfe", b"back\\slash"];
    for name in names {
        let start = [b"/opt/all/names/", &escape(name)[..], b" f none "].concat();
        let lines = contents.split(|byte| *byte == b'\n').filter(|line| line.starts_with(&start));
        assert_eq!(lines.count(), 1, "{}", name.escape_ascii());
    }
}
