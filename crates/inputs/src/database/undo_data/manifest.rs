//! Checks manifests: own patch and package, paths inside the root, possible values.

use std::collections::HashSet;

use patchadm_changeset::format::manifest::{FILES, ObjectRecord, RecordedState, UndoManifest, decode};
use patchadm_svr4::package::{ContentsLine, NO_ACCOUNT, ObjectPath, PkgInst, rule};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

const NANOSECONDS_OF_A_SECOND: u32 = 1_000_000_000;

pub(super) fn fault(manifest: &UndoManifest, patch: &str, package: &PkgInst) -> Option<String> {
    let header = &manifest.header;
    let is_same = |text: &str| text == patch || same_id(text, patch);
    if !rule::holds("manifest.header.patch", is_same(&header.patch))
        || !rule::holds("manifest.header.package", header.package == package.as_str())
    {
        return Some(format!("it belongs to patch {}, package {}", header.patch, header.package));
    }
    let parameters: HashSet<&String> = header.parameters.iter().collect();
    let is_set = |name: &String| parameters.contains(name);
    if !rule::holds("manifest.header.silent", header.silent.iter().all(is_set)) {
        return Some("`silent` has a parameter that the patch did not set".to_owned());
    }
    let are_fractions = header.record_times.values().all(|part| *part < NANOSECONDS_OF_A_SECOND);
    if !rule::holds("manifest.header.record_times", are_fractions) {
        return Some("manifest, `record_times`: nanoseconds must be less than a second".to_owned());
    }
    if let Some(reason) = fault_of_files(manifest) {
        return Some(reason.to_owned());
    }
    fault_of_objects(manifest, package).or_else(|| fault_of_libraries(manifest))
}

/// A run could have made the undo directories, and they contain every saved object.
fn fault_of_files(manifest: &UndoManifest) -> Option<&'static str> {
    let files = manifest.header.files.as_ref();
    let is_named = manifest.header.features.iter().any(|word| word == FILES);
    if !rule::holds("manifest.header.files", files.is_some() == is_named) {
        return Some("`files` and its feature are not both present");
    }
    let Some(files) = files else {
        let has_none = manifest.all_objects().all(|object| object.file.is_none());
        return (!rule::holds("manifest.file.alone", has_none))
            .then_some("`file` is set without an undo directory");
    };
    if !rule::holds("manifest.header.files.possible", files.is_possible()) {
        return Some("`files` has an undo directory that no run makes");
    }
    let count = files.directories.len();
    let mut taken = HashSet::new();
    let mut is_possible = |object: &ObjectRecord| match (&object.member, object.stored_name()) {
        (None, None) => object.file.is_none(),
        (Some(_), Some(name)) => name.directory < count && taken.insert(name),
        _ => false,
    };
    let are_possible = manifest.all_objects().all(&mut is_possible);
    (!rule::holds("manifest.file", are_possible))
        .then_some("`file` is not a valid place for an object, or is listed for two objects")
}

fn fault_of_objects(manifest: &UndoManifest, package: &PkgInst) -> Option<String> {
    let (mut paths, reserved) = (HashSet::new(), reserved());
    manifest.objects.iter().find_map(|record| {
        let reason = if rule::holds("manifest.path.once", paths.insert(record.path.as_str())) {
            fault_of_record(record, package, &reserved)?
        } else {
            "it is listed twice"
        };
        Some(format!("manifest, path {}: {reason}", record.path))
    })
}

