//! Findings, their codes, and remedies.

use std::fmt::{self, Display};

use serde::{Serialize, Serializer};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LintFinding {
    pub code: LintCode,
    pub severity: Severity,
    /// The package's directory; `None` for the whole patch.
    pub package: Option<String>,
    /// The path as the package writes it, or the name of a script, field or parameter.
    pub path: Option<String>,
    pub text: String,
}

impl Display for LintFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(f, "{severity}: {}: ", self.code)?;
        for place in self.package.iter().chain(&self.path) {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.text)
    }
}

#[derive(Debug, Default)]
pub(super) struct LintFindings(Vec<LintFinding>);

impl LintFindings {
    pub(super) fn of_patch(&mut self, code: LintCode, text: impl Display) {
        self.push(code, None, None, text);
    }

    pub(super) fn of_package(&mut self, code: LintCode, package: &str, text: impl Display) {
        self.push(code, Some(package.to_owned()), None, text);
    }

    pub(super) fn of_path(&mut self, code: LintCode, package: &str, path: &dyn Display, text: impl Display) {
        self.push(code, Some(package.to_owned()), Some(path.to_string()), text);
    }

    pub(super) fn push(
        &mut self,
        code: LintCode,
        package: Option<String>,
        path: Option<String>,
        text: impl Display,
    ) {
        let text = text.to_string();
        self.0.push(LintFinding { code, severity: code.severity(), package, path, text });
    }

    /// True if a file differs from the pkgmap, so that reading it again would fail.
    pub(super) fn has_damaged_content(&self) -> bool {
        let is_damage =
            |code| matches!(code, LintCode::Checksum | LintCode::Size | LintCode::Member | LintCode::Type);
        self.0.iter().any(|finding| is_damage(finding.code))
    }

    /// Errors first; by kind in the order of the manual, then as found.
    pub(super) fn sorted(mut self) -> Vec<LintFinding> {
        self.0.sort_by_key(|finding| (finding.severity, finding.code));
        self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The patch cannot be applied everywhere it is for, or does harm.
    Error,
    Warning,
    /// No fault; every patch of `build` may have it.
    Note,
}

macro_rules! codes {
    ($($code:ident $name:literal $severity:ident $means:literal $advice:literal)*) => {
        /// The meaning of a name never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum LintCode {
            $(#[doc = $means] $code,)*
        }

        impl LintCode {
            /// In the order of the manual.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }

            pub fn severity(self) -> Severity {
                match self { $(Self::$code => Severity::$severity,)* }
            }

            pub fn meaning(self) -> &'static str {
                match self { $(Self::$code => $means,)* }
            }

            pub fn advice(self) -> &'static str {
                match self { $(Self::$code => $advice,)* }
            }
        }
    };
}

