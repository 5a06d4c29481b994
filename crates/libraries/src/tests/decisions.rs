//! Changes that remove libraries, the libraries that stay, and their consumers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Root, at, program, words};
use crate::decision::{
    CandidateNode, CandidateOrigin, Consumer, LibraryCandidate, LibraryChange, LibraryDecision, Obstacle,
    OtherConsumer, OtherSource, SymbolSource,
};
use crate::elf::{DlopenNote, ElfFacts, ElfSymbols, NeededVersion};
use crate::{LibraryFile, LibraryTree};
use patchadm_svr4::package::ObjectPath;

/// A root before and after a change, and what may stay.
#[derive(Default)]
pub(super) struct Scene {
    before: Root,
    after: LibraryTree,
    candidates: BTreeMap<ObjectPath, LibraryCandidate>,
    brought: BTreeSet<ObjectPath>,
    unserved: BTreeSet<(ObjectPath, String)>,
    others: BTreeMap<ObjectPath, BTreeSet<OtherConsumer>>,
    symbols: Symbols,
}

/// The mark of a library that comes under the name of another one.
const NEW: u64 = 1;

/// Symbols by the name of the library.
#[derive(Default)]
struct Symbols(BTreeMap<String, Arc<ElfSymbols>>);

impl SymbolSource for Symbols {
    fn symbols(&self, file: &Arc<LibraryFile>) -> Option<Arc<ElfSymbols>> {
        let name = file.facts.soname.as_deref().unwrap_or("program");
        self.0.get(&format!("{name}{}", if file.facts.flags == NEW { " new" } else { "" })).cloned()
    }
}

impl Scene {
    /// A change that has not begun: nothing is taken away.
    pub(super) fn of(before: Root) -> Self {
        Self { after: before.tree.clone(), before, ..Self::default() }
    }

    /// The change takes an object away.
    pub(super) fn takes(mut self, path: &str) -> Self {
        self.offer(path, CandidateOrigin::TakenAway);
        self
    }

    /// An object is kept already.
    pub(super) fn has_kept(mut self, path: &str) -> Self {
        self.offer(path, CandidateOrigin::Kept);
        self
    }

    fn offer(&mut self, path: &str, origin: CandidateOrigin) {
        let node = node(&self.before, path);
        self.after.remove(&at(path));
        self.candidates.insert(at(path), LibraryCandidate { node, origin, obstacle: None });
    }

    /// An object of another root may come.
    pub(super) fn offer_of(&mut self, root: &Root, path: &str, origin: CandidateOrigin) {
        self.candidates.insert(at(path), LibraryCandidate { node: node(root, path), origin, obstacle: None });
    }

    /// Something stands in the way of a candidate.
    pub(super) fn hinder(&mut self, path: &str, obstacle: Obstacle) {
        self.candidates.get_mut(&at(path)).unwrap().obstacle = Some(obstacle);
    }

    /// The change brings an object.
    pub(super) fn brings(mut self, path: &str, facts: ElfFacts) -> Self {
        let mut root = Root::default();
        root.file(path, facts);
        let file = root.tree.file_at(&at(path)).unwrap().clone();
        self.after.put_file(at(path), file);
        self.brought.insert(at(path));
        self
    }

    pub(super) fn decide(&self) -> LibraryDecision {
        LibraryChange {
            before: &self.before.tree,
            after: &self.after,
            settings: &self.before.settings,
            candidates: &self.candidates,
            brought: &self.brought,
            unserved: &self.unserved,
            others: &self.others,
            symbols: &self.symbols,
            interrupt: &|| None,
        }
        .decide()
    }

    pub(super) fn keeps(&self) -> Vec<String> {
        self.decide().kept.keys().map(ToString::to_string).collect()
    }
}

/// Returns a library or link of a root.
fn node(root: &Root, path: &str) -> CandidateNode {
    match root.tree.file_at(&at(path)) {
        Some(file) => CandidateNode::File(file.clone()),
        None => CandidateNode::Link(root.target(&at(path))),
    }
}

pub(super) fn library(soname: &str, needed: &[&str]) -> ElfFacts {
    ElfFacts { soname: Some(soname.to_owned()), needed: words(needed), ..ElfFacts::default() }
}

/// Returns a library with its two links, and a program that needs it.
fn dav1d() -> Root {
    let mut root = Root::default();
    root.file("/usr/lib/libdav1d.so.6.6.0", library("libdav1d.so.6", &[]));
    root.link("/usr/lib/libdav1d.so.6", "libdav1d.so.6.6.0").link("/usr/lib/libdav1d.so", "libdav1d.so.6");
    root.file("/usr/bin/dav1d", program(&["libdav1d.so.6"]));
    root
}