/// Kept libraries belong to the package in the header.
fn fault_of_libraries(manifest: &UndoManifest) -> Option<String> {
    let (header, mut paths, reserved) = (&manifest.header, HashSet::new(), reserved());
    let named: HashSet<&str> = header.kept.iter().map(String::as_str).collect();
    let is_package = |name: &&str| PkgInst::new(name).is_ok() && *name != header.package;
    if !rule::holds("manifest.header.kept", named.iter().all(is_package)) {
        return Some("`kept` names a package that does not keep libraries".to_owned());
    }
    manifest.shlibs.iter().find_map(|record| {
        let package = record.shlib.as_deref().and_then(|name| PkgInst::new(name).ok());
        let package = package.filter(|package| named.contains(package.as_str()));
        let Some(package) = package else {
            return Some(format!(
                "manifest, path {}: `shlib` is a package that it does not name",
                record.path
            ));
        };
        let is_own = |text: &Option<Box<str>>| {
            let line = text.as_ref().and_then(|text| ContentsLine::parse(&decode(text)).ok());
            line.is_some_and(|line| line.is_owned_by(&package))
        };
        let reason = if !rule::holds("manifest.shlib.once", paths.insert(record.path.as_str())) {
            "it is listed twice"
        } else if !rule::holds("manifest.shlib.line", is_own(&record.line)) {
            "`line` does not belong to the kept package"
        } else {
            let record = ObjectRecord { new_line: record.line.clone(), ..record.clone() };
            fault_of_record(&record, &package, &reserved)?
        };
        Some(format!("manifest, path {}: {reason}", record.path))
    })
}

fn same_id(one: &str, other: &str) -> bool {
    PatchId::new(one).is_ok_and(|one| PatchId::new(other).is_ok_and(|other| one == other))
}

fn fault_of_record(
    record: &ObjectRecord,
    package: &PkgInst,
    reserved: &[ObjectPath],
) -> Option<&'static str> {
    let Ok(path) = ObjectPath::new(&decode(&record.path)) else {
        return Some("it is not a path inside the root");
    };
    if !rule::holds(
        "manifest.path.reserved",
        !reserved.iter().any(|reserved| path == *reserved || path.is_below(reserved)),
    ) {
        return Some("no patch changes this path");
    }
    for (text, is_new) in [(&record.line, false), (&record.new_line, true)] {
        let Some(text) = text else { continue };
        let Ok(line) = ContentsLine::parse(&decode(text)) else {
            return Some("`line` or `new_line` is not a line of contents");
        };
        if !rule::holds("manifest.line.path", line.path == path) {
            return Some("`line` or `new_line` belongs to another path");
        }
        if is_new
            && !rule::holds(
                "manifest.line.package",
                line.is_owned_by(package) || record.line == record.new_line,
            )
        {
            return Some("`new_line` belongs to another package");
        }
    }
    let is_there = record.became.is_some() || record.kept;
    if !rule::holds("manifest.delivered", !record.delivered || is_there) {
        return Some("`delivered` is set for an object that the patch removed");
    }
    [&record.was, &record.became].into_iter().flatten().find_map(fault_of_state)
}

fn reserved() -> Vec<ObjectPath> {
    [Some(places::own_directory()), places::policy().parent()].into_iter().flatten().collect()
}

fn fault_of_state(state: &RecordedState) -> Option<&'static str> {
    if !rule::holds("manifest.mode", state.mode <= 0o7777) {
        return Some("`mode` has bits other than permission bits");
    }
    if !rule::holds("manifest.owner", state.uid != NO_ACCOUNT && state.gid != NO_ACCOUNT) {
        return Some("`uid` or `gid` is not valid");
    }
    if !rule::holds("manifest.mtime", state.mtime.nanoseconds < NANOSECONDS_OF_A_SECOND) {
        return Some("`mtime` has more nanoseconds than a second");
    }
    if !rule::holds("manifest.b3", state.b3.is_none() || state.digest().is_some()) {
        return Some("`b3` is not a digest");
    }
    rule_of_attributes(state)
}

