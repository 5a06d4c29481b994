//! Prototypes from public repositories: twenty are made into packages, with sources that the test makes; for the
//! others, every line without a source is reported.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use patchadm_inputs::source::{Extent, Origin, open};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::format::prototype;
use patchadm_svr4::format::prototype::{PrototypeCommand, PrototypeItem};
use patchadm_svr4::package::Ftype;

use crate::producer::{Producer, write};
use crate::scenario::shared;

/// The prototypes that are made into packages.
const MADE: [&str; 20] = [
    "dagwieers+op/contrib/solaris/prototype",
    "Der-Jan+vboxsvc/prototype",
    "FabriceColin+givemail/solaris/Prototype",
    "fnevgeny+xcc/packaging/solaris/prototype",
    "ipmitool+ipmitool/control/prototype.in",
    "janmojzis+pstree/solaris/prototype",
    "jimklimov+vboxsvc/packaging/svr4/prototype",
    "jpschewe+rootsh/contrib/solaris/prototype",
    "LRiFei+nxlog-ce/packaging/solaris/prototype",
    "mdehling+apc-driver/prototype",
    "noppe+facter3chain/adm/prototype",
    "noppe+SDMP/prototypes/CSWlibssl1-0-0.prototype-i386",
    "noppe+SDMP/prototypes/CSWmcollective.prototype-i386",
    "OpenSIPS+opensips/packaging/solaris/base-Prototype",
    "OpenSIPS+opensips/packaging/solaris/mysql-Prototype",
    "pruiz+kannel/solaris/prototype.tmpl",
    "simacektomas+wzfsadm/prototype",
    "steveicarus+iverilog/solaris/prototype",
    "yugui+sl-solaris/prototype",
    "wiedi+schillix-on/usr/src/pkgdefs/SUNWbart/prototype_i386",
];

/// A pkginfo for any of them.
const PKGINFO: &str = "PKG=ACMEreal\nNAME=Real\nARCH=all\nVERSION=1.0\nCATEGORY=application\nPSTAMP=stamp\n";

/// All prototypes, with their paths as they are in their repositories.
fn prototypes(shared: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = |path: &Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let repositories = entries(&shared.join("realdata/prototype")).filter(|path| path.is_dir());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let all = repositories.flat_map(|repository| {
        let below = name(&repository);
        entries(&repository).map(move |path| {
            let at = format!("{below}/{}", path.file_name().unwrap().to_str().unwrap().replace("__", "/"));
            (at, fs::read(&path).unwrap())
        })
    });
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

/// A workshop with the prototypes whose paths begin with `beginning`.
fn workshop(all: &[(String, Vec<u8>)], beginning: &str) -> Producer {
    let workshop = Producer::new();
    for (path, text) in all.iter().filter(|(path, _)| path.starts_with(beginning)) {
        workshop.file(path, text);
    }
    workshop
}

/// Makes the sources that a prototype and its includes need, and adds the paths of its objects to `objects`.
fn make_sources(workshop: &Producer, prototype: &Path, objects: &mut BTreeSet<String>) {
    let directory = prototype.parent().unwrap();
    for line in prototype::lines(&fs::read(prototype).unwrap()) {
        let entry = match line.unwrap().item {
            PrototypeItem::Command(PrototypeCommand::Include(path)) => {
                let path = directory.join(String::from_utf8(path).unwrap());
                make_sources(workshop, &path, objects);
                continue;
            }
            PrototypeItem::Command(_) => continue,
            PrototypeItem::Entry(entry) => entry,
        };
        let path = entry.path.to_string();
        let source = entry.right.as_ref().map(|source| String::from_utf8(source.clone()).unwrap());
        let information = entry.ftype == Ftype::Information;
        let place = match (information, source) {
            (true, source) => directory.join(source.unwrap_or(path.clone())),
            (false, source) => below(&workshop.at("root"), &source.unwrap_or(path.clone())),
        };
        if information && path == "pkginfo" {
            write(&place, PKGINFO.as_bytes(), 1_577_836_800);
        } else if information || entry.ftype.is_regular() {
            write(&place, format!("the source of {path}\n").as_bytes(), 1_577_836_800);
        }
        objects.insert(format!("{} {path}", char::from(entry.ftype.letter())));
    }
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[test]
fn twenty_real_prototypes_become_packages() {
    let Some(shared) = shared("twenty real prototypes", "") else { return };
    let all = prototypes(&shared);
    for name in MADE {
        let workshop = workshop(&all, name.rsplit_once('/').unwrap().0);
        fs::create_dir(workshop.at("root")).unwrap();
        let mut objects = BTreeSet::new();
        make_sources(&workshop, &workshop.at(name), &mut objects);
        let run = workshop.run(&format!("pkgmk -d spool -r root -f {name}"));
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
        let map = Pkgmap::parse(&fs::read(workshop.at("spool/ACMEreal/pkgmap")).unwrap()).unwrap();
        let of = |entry: &patchadm_svr4::format::pkgmap::PkgmapEntry| {
            format!("{} {}", char::from(entry.object.ftype.letter()), entry.path)
        };
        assert_eq!(map.entries.iter().map(of).collect::<BTreeSet<_>>(), objects, "{name}");
        let (source, image) = open(Origin::Path(&workshop.at("spool")), Extent::Everything).unwrap();
        source.verify(&image, &|| None).unwrap();
    }
}

in_parts!(of_the_others_every_line_without_a_source_is_told, make_without_sources, 4);

fn make_without_sources(part: usize, parts: usize) {
    let Some(shared) = shared("the other prototypes", "") else { return };
    let all = prototypes(&shared);
    let workshop = workshop(&all, "");
    let others: Vec<&String> =
        all.iter().map(|(path, _)| path).filter(|path| !MADE.contains(&path.as_str())).collect();
    assert!(others.len() > 700);
    for path in others.into_iter().skip(part).step_by(parts) {
        let run = workshop.run(&format!("pkgmk -d spool -f {path}"));
        let told = &run.stderr;
        if run.code == 99 {
            assert!(
                told.contains("ERROR: required pkginfo file is not specified in prototype file\n"),
                "{path}"
            );
            continue;
        }
        assert_eq!(run.code, 1, "{path}: {told}");
        let wrong = told.matches("ERROR in ").count();
        let with_line = told.lines().filter(|line| line.starts_with("    - line: ")).count();
        assert!(wrong > 0 && wrong == with_line, "{path}: {told}");
        let ends = told.ends_with(
            "pkgmk: ERROR: unable to build pkgmap from prototype file\n## Packaging was not successful.\n",
        );
        assert!(ends, "{path}: {told}");
        assert!(!told.contains("garbled"), "{path}: {told}");
    }
}
