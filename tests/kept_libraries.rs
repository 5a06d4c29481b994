//! Libraries that stay for those who need them when a patch takes them away: with libraries and programs that are made by
//! cc(1) for each test.

/// What ends the keeping, and what brings it back.
mod backouts;
/// What is read that cannot be trusted.
mod bad_input;
/// The cache of what is known of files.
mod cached;
/// The other commands that take libraries away, and scripts.
mod commands;
/// What stays, and for whom.
mod needs;
/// What cannot stay, and who is told.
mod obstacles;

use serde_json::Value;

use crate::compiled::Compiler;
use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

/// A package of objects below `/`: each path with its bytes.
fn package(name: &str, files: &[(&str, &[u8])]) -> Package {
    let package = Package::new(name).param("BASEDIR", "/");
    files.iter().fold(package, |package, (path, bytes)| package.file(path, 0o755, bytes))
}

/// What a document tells of the libraries of its first patch, each statement a line; none where nobody looked.
#[track_caller]
fn told(document: &str) -> Option<Vec<String>> {
    let document: Value = serde_json::from_str(document).unwrap_or_else(|_| panic!("{document}"));
    let shlibs = document["patches"][0].get("shlibs")?;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let words = |value: &Value| list(value).iter().map(text).collect::<Vec<_>>().join(" ");
    let consumers = |value: &Value| {
        let one = |consumer: &Value| format!("{} {}", text(&consumer["how"]), text(&consumer["path"]));
        list(value).iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let mut lines = Vec::new();
    for kept in list(&shlibs["kept"]) {
        let [package, library] = ["package", "library"].map(|name| text(&kept[name]));
        let (paths, who) = (words(&kept["paths"]), consumers(&kept["consumers"]));
        lines.push(format!("{package} keeps {library} ({paths}) for {who}"));
    }
    for lost in list(&shlibs["lost"]) {
        let [library, reason] = ["library", "reason"].map(|name| text(&lost[name]));
        let missing = [words(&lost["versions"]), words(&lost["symbols"])].join(" ");
        let who = consumers(&lost["consumers"]);
        lines.push(format!("lost {library} [{}] {reason} for {who}", missing.trim()));
    }
    for what in ["dropped", "returned"] {
        for one in list(&shlibs[what]) {
            lines.push(format!("{what} {} ({})", text(&one["package"]), words(&one["paths"])));
        }
    }
    Some(lines)
}

impl Scenario {
    /// What the plan of a patch tells of libraries.
    #[track_caller]
    fn plan_tells(&self, options: &str, patch: &Patch) -> Option<Vec<String>> {
        let line = format!("plan --json {options} -R @ROOT@ {}", patch.directory(self).display());
        told(&self.run(&line).ok())
    }

    /// Applies a patch; what is told of libraries, which the plan of it has told before.
    #[track_caller]
    fn apply_tells(&self, options: &str, patch: &Patch) -> Vec<String> {
        let planned = self.plan_tells(options, patch);
        let line = format!("add --json {options} -R @ROOT@ {}", patch.directory(self).display());
        let done = told(&self.run(&line).ok());
        assert_eq!(done, planned);
        assert_eq!(self.run("pkgchk -R @ROOT@").ok(), "");
        done.unwrap_or_default()
    }

    /// Backs a patch out; what is told of libraries.
    #[track_caller]
    fn remove_tells(&self, options: &str, patch: &str) -> Vec<String> {
        let done = told(&self.run(&format!("remove --json {options} -R @ROOT@ {patch}")).ok());
        assert_eq!(self.run("pkgchk -R @ROOT@").ok(), "");
        done.unwrap_or_default()
    }

    /// The names of the installed packages.
    #[track_caller]
    fn packages(&self) -> String {
        self.run("pkginfo -L -R @ROOT@").ok().trim().replace('\n', " ")
    }
}

/// The library `libx.so.1` of package `ACMEx`, the program `/usr/bin/p` of package `ACMEp` that needs it, and a patch
/// with `libx.so.2` in the place of the first.
struct Pair {
    stage: Scenario,
    compiler: Compiler,
    patch: Patch,
}

const OLD: &str = "usr/lib/libx.so.1";
const NEW: &str = "usr/lib/libx.so.2";
const USER: &str = "usr/bin/p";

impl Pair {
    fn new(test: &str) -> Option<Self> {
        let compiler = Compiler::found(test)?;
        let old = compiler.library_with("libx.so.1", &[], &[]);
        let new = compiler.library_with("libx.so.2", &[], &[]);
        let program = compiler.program_with(&["libx.so.1"], &[]);
        let stage =
            Scenario::with(&[package("ACMEx", &[(OLD, &old)]), package("ACMEp", &[(USER, &program)])]);
        let patch = Patch::of("100-01", package("ACMEx", &[(NEW, &new)]).deletes(&[OLD]));
        Some(Self { stage, compiler, patch })
    }

    /// A patch with the program made for `libx.so.2`.
    fn renewal(&self) -> Patch {
        let program = self.compiler.program_with(&["libx.so.2"], &[]);
        Patch::of("200-01", package("ACMEp", &[(USER, &program)]))
    }
}
