//! A tree of recipes with its driver, and the directory of its bulk build, on the disk that is measured.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::disk::{Disk, is_root};
use crate::growth::clear;
use crate::inputs::fresh;
use crate::line::Line;
use crate::measure::{Cost, measure};

/// Prints the ten lines of a record.
const SCAN: &str = r#"#!/bin/sh
if [ $# = 0 ]; then exec cat locations; fi
. "./$1/recipe"
echo "PKGNAME=$1-1.0"
echo "ALL_DEPENDS=$needs"
echo "PKG_SKIP_REASON="
echo "PKG_FAIL_REASON="
echo "SCAN_DEPENDS=$reads"
echo "CATEGORIES=benchmark"
echo "MAINTAINER=nobody@example.org"
echo "PBULK_WEIGHT=100"
echo "MULTI_VERSION="
echo "USE_DESTDIR=yes"
"#;

/// Writes one file, then runs the extra commands of the recipe. Outside a sandbox, the operand names the package.
const BUILD: &str = r#"#!/bin/sh
: "${PKGNAME:=$1-1.0}" "${DESTDIR:=$FLOOR/$1}"
mkdir -p "$DESTDIR/opt"
echo "$PKGNAME" > "$DESTDIR/opt/$PKGNAME"
. "${TREE:-.}/${PKG_LOCATION:-$1}/recipe"
eval "$more"
"#;

/// The file that some recipes read.
const COMMON: &str = "mk/common";

#[derive(Clone, Copy, Default)]
pub(super) struct Recipe<'a> {
    /// `ALL_DEPENDS`.
    pub(super) needs: &'a str,
    /// True if its scan reads the common file.
    pub(super) reads_common: bool,
    /// Extra commands of its build.
    pub(super) more: &'a str,
}

/// A tree with its bulk build.
pub(super) struct Ground<'a> {
    disk: &'a Disk,
    top: PathBuf,
}

impl<'a> Ground<'a> {
    /// Makes a tree with a recipe for each number below `count`.
    pub(super) fn new<'r>(
        disk: &'a Disk,
        name: &str,
        count: usize,
        recipe: impl Fn(usize) -> Recipe<'r>,
    ) -> Result<Self> {
        let top = disk.at(name);
        fresh(&top)?;
        let tree = top.join("tree");
        fs::create_dir_all(tree.join("mk"))?;
        let mut locations = String::new();
        for number in 0..count {
            let Recipe { needs, reads_common, more } = recipe(number);
            let location = location(number);
            fs::create_dir(tree.join(&location))?;
            let reads = if reads_common { format!("../{COMMON}") } else { String::new() };
            let text = format!("needs='{needs}'\nreads='{reads}'\nmore='{more}'\n");
            fs::write(tree.join(&location).join("recipe"), text)?;
            let _ = writeln!(locations, "{location}");
        }
        fs::write(tree.join("locations"), locations)?;
        fs::write(tree.join(COMMON), "common\n")?;
        for (name, text) in [("scan", SCAN), ("build", BUILD)] {
            fs::write(tree.join(name), text)?;
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o755))?;
        }
        let ground = Self { disk, top };
        ground.begin("")?;
        Ok(ground)
    }

    /// Returns the reason why no sandbox can be made here, or `None` if one can.
    pub(super) fn why_not(disk: &Disk) -> Result<Option<String>> {
        let ground = Ground::new(disk, "bulk", 1, |_| Recipe::default())?;
        let why = ground.run("").run().err().map(|error| {
            let said = format!("{error:#}");
            said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
        });
        ground.clear()?;
        Ok(why)
    }

    /// Recreates the directory of the bulk build with these settings.
    pub(super) fn begin(&self, settings: &str) -> Result<()> {
        let work = self.work();
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        self.action("init").arg("--tree").arg(self.top.join("tree")).run()?;
        let user = if is_root() { "build_user=nobody\n" } else { "" };
        let path = work.join("bulk.conf");
        let text = fs::read_to_string(&path)?;
        Ok(fs::write(path, format!("{text}\nbase_id=echo base\n{user}slot=local 2\ncheck=none\n{settings}"))?)
    }

    /// Replaces a line of the settings.
    pub(super) fn set(&self, from: &str, to: &str) -> Result<()> {
        let path = self.work().join("bulk.conf");
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "{} has no {from}", path.display());
        Ok(fs::write(path, text.replace(from, to))?)
    }

    /// The directory of the bulk build.
    pub(super) fn work(&self) -> PathBuf {
        self.top.join("work")
    }

    /// The tree of recipes.
    pub(super) fn tree(&self) -> PathBuf {
        self.top.join("tree")
    }

    fn action(&self, action: &str) -> Line {
        Line::patchadm().words("bulk").arg(action).arg(self.work())
    }

    /// Returns the command that scans.
    pub(super) fn scan(&self) -> Line {
        self.action("scan")
    }

    /// Returns the command that runs the build, with these names and options.
    pub(super) fn run(&self, words: &str) -> Line {
        self.action("run").words(words)
    }

    /// Returns the command that runs a program in the sandbox of a package.
    pub(super) fn enter(&self, number: usize, command: &str) -> Line {
        self.action("enter").arg(location(number)).arg("--").words(command)
    }

    /// Returns a command that runs only a script of the driver, for each location, two at a time.
    pub(super) fn floor(&self, script: &str) -> Result<Line> {
        let floor = self.top.join("floor");
        fresh(&floor)?;
        let all = format!("cd \"$0\" && FLOOR=\"$1\" xargs -P2 -n1 ./{script} < locations > /dev/null");
        Ok(Line::shell(&all).arg(self.top.join("tree")).arg(floor))
    }

    pub(super) fn measure(&self, line: &Line) -> Result<Cost> {
        measure(self.disk, line)
    }

    /// Appends a comment to the recipe of a number.
    pub(super) fn change_recipe(&self, number: usize, round: usize) -> Result<()> {
        let path = self.top.join("tree").join(location(number)).join("recipe");
        append(&path, round)
    }

    /// Appends a comment to the common file.
    pub(super) fn change_common(&self, round: usize) -> Result<()> {
        append(&self.top.join("tree").join(COMMON), round)
    }

    pub(super) fn clear(&self) -> Result<()> {
        clear(&[&self.top])
    }
}

/// Returns the location of a number, such as `p00012`.
pub(super) fn location(number: usize) -> String {
    format!("p{number:05}")
}

fn append(path: &Path, round: usize) -> Result<()> {
    let text = fs::read_to_string(path)?;
    Ok(fs::write(path, format!("{text}# {round}\n"))?)
}
