//! The key of a patch: the digest of everything that it is built from. If it equals the key of an existing patch,
//! nothing has to be opened to know that the same patch would come out.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::build::{BuildRequest, PatchForm};
use patchadm_inputs::sign::{sha256, sha256_text};

/// The number of the way in which patches are made. A change that gives other bytes for the same input raises it.
const TOOL_FORMAT: u32 = 1;

/// The lines `NAME=VALUE` that a key is the digest of.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyLines(Vec<u8>);

impl KeyLines {
    /// Begins with everything that is asked for about a patch, but for the moment that it bears. `against` are the digests
    /// of the patches beside it.
    pub(super) fn of(request: &BuildRequest, form: PatchForm, against: &[String]) -> Self {
        let mut lines = Self::default();
        lines.add("tool", TOOL_FORMAT);
        lines.add("id", &request.id);
        lines.add("format", form.word());
        lines.of_packages(request);
        lines.of_objects(request);
        lines.of_patch(request);
        lines.add_all("against", against);
        lines
    }

    fn of_packages(&mut self, request: &BuildRequest) {
        let naming = &request.naming;
        self.add_all("pkg-map", naming.pkg_map.iter().map(|(name, pkg)| format!("{name} {pkg}")));
        self.add_all("pkg", naming.pkg.iter());
        self.add_all("arch", naming.arch.iter());
        self.add_all("base-version", naming.base_version.iter());
        self.add("basedir", &request.basedir);
    }

    fn of_objects(&mut self, request: &BuildRequest) {
        let choices = &request.choices;
        for (name, globs) in
            [("exclude", &choices.exclude), ("editable", &choices.editable), ("volatile", &choices.volatile)]
        {
            self.add_all(name, globs.iter().map(|glob| glob.as_str().to_owned()));
        }
        self.add_all(
            "class",
            choices.classes.iter().map(|(glob, class)| format!("{}={class}", glob.as_str())),
        );
        self.add_all("owner", choices.owner.iter().map(|(user, group)| format!("{user}:{group}")));
        self.add("mtimes", request.compare.mtimes);
        let digests: BTreeMap<_, _> =
            request.class_scripts.iter().map(|(name, text)| (name, sha256_text(&sha256(text)))).collect();
        self.add_all("class-script", digests.iter().map(|(name, digest)| format!("{name} {digest}")));
    }

    fn of_patch(&mut self, request: &BuildRequest) {
        let lists = &request.lists;
        self.add("requires", lists.requires.joined(" "));
        self.add("obsoletes", &lists.obsoletes);
        self.add("incompat", &lists.incompatibles);
        self.add_all("fixes", &lists.fixes);
        self.add_all("fixed-in", request.fixed_in.iter());
        self.add_all("property", &request.properties);
        self.add_all("synopsis", request.readme.synopsis.iter());
        self.add_all("keyword", &request.readme.keywords);
        self.add_all("bug", &request.readme.bugs);
        self.add("scripts", request.with_scripts);
        self.add_all("restricted", request.restricted.iter());
        self.add("allow-abi-break", request.allow_abi_break);
    }

    /// Adds the packages of one directory, in any order.
    pub(super) fn add_inputs(&mut self, name: &str, digests: impl IntoIterator<Item = String>) {
        let mut digests: Vec<String> = digests.into_iter().collect();
        digests.sort();
        self.add_all(name, digests);
    }

    /// Adds the revision before it, by the digest of its manifest, and returns the key.
    pub(super) fn key(mut self, previous: Option<&str>) -> String {
        self.add("previous", previous.unwrap_or("none"));
        sha256_text(&sha256(&self.0))
    }

    fn add_all(&mut self, name: &str, values: impl IntoIterator<Item = impl Display>) {
        for value in values {
            self.add(name, value);
        }
    }

    fn add(&mut self, name: &str, value: impl Display) {
        // A value of several lines must not look like two values.
        let value = value.to_string().replace('\\', "\\\\").replace('\n', "\\n");
        self.0.extend_from_slice(format!("{name}={value}\n").as_bytes());
    }
}
