//! Random worlds and patches.

use std::collections::BTreeMap;
use std::fmt;

use super::rules::{Need, Object, World};
use crate::delivery::Patch;
use crate::packages::Package;
use crate::random::Random;

/// The letters of the libraries, each of a package of its own.
const LIBRARIES: [&str; 3] = ["a", "b", "c"];

/// A patch to be made.
pub(super) struct Change {
    pub(super) id: String,
    pub(super) package: String,
    /// The new objects of its paths.
    pub(super) objects: BTreeMap<String, Option<Object>>,
    /// True if it forbids keeping.
    pub(super) forbids: bool,
}

impl Change {
    pub(super) fn patch(&self) -> Patch {
        let mut package = package(&self.package);
        let mut deleted = Vec::new();
        for (path, object) in &self.objects {
            let path = path.trim_start_matches('/');
            match object {
                Some(object) => package = package.file(path, 0o755, object.bytes()),
                None => deleted.push(path),
            }
        }
        if !deleted.is_empty() {
            package = package.deletes(&deleted);
        }
        let patch = Patch::of(&self.id, package);
        if self.forbids { patch.beside("patchinfo", "PATCH_PROPERTIES='nokeepshlibs'\n") } else { patch }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} of {}{}", self.id, self.package, if self.forbids { " nokeepshlibs" } else { "" })?;
        self.objects.iter().try_for_each(|(path, object)| match object {
            Some(object) => write!(out, "; {path}: {object}"),
            None => write!(out, "; deletes {path}"),
        })
    }
}

fn package(name: &str) -> Package {
    Package::new(name).param("BASEDIR", "/")
}

/// The packages of the first state.
pub(super) fn base_packages(world: &World) -> Vec<Package> {
    let with = |name: &String| {
        let mut package = package(name);
        if name.starts_with("ACMElib") {
            // Patches bring no directories: each would put its package behind the other owners of a directory, and a
            // patch that goes from under a later one of its package leaves them in that order.
            package = package.directory("lib").directory("usr").directory("usr/lib");
        }
        let own = world.base.iter().filter(|(_, (package, _))| package == name);
        own.fold(package, |package, (path, (_, object))| {
            package.file(path.trim_start_matches('/'), 0o755, object.bytes())
        })
    };
    world.packages.iter().map(with).collect()
}

/// The existing libraries: each path with its name, and whether it has the second version.
fn libraries(world: &World) -> Vec<(String, String, bool)> {
    let all = world.delivered().into_iter();
    all.filter_map(|(path, (_, object))| Some((path, object.soname?, object.is_full))).collect()
}

/// One or two of the existing libraries, except those whose names begin with `without`.
fn draw_needs(world: &World, random: &mut Random, without: &str) -> Vec<Need> {
    let all: Vec<_> =
        libraries(world).into_iter().filter(|(_, name, _)| !name.starts_with(without)).collect();
    let mut needs: BTreeMap<String, bool> = BTreeMap::new();
    for _ in 0..=random.below(2) {
        if !all.is_empty() {
            let (_, name, is_full) = random.one(&all);
            needs.insert(name.clone(), *is_full && random.once_in(2));
        }
    }
    needs.into_iter().collect()
}

fn build(world: &World) -> usize {
    world.story.len() * 10 + world.base.len()
}

/// A program that somebody builds.
pub(super) fn draw_own(world: &World, random: &mut Random) -> (String, Object) {
    let needs = draw_needs(world, random, "none");
    let path = format!("/opt/own{}", world.story.len());
    (path, Object { soname: None, needs, is_full: false, build: build(world) })
}

