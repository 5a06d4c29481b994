//! What the hooks of apt and dpkg cost: the real tools, on a root of packages that are made here.
//!
//! The packages are those of a server by their number, and hold small text files. A hook is the line of sh(1) that dpkg and
//! apt run, with the program under test in the place of `/usr/bin/patchadm`. apt reinstalls packages from a directory, with
//! `--force-unsafe-io`, in turns without hooks and with them; a reinstallation makes the registration of each package stale.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Result;
use md5::{Digest as _, Md5};

use crate::disk::{Disk, is_root};
use crate::line::{Line, is_installed};
use crate::measure::{Costs, Spread, in_turns, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, mebibytes, seconds, spread};

/// The programs that the benchmark needs.
const TOOLS: [&str; 3] = ["dpkg", "dpkg-deb", "apt-get"];

/// The most milliseconds of a hook that has nothing to do with an adopted package, and where nothing is stale.
const NOTHING_ADOPTED: f64 = 10.0;
const NOTHING_STALE: f64 = 80.0;

/// How much longer apt may take with hooks.
const WITH_HOOKS: f64 = 1.15;

/// Measures all of it on a disk.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    report.heading(&format!("Hooks of apt and dpkg, {}", disk.name()));
    if let Some(tool) = TOOLS.into_iter().find(|tool| !is_installed(tool)) {
        report.skipped("hooks of apt and dpkg", &format!("{tool} is not installed"));
        return Ok(());
    }
    if !is_root() {
        report.skipped("hooks of apt and dpkg", "dpkg installs for root only");
        return Ok(());
    }
    let (packages, objects) = options.pick((386, 28_498), (6, 60));
    let system = DebianRoot::install(disk, packages, objects)?;
    let mut table = Table::new(&["command", "wall (least–most)", "CPU", "peak memory"]);

    fs::create_dir_all(system.root.join("var/sadm/pkg"))?;
    fs::create_dir_all(system.root.join("var/sadm/install"))?;
    fs::write(system.root.join("var/sadm/install/contents"), "")?;
    system.measure_hooks(disk, options, "nothing adopted", &mut table, report)?;
    fs::remove_dir_all(system.root.join("var/sadm"))?;

    let adopt = Line::patchadm().arg("-R").arg(&system.root).words("adopt --all");
    row(&mut table, "adopt --all", &Costs(vec![measure(disk, &adopt)?]));
    system.measure_hooks(disk, options, "nothing stale", &mut table, report)?;

    let again = options.pick(120, 2);
    let (plain, hooked) = (system.reinstall("plain", again), system.reinstall("hooked", again));
    let [without, with] = in_turns(disk, options.runs(), [&plain, &hooked])?;
    row(&mut table, &format!("{again} packages reinstalled by apt"), &without);
    row(&mut table, &format!("{again} packages reinstalled by apt, with hooks"), &with);
    let ratio = Spread::of_ratio(&with, &without);
    report.at_most(disk.name(), "reinstalled with hooks / without", WITH_HOOKS, ratio, "");
    report.table(&table);
    system.remove()
}

fn row(table: &mut Table, name: &str, costs: &Costs) {
    table.row([
        name.to_owned(),
        spread(costs.wall()),
        seconds(costs.spread(|cost| cost.cpu).median),
        mebibytes(costs.spread(|cost| cost.peak).median),
    ]);
}

/// A root with packages that dpkg installed, and what apt needs to install them again.
struct DebianRoot {
    root: PathBuf,
    /// The packages, and settings of apt.
    files: PathBuf,
}

impl DebianRoot {
    /// Builds packages of so many objects in all and installs them.
    fn install(disk: &Disk, packages: usize, objects: usize) -> Result<Self> {
        Report::progress(&format!("{packages} packages for dpkg"));
        let system = Self { root: disk.at("debian"), files: disk.at("debs") };
        let Self { root, files } = &system;
        for directory in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "etc/apt/sources.list.d",
            "etc/apt/trusted.gpg.d",
            "usr/bin",
            "usr/lib",
            "usr/sbin",
            "var/cache/apt/archives/partial",
            "var/lib/apt/lists/partial",
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/log/apt",
        ] {
            fs::create_dir_all(root.join(directory))?;
        }
        for name in ["bin", "lib", "sbin"] {
            symlink(format!("usr/{name}"), root.join(name))?;
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n")?;
        fs::write(root.join("etc/group"), "root:x:0:\n")?;
        fs::write(root.join("var/lib/dpkg/status"), "")?;
        fs::create_dir_all(files)?;
        for number in 0..packages {
            let more = usize::from(number < objects % packages);
            system.package(number, objects / packages + more)?;
        }
        let install = "cd \"$1\" && dpkg --root=\"$0\" --force-unsafe-io -i ./*.deb";
        Line::shell(install).arg(root).arg(files).run()?;
        system.settings("plain", false)?;
        system.settings("hooked", true)?;
        Ok(system)
    }