fn updated() -> Scene {
    let scene = ["/usr/lib/libdav1d.so.6.6.0", "/usr/lib/libdav1d.so.6", "/usr/lib/libdav1d.so"];
    let scene = scene.into_iter().fold(Scene::of(dav1d()), Scene::takes);
    scene.brings("/usr/lib/libdav1d.so.7", library("libdav1d.so.7", &[]))
}

#[test]
fn a_library_stays_with_the_links_to_it_and_without_the_one_to_build_against() {
    let decision = updated().decide();
    let kept: Vec<String> = decision.kept.keys().map(ToString::to_string).collect();
    assert_eq!(kept, ["/usr/lib/libdav1d.so.6", "/usr/lib/libdav1d.so.6.6.0"]);
    let consumers: Vec<&Consumer> = decision.kept.values().flatten().collect();
    assert!(consumers.iter().all(|consumer| consumer.path == at("/usr/bin/dav1d")), "{consumers:?}");
    assert_eq!(decision.lost, []);
}

#[test]
fn nothing_stays_for_who_goes_or_is_renewed_in_the_same_change() {
    let renewed = updated().brings("/usr/bin/dav1d", program(&["libdav1d.so.7"]));
    assert_eq!(renewed.keeps(), [""; 0]);
    let mut gone = updated();
    gone.after.remove(&at("/usr/bin/dav1d"));
    assert_eq!(gone.keeps(), [""; 0]);
}

#[test]
fn a_library_that_only_moves_to_another_directory_does_not_stay() {
    let scene = Scene::of(dav1d()).takes("/usr/lib/libdav1d.so.6").takes("/usr/lib/libdav1d.so.6.6.0");
    let scene = scene.brings("/lib/libdav1d.so.6", library("libdav1d.so.6", &[]));
    assert_eq!(scene.decide(), LibraryDecision::default());
}

#[test]
fn what_a_kept_library_needs_stays_too_and_two_that_need_each_other_end_together() {
    let mut root = Root::default();
    root.library("/lib/liba.so.1", &["libb.so.1"]).library("/lib/libb.so.1", &["liba.so.1"]);
    root.file("/bin/p", program(&["liba.so.1"]));
    let both = |root| Scene::of(root).takes("/lib/liba.so.1").takes("/lib/libb.so.1");
    assert_eq!(both(root).keeps(), ["/lib/liba.so.1", "/lib/libb.so.1"]);

    let mut root = Root::default();
    root.library("/lib/liba.so.1", &["libb.so.1"]).library("/lib/libb.so.1", &["liba.so.1"]);
    root.file("/bin/p", program(&["liba.so.1"]));
    let mut last = Scene::of(root).has_kept("/lib/liba.so.1").has_kept("/lib/libb.so.1");
    last.after.remove(&at("/bin/p"));
    let decision = last.decide();
    assert!(decision.kept.is_empty() && decision.unneeded.is_empty());
    assert_eq!(decision.dropped, BTreeSet::from([at("/lib/liba.so.1"), at("/lib/libb.so.1")]));
}

#[test]
fn what_nobody_needed_before_is_not_dropped_by_the_way() {
    let mut root = dav1d();
    root.tree.remove(&at("/usr/bin/dav1d"));
    let decision = Scene::of(root).has_kept("/usr/lib/libdav1d.so.6.6.0").decide();
    // It is its own starting point: no program needs it.
    assert_eq!(decision.unneeded, BTreeSet::from([at("/usr/lib/libdav1d.so.6.6.0")]));
    assert!(decision.dropped.is_empty());
}

#[test]
fn a_version_or_symbol_that_vanishes_under_the_same_name_is_lost_and_named() {
    let need = NeededVersion { library: "libx.so.1".into(), version: "X_1.2".into(), is_weak: false };
    let mut root = Root::default();
    let defines = words(&["X_1.1", "X_1.2"]);
    root.file("/lib/libx.so.1", ElfFacts { defines, ..library("libx.so.1", &[]) });
    root.file("/bin/p", ElfFacts { needs: vec![need], ..program(&["libx.so.1"]) });
    let older = ElfFacts { defines: words(&["X_1.1"]), ..library("libx.so.1", &[]) };
    let mut scene = Scene::of(root).takes("/lib/libx.so.1").brings("/lib/libx.so.1", older);
    scene.hinder("/lib/libx.so.1", Obstacle::PathTaken);
    let [lost] = &scene.decide().lost[..] else { panic!("{:?}", scene.decide()) };
    assert_eq!(
        (lost.versions.as_slice(), lost.obstacle),
        (&["X_1.2".to_owned()][..], Some(Obstacle::PathTaken))
    );
}

