//! Hostile files in the place of inputs: pipes without a writer, endless devices and links that lead out, in a depot
//! and wherever a command takes the name of a file. Every command ends by itself, and reveals nothing about the target
//! of a link.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, removexattr, setxattr};

use patchadm_inputs::depot::object_path;
use patchadm_inputs::sign::{sha256, sha256_text};

use crate::delivery::{Patch, archive, indexed_depot};
use crate::packages::Package;
use crate::scenario::{Run, Scenario};
use crate::signatures::testdata;

/// A command that is still running then waits for ever. It is killed by a signal, and so has no exit code of its own.
const NOT_FOR_EVER: &str = "set -- timeout -s KILL 60 \"$@\"";

fn web(text: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, text)
}

fn stage() -> Scenario {
    Scenario::with(&[web("one\n")])
}

/// A root, and a depot that was published with a signed index.
fn published() -> (Scenario, PathBuf) {
    let stage = stage();
    let work = stage.beside("work");
    fs::create_dir(&work).unwrap();
    Patch::of("100-01", web("two\n")).pack(&work, ".tar");
    let depot = stage.beside("depot");
    stage
        .run(&format!(
            "publish --unsigned --key {} {} {}",
            testdata("plain.sec"),
            work.display(),
            depot.display()
        ))
        .ok();
    (stage, depot)
}

fn run(stage: &Scenario, line: &str) -> Run {
    stage.limited(NOT_FOR_EVER, line)
}

fn pipe(at: &Path) {
    let _ = fs::remove_file(at);
    nix::unistd::mkfifo(at, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
}

/// The files below a directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    crate::packages::files(directory).into_iter().map(|path| directory.join(path)).collect()
}

/// The files of a published depot that its readers open.
fn files_of(depot: &Path) -> [PathBuf; 3] {
    let objects = below(&depot.join("objects"));
    let patch = objects.into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let signature = below(&depot.join("index"))
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "minisig"));
    [depot.join("index.json"), patch, signature.unwrap()]
}

const READERS: [&str; 3] = [
    "depot check -R @ROOT@ ../depot",
    "update -R @ROOT@ --cache @ROOT@/../cache -M ../depot",
    "patchadd -R @ROOT@ --cache @ROOT@/../cache -M ../depot 100-01",
];

fn reader(stage: &Scenario, line: &str, depot: &Path) -> Run {
    let cache = stage.beside("cache");
    let line = line.replace("@ROOT@/../cache", cache.to_str().unwrap());
    run(stage, &line.replace("../depot", depot.to_str().unwrap()))
}

fn refuses(told: &Run, why: &str) -> bool {
    told.code != 0 && (told.stdout.contains(why) || told.stderr.contains(why))
}

#[test]
fn a_pipe_or_an_endless_device_in_a_depot_holds_no_command_up() {
    let (stage, depot) = published();
    let before = stage.everything();
    for file in files_of(&depot) {
        let bytes = fs::read(&file).unwrap();
        for line in READERS {
            pipe(&file);
            let told = reader(&stage, line, &depot);
            assert!(refuses(&told, "it is not a regular file"), "{line}: {told:?}");
            fs::remove_file(&file).unwrap();
            symlink("/dev/zero", &file).unwrap();
            let told = reader(&stage, line, &depot);
            assert!(refuses(&told, "leads out of the directory"), "{line}: {told:?}");
        }
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
    }
    crate::tree::assert_same(&stage.everything(), &before);
    reader(&stage, READERS[1], &depot).ok();
}

#[test]
fn a_link_in_a_depot_is_followed_inside_it_and_tells_nothing_of_what_is_outside() {
    let (stage, depot) = published();
    let [_, object, _] = files_of(&depot);
    let secret = stage.beside("secret");
    fs::write(&secret, "the words of somebody else\n").unwrap();
    fs::rename(&object, depot.join("pool")).unwrap();
    symlink(&secret, &object).unwrap();
    for line in READERS {
        let told = reader(&stage, line, &depot);
        assert_ne!(told.code, 0, "{line}");
        let said = told.stdout + &told.stderr;
        assert!(said.contains("leads out of the directory"), "{line}: {said}");
        assert!(!said.contains("27 bytes") && !said.contains("the words"), "{line}: {said}");
    }
    fs::remove_file(&object).unwrap();
    symlink("../../pool", &object).unwrap();
    reader(&stage, READERS[0], &depot).ok();
}