fn rule_of_attributes(state: &RecordedState) -> Option<&'static str> {
    let is_value =
        |value: &String| value.len().is_multiple_of(2) && value.bytes().all(|b| b.is_ascii_hexdigit());
    let is_name = |name: &String| !name.is_empty() && !decode(name).contains(&0);
    let are_attributes = state.xattrs.iter().all(|(name, value)| is_name(name) && is_value(value));
    let kept = rule::holds("manifest.xattrs", are_attributes);
    (!kept).then_some("`xattrs` has a name or value that is not valid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_changeset::format::manifest::{ManifestHeader, UndoFiles, encode};
    use patchadm_rootfs::{Digest, FileType, Timestamp};

    const LINE: &str = "/opt/a f none 0644 root root 1 2 3 X";

    fn state() -> RecordedState {
        RecordedState {
            kind: FileType::Regular,
            mode: 0o7777,
            uid: 7,
            gid: 8,
            mtime: Timestamp { seconds: 1, nanoseconds: 999_999_999 },
            size: Some(1),
            b3: Some(Box::new(Digest([7; 32]).into())),
            target: None,
            device: None,
            xattrs: [("user.a".to_owned(), "00ff".to_owned())].into(),
            group: None,
        }
    }

    fn record(path: &str) -> ObjectRecord {
        ObjectRecord {
            path: path.to_owned(),
            was: Some(state()),
            line: None,
            became: Some(state()),
            new_line: Some(encode(LINE.replace("/opt/a", path).as_bytes()).into()),
            kept: false,
            delivered: false,
            member: None,
            shlib: None,
            file: None,
        }
    }

    fn manifest(objects: Vec<ObjectRecord>) -> UndoManifest {
        let header = ManifestHeader::of("100-01", "X", &"0".repeat(16));
        UndoManifest { header, objects, shlibs: Vec::new() }
    }

    fn fault_of(manifest: &UndoManifest) -> Option<String> {
        fault(manifest, "100-01", &PkgInst::new("X").unwrap())
    }

    #[test]
    fn what_a_run_writes_has_no_fault() {
        assert_eq!(fault_of(&manifest(vec![record("/opt/a"), record("/opt/b")])), None);
        let respelled = manifest(vec![]);
        assert_eq!(fault(&respelled, "100-1", &PkgInst::new("X").unwrap()), None);
    }

    #[test]
    fn a_manifest_is_that_of_its_patch_and_package() {
        for (patch, package) in [("200-01", "X"), ("100-01", "Y")] {
            let found = fault(&manifest(vec![]), patch, &PkgInst::new(package).unwrap());
            assert_eq!(found.as_deref(), Some("it belongs to patch 100-01, package X"));
        }
    }

    #[test]
    fn silence_is_about_parameters_that_the_patch_set() {
        let mut silent = manifest(vec![]);
        silent.header.silent = vec!["SUNW_REQUIRES".to_owned()];
        assert!(fault_of(&silent).unwrap().contains("`silent`"));
        silent.header.parameters = silent.header.silent.clone();
        assert_eq!(fault_of(&silent), None);
    }

    #[test]
    fn undo_directories_are_those_of_runs_and_hold_each_object_once() {
        let run = "17-00000000000000ab";
        let files = |directory: &str| UndoFiles {
            run: run.to_owned(),
            directories: vec![directory.replace("RUN", run)],
        };
        let stored = |path: &str, member: Option<&str>, file: &str| ObjectRecord {
            member: member.map(Into::into),
            file: Some(file.into()),
            ..record(path)
        };
        let mut good = manifest(vec![stored("/opt/a", Some("a"), "0/1"), record("/opt/b")]);
        good.header.files = Some(files("/var/sadm/patchadm/undo/RUN"));
        good.header.features.push(FILES.to_owned());
        assert_eq!(fault_of(&good), None);
        let lies: [fn(&mut UndoManifest); 4] = [
            |lying| lying.objects[0].file = Some("1/1".into()),
            |lying| lying.objects[0].file = Some("0/../1".into()),
            |lying| lying.objects[0].member = None,
            |lying| {
                lying.objects[1].member = Some("b".into());
                lying.objects[1].file = Some("0/1".into());
            },
        ];
        for lie in lies {
            let mut lying = good.clone();
            lie(&mut lying);
            assert_eq!(
                fault_of(&lying).as_deref(),
                Some("`file` is not a valid place for an object, or is listed for two objects")
            );
        }
        let mut lying = good.clone();
        lying.header.files = Some(files("/etc"));
        assert_eq!(fault_of(&lying).as_deref(), Some("`files` has an undo directory that no run makes"));
        let mut lying = good.clone();
        lying.header.features.pop();
        assert_eq!(fault_of(&lying).as_deref(), Some("`files` and its feature are not both present"));
        lying.header.files = None;
        assert_eq!(fault_of(&lying).as_deref(), Some("`file` is set without an undo directory"));
    }

    #[test]
    fn kept_libraries_are_there_once_and_of_packages_that_the_header_names() {
        let line = encode(LINE.replace(" X", " X-SO").as_bytes());
        let library = ObjectRecord {
            line: Some(line.into()),
            new_line: None,
            became: None,
            shlib: Some("X-SO".into()),
            ..record("/opt/a")
        };
        let mut told = manifest(vec![]);
        told.header.kept = vec!["X-SO".to_owned()];
        told.shlibs = vec![library.clone()];
        assert_eq!(fault_of(&told), None);

        let twice = UndoManifest { shlibs: vec![library.clone(), library.clone()], ..told.clone() };
        assert!(fault_of(&twice).unwrap().ends_with("it is listed twice"));
        let own = ObjectRecord { line: Some(encode(LINE.as_bytes()).into()), ..library };
        let of_another = UndoManifest { shlibs: vec![own], ..told.clone() };
        assert!(fault_of(&of_another).unwrap().ends_with("`line` does not belong to the kept package"));
        for kept in [vec!["X".to_owned()], vec!["../X".to_owned()]] {
            let mut lying = UndoManifest { shlibs: Vec::new(), ..told.clone() };
            lying.header.kept = kept;
            assert!(fault_of(&lying).unwrap().starts_with("`kept` names"));
        }
        told.header.kept.clear();
        assert!(fault_of(&told).unwrap().ends_with("`shlib` is a package that it does not name"));
    }

    #[test]
    fn no_path_is_there_twice_or_reserved_and_lines_are_those_of_path_and_package() {
        let twice = manifest(vec![record("/opt/a"), record("/opt/a")]);
        assert!(fault_of(&twice).unwrap().ends_with("it is listed twice"));
        for path in ["/var/sadm/patchadm/root-id", "/etc/patchadm/policy", "/etc/patchadm"] {
            let found = fault_of(&manifest(vec![record(path)])).unwrap();
            assert!(found.contains("no patch changes"), "{path}: {found}");
        }
        for line in [LINE.replace("/opt/a", "/opt/b"), LINE.replace(" X", " Y"), "garbage".to_owned()] {
            let lying = ObjectRecord { new_line: Some(encode(line.as_bytes()).into()), ..record("/opt/a") };
            assert!(fault_of(&manifest(vec![lying])).is_some(), "{line}");
        }
        let up = ObjectRecord { path: "/opt/../etc/passwd".to_owned(), ..record("/opt/a") };
        assert!(fault_of(&manifest(vec![up])).is_some());
    }

    #[test]
    fn what_a_patch_delivers_is_there_after_it_or_beside_what_was_kept() {
        let gone = ObjectRecord { became: None, new_line: None, delivered: true, ..record("/opt/a") };
        let found = fault_of(&manifest(vec![gone.clone()])).unwrap();
        assert!(found.contains("`delivered`"), "{found}");
        assert_eq!(fault_of(&manifest(vec![ObjectRecord { kept: true, ..gone }])), None);
    }

    #[test]
    fn the_times_of_records_have_less_than_a_second_below_the_second() {
        for (part, is_fault) in [(999_999_999, false), (1_000_000_000, true)] {
            let mut manifest = manifest(vec![]);
            manifest.header.record_times.insert("pkginfo".to_owned(), part);
            assert_eq!(fault_of(&manifest).is_some(), is_fault, "{part}");
        }
    }

    #[test]
    fn states_have_values_that_objects_can_have() {
        let bad = [
            RecordedState { mode: 0o10_000, ..state() },
            RecordedState { uid: u32::MAX, ..state() },
            RecordedState { gid: u32::MAX, ..state() },
            RecordedState { mtime: Timestamp { seconds: 0, nanoseconds: 1_000_000_000 }, ..state() },
            RecordedState { b3: Some(Box::new("07".to_owned().into())), ..state() },
            RecordedState { xattrs: [("user.a".to_owned(), "0".to_owned())].into(), ..state() },
            RecordedState { xattrs: [(String::new(), "00".to_owned())].into(), ..state() },
        ];
        for state in bad {
            let was = ObjectRecord { was: Some(state.clone()), ..record("/opt/a") };
            let became = ObjectRecord { became: Some(state), ..record("/opt/a") };
            assert!(fault_of(&manifest(vec![was])).is_some());
            assert!(fault_of(&manifest(vec![became])).is_some());
        }
    }
}
