//! Uploads of a set in pkgsrc's layout: `uploads/<n>/All` with packages and `pkg_summary.gz`, and `SHA512.bz2`.
//!
//! A directory is renamed into place when complete. `uploads/<n>.done` exists after a successful upload.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use patchadm_bulk_values::conf::SandboxMount;
use patchadm_bulk_values::report::UploadReport;
use patchadm_core::namespaces::EnclosureEnd;
use patchadm_rootfs::{Dir, FileType, ObjectStatus, RootError};
use patchadm_svr4::package::Mode;

use crate::base::BaseLayer;
use crate::command_run::{CommandError, run_command};
use crate::runs::read_bounded;
use crate::sandbox::{BuildRoot, BuildUser, SandboxCommand, SandboxLimits, StopCause, TaskLog, environment};
use crate::set::{
    CURRENT, EarlierSet, PACKAGES, SetError, SetManifest, lead, put_file, read_set, set_of_link,
};
use crate::task::installing::stopped_while;
use crate::task::place::TaskPlace;
use crate::task::sandbox_run::run_in_sandbox;
use crate::task::{TaskError, cut};
use crate::tree_copy::copy_file;
use crate::work::{BulkWork, PROGRAM, host_path, made};

pub(crate) const UPLOADS: &str = "uploads";

const ALL: &str = "All";

const SUMMARY: &str = "pkg_summary.gz";
const SUMS: &str = "SHA512.bz2";

const OF_PKGSRC: [&str; 4] = [".tgz", ".tbz", ".txz", ".tar"];

/// Lists packages missing from the summary; maximum size in bytes.
const UNREAD: &[u8] = b"unread";
const LARGEST_LIST: u64 = 64 << 20;

const LONGEST: Duration = Duration::from_secs(4 * 3600);
const LARGEST_LOG: u64 = 1 << 20;

/// Processor seconds and bytes of `pkg_info -X` for one package. A location gets as many seconds for all of its
/// packages, and sixteen times the bytes.
const SECONDS_OF_ONE: &str = "60";
const BYTES_OF_ONE: &str = "1048576";

/// Makes `pkg_summary.gz` and `SHA512.bz2` with the base's programs: packages in `/upload`, name lists in `/packages`,
/// output in `/out`. `/out/unread` lists packages missing from the summary.
const SCRIPT: &str = r#"set -eu
seconds=$1 bytes=$2
PATH=${LOCALBASE:-/usr/pkg}/sbin:${LOCALBASE:-/usr/pkg}/bin:$PATH
export PATH
unset PKG_PATH
# Puts what a command prints into /out/one: so many seconds of each process and so many bytes at most, else it fails.
within() {
    rm -f /out/well
    { (ulimit -t "$1" 2>/dev/null || :; shift 2; exec "$@") && : >/out/well; } | head -c "$2" >/out/one
    [ -e /out/well ] && [ "$(wc -c </out/one)" -lt "$2" ]
}
mkdir /out/All
if [ -s /packages/of-pkgsrc ]; then
    cd /upload/All
    pkg_info=${PKG_INFO:-pkg_info}
    count=$(wc -l </packages/of-pkgsrc)
    # A build may give any file such a name: one that cannot be read, or takes long, is not in the summary, and keeps no other out.
    if within $((seconds + count / 10)) $((16 * bytes + count * bytes / 16)) xargs "$pkg_info" -X </packages/of-pkgsrc; then
        mv /out/one /out/pkg_summary
    else
        last='' spent=0 printed=0
        while read location name; do
            if [ "$location" != "$last" ]; then last=$location spent=0 printed=0; fi
            began=$(date +%s)
            if [ $spent -lt $seconds ] && [ $printed -lt $((16 * bytes)) ] &&
                within $seconds $bytes "$pkg_info" -X "$name" </dev/null
            then
                cat /out/one
                printed=$((printed + $(wc -c </out/one)))
            else
                printf '%s\n' "$name" >>/out/unread
            fi
            spent=$((spent + $(date +%s) - began))
        done </packages/by-location >/out/pkg_summary
        rm -f /out/one
    fi
    rm -f /out/well
    gzip -nc /out/pkg_summary >/out/All/pkg_summary.gz
    rm /out/pkg_summary
