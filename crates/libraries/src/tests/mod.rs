//! Programs and libraries described by words, and what each of them loads.

mod decisions;
mod fast_path;
mod reasons;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::elf::{DlopenNote, ElfFacts, ElfMachine};
use patchadm_svr4::package::ObjectPath;

const X86_64: ElfMachine = ElfMachine { number: 62, is_64: true };
const I386: ElfMachine = ElfMachine { number: 3, is_64: false };

fn at(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap()
}

fn words(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A root of programs and libraries.
#[derive(Default)]
struct Root {
    tree: LibraryTree,
    settings: LoaderSettings,
    links: BTreeMap<ObjectPath, Vec<u8>>,
}

impl Root {
    fn file(&mut self, path: &str, facts: ElfFacts) -> &mut Self {
        let facts =
            ElfFacts { machine: if facts.machine.number == 0 { X86_64 } else { facts.machine }, ..facts };
        self.tree.put_file(at(path), Arc::new(LibraryFile { facts: Arc::new(facts) }));
        self
    }

    fn library(&mut self, path: &str, needed: &[&str]) -> &mut Self {
        let soname = path.rsplit('/').next().map(str::to_owned);
        self.file(path, ElfFacts { soname, needed: words(needed), ..ElfFacts::default() })
    }

    /// Returns the target of a link that was made.
    fn target(&self, path: &ObjectPath) -> Vec<u8> {
        self.links.get(path).cloned().unwrap()
    }

    fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.tree.put_link(at(path), target.as_bytes());
        self.links.insert(at(path), target.as_bytes().to_vec());
        self
    }

    /// Returns the libraries that a program loads: each name, and the path where it was found.
    fn loads(&self, path: &str) -> Vec<String> {
        let loading = Loader::new(&self.tree, &self.settings).load(&at(path)).unwrap();
        let told = |need: &LibraryNeed| match need.found {
            Some(index) => format!("{} {}", loading.name(need), loading.objects[index].way.path),
            None => format!("{} not found", loading.name(need)),
        };
        loading.all_needs().map(|(_, _, need)| told(need)).collect()
    }
}

fn program(needed: &[&str]) -> ElfFacts {
    ElfFacts { file_type: 2, needed: words(needed), ..ElfFacts::default() }
}

#[test]
fn an_rpath_is_inherited_and_a_runpath_is_not() {
    let mut root = Root::default();
    root.library("/own/liba.so", &["libb.so"]).library("/own/libb.so", &[]);
    root.file("/bin/p", ElfFacts { rpath: Some("/own".into()), ..program(&["liba.so"]) });
    root.file("/bin/q", ElfFacts { runpath: Some("/own".into()), ..program(&["liba.so"]) });
    assert_eq!(root.loads("/bin/p"), ["liba.so /own/liba.so", "libb.so /own/libb.so"]);
    assert_eq!(root.loads("/bin/q"), ["liba.so /own/liba.so", "libb.so not found"]);
}

#[test]
fn an_inherited_path_of_more_directories_than_any_program_has_is_not_searched() {
    let mut root = Root::default();
    root.library("/own/liba.so", &["libb.so"]).library("/own/libb.so", &[]);
    let path = |directories: usize| {
        let nowhere = (0..directories).map(|number| format!("/nowhere/{number}"));
        nowhere.chain(["/own".to_owned()]).collect::<Vec<_>>().join(":")
    };
    root.file("/bin/p", ElfFacts { rpath: Some(path(1000)), ..program(&["liba.so"]) });
    root.file("/bin/q", ElfFacts { rpath: Some(path(70_000)), ..program(&["liba.so"]) });
    assert_eq!(root.loads("/bin/p"), ["liba.so /own/liba.so", "libb.so /own/libb.so"]);
    assert_eq!(root.loads("/bin/q"), ["liba.so /own/liba.so", "libb.so not found"]);
}

