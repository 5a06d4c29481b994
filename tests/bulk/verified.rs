//! Results with other bytes than recorded are rejected; a file that was read once is not read again.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::BulkBuild;
use super::machines::with_tree;

/// The file of the package `alone` in the pool, with its path below the pool.
fn file_of(build: &BulkBuild, key: &str) -> (std::path::PathBuf, String) {
    let mut files = fs::read_dir(build.result(key)).unwrap().map(|entry| entry.unwrap().path());
    let path = files.find(|path| path.extension().is_some_and(|end| end == "pkg")).unwrap();
    let below = path.strip_prefix(build.work().join("pool")).unwrap().display().to_string();
    (path, below)
}

/// The inode and change time of a file, as recorded.
fn state(path: &std::path::Path) -> (u64, i64) {
    let seen = fs::metadata(path).unwrap();
    (seen.ino(), seen.ctime() * 1_000_000_000 + seen.ctime_nsec())
}

#[test]
fn a_result_with_other_bytes_is_built_again_and_one_that_is_as_it_was_is_not_read() {
    let Some(build) = with_tree("a_result_with_other_bytes…", "slot=local 1\n") else { return };
    let first = build.run("alone").ends(0);
    let (path, below) = file_of(&build, first.package("alone-1.0")["key"].as_str().unwrap());
    let whole = fs::read(&path).unwrap();
    let (inode, changed) = state(&path);
    // Other bytes of the same length.
    let mut other = whole.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::write(&path, &other).unwrap();
    // A record that matches the current state is believed: the file is not read.
    let noted = fs::read_to_string(build.work().join("verified")).unwrap();
    let (old, new) = (
        format!("{{\"file\":\"{below}\",\"inode\":{inode},\"size\":{},\"ctime\":{changed},", whole.len()),
        format!(
            "{{\"file\":\"{below}\",\"inode\":{inode},\"size\":{},\"ctime\":{},",
            whole.len(),
            state(&path).1
        ),
    );
    assert!(noted.contains(&old), "{noted}");
    fs::write(build.work().join("verified"), noted.replace(&old, &new)).unwrap();
    assert_eq!(build.run("alone").ends(0).in_state("up-to-date"), ["alone"]);
    // Without the record, the file is read, the result set aside, and built again.
    fs::remove_file(build.work().join("verified")).unwrap();
    let again = build.run("alone").ends(0);
    assert_eq!(again.in_state("done"), ["alone"]);
    assert!(
        again.report["notes"].to_string().contains("does not match its recorded digest"),
        "{}",
        again.report["notes"]
    );
    assert_eq!(fs::read(&path).unwrap(), whole);
    let names = fs::read_dir(build.work().join("pool")).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.any(|name| name.starts_with("bad-")), "it is kept beside");
}

#[test]
fn installed_packages_that_lost_something_are_installed_again() {
    let Some(build) = with_tree("installed_packages_that…", "slot=local 1\n") else { return };
    let first = build.run("two").ends(0);
    let results = build.results(&first);
    let sets = || -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(build.work().join("build/installed")).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    };
    let [set] = &sets()[..] else { panic!("{:?}", sets()) };
    let file = set.join("layer/opt/one-1.0");
    let damages: [&dyn Fn(); 3] =
        [&|| fs::write(&file, "").unwrap(), &|| fs::remove_file(&file).unwrap(), &|| {
            fs::remove_file(set.join("complete")).unwrap();
        }];
    for damage in damages {
        damage();
        let again = build.run("two --rebuild two").ends(0);
        assert_eq!(again.in_state("done"), ["two"]);
        assert_eq!(fs::read_to_string(&file).unwrap(), "one-1.0\n");
        assert_eq!(build.results(&again)["two-1.0"], results["two-1.0"]);
        assert!(again.report["not_reproducible"].as_array().unwrap().is_empty());
    }
}
