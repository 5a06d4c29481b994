//! Real sources: 42 upstream packages are built from nothing, installed together into an empty root, and started
//! there.
//!
//! The archives are not in the repository. `PATCHADM_REAL_DISTFILES` names a directory that
//! `apt-get source --download-only` has filled. `PATCHADM_REAL_SET` names the `packages` of a set that was already
//! built, and is only installed and started.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::BulkBuild;
use crate::scenario::{ADMIN, Scenario, is_root};

const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bulk/real");

/// Packages with a program that runs by itself: the command, and a part of its output. The other packages are
/// libraries of these, or scripts that need more than a root with packages.
const PROGRAMS: [(&str, &str); 26] = [
    ("bzip2 --help", "1.0.8"),
    ("xz --version", "xz (XZ Utils) 5.4.1"),
    ("lz4 --version", "1.9.4"),
    ("m4 --version", "1.4.19"),
    ("tic -V", "ncurses 6.4"),
    ("gdbmtool --version", "1.23"),
    ("pcre2grep --version", "10.42"),
    ("xmlwf -v", "expat_2.5.0"),
    ("xmllint --version", "20914"),
    ("xsltproc --version", "10135"),
    ("jq --version", "jq-1.6"),
    ("less --version", "less 590"),
    ("sed --version", "4.9"),
    ("grep --version", "3.8"),
    ("gawk --version", "5.2.1"),
    ("file --version", "file-5.44"),
    ("nano --version", "7.2"),
    ("nettle-hash --help", "Usage: nettle-hash"),
    ("asn1Decoding --version", "4.19.0"),
    ("gpg-error --version", "1.46"),
    ("mpicalc --version", "1.10.1"),
    ("idn2 --version", "2.3.3"),
    ("lua -v", "Lua 5.4.4"),
    ("pngfix", "Usage: "),
    ("tmux -V", "tmux: need UTF-8 locale"),
    ("pcre2test -C", "10.42"),
];

/// The libraries of the base: those of the C library.
const BASE: [&str; 6] =
    ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libresolv.so.2", "librt.so.1"];

#[test]
fn the_real_tree_is_resolved_in_four_levels_and_names_the_digest_of_each_archive() {
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for recipe in recipes() {
        let text = fs::read_to_string(&recipe).unwrap();
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let [_, sha256, size] = value("DISTFILES=").split(':').collect::<Vec<_>>().try_into().unwrap();
        assert!(sha256.len() == 64 && size.parse::<u64>().is_ok(), "{}", recipe.display());
        let needed = value("ALL_DEPENDS=").split_ascii_whitespace();
        let needed = needed.map(|item| item.split_once("-[0-9]*:").unwrap().0.to_owned()).collect();
        needs.insert(value("PKGNAME=").rsplit_once('-').unwrap().0.to_owned(), needed);
    }
    assert!(needs.len() >= 40, "{} recipes", needs.len());
    let mut levels: BTreeMap<&str, usize> = BTreeMap::new();
    while levels.len() < needs.len() {
        let before = levels.len();
        for (package, needed) in &needs {
            let below: Option<Vec<usize>> = needed.iter().map(|one| levels.get(&**one).copied()).collect();
            if let Some(below) = below {
                levels.insert(package, below.into_iter().max().map_or(1, |level| level + 1));
            }
        }
        assert!(levels.len() > before, "a circle, or what no recipe makes: {needs:?}");
    }
    assert!(levels.values().max() >= Some(&4), "{levels:?}");
}

#[test]
fn real_sources_are_built_from_nothing_installed_together_and_start() {
    let test = "real_sources_are_built…";
    if !crate::has("tar", test) || !crate::has("unshare", test) {
        return;
    }
    let Some(set) = std::env::var_os("PATCHADM_REAL_SET").map(PathBuf::from) else {
        let Some(distfiles) = std::env::var_os("PATCHADM_REAL_DISTFILES") else {
            crate::skipped(&format!("{test}: PATCHADM_REAL_DISTFILES names no directory with the archives"));
            return;
        };
        let settings = format!("distfiles={}\nslot=local 2\n", Path::new(&distfiles).display());
        let Some(build) = BulkBuild::of_real(test, &settings) else { return };
        let run = build.run("").ends(0);
        assert_eq!(run.in_state("done").len(), recipes().len());
        assert_eq!(run.report["set"]["packages"].as_u64(), Some(recipes().len() as u64));
        // Packages with the same dependencies share one installed set.
        let lists = fs::read_dir(build.work().join("build/installed")).unwrap().count();
        assert!(lists < recipes().len(), "{lists} lists of installed packages");
        assert_set_works(&build.work().join("sets/current/packages"), &build.scenario);
        return;
    };
    assert_set_works(&set, &Scenario::on_disk());
}