#[test]
fn who_has_a_runpath_inherits_no_rpath() {
    let mut root = Root::default();
    let runpath = Some("/elsewhere".to_owned());
    let facts = ElfFacts { needed: words(&["libb.so"]), runpath, ..ElfFacts::default() };
    root.file("/own/liba.so", facts).library("/own/libb.so", &[]);
    root.file("/bin/p", ElfFacts { rpath: Some("/own".into()), ..program(&["liba.so"]) });
    assert_eq!(root.loads("/bin/p"), ["liba.so /own/liba.so", "libb.so not found"]);
}

#[test]
fn a_library_that_is_loaded_under_the_same_soname_is_taken_whoever_asks() {
    let mut root = Root::default();
    root.library("/one/libz.so.1", &[]).library("/two/libz.so.1", &[]);
    let two = Some("/two".to_owned());
    let facts = ElfFacts { needed: words(&["libz.so.1"]), runpath: two, ..ElfFacts::default() };
    root.file("/one/liba.so", facts);
    root.file("/bin/p", ElfFacts { runpath: Some("/one".into()), ..program(&["libz.so.1", "liba.so"]) });
    let expected = ["libz.so.1 /one/libz.so.1", "liba.so /one/liba.so", "libz.so.1 /one/libz.so.1"];
    assert_eq!(root.loads("/bin/p"), expected);
}

#[test]
fn origin_is_where_the_file_was_opened_and_links_are_followed_inside_the_root() {
    let mut root = Root::default();
    root.library("/opt/acme/lib/liba.so.1.2", &[]).link("/opt/acme/lib/liba.so.1", "liba.so.1.2");
    root.link("/srv", "../../opt");
    for origin in ["$ORIGIN/../lib", "${ORIGIN}/../../../../srv/acme/lib"] {
        root.file("/opt/acme/bin/p", ElfFacts { runpath: Some(origin.into()), ..program(&["liba.so.1"]) });
        assert_eq!(root.loads("/opt/acme/bin/p"), ["liba.so.1 /opt/acme/lib/liba.so.1.2"], "{origin}");
    }
    let loading = Loader::new(&root.tree, &root.settings).load(&at("/opt/acme/bin/p")).unwrap();
    assert_eq!(loading.objects[1].way.links, [at("/srv"), at("/opt/acme/lib/liba.so.1")]);
}

#[test]
fn a_program_that_is_loaded_again_is_opened_as_before() {
    let mut root = Root::default();
    root.library("/lib/liba.so.1", &[]).file("/bin/p", program(&["liba.so.1"]));
    let mut loader = Loader::new(&root.tree, &root.settings);
    let mut numbers =
        || loader.load(&at("/bin/p")).unwrap().objects.iter().map(|one| one.number.index()).collect();
    let first: Vec<usize> = numbers();
    assert_eq!((first, numbers()), (vec![0, 1], vec![0, 1]));
}

#[test]
fn a_loader_that_is_asked_to_end_looks_for_nothing_more() {
    let mut root = Root::default();
    root.library("/lib/liba.so.1", &["libb.so.1"]).library("/lib/libb.so.1", &[]);
    root.file("/bin/p", program(&["liba.so.1"]));
    // It is asked once before a program, and once for each name.
    for (asked_until, loaded) in [(0, None), (1, Some(1)), (2, Some(2)), (3, Some(3))] {
        let asked = AtomicU32::new(0);
        let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) + 1 > asked_until).then_some(15);
        let mut loader = Loader::new(&root.tree, &root.settings).ended_by(&interrupt);
        let loading = loader.load(&at("/bin/p"));
        assert_eq!(loading.map(|loading| loading.objects.len()), loaded, "{asked_until}");
        assert!(loader.load(&at("/bin/p")).is_none(), "{asked_until}");
    }
}

#[test]
fn links_that_lead_in_a_circle_lead_nowhere() {
    let mut root = Root::default();
    root.link("/lib/liba.so", "libb.so").link("/lib/libb.so", "liba.so");
    root.file("/bin/p", program(&["liba.so"]));
    assert_eq!(root.loads("/bin/p"), ["liba.so not found"]);
}

