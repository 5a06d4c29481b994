//! The bench for hostile sources: a root with a package on it, a canary beside it, and a patch for the package that is
//! good until something is done to it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use patchadm_svr4::package::unescape;

use super::archives::{self, Cpio, Tar};
use crate::delivery::{Patch, gzip};
use crate::packages::{self, Package};
use crate::scenario::Scenario;

/// The patch of every case.
pub(super) const ID: &str = "900-01";

/// An admin file that allows scripts and set-id programs, as patchadd(1M) does.
const ADMIN: &str = "basedir=default\nsetuid=nocheck\nconflict=nocheck\naction=nocheck\n";

/// The stage of one case.
pub(super) struct Bench {
    pub(super) stage: Scenario,
}

impl Bench {
    /// A root on which nothing has happened yet, to be copied by [`Self::copy_of`].
    pub(super) fn template() -> Self {
        let stage = Scenario::new();
        let installed = Package::new("ACMEweb")
            .file("bin/httpd", 0o755, "one\n")
            .file("bin/su", 0o4755, "set-id\n")
            .file("lib/x", 0o644, "x\n")
            .content('e', "etc/conf", 0o644, "root root", packages::DELIVERED, "conf\n")
            .directory("share")
            .symlink("lib/way", "../share");
        let (spool, admin) = (stage.beside("spool"), stage.beside("admin"));
        installed.write(&spool);
        fs::write(&admin, ADMIN).unwrap();
        let line = format!("pkgadd -n -S -a {} -R @ROOT@ -d spool ACMEweb", admin.display());
        stage.run(&line).fails(0);
        stage.file("/home/user/notes", "mine\n");
        stage.symlink("/opt/ACMEweb/theirs", "/home/user");
        stage.symlink("/opt/ACMEweb/out", "../../../canary");
        Self { stage }
    }

