//! The choice of package parameters that scripts get as environment variables.
//!
//! No script gets a variable on which a loader, shell or interpreter acts, because a package could run code in every
//! program of a script. Scripts of others only get the names they are written for.

use super::Params;

enum NamePattern {
    Exactly(&'static [&'static str]),
    Prefix(&'static str),
    PrefixAndLetter(&'static str),
}

use NamePattern::{Exactly, Prefix, PrefixAndLetter};

/// No script gets these names; each with the program that interprets it.
const KEPT_OUT: &[(NamePattern, &str)] = &[
    (Prefix("LD_"), "the loader of ELF programs puts the libraries that they name into every process"),
    (Prefix("_RLD"), "the loader of IRIX and Tru64, as LD_"),
    (Prefix("LDR_"), "the loader of AIX, as LD_"),
    (Prefix("DYLD_"), "the loader of Darwin, as LD_"),
    (Prefix("GLIBC_"), "GLIBC_TUNABLES changes how the C library allocates and loads"),
    (Prefix("MALLOC_"), "the allocator of the C library takes trace files and checks from them"),
    (Prefix("GCONV_"), "the C library loads converters of character sets from there"),
    (
        Prefix("BASH_"),
        "bash reads BASH_ENV before a script, imports BASH_FUNC_ as functions, writes to BASH_XTRACEFD",
    ),
    (Prefix("PERL5"), "perl loads modules (PERL5LIB, PERL5OPT) and runs code (PERL5DB) that they name"),
    (Prefix("PERLIO"), "perl loads a layer for its files, and writes a trace (PERLIO_DEBUG)"),
    (Prefix("GIT_"), "git runs the commands that they name, and takes another repository"),
    (Prefix("JAVA_TOOL_"), "the Java machine takes options from there, agents among them"),
    (Prefix("OPENSSL_"), "OpenSSL reads a configuration and loads engines from there"),
    (Prefix("KRB5_"), "Kerberos reads its configuration and writes a trace there"),
    (Prefix("PATCHADM_"), "this program uses them to tell its own commands which run they belong to"),
    (
        PrefixAndLetter("PYTHON"),
        "python loads modules (PYTHONPATH, PYTHONHOME) and runs code (PYTHONSTARTUP) from there",
    ),
    (PrefixAndLetter("RUBY"), "ruby loads modules (RUBYLIB) and takes options (RUBYOPT) from there"),
    (Exactly(&["PATH"]), "this program sets the search path for commands"),
    (Exactly(&["ENV"]), "a shell reads this file first"),
    (
        Exactly(&["IFS", "CDPATH", "GLOBIGNORE"]),
        "a shell splits words, changes directory and expands patterns according to them",
    ),
    (Exactly(&["PS4"]), "a shell with -x expands it, commands in it included, before each command"),
    (Exactly(&["SHELLOPTS", "BASHOPTS"]), "bash takes its options from there, -x among them"),
    (Exactly(&["FPATH", "ZDOTDIR"]), "ksh and zsh load functions and start files from there"),
    (Exactly(&["PERLLIB"]), "perl loads modules from there"),
    (Exactly(&["NODE_OPTIONS", "NODE_PATH"]), "node takes options from there and loads modules"),
    (
        Exactly(&["_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"]),
        "the Java machine takes options from there, agents among them",
    ),
    (Exactly(&["LIBPATH", "SHLIB_PATH"]), "the loaders of AIX and HP-UX find libraries there"),
    (
        Exactly(&["LOCPATH", "PATH_LOCALE", "NLSPATH"]),
        "the C library loads locales and formats of messages from there",
    ),
    (Exactly(&["GETCONF_DIR"]), "getconf runs programs from there"),
    (
        Exactly(&["NIS_PATH", "HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS", "RESOLV_HOST_CONF"]),
        "the C library looks up accounts and hosts as they specify, and reads files that they name",
    ),
    (
        Exactly(&["TERMINFO", "TERMINFO_DIRS", "TERMCAP"]),
        "programs for terminals read descriptions from there",
    ),
    (Exactly(&["TZDIR"]), "the C library reads time zones from there"),
    (Exactly(&["AWKPATH", "AWKLIBPATH"]), "gawk loads programs and libraries from there"),
    (
        Exactly(&["TAR_OPTIONS", "GREP_OPTIONS"]),
        "tar and grep take options from there, tar commands to run among them",
    ),
    (Exactly(&["LESSOPEN", "LESSCLOSE"]), "less runs these commands"),
    (Exactly(&["MAKEFLAGS", "MAKEFILES"]), "make takes options from there, and reads these files"),
];

/// The start of a function, which bash runs at its own start (CVE-2014-6271).
const FUNCTION: &[u8] = b"() {";

/// For scripts from elsewhere: parameters of procedure-scripts(7) and pkginfo(5).
const NAMED: &[&str] = &[
    // of the package
    "NAME",
    "ARCH",
    "VERSION",
    "CATEGORY",
    "BASEDIR",
    "CLASSES",
    "DESC",
    "EMAIL",
    "HOTLINE",
    "INTONLY",
    "ISTATES",
    "MAXINST",
    "ORDER",
    "PSTAMP",
    "RSTATES",
    "ULIMIT",
    "VENDOR",
    "VSTOCK",
    // of the installation
    "CLIENT_BASEDIR",
    "INSTDATE",
    "INST_DATADIR",
    "LANG",
    "NONABI_SCRIPTS",
    "OAMBASE",
    "TMPDIR",
    "TZ",
    "UPDATE",
    // of the patch
    "Patch_label",
    "Obsoletes_label",
];

const NAMED_PREFIXES: &[&str] = &["PKG", "SUNW_", "PATCH", "LC_"];

/// Returns true if a parameter is safe as an environment variable: no other program interprets it.
pub fn is_exported(name: &str, value: &[u8]) -> bool {
    is_variable(name) && reason(name, value).is_none()
}

/// True if scripts that did not come with the package get this parameter too, if it [is exported](is_exported).
pub fn is_for_all_scripts(name: &str) -> bool {
    NAMED.contains(&name) || NAMED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns the parameters that no script gets, in order, each with the reason.
pub fn kept_out(params: &Params) -> impl Iterator<Item = (&str, &'static str)> {
    params.iter().filter_map(|(name, value)| Some((name, reason(name, value)?)))
}

/// True for a valid name of a shell variable. Others are harmless to a shell, but not to every program.
pub fn is_variable(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns true if bash would take a value for a function.
pub fn is_function(value: &[u8]) -> bool {
    value.starts_with(FUNCTION)
}

fn reason(name: &str, value: &[u8]) -> Option<&'static str> {
    let of_name = KEPT_OUT.iter().find(|(names, _)| names.have(name)).map(|(_, reason)| *reason);
    of_name.or_else(|| is_function(value).then_some("bash would run its value as a function"))
}

impl NamePattern {
    fn have(&self, name: &str) -> bool {
        match self {
            Exactly(names) => names.contains(&name),
            Prefix(prefix) => name.starts_with(prefix),
            PrefixAndLetter(prefix) => {
                let rest = name.strip_prefix(prefix);
                rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_alphabetic()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At least one name of each entry of the table.
    const ACTED_ON: &str = "LD_PRELOAD _RLD_LIST LDR_PRELOAD DYLD_INSERT_LIBRARIES GLIBC_TUNABLES MALLOC_TRACE GCONV_PATH \
        BASH_ENV BASH_FUNC_ls PERL5OPT PERL5LIB PERLIO PERLIO_DEBUG GIT_SSH JAVA_TOOL_OPTIONS OPENSSL_CONF \
        KRB5_CONFIG PATCHADM_RUN PATCHADM_TRUST PYTHONPATH PYTHONSTARTUP RUBYOPT RUBYLIB PATH ENV IFS CDPATH \
        PS4 SHELLOPTS BASHOPTS GLOBIGNORE FPATH ZDOTDIR PERLLIB NODE_OPTIONS NODE_PATH _JAVA_OPTIONS \
        JDK_JAVA_OPTIONS LIBPATH SHLIB_PATH LOCPATH PATH_LOCALE NLSPATH GETCONF_DIR NIS_PATH HOSTALIASES \
        LOCALDOMAIN RES_OPTIONS RESOLV_HOST_CONF TERMINFO TERMINFO_DIRS TERMCAP TZDIR AWKPATH AWKLIBPATH \
        TAR_OPTIONS GREP_OPTIONS LESSOPEN LESSCLOSE MAKEFLAGS MAKEFILES PATCHADM_SCRIPTS";

    #[test]
    fn names_that_a_loader_a_shell_or_an_interpreter_acts_on_are_exported_to_nobody() {
        for name in ACTED_ON.split(' ') {
            assert!(!is_exported(name, b"x"), "{name}");
        }
    }

    #[test]
    fn names_that_packages_ask_for_are_exported() {
        for name in [
            "USER",
            "NODE_NAME",
            "JAVA_HOME",
            "LIBDIR",
            "PYTHON",
            "PYTHON3",
            "PYTHON_VERSION",
            "RUBY",
            "RUBY_HOME",
            "ENVIRONMENT",
            "LDAP_HOST",
            "PATHS",
            "TZ",
            "lower",
            "_x",
            "BASHFUL",
        ] {
            assert!(is_exported(name, b"x"), "{name}");
        }
    }

    #[test]
    fn what_is_no_variable_or_a_function_of_bash_is_not_exported() {
        for name in ["", "1A", "A B", "A-B", "A=B", "PATCH_INFO_100-01", "BASH_FUNC_ls%%", "\u{c4}"] {
            assert!(!is_exported(name, b"x"), "{name}");
        }
        assert!(!is_exported("USER", b"() { :; }; id"));
        assert!(is_exported("USER", b"(no function)"));
    }

    #[test]
    fn scripts_from_elsewhere_get_the_names_that_they_know() {
        for name in [
            "PKGINST",
            "PKG_CAS_PASSRELATIVE",
            "SUNW_PKGTYPE",
            "PATCHLIST",
            "Patch_label",
            "VENDOR",
            "LC_ALL",
        ] {
            assert!(is_for_all_scripts(name), "{name}");
        }
        for name in ["USER", "POSIXLY_CORRECT", "TMP", "NAMES", "Patch_labels", "ACTIVE_PATCH"] {
            assert!(!is_for_all_scripts(name), "{name}");
        }
    }

    #[test]
    fn what_is_kept_out_is_told_in_the_order_of_the_package() {
        let params: Params =
            [("PKG", "ACMEx"), ("PS4", "$(id)"), ("A", "() { :; }"), ("LD_PRELOAD", "/x.so"), ("B-C", "x")]
                .into_iter()
                .collect();
        assert_eq!(kept_out(&params).map(|(name, _)| name).collect::<Vec<_>>(), ["PS4", "A", "LD_PRELOAD"]);
    }

    #[test]
    fn every_entry_has_its_reason_and_a_name_that_is_tried() {
        for (names, reason) in KEPT_OUT {
            assert!(reason.split(' ').count() > 3, "{reason}");
            assert!(ACTED_ON.split(' ').any(|name| names.have(name)), "no name is tried of: {reason}");
        }
    }
}
