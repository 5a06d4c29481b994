//! Queries about files that dpkg owns and patches changed, about fixes that an upgrade overwrote, and about
//! operations that dpkg will not be able to perform: with the real dpkg.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::delivery::Patch;
use crate::native_root::{Deb, DpkgRoot, architectures, delivered, of_dpkg};
use crate::scenario::Run;

fn document(root: &DpkgRoot, line: &str) -> Value {
    serde_json::from_str(&root.unwatched(line).stdout).unwrap()
}

fn web(version: &str) -> Deb {
    Deb::new("web", version)
        .file("/bin/web", &format!("web {version}\n"))
        .file("/usr/share/web/data", &format!("data {version}\n"))
        .file("/usr/share/web/page", &format!("page {version}\n"))
        .file("/etc/web.conf", &format!("conf {version}\n"))
}

/// A root with `web` 1, adopted and patched: a file replaced, one deleted, one with another mode, one added, and a
/// configuration file.
fn patched(test: &str) -> Option<DpkgRoot> {
    let root = DpkgRoot::opened(test)?;
    root.install(&web("1"));
    root.adopt(&["web"]);
    let package = of_dpkg("web", "1")
        .file("bin/web", 0o644, "web fixed\n")
        .file("usr/share/web/page", 0o600, "page 1\n")
        .file("usr/share/web/more", 0o644, "more\n")
        .file("etc/web.conf", 0o644, "conf fixed\n")
        .deletes(&["usr/share/web/data"]);
    root.applied(&Patch::of("100-01", package));
    Some(root)
}

#[test]
fn a_path_is_found_under_every_name_of_its_directory() {
    let Some(root) = patched("a_path_is_found_under_every_name_of_its_directory") else { return };
    let by_link = root.ok("show -R @ROOT@ /bin/web");
    assert!(
        by_link.starts_with("@ROOT@/bin/web: owned by DEBweb\n  current version: as patch 100-01 left it\n  web 1 (dpkg) lists it\n  100-01  "),
        "{by_link}"
    );
    assert_eq!(root.ok("show -R @ROOT@ /usr/bin/web"), by_link, "as packages list it");
    assert_eq!(root.ok("show -R @ROOT@ /usr/bin/web"), by_link);
    let differences = root.ok("show --diff -R @ROOT@ 100-01 -- /bin/web");
    assert!(differences.contains("-web 1\n+web fixed\n"), "{differences}");
    assert_eq!(root.ok("show --diff -R @ROOT@ 100-01 -- /usr/bin/web"), differences);
    assert!(
        root.ok("show --diff -R @ROOT@ 100-01 -- /usr/bin").contains("-web 1\n"),
        "and below a directory"
    );
    let listed = root.ok("pkgchk -R @ROOT@ -l -p /bin/web");
    assert!(listed.contains("/bin/web\n") && listed.contains("\tDEBweb"), "{listed}");
    assert_eq!(root.ok("pkgchk -R @ROOT@ -l -p /usr/bin/web"), listed);
    assert_eq!(root.ok("order -R @ROOT@ /usr/bin/web"), root.ok("order -R @ROOT@ /bin/web"));
    let said = document(&root, "show --json -R @ROOT@ /usr/bin/web");
    assert_eq!(
        said["answers"][0]["native"],
        json!([{"manager": "dpkg", "name": "web", "version": "1", "listed": "/bin/web"}])
    );
}

#[test]
fn a_path_of_a_package_that_nobody_adopted_has_its_owner_named() {
    let Some(root) = patched("a_path_of_a_package_that_nobody_adopted_has_its_owner_named") else { return };
    root.install(&Deb::new("other", "7").file("/usr/bin/other", "other\n"));
    assert_eq!(
        root.ok("show -R @ROOT@ /bin/other"),
        "@ROOT@/bin/other: no package owns it\n  other 7 (dpkg) lists it as /usr/bin/other\n  \
         no applied patch changed or delivered it\n"
    );
}

