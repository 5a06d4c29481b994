//! Maps prototype entries to pkgmap entries with the sources of their content.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::messages::{MakeError, MakeWarning, MakeWatch, NoObject, PrototypeTroubleKind, SearchPlace};
use super::reading::{PlacedEntry, PrototypeScope, PrototypeVariables, ReadPrototype};
use patchadm_svr4::format::pkgmap::{PkgmapEntry, member_name};
use patchadm_svr4::format::prototype::{self, AttributeSetting, PrototypeEntry};
use patchadm_svr4::package::{
    Ftype, Mode, Object, ObjectAttributes, PackagePath, Params, escape, last_component,
};

const LONGEST_ACCOUNT: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct PackageItem {
    pub(super) entry: PkgmapEntry,
    pub(super) source: Option<FoundContent>,
}

impl PackageItem {
    pub(super) fn member(&self) -> Option<Vec<u8>> {
        self.source.as_ref()?;
        Some(match self.entry.object.ftype {
            Ftype::Information => [b"install/", self.entry.path.as_bytes()].concat(),
            _ => member_name(&self.entry.path),
        })
    }
}

/// `None` if the prototype names no pkginfo, or a missing one, which [`map`] reports.
pub(super) fn pkginfo(
    read: &ReadPrototype,
    lookup: &ObjectLookup<'_>,
    variables: &PrototypeVariables,
) -> Result<Option<FoundContent>, MakeError> {
    let Some(placed) = read.entries.iter().find(|placed| is_pkginfo(&placed.entry)) else {
        return Err(MakeError::NoPkginfo);
    };
    Ok(lookup.find(&placed.entry, placed.entry.path.as_bytes(), &placed.scope, variables).ok())
}

fn is_pkginfo(entry: &PrototypeEntry) -> bool {
    entry.ftype == Ftype::Information && entry.path.as_bytes() == b"pkginfo"
}

#[derive(Clone, Debug, Default)]
pub(super) struct MappedPrototype {
    pub(super) items: Vec<PackageItem>,
    pub(super) classes: Vec<String>,
}

pub(super) fn map(
    read: ReadPrototype,
    lookup: &ObjectLookup<'_>,
    variables: &PrototypeVariables,
    watch: &mut MakeWatch<'_>,
) -> Result<MappedPrototype, MakeError> {
    let mut mapping = Mapping { lookup, variables, met: HashMap::new(), is_parametric: false };
    let (mut mapped, mut troubles) = (MappedPrototype::default(), read.troubles);
    for placed in read.entries {
        match mapping.item(&placed, watch) {
            Ok(_) if is_pkginfo(&placed.entry) => {}
            Ok(item) => {
                let class = &item.entry.object.class;
                if !class.is_empty() && !mapped.classes.iter().any(|known| known == class) {
                    mapped.classes.push(class.to_string());
                }
                mapped.items.push(item);
            }
            Err(kind) => troubles.push(placed.trouble(kind)),
        }
    }
    if !troubles.is_empty() {
        return Err(MakeError::Prototype(troubles));
    }
    mapped.items.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    Ok(mapped)
}

type Met = HashMap<(bool, PackagePath), (Rc<Path>, u64)>;

struct Mapping<'a> {
    lookup: &'a ObjectLookup<'a>,
    variables: &'a PrototypeVariables,
    met: Met,
    is_parametric: bool,
}

