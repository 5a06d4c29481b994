//! The part of pkgadd that calls the scripts of a package in its order: environment, response file, class list.
//!
//! Objects without content are made by the driver, files by the class action script; records are written with
//! installf(1M) and removef(1M), the tools that scripts have. As with the pkgadd of System V, the database has the
//! state with the new package before the first script other than checkinstall runs. Other duties of pkgadd are out of
//! scope.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use patchadm_svr4::format::params::{self, ParamFile};
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::{Ftype, Params};

use super::Interpreters;
use crate::scenario::Scenario;

/// The patched package, and its directory.
const PACKAGE: &str = "ACMEweb";
const BASE: &str = "/opt/ACMEweb";

/// A pkgmk that leaves the modes of directories and information files to the umask, as on System V.
const OTHER_PKGMK: &str = "#!/bin/sh
PKGMK \"$@\" || exit
while [ $# -gt 1 ]; do
	if [ \"$1\" = -d ]; then
		find \"$2\" -type d -exec chmod =rwx {} +
		find \"$2\" -path '*/install/*' -type f -exec chmod =rw {} +
	fi
	shift
done
";

/// Calls scripts with one shell and one awk.
pub(super) struct ScriptDriver<'s> {
    stage: &'s Scenario,
    shell: Vec<String>,
    /// Directory with the tools of the current patch.
    tools: PathBuf,
    count: RefCell<u32>,
}

/// Result of a script, or of the first one that failed.
#[derive(Debug)]
pub(super) struct ScriptRun {
    pub(super) code: i32,
    pub(super) said: String,
    /// Lines that it added to the response file.
    pub(super) added: String,
}

impl ScriptRun {
    #[track_caller]
    pub(super) fn expect_end(&self, code: i32) {
        assert_eq!(self.code, code, "{}", self.said);
    }
}

impl<'s> ScriptDriver<'s> {
    pub(super) fn new(stage: &'s Scenario, interpreters: &Interpreters) -> Self {
        let tools = stage.beside("tools");
        fs::create_dir(&tools).unwrap();
        stage.run("setup links tools").ok();
        symlink(env!("CARGO_BIN_EXE_patchadm"), tools.join("compress")).unwrap();
        symlink(env!("CARGO_BIN_EXE_patchadm"), tools.join("nawk")).unwrap();
        let shell = interpreters.shell.clone();
        let driver = Self { stage, shell, tools, count: RefCell::new(0) };
        driver.tool("nawk", &format!("#!/bin/sh\nexec {} \"$@\"\n", interpreters.awk.join(" ")));
        let ours = driver.stage.beside("pkgmk");
        symlink(env!("CARGO_BIN_EXE_patchadm"), &ours).unwrap();
        driver.tool("pkgmk", &OTHER_PKGMK.replace("PKGMK", ours.to_str().unwrap()));
        driver
    }

    /// Replaces a tool with another program.
    pub(super) fn tool(&self, name: &str, text: &str) {
        let path = self.tools.join(name);
        fs::remove_file(&path).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn records(&self, package: &str) -> PathBuf {
        self.stage.at("/var/sadm/pkg").join(package)
    }

    fn installed(&self) -> Params {
        params::parse(&fs::read(self.records(PACKAGE).join("pkginfo")).unwrap()).unwrap()
    }

    /// A parameter of the installed package; empty if it is missing.
    pub(super) fn parameter(&self, name: &str) -> String {
        self.installed().text(name).into_owned()
    }

    /// Replaces the records about patches in the parameters of a package.
    pub(super) fn set_parameters(&self, package: &str, lines: &str) {
        let path = self.records(package).join("pkginfo");
        let text = fs::read_to_string(&path).unwrap();
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("PATCH")).collect();
        fs::write(path, format!("{}\n{lines}\n", kept.join("\n"))).unwrap();
    }

    /// The names in the save directory of a patch.
    pub(super) fn saved(&self, id: &str) -> Vec<String> {
        let entries = fs::read_dir(self.records(PACKAGE).join("save").join(id)).into_iter().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The environment of the scripts of an update.
    fn environment(&self, delivered: &Params, response: &Params) -> Params {
        let mut environment = Params::new();
        for (name, value) in self.installed().iter().chain(delivered.iter()).chain(response.iter()) {
            environment.set(name, value);
        }
        let root = self.stage.root().display().to_string();
        for (name, value) in [
            ("PKGINST", PACKAGE),
            ("UPDATE", "yes"),
            ("CLIENT_BASEDIR", BASE),
            ("PKG_INSTALL_ROOT", &root),
            ("BASEDIR", &format!("{root}{BASE}")),
            ("PKGSAV", &format!("{root}/var/sadm/pkg/{PACKAGE}/save")),
            ("PATH", &format!("{}:/usr/bin:/bin", self.tools.display())),
            ("TZ", "UTC0"),
        ] {
            environment.set(name, value);
        }
        environment
    }

    fn run(&self, script: &Path, arguments: &[&Path], environment: &Params, list: &str) -> ScriptRun {
        let mut child = Command::new(&self.shell[0])
            .args(&self.shell[1..])
            .arg(script)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, String::from_utf8_lossy(value).into_owned())))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A script that reads no list may have ended.
        let _ = child.stdin.take().unwrap().write_all(list.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        ScriptRun { code: output.status.code().unwrap_or(-1), said, added: String::new() }
    }

    /// Runs a class action script on a list.
    pub(super) fn run_class(&self, script: &Path, list: &str) -> ScriptRun {
        self.run(script, &[Path::new("ENDOFCLASS")], &self.environment(&Params::new(), &Params::new()), list)
    }

    /// Runs checkinstall alone, with this response file.
    pub(super) fn check(&self, package: &Path, response: &str) -> ScriptRun {
        *self.count.borrow_mut() += 1;
        let file = self.stage.beside(&format!("response.{}", self.count.borrow()));
        fs::write(&file, response).unwrap();
        let delivered = params::parse(&fs::read(package.join("pkginfo")).unwrap()).unwrap();
        let environment = self.environment(&delivered, &params::parse(response.as_bytes()).unwrap());
        let mut run = self.run(&package.join("install/checkinstall"), &[&file], &environment, "");
        let after = fs::read_to_string(file).unwrap();
        after.strip_prefix(response).unwrap().clone_into(&mut run.added);
        run
    }

    /// Installs a sparse package over the installed one, like pkgadd under patchadd; ends at the first script that
    /// fails.
    pub(super) fn apply(&self, package: &Path, response: &str) -> ScriptRun {
        self.install(package, response, true)
    }

    /// As `apply`, but without postinstall and everything after it.
    pub(super) fn apply_without_postinstall(&self, package: &Path, response: &str) {
        self.install(package, response, false).expect_end(0);
    }

    /// Installs the undo package of a patch, like pkgadd under patchrm.
    pub(super) fn back_out(&self, id: &str) -> ScriptRun {
        let package = self.unpack(id);
        let (list, counts) = (self.parameter("PATCHLIST"), self.parameter("PATCH_OBSOLETES"));
        let response = format!("OLDLIST=\"{list}\"\nPATCH_OBSOLETES=\"{counts}\"\n");
        self.install(&package, &response, true)
    }

    /// Unpacks the undo package of a patch into a directory.
    pub(super) fn unpack(&self, id: &str) -> PathBuf {
        let archive = self.records(PACKAGE).join("save").join(id).join("undo.Z");
        let unpacked = self.stage.beside(&format!("undo.{id}"));
        fs::create_dir(&unpacked).unwrap();
        let said =
            self.stage.run(&format!("pkgtrans {} {} {PACKAGE}", archive.display(), unpacked.display()));
        assert_eq!(said.code, 0, "{}", said.stderr);
        unpacked.join(PACKAGE)
    }

    /// Makes the undo data of a patch active again, as patchrm does after a backout.
    pub(super) fn mark_active(&self, id: &str) {
        let save = self.records(PACKAGE).join("save").join(id);
        if fs::remove_file(save.join("obsoleted_by")).is_ok() {
            fs::rename(save.join("obsolete.Z"), save.join("undo.Z")).unwrap();
        }
    }

    /// Writes the lines of the objects of a package to `contents`.
    fn record_first(&self, package: &Path) {
        let at = self.stage.at("/var/sadm/install/contents");
        let text = fs::read_to_string(&at).unwrap();
        let path_of = |line: &str| line.split([' ', '=']).next().unwrap().to_owned();
        let mut lines: BTreeMap<String, String> =
            self.stage.lines().into_iter().map(|line| (path_of(&line), line)).collect();
        for line in fs::read_to_string(package.join("pkgmap")).unwrap().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if words[0] != "1" || words[1] == "i" {
                continue;
            }
            let path =
                if words[3].starts_with('/') { words[3].to_owned() } else { format!("{BASE}/{}", words[3]) };
            let words = [&[&path, words[1], words[2]], &words[4..], &[PACKAGE]].concat();
            lines.insert(path_of(&path), words.join(" "));
        }
        let comments: String =
            text.lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        let lines: String = lines.values().map(|line| format!("{line}\n")).collect();
        fs::write(at, lines + &comments).unwrap();
    }

    fn install(&self, package: &Path, response: &str, has_postinstall: bool) -> ScriptRun {
        let checked = self.check(package, response);
        if checked.code != 0 {
            return checked;
        }
        let delivered = params::parse(&fs::read(package.join("pkginfo")).unwrap()).unwrap();
        let answers = params::parse(format!("{response}\n{}", checked.added).as_bytes()).unwrap();
        let environment = self.environment(&delivered, &answers);
        self.record_first(package);
        let kept = self.records(PACKAGE).join("install");
        fs::create_dir_all(&kept).unwrap();
        for entry in fs::read_dir(package.join("install")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), kept.join(entry.file_name())).unwrap();
        }
        let call = |name: &str| match kept.join(name) {
            // A script that an earlier package left there does not run.
            script if package.join("install").join(name).exists() => self.run(&script, &[], &environment, ""),
            _ => ScriptRun { code: 0, said: String::new(), added: String::new() },
        };
        let prepared = call("preinstall");
        if prepared.code != 0 {
            return prepared;
        }
        let placed = self.place_objects(package, &kept, &environment);
        if placed.code != 0 || !has_postinstall {
            return placed;
        }
        let ended = call("postinstall");
        if ended.code == 0 {
            self.record(&delivered, &answers);
        }
        ended
    }

    /// Makes the objects and their lines in `contents`.
    fn place_objects(&self, package: &Path, kept: &Path, environment: &Params) -> ScriptRun {
        let map = Pkgmap::parse(&fs::read(package.join("pkgmap")).unwrap()).unwrap();
        let objects: Vec<&PkgmapEntry> = map.entries.iter().filter(|entry| !entry.is_information()).collect();
        let mut list = String::new();
        for entry in objects.iter().filter(|entry| entry.object.ftype != Ftype::Link) {
            let to = self.place(entry);
            let target = || String::from_utf8(entry.object.target.clone().unwrap()).unwrap();
            match entry.object.ftype {
                Ftype::Directory => fs::create_dir_all(&to).unwrap(),
                Ftype::Symlink => {
                    let _ = fs::remove_file(&to);
                    symlink(target(), &to).unwrap();
                }
                _ => {
                    let path = entry.path.to_string();
                    let from = match path.strip_prefix('/') {
                        Some(path) => package.join("root").join(path),
                        None => package.join("reloc").join(path),
                    };
                    fs::create_dir_all(to.parent().unwrap()).unwrap();
                    list += &format!("{} {}\n", from.display(), to.display());
                }
            }
        }
        let script = kept.join("i.none");
        let ran = if script.exists() {
            self.run(&script, &[Path::new("ENDOFCLASS")], environment, &list)
        } else {
            for line in list.lines() {
                let (from, to) = line.split_once(' ').unwrap();
                let _ = fs::remove_file(to);
                assert!(Command::new("cp").args(["-p", from, to]).status().unwrap().success());
            }
            ScriptRun { code: 0, said: String::new(), added: String::new() }
        };
        let _ = fs::remove_file(script);
        objects.iter().for_each(|entry| self.finish_object(entry));
        let finished = self.stage.run(&format!("installf -R @ROOT@ -f {PACKAGE}"));
        assert_eq!(finished.code, 0, "{}", finished.stderr);
        ran
    }

    /// Makes a hard link or sets the attributes of an object, and records it with installf.
    fn finish_object(&self, entry: &PkgmapEntry) {
        let to = self.place(entry);
        let path = match entry.path.to_string() {
            path if path.starts_with('/') => path,
            path => format!("{BASE}/{path}"),
        };
        let target = entry.object.target.clone().map(|target| String::from_utf8(target).unwrap());
        let letter = char::from(entry.object.ftype.letter());
        let line = match (entry.object.ftype, &target) {
            (Ftype::Link, Some(target)) => {
                let _ = fs::remove_file(&to);
                let is_absolute = target.starts_with('/');
                let file =
                    if is_absolute { self.stage.at(target) } else { to.parent().unwrap().join(target) };
                fs::hard_link(file, &to).unwrap();
                format!("{path}={target} {letter}")
            }
            (Ftype::Symlink, Some(target)) => format!("{path}={target} {letter}"),
            _ => {
                let mode = entry.object.attributes.mode.unwrap();
                if fs::symlink_metadata(&to).is_ok() {
                    fs::set_permissions(&to, fs::Permissions::from_mode(mode.bits())).unwrap();
                }
                if let Some(mtime) = entry.object.content.mtime {
                    let since = Duration::from_secs(mtime.try_into().unwrap());
                    fs::File::open(&to).unwrap().set_modified(SystemTime::UNIX_EPOCH + since).unwrap();
                }
                format!("{path} {letter} {mode} root root")
            }
        };
        let said = self.stage.run(&format!("installf -R @ROOT@ {PACKAGE} {line}"));
        assert_eq!(said.code, 0, "{line}: {}", said.stderr);
    }

    fn place(&self, entry: &PkgmapEntry) -> PathBuf {
        match entry.path.to_string() {
            path if path.starts_with('/') => self.stage.at(&path),
            path => self.stage.at(&format!("{BASE}/{path}")),
        }
    }

    /// Writes pkginfo with the delivered parameters and the answers.
    fn record(&self, delivered: &Params, answers: &Params) {
        let path = self.records(PACKAGE).join("pkginfo");
        let mut file = ParamFile::parse(&fs::read(&path).unwrap()).unwrap();
        let transient = ["PATH", "SCRIPTS_DIR", "OLDLIST", "PATCH_NO_UNDO", "INTERRUPTION", "ACTIVE_PATCH"];
        for (name, value) in
            delivered.iter().chain(answers.iter()).filter(|(name, _)| !transient.contains(name))
        {
            file.set(name, value);
        }
        fs::write(path, file.write()).unwrap();
    }
}
