//! Sources that lie, lead outside or are damaged: each is refused by name, or does no harm.

use super::*;
use patchadm_rootfs::{human, never};

/// Returns the refusal of a patch with a change in it, as a tar archive.
fn refused(change: impl Fn(&mut Tree)) -> SourceProblem {
    let mut tree = patch();
    change(&mut tree);
    let outcome = scanned(&tar(&tree, "")).and_then(|(_temp, source, image)| source.verify(&image, &never));
    outcome.unwrap_err().problem
}

#[test]
fn a_link_in_place_of_a_file_is_refused_and_never_followed() {
    let temp = TempDir::new().unwrap();
    directory(temp.path(), &patch());
    let secret = temp.path().join("secret");
    fs::write(&secret, b"a=1\n").unwrap();
    let object = temp.path().join("SUNWa/reloc/etc/a.conf");
    let source = Source::open(temp.path(), &never).unwrap();
    let image = source.scan(&never).unwrap();
    fs::remove_file(&object).unwrap();
    symlink(&secret, &object).unwrap();
    let problem = Source::open(temp.path(), &never).unwrap().scan(&never).unwrap_err().problem;
    assert_eq!(problem.to_string(), "package SUNWa, file etc/a.conf: symbolic link included in patch");
    let swapped_in = || source.verify(&image, &never).unwrap_err().problem.to_string();
    let said = swapped_in();
    assert!(said.contains("etc/a.conf") && said.contains("symbolic links"), "{said}");

    fs::remove_dir_all(temp.path().join("SUNWa/reloc/etc")).unwrap();
    fs::create_dir(temp.path().join("elsewhere")).unwrap();
    fs::write(temp.path().join("elsewhere/a.conf"), b"a=1\n").unwrap();
    symlink("../../elsewhere", temp.path().join("SUNWa/reloc/etc")).unwrap();
    let said = swapped_in();
    assert!(said.contains("etc/a.conf") && said.contains("symbolic links"), "{said}");
}

#[test]
fn a_source_that_holds_more_than_its_reader_takes_is_refused() {
    let temp = TempDir::new().unwrap();
    directory(temp.path(), &patch());
    let opened = |held, lines| {
        let opened = open_within(temp.path(), SourceLimits { held, lines });
        opened.map(drop).map_err(|error| error.problem.to_string())
    };
    assert_eq!(opened(1 << 20, 1_000), Ok(()));
    let many = opened(1 << 20, 1).unwrap_err();
    assert!(many.ends_with("pkgmap is corrupt: it has more than 1 lines"), "{many}");
    let large = opened(100, 1_000).unwrap_err();
    assert_eq!(large, "it holds more than 100 bytes of names and package files");
}

#[test]
fn sources_read_with_one_room_hold_no_more_than_it_together() {
    let temp = TempDir::new().unwrap();
    directory(temp.path(), &patch());
    let opened = |room: &SharedRoom| open_sharing(Origin::Path(temp.path()), room, &never);
    let limit = 32 << 10;
    let room = SharedRoom::of(limit);
    for _ in 0..100 {
        drop(opened(&room).unwrap());
    }
    let kept: Vec<_> = std::iter::repeat_with(|| opened(&room)).take_while(Result::is_ok).collect();
    assert!((2..100).contains(&kept.len()), "{}", kept.len());
    let error = opened(&room).unwrap_err();
    assert_eq!(error.path, temp.path());
    let limit = human(limit);
    let told = format!(
        "cannot read: with the sources read before, it holds more than {limit} of names and package files; \
         specify fewer at once"
    );
    assert_eq!(error.problem.to_string(), told);
    drop(kept);
    assert!(opened(&room).is_ok());
}

#[test]
fn a_file_that_is_not_what_the_pkgmap_says_is_named() {
    let with = |path: &'static str, data: &'static [u8]| {
        refused(move |tree| {
            tree.insert(path.to_owned(), data.to_vec());
        })
    };
    assert_eq!(
        with("SUNWa/reloc/etc/a.conf", b"a=2\n").to_string(),
        "package SUNWa, file etc/a.conf: sum 218, expected 217"
    );
    assert_eq!(
        with("SUNWa/root/usr/abs", b"short").to_string(),
        "package SUNWa, file /usr/abs: size 5, expected 8"
    );
    assert_eq!(
        with("SUNWa/install/preinstall", b"exit 1\n").to_string(),
        "package SUNWa, file install/preinstall: sum 533, expected 532"
    );
    let missing = |path: &'static str| refused(move |tree| assert!(tree.remove(path).is_some())).to_string();
    assert_eq!(
        missing("SUNWb.p1/reloc/bin/tool"),
        "package SUNWb.p1, file bin/tool: missing from the source"
    );
    assert_eq!(
        missing("SUNWa/install/preinstall"),
        "package SUNWa, file install/preinstall: missing from the source"
    );
    assert_eq!(missing("SUNWa/pkgmap"), "package SUNWa: pkgmap is corrupt: it is missing");
}

