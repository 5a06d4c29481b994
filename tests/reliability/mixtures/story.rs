//! The material of the stories: one package with objects of every type and class, and patches of it that are drawn at
//! random.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, fs};

use crate::delivery::Patch;
use crate::packages::{DELIVERED, Package};
use crate::random::Random;
use crate::scenario::Scenario;

pub(super) const PACKAGE: &str = "ACMEweb";

pub(super) const BASEDIR: &str = "/opt/ACMEweb";

/// The most patches of a story.
const PATCHES: usize = 6;

const CLASSES: &str = "none preserve build marks";

/// A class script of the package's own, which reads the existing file: it writes the old marks and a new one.
const MARKS: &str = "while read from to; do { echo marked; cat \"$from\"; } > \"$to\"; done\nexit 0\n";

/// The files that an administrator edits.
pub(super) const EDITABLE: [&str; 5] = ["bin/b", "etc/plain", "etc/kept", "share/marked", "var/log"];

/// The effect of a patch on a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Object {
    File { ftype: char, class: &'static str, mode: u32, text: String },
    Symlink(&'static str),
    Link(&'static str),
    Pipe(u32),
    Directory(u32),
    Deleted,
}

/// The engine that applies a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Engine {
    Native,
    /// The patch's own scripts, which keep its records.
    Script,
}

impl Engine {
    /// The value of the option `--scripts`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Script => "run",
        }
    }
}

/// One patch.
#[derive(Clone, Debug, Default)]
pub(super) struct Made {
    pub(super) base: usize,
    pub(super) revision: usize,
    pub(super) obsoletes: Vec<String>,
    pub(super) requires: Vec<String>,
    pub(super) word: Option<usize>,
    pub(super) has_label: bool,
    pub(super) has_no_undo: bool,
    pub(super) objects: BTreeMap<String, Object>,
}

/// The objects that can be at a path, in all patches together. The first is that of the base, if it has any.
fn choices(path: &str) -> Vec<Object> {
    let file = |ftype, class, mode, number: usize| {
        let text =
            if class == "build" { format!("echo built {number}\n") } else { format!("{path} {number}\n") };
        Object::File { ftype, class, mode, text }
    };
    let files = |ftype, class| {
        vec![file(ftype, class, 0o644, 0), file(ftype, class, 0o644, 1), file(ftype, class, 0o600, 2)]
    };
    let mut choices = match path {
        "etc/plain" => files('e', "none"),
        "etc/kept" => files('e', "preserve"),
        "etc/built" => files('e', "build"),
        "share/marked" => files('f', "marks"),
        "var/log" => files('v', "none"),
        "lib/hard" => vec![Object::Link("../bin/a")],
        "lib/soft" => vec![Object::Symlink("one"), Object::Symlink("two"), Object::Deleted],
        "share/pipe" => vec![Object::Pipe(0o620), Object::Pipe(0o600), Object::Deleted],
        "share/directory" | "new/dir" => vec![Object::Directory(0o755), Object::Directory(0o750)],
        _ => files('f', "none"),
    };
    match path {
        "lib/any" => {
            let others =
                [Object::Symlink("../bin/a"), Object::Pipe(0o640), Object::Directory(0o755), Object::Deleted];
            choices.extend(others);
        }
        "bin/b" | "new/dir/tool" => choices.push(Object::Deleted),
        _ => {}
    }
    choices
}

/// The paths of the base.
const OF_BASE: [&str; 12] = [
    "bin/a",
    "bin/b",
    "etc/plain",
    "etc/kept",
    "etc/built",
    "share/marked",
    "var/log",
    "lib/hard",
    "lib/soft",
    "lib/any",
    "share/pipe",
    "share/directory",
];

/// The paths that only patches have.
const NEW: [&str; 3] = ["new/dir", "new/dir/tool", "new/other"];

/// The package without patches.
pub(super) fn base() -> Package {
    let package = Package::new(PACKAGE).param("CLASSES", CLASSES).information("i.marks", MARKS);
    let package = package.information("copyright", "of the base\n");
    OF_BASE.iter().fold(package, |package, path| with(package, path, &choices(path)[0]))
}

/// Adds the object at a path to a package.
fn with(package: Package, path: &str, object: &Object) -> Package {
    match object {
        Object::File { ftype, class, mode, text } => package.of_class(class, *ftype, path, *mode, text),
        Object::Symlink(target) => package.symlink(path, target),
        Object::Link(target) => package.link(path, target),
        Object::Pipe(mode) => package.line(path, &format!("p none {path} {mode:04o} root root")),
        Object::Directory(mode) => package.line(path, &format!("d none {path} {mode:04o} root root")),
        Object::Deleted => package,
    }
}

/// Draws the patches of a story.
pub(super) fn patches(random: &mut Random) -> Vec<Made> {
    let mut patches: Vec<Made> = Vec::new();
    let most = random.below(PATCHES - 1).min(random.below(PATCHES - 1));
    for number in 0..2 + most {
        patches.push(patch(random, number, &patches));
    }
    patches
}

