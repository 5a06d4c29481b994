//! A patch deletes a library that a program of another package needs, so the library is kept. Then dpkg installs a
//! version that no longer has it, or has it again.

use super::Debian;
use crate::compiled::Compiler;
use crate::delivery::Patch;
use crate::packages::Package;

const OLD: &str = "/usr/lib/libacme.so.1";
const NEW: &str = "/usr/lib/libacme.so.2";

/// The packages of dpkg, and the patch.
fn made(debian: &Debian, compiler: &Compiler) {
    let old = compiler.library_with("libacme.so.1", &[], &[]);
    let new = compiler.library_with("libacme.so.2", &[], &[]);
    let program = compiler.program_with(&["libacme.so.1"], &[]);
    debian.package("user", "1.0-1", &[("/usr/bin/user", 0o755, program)]);
    debian.package("acme", "1.0-1", &[(OLD, 0o755, old.clone())]);
    debian.package("acme", "1.0-2", &[(NEW, 0o755, new.clone())]);
    // With other bytes than before.
    let again = [&old[..], b"again\n"].concat();
    debian.package("acme", "1.0-3", &[(OLD, 0o755, again), (NEW, 0o755, new.clone())]);
    let package =
        Package::new("DEBacme").param("BASEDIR", "/").param("ARCH", "all").param("VERSION", "1.0-1");
    let package = package.file(&NEW[1..], 0o755, new).deletes(&[&OLD[1..]]);
    debian.patch(&Patch::of("100-01", package));
}

fn patched(debian: &Debian, by_hook: bool) {
    debian.done(
        "dpkg --purge acme user >/dev/null 2>&1; rm -rf /var/sadm /usr/lib/libacme*; patchadm setup hooks remove",
    );
    debian.done("dpkg -i /srv/acme_1.0-1_all.deb /srv/user_1.0-1_all.deb");
    debian.done("patchadm adopt --dpkg acme && patchadm adopt --dpkg user");
    debian.done("patchadm add --libs keep /srv/patches/100-01");
    assert!(debian.at(OLD).exists() && debian.at(NEW).exists());
    assert!(debian.done("patchadm libs").contains("libacme.so.1"));
    if by_hook {
        debian.done("patchadm setup hooks install");
    }
}

#[test]
fn a_kept_library_goes_with_its_version_or_is_native_again() {
    const TEST: &str = "a kept library under dpkg";
    let Some(debian) = Debian::fresh(TEST) else { return };
    let Some(compiler) = Compiler::found(TEST) else { return };
    made(&debian, &compiler);
    for by_hook in [false, true] {
        for (version, is_there) in [("1.0-2", false), ("1.0-3", true)] {
            patched(&debian, by_hook);
            debian.done(&format!("dpkg -i /srv/acme_{version}_all.deb"));
            debian.refresh(by_hook);
            assert_eq!(debian.at(OLD).exists(), is_there, "{version}");
            assert!(debian.at(NEW).exists());
            assert_eq!(debian.done("dpkg --verify acme"), "");
            assert_eq!(debian.done("patchadm libs"), "no libraries are kept\n", "{version}");
            let listed = debian.inside("patchadm list --check");
            assert_eq!((listed.code, listed.stdout), (4, format!("100-01  LOST to acme {version} (dpkg)\n")));
            assert_eq!(debian.done("patchadm pkginfo").lines().count(), 2, "{version}");
            assert_eq!(debian.done("patchadm pkgchk"), "");
            debian.done("patchadm check --contents");
            debian.assert_settled();
        }
    }
}

#[test]
fn a_kept_library_stays_when_the_same_version_is_installed_again() {
    const TEST: &str = "a kept library and the same version";
    let Some(debian) = Debian::fresh(TEST) else { return };
    let Some(compiler) = Compiler::found(TEST) else { return };
    made(&debian, &compiler);
    patched(&debian, true);
    debian.done("dpkg -i /srv/acme_1.0-1_all.deb");
    assert!(debian.done("patchadm list --check").starts_with("100-01  effective"));
    assert!(debian.done("patchadm libs").contains("libacme.so.1  needed"));
    assert_eq!(debian.done("patchadm pkgchk"), "");
    debian.assert_settled();
    debian.done("patchadm remove 100-01");
    assert!(debian.at(OLD).exists() && !debian.at(NEW).exists());
    assert_eq!(debian.done("patchadm libs"), "no libraries are kept\n");
    assert_eq!(debian.done("dpkg --verify acme"), "");
}
