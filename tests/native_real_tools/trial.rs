//! A patch of openssl is on trial, and apt installs other versions of its packages before the time is up.

use std::fs;

use super::Debian;
use super::openssl::{installs, of_openssl};
use crate::trial::{RECORD, with_time_up};

/// Ends the trial: its time is up, and the waiting process has ended with its session.
fn over(debian: &Debian) {
    let record = debian.at(RECORD);
    let text = fs::read_to_string(&record).unwrap();
    fs::write(record, with_time_up(&text)).unwrap();
    debian.done("patchadm recover");
    let list = debian.inside("patchadm list");
    assert!(!list.stdout.contains("on trial"), "{}", list.stdout);
    assert_eq!(debian.done("dpkg --verify openssl libssl3"), "");
    assert_eq!(debian.done("patchadm pkgchk"), "");
    assert!(debian.done("openssl version").starts_with("OpenSSL 3."));
    debian.assert_settled();
}

#[test]
fn what_apt_installs_during_a_trial_stays_and_the_rest_goes_back() {
    let Some((debian, versions)) = of_openssl("a trial of openssl") else { return };
    let [old, .., new] = &versions[..] else { return };
    let between = &versions[1];
    for by_hook in [false, true] {
        let begins = || {
            debian.done("patchadm setup hooks remove; rm -rf /var/sadm");
            installs(&debian, &format!("/srv/{old}/*.deb"));
            debian.done("patchadm adopt --dpkg openssl && patchadm adopt --dpkg libssl3");
            let sums = debian.done("sha256sum /usr/bin/openssl");
            if by_hook {
                debian.done("patchadm setup hooks install");
            }
            debian.done("patchadm add --trial 1h /srv/300-01");
            assert_ne!(debian.done("sha256sum /usr/bin/openssl"), sums);
            sums
        };
        let before = begins();
        over(&debian);
        assert_eq!(debian.done("sha256sum /usr/bin/openssl"), before, "nobody else came");

        begins();
        installs(&debian, &format!("/srv/{between}/*.deb"));
        let native = debian.done("sha256sum /usr/bin/openssl /usr/lib/x86_64-linux-gnu/libssl.so.3");
        over(&debian);
        assert_eq!(
            debian.done("sha256sum /usr/bin/openssl /usr/lib/x86_64-linux-gnu/libssl.so.3"),
            native,
            "what apt installed stays"
        );

        let before = begins();
        installs(&debian, &format!("/srv/{new}/libssl3_*.deb"));
        let native = debian.done("sha256sum /usr/lib/x86_64-linux-gnu/libssl.so.3");
        over(&debian);
        assert_eq!(debian.done("sha256sum /usr/bin/openssl"), before, "what apt left alone goes back");
        assert_eq!(debian.done("sha256sum /usr/lib/x86_64-linux-gnu/libssl.so.3"), native);
    }
}