impl Mapping<'_> {
    fn item(
        &mut self,
        placed: &PlacedEntry,
        watch: &mut MakeWatch<'_>,
    ) -> Result<PackageItem, PrototypeTroubleKind> {
        let (entry, scope) = (&placed.entry, &placed.scope);
        let path = self.variables.package_path(&scope.variables, entry.path.as_bytes());
        let path = PackagePath::new(&path.map_err(PrototypeTroubleKind::Variable)?)?;
        let information = entry.ftype == Ftype::Information;
        let here = (placed.file.clone(), placed.line);
        if let Some((file, line)) = self.met.insert((information, path.clone()), here) {
            return Err(PrototypeTroubleKind::Duplicate {
                path: path.to_string(),
                file: file.to_path_buf(),
                line,
            });
        }
        self.warn(placed, &path, watch);
        let mut object = Object::new(entry.ftype, &entry.class);
        object.device = entry.device;
        object.target = entry.right.clone().filter(|_| entry.ftype.is_link());
        if !information && !entry.ftype.is_link() {
            object.attributes = self.attributes(placed, &path, watch)?;
        }
        let source = if information || entry.ftype.is_regular() {
            Some(self.lookup.find(entry, path.as_bytes(), scope, self.variables)?)
        } else {
            None
        };
        Ok(PackageItem { entry: PkgmapEntry { part: 1, path, object }, source })
    }

    fn warn(&mut self, placed: &PlacedEntry, path: &PackagePath, watch: &mut MakeWatch<'_>) {
        let (entry, line) = (&placed.entry, placed.line);
        let is_odd = |bytes: &[u8]| escape(bytes) != bytes;
        let target = entry.right.as_deref().filter(|_| entry.ftype.is_link());
        if is_odd(path.as_bytes()) || target.is_some_and(is_odd) {
            watch.warn(MakeWarning::Escaped { line, path: path.to_string() });
        }
        if entry.has_extra_fields {
            watch.warn(MakeWarning::Extra { line, path: path.to_string() });
        }
        if let Some(part) = entry.part.filter(|part| *part > 1) {
            watch.warn(MakeWarning::Part { line, part });
        }
        let variable = path.as_bytes().strip_prefix(b"$").and_then(<[u8]>::first);
        if !self.is_parametric && variable.is_some_and(u8::is_ascii_uppercase) {
            self.is_parametric = true;
            watch.warn(MakeWarning::Parametric);
        }
    }

    fn attributes(
        &self,
        placed: &PlacedEntry,
        path: &PackagePath,
        watch: &mut MakeWatch<'_>,
    ) -> Result<ObjectAttributes, PrototypeTroubleKind> {
        let (own, usual) = (&placed.entry.attributes, &placed.scope.defaults);
        let given = prototype::PrototypeAttributes {
            mode: own.mode.or(&usual.mode),
            owner: own.owner.or(&usual.owner),
            group: own.group.or(&usual.group),
        };
        let local = &placed.scope.variables;
        let attributes = ObjectAttributes {
            mode: self.resolved(local, &given.mode, mode)?,
            owner: self.resolved(local, &given.owner, account)?.map(Into::into),
            group: self.resolved(local, &given.group, account)?.map(Into::into),
        };
        if given.is_incomplete() {
            let mode = attributes.mode.map(|mode| format!("{:04o}", mode.bits()));
            let words = [mode.as_deref(), attributes.owner.as_deref(), attributes.group.as_deref()];
            let words = words.map(|word| word.unwrap_or("?")).join(" ");
            watch.warn(MakeWarning::Attributes { attributes: words, path: path.to_string() });
        }
        Ok(attributes)
    }

    fn resolved<T: Clone>(
        &self,
        local: &Params,
        setting: &AttributeSetting<T>,
        read: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, PrototypeTroubleKind> {
        match setting {
            AttributeSetting::Missing | AttributeSetting::Kept => Ok(None),
            AttributeSetting::Value(value) => Ok(Some(value.clone())),
            AttributeSetting::Variable(name) => {
                let value = self.variables.value(local, name);
                let value = value.ok_or_else(|| PrototypeTroubleKind::Variable(format!("${name}")))?;
                let value = String::from_utf8_lossy(value);
                let wrong = |reason: &str| PrototypeTroubleKind::Value {
                    name: name.clone(),
                    value: value.escape_debug().to_string(),
                    reason: reason.to_owned(),
                };
                read(&value).map(Some).map_err(wrong)
            }
        }
    }
}

fn mode(text: &str) -> Result<Mode, &'static str> {
    let bits = u32::from_str_radix(text, 8).map_err(|_| "is not an octal mode")?;
    Mode::new(bits).ok_or("has bits that no mode has")
}

fn account(text: &str) -> Result<String, &'static str> {
    let fits = (1..=LONGEST_ACCOUNT).contains(&text.len())
        && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if fits { Ok(text.to_owned()) } else { Err("is not the name of an account") }
}

pub(super) fn missing_directories(items: &[PackageItem], watch: &mut MakeWatch<'_>) {
    let objects = || items.iter().map(|item| &item.entry).filter(|entry| !entry.is_information());
    let known: BTreeSet<&[u8]> = objects().map(|entry| entry.path.as_bytes()).collect();
    let mut missing = BTreeSet::new();
    for entry in objects() {
        let path = entry.path.as_bytes();
        let Some(slash) = path.iter().rposition(|&byte| byte == b'/') else { continue };
        let Some(above) = path.get(..slash).filter(|above| !above.is_empty()) else { continue };
        if !known.contains(above) && missing.insert(above) {
            watch.warn(MakeWarning::Directory(String::from_utf8_lossy(above).escape_debug().to_string()));
        }
    }
}

// Order of search (prototype(4), pkgmk(1)), except for information files: for relative paths the directory of `-b`; for
// absolute ones, or without `-b`, those of `-r`; the path after the `=`, relative to the prototype; `!rsearch` with the
// whole path; `!search` with its last component; the directory of the prototype.

const NOTHING: &[u8] = b"/dev/null";

#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectLookup<'a> {
    pub(super) roots: &'a [PathBuf],
    pub(super) basedir: Option<&'a Path>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FoundContent {
    File(PathBuf),
    Empty,
}