#[test]
fn what_show_says_of_verifiers_is_what_these_say() {
    let Some(root) = patched("what_show_says_of_verifiers_is_what_these_say") else { return };
    let (mut verified, mut summed) = (Vec::new(), Vec::new());
    for name in ["bin/web", "etc/web.conf", "usr/share/web/data", "usr/share/web/page", "usr/share/web/more"]
    {
        let said = document(&root, &format!("show --json -R @ROOT@ /{name}"));
        for report in said["answers"][0]["verifiers"].as_array().into_iter().flatten() {
            let says = report["says"].as_str().unwrap().to_owned();
            match report["command"].as_str().unwrap() {
                "dpkg --verify web" => verified.push(says),
                "debsums web" | "debsums -a web" => summed.push(says),
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!(verified, root.dpkg_quietly("--verify web").lines().collect::<Vec<_>>());
    assert_eq!(verified.len(), 3, "mode and added files are nothing to dpkg: {verified:?}");
    assert_eq!(summed, ["/bin/web FAILED", "/etc/web.conf FAILED", "missing file /usr/share/web/data"]);
    let text = root.ok("show -R @ROOT@ /bin/web");
    assert!(text.contains("  `dpkg --verify web` says: ??5??????   /bin/web\n"), "{text}");
    let debsums = |words: &str| {
        let mut command = Command::new("debsums");
        command.arg(format!("--root={}", root.stage.root().display())).args(words.split(' '));
        let output = command.env("LC_ALL", "C").output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap().replace(root.stage.root().to_str().unwrap(), "");
        Some(said.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let Some(said) = debsums("-a web") else { return };
    for one in summed {
        assert!(said.contains(&one), "{one}: {said}");
    }
    assert!(!debsums("web").unwrap().contains("web.conf"), "it passes configuration files over");
}

#[test]
fn a_diverted_file_is_found_where_it_is_and_its_path_says_so() {
    let Some(root) = patched("a_diverted_file_is_found_where_it_is_and_its_path_says_so") else { return };
    root.done("dpkg-divert --package other --rename --divert /bin/web.real --add /bin/web");
    root.install(&Deb::new("other", "7").file("/bin/web", "another web\n"));
    for is_refreshed in [false, true] {
        if is_refreshed {
            root.refresh();
        }
        let said = root.ok("show -R @ROOT@ /usr/bin/web");
        assert!(said.contains("no package owns it\n  other 7 (dpkg) lists it"), "{said}");
        let diverted = "  the file of web is @ROOT@/bin/web.real: other diverts it (dpkg-divert)\n";
        assert!(said.contains(diverted), "{said}");
        assert!(!said.contains("100-01") && !said.contains("--verify"), "that file is not patched: {said}");
        let said = root.ok("show -R @ROOT@ /usr/bin/web.real");
        assert!(said.contains("\n  web 1 (dpkg) lists it as /bin/web\n"), "{said}");
        assert!(said.contains("  100-01  "), "{said}");
        assert!(!said.contains("dpkg --verify"), "dpkg compares no sum of what is diverted: {said}");
    }
    assert!(!root.dpkg_quietly("--verify web").contains("web.real"));
    let differences = root.ok("show --diff -R @ROOT@ 100-01 -- /bin/web");
    assert!(differences.contains("-web 1\n"), "{differences}");
    assert_eq!(root.ok("show --diff -R @ROOT@ 100-01 -- /usr/bin/web.real"), differences);
}

/// A version of a library: two files.
fn library(version: &str) -> Deb {
    Deb::new("lib", version)
        .file("/usr/lib/lib.so", &format!("lib {version}\n"))
        .file("/usr/share/lib/data", &format!("data {version}\n"))
}

/// A root with the library in version 1, adopted, and a patch of both of its files.
fn with_library(test: &str) -> Option<DpkgRoot> {
    let root = DpkgRoot::opened(test)?;
    root.install(&library("1"));
    root.adopt(&["lib"]);
    let package = of_dpkg("lib", "1")
        .param("PATCH_FIXES", "CVE-2026-1234")
        .file("usr/lib/lib.so", 0o644, "lib fixed\n")
        .file("usr/share/lib/data", 0o644, "data fixed\n");
    root.applied(&Patch::of("100-01", package));
    Some(root)
}

/// A root in which dpkg installed a patched package again: it writes the file, and keeps the configuration file.
fn with_one_file_lost(test: &str) -> Option<DpkgRoot> {
    let root = DpkgRoot::opened(test)?;
    let lib = Deb::new("lib", "1").file("/usr/share/lib/data", "data 1\n").file("/etc/lib.conf", "conf 1\n");
    root.install(&lib);
    root.adopt(&["lib"]);
    let package = of_dpkg("lib", "1").file("usr/share/lib/data", 0o644, "data fixed\n");
    root.applied(&Patch::of("100-01", package.file("etc/lib.conf", 0o644, "conf fixed\n")));
    root.install(&lib);
    Some(root)
}

/// The answers of all queries. Every scene asks all of them, so that no two disagree.
struct Told {
    list: String,
    check: i32,
    status: String,
    show: Run,
    owner: String,
    files: String,
    remove: Run,
}

fn told(root: &DpkgRoot) -> Told {
    let stdout = |line: &str| root.unwatched(line).stdout;
    Told {
        list: stdout("list -R @ROOT@"),
        check: root.unwatched("list --check -R @ROOT@").code,
        status: stdout("status --offline -R @ROOT@"),
        show: root.unwatched("show -R @ROOT@ 100-01"),
        owner: stdout("show -R @ROOT@ /usr/share/lib/data"),
        files: stdout("show --files -R @ROOT@ 100-01"),
        remove: root.unwatched("remove --dry-run -R @ROOT@ 100-01"),
    }
}

#[test]
fn a_lost_fix_is_told_by_every_query_with_what_to_type_next() {
    let test = "a_lost_fix_is_told_by_every_query_with_what_to_type_next";
    let Some(root) = with_library(test) else { return };
    root.upgrade(&library("2"));
    let lost = "LOST to lib 2 (dpkg)";
    let next = "`patchadm -R @ROOT@ add PATCH` applies a patch for lib 2; \
                `patchadm -R @ROOT@ adopt --refresh --accept 100-01` accepts the loss";
    let Told { list, check, status, show, owner, files, remove } = told(&root);
    assert_eq!((list.as_str(), check), (&*format!("100-01  {lost}\n"), 4));
    assert!(status.contains("\nLost fixes   100-01\n"), "{status}");
    for (query, text) in [("show", &show.stdout), ("files", &files)] {
        assert!(text.contains(lost) && text.contains(next), "{query}: {text}");
        assert!(
            text.contains("@ROOT@/usr/lib/lib.so\n") && text.contains("@ROOT@/usr/share/lib/data\n"),
            "{query}: {text}"
        );
    }
    assert!(owner.contains(&format!("  100-01: {lost}\n    {next}\n")), "{owner}");
    for run in [&remove, &root.unwatched("remove -R @ROOT@ 100-01")] {
        let said = &run.stderr;
        assert_eq!(run.code, 4, "{said}");
        assert!(said.contains(&format!("{lost}, at @ROOT@/usr/lib/lib.so and 1 more\n")), "{said}");
        assert!(said.contains(next), "{said}");
        assert!(!said.contains("did you mean"), "{said}");
    }
    // A patch for the version that is gone is refused by `plan`, too; a patch for the installed version brings the
    // fix back.
    let again = root.unwatched("plan -R @ROOT@ delivered/100-01");
    assert_ne!(again.code, 0);
    assert!(again.stderr.contains(lost), "{}", again.stderr);
    let second = Patch::of("100-02", of_dpkg("lib", "2").file("usr/lib/lib.so", 0o644, "lib 2 fixed\n"));
    let at = second.directory(&root.stage);
    let planned = root.ok(&format!("plan -R @ROOT@ {}", at.display()));
    assert!(planned.contains(&format!("the fix of 100-01 was {lost}; this restores it")), "{planned}");
    root.applied(&second);
    assert_eq!(root.unwatched("list --check -R @ROOT@").code, 0);
    let third = Patch::of("100-03", of_dpkg("lib", "2").file("usr/lib/lib.so", 0o644, "lib 2 better\n"));
    let at = third.directory(&root.stage);
    let planned = root.ok(&format!("plan -R @ROOT@ {}", at.display()));
    assert!(!planned.contains("this restores it"), "100-02 restored it: {planned}");

    let Some(root) = with_library(test) else { return };
    root.upgrade(&library("2"));
    root.ok("adopt --refresh --accept 100-01 -R @ROOT@");
    let Told { list, check, status, show, owner, files, remove } = told(&root);
    let accepted = "lost to lib 2 (dpkg), which was accepted";
    assert_eq!((list.as_str(), check), ("No patches are applied.\n", 0));
    assert!(status.contains("\nLost fixes   none\n"), "{status}");
    for text in [&show.stdout, &owner, &files, &remove.stderr] {
        assert!(text.contains(accepted) && !text.contains("--accept"), "{text}");
    }
}

#[test]
fn a_fix_that_is_lost_in_part_is_told_by_every_query_until_it_is_taken_out_or_accepted() {
    let test = "a_fix_that_is_lost_in_part_is_told_by_every_query_until_it_is_taken_out_or_accepted";
    let lost = "PARTLY LOST to lib 1 (dpkg)";
    let next = "`patchadm -R @ROOT@ remove 100-01` removes the rest of it; \
                `patchadm -R @ROOT@ adopt --refresh --accept 100-01` accepts the loss";
    let Some(root) = with_one_file_lost(test) else { return };
    for is_refreshed in [false, true] {
        if is_refreshed {
            let said = root.refresh();
            assert!(said.contains(&format!("100-01: {lost}\n")), "{said}");
            let remove = told(&root).remove.said();
            assert!(
                remove.contains(&format!("{lost}: nothing is restored at @ROOT@/usr/share/lib/data")),
                "{remove}"
            );
        }
        let Told { list, check, status, show, owner, files, .. } = told(&root);
        assert!(list.starts_with(&format!("100-01  {lost}  ")), "{list}");
        assert_eq!((list.lines().count(), check), (1, 4), "{list}");
        assert!(status.contains("\nLost fixes   100-01\n"), "{status}");
        assert!(status.contains("(1 not effective)"), "{status}");
        assert!(show.stdout.contains("effective, partly lost\n"), "{}", show.stdout);
        for (query, text) in [("show", &show.stdout), ("files", &files)] {
            assert!(text.contains(lost) && text.contains(next), "{query}: {text}");
            assert!(text.contains("@ROOT@/usr/share/lib/data\n"), "{query}: {text}");
        }
        assert!(owner.contains(&format!("  100-01: {lost}\n    {next}\n")), "{owner}");
        let document = document(&root, "list --json -R @ROOT@");
        assert_eq!(document["patches"][0]["state"], json!(["effective", "partly-lost"]));
        assert_eq!(document["lost"][0]["outcome"], "partly-lost");
        assert_eq!(document["lost"][0]["paths"], json!(["/usr/share/lib/data"]));
    }
    assert!(!root.ok("show -R @ROOT@ /etc/lib.conf").contains("LOST"), "that one stands");

    root.ok("adopt --refresh --accept 100-01 -R @ROOT@");
    let Told { list, check, status, show, .. } = told(&root);
    assert!(list.starts_with("100-01  effective, partly overtaken  "), "{list}");
    assert_eq!(check, 0);
    assert!(status.contains("\nLost fixes   none\n"), "{status}");
    assert!(show.stdout.contains("lost to lib 1 (dpkg), which was accepted"), "{}", show.stdout);
    assert_eq!(document(&root, "list --json -R @ROOT@")["accepted"][0]["id"], "100-01");
}

#[test]
fn a_patch_that_was_taken_out_and_applied_again_has_lost_nothing() {
    let Some(root) = with_one_file_lost("a_patch_that_was_taken_out_and_applied_again_has_lost_nothing")
    else {
        return;
    };
    root.refresh();
    root.ok("remove -R @ROOT@ 100-01");
    assert_eq!(root.content("/etc/lib.conf"), "conf 1\n");
    let run = root.unwatched("list --check -R @ROOT@");
    assert_eq!((run.code, run.stdout.as_str()), (0, "No patches are applied.\n"));
    root.ok("add -R @ROOT@ delivered/100-01");
    let run = root.unwatched("list --check -R @ROOT@");
    assert!(run.code == 0 && run.stdout.starts_with("100-01  effective  "), "{} {}", run.code, run.stdout);
    assert!(!root.ok("show -R @ROOT@ 100-01").contains("lost"));
}

#[test]
fn what_is_contained_or_went_with_its_package_is_told_and_nothing_has_to_be_done() {
    let test = "what_is_contained_or_went_with_its_package_is_told_and_nothing_has_to_be_done";
    let Some(root) = with_library(test) else { return };
    let fixed = Deb::new("lib", "2").file("/usr/lib/lib.so", "lib fixed\n");
    root.upgrade(&fixed.file("/usr/share/lib/data", "data fixed\n"));
    let Told { list, check, status, show, files, remove, .. } = told(&root);
    assert_eq!((list.as_str(), check), ("100-01  contained in lib 2 (dpkg)\n", 0));
    assert!(status.contains("\nLost fixes   none\n") && status.contains("nothing to do"), "{status}");
    for text in [&show.stdout, &files, &remove.stderr] {
        assert!(text.contains("contained in lib 2 (dpkg)") && !text.contains("--accept"), "{text}");
    }

    let Some(root) = with_library(test) else { return };
    root.dpkg_done("-r lib");
    root.refresh();
    let Told { list, check, show, files, remove, .. } = told(&root);
    assert_eq!((list.as_str(), check), ("No patches are applied.\n", 0));
    for text in [&show.stdout, &files, &remove.stderr] {
        assert!(text.contains("went with lib (dpkg)"), "{text}");
    }
}

#[test]
fn a_patch_that_would_make_dpkg_fail_says_so_when_it_is_applied_with_the_words_of_dpkg() {
    let test = "a_patch_that_would_make_dpkg_fail_says_so_when_it_is_applied_with_the_words_of_dpkg";
    let Some(root) = DpkgRoot::opened(test) else { return };
    let (own, other) = architectures();
    root.done(&format!("dpkg --add-architecture {other}"));
    let triplet = |arch: &str| {
        if arch == "amd64" { "x86_64-linux-gnu".to_owned() } else { format!("{arch}-linux-gnu") }
    };
    let library = |arch: &str| format!("/usr/lib/{}/libma.so", triplet(arch));
    let shared = |arch: &str| {
        let deb = Deb::new("ma", "1").arch(arch).field("Multi-Arch", "same").file(&library(arch), arch);
        deb.file("/usr/share/doc/ma/readme", "readme\n").file("/usr/share/ma/data", "data\n")
    };
    root.install(&shared(own));
    root.adopt(&["ma"]);
    let patch = |id: &str, files: &[(&str, &str)]| {
        let package = delivered("DEBma", own, "1");
        Patch::of(
            id,
            files.iter().fold(package, |package, (path, text)| package.file(&path[1..], 0o644, text)),
        )
    };
    let quiet = root.applied(&patch("100-01", &[(&library(own), "fixed\n")]));
    assert!(!quiet.contains("dpkg"), "what one architecture has is nobody else's: {quiet}");

    let loud = patch("200-01", &[("/usr/share/doc/ma/readme", "fixed\n"), ("/usr/share/ma/more", "more\n")]);
    let planned = root.ok(&format!("plan -R @ROOT@ {}", loud.directory(&root.stage).display()));
    let added = root.applied(&loud);
    let overwrites = "trying to overwrite shared '/usr/share/doc/ma/readme', which is different from other instances of \
                      package ma";
    let contains = "directory '/usr/share/ma' contains files not owned by package ma";
    for text in [&planned, &added] {
        assert!(text.contains(overwrites) && text.contains(contains), "{text}");
        assert!(text.contains("`patchadm -R @ROOT@ remove 200-01`"), "{text}");
    }

    root.build(&shared(other));
    let run = root.dpkg(&format!("-i [ma_1_{other}]"));
    assert!(run.code != 0 && run.stderr.contains(overwrites), "{}", run.said());
    root.dpkg(&format!("--force-remove-reinstreq -P ma:{other}"));
    let turns = "dpkg-maintscript-helper dir_to_symlink /usr/share/ma other 2~ ma -- \"$@\"";
    let next =
        Deb::new("ma", "2").arch(own).field("Multi-Arch", "same").file("/usr/share/other/data", "data\n");
    let next = next.link("/usr/share/ma", "other");
    root.build(&["preinst", "postinst", "postrm"].iter().fold(next, |deb, script| deb.script(script, turns)));
    let upgrade = format!("--force-script-chrootless -i [ma_2_{own}]");
    let run = root.dpkg(&upgrade);
    assert!(run.code != 0 && run.stderr.contains(contains), "{}", run.said());
    // The advised first step helps.
    root.refresh();
    root.ok("remove -R @ROOT@ 200-01");
    let run = root.dpkg(&upgrade);
    assert_eq!(run.code, 0, "{}", run.said());
}

#[test]
fn a_path_of_another_package_is_refused_with_its_owner_and_a_command_that_helps() {
    let test = "a_path_of_another_package_is_refused_with_its_owner_and_a_command_that_helps";
    let Some(root) = DpkgRoot::opened(test) else { return };
    root.install(&library("1"));
    root.install(&Deb::new("other", "2").file("/usr/share/other/data", "other\n"));
    root.adopt(&["lib"]);
    for package in [
        of_dpkg("lib", "1").file("usr/share/other/data", 0o644, "mine\n"),
        of_dpkg("lib", "1").deletes(&["usr/share/other/data"]),
    ] {
        let at = Patch::of("100-01", package).directory(&root.stage);
        for verb in ["plan", "add"] {
            let run = root.run(&format!("{verb} -R @ROOT@ {}", at.display()));
            assert_ne!(run.code, 0);
            let said = run.stderr;
            assert!(said.contains("@ROOT@/usr/share/other/data belongs to other 2 (dpkg)"), "{said}");
            assert!(said.contains("`patchadm -R @ROOT@ show @ROOT@/usr/share/other/data`"), "{said}");
        }
        fs::remove_dir_all(at).unwrap();
    }
    assert_eq!(root.content("/usr/share/other/data"), "other\n");
}
