//! The records of a real tree of 29,022 packages mean to us what they mean to pbulk.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use patchadm_bulk_values::records::{PkgName, Records};
use patchadm_bulk_values::resolve::{
    DependencyResolution, Graph, NameHolders, PrefailReason, ResolvedState, resolve,
};

/// The report of pbulk in the published package of the crate, as cargo has unpacked it.
fn report_file() -> Option<PathBuf> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let arguments = ["metadata", "--format-version=1", "--locked", "--offline", "--manifest-path", manifest];
    let output = Command::new(env!("CARGO")).args(arguments).output().ok()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let packages = metadata["packages"].as_array()?;
    let package = packages.iter().find(|package| package["name"] == "pkgsrc")?;
    let root = PathBuf::from(package["manifest_path"].as_str()?);
    Some(root.parent()?.join("tests/data/scanindex/report.zst")).filter(|path| path.exists())
}

fn open(path: &PathBuf) -> zstd::Decoder<'static, BufReader<File>> {
    zstd::Decoder::new(File::open(path).unwrap()).unwrap()
}

/// The most memory that this process has had, in MiB.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

#[test]
fn a_real_tree_is_resolved_as_pbulk_resolves_it() {
    let Some(path) = report_file() else {
        eprintln!("skipped: the records of a real tree: the crate pkgsrc does not contain them");
        return;
    };
    measure(&path);
    let mut text = String::new();
    open(&path).read_to_string(&mut text).unwrap();
    // What the crate's own resolver found out is no reason of a recipe.
    let records: String = text
        .split_inclusive('\n')
        .map(|line| match line.starts_with("PKG_FAIL_REASON=\"could not resolve dependency") {
            true => "PKG_FAIL_REASON=\n",
            false => line,
        })
        .collect();
    let records = Records::import(records.as_bytes()).unwrap();
    let resolution = resolve(&records, &NameHolders::default());
    let theirs = depends_of_report(&text);
    compare_depends(&records, &resolution, &theirs);
    compare_depths(&records, &text, &theirs);
    compare_reasons(&records, &resolution);
}

/// Import and resolution in little time and memory; before anything else is in memory.
fn measure(path: &PathBuf) {
    let begin = Instant::now();
    let records = Records::import(BufReader::with_capacity(1 << 20, open(path))).unwrap();
    let imported = begin.elapsed();
    let resolution = resolve(&records, &NameHolders::default());
    let resolved = begin.elapsed();
    let memory = peak_memory();
    let depths = resolution.graph().depths();
    eprintln!(
        "{} records, {} files: import {imported:?}, with resolution {resolved:?}, depths {:?} more, {memory:?} MiB",
        records.len(),
        records.scanned_files(),
        begin.elapsed() - resolved,
    );
    assert_eq!((records.len(), records.scanned_files(), depths.len()), (29_022, 98_513, 29_022));
    assert!(memory.is_none_or(|memory| memory <= 400), "{memory:?} MiB");
    if !cfg!(debug_assertions) {
        assert!(resolved.as_secs_f32() <= 2.5, "{resolved:?}");
    }
}

/// `DEPENDS` of each record of the report, in its order.
fn depends_of_report(text: &str) -> Vec<Vec<&str>> {
    let mut depends: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("PKGNAME=") {
            depends.push(Vec::new());
        } else if let Some(names) = line.strip_prefix("DEPENDS=") {
            *depends.last_mut().unwrap() = names.split_ascii_whitespace().collect();
        }
    }
    depends
}

/// The packages are the same, but for two rules that pbulk does not have: of two versions of one package that could not be
/// installed together one is left out where it fits all, and of equal versions the location counts that the need names.
fn compare_depends(records: &Records, resolution: &DependencyResolution, theirs: &[Vec<&str>]) {
    let name = |index: &u32| records.get(*index).unwrap().pkgname().as_str();
    let (mut equal, mut fewer, mut located) = (0, 0, 0);
    for (index, theirs) in (0..).zip(theirs) {
        let ours: BTreeSet<&str> = resolution.depends(index).iter().map(name).collect();
        let theirs: BTreeSet<&str> = theirs.iter().copied().collect();
        let missing: Vec<PkgName> =
            theirs.difference(&ours).map(|name| PkgName::parse(name).unwrap()).collect();
        let others: Vec<PkgName> =
            ours.difference(&theirs).map(|name| PkgName::parse(name).unwrap()).collect();
        match (missing.as_slice(), others.as_slice()) {
            ([], []) => equal += 1,
            ([..], []) => {
                let is_kept = |name: &str| PkgName::parse(name).unwrap().name() == missing[0].name();
                assert!(
                    missing.len() == 1 && ours.iter().any(|name| is_kept(name)),
                    "{}: {missing:?}",
                    name(&index)
                );
                fewer += 1;
            }
            ([missing], [other]) => {
                assert_eq!(missing.version(), other.version(), "{}: {missing} and {other}", name(&index));
                located += 1;
            }
            _ => panic!("{}: {missing:?} and {others:?}", name(&index)),
        }
    }
    assert_eq!((equal, fewer, located), (28_925, 94, 3));
}

fn compare_depths(records: &Records, text: &str, theirs: &[Vec<&str>]) {
    let indices: HashMap<&str, u32> =
        (0..).zip(records.iter()).map(|(index, record)| (record.pkgname().as_str(), index)).collect();
    let graph = Graph::new(theirs.iter().map(|depends| depends.iter().map(|name| indices[name])));
    let depths: Vec<u32> =
        text.lines().filter_map(|line| line.strip_prefix("PKG_DEPTH=")?.parse().ok()).collect();
    assert_eq!(graph.depths(), depths);
}

fn compare_reasons(records: &Records, resolution: &DependencyResolution) {
    assert_eq!(records.iter().filter(|record| record.skip_reason().is_some()).count(), 1_148);
    assert_eq!(records.iter().filter(|record| record.fail_reason().is_some()).count(), 203);
    let count = |is_meant: fn(&PrefailReason) -> bool| {
        let reasons = resolution.states().iter().filter_map(|state| match state {
            ResolvedState::Prefailed(reason) => Some(reason),
            _ => None,
        });
        reasons.filter(|reason| is_meant(reason)).count()
    };
    assert_eq!(count(|reason| matches!(reason, PrefailReason::Skip(_))), 1_148);
    assert_eq!(count(|reason| matches!(reason, PrefailReason::Fail(_))), 175, "28 have both");
    assert_eq!(count(|reason| matches!(reason, PrefailReason::Unmatched(_))), 6);
    assert_eq!(count(|_| true), 1_148 + 175 + 6, "and no circle");
}
