//! Random stories of an adopted package: patches with shared paths, upgrades by dpkg with path filters, edits,
//! backouts and refreshes. No path ever has content older than the last native write, no edit is lost, and at the end
//! the tree is the native one with the edits beside it.
//!
//! The test plays dpkg: it writes its records and its files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use md5::{Digest as _, Md5};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::random::Random;
use crate::reliability::{part_of, sample_or_whole};
use crate::scenario::Scenario;
use crate::undo_forms::{UndoForms, with_undo};
use crate::whole_contents::{faults_of_contents, missing_objects};

/// The paths of the story.
const PATHS: [&str; 6] = [
    "/usr/lib/a.so",
    "/usr/lib/b.so",
    "/usr/bin/web",
    "/usr/share/web/c",
    "/usr/share/web/d",
    "/usr/share/e",
];

struct Story {
    stage: Scenario,
    random: Random,
    /// The version of the native package.
    version: u32,
    /// The files of that version.
    native: BTreeMap<&'static str, String>,
    /// The last content that the native package manager wrote to each path; `None` if it removed the file.
    written: BTreeMap<&'static str, Option<String>>,
    /// Edits of the administrator that only this program could lose.
    edits: BTreeSet<String>,
    patches: u32,
    /// Content of patches at paths that dpkg did not write.
    left: BTreeSet<String>,
    /// The forms of undo data, drawn by the seed.
    forms: UndoForms,
    /// The steps so far, for failure messages.
    told: Vec<String>,
}

impl Story {
    fn begin(seed: u64) -> Self {
        let mut story = Self {
            stage: Scenario::new(),
            random: Random(seed),
            version: 0,
            native: BTreeMap::new(),
            written: BTreeMap::new(),
            edits: BTreeSet::new(),
            patches: 0,
            left: BTreeSet::new(),
            forms: UndoForms::of(seed),
            told: Vec::new(),
        };
        story.upgrade();
        story.run("adopt --dpkg web -R @ROOT@", &[0]);
        story
    }

    fn run(&mut self, line: &str, codes: &[i32]) -> i32 {
        let run = self.stage.run(line);
        self.told.push(format!("{line}: {} {}{}", run.code, run.stdout, run.stderr));
        assert!(codes.contains(&run.code), "{}", self.told.join("\n"));
        run.code
    }