fn patch(random: &mut Random, number: usize, earlier: &[Made]) -> Made {
    let mut made = Made { base: 100 + number, revision: 1, ..Made::default() };
    if !earlier.is_empty() {
        if random.once_in(3) {
            let base = random.one(earlier).base;
            let last = earlier.iter().rfind(|other| other.base == base).expect("it has a patch");
            made =
                Made { base, revision: last.revision + 1, objects: last.objects.clone(), ..Made::default() };
        }
        if random.once_in(4) {
            made.obsoletes.push(random.one(earlier).id());
        }
        if random.once_in(5) {
            made.requires.push(random.one(earlier).id());
        }
    }
    if random.once_in(4) {
        made.obsoletes.push(format!("90-0{}", 1 + random.below(2)));
    }
    made.obsoletes.dedup();
    made.word = random.once_in(3).then(|| random.below(3));
    made.has_label = random.once_in(4);
    made.has_no_undo = random.once_in(20);
    for _ in 0..=random.below(5) {
        let path = (*random.one(&[&OF_BASE[..], &NEW[..]].concat())).to_owned();
        let object = random.one(&choices(&path)).clone();
        made.objects.insert(path, object);
    }
    if random.once_in(2) {
        let path = format!("own/{}", made.base);
        let object = choices(&path)[random.below(3)].clone();
        made.objects.insert(path, object);
    }
    made
}

impl Made {
    pub(super) fn id(&self) -> String {
        format!("{}-{:02}", self.base, self.revision)
    }

    /// True if it is a later patch that makes `other` count as replaced.
    pub(super) fn obsoletes(&self, other: &Self) -> bool {
        let is_same = |id: &String| id.split('-').next() == other.id().split('-').next();
        self.base == other.base && self.revision > other.revision
            || self.obsoletes.iter().any(|id| is_same(id) && *id >= other.id())
    }

    /// True if it delivers or deletes a path that an earlier patch has changed, or delivers something below a path that
    /// the earlier patch delivered anew or with another type. Directories that were only made on the way stay for
    /// whoever uses them.
    pub(super) fn needs(&self, changed: &str, is_made: bool) -> bool {
        let is_below = |path: &str| path.strip_prefix(changed).is_some_and(|rest| rest.starts_with('/'));
        let mut delivered = self.objects.iter().filter(|(_, object)| **object != Object::Deleted);
        self.objects.contains_key(changed) || is_made && delivered.any(|(path, _)| is_below(path))
    }

    /// Writes it beside a root, in the directory with the name of the engine that is to apply it.
    pub(super) fn deliver(&self, beside: &Scenario, engine: Engine) {
        let mut package = Package::new(PACKAGE).param("CLASSES", CLASSES);
        for (path, object) in &self.objects {
            package = with(package, path, object);
        }
        let is_deleted =
            |(path, object): (&String, &Object)| (*object == Object::Deleted).then(|| path.clone());
        let deleted: Vec<String> = self.objects.iter().filter_map(is_deleted).collect();
        if !deleted.is_empty() {
            package = package.deletes(&deleted.iter().map(String::as_str).collect::<Vec<_>>());
        }
        for (name, script) in if engine == Engine::Script { scripts() } else { BTreeMap::new() } {
            package = package.information(&name, script);
        }
        package = package.param("SUNW_OBSOLETES", &self.obsoletes.join(" "));
        package = package.param("SUNW_REQUIRES", &self.requires.join(" "));
        if let Some(word) = self.word {
            package = package.param("WORD", &word.to_string());
        }
        if self.has_label {
            package =
                package.param("Patch_label", &self.id()).param("Obsoletes_label", &self.obsoletes.join(" "));
        }
        Patch::of(&self.id(), package).write(&beside.beside(engine.name()));
    }
}

/// A description in one line.
impl fmt::Display for Made {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}", self.id())?;
        for (name, ids) in [("obsoletes", &self.obsoletes), ("requires", &self.requires)] {
            if !ids.is_empty() {
                write!(to, " {name} {}", ids.join(" "))?;
            }
        }
        write!(to, " word {:?} label {} no-undo {}:", self.word, self.has_label, self.has_no_undo)?;
        for (path, object) in &self.objects {
            match object {
                Object::File { ftype, class, mode, text } => {
                    write!(to, " {path}={ftype}/{class}/{mode:o}/{:?};", text.trim_end())?;
                }
                other => write!(to, " {path}={other:?};")?,
            }
        }
        Ok(())
    }
}

/// The scripts of patches that keep their records themselves.
fn scripts() -> BTreeMap<String, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/mixtures");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let scripts = files.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    });
    scripts.filter(|(name, _)| name != "README").collect()
}

/// The time of the n-th edit, in seconds since 1970.
pub(super) fn edited_at(edit: usize) -> u64 {
    u64::try_from(DELIVERED).unwrap() + 1_000_000 + edit as u64
}