/// Without that, the links would be walked for each directory: some hundred million steps.
#[test]
fn a_chain_of_links_before_thousands_of_directories_is_followed_once() {
    let mut root = Root::default();
    for number in 0..39 {
        let round = format!("{}{}l{}", "d/".repeat(660), "../".repeat(660), number + 1);
        root.link(&format!("/tmp/l{number}"), &round);
    }
    root.library("/tmp/l39/5999/libx.so", &[]);
    let directories: Vec<String> = (0..6000).map(|number| format!("/tmp/l0/{number}")).collect();
    root.file("/bin/p", ElfFacts { runpath: Some(directories.join(":")), ..program(&["libx.so"]) });
    assert_eq!(root.loads("/bin/p"), ["libx.so /tmp/l39/5999/libx.so"]);
}

#[test]
fn whoever_asks_a_loader_to_end_need_not_wait_for_a_list_of_directories() {
    let mut root = Root::default();
    root.library("/9/libx.so", &[]);
    let list = (0..10).map(|number| format!("/{number}")).collect::<Vec<_>>().join(":");
    root.file("/bin/p", ElfFacts { runpath: Some(list), ..program(&["libx.so"]) });
    let asked = AtomicU32::new(0);
    let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) > 5).then_some(15);
    let loading = Loader::new(&root.tree, &root.settings).ended_by(&interrupt).load(&at("/bin/p"));
    assert_eq!(loading.map(|loading| loading.objects.len()), Some(1), "the library was not come to");
    assert!(asked.into_inner() < 10);
}

/// Follows a path step by step, and nothing twice.
fn followed_plainly(
    root: &BTreeMap<String, Option<String>>,
    path: &str,
    links: &mut usize,
) -> Option<String> {
    let mut at: Vec<String> = Vec::new();
    let mut rest: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
    while let Some(name) = rest.pop() {
        match name.as_str() {
            "" | "." => continue,
            _ if root.get(&format!("/{}", at.join("/"))) == Some(&None) => return None,
            ".." => drop(at.pop()),
            _ => at.push(name),
        }
        if let Some(Some(target)) = root.get(&format!("/{}", at.join("/"))) {
            *links += 1;
            if *links > 40 {
                return None;
            }
            at.pop();
            at = if target.starts_with('/') { Vec::new() } else { at };
            rest.extend(target.rsplit('/').map(str::to_owned));
        }
    }
    let at = format!("/{}", at.join("/"));
    (root.get(&at) == Some(&None)).then_some(at)
}

#[test]
fn whatever_was_followed_before_a_path_leads_where_its_links_lead() {
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        dice = dice.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (dice >> 33) % below
    };
    let (mut found, mut lost) = (0, 0);
    for _ in 0..300 {
        let mut name = |depth: u64, words: u64| {
            let mut name = || ["a", "b", "c", "..", "."][usize::try_from(draw(words)).unwrap()];
            (0..depth).map(|_| name()).collect::<Vec<_>>().join("/")
        };
        let mut plain: BTreeMap<String, Option<String>> = BTreeMap::new();
        let mut root = Root::default();
        for number in 0..14_u64 {
            let path = format!("/{}", name(1 + number % 3, 3));
            if number % 5 == 0 {
                root.library(&path, &[]);
                plain.insert(path, None);
            } else {
                let slash = if number % 3 == 0 { "/" } else { "" };
                let target = format!("{slash}{}", name(1 + number % 4, 5));
                root.link(&path, &target);
                plain.insert(path, Some(target));
            }
        }
        let mut follower = root.tree.follower();
        for number in 0..60_u64 {
            let path = format!("/{}", name(1 + number % 4, 5));
            let way = follower.follow(path.as_bytes());
            let (mut links, expected) = (0, followed_plainly(&plain, &path, &mut 0));
            followed_plainly(&plain, &path, &mut links);
            assert_eq!(way.as_ref().map(|way| way.path.to_string()), expected, "{path} in {plain:?}");
            assert!(way.is_none_or(|way| way.links.len() == links), "{path} in {plain:?}");
            *(if expected.is_some() { &mut found } else { &mut lost }) += 1;
        }
    }
    assert!(found > 300 && lost > 300, "{found} {lost}");
}