fn recipes() -> Vec<PathBuf> {
    let below =
        |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let categories = below(Path::new(TREE)).into_iter().filter(|path| path.is_dir());
    let recipes = categories.flat_map(|category| below(&category)).map(|location| location.join("recipe"));
    let mut recipes: Vec<PathBuf> = recipes.filter(|recipe| recipe.is_file()).collect();
    recipes.sort();
    recipes
}

/// Installs all packages of a set into an empty root with the C library, and asserts that each finds its libraries
/// and starts.
fn assert_set_works(set: &Path, stage: &Scenario) {
    let mut packages: Vec<PathBuf> = fs::read_dir(set).unwrap().map(|entry| entry.unwrap().path()).collect();
    packages.sort();
    assert_eq!(packages.len(), recipes().len());
    fs::write(stage.beside("admin"), ADMIN).unwrap();
    for package in &packages {
        let admin = stage.beside("admin");
        let line = format!("pkgadd -n -R @ROOT@ -a {} -d {} all", admin.display(), package.display());
        let installed = stage.run(&line);
        assert_eq!(installed.code, 0, "{line}\n{}{}", installed.stdout, installed.stderr);
    }
    add_base(stage);
    let objects: Vec<PathBuf> =
        objects_below(&stage.at("/opt/real")).into_iter().filter(|path| is_elf(path)).collect();
    assert!(objects.len() > 80, "{} programs and libraries", objects.len());
    for object in objects {
        let inside = Path::new("/").join(object.strip_prefix(stage.root()).unwrap());
        let (found, said) =
            in_root(stage, &["/lib64/ld-linux-x86-64.so.2", "--list", inside.to_str().unwrap()]);
        let is_static = said.contains("statically linked");
        assert!((found && !said.contains("not found")) || is_static, "{}: {said}", inside.display());
    }
    for (line, says) in PROGRAMS {
        let mut words: Vec<&str> = line.split(' ').collect();
        let program = format!("/opt/real/bin/{}", words[0]);
        words[0] = &program;
        let (_, said) = in_root(stage, &words);
        assert!(said.contains(says) && !said.contains("error while loading"), "{line}: {said}");
    }
}

/// Puts the C library of this machine into the root.
fn add_base(stage: &Scenario) {
    let output = Command::new("ldd").arg("/bin/ls").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let paths: Vec<&Path> =
        text.split_ascii_whitespace().filter(|word| word.starts_with('/')).map(Path::new).collect();
    let path_of = |name: &str| paths.iter().find(|path| path.ends_with(name)).copied();
    // The loader is at the path that programs name; the libraries are next to the C library.
    let beside = path_of("libc.so.6").unwrap().parent().unwrap();
    let libraries = BASE.iter().map(|name| beside.join(name)).filter(|path| path.is_file());
    let loader = paths.iter().find(|path| path.to_str().is_some_and(|path| path.contains("/ld-linux")));
    for path in libraries.chain(loader.map(|path| path.to_path_buf())) {
        let inside = path.to_str().unwrap();
        stage.file(inside, fs::read(&path).unwrap());
        stage.mode(inside, 0o755);
    }
}

fn objects_below(top: &Path) -> Vec<PathBuf> {
    let mut open = vec![top.to_owned()];
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}

/// True if a file is a program or a shared library. Relocatable objects and archives are neither.
fn is_elf(path: &Path) -> bool {
    let mut head = [0; 18];
    let file = fs::File::open(path).unwrap();
    let read = std::os::unix::fs::FileExt::read_at(&file, &mut head, 0).unwrap();
    read == head.len() && head.starts_with(b"\x7fELF") && [2, 3].contains(&head[16])
}

/// Runs a command with the root as its `/`; returns whether it succeeded, and its output.
fn in_root(stage: &Scenario, words: &[&str]) -> (bool, String) {
    let mut inside = Command::new("unshare");
    inside.args(["--map-root-user", "--root"]).arg(stage.root()).args(words);
    inside.env_clear().env("TERM", "dumb").env("LC_ALL", "C").stdin(std::process::Stdio::null());
    let output = inside.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

impl BulkBuild {
    /// A bulk build of the tree of real sources.
    fn of_real(test: &str, settings: &str) -> Option<Self> {
        let build = Self::empty(test, !is_root())?;
        let copied = Command::new("cp").args(["-RP", TREE]).arg(build.tree()).status().unwrap();
        assert!(copied.success());
        build.begin("--driver recipes", settings);
        Some(build)
    }
}