#[test]
fn a_symbol_that_vanishes_under_the_same_name_is_lost_unless_another_library_has_it() {
    let scene = |needed: &[&str]| {
        let mut root = Root::default();
        root.library("/lib/libx.so.1", &[])
            .library("/lib/liby.so.1", &[])
            .file("/bin/p", program(&["libx.so.1"]));
        let newer = ElfFacts { flags: NEW, ..library("libx.so.1", needed) };
        let mut scene = Scene::of(root).takes("/lib/libx.so.1").brings("/lib/libx.so.1", newer);
        scene.hinder("/lib/libx.so.1", Obstacle::PathTaken);
        let of = |exported: &[&str], undefined: &[&str]| {
            let set = |names: &[&str]| names.iter().copied().collect();
            Arc::new(ElfSymbols { exported: set(exported), undefined: set(undefined) })
        };
        scene.symbols.0 = BTreeMap::from([
            ("program".to_owned(), of(&[], &["x_old", "x_both", "printf"])),
            ("libx.so.1".to_owned(), of(&["x_old", "x_both"], &[])),
            ("libx.so.1 new".to_owned(), of(&["x_both", "x_more"], &[])),
            ("liby.so.1".to_owned(), of(&["x_old"], &[])),
        ]);
        scene
    };
    let [lost] = &scene(&[]).decide().lost[..] else { panic!() };
    assert_eq!((lost.name.as_str(), &lost.symbols[..]), ("libx.so.1", &["x_old".to_owned()][..]));
    assert_eq!(scene(&["liby.so.1"]).decide(), LibraryDecision::default());
}

#[test]
fn a_library_that_another_program_would_find_first_does_not_stay() {
    let mut root = Root::default();
    root.settings.directories = words(&["/old", "/new"]);
    root.library("/old/liba.so.1", &[]);
    // One program was made for a version that only the old file has.
    let version = |version: &str| NeededVersion {
        library: "liba.so.1".into(),
        version: version.into(),
        is_weak: false,
    };
    root.file("/old/liba.so.1", ElfFacts { defines: words(&["A_1", "A_2"]), ..library("liba.so.1", &[]) });
    root.file("/bin/p", ElfFacts { needs: vec![version("A_1")], ..program(&["liba.so.1"]) });
    root.file("/bin/q", ElfFacts { needs: vec![version("A_2")], ..program(&["liba.so.1"]) });
    let newer = ElfFacts { defines: words(&["A_2"]), ..library("liba.so.1", &[]) };
    let scene = Scene::of(root).takes("/old/liba.so.1").brings("/new/liba.so.1", newer);
    let decision = scene.decide();
    assert!(decision.kept.is_empty());
    let lost: Vec<_> =
        decision.lost.iter().map(|lost| (lost.consumer.path.to_string(), lost.obstacle)).collect();
    assert_eq!(lost, [("/bin/p".to_owned(), Some(Obstacle::Shadows))]);
}

#[test]
fn who_lacked_it_already_is_no_reason_unless_the_change_brings_him() {
    let mut root = dav1d();
    root.file("/bin/lacks", program(&["libgone.so.1"]));
    assert_eq!(Scene::of(root).decide(), LibraryDecision::default());
    let scene = Scene::of(dav1d()).brings("/bin/new", program(&["libgone.so.1"]));
    assert_eq!(scene.decide().lost.len(), 1);
    let mut known = Scene::of(dav1d()).brings("/bin/new", program(&["libgone.so.1"]));
    known.unserved.insert((at("/bin/new"), "libgone.so.1".to_owned()));
    assert_eq!(known.decide(), LibraryDecision::default());
}

#[test]
fn of_a_note_with_several_names_that_one_stays_which_was_found() {
    let note = DlopenNote { soname: words(&["libx.so.3", "libx.so.1"]), priority: "suggested".into() };
    let mut root = Root::default();
    root.library("/lib/libx.so.1", &[]).file("/bin/p", ElfFacts { dlopen: vec![note], ..program(&[]) });
    let scene = Scene::of(root).takes("/lib/libx.so.1");
    assert_eq!(scene.keeps(), ["/lib/libx.so.1"]);
    assert_eq!(scene.brings("/lib/libx.so.3", library("libx.so.3", &[])).keeps(), [""; 0]);
}

#[test]
fn what_a_process_has_mapped_stays_with_what_it_needs() {
    let mut root = Root::default();
    root.library("/usr/lib/plugins/x.so", &["liby.so.1"]).library("/usr/lib/liby.so.1", &[]);
    let mut scene = Scene::of(root).takes("/usr/lib/plugins/x.so").takes("/usr/lib/liby.so.1");
    assert_eq!(scene.keeps(), [""; 0]);
    let process = OtherConsumer { path: at("/usr/bin/daemon"), source: OtherSource::Mapped(7) };
    scene.others.insert(at("/usr/lib/plugins/x.so"), BTreeSet::from([process]));
    assert_eq!(scene.keeps(), ["/usr/lib/liby.so.1", "/usr/lib/plugins/x.so"]);
}
