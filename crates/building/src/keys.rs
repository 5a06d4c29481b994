//! Key inputs of a result: digests of everything that can change its bytes.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use patchadm_bulk_values::conf::{BuildIdentity, BuildNetwork, Configuration, KeyDepends};
use patchadm_bulk_values::pattern::ShellPattern;
use patchadm_bulk_values::records::{RecipeRecord, Records};
use patchadm_bulk_values::result::{Blake3Digest, BuildResult, KeyInput, KeyInputs};
use patchadm_rootfs::never;

use crate::base::reader_of;
use crate::driver::Driver;
use crate::tree_files::{RecipeFileKind, TreeFiles, digest_of_program, path_in_tree};

/// Default modification time of sources: 1 January 1980, the earliest that zip can store.
const EARLIEST: i64 = 315_532_800;

const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Record fields that do not influence the result.
const NO_INPUTS: [&str; 2] = ["MAINTAINER", "CATEGORIES"];

/// Makes the keys of a run, reading each file of the tree once.
#[derive(Debug)]
pub(crate) struct KeyMaker<'a> {
    conf: &'a Configuration,
    files: TreeFiles,
    base: Blake3Digest,
    build: Blake3Digest,
    machine: String,
    known: HashMap<PathBuf, Option<Blake3Digest>>,
}

impl<'a> KeyMaker<'a> {
    pub(crate) fn of(conf: &'a Configuration, driver: &Driver, base: Blake3Digest) -> Self {
        let build =
            digest_of_program(&driver.directory.join("build")).unwrap_or_else(|| Blake3Digest::of(b""));
        let files = TreeFiles::open(conf, driver, reader_of(conf));
        Self { conf, files, base, build, machine: machine_type(), known: HashMap::new() }
    }

    /// `install` holds the installed dependencies.
    pub(crate) fn inputs(
        &mut self,
        records: &Records,
        record: &RecipeRecord,
        install: &[&BuildResult],
    ) -> Result<KeyInputs, String> {
        let mut inputs = KeyInputs::new();
        inputs.set_digest(KeyInput::Build, self.build);
        inputs.set_digest(KeyInput::Base, self.base);
        inputs.set_value(KeyInput::Machine, &self.machine.clone());
        self.add_files(records, record, &mut inputs)?;
        // A build stores both in its package, so equal recipes make different packages.
        inputs.set_value(KeyInput::Record("PKGNAME"), record.pkgname().as_str());
        inputs.set_value(KeyInput::Record("PKG_LOCATION"), record.location().as_str());
        for (name, value) in record.fields().filter(|(name, _)| !NO_INPUTS.contains(name)) {
            inputs.set_value(KeyInput::Record(name), value);
        }
        for distfile in record.distfiles() {
            inputs.set_value(
                KeyInput::Distfile(distfile.name),
                &format!("{:?} {}", distfile.sha256, distfile.size),
            );
        }
        for (name, value) in &self.conf.env {
            inputs.set_value(KeyInput::Env(name), value);
        }
        for mount in self.conf.mounts.iter().filter(|mount| mount.is_writable) {
            let inside = mount.target.to_string_lossy();
            inputs.set_value(KeyInput::WritableMount(&inside), &mount.source.to_string_lossy());
        }
        let identity = match self.conf.build_as {
            BuildIdentity::User => "user",
            BuildIdentity::Root => "root",
        };
        inputs.set_value(KeyInput::BuildAs, identity);
        let network = if has_network(self.conf, record) { "yes" } else { "no" };
        inputs.set_value(KeyInput::Network, network);
        inputs.set_value(KeyInput::SourceDateEpoch, &source_date_epoch(self.conf, record).to_string());
        for result in install {
            inputs.set_package(&result.pkgname, &result.digests());
        }
        Ok(inputs)
    }

