//! Libraries that stay for their consumers when a patch removes them. Each test makes its libraries and programs with
//! cc(1).

/// Backouts, and other ends of keeping a library.
mod backouts;
/// Input that cannot be trusted.
mod bad_input;
/// The cache of facts about files.
mod cached;
/// Other commands that remove libraries, and scripts.
mod commands;
/// Libraries that stay, and their consumers.
mod needs;
/// Libraries that cannot stay, and the messages about them.
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

/// The statements of a document about the libraries of its first patch, one a line; `None` if nothing was examined.
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
    /// The statements of a patch's plan about libraries.
    #[track_caller]
    fn plan_tells(&self, options: &str, patch: &Patch) -> Option<Vec<String>> {
        let line = format!("plan --json {options} -R @ROOT@ {}", patch.directory(self).display());
        told(&self.run(&line).ok())
    }

    /// Applies a patch. Returns its statements about libraries, which must equal those of its plan.
    #[track_caller]
    fn apply_tells(&self, options: &str, patch: &Patch) -> Vec<String> {
        let planned = self.plan_tells(options, patch);
        let line = format!("add --json {options} -R @ROOT@ {}", patch.directory(self).display());
        let done = told(&self.run(&line).ok());
        assert_eq!(done, planned);
        assert_eq!(self.run("pkgchk -R @ROOT@").ok(), "");
        done.unwrap_or_default()
    }

    /// Backs a patch out. Returns its statements about libraries.
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
/// that replaces `libx.so.1` with `libx.so.2`.
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