impl World {
    /// Two or three libraries, and two or three programs that need them; some programs belong to no package.
    pub(super) fn draw(random: &mut Random) -> Self {
        let mut world = Self::default();
        let count = 2 + random.below(2);
        for letter in &LIBRARIES[..count] {
            let soname = format!("lib{letter}.so.1");
            let at = *random.one(&["/lib", "/usr/lib"]);
            // A library may need one that comes later in the alphabet, which can close a circle.
            let needs = match random.below(3) {
                0 => vec![(format!("lib{}.so.1", random.one(&LIBRARIES[..count])), false)],
                _ => Vec::new(),
            };
            let needs = needs.into_iter().filter(|(name, _)| *name != soname).collect();
            let (package, build) = (format!("ACMElib{letter}"), build(&world));
            let object = Object { soname: Some(soname.clone()), needs, is_full: random.below(3) > 0, build };
            world.packages.insert(package.clone());
            world.base.insert(format!("{at}/{soname}"), (package, object));
        }
        for number in 1..=2 + random.below(2) {
            let needs = draw_needs(&world, random, "none");
            let (package, build) = (format!("ACMEp{number}"), build(&world));
            world.packages.insert(package.clone());
            let object = Object { soname: None, needs, is_full: false, build };
            world.base.insert(format!("/usr/bin/p{number}"), (package, object));
        }
        world
    }
}

/// A patch of a library or of a program.
pub(super) fn draw_change(world: &World, number: usize, random: &mut Random) -> Change {
    let delivered = world.delivered();
    let forbids = random.once_in(8);
    let id = format!("{number}00-01");
    let change = |package: &str, objects| Change { id, package: package.to_owned(), objects, forbids };
    let build = build(world);
    let paths: Vec<&String> = delivered.keys().collect();
    let library_paths: Vec<&String> =
        paths.iter().filter(|path| delivered[**path].1.soname.is_some()).copied().collect();
    if library_paths.is_empty() || random.once_in(3) {
        let programs: Vec<&String> = paths.into_iter().filter(|path| !path.contains("/lib")).collect();
        let path = (*random.one(&programs)).clone();
        let needs = draw_needs(world, random, "none");
        let object = Object { soname: None, needs, is_full: false, build };
        return change(&delivered[&path].0, BTreeMap::from([(path, Some(object))]));
    }
    let path = (*random.one(&library_paths)).clone();
    let (package, old) = &delivered[&path];
    let soname = old.soname.clone().unwrap();
    let letter = &soname[..4];
    let needs = if random.once_in(2) { draw_needs(world, random, letter) } else { old.needs.clone() };
    let new = Object { soname: Some(soname.clone()), needs, is_full: random.below(3) > 0, build };
    let objects = match random.below(10) {
        // Fewer versions, or more, in the same place.
        0 | 1 => BTreeMap::from([(path, Some(Object { is_full: !old.is_full, ..new }))]),
        // Another place.
        2 | 3 => {
            let other = if path.starts_with("/lib") { "/usr/lib" } else { "/lib" };
            let new = if random.once_in(2) { Object { is_full: false, ..new } } else { new };
            BTreeMap::from([(path, None), (format!("{other}/{soname}"), Some(new))])
        }
        // The library is deleted.
        4 => BTreeMap::from([(path, None)]),
        // A kept library is delivered again.
        5 if world.kept.keys().any(|at| at.contains(letter)) => {
            let (at, kept) = world.kept.iter().find(|(at, _)| at.contains(letter)).unwrap();
            BTreeMap::from([(at.clone(), Some(kept.object.clone())), (path, None)])
        }
        _ => {
            let last = libraries(world).into_iter().map(|(_, name, _)| name);
            let kept = world.kept.keys().map(|at| at.rsplit('/').next().unwrap().to_owned());
            let numbers = last.chain(kept).filter(|name| name.starts_with(letter));
            let highest = numbers.filter_map(|name| name[8..].parse::<usize>().ok()).max().unwrap_or(0);
            let next = format!("{letter}.so.{}", highest + 1);
            let at = &path[..path.len() - soname.len()];
            let new = Object { soname: Some(next.clone()), ..new };
            BTreeMap::from([(format!("{at}{next}"), Some(new)), (path, None)])
        }
    };
    change(package, objects)
}
