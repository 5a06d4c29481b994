//! How long start-up, queries and hooks take, each a whole process.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::disk::Disk;
use crate::growth::patches::{self, Patch};
use crate::growth::{clear, inputs_of, write_patch};
use crate::inputs::fresh;
use crate::line::Line;
use crate::measure::{Spread, run as run_measured};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::synthetic::{self, REAL, Records, real_file, some_package, some_path};
use crate::table::{grouped, spread};

const ID: &str = "400001-01";

/// Limit of a hook in milliseconds if nothing is adopted.
const HOOK: f64 = 5.0;

/// A query and how long it may take, in milliseconds.
pub(crate) struct Query {
    pub(crate) name: String,
    pub(crate) line: Line,
    limit: Option<f64>,
}

impl Query {
    fn new(name: impl Into<String>, line: Line, limit: Option<f64>) -> Self {
        Self { name: name.into(), line, limit }
    }
}

/// A large database, and a patch of one file to it.
pub(crate) struct LargeRoot {
    records: Records,
    pub(crate) path: PathBuf,
    pub(crate) apply: Line,
    pub(crate) back_out: Line,
}

impl LargeRoot {
    /// Makes a large root. Applies and removes the patch, so that this build was the last to write the records, as in
    /// real use.
    pub(crate) fn new(program: &Line, disk: &Disk, name: &str, options: &Options) -> Result<Self> {
        let records = options.pick(
            Records { packages: 1_000, patches: 5_000, lines: 400_000 },
            Records { packages: 20, patches: 100, lines: 2_000 },
        );
        let path = disk.at(name);
        synthetic::write(&path, records)?;
        let patch = write_patch(&inputs_of(disk, name)?, ID, REAL, &[real_file()])?;
        let apply = program.clone().words("patchadd -R").arg(&path).arg(patch);
        let back_out = program.clone().words("patchrm -R").arg(&path).arg(ID);
        apply.run()?;
        back_out.run()?;
        Ok(Self { records, path, apply, back_out })
    }

    /// Returns the queries for a build of the program.
    pub(crate) fn queries(&self, program: &Line) -> Vec<Query> {
        let Self { records, path, .. } = self;
        let on_root = |words: &str| program.clone().words(words).arg("-R").arg(path);
        let complete = program.clone().words("__complete bash 4 patchadm -R").arg(path);
        let (package, object) = (some_package(*records), some_path(*records));
        vec![
            Query::new("patchadm --version", program.clone().arg("--version"), Some(3.0)),
            Query::new("show PATH", on_root("show").arg(&object), Some(60.0)),
            Query::new(
                "pkgparam PKG PATCHLIST",
                on_root("pkgparam").arg(package).arg("PATCHLIST"),
                Some(5.0),
            ),
            Query::new("showrev -p", on_root("showrev -p"), Some(100.0)),
            Query::new("pkgchk -l -p PATH", on_root("pkgchk -l").arg("-p").arg(object), Some(10.0)),
            Query::new("pkginfo", on_root("pkginfo"), Some(50.0)),
            Query::new("completion of remove ID", complete.words("remove").arg(""), Some(50.0)),
        ]
    }
}

/// Measures all queries in turns.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let large = LargeRoot::new(&Line::patchadm(), disk, "large", options)?;
    let (patched, ids) = patched_root(disk, options.pick(200, 3))?;
    let unadopted = disk.at("unadopted");
    let mut queries = large.queries(&Line::patchadm());
    let on_root = |words: &str| Line::patchadm().words(words).arg("-R").arg(&patched);
    queries.push(Query::new(format!("list, {} patches", grouped(ids)), on_root("list"), Some(15.0)));
    queries.push(Query::new(format!("status, {} patches", grouped(ids)), on_root("status"), Some(30.0)));
    queries.extend(hooks(&unadopted)?);
    let floor = Line::new("/bin/true");
    let (mut walls, mut floors) = (vec![Vec::new(); queries.len()], Vec::new());
    for _ in 0..options.many_runs() {
        floors.push(run_measured(disk.scratch(), &floor)?.wall);
        for (query, walls) in queries.iter().zip(&mut walls) {
            walls.push(run_measured(disk.scratch(), &query.line)?.wall);
        }
    }
    let floor = Spread::of(floors);
    for (query, walls) in queries.iter().zip(walls) {
        let wall = Spread::of(walls);
        let row = Row::new(&query.name, spread(wall)).floor_alone(spread(floor));
        report.row(match query.limit {
            Some(limit) => row.at_most(limit, wall.scaled(1e3), " ms"),
            None => row,
        });
    }
    let Records { packages, patches, lines } = large.records;
    let [packages, patches, lines] = [packages, patches, lines].map(grouped);
    report.say(&format!(
        "Medians of {} runs. The large root has {packages} packages, {patches} patches and {lines} objects.",
        options.many_runs()
    ));
    clear(&[&large.path, &patched, &unadopted])
}

/// Makes a root with `count` patches of one file each, and returns it with the count.
fn patched_root(disk: &Disk, count: usize) -> Result<(PathBuf, usize)> {
    let (inputs, root) = (inputs_of(disk, "patched")?, disk.at("patched"));
    let files = patches::files(count);
    patches::install(&inputs, &files, &root)?;
    let mut add = Line::patchadm().arg("-R").arg(&root).arg("add");
    for (number, file) in files.iter().enumerate() {
        add = add.arg(Patch::write(&inputs, 630_000 + number, std::slice::from_ref(file))?.path);
    }
    add.run()?;
    clear(&[&inputs])?;
    Ok((root, count))
}

/// Returns the hooks of dpkg and apt, as these run them, in a root with a package database but no adopted package.
fn hooks(root: &Path) -> Result<Vec<Query>> {
    fresh(root)?;
    for directory in ["var/sadm/pkg", "var/sadm/install", "var/lib/dpkg"] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::write(root.join("var/sadm/install/contents"), "")?;
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    let program = Line::patchadm();
    let text = include_str!("../../packaging/hooks/dpkg.cfg");
    let text = text.replace("/usr/bin/patchadm", &Path::new(program.program()).display().to_string());
    let hook = |line: &str| {
        let (name, value) = line.split_once('=').filter(|(name, _)| name.ends_with("-invoke"))?;
        let directory = root.join("var/lib/dpkg");
        let value = format!("export DPKG_ADMINDIR='{}'; {}", directory.display(), value.trim_matches('"'));
        let line = Line::new("sh").arg("-c").arg(value);
        Some(Query::new(format!("{name} of dpkg, nothing adopted"), line, Some(HOOK)))
    };
    // A package that is not adopted is upgraded.
    let foresee = "echo 'other 1.0' | \"$1\" -R \"$0\" adopt --before-upgrade";
    let foresee = Line::shell(foresee).arg(root).arg(program.program());
    let foresee = Query::new("Pre-Install-Pkgs of apt, nothing adopted", foresee, Some(HOOK));
    Ok(text.lines().filter_map(hook).chain([foresee]).collect())
}