    /// A copy of this stage, with a canary beside its root.
    pub(super) fn copy_of(template: &Self) -> Self {
        let bench = Self { stage: Scenario::bare() };
        let from = template.stage.root().join(".");
        let copied = Command::new("cp").arg("-a").arg(from).arg(bench.stage.root()).status().unwrap();
        assert!(copied.success());
        fs::write(bench.stage.beside("admin"), ADMIN).unwrap();
        let canary = bench.stage.beside("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("passwd"), "root:x:0:0\n").unwrap();
        fs::write(canary.join("set-id"), "bird\n").unwrap();
        fs::set_permissions(canary.join("set-id"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("passwd", canary.join("link")).unwrap();
        bench
    }

    /// The canary's directory, as an absolute path.
    pub(super) fn canary(&self) -> String {
        self.stage.beside("canary").to_str().unwrap().to_owned()
    }

    /// A sparse package for a patch, that replaces one file.
    pub(super) fn web() -> Package {
        Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n")
    }

    /// The directory of the patch of this package.
    pub(super) fn patch(&self, package: Package) -> PathBuf {
        Patch::of(ID, package).directory(&self.stage)
    }

    /// The patch with more lines in its pkgmap. Their objects exist in the source if a file can be made: each is `x`
    /// and a newline.
    pub(super) fn lines(&self, lines: &[&str]) -> PathBuf {
        let lines = lines
            .iter()
            .zip(0..)
            .map(|(line, number)| (format!("~{number}"), line.replace("@CANARY@", &self.canary())));
        let package = lines.clone().fold(Self::web(), |package, (key, line)| package.line(&key, &line));
        let directory = self.patch(package);
        for (_, line) in lines {
            let mut fields = line.split(' ');
            let is_file = fields.next().is_some_and(|ftype| ["f", "e", "v"].contains(&ftype));
            let Some(path) = fields.nth(1).filter(|path| is_file && !path.contains("..")) else { continue };
            let place = path.strip_prefix('/').map_or(format!("reloc/{path}"), |path| format!("root/{path}"));
            let file = directory.join("ACMEweb").join(OsStr::from_bytes(&unescape(place.as_bytes())));
            // A file that cannot be made is not needed: the line is refused.
            if fs::create_dir_all(file.parent().unwrap()).is_ok() {
                let _ = fs::write(file, "x\n");
            }
        }
        directory
    }

    /// Applies an earlier patch with this line in its pkgmap.
    pub(super) fn earlier(&self, line: &str) {
        self.apply(&Patch::of("800-01", Package::new("ACMEweb").line("~", line)));
    }

    /// Applies a patch before the case begins.
    pub(super) fn apply(&self, patch: &Patch) {
        let directory = patch.directory(&self.stage);
        self.stage.run(&format!("patchadd -R @ROOT@ {}", directory.display())).fails(0);
    }

    /// The patch with damage to the directory of its package.
    pub(super) fn damaged(&self, damage: impl Fn(&Path)) -> PathBuf {
        let directory = self.patch(Self::web());
        damage(&directory.join("ACMEweb"));
        directory
    }

    /// The patch with a text replaced in one of the files of its package.
    pub(super) fn edited(&self, file: &str, from: &str, to: &str) -> PathBuf {
        self.damaged(|package| {
            let text = fs::read_to_string(package.join(file)).unwrap();
            assert!(text.contains(from), "{from} is in {text}");
            fs::write(package.join(file), text.replacen(from, to, 1)).unwrap();
        })
    }

    /// A file with these bytes beside the root, to be delivered.
    pub(super) fn source(&self, suffix: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.stage.beside(&format!("{ID}{suffix}"));
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The files of the package of a patch, by their names below the directory of the package.
    pub(super) fn files(&self, package: Package) -> Vec<(String, Vec<u8>)> {
        let directory = self.patch(package).join("ACMEweb");
        let read = |name: String| (name.clone(), fs::read(directory.join(name)).unwrap());
        let mut files: Vec<_> = packages::files(&directory).into_iter().map(read).collect();
        // As in an archive, the files that describe the package come first.
        files.sort_by_key(|(name, _)| (name.contains('/'), name.clone()));
        fs::remove_dir_all(directory.parent().unwrap()).unwrap();
        files
    }

    /// The patch as a tar archive with more members behind it.
    pub(super) fn tar(&self, package: Package, more: &[Tar]) -> PathBuf {
        self.source(".tar", self.tarred(package, more))
    }

    /// The bytes of such an archive.
    pub(super) fn tarred(&self, package: Package, more: &[Tar]) -> Vec<u8> {
        let files = self.files(package).into_iter();
        let own = files.map(|(name, data)| Tar::file(format!("{ID}/ACMEweb/{name}"), data));
        archives::tar(&own.chain(more.iter().cloned()).collect::<Vec<_>>())
    }

    /// The patch as a zip archive with more files, and a symbolic link if one is given.
    pub(super) fn zip(
        &self,
        package: Package,
        more: &[(&str, &[u8])],
        link: Option<(&str, &str)>,
    ) -> PathBuf {
        self.source(".zip", self.zipped(package, more, link))
    }

    /// The bytes of such an archive.
    pub(super) fn zipped(
        &self,
        package: Package,
        more: &[(&str, &[u8])],
        link: Option<(&str, &str)>,
    ) -> Vec<u8> {
        let own = self.files(package).into_iter().map(|(name, data)| (format!("{ID}/ACMEweb/{name}"), data));
        let more = more.iter().map(|(name, data)| ((*name).to_owned(), data.to_vec()));
        archives::zip(&own.chain(more).collect::<Vec<_>>(), link)
    }

    /// The patch as a datastream with more members behind those of its one part.
    pub(super) fn stream(&self, package: Package, more: &[Cpio]) -> PathBuf {
        self.source(".ds", self.streamed("070701", package, more))
    }

    /// The bytes of such a stream, with headers of this form.
    pub(super) fn streamed(&self, magic: &str, package: Package, more: &[Cpio]) -> Vec<u8> {
        let own: Vec<_> =
            self.files(package).into_iter().map(|(name, data)| Cpio::file(name, data)).collect();
        let first = own.iter().filter(|member| member.name.starts_with(b"pkg"));
        let first: Vec<Cpio> = first
            .map(|member| Cpio { name: [b"ACMEweb/", &member.name[..]].concat(), ..member.clone() })
            .collect();
        let part: Vec<Cpio> = own.iter().chain(more).cloned().collect();
        let archives = [archives::cpio(magic, &first), archives::cpio(magic, &part)];
        archives::datastream("ACMEweb 1 100\n", &archives)
    }

    /// The tar archive of the patch, compressed.
    pub(super) fn gzipped(&self) -> Vec<u8> {
        gzip(&self.tarred(Self::web(), &[]))
    }

    /// A directory with a new package in it.
    pub(super) fn spool(&self, package: &Package) -> PathBuf {
        let spool = self.stage.beside("spool");
        package.write(&spool);
        spool
    }
}
