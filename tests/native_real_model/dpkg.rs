//! Stories of dpkg.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::expected::Places;
use super::judge::picture;
use super::patches::plain;
use super::play::{Act, Manager, Play};
use super::world::{NAMES, VERSIONS, World};
use super::{STEPS, play_all};
use crate::native_root::{Deb, DpkgRoot, Watched, of_dpkg};
use crate::packages::Package;
use crate::random::Random;
use crate::reliability::figures;

/// The number of worlds.
const WORLDS: u64 = 20;

struct Dpkg {
    root: DpkgRoot,
    world: World,
    /// True if hooks are called.
    by_hook: bool,
}

impl Dpkg {
    /// A root with the packages of a world.
    fn of(number: u64, by_hook: bool) -> Option<Self> {
        let root = DpkgRoot::opened("random stories of dpkg")?.with_hooks(by_hook);
        let world = World::of(number % WORLDS);
        for (name, version, made) in world.all() {
            let deb = Deb::new(name, &version.to_string());
            let deb = match made.replaces.join(", ") {
                replaced if replaced.is_empty() => deb,
                replaced => deb.field("Replaces", &replaced),
            };
            let put = |deb: Deb, file: &super::world::File| deb.with_mode(&file.path, file.mode, &file.text);
            root.build(&made.files.iter().fold(deb, put));
        }
        Some(Self { root, world, by_hook })
    }

    /// Calls dpkg, which may refuse.
    fn call(&self, words: &str) -> Act {
        let run = self.root.dpkg(words);
        let said = run.said();
        let said =
            said.lines().filter(|line| !line.contains("Reading database") && !line.contains("Preparing"));
        let said = said.map(|line| format!("\n    {line}")).collect::<String>();
        let before = self.root.stage.beside("before-hook");
        let before_hook = (self.by_hook && before.exists()).then(|| picture(&before));
        Act { told: format!("dpkg {words}: {}{said}", run.code), before_hook }
    }

    /// Calls another tool of dpkg, which may refuse, and calls no hook.
    fn call_tool(&self, line: &str) -> Act {
        let run = self.root.called(line);
        Act { told: format!("{line}: {} {}", run.code, run.said().trim()), before_hook: None }
    }

    fn installs(&self, random: &mut Random) -> Act {
        let file = |random: &mut Random| format!("[{}_{}]", random.one(&NAMES), random.one(&VERSIONS));
        let first = file(random);
        let second = if random.once_in(4) { file(random) } else { String::new() };
        let configuration = *random.one(&["--force-confold", "--force-confnew"]);
        self.call(&format!("{configuration} -i {first} {second}"))
    }

    /// A path that an installed package lists.
    fn listed_path(&self, random: &mut Random) -> Option<String> {
        let versions = self.versions();
        let mut paths = Vec::new();
        for (name, version) in &versions {
            let files = &self.world.version(name, *version).files;
            paths
                .extend(files.iter().map(|file| file.path.clone()).filter(|path| !path.starts_with("/etc/")));
        }
        (!paths.is_empty()).then(|| random.one(&paths).clone())
    }

    fn diverts(&self, random: &mut Random) -> Option<Act> {
        let renames = *random.one(&["--rename", "--rename", "--no-rename"]);
        let text = fs::read_to_string(self.root.at("/var/lib/dpkg/diversions")).unwrap_or_default();
        let diverted: Vec<&str> = text.lines().step_by(3).collect();
        if !diverted.is_empty() && random.once_in(2) {
            let path = random.one(&diverted);
            return Some(self.call_tool(&format!("dpkg-divert {renames} --remove {path}")));
        }
        let path = self.listed_path(random)?;
        let by = match random.below(3) {
            0 => "--local".to_owned(),
            _ => format!("--package {}", random.one(&NAMES)),
        };
        Some(self.call_tool(&format!("dpkg-divert {by} {renames} --divert {path}.distrib --add {path}")))
    }