#[test]
fn package_files_that_cannot_be_read_are_corrupt() {
    let with = |path: &'static str, data: &'static [u8]| {
        refused(move |tree| {
            tree.insert(path.to_owned(), data.to_vec());
        })
    };
    for (path, data) in [
        ("SUNWa/pkginfo", &b"PKG='x\n"[..]),
        ("SUNWa/pkginfo", b"NAME=x\n"),
        ("SUNWa/pkginfo", b"PKG=../x\n"),
        ("SUNWa/pkgmap", b"1 f none x\n"),
        ("SUNWa/pkgmap", b": 1 1\n1 f none ../x 0644 root bin 1 1 1\n"),
        ("SUNWa/install/deletes", b"x\n../y\n"),
    ] {
        assert!(
            matches!(with(path, data), SourceProblem::CorruptPackageFile { .. }),
            "{path} {}",
            with(path, data)
        );
    }
    let archive = with("SUNWa/archive/none.7z", b"");
    assert_eq!(
        archive.to_string(),
        "package SUNWa: a class archive (SUNWa/archive/none.7z) is not supported yet"
    );
}

#[test]
fn archives_with_names_that_lead_outside_are_refused() {
    let tree = patch();
    let hostile = |name: &[u8], link: Option<&str>| {
        let mut archive = tar(&tree, "");
        archive.truncate(archive.len() - 1024); // the end mark
        let mut builder = tar::Builder::new(archive);
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        if let Some(target) = link {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_link_name_literal(target).unwrap();
        }
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
        scanned(&builder.into_inner().unwrap()).unwrap_err().problem
    };
    let unsafe_name = |name: &[u8], link| {
        let problem = hostile(name, link);
        assert!(matches!(problem, SourceProblem::Unsafe { .. }), "{problem}");
        problem.to_string()
    };
    assert_eq!(unsafe_name(b"/etc/passwd", None), "member </etc/passwd> has an absolute name");
    assert_eq!(unsafe_name(b"SUNWa/../../x", None), "member <SUNWa/../../x> has a `..` component");
    assert_eq!(
        unsafe_name(b"SUNWa//./reloc/etc/a.conf", None),
        "member <SUNWa/reloc/etc/a.conf> occurs twice"
    );
    assert_eq!(unsafe_name(b"x", Some("/etc")), "member <x> is a link that points outside, to </etc>");
}

#[test]
fn damaged_archives_are_errors_of_their_kind() {
    let tree = patch();
    let kind = |bytes: &[u8]| {
        let outcome = scanned(bytes).and_then(|(_temp, source, image)| source.verify(&image, &never));
        outcome.unwrap_err().problem
    };
    let whole = gzip(&tar(&tree, ""));
    assert!(matches!(kind(&whole[..whole.len() / 2]), SourceProblem::NotDecompressed(_)));
    assert!(
        matches!(kind(&whole[..whole.len() - 3]), SourceProblem::NotDecompressed(_)),
        "the checksum at the end"
    );
    let plain = stream(&tree);
    for length in [700, 5000, plain.len() / 2, plain.len() - 1] {
        assert!(matches!(kind(&plain[..length]), SourceProblem::BadForm(_)), "{length}");
        assert!(matches!(kind(&gzip(&plain[..length])), SourceProblem::BadForm(_)), "{length}");
    }
    assert!(matches!(kind(&tar(&tree, "")[..9000]), SourceProblem::BadForm(_)));
    assert!(matches!(kind(b"BZh91AY&SY"), SourceProblem::NotDecompressed(_)));
    assert!(kind(b"hello").is_no_source());
    assert!(kind(&gzip(&whole)).is_no_source(), "compressed twice");
    for (bytes, what) in [
        (&b"!<arch>\ndebian-binary   1700000000"[..], "a Debian package, "),
        (&b"\xed\xab\xee\xdb\x03\0"[..], "an RPM package, "),
    ] {
        for bytes in [bytes.to_vec(), gzip(bytes)] {
            let problem = kind(&bytes);
            assert!(!problem.is_no_source());
            let said = problem.to_string();
            assert!(said.starts_with(what) && said.ends_with(" with `patchadm build`"), "{said}");
        }
    }
    let absent = Source::open(Path::new("/nonexistent/900-01"), &never).unwrap_err();
    assert_eq!(absent.to_string(), "/nonexistent/900-01: no such file or directory");
    let far = Source::open(Path::new("http://patches.example/900-01.zip"), &never).unwrap_err();
    assert!(far.to_string().ends_with(": reading from the network is not supported yet"), "{far}");
}

#[test]
fn damage_is_an_error_or_harmless_and_never_a_panic() {
    let tree = patch();
    for whole in [tar(&tree, "900-01/"), zip(&tree, ""), stream(&tree), compressed(&stream(&tree))] {
        for step in 0..400 {
            let mut bytes = whole.clone();
            let at = step * bytes.len() / 400;
            bytes[at] = bytes[at].wrapping_add(1 + step.to_le_bytes()[0] % 200);
            if let Ok((_temp, source, image)) = scanned(&bytes)
                && source.verify(&image, &never).is_ok()
            {
                assert!(
                    contents(&source, &image).values().all(|data| tree.values().any(|known| known == data))
                );
            }
        }
    }
}
