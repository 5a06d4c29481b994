//! Packages for dpkg, made by dpkg-deb(1).

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use md5::{Digest as _, Md5};

use super::software::{Object, Software};

/// A package for dpkg, before it is built.
pub(crate) type Deb = Software;

impl Deb {
    /// The name of its file.
    pub(crate) fn file_name(&self) -> String {
        let arch = self.arch.as_deref().unwrap_or("all");
        format!("{}_{}_{arch}.deb", self.name, self.version.replace(':', "%3a"))
    }

    /// Builds it for dpkg in a directory; returns the path of its file.
    pub(crate) fn build_deb(&self, into: &Path) -> PathBuf {
        let at = into.join("build");
        let _ = fs::remove_dir_all(&at);
        let control = at.join("DEBIAN");
        make_directory(&control);
        let (mut sums, mut configuration) = (String::new(), String::new());
        for (path, object) in &self.objects {
            let place = at.join(&path[1..]);
            make_parents(&at, &path[1..]);
            match object {
                Object::File(mode, text) => {
                    fs::write(&place, text).unwrap();
                    fs::set_permissions(&place, fs::Permissions::from_mode(*mode)).unwrap();
                    if path.starts_with("/etc/") {
                        writeln!(configuration, "{path}").unwrap();
                    } else if self.has_sums {
                        let sum = Md5::digest(text);
                        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
                        writeln!(sums, "{sum}  {}", &path[1..]).unwrap();
                    }
                }
                Object::Link(target) => symlink(target, &place).unwrap(),
                Object::Directory(mode) => {
                    fs::create_dir_all(&place).unwrap();
                    fs::set_permissions(&place, fs::Permissions::from_mode(*mode)).unwrap();
                }
            }
        }
        let Self { name, version, fields, .. } = self;
        let arch = self.arch.as_deref().unwrap_or("all");
        let said = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: a <a@example.org>\n{fields}\
             Description: a test\n"
        );
        for (file, text) in [("control", &said), ("md5sums", &sums), ("conffiles", &configuration)] {
            if !text.is_empty() {
                fs::write(control.join(file), text).unwrap();
            }
        }
        for (file, text) in &self.scripts {
            fs::write(control.join(file), format!("#!/bin/sh\nset -e\n{text}\n")).unwrap();
            fs::set_permissions(control.join(file), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let to = into.join(self.file_name());
        let mut build = Command::new("dpkg-deb");
        build.args(["-Znone", "--root-owner-group", "--build"]).arg(&at).arg(&to);
        let output = build.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        to
    }
}

/// Makes the directories above a path, with mode 0755.
fn make_parents(at: &Path, path: &str) {
    let mut directory = at.to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    for part in &parts[..parts.len() - 1] {
        directory.push(part);
        make_directory(&directory);
    }
}

fn make_directory(at: &Path) {
    if !at.exists() {
        fs::create_dir_all(at).unwrap();
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The architecture of this machine for dpkg, and another one.
pub(crate) fn architectures() -> (&'static str, &'static str) {
    static OWN: LazyLock<String> = LazyLock::new(|| {
        let output = Command::new("dpkg").arg("--print-architecture").output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    });
    (&OWN, if *OWN == "i386" { "amd64" } else { "i386" })
}