#[test]
fn a_candidate_of_another_machine_is_passed_over() {
    let mut root = Root::default();
    root.settings.directories = words(&["/first"]);
    let soname = Some("liba.so.1".to_owned());
    root.file("/first/liba.so.1", ElfFacts { machine: I386, soname, ..ElfFacts::default() });
    root.library("/usr/lib/x86_64-linux-gnu/liba.so.1", &[]).file("/bin/p", program(&["liba.so.1"]));
    assert_eq!(root.loads("/bin/p"), ["liba.so.1 /usr/lib/x86_64-linux-gnu/liba.so.1"]);
}

#[test]
fn a_name_with_a_slash_is_a_path_and_one_that_is_relative_is_not_known() {
    let mut root = Root::default();
    root.library("/opt/liba.so", &[]);
    root.file("/bin/p", program(&["/opt/liba.so", "$ORIGIN/../opt/liba.so", "opt/liba.so"]));
    let expected =
        ["/opt/liba.so /opt/liba.so", "$ORIGIN/../opt/liba.so /opt/liba.so", "opt/liba.so not found"];
    assert_eq!(root.loads("/bin/p"), expected);
}

#[test]
fn a_library_is_found_by_its_soname_where_ldconfig_looks_and_nowhere_else() {
    let mut root = Root::default();
    root.settings.directories = words(&["/opt/lib"]);
    for (path, soname) in [("/opt/lib/liba.so.1.2", "liba.so.1"), ("/own/libb.so.1.2", "libb.so.1")] {
        root.file(path, ElfFacts { soname: Some(soname.into()), ..ElfFacts::default() });
    }
    root.file("/bin/p", ElfFacts { runpath: Some("/own".into()), ..program(&["liba.so.1", "libb.so.1"]) });
    assert_eq!(root.loads("/bin/p"), ["liba.so.1 /opt/lib/liba.so.1.2", "libb.so.1 not found"]);
}

#[test]
fn who_forbids_the_default_directories_is_not_searched_for_there() {
    let mut root = Root::default();
    root.settings.directories = words(&["/usr/lib", "/opt/lib"]);
    root.library("/usr/lib/liba.so", &[]).library("/opt/lib/libb.so", &[]);
    root.file("/bin/p", ElfFacts { flags: 0x800, ..program(&["liba.so", "libb.so"]) });
    assert_eq!(root.loads("/bin/p"), ["liba.so not found", "libb.so /opt/lib/libb.so"]);
}

#[test]
fn an_interpreter_is_loaded_and_known_by_its_name() {
    let mut root = Root::default();
    root.library("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", &[]).link("/lib64", "lib/x86_64-linux-gnu");
    root.library("/lib/libc.so.6", &["ld-linux-x86-64.so.2"]);
    let interpreter = Some("/lib64/ld-linux-x86-64.so.2".to_owned());
    root.file("/bin/p", ElfFacts { interpreter, ..program(&["libc.so.6"]) });
    let real = "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2";
    let expected = [
        format!("/lib64/ld-linux-x86-64.so.2 {real}"),
        "libc.so.6 /lib/libc.so.6".to_owned(),
        format!("ld-linux-x86-64.so.2 {real}"),
    ];
    assert_eq!(root.loads("/bin/p"), expected);
}

#[test]
fn what_is_preloaded_is_loaded_by_every_program() {
    let mut root = Root::default();
    root.settings.preload = words(&["/opt/libx.so", "liby.so"]);
    root.library("/opt/libx.so", &["libz.so"]).library("/lib/liby.so", &[]).file("/bin/p", program(&[]));
    let expected = ["/opt/libx.so /opt/libx.so", "liby.so /lib/liby.so", "libz.so not found"];
    assert_eq!(root.loads("/bin/p"), expected);
}

#[test]
fn a_note_is_met_by_any_of_its_names() {
    let mut root = Root::default();
    let note = DlopenNote { soname: words(&["libx.so.2", "libx.so.1"]), priority: "suggested".into() };
    root.library("/lib/libx.so.1", &["liby.so"]).library("/lib/liby.so", &[]);
    root.file("/bin/p", ElfFacts { dlopen: vec![note], ..program(&[]) });
    assert_eq!(root.loads("/bin/p"), ["libx.so.1 /lib/libx.so.1", "liby.so /lib/liby.so"]);
}