    fn overrides_one(&self, random: &mut Random) -> Option<Act> {
        let text = fs::read_to_string(self.root.at("/var/lib/dpkg/statoverride")).unwrap_or_default();
        let overridden: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(3)).collect();
        if !overridden.is_empty() && random.once_in(2) {
            return Some(self.call_tool(&format!("dpkg-statoverride --remove {}", random.one(&overridden))));
        }
        let path = self.listed_path(random)?;
        let mode = *random.one(&["4750", "0750"]);
        Some(self.call_tool(&format!("dpkg-statoverride --update --add root adm {mode} {path}")))
    }
}

impl Places for Dpkg {
    fn place(&self, package: &str, path: &str) -> String {
        let list = self.root.at(&format!("/var/lib/dpkg/info/{package}.list"));
        let list = fs::read_to_string(list).unwrap_or_default();
        let listed = list.lines().find(|listed| plain(listed) == plain(path)).unwrap_or(path);
        self.root.true_name(package, listed)
    }

    fn has_successor(&self, package: &str, places: &BTreeSet<String>) -> bool {
        let owners = self.root.owners();
        let installed = self.root.packages();
        installed.iter().filter(|other| other.name != package && other.state != "config-files").any(|other| {
            let is_named = other.relations.split([' ', ',']).any(|word| word == package);
            let instance = format!("{}:{}", other.name, other.arch);
            is_named || places.iter().any(|place| owners.get(place).is_some_and(|of| of.contains(&instance)))
        })
    }
}

impl Manager for Dpkg {
    fn root(&self) -> &Watched {
        &self.root
    }

    fn world(&self) -> &World {
        &self.world
    }

    fn act(&mut self, random: &mut Random) -> Act {
        let act = match random.below(12) {
            0 => Some(self.call(&format!("-r {}", random.one(&NAMES)))),
            1 => Some(self.call(&format!("-P {}", random.one(&NAMES)))),
            2 | 3 => self.diverts(random),
            4 => self.overrides_one(random),
            _ => None,
        };
        act.unwrap_or_else(|| self.installs(random))
    }

    fn versions(&self) -> BTreeMap<String, u32> {
        let is_ours = |name: &str| NAMES.contains(&name);
        let installed = self.root.packages().into_iter();
        let installed = installed.filter(|package| package.state != "config-files" && is_ours(&package.name));
        installed.map(|package| (package.name, package.version.parse().unwrap())).collect()
    }

    fn overrides(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.root.at("/var/lib/dpkg/statoverride")).unwrap_or_default();
        let versions = self.versions();
        let mut overrides = BTreeMap::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [_, _, mode, path] = words[..] else { continue };
            let lists = |name: &&&str| {
                let version = versions.get(**name);
                version.is_some_and(|version| {
                    self.world.version(name, *version).files.iter().any(|file| file.path == path)
                })
            };
            if let Some(name) = NAMES.iter().find(lists) {
                let mode = mode.trim_start_matches('0');
                overrides.insert(self.root.true_name(name, path), format!("{mode} 0:4"));
            }
        }
        overrides
    }

    fn delivered(&self, name: &str, version: u32) -> Package {
        of_dpkg(name, &version.to_string())
    }

    fn fixed_in(&self, name: &str, version: u32) -> String {
        format!("dpkg {name} >= {version}")
    }

    fn adopts(&self, name: &str) -> String {
        format!("--dpkg {name}")
    }

    fn verified(&self) -> BTreeSet<String> {
        self.root.verified().into_iter().collect()
    }
}

#[test]
fn nothing_foreign_or_older_comes_of_any_story_of_dpkg_and_every_lost_fix_is_told() {
    if DpkgRoot::opened("random stories of dpkg").is_none() {
        return;
    }
    let played = play_all("dpkg", (2, 300), |number, steps| {
        let mut random = Random(0x00dd_5800 + number);
        let by_hook = random.once_in(2);
        let Some(dpkg) = Dpkg::of(number, by_hook) else { return };
        let mut play = Play::begin(dpkg, random, steps);
        (0..STEPS).for_each(|_| play.step());
        play.end();
    });
    figures("native-dpkg", &played);
}
