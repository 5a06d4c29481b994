//! The packages and patches of the demonstration, as values: made up, small, the same every time.
//!
//! Two packages of a web server that does not exist, three patches that build on each other, and one that must be
//! refused. Each patch delivers everything of those before it, as revisions and obsoleting patches do.

/// Where the packages lie in the root.
pub(super) const BASEDIR: &str = "/opt/acme";

/// Modification times of delivered files, seconds since 1970: 1 January 2020 and as many days later.
pub(super) const EPOCH: i64 = 1_577_836_800;

/// A package, whole or sparse.
#[derive(Clone, Debug)]
pub(super) struct SamplePackage {
    /// PKG.
    pub(super) name: &'static str,
    /// NAME.
    pub(super) title: &'static str,
    /// What it delivers.
    pub(super) objects: Vec<Sample>,
    /// What its patch takes away.
    pub(super) deletes: &'static [&'static str],
}

/// An object of a package; owner is root and the group bin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sample {
    /// A directory, 0755.
    Directory(&'static str),
    /// A file: path, permission bits, text, days after [`EPOCH`].
    File(&'static str, u32, &'static str, i64),
    /// A symbolic link and its target.
    Symlink(&'static str, &'static str),
    /// Another name of a file of the same package.
    Link(&'static str, &'static str),
}

/// A patch.
#[derive(Clone, Debug)]
pub(super) struct SamplePatch {
    /// Its id.
    pub(super) id: &'static str,
    /// What it is for.
    pub(super) synopsis: &'static str,
    /// `SUNW_OBSOLETES`, empty for none.
    pub(super) obsoletes: &'static str,
    /// `SUNW_REQUIRES`, empty for none.
    pub(super) requires: &'static str,
    /// Its sparse packages.
    pub(super) packages: Vec<SamplePackage>,
}

/// The base packages.
pub(super) fn packages() -> Vec<SamplePackage> {
    let library = vec![
        Sample::Directory("lib"),
        Sample::File("lib/libacme.so.1", 0o755, "the library, first interface\n", 0),
        Sample::Symlink("lib/libacme.so", "libacme.so.1"),
    ];
    let server = vec![
        Sample::Directory("bin"),
        Sample::File("bin/acmed", 0o755, "#!/bin/sh\necho \"acmed 2.0\"\n", 0),
        Sample::Link("bin/acme", "acmed"),
        Sample::Directory("share"),
        Sample::File("share/banner.txt", 0o644, "Welcome to acme 2.0\n", 0),
        Sample::File("share/old-help.txt", 0o644, "This help is no longer true.\n", 0),
    ];
    vec![lib(library), web(server, &[])]
}

/// The patches that are applied, in their order.
pub(super) fn patches() -> Vec<SamplePatch> {
    let first = "#!/bin/sh\necho \"acmed 2.0 with patch 100001-01\"\n";
    let second = "#!/bin/sh\necho \"acmed 2.0 with patch 100001-02\"\n";
    let third = "#!/bin/sh\necho \"acmed 2.0 with patch 100002-01\"\n";
    let more = Sample::File("share/errors/500.txt", 0o644, "Something is wrong here.\n", 60);
    let banner = Sample::File("share/banner.txt", 0o644, "Welcome to acme 2.0, feature release\n", 90);
    vec![
        SamplePatch {
            id: "100001-01",
            synopsis: "acmed: answers for pages that are not there",
            obsoletes: "",
            requires: "",
            packages: vec![lib(new_library()), web(new_server(first, 30, &[]), DELETES)],
        },
        SamplePatch {
            id: "100001-02",
            synopsis: "acmed: the first revision, and answers for errors of its own",
            obsoletes: "",
            requires: "",
            packages: vec![lib(new_library()), web(new_server(second, 60, &[more]), DELETES)],
        },
        SamplePatch {
            id: "100002-01",
            synopsis: "acmed: feature release, contains everything of 100001-02",
            obsoletes: "100001-02",
            requires: "",
            packages: vec![lib(new_library()), web(new_server(third, 90, &[more, banner]), DELETES)],
        },
    ]
}

/// The patch that is refused: it requires one that nobody has.
pub(super) fn refused() -> SamplePatch {
    let text = "#!/bin/sh\necho \"acmed 2.0 with patch 100003-01\"\n";
    SamplePatch {
        id: "100003-01",
        synopsis: "acmed: works only together with patch 100099-01",
        obsoletes: "",
        requires: "100099-01",
        packages: vec![web(vec![Sample::File("bin/acmed", 0o755, text, 120)], &[])],
    }
}

/// What every patch takes away.
const DELETES: &[&str] = &["share/old-help.txt"];

fn new_library() -> Vec<Sample> {
    vec![
        Sample::File("lib/libacme.so.2", 0o755, "the library, second interface\n", 30),
        Sample::Symlink("lib/libacme.so", "libacme.so.2"),
    ]
}

fn new_server(program: &'static str, day: i64, more: &[Sample]) -> Vec<Sample> {
    let mut objects = vec![
        Sample::File("bin/acmed", 0o755, program, day),
        Sample::Directory("share/errors"),
        Sample::File("share/errors/404.txt", 0o644, "There is no such page.\n", 30),
    ];
    objects.extend_from_slice(more);
    objects
}

fn lib(objects: Vec<Sample>) -> SamplePackage {
    SamplePackage { name: "ACMElib", title: "Acme library", objects, deletes: &[] }
}

fn web(objects: Vec<Sample>, deletes: &'static [&'static str]) -> SamplePackage {
    SamplePackage { name: "ACMEweb", title: "Acme web server", objects, deletes }
}