codes! {
    Id "id" Error
        "A package of the patch has no patch id, or not the same id as the others."
        "Give every pkginfo the same SUNW_PATCHID: a base code, a hyphen, and a revision."
    Revision "revision" Error
        "The revision is 0, which means every revision, or the lists name the patch itself or a later revision of it."
        "Number revisions from 01, and name only earlier ones in SUNW_OBSOLETES."
    Macro "macro" Error
        "A list in a pkginfo cannot be read, or two parameters with the same meaning differ."
        "Separate ids with blanks; omit Patch_label and Obsoletes_label."
    Patchinfo "patchinfo" Error
        "The file patchinfo contradicts the packages."
        "Write the same id and the same lists in both."
    Version "version" Error
        "The base has another version of this package, so the patch fits no installed package."
        "Give the sparse package the VERSION of the base, character for character."
    Arch "arch" Error
        "A package has no ARCH or VERSION, or the base has it for another architecture."
        "Give the sparse package the ARCH of the base."
    Checksum "checksum" Error
        "The checksum of a file differs from the pkgmap."
        "Make the package again."
    Size "size" Error
        "The size of a file differs from the pkgmap."
        "Make the package again."
    Manifest "manifest" Error
        "The manifest cannot be read, or does not match the files."
        "Make a new manifest when everything else is final, and sign it."
    Member "member" Error
        "A file in the pkgmap is missing, or a file is not in the pkgmap."
        "Make the package again."
    Path "path" Error
        "A path uses a variable without a value, leads out of the root, or is a record of the package database."
        "Deliver the object elsewhere, or give the variable a value in pkginfo."
    Type "type" Error
        "An object cannot be installed as declared: it is a link in place of a file, or its class is not in CLASSES."
        "Deliver links as type s or l, and name every class in CLASSES."
    DeletesDelivered "deletes-delivered" Error
        "A path is both deleted and delivered."
        "Remove it from `deletes`."
    Duplicate "duplicate" Error
        "Two objects of the patch have the same path, or two of its packages are the same."
        "Deliver each path once."
    Owner "owner" Error
        "An owner or group is a number or missing."
        "Name accounts that the base system has."
    Mode "mode" Error
        "A file has no mode, or everybody can write to it."
        "Set its mode; use 1777 for a directory that everybody may write to."
    ScriptSyntax "script-syntax" Error
        "The shell cannot parse a script."
        "Run `sh -n` on it; end its lines with newlines, without carriage returns."
    PkgName "pkg-name" Error
        "The name of a package is too long for pkgadd(1M), or differs from the name of its directory."
        "Use at most 32 letters, digits, `+` and `-`, and give the directory the same name."
    Zone "zone" Error
        "A zone parameter differs from the base."
        "Copy SUNW_PKG_ALLZONES, SUNW_PKG_HOLLOW and SUNW_PKG_THISZONE from the base."
    Overlap "overlap" Error
        "Another patch, which this one neither obsoletes nor requires, delivers the same path."
        "Deliver the path in only one of them, or make one require or obsolete the other."
    Cumulative "cumulative" Error
        "A lower revision delivers or deletes a path that this one leaves alone."
        "Build it with `--previous`: a revision must contain everything in earlier ones."
    Abi "abi" Error
        "A program or library of the base needs what a changed or deleted library no longer provides."
        "Also deliver the objects that need it, or keep the old library beside the new one."
    Setuid "setuid" Warning
        "A program runs as its owner or group, whoever calls it."
        "Make sure that this is intended."
    Device "device" Warning
        "The patch delivers a device; only root can install it."
        "Make sure that this is intended."
    ScriptUnknown "script-unknown" Warning
        "A script is not a known one: it runs as root on every machine, and policies may forbid it."
        "Do without it if you can."
    ScriptMixed "script-mixed" Warning
        "The patch has both known and changed scripts, so all of them run."
        "Use only known scripts, or put the commands into prepatch and postpatch."
    NoScripts "no-scripts" Warning
        "A classic pkgadd would apply the patch without records, and could not remove it."
        "Build it without `--no-scripts` if classic tools are to apply it."
    Readme "readme" Warning
        "There is no README beside the packages, or its name has another id."
        "Deliver README.<id>."
    ReadmeField "readme-field" Warning
        "The README is missing a field, or names another patch."
        "Begin it with Patch-ID#, Synopsis and Date; `--synopsis` of `build` and `delta` sets the Synopsis."
    EmptyPackage "empty-package" Warning
        "A package neither delivers nor deletes anything."
        "Leave it out."
    OutsidePackage "outside-package" Warning
        "A path belongs to another package of the base, or is deleted and the base does not have it."
        "Deliver it in the package that owns it."
    Escape "escape" Warning
        "A path has bytes that the classic formats cannot express."
        "Rename the object if classic tools are to apply the patch."
    ClassNoUndo "class-no-undo" Warning
        "A class has its own script but none that reverses it, so whole files are saved."
        "Deliver u.<class> beside i.<class>."
    Xattr "xattr" Note
        "The patch delivers extended attributes, nanoseconds or access lists, which classic tools ignore."
        "Nothing, if only this program applies the patch."
    SameTime "same-time" Warning
        "A file differs from the one that it replaces, but has the same size and modification time."
        "Give it a later time: Python's __pycache__, make and rsync compare only size and time."
    Unsigned "unsigned" Warning
        "The patch is not signed."
        "Sign it with `patchadm sign`."
    Fixes "fixes" Error
        "The list of fixed problems contains an id that no scanner recognizes."
        "Use ids of letters, digits and `._:+-`; write CVE ids like CVE-2026-1234."
    FixesTwice "fixes-twice" Warning
        "The list of fixed problems contains an id twice."
        "Name each id once in PATCH_FIXES."
    Parameter "parameter" Warning
        "A parameter never reaches a script, because another program would act on it."
        "Rename it."
    Property "property" Warning
        "A property of the patch is unknown and has no effect."
        "Use one of standard, nobackout, interactive, nokeepshlibs, rebootafter, rebootimmediate, reconfigafter and reconfigimmediate."
}

impl LintCode {
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

impl Display for LintCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for LintCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own_and_is_found_by_it() {
        let names: std::collections::BTreeSet<_> = LintCode::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), LintCode::ALL.len());
        assert!(LintCode::ALL.iter().all(|code| LintCode::named(code.name()) == Some(*code)));
        assert_eq!(LintCode::named("error"), None);
    }
}