fi
sums() {
    if command -v digest >/dev/null 2>&1; then
        xargs digest SHA512
    else
        xargs sha512sum --tag
    fi
}
cd /upload
sums </packages/all >/out/sums
if [ -e /out/All/pkg_summary.gz ]; then
    cd /out
    echo All/pkg_summary.gz | sums >>/out/sums
fi
LC_ALL=C sort /out/sums | bzip2 -c >/out/SHA512.bz2
rm /out/sums
"#;

#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("there is no set of run {0}; `patchadm bulk run` of all packages makes one")]
    NoSet(u64),
    #[error("there is no set yet; `patchadm bulk run` of all packages makes one")]
    NoSetYet,
    #[error(transparent)]
    Set(#[from] SetError),
    /// Files made with the base's programs.
    #[error("pkg_summary.gz and SHA512.bz2 cannot be made: {0}")]
    Files(String),
    #[error("upload_command: {0}")]
    Command(#[from] CommandError),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
    #[error(transparent)]
    Root(#[from] RootError),
}

pub struct UploadRequest<'a> {
    pub work: &'a BulkWork,
    pub base: &'a BaseLayer,
    /// The number of its run.
    pub set: u64,
    /// Upload it again.
    pub again: bool,
    /// Returns the signal to stop.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}

/// Prepares a set and uploads it with the configured command, unless done. The report has a failure.
pub fn upload(request: &UploadRequest<'_>) -> Result<UploadReport, UploadError> {
    let work = request.work;
    let set = read_set(work, request.set)?.ok_or(UploadError::NoSet(request.set))?;
    let (uploads, name) = (work.directory(UPLOADS)?, request.set.to_string());
    let path = work.path.join(UPLOADS).join(&name);
    let done = format!("{name}.done");
    let mut report = UploadReport { directory: path.display().to_string(), ..UploadReport::default() };
    let restricted = set.manifest.files.values().filter(|file| file.is_restricted);
    let restricted: BTreeSet<String> = restricted.map(|file| file.package.clone()).collect();
    report.restricted = restricted.into_iter().collect();
    let (files, left_out) = offered(&set.manifest);
    report.packages = files.len() as u64;
    report.left_out = left_out.into_iter().map(str::to_owned).collect();
    if !is_of_set(&uploads, &name, &set)? {
        match make(request, &uploads, (&name, &set.path), &set.manifest) {
            Ok(unread) => report.unread = unread,
            Err(error) => return failed(report, error),
        }
    }
    lead_to(&uploads, &name)?;
    if uploads.look(done.as_bytes())?.is_some() {
        report.uploaded = true;
        if !request.again {
            return Ok(report);
        }
    }
    let Some(command) = work.conf.upload_command.as_deref() else { return Ok(report) };
    let ran = run_command(command, &path, None, &|| (request.interrupt)().is_some());
    if let (Err(_), Some(signal)) = (&ran, (request.interrupt)()) {
        return Err(UploadError::Interrupted(signal));
    }
    if let Err(error) = ran {
        report.uploaded = false;
        return failed(report, error.into());
    }
    uploads.replace_file(PROGRAM, done.as_bytes(), b"", Mode::of(0o644))?;
    report.uploaded = true;
    Ok(report)
}

/// An interruption stays an error.
fn failed(mut report: UploadReport, error: UploadError) -> Result<UploadReport, UploadError> {
    if matches!(error, UploadError::Interrupted(_)) {
        return Err(error);
    }
    report.error = Some(error.to_string());
    Ok(report)
}

/// Returns offered files with their names in `All`, and paths of the others. Builds choose file names, so no name may
/// replace another package or a generated file.
fn offered(manifest: &SetManifest) -> (Vec<(&str, &str)>, Vec<&str>) {
    let mut free: Vec<_> = manifest.files.iter().filter(|(_, file)| !file.is_restricted).collect();
    // SVR4 packages are named after their owners in the set.
    free.sort_by_key(|(path, file)| (!path.starts_with(PACKAGES), file.location.as_str(), path.as_str()));
    let (mut files, mut left_out) = (BTreeMap::new(), Vec::new());
    for (path, file) in free {
        let name = path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name);
        let of_pkgsrc = OF_PKGSRC.iter().find_map(|end| name.strip_suffix(end));
        let is_of_another = of_pkgsrc.is_some_and(|pkgname| pkgname != file.package);
        if is_of_another || name == SUMMARY || files.contains_key(name) {
            left_out.push(path.as_str());
        } else {
            files.insert(name, path.as_str());
        }
    }
    (files.into_iter().map(|(name, path)| (path, name)).collect(), left_out)
}

/// True if the directory has exactly the set's files. An interrupted upload's is made again.
fn is_of_set(uploads: &Dir, name: &str, set: &EarlierSet) -> Result<bool, RootError> {
    if uploads.look(name.as_bytes())?.is_none() {
        return Ok(false);
    }
    let all = uploads.dir(name.as_bytes())?.dir(ALL.as_bytes())?;
    let (offered, _) = offered(&set.manifest);
    let there = all.names()?.iter().filter(|name| name.as_slice() != SUMMARY.as_bytes()).count();
    if there != offered.len() {
        return Ok(false);
    }
    let top = Dir::of_host(&set.path)?;
    for (place, name) in offered {
        let (directory, _) = place.rsplit_once('/').unwrap_or((PACKAGES, place));
        let directory = directory.split('/').try_fold(top.again()?, |dir, part| dir.dir(part.as_bytes()))?;
        let of = |seen: Option<ObjectStatus>| seen.map(|seen| (seen.size, seen.mtime));
        if of(all.look(name.as_bytes())?) != of(directory.look(name.as_bytes())?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes the directory and renames it into place. Returns packages missing from the summary.
fn make(
    request: &UploadRequest<'_>,
    uploads: &Dir,
    (name, set): (&str, &PathBuf),
    manifest: &SetManifest,
) -> Result<Vec<String>, UploadError> {
    uploads.remove_leftovers(PROGRAM)?;
    let (private, dir) = uploads.make_private(PROGRAM)?;
    let path = host_path(&request.work.path.join(UPLOADS), &private);
    let filled = fill(request, &dir, &path, (set, manifest));
    let named = filled.and_then(|unread| {
        dir.set_own_mode(Mode::of(0o755))?;
        dir.sync()?;
        if uploads.look(name.as_bytes())?.is_some() {
            uploads.exchange(&private, uploads, name.as_bytes())?;
            uploads.sync()?;
            uploads.remove_tree(&private)?;
        } else {
            uploads.move_to(&private, uploads, name.as_bytes())?;
            uploads.sync()?;
        }
        Ok(unread)
    });
    if named.is_err() {
        // The earlier error is reported; the leftovers are removed later.
        let _ = uploads.remove_tree(&private);
    }
    named
}

fn fill(
    request: &UploadRequest<'_>,
    dir: &Dir,
    path: &Path,
    (set, manifest): (&PathBuf, &SetManifest),
) -> Result<Vec<String>, UploadError> {
    let all = made(dir, ALL.as_bytes())?;
    let (offered, _) = offered(manifest);
    for (place, name) in &offered {
        let (directory, _) = place.rsplit_once('/').unwrap_or((PACKAGES, place));
        put_file((&set.join(directory), name), &all, name.as_bytes())?;
    }
    if offered.is_empty() {
        all.sync()?;
        return Ok(Vec::new());
    }
    // The user of builds must be able to read the mount.
    dir.set_own_mode(Mode::of(0o755))?;
    let location = |place: &str| manifest.files.get(place).map_or("", |file| file.location.as_str());
    let names: Vec<(&str, &str)> = offered.iter().map(|(place, name)| (location(place), *name)).collect();
    let place = TaskPlace::make(&request.work.conf.build_dir, &request.work.id)
        .map_err(|error| UploadError::Files(error.to_string()))?;
    let made = summarize(request, &place, path, &names);
    let taken = made.and_then(|()| take_files(&place, (dir, &all), &names));
    place.remove()?;
    let unread = taken?;
    all.sync()?;
    Ok(unread)
}

fn summarize(
    request: &UploadRequest<'_>,
    place: &TaskPlace,
    upload: &Path,
    names: &[(&str, &str)],
) -> Result<(), UploadError> {
    let machine = |error: &dyn std::error::Error| UploadError::Files(error.to_string());
    let lists = place.empty("packages")?;
    let (of_pkgsrc, by_location) = lists_of_pkgsrc(names);
    let all = names.iter().map(|(_, name)| format!("{ALL}/{}\n", quoted(name)));
    for (list, text) in [("of-pkgsrc", of_pkgsrc), ("by-location", by_location), ("all", all.collect())] {
        let mut file = lists.create(list.as_bytes())?;
        file.put(text.as_bytes())?;
        file.set_mode(Mode::of(0o644))?;
    }
    let conf = &request.work.conf;
    let root = BuildRoot {
        kind: request.base.kind,
        ids: request.base.ids,
        lower: vec![request.base.layer.clone()],
        upper: place.part("upper"),
        scratch: place.part("scratch"),
        host: request.base.mounted.clone(),
        mounts: vec![
            SandboxMount::read_only(&conf.tree, "/tree"),
            SandboxMount::read_only(upload, "/upload"),
            SandboxMount::read_only(&place.part("packages"), "/packages"),
            SandboxMount { is_writable: true, source: place.part("out"), target: "/out".into() },
        ],
    };
    root.lay_out(request.interrupt)?;
    request.base.ids.give(&place.dir, b"out", BuildUser::First.id())?;
    let named = conf.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let variables: Vec<_> =
        [("HOME", "/tmp"), ("TMPDIR", "/tmp"), ("SHELL", "/bin/sh")].into_iter().chain(named).collect();
    let command = SandboxCommand {
        words: ["/bin/sh", "-c", SCRIPT, "upload", SECONDS_OF_ONE, BYTES_OF_ONE].map(Into::into).to_vec(),
        environment: environment(&variables),
        directory: "/".to_owned(),
        user: BuildUser::First,
        has_network: false,
        has_terminal: false,
    };
    let mut log = TaskLog::begin(place.dir.create(b"upload.log")?, Some(LARGEST_LOG));
    let limits = SandboxLimits::of(&conf.limits).within(Some(LONGEST));
    let written = [place.part("upper"), place.part("out")];
    let mut ticks = |_, _| (request.interrupt)().is_some();
    let ended = run_in_sandbox(place, (&root, command), (&limits, &written), &mut log, &mut ticks);
    if let Some(signal) = (request.interrupt)() {
        return Err(UploadError::Interrupted(signal));
    }
    let ended = ended.map_err(|error: TaskError| machine(&error))?;
    let how = match (ended.end, ended.stopped) {
        (_, Some(StopCause::Time(took))) => format!("it took {} s", took.as_secs()),
        (_, Some(StopCause::Output(bytes))) => format!("it printed {bytes} bytes"),
        (_, Some(stopped)) => stopped_while(stopped, &conf.limits, "upload").detail,
        (Some(EnclosureEnd::Exited(0)), None) => return Ok(()),
        (Some(EnclosureEnd::Exited(code)), None) => format!("exit {code}"),
        (Some(EnclosureEnd::Signalled(signal) | EnclosureEnd::Lost(signal)), None) => {
            format!("signal {signal}")
        }
        (None, None) => "it was ended".to_owned(),
    };
    let log = place.dir.read_regular(b"upload.log", LARGEST_LOG + 1)?.unwrap_or_default();
    let log = String::from_utf8_lossy(&log).into_owned();
    let last = log.lines().rev().find(|line| !line.trim().is_empty()).map(|line| format!(": {line}"));
    Err(UploadError::Files(cut(format!("{how}{}", last.unwrap_or_default()))))
}

/// Returns a list of pkgsrc packages, and numbered lists by location.
fn lists_of_pkgsrc(names: &[(&str, &str)]) -> (String, String) {
    let is_of_pkgsrc = |(_, name): &&(&str, &str)| OF_PKGSRC.iter().any(|end| name.ends_with(end));
    let mut of_pkgsrc: Vec<_> = names.iter().filter(is_of_pkgsrc).collect();
    let (mut all, mut by_location) = (String::new(), String::new());
    for (_, name) in &of_pkgsrc {
        let _ = writeln!(all, "./{}", quoted(name));
    }
    of_pkgsrc.sort();
    let (mut number, mut last) = (0, "");
    for (location, name) in of_pkgsrc {
        number += u32::from(*location != last);
        last = location;
        let _ = writeln!(by_location, "{number} ./{}", quoted(name));
    }
    (all, by_location)
}

/// Quotes a name for xargs(1) and the shell's `read`.
fn quoted(name: &str) -> String {
    let is_special = |letter: char| letter.is_whitespace() || matches!(letter, '\\' | '"' | '\'');
    name.chars().flat_map(|letter| is_special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

/// Returns packages missing from the summary.
fn take_files(
    place: &TaskPlace,
    (dir, all): (&Dir, &Dir),
    names: &[(&str, &str)],
) -> Result<Vec<String>, UploadError> {
    let out = Dir::of_host(&place.part("out"))?;
    let summaries = out.dir(ALL.as_bytes())?;
    for (from, name, to) in [(&summaries, SUMMARY, all), (&out, SUMS, dir)] {
        if from.look(name.as_bytes())?.is_some_and(|seen| seen.file_type == FileType::Regular) {
            copy_file(from, name.as_bytes(), to, name.as_bytes())?;
            to.set_mode(name.as_bytes(), Mode::of(0o644))?;
        }
    }
    let unread = read_bounded(&out, UNREAD, LARGEST_LIST)?.unwrap_or_default().unwrap_or_default();
    let unread: BTreeSet<&[u8]> =
        unread.split(|&byte| byte == b'\n').filter_map(|name| name.strip_prefix(b"./")).collect();
    let unread = names.iter().filter(|(_, name)| unread.contains(name.as_bytes()));
    Ok(unread.map(|(_, name)| (*name).to_owned()).collect())
}

/// Points `uploads/current` to a set, unless it points to a newer one.
fn lead_to(uploads: &Dir, name: &str) -> Result<(), RootError> {
    let of = |name: &[u8]| std::str::from_utf8(name).ok().and_then(|name| name.parse::<u64>().ok());
    if uploads.look(CURRENT.as_bytes())?.is_some_and(|seen| seen.file_type == FileType::Symlink) {
        let there = uploads.read_link(CURRENT.as_bytes())?;
        if of(&there) >= of(name.as_bytes()) {
            return Ok(());
        }
    }
    lead(uploads, CURRENT, name)
}

/// The default set to upload.
pub fn newest_set(work: &BulkWork) -> Result<u64, UploadError> {
    set_of_link(work, CURRENT)?.ok_or(UploadError::NoSetYet)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use patchadm_bulk_values::result::ResultKey;

    use super::*;
    use crate::set::SetFile;

    /// Runs the script with this `pkg_info` and one second for each package.
    fn summary(pkg_info: &str, names: &[(&str, &str)]) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for directory in ["upload/All", "packages", "out"] {
            std::fs::create_dir_all(path(directory)).unwrap();
        }
        for (_, name) in names {
            std::fs::write(path("upload/All").join(name), "").unwrap();
        }
        let (of_pkgsrc, by_location) = lists_of_pkgsrc(names);
        for (list, text) in [("of-pkgsrc", of_pkgsrc.as_str()), ("by-location", &by_location), ("all", "")] {
            std::fs::write(path("packages").join(list), text).unwrap();
        }
        std::fs::write(path("pkg_info"), format!("#!/bin/sh\nshift\nfor file; do\n{pkg_info}\ndone\n"))
            .unwrap();
        assert!(Command::new("chmod").arg("+x").arg(path("pkg_info")).status().unwrap().success());
        let script = ["/upload", "/packages", "/out"].iter().fold(SCRIPT.to_owned(), |script, place| {
            script.replace(place, &path(&place[1..]).display().to_string())
        });
        // Nothing compresses here, so that the test needs no further program.
        let script = script.replace("gzip -nc", "cat").replace("bzip2 -c", "cat");
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).args(["upload", "1", "1000"]).env("PKG_INFO", path("pkg_info"));
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let text = |name: &str| std::fs::read_to_string(path(name)).unwrap_or_default();
        (text("out/All/pkg_summary.gz"), text("out/unread"))
    }

    #[test]
    fn a_package_that_takes_long_or_has_much_to_say_is_not_in_the_summary_and_keeps_no_other_out() {
        let pkg_info = "case $file in *slow*) while :; do :; done;; *bad*) exit 1;; *long*) head -c 5000 /dev/zero;; esac\n\
                        echo \"PKGNAME=$file\"";
        let packages = [
            ("x/a", "a good.tgz"),
            ("x/evil", "long.tgz"),
            ("x/evil", "slow1.tgz"),
            ("x/evil", "slow2.tgz"),
            ("x/evil", "slow3.tgz"),
            ("x/y", "bad.tgz"),
            ("x/y", "good.tgz"),
            ("x/y", "no.pkg"),
        ];
        let (summary, unread) = summary(pkg_info, &packages);
        assert_eq!(summary, "PKGNAME=./a good.tgz\nPKGNAME=./good.tgz\n");
        assert_eq!(unread, "./long.tgz\n./slow1.tgz\n./slow2.tgz\n./slow3.tgz\n./bad.tgz\n");
    }

    #[test]
    fn packages_that_are_quick_are_read_by_one_call() {
        let (summary, unread) = summary("echo \"$file of $#\"", &[("x/a", "a.tgz"), ("x/b", "b.tar")]);
        assert_eq!((&*summary, &*unread), ("./a.tgz of 2\n./b.tar of 2\n", ""));
    }

    #[test]
    fn no_file_is_uploaded_under_the_name_of_another_package() {
        let file = |location: &str| SetFile {
            run: 1,
            key: ResultKey::parse(&"5".repeat(64)).unwrap(),
            package: format!("{location}-1.0"),
            location: location.to_owned(),
            is_restricted: location == "secret",
            sum: [1; 32],
        };
        let files = [
            ("files/evil-1.0/evil-1.0.tgz", "evil"),
            ("files/evil-1.0/good.pkg", "evil"),
            ("files/evil-1.0/notes", "evil"),
            ("files/evil-1.0/pkg_summary.gz", "evil"),
            ("files/evil-1.0/secret-1.0.tgz", "evil"),
            ("files/evil-1.0/victim-1.0.tgz", "evil"),
            ("files/secret-1.0/secret-1.0.tgz", "secret"),
            ("files/victim-1.0/notes", "victim"),
            ("files/victim-1.0/victim-1.0.tgz", "victim"),
            ("packages/good.pkg", "good"),
        ];
        let files = files.map(|(path, location)| (path.to_owned(), file(location)));
        let manifest = SetManifest { set: 1, date: String::new(), files: files.into() };
        let (offered, left_out) = offered(&manifest);
        let places: Vec<&str> = offered.iter().map(|(path, _)| *path).collect();
        assert_eq!(
            places,
            [
                "files/evil-1.0/evil-1.0.tgz",
                "packages/good.pkg",
                "files/evil-1.0/notes",
                "files/victim-1.0/victim-1.0.tgz"
            ]
        );
        assert_eq!(
            left_out,
            [
                "files/evil-1.0/good.pkg",
                "files/evil-1.0/pkg_summary.gz",
                "files/evil-1.0/secret-1.0.tgz",
                "files/evil-1.0/victim-1.0.tgz",
                "files/victim-1.0/notes"
            ]
        );
    }
}