impl ObjectLookup<'_> {
    pub(super) fn find(
        &self,
        entry: &PrototypeEntry,
        path: &[u8],
        scope: &PrototypeScope,
        variables: &PrototypeVariables,
    ) -> Result<FoundContent, NoObject> {
        let own = entry.right.as_ref().map(|right| variables.local_path(&scope.variables, right));
        if own.as_deref() == Some(NOTHING) {
            return Ok(FoundContent::Empty);
        }
        let name = own.as_deref().unwrap_or(path);
        let mut place = if own.is_some() { SearchPlace::Local } else { SearchPlace::Search };
        let mut candidates = Vec::new();
        if entry.ftype != Ftype::Information && self.applies_to(name) {
            candidates = self.below_roots(name);
            place = SearchPlace::Root;
        }
        match &own {
            Some(own) => candidates.push(scope.directory.join(OsStr::from_bytes(own))),
            None if place == SearchPlace::Root => {}
            None => candidates.extend(searched(path, scope)),
        }
        let is_file = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.is_file());
        candidates
            .into_iter()
            .find(is_file)
            .map(FoundContent::File)
            .ok_or_else(|| NoObject { name: String::from_utf8_lossy(name).escape_debug().to_string(), place })
    }

    /// `-b` alone does not apply to absolute paths.
    fn applies_to(&self, name: &[u8]) -> bool {
        !self.roots.is_empty() || self.basedir.is_some() && name.first() != Some(&b'/')
    }

    fn below_roots(&self, name: &[u8]) -> Vec<PathBuf> {
        let is_absolute = name.first() == Some(&b'/');
        let name = relative(name);
        match self.basedir {
            Some(basedir) if !is_absolute => vec![basedir.join(name)],
            _ => self.roots.iter().map(|root| root.join(name)).collect(),
        }
    }
}

fn searched(path: &[u8], scope: &PrototypeScope) -> Vec<PathBuf> {
    let whole = relative(path);
    let last = OsStr::from_bytes(last_component(path));
    let mut places: Vec<PathBuf> = scope.search_whole.iter().map(|at| at.join(whole)).collect();
    places.extend(scope.search.iter().map(|at| at.join(last)));
    places.extend([scope.directory.join(last), scope.directory.join(whole)]);
    places
}

fn relative(path: &[u8]) -> &OsStr {
    let start = path.iter().position(|&byte| byte != b'/').unwrap_or(path.len());
    OsStr::from_bytes(path.get(start..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::package::PackagePath;

    #[test]
    fn absolute_paths_are_below_the_roots_and_relative_ones_in_the_base_directory_as_it_stands() {
        let roots = [PathBuf::from("r1"), PathBuf::from("r2")];
        let basedir = Some(Path::new("/base"));
        let both = ObjectLookup { roots: &roots, basedir };
        assert_eq!(both.below_roots(b"/etc/x"), [Path::new("r1/etc/x"), Path::new("r2/etc/x")]);
        assert_eq!(both.below_roots(b"bin/x"), [Path::new("/base/bin/x")]);
        let alone = ObjectLookup { roots: &[], basedir };
        assert_eq!(alone.below_roots(b"bin/x"), [Path::new("/base/bin/x")]);
        assert!(alone.applies_to(b"bin/x") && !alone.applies_to(b"/etc/x"));
    }

    #[test]
    fn what_is_not_found_is_told_with_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let scope = PrototypeScope { directory: dir.path().to_owned(), ..PrototypeScope::default() };
        let nowhere = ObjectLookup { roots: &[], basedir: None };
        let mut entry = PrototypeEntry::new(Ftype::File, "none", PackagePath::new(b"bin/x").unwrap());
        let find = |entry: &PrototypeEntry, lookup: ObjectLookup<'_>| {
            lookup
                .find(entry, b"bin/x", &scope, &PrototypeVariables::default())
                .map_err(|error| error.to_string())
        };
        let said = |place: &str| format!("no object for <bin/x> found in {place}");
        assert_eq!(find(&entry, nowhere), Err(said("search path")));
        let roots = [dir.path().join("root")];
        assert_eq!(find(&entry, ObjectLookup { roots: &roots, basedir: None }), Err(said("root directory")));
        entry.right = Some(b"bin/x".to_vec());
        assert_eq!(find(&entry, nowhere), Err(said("local path")));
        entry.right = Some(NOTHING.to_vec());
        assert_eq!(find(&entry, nowhere), Ok(FoundContent::Empty));
        entry.right = None;
        fs::write(dir.path().join("x"), "").unwrap();
        assert_eq!(find(&entry, nowhere), Ok(FoundContent::File(dir.path().join("x"))));
    }
}
