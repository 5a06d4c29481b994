//! Stories of rpm.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use tempfile::TempDir;

use super::expected::Places;
use super::judge::picture;
use super::patches::plain;
use super::play::{Act, Manager, Play};
use super::world::{File, NAMES, VERSIONS, World};
use super::{STEPS, play_all};
use crate::native_root::{Rpm, RpmRoot, Watched, of_rpm};
use crate::packages::Package;
use crate::random::Random;
use crate::reliability::figures;
use crate::scenario::directory;

/// The number of worlds; making the packages of one takes seconds.
const WORLDS: u64 = 4;

/// The packages of worlds, each made once.
struct Made {
    at: TempDir,
    worlds: Mutex<BTreeSet<u64>>,
}

impl Made {
    /// The directory with the packages of a world.
    fn of(&self, number: u64) -> PathBuf {
        let at = self.at.path().join(number.to_string());
        let mut worlds = self.worlds.lock().unwrap();
        if worlds.insert(number) {
            fs::create_dir(&at).unwrap();
            let world = World::of(number);
            for (name, version, made) in world.all() {
                let put = |rpm: Rpm, file: &File| rpm.with_mode(&file.path, file.mode, &file.text);
                made.files.iter().fold(Rpm::new(name, &version.to_string()), put).build_rpm(&at);
            }
        }
        at
    }
}

struct OfRpm {
    root: RpmRoot,
    world: World,
    /// True if our hook is called after each transaction.
    by_hook: bool,
}

impl OfRpm {
    fn of(number: u64, made: &Made, by_hook: bool) -> Option<Self> {
        let root = RpmRoot::opened("random stories of rpm")?;
        let world = number % WORLDS;
        root.take_packages(&made.of(world));
        Some(Self { root, world: World::of(world), by_hook })
    }

    /// Calls rpm, which may refuse, and the hook as its file trigger would.
    fn call(&self, words: &str) -> Act {
        let run = self.root.rpm(words);
        let mut told = format!("rpm {words}: {} {}", run.code, run.said().trim());
        let before_hook = self.by_hook.then(|| {
            let before = picture(&self.root.stage.root());
            let run = self.root.run("adopt --refresh --from-hook -R @ROOT@");
            assert_eq!(run.code, 0, "{told}\nthe hook: {}", run.said());
            told += &format!("\n    {}", run.said().replace('\n', "\n    "));
            before
        });
        Act { told, before_hook }
    }
}

impl Places for OfRpm {
    fn place(&self, _package: &str, path: &str) -> String {
        plain(path)
    }

    fn has_successor(&self, package: &str, places: &BTreeSet<String>) -> bool {
        let owners = self.root.owners();
        let is_other = |instance: &String| instance.split(':').next() != Some(package);
        places.iter().any(|place| owners.get(place).is_some_and(|of| of.iter().any(is_other)))
    }
}

impl Manager for OfRpm {
    fn root(&self) -> &Watched {
        &self.root
    }

    fn world(&self) -> &World {
        &self.world
    }

    fn act(&mut self, random: &mut Random) -> Act {
        let (name, version) = (*random.one(&NAMES), *random.one(&VERSIONS));
        match random.below(6) {
            0 => self.call(&format!("-e {name}")),
            1 if !self.versions().contains_key(name) => {
                self.call(&format!("-i --replacefiles [{name}-{version}]"))
            }
            _ => {
                if self.versions().get(name) == Some(&version) {
                    RpmRoot::tick();
                }
                self.call(&format!("-U --oldpackage --replacepkgs --replacefiles [{name}-{version}]"))
            }
        }
    }

    fn versions(&self) -> BTreeMap<String, u32> {
        let said = self.root.rpm("-qa --qf %{NAME}=%{RELEASE}\\n").stdout;
        let packages = said.lines().filter_map(|line| line.split_once('='));
        packages.map(|(name, release)| (name.to_owned(), release.parse().unwrap())).collect()
    }

    fn overrides(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn delivered(&self, name: &str, version: u32) -> Package {
        of_rpm(name, &version.to_string())
    }

    fn fixed_in(&self, name: &str, version: u32) -> String {
        format!("rpm {name} >= 1.0-{version}")
    }

    fn adopts(&self, name: &str) -> String {
        format!("--rpm {name}")
    }

    fn verified(&self) -> BTreeSet<String> {
        self.root.verified_bytes()
    }
}

#[test]
fn nothing_foreign_or_older_comes_of_any_story_of_rpm_and_every_lost_fix_is_told() {
    if RpmRoot::opened("random stories of rpm").is_none() {
        return;
    }
    let made = Made { at: directory(), worlds: Mutex::default() };
    let played = play_all("rpm", (1, 100), |number, steps| {
        let mut random = Random(0x0099_5800 + number);
        let by_hook = random.once_in(2);
        let Some(rpm) = OfRpm::of(number, &made, by_hook) else { return };
        let mut play = Play::begin(rpm, random, steps);
        (0..STEPS).for_each(|_| play.step());
        play.end();
    });
    figures("native-rpm", &played);
}