    /// Builds a package of `objects` objects, three of them directories.
    fn package(&self, number: usize, objects: usize) -> Result<()> {
        let (name, scratch) = (name_of(number), self.files.join("build"));
        let data = format!("usr/share/{name}/data");
        fs::create_dir_all(scratch.join(&data))?;
        fs::create_dir_all(scratch.join("DEBIAN"))?;
        let mut sums = String::new();
        for file in 0..objects.saturating_sub(3) {
            let (path, text) = (format!("{data}/{file:04}"), format!("{name} {file}\n").repeat(16));
            fs::write(scratch.join(&path), &text)?;
            let sum: String = Md5::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(sums, "{sum}  {path}")?;
        }
        let control = format!(
            "Package: {name}\nVersion: 1.0-1\nArchitecture: all\nSection: misc\nPriority: optional\n\
             Maintainer: a <a@example.org>\nDescription: a package\n with a description\n of a few lines\n"
        );
        fs::write(scratch.join("DEBIAN/control"), control)?;
        fs::write(scratch.join("DEBIAN/md5sums"), sums)?;
        let build = Line::new("dpkg-deb").words("-Znone --root-owner-group --build");
        build.arg(&scratch).arg(self.files.join(format!("{name}_1.0-1_all.deb"))).run()?;
        Ok(fs::remove_dir_all(scratch)?)
    }

    /// Writes the settings of apt for the root, with our hooks or without them.
    fn settings(&self, name: &str, has_hooks: bool) -> Result<()> {
        let root = self.root.display();
        let mut text = format!(
            "Dir \"{root}\";\nDir::State::status \"{root}/var/lib/dpkg/status\";\n\
             Dir::Bin::methods \"/usr/lib/apt/methods\";\nAPT::Sandbox::User \"root\";\n\
             Dir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n\
             DPkg::Options {{ \"--root={root}\"; \"--force-unsafe-io\"; }};\n"
        );
        if has_hooks {
            text += &with_program(include_str!("../../packaging/hooks/80patchadm"))
                .replace("/var/sadm/pkg", &format!("{root}/var/sadm/pkg"));
            for (name, hook) in dpkg_hooks() {
                writeln!(text, "DPkg::Options {{ \"--{name}={hook}\"; }};")?;
            }
        }
        Ok(fs::write(self.files.join(name), text)?)
    }

    /// Measures each hook in a state of the root.
    fn measure_hooks(
        &self,
        disk: &Disk,
        options: &Options,
        state: &str,
        table: &mut Table,
        report: &mut Report,
    ) -> Result<()> {
        for (name, line) in self.hooks() {
            let costs = (0..options.many_runs()).map(|_| measure(disk, &line));
            let costs = Costs(costs.collect::<Result<_>>()?);
            let name = format!("{name}, {state}");
            row(table, &name, &costs);
            let is_refresh = name.contains("post-invoke") && state == "nothing stale";
            let limit = if is_refresh { NOTHING_STALE } else { NOTHING_ADOPTED };
            report.at_most(disk.name(), &name, limit, costs.wall().scaled(1e3), " ms");
        }
        Ok(())
    }

    /// The hooks as dpkg and apt run them.
    fn hooks(&self) -> Vec<(String, Line)> {
        let admin = format!("DPKG_ADMINDIR={}", self.root.join("var/lib/dpkg").display());
        let dpkg = dpkg_hooks().into_iter().map(|(name, hook)| {
            let line = Line::new("env").arg(&admin).words("sh -c").arg(hook);
            (format!("dpkg's {name}"), line)
        });
        // A package that is not adopted is upgraded.
        let foresee = "echo 'other 1.0' | \"$1\" -R \"$0\" adopt --before-upgrade";
        let foresee = Line::shell(foresee).arg(&self.root).arg(Line::patchadm().program());
        dpkg.chain([("apt's Pre-Install-Pkgs".to_owned(), foresee)]).collect()
    }

    /// The command that installs the first packages again.
    fn reinstall(&self, settings: &str, count: usize) -> Line {
        let names: Vec<PathBuf> =
            (0..count).map(|number| self.files.join(format!("{}_1.0-1_all.deb", name_of(number)))).collect();
        let line = Line::new("env").arg(format!("APT_CONFIG={}", self.files.join(settings).display()));
        let line = line.arg(format!("PKG_INSTALL_ROOT={}", self.root.display())).arg("PATCHADM_EVENTS=none");
        let line = line.words("DEBIAN_FRONTEND=noninteractive apt-get -qq -y --reinstall install");
        names.into_iter().fold(line, Line::arg)
    }

    fn remove(self) -> Result<()> {
        fs::remove_dir_all(self.files)?;
        Ok(fs::remove_dir_all(self.root)?)
    }
}

fn name_of(number: usize) -> String {
    format!("package{number:04}")
}

/// The hooks of dpkg that our packages bring: their options, and what they run.
fn dpkg_hooks() -> Vec<(String, String)> {
    let text = with_program(include_str!("../../packaging/hooks/dpkg.cfg"));
    let option = |line: &str| {
        let (name, value) = line.split_once('=').filter(|(name, _)| name.ends_with("-invoke"))?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    text.lines().filter_map(option).collect()
}

/// A hook with the program under test.
fn with_program(hook: &str) -> String {
    let program = Line::patchadm();
    hook.replace("/usr/bin/patchadm", &Path::new(program.program()).display().to_string())
}