#[test]
fn musl_inherits_runpaths_has_its_own_directories_and_its_own_libraries() {
    let mut root = Root::default();
    root.library("/own/liba.so", &["libb.so", "libpthread.so.0"]).library("/own/libb.so", &[]);
    root.library("/lib/ld-musl-x86_64.so.1", &[]).library("/usr/local/lib/libc.so.9", &[]);
    root.library("/opt/m/libd.so", &[]);
    let interpreter = Some("/lib/ld-musl-x86_64.so.1".to_owned());
    let facts = ElfFacts { interpreter, runpath: Some("/own".into()), ..program(&["liba.so", "libd.so"]) };
    root.file("/bin/p", facts);
    let expected = [
        "/lib/ld-musl-x86_64.so.1 /lib/ld-musl-x86_64.so.1",
        "liba.so /own/liba.so",
        "libd.so not found",
        "libb.so /own/libb.so",
        "libpthread.so.0 /lib/ld-musl-x86_64.so.1",
    ];
    assert_eq!(root.loads("/bin/p"), expected);
    root.settings.musl.insert("x86_64".into(), words(&["/opt/m"]));
    assert_eq!(root.loads("/bin/p")[2], "libd.so /opt/m/libd.so");
}

#[test]
fn libraries_that_need_each_other_are_loaded_once() {
    let mut root = Root::default();
    root.library("/lib/liba.so", &["libb.so"]).library("/lib/libb.so", &["liba.so"]);
    root.file("/bin/p", program(&["liba.so"]));
    let expected = ["liba.so /lib/liba.so", "libb.so /lib/libb.so", "liba.so /lib/liba.so"];
    assert_eq!(root.loads("/bin/p"), expected);
    assert_eq!(root.loads("/lib/liba.so"), ["libb.so /lib/libb.so", "liba.so /lib/liba.so"]);
}

/// The files below `etc`.
struct Files(BTreeMap<&'static str, &'static str>);

impl ConfigFiles for Files {
    fn content(&self, path: &ObjectPath) -> Option<Vec<u8>> {
        self.0.get(path.to_string().as_str()).map(|text| text.as_bytes().to_vec())
    }

    fn names(&self, directory: &ObjectPath) -> Vec<Vec<u8>> {
        let paths = self.0.keys().map(|path| at(path));
        paths
            .filter(|path| path.parent().as_ref() == Some(directory))
            .map(|path| path.name().to_vec())
            .collect()
    }
}

#[test]
fn settings_are_read_with_their_includes_each_file_once() {
    let files = Files(BTreeMap::from([
        ("/etc/ld.so.conf", "include ld.so.conf.d/*.conf /etc/more\n/own # ours\nhwcap 1 nosegneg\n"),
        ("/etc/ld.so.conf.d/b.conf", "/b\n"),
        ("/etc/ld.so.conf.d/a.conf", "/a/ /a2:/a3\ninclude /etc/ld.so.conf\ninclude /etc/ld.so.conf.d/*\n"),
        ("/etc/ld.so.conf.d/README", "/not/a/conf\n"),
        ("/etc/more", "/a\n/more=libc6\nrelative\n"),
        ("/etc/ld.so.preload", "/lib/x.so  y.so:z.so # all\n"),
        ("/etc/ld-musl-aarch64.path", "/lib:/usr/lib\n/opt/lib\n"),
    ]));
    let settings = LoaderSettings::read(&files);
    assert_eq!(settings.directories, ["/a", "/a2", "/a3", "/not/a/conf", "/b", "/more", "/own"]);
    assert_eq!(settings.preload, ["/lib/x.so", "y.so", "z.so"]);
    assert_eq!(settings.musl["aarch64"], ["/lib", "/usr/lib", "/opt/lib"]);
}

/// Each program tries all of them.
#[test]
fn no_more_libraries_are_preloaded_than_anybody_has() {
    let names = "/x.so ".repeat(150_000);
    let files = Files(BTreeMap::from([("/etc/ld.so.preload", names.leak() as &str)]));
    assert_eq!(LoaderSettings::read(&files).preload.len(), 64);
}
