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
    /// Print what is recorded of each object instead of checking it
    #[arg(short, conflicts_with_all = ["attributes", "contents", "fix", "no_volatile", "quiet", "verbose", "exclusive"])]
    pub(super) long: bool,
    /// Check attributes only
    #[arg(short)]
    attributes: bool,
    /// Check contents only
    #[arg(short)]
    contents: bool,
    /// Put attributes, modification times and links right; contents stay as they are
    #[arg(short)]
    pub(super) fix: bool,
    /// Do not check the contents of volatile and editable files
    #[arg(short)]
    no_volatile: bool,
    /// Do not mention missing objects
    #[arg(short)]
    pub(super) quiet: bool,
    /// Name every object on standard error
    #[arg(short)]
    pub(super) verbose: bool,
    /// Also look for what is in exclusive directories and is nobody's; with -f it is removed
    #[arg(short = 'x')]
    exclusive: bool,
    /// Print what is recorded as the lines of the database
    #[arg(short = 'L', hide = true, conflicts_with_all = ["long", "device"])]
    pub(super) lines: bool,
    /// Only the paths in this file, one in a line; - is standard input
    #[arg(short, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Only these paths, separated by commas; one that ends in * means all that begin so
    #[arg(short, value_name = "PATH,...")]
    path: Vec<String>,
    /// Only paths that one of these is part of
    #[arg(short = 'P', value_name = "PARTIAL,...", conflicts_with = "path")]
    partial: Vec<String>,
    /// Check against this pkgmap instead of the database
    #[arg(short, value_name = "PKGMAP", conflicts_with_all = ["device", "category"])]
    map: Option<PathBuf>,
    /// Take the variables of the pkgmap from this file
    #[arg(short, value_name = "ENVFILE", requires = "map")]
    environment: Option<PathBuf>,
    /// Check the packages in this directory, datastream or archive
    #[arg(short, value_name = "DEVICE", conflicts_with_all = ["attributes", "contents", "no_volatile", "quiet", "exclusive"])]
    pub(super) device: Option<PathBuf>,
    /// Only packages of these categories, separated by commas
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
    /// -a and -c leave the other aspect out; both together leave nothing out.
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
            let message = "a pkgmap is that of one package".to_owned();
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