    fn live(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.stage.at(path)).ok()
    }

    /// dpkg installs the next version: some files are new, some stay as they are, some go, and some are filtered.
    fn upgrade(&mut self) {
        self.version += 1;
        let mut new = BTreeMap::new();
        for path in PATHS {
            if !self.random.once_in(4) {
                let known = self.native.get(path).filter(|_| self.random.once_in(3)).cloned();
                new.insert(path, known.unwrap_or_else(|| format!("native {} of {path}\n", self.version)));
            }
        }
        new.entry(PATHS[0]).or_insert_with(|| format!("native {} of {}\n", self.version, PATHS[0]));
        let (mut list, mut sums) =
            ("/.\n/usr\n/usr/bin\n/usr/lib\n/usr/share\n/usr/share/web\n".to_owned(), String::new());
        for (path, content) in &new {
            writeln!(list, "{path}").unwrap();
            let sum: String = Md5::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(sums, "{sum}  {}", &path[1..]).unwrap();
            if self.version > 1 && self.random.once_in(4) {
                // A path filter. The bytes of a patch stay there, and the patch has no claim on them any more.
                self.left.extend(self.live(path).filter(|live| live.starts_with("patch")));
                continue;
            }
            self.dpkg_takes(path);
            let at = self.stage.at(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            let beside = at.with_extension("dpkg-new");
            fs::write(&beside, content).unwrap();
            fs::rename(&beside, &at).unwrap();
            self.written.insert(path, Some(content.clone()));
        }
        let gone: Vec<&str> = self.native.keys().copied().filter(|path| !new.contains_key(path)).collect();
        for path in gone {
            self.dpkg_takes(path);
            let _ = fs::remove_file(self.stage.at(path));
            self.written.insert(path, None);
        }
        for (name, text) in [("web.list", &list), ("web.md5sums", &sums)] {
            let _ = fs::remove_file(self.stage.at("/var/lib/dpkg/info").join(name));
            self.stage.file(&format!("/var/lib/dpkg/info/{name}"), text);
        }
        let status = format!(
            "Package: web\nStatus: install ok installed\nArchitecture: amd64\nVersion: {}\n",
            self.version
        );
        self.stage.file("/var/lib/dpkg/status", status);
        self.native = new;
        self.told.push(format!("dpkg installs {}: {:?}", self.version, self.written));
    }

    /// An edit that dpkg overwrites is lost by dpkg.
    fn dpkg_takes(&mut self, path: &str) {
        if let Some(live) = self.live(path) {
            self.edits.remove(&live);
        }
    }

    fn edit(&mut self) {
        let path = *self.random.one(&PATHS);
        let Some(live) = self.live(path) else { return };
        // The administrator overwrites an earlier edit.
        self.edits.remove(&live);
        let edit = format!("edit {} of {path}\n", self.told.len());
        fs::write(self.stage.at(path), &edit).unwrap();
        self.told.push(format!("edit: {edit}"));
        self.edits.insert(edit);
    }

    fn add(&mut self) {
        self.patches += 1;
        let id = format!("{}-01", 100 + self.patches);
        let version = self.stage.run("pkgparam -R @ROOT@ DEBweb VERSION").stdout;
        let mut package = Package::new("DEBweb")
            .param("BASEDIR", "/")
            .param("ARCH", "amd64")
            .param("VERSION", version.trim())
            .file(&format!("usr/share/web/of-{id}"), 0o644, format!("added by {id}\n"));
        for path in PATHS {
            if self.random.once_in(3) {
                package = package.file(&path[1..], 0o644, format!("patch {id} of {path}\n"));
            }
        }
        let at = Patch::of(&id, package).directory(&self.stage);
        let form = self.forms.option();
        self.run(&format!("add --edited replace {form} -R @ROOT@ {}", at.display()), &[0, 3]);
    }

    fn applied(&self) -> Vec<String> {
        let list = self.stage.run("pkgparam -R @ROOT@ DEBweb PATCHLIST").stdout;
        list.split_whitespace().map(str::to_owned).collect()
    }

    fn remove(&mut self) {
        let applied = self.applied();
        if !applied.is_empty() {
            let id = self.random.one(&applied).clone();
            self.run(&format!("remove -R @ROOT@ {id}"), &[0, 3]);
        }
    }

    /// Rewrites undo data in another form now and then, but not if dpkg has intervened.
    fn repack(&mut self) {
        let applied = with_undo(&self.stage, "DEBweb", &self.applied());
        if let Some(line) = self.forms.repack(&applied) {
            self.run(&line, &[0]);
        }
    }

    fn step(&mut self) {
        self.repack();
        match self.random.below(9) {
            0 | 1 => self.upgrade(),
            2 | 3 => self.edit(),
            4..=6 => self.add(),
            7 => self.remove(),
            _ => drop(self.run("adopt --refresh -R @ROOT@", &[0])),
        }
        self.look();
    }

    /// Asserts that no path has content older than the last native write, and that `contents` is whole. dpkg may
    /// delete anything.
    fn look(&self) {
        let faults = faults_of_contents(&self.stage.root(), &missing_objects(&self.stage.root()));
        assert!(faults.is_empty(), "{faults:#?}\n{}", self.told.join("\n"));
        for path in PATHS {
            let Some(live) = self.live(path).filter(|live| live.starts_with("native")) else { continue };
            let written = self.written.get(path).cloned().flatten();
            assert_eq!(Some(live), written, "{path}\n{}", self.told.join("\n"));
        }
    }

    /// Ends the story: the tree must be the native one, and every edit must still exist.
    fn end(mut self) {
        self.run("adopt --refresh -R @ROOT@", &[0]);
        for id in self.applied().into_iter().rev() {
            self.run(&format!("remove -R @ROOT@ {id}"), &[0]);
            self.look();
        }
        let mut texts = BTreeSet::new();
        for (directory, _, files) in walked(&self.stage) {
            for file in files {
                let text = fs::read_to_string(&file).unwrap();
                let is_known =
                    text.starts_with("native") || text.starts_with("edit") || self.left.contains(&text);
                assert!(is_known, "{} in {directory}: {text}\n{}", file.display(), self.told.join("\n"));
                texts.insert(text);
            }
        }
        let lost: Vec<&String> = self.edits.iter().filter(|edit| !texts.contains(*edit)).collect();
        assert!(lost.is_empty(), "{lost:?}\n{}", self.told.join("\n"));
        self.run("pkgchk -n -R @ROOT@", &[0, 1]);
    }
}

/// The directories below `/usr` with their files.
fn walked(stage: &Scenario) -> Vec<(String, usize, Vec<std::path::PathBuf>)> {
    let mut open = vec![stage.at("/usr")];
    let mut walked = Vec::new();
    while let Some(directory) = open.pop() {
        let entries: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        open.extend(entries.iter().filter(|path| path.is_dir()).cloned());
        let files: Vec<_> = entries.into_iter().filter(|path| path.is_file()).collect();
        walked.push((directory.display().to_string(), files.len(), files));
    }
    walked
}

in_parts!(nothing_older_than_the_last_native_write_comes_back_and_no_edit_is_lost, tell, 2);

/// Plays a part of the stories.
fn tell(part: usize, parts: usize) {
    for seed in part_of(0..sample_or_whole(12, 5000), part, parts) {
        let mut story = Story::begin(0x5eed_3800 + seed);
        for _ in 0..14 {
            story.step();
        }
        story.end();
    }
}
