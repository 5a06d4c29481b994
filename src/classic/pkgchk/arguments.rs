//! The arguments of pkgchk(1M), and what they ask for.

use std::path::PathBuf;

use super::lists;
use crate::as_owner::options::OwnerOptions;
use patchadm_cli::arguments::{Extensions, RootOption};
use patchadm_cli::reply::Stop;
use patchadm_core::operation::check::{CheckRequest, CheckScope, CheckedAspects, MapFiles, PathPattern};
use patchadm_core::operation::queries::select::PackagePattern;

pub(super) const USAGE: &str = "\
pkgchk [-l|-acfnqvx] [-i file] [-p path,...|-P partial-path,...] [-R root] [-m pkgmap [-e envfile]] \
[-Y category,...|pkginst...]
pkgchk -d device [-l|-fv] [-i file] [-p path,...|-P partial-path,...] [-Y category,...|pkginst...]";

/// Check installed objects against their records
#[derive(clap::Parser)]
#[allow(clippy::struct_excessive_bools)] // one for each letter of the command line
pub(super) struct PkgchkArgs {
    /// Print the record of each object instead of checking it
    #[arg(short, conflicts_with_all = ["attributes", "contents", "fix", "no_volatile", "quiet", "verbose", "exclusive"])]
    pub(super) long: bool,
    /// Check attributes only
    #[arg(short)]
    attributes: bool,
    /// Check contents only
    #[arg(short)]
    contents: bool,
    /// Repair attributes, modification times, and links, but not contents
    #[arg(short)]
    pub(super) fix: bool,
    /// Do not check the contents of volatile and editable files
    #[arg(short)]
    no_volatile: bool,
    /// Do not report missing objects
    #[arg(short)]
    pub(super) quiet: bool,
    /// Print every object on standard error
    #[arg(short)]
    pub(super) verbose: bool,
    /// Also report unowned objects in exclusive directories; with -f, remove them
    #[arg(short = 'x')]
    exclusive: bool,
    /// Print what is recorded as the lines of the database
    #[arg(short = 'L', hide = true, conflicts_with_all = ["long", "device"])]
    pub(super) lines: bool,
    /// Check only the paths in FILE, one per line; - for standard input
    #[arg(short, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Check only these paths, separated by commas; a trailing * matches any suffix
    #[arg(short, value_name = "PATH,...")]
    path: Vec<String>,
    /// Check only paths that contain one of these
    #[arg(short = 'P', value_name = "PARTIAL,...", conflicts_with = "path")]
    partial: Vec<String>,
    /// Check against this pkgmap instead of the database
    #[arg(short, value_name = "PKGMAP", conflicts_with_all = ["device", "category"])]
    map: Option<PathBuf>,
    /// Read the variables of the pkgmap from FILE
    #[arg(short, value_name = "ENVFILE", requires = "map")]
    environment: Option<PathBuf>,
    /// Check the packages in this directory, datastream or archive
    #[arg(short, value_name = "DEVICE", conflicts_with_all = ["attributes", "contents", "no_volatile", "quiet", "exclusive"])]
    pub(super) device: Option<PathBuf>,
    /// Check only packages of these categories, separated by commas
    #[arg(short = 'Y', value_name = "CATEGORY", value_delimiter = ',', conflicts_with = "packages")]
    category: Vec<String>,
    #[command(flatten)]
    pub(super) root: RootOption,
    #[command(flatten)]
    pub(super) owner: OwnerOptions,
    /// Packages: an instance, PKG.* for all its instances, or all
    #[arg(value_name = "PKGINST")]
    packages: Vec<String>,
    #[command(flatten)]
    _extensions: Extensions,
}

impl PkgchkArgs {
    /// -a and -c leave out the other aspect; both together leave out nothing.
    pub(super) fn aspects(&self) -> CheckedAspects {
        CheckedAspects {
            attributes: self.attributes || !self.contents,
            sizes: false,
            contents: self.contents || !self.attributes,
            changing_contents: !self.no_volatile,
            exclusive: self.exclusive,
        }
    }

    pub(super) fn request(&self, scope: CheckScope, workers: usize) -> anyhow::Result<CheckRequest> {
        if self.map.is_some()
            && (scope.packages.len() > 1 || scope.packages.first() == Some(&PackagePattern::All))
        {
            let message = "a pkgmap describes one package".to_owned();
            return Err(Stop::Usage { message, usage: USAGE }.into());
        }
        let map = self.map.clone().map(|pkgmap| MapFiles { pkgmap, environment: self.environment.clone() });
        Ok(CheckRequest { scope, aspects: self.aspects(), map, workers })
    }

    pub(super) fn scope(&self) -> anyhow::Result<CheckScope> {
        let packages = self.packages.iter().map(|word| PackagePattern::parse(word)).collect();
        let categories = self.category.iter().map(|category| category.trim().to_owned()).collect();
        let mut paths = Vec::new();
        for word in lists::words(&self.path) {
            paths.push(PathPattern::parse(word.as_bytes())?);
        }
        paths.extend(lists::words(&self.partial).map(|word| PathPattern::Part(word.as_bytes().to_vec())));
        if let Some(file) = &self.input {
            for line in lists::lines(&lists::read(file)?) {
                paths.push(PathPattern::parse(line)?);
            }
        }
        let has_list = self.input.is_some() || !self.path.is_empty() || !self.partial.is_empty();
        anyhow::ensure!(!paths.is_empty() || !has_list, "the list of paths is empty");
        Ok(CheckScope { packages, categories, paths })
    }
}
