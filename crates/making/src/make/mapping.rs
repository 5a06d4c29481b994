//! The mapping from entries of prototypes to entries of a pkgmap, each with the source of its content.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::rc::Rc;

use super::error::{MakeError, PrototypeTroubleKind};
use super::lookup::{FoundContent, ObjectLookup};
use super::progress::{MakeWarning, MakeWatch};
use super::reading::{PlacedEntry, ReadPrototype};
use super::variables::PrototypeVariables;
use patchadm_svr4::format::pkgmap::{PkgmapEntry, member_name};
use patchadm_svr4::format::prototype;
use patchadm_svr4::format::prototype::AttributeSetting;
use patchadm_svr4::package::{Ftype, Mode, Object, ObjectAttributes, PackagePath, Params, escape};

/// The longest owner or group, in bytes.
const LONGEST_ACCOUNT: usize = 64;

/// An object or information file of the package.
#[derive(Clone, Debug)]
pub(super) struct PackageItem {
    /// Its line in the pkgmap; of the content nothing is known yet.
    pub(super) entry: PkgmapEntry,
    /// The source of its content, if it has any.
    pub(super) source: Option<FoundContent>,
}

impl PackageItem {
    /// Returns where it stands in the directory of the package; nothing if it has no content.
    pub(super) fn member(&self) -> Option<Vec<u8>> {
        self.source.as_ref()?;
        Some(match self.entry.object.ftype {
            Ftype::Information => [b"install/", self.entry.path.as_bytes()].concat(),
            _ => member_name(&self.entry.path),
        })
    }
}

/// Finds the pkginfo that a prototype names. None: it is named and not there, which [`map`] will tell.
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

fn is_pkginfo(entry: &prototype::PrototypeEntry) -> bool {
    entry.ftype == Ftype::Information && entry.path.as_bytes() == b"pkginfo"
}

/// The result of mapping the entries of a prototype.
#[derive(Clone, Debug, Default)]
pub(super) struct MappedPrototype {
    /// All objects and information files but the pkginfo, in the order of the pkgmap.
    pub(super) items: Vec<PackageItem>,
    /// The classes of the objects, in the order in which the prototype has them.
    pub(super) classes: Vec<String>,
}

/// Maps all entries.
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

/// Where a path was met first.
type Met = HashMap<(bool, PackagePath), (Rc<Path>, u64)>;

struct Mapping<'a> {
    lookup: &'a ObjectLookup<'a>,
    variables: &'a PrototypeVariables,
    met: Met,
    /// Whether a path that begins with a variable was met.
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
        if entry.has_more {
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
            mode: self.settled(local, &given.mode, mode)?,
            owner: self.settled(local, &given.owner, account)?.map(Into::into),
            group: self.settled(local, &given.group, account)?.map(Into::into),
        };
        if given.lack() {
            let mode = attributes.mode.map(|mode| format!("{:04o}", mode.bits()));
            let words = [mode.as_deref(), attributes.owner.as_deref(), attributes.group.as_deref()];
            let words = words.map(|word| word.unwrap_or("?")).join(" ");
            watch.warn(MakeWarning::Attributes { attributes: words, path: path.to_string() });
        }
        Ok(attributes)
    }

    /// Returns the value of an attribute; none if it stays open.
    fn settled<T: Clone>(
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

/// Warns about each directory that holds an object and has no entry, once.
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