#[test]
fn a_link_in_the_place_of_the_directory_of_a_patch_tells_nothing_of_what_is_outside() {
    let stage = stage();
    let depot = stage.beside("depot");
    fs::create_dir(&depot).unwrap();
    fs::rename(Patch::of("100-01", web("two\n")).directory(&stage), depot.join("100-01")).unwrap();
    run(&stage, &format!("depot index {}", depot.display())).ok();
    fs::rename(depot.join("100-01"), depot.join("pool")).unwrap();
    let secret = stage.beside("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("words"), "the words of somebody else\n").unwrap();
    symlink("/etc/passwd", secret.join("account")).unwrap();
    symlink(&secret, depot.join("100-01")).unwrap();
    for line in READERS {
        let told = reader(&stage, line, &depot);
        assert_ne!(told.code, 0, "{line}");
        let said = told.stdout + &told.stderr;
        assert!(said.contains("leads out of the directory"), "{line}: {said}");
        assert!(!said.contains("account") && !said.contains("27 bytes"), "{line}: {said}");
    }
    fs::remove_file(depot.join("100-01")).unwrap();
    symlink("pool", depot.join("100-01")).unwrap();
    reader(&stage, READERS[0], &depot).ok();
}

#[test]
fn a_directory_of_patches_is_read_without_its_pipes_and_links_that_lead_out() {
    let stage = stage();
    let depot = indexed_depot(&stage, &[Patch::of("100-01", web("two\n"))]);
    fs::remove_file(depot.join("index.json")).unwrap();
    pipe(&depot.join("200-01.tar"));
    pipe(&depot.join("100-01.tar.manifest"));
    symlink("/etc/passwd", depot.join("300-01.tar")).unwrap();
    let told = run(&stage, &format!("depot index {}", depot.display()));
    let said = told.stdout + &told.stderr;
    assert!(said.contains("300-01.tar") && said.contains("leads out of the directory"), "{said}");
    assert!(said.contains("100-01.tar") && said.contains("it is not a regular file"), "{said}");
    assert!(!said.contains("200-01"), "{said}");
}

/// Each command with a file that the caller names, `@FILE@`.
const NAMED: [&str; 16] = [
    "update -R @ROOT@ --allow-unsigned --cache cache -M https://127.0.0.1:1/ --ca @FILE@",
    "list -R @ROOT@ --policy @FILE@",
    "list --roots @FILE@",
    "add -R @ROOT@ --plan @FILE@",
    "add --signature require -R @ROOT@ @FILE@x",
    "key trust -R @ROOT@ @FILE@ --name build",
    "keygen -o new --password-file @FILE@",
    "sign --key @FILE@ delivered/100-01",
    "publish --key @FILE@ delivered depot",
    "pkgadd -n -a @FILE@ -R @ROOT@ -d spool ACMEtool",
    "pkgadd -n -r @FILE@ -R @ROOT@ -d spool ACMEtool",
    "pkgchk -R @ROOT@ -i @FILE@",
    "pkgparam -f @FILE@",
    "missing -R @ROOT@ --xref @FILE@",
    "adopt -R @ROOT@ --pkg ACMEnew --pkg-version 1 --paths @FILE@",
    "report @FILE@",
];

#[test]
fn a_pipe_in_the_place_of_a_file_that_a_command_names_holds_it_up_nowhere() {
    let stage = stage();
    Patch::of("100-01", web("two\n")).directory(&stage);
    Package::new("ACMEtool").file("bin/tool", 0o755, "x").write(&stage.beside("spool"));
    let file = stage.beside("pipe");
    pipe(&file);
    pipe(&stage.beside("pipex.manifest"));
    fs::write(stage.beside("pipex"), "x").unwrap();
    for line in NAMED {
        let told = run(&stage, &line.replace("@FILE@", file.to_str().unwrap()));
        assert_ne!(told.code, 0, "{line}: {told:?}");
        let said = told.stdout + &told.stderr;
        assert!(said.contains("it is not a regular file"), "{line}: {said}");
    }
}

/// Patch 100-01 with a script that writes the file `exchange/new` over the object that `exchange/object` names, and
/// patch 200-01, of which `exchange/new` is another version of the same size.
fn exchanging(stage: &Scenario) -> PathBuf {
    let (work, exchange) = (stage.beside("work"), stage.beside("exchange"));
    fs::create_dir(&exchange).unwrap();
    let second = |text: &str| Patch::of("200-01", Package::new("ACMEweb").file("bin/tool", 0o755, text));
    let made = second("bad\n").pack(&exchange, ".tar");
    fs::rename(made, exchange.join("new")).unwrap();
    second("new\n").pack(&work, ".tar");
    let at = exchange.display();
    let script = format!("#!/bin/sh\ncat {at}/new > \"$(cat {at}/object)\"\n");
    let first = Patch::of("100-01", web("two\n")).beside("prepatch", &script).write(&work);
    fs::set_permissions(first.join("prepatch"), fs::Permissions::from_mode(0o755)).unwrap();
    archive(&first, ".tar");
    fs::remove_dir_all(&first).unwrap();
    work
}

#[test]
fn an_object_that_is_exchanged_after_its_check_goes_in_as_it_was_checked() {
    for is_published in [true, false] {
        let stage = stage();
        stage.file("/etc/patchadm/policy", "signature=warn\n");
        stage.run(&format!("key trust -R @ROOT@ {} --name build", testdata("plain.pub"))).ok();
        let (work, key) = (exchanging(&stage), testdata("plain.sec"));
        let depot = if is_published { stage.beside("depot") } else { work.clone() };
        let object = if is_published {
            stage.run(&format!("publish --unsigned --key {key} {} {}", work.display(), depot.display())).ok();
            let size = fs::metadata(work.join("200-01.tar")).unwrap().len();
            let digest = sha256_text(&sha256(&fs::read(work.join("200-01.tar")).unwrap()));
            let object = depot.join(object_path(&digest));
            assert_eq!(size, fs::metadata(stage.beside("exchange/new")).unwrap().len());
            object
        } else {
            stage.run(&format!("depot index --key {key} {}", depot.display())).ok();
            work.join("200-01.tar")
        };
        fs::write(stage.beside("exchange/object"), object.to_str().unwrap()).unwrap();
        stage.run(&format!("add -R @ROOT@ --cache cache -M {} 100-01 200-01", depot.display())).ok();
        assert_eq!(fs::read_to_string(stage.at("/opt/ACMEweb/bin/tool")).unwrap(), "new\n");
        assert_eq!(fs::read(object).unwrap(), fs::read(stage.beside("exchange/new")).unwrap(), "exchanged");
    }
}

const ACCESS_LIST: &str = "system.posix_acl_access";

/// Lets user 1004 write through an access list, whose mask replaces the bits of the group. Returns false if there are
/// no access lists.
pub(crate) fn let_write(path: &Path) -> bool {
    let nobody = u32::MAX;
    let entries = [(1_u16, 7_u16, nobody), (2, 7, 1004), (4, 5, nobody), (16, 7, nobody), (32, 5, nobody)];
    let mut list = vec![2, 0, 0, 0];
    for (tag, rights, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    setxattr(path, ACCESS_LIST, &list, XattrFlags::empty()).is_ok()
}

/// Each command with a file or directory that controls its actions.
const DECIDING: [&str; 5] = [
    "add -R @ROOT@ --plan @FILE@",
    "list -R @ROOT@ --policy @FILE@",
    "list --roots @FILE@",
    "add -R @ROOT@ --keys @FILE@ --signature require delivered/100-01",
    "update -R @ROOT@ --allow-unsigned --cache cache -M https://127.0.0.1:1/ --ca @FILE@",
];

#[test]
fn a_file_that_somebody_else_may_write_decides_nothing() {
    for (number, line) in DECIDING.into_iter().enumerate() {
        let stage = stage();
        Patch::of("100-01", web("two\n")).directory(&stage);
        let file = stage.beside("file");
        match number {
            0 => drop(stage.run("plan -R @ROOT@ --save-plan file delivered/100-01").ok()),
            1 => fs::write(&file, "signature=off\n").unwrap(),
            2 => fs::write(&file, format!("{}\n", stage.root().display())).unwrap(),
            3 => {
                fs::create_dir(&file).unwrap();
                fs::copy(testdata("plain.pub"), file.join("plain.pub")).unwrap();
            }
            _ => fs::write(&file, "no certificate\n").unwrap(),
        }
        let refused = |what: &str| {
            let told = stage.run(&line.replace("@FILE@", "file"));
            assert!(told.code != 0 && told.stderr.contains(what), "{line}: {told:?}");
        };
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        mode(if file.is_dir() { 0o777 } else { 0o666 });
        refused("others may write to it");
        if crate::scenario::is_root() {
            mode(if file.is_dir() { 0o755 } else { 0o644 });
            std::os::unix::fs::chown(&file, Some(1004), None).unwrap();
            refused("it belongs to uid 1004");
            std::os::unix::fs::chown(&file, Some(0), Some(1004)).unwrap();
            mode(if file.is_dir() { 0o775 } else { 0o664 });
            refused("may write to it");
            std::os::unix::fs::chown(&file, Some(0), Some(0)).unwrap();
            if !let_write(&file) {
                crate::skipped("a_file_that_somebody_else_may_write_decides_nothing: no access lists here");
                continue;
            }
            refused("others may write to it");
            removexattr(&file, ACCESS_LIST).unwrap();
            mode(if file.is_dir() { 0o775 } else { 0o664 });
            let told = stage.run(&line.replace("@FILE@", "file"));
            assert!(!told.stderr.contains("may write to it"), "the group of root is nobody else: {told:?}");
        }
    }
}

#[test]
fn a_plan_file_makes_the_demand_of_the_policy_only_stricter() {
    let stage = stage();
    Patch::of("100-01", web("two\n")).directory(&stage);
    fs::create_dir(stage.beside("others")).unwrap();
    stage.run("keygen -o others/other --no-password").ok();
    stage.run("keygen -o own --no-password").ok();
    stage.run("key trust -R @ROOT@ own.pub").ok();
    stage.file("/etc/patchadm/policy", "signature=require\n");
    let options = ["--signature off", "--signature warn", "--keys others --signature require"];
    for (option, is_signed) in options.into_iter().zip([false, false, true]) {
        if is_signed {
            stage.run("sign --key others/other.sec delivered/100-01").ok();
        }
        stage.run(&format!("plan -R @ROOT@ {option} --save-plan plan.json delivered/100-01")).ok();
        stage.run("add -R @ROOT@ --plan plan.json").fails(3);
        assert_eq!(fs::read_to_string(stage.at("/opt/ACMEweb/bin/httpd")).unwrap(), "one\n", "{option}");
    }
    stage.file("/etc/patchadm/policy", "signature=off\n");
    stage.run("plan -R @ROOT@ --save-plan plan.json delivered/100-01").ok();
    let text = fs::read_to_string(stage.beside("plan.json")).unwrap();
    let stricter = text.replace("\"signature\":null", "\"signature\":\"require\"");
    assert_ne!(stricter, text);
    fs::write(stage.beside("plan.json"), stricter).unwrap();
    stage.run("add -R @ROOT@ --plan plan.json").fails(3);
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_beforehand_and_without_its_password() {
    let mut stage = stage();
    let check = |stage: &Scenario, options: &str, code: i32| {
        let run = stage
            .run(&format!("update -R @ROOT@ --signature off --cache cache {options} -M http://127.0.0.1:1/"));
        let said = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(run.code, code, "{said}");
        assert!(!said.contains("secret") && !said.contains("panicked"), "{said}");
        said
    };
    for (proxy, why) in [
        ("socks5://127.0.0.1:1", "is a SOCKS proxy"),
        ("joe:secret@127.0.0.1:1", "every user of this machine sees"),
        ("https:joe:secret@127.0.0.1:x", "every user of this machine sees"),
    ] {
        for json in ["", "--json"] {
            let said = check(&stage, &format!("{json} -x {proxy}"), 1);
            assert!(said.contains(why), "{said}");
        }
    }
    stage.set("PATCHADM_PROXY", "socks4://joe:secret@127.0.0.1:1");
    assert!(check(&stage, "", 1).contains("<socks4://...@127.0.0.1:1> is a SOCKS proxy"));
    stage.set("PATCHADM_PROXY", "joe:secret@127.0.0.1:x");
    assert!(check(&stage, "", 1).contains("is not a proxy"));
}

#[test]
fn no_operand_and_no_policy_shows_a_password_whatever_is_wrong_with_it() {
    let stage = stage();
    let no_password = |line: &str| {
        let run = stage.run(line);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(run.code != 0 || line.starts_with("status"), "{line}: {said}");
        assert!(!said.contains("secret"), "{line}: {said}");
    };
    for json in ["", "--json "] {
        for line in [
            "update -R @ROOT@ -M ftp://joe:secret@h",
            "update -R @ROOT@ -M file://joe:secret@h",
            "add -R @ROOT@ ftp://joe:secret@h/x.tar",
            "missing -R @ROOT@ -M hxtp://joe:secret@h/",
            "depot check -R @ROOT@ hxtp://joe:secret@h/",
        ] {
            no_password(&line.replacen(' ', &format!(" {json}"), 1));
        }
    }
    no_password("pkgadd -R @ROOT@ -n -d http:joe:secret@h ACMEweb");
    no_password("pkgadd -R @ROOT@ -n -d ftp://joe:secret@h ACMEweb");
    for depot in ["http:joe:secret@h/x", "hxttp://joe:secret@h/x", "https://joe:secret@h/x"] {
        stage.file("/etc/patchadm/policy", format!("depot={depot}\n"));
        no_password("update -R @ROOT@");
        no_password("update --json -R @ROOT@");
        no_password("status -R @ROOT@");
    }
}