    fn add_files(
        &mut self,
        records: &Records,
        record: &RecipeRecord,
        inputs: &mut KeyInputs,
    ) -> Result<(), String> {
        let location = record.location().as_str();
        let (files, known) = (&self.files, &mut self.known);
        let mut digest = |path: &Path| {
            if let Some(known) = known.get(path) {
                return Ok(*known);
            }
            // The scan has read them, up to a limit.
            let digest = files.digest(path, &never).map_err(|error| error.to_string())?;
            known.insert(path.to_owned(), digest);
            Ok(digest)
        };
        add_recipe(files, location, &mut digest, inputs)?;
        if self.conf.key_depends == KeyDepends::Location {
            return Ok(());
        }
        for named in records.scan_depends(record) {
            let path = path_in_tree(location, named);
            let digest = digest(Path::new(&path))?.map(|digest| digest.to_string());
            inputs.set_value(KeyInput::ScanDepends(&path), &digest.unwrap_or_default());
        }
        Ok(())
    }
}

pub(crate) fn driver_digests(driver: &Driver) -> [Option<Blake3Digest>; 2] {
    ["scan", "build"].map(|name| digest_of_program(&driver.directory.join(name)))
}

pub(crate) fn machine_type() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}

fn add_recipe(
    files: &TreeFiles,
    location: &str,
    digest: &mut dyn FnMut(&Path) -> Result<Option<Blake3Digest>, String>,
    inputs: &mut KeyInputs,
) -> Result<(), String> {
    for file in files.of_recipe(location).map_err(|error| error.to_string())? {
        match file.kind {
            RecipeFileKind::File(is_executable) => {
                let digest = digest(&file.at)?.ok_or(format!("{} is gone", file.path))?;
                inputs.set_file(&file.path, is_executable, digest);
            }
            RecipeFileKind::Link(target) => inputs.set_link(&file.path, &target),
        }
    }
    Ok(())
}

pub(crate) fn changed_file(files: &TreeFiles, location: &str, inputs: &KeyInputs) -> Option<String> {
    let mut now = KeyInputs::new();
    let mut digest = |path: &Path| files.digest(path, &never).map_err(|error| error.to_string());
    if let Err(reason) = add_recipe(files, location, &mut digest, &mut now) {
        return Some(reason);
    }
    let of_recipe = |inputs: &KeyInputs| -> BTreeMap<String, Blake3Digest> {
        let files = inputs.iter().filter_map(|(name, digest)| Some((name.strip_prefix("file:")?, *digest)));
        files.map(|(name, digest)| (name.to_owned(), digest)).collect()
    };
    let (then, now) = (of_recipe(inputs), of_recipe(&now));
    then.keys().chain(now.keys()).find(|name| then.get(*name) != now.get(*name)).cloned()
}

pub(crate) fn has_network(conf: &Configuration, record: &RecipeRecord) -> bool {
    match &conf.network {
        BuildNetwork::No => false,
        BuildNetwork::Yes => true,
        BuildNetwork::For(patterns) => patterns.iter().any(|pattern| means(pattern, record)),
    }
}

/// Matches a shell pattern against PKGNAME, the name without version, and the location.
pub(crate) fn means(pattern: &str, record: &RecipeRecord) -> bool {
    let name = record.pkgname();
    [name.as_str(), name.name(), record.location().as_str()].iter().any(|text| glob(pattern, text))
}

fn glob(pattern: &str, text: &str) -> bool {
    ShellPattern::parse(pattern).is_ok_and(|pattern| pattern.matches(text))
}

pub(crate) fn source_date_epoch(conf: &Configuration, record: &RecipeRecord) -> i64 {
    let of_all = conf.env.iter().find(|(name, _)| name == SOURCE_DATE_EPOCH).map(|(_, value)| value.as_str());
    let own = Some(record.field(SOURCE_DATE_EPOCH)).filter(|value| !value.is_empty());
    of_all.or(own).and_then(|value| value.parse().ok()).unwrap_or(EARLIEST)
}
