//! One patch in every form must be one image; what must not be accepted is refused in every form.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use crate::format::checksum::sum;
use crate::format::cpio::{self, Header};
use crate::format::{compress, datastream};
use crate::package::PkgInst;

/// Path and content of every file of a patch, `SUNWa` and `SUNWb.p1` with a README and two scripts.
type Tree = BTreeMap<String, Vec<u8>>;

fn package(tree: &mut Tree, directory: &str) {
    let pkg = directory.split('.').next().unwrap();
    let pkginfo = format!("PKG={pkg}\nNAME=x\nARCH=all\nVERSION=1\nCATEGORY=application\n").into_bytes();
    let tool = b"0123456".repeat(10_000);
    let files: [(&str, &str, &[u8]); 4] = [
        ("e cfg", "etc/a.conf", b"a=1\n"),
        ("f none", "/usr/abs", b"absolute"),
        ("f none", "bin/tool", &tool),
        ("v none", "log/x y", b""),
    ];
    let mut map =
        format!(": 1 150\n1 d none bin 0755 root bin\n1 i pkginfo {} {} 5\n", pkginfo.len(), sum(&pkginfo));
    for (kind, path, data) in files {
        let written = path.replace(' ', "\\040");
        map += &format!("1 {kind} {written} 0644 root bin {} {} 1577836800\n", data.len(), sum(data));
        let place = if path.starts_with('/') { format!("root{path}") } else { format!("reloc/{path}") };
        tree.insert(format!("{directory}/{place}"), data.to_vec());
    }
    for (script, data) in [("preinstall", &b"exit 0\n"[..]), ("deletes", b"share/old\n/etc/gone\n")] {
        map += &format!("1 i {script} {} {} 5\n", data.len(), sum(data));
        tree.insert(format!("{directory}/install/{script}"), data.to_vec());
    }
    tree.insert(format!("{directory}/pkginfo"), pkginfo);
    tree.insert(format!("{directory}/pkgmap"), map.into_bytes());
}

fn patch() -> Tree {
    let mut tree = Tree::new();
    package(&mut tree, "SUNWa");
    package(&mut tree, "SUNWb.p1");
    tree.insert("README.900-01".to_owned(), b"Patch-ID# 900-01\n".to_vec());
    tree.insert("patchinfo".to_owned(), b"PATCHID=\"900-01\"\n".to_vec());
    tree.insert("prepatch".to_owned(), b"exit 0\n".to_vec());
    tree
}

fn directory(at: &Path, tree: &Tree) {
    for (path, data) in tree {
        let path = at.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, data).unwrap();
    }
}

fn tar(tree: &Tree, top: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, data) in tree {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, format!("{top}{path}"), &data[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

fn zip(tree: &Tree, top: &str) -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (path, data) in tree {
        writer.start_file(format!("{top}{path}"), ::zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(data).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Only the packages; a datastream has nothing beside them.
fn stream(tree: &Tree) -> Vec<u8> {
    let packages: Vec<_> = ["SUNWb.p1", "SUNWa"]
        .map(|name| datastream::Package {
            inst: PkgInst::new(name).unwrap(),
            parts: 1,
            max_blocks: 150,
            pkginfo: tree[&format!("{name}/pkginfo")].clone(),
            pkgmap: tree[&format!("{name}/pkgmap")].clone(),
        })
        .into();
    let mut writer = datastream::Writer::new(Vec::new(), &packages, 0).unwrap();
    for package in &packages {
        let mut part = writer.begin_part(cpio::Form::Newc).unwrap();
        let prefix = format!("{}/", package.inst);
        for (path, data) in tree.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix)) {
            let name = &path.as_bytes()[prefix.len()..];
            part.member(&Header::file(name, 0o644, 0, data.len() as u64), &data[..]).unwrap();
        }
        writer = part.finish().unwrap();
    }
    writer.finish().unwrap()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn compressed(data: &[u8]) -> Vec<u8> {
    let mut encoder = compress::Encoder::new(Vec::new());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn scanned(bytes: &[u8]) -> Result<(TempDir, Source, Image), SourceError> {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("900-01.any");
    fs::write(&path, bytes).unwrap();
    let source = Source::open(&path)?;
    let image = source.scan()?;
    Ok((temp, source, image))
}

/// The refusal of a patch with a change in it, as a tar archive.
fn refused(change: impl Fn(&mut Tree)) -> Problem {
    let mut tree = patch();
    change(&mut tree);
    let outcome = scanned(&tar(&tree, "")).and_then(|(_temp, source, image)| source.verify(&image));
    outcome.unwrap_err().problem
}

fn contents(source: &Source, image: &Image) -> BTreeMap<(String, String), Vec<u8>> {
    let mut found = BTreeMap::new();
    source
        .stream::<SourceError>(image, &mut |_, _| true, &mut |package, path, size, data| {
            let mut bytes = Vec::new();
            data.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, size);
            found.insert((image.packages[package].directory.clone(), path.to_string()), bytes);
            Ok(())
        })
        .unwrap();
    found
}

fn assert_is_the_patch(source: &Source, image: &Image) {
    let mut directories: Vec<&str> = image.packages.iter().map(|p| p.directory.as_str()).collect();
    directories.sort_unstable();
    assert_eq!(directories, ["SUNWa", "SUNWb.p1"]);
    for package in &image.packages {
        assert_eq!(package.install.keys().collect::<Vec<_>>(), ["deletes", "preinstall"]);
        let deletes: Vec<_> = package.deletes.iter().map(ToString::to_string).collect();
        assert_eq!(deletes, ["share/old", "/etc/gone"]);
    }
    source.verify(image).unwrap();
    let contents = contents(source, image);
    assert_eq!(contents.len(), 8);
    assert_eq!(contents[&("SUNWb.p1".to_owned(), "bin/tool".to_owned())], b"0123456".repeat(10_000));
    assert_eq!(contents[&("SUNWa".to_owned(), "/usr/abs".to_owned())], b"absolute");
    assert_eq!(contents[&("SUNWa".to_owned(), "log/x y".to_owned())], b"");
}

#[test]
fn one_patch_in_every_form_is_one_image() {
    let tree = patch();
    let plain = Form::Tar(None);
    for (bytes, form, top) in [
        (tar(&tree, "900-01/"), plain, Some("900-01")),
        (tar(&tree, "./"), plain, None),
        (gzip(&tar(&tree, "900-01/")), Form::Tar(Some(Compression::Gzip)), Some("900-01")),
        (compressed(&tar(&tree, "")), Form::Tar(Some(Compression::Compress)), None),
        (zip(&tree, "900-01/"), Form::Zip, Some("900-01")),
    ] {
        let (_temp, source, image) = scanned(&bytes).unwrap();
        assert_eq!((image.form, image.top.as_deref(), image.name.as_str()), (form, top, "900-01.any"));
        assert_eq!(image.readme.as_ref().unwrap().0, "README.900-01");
        assert_eq!(image.patchinfo.as_ref().unwrap().patch_id, "900-01");
        assert_eq!(image.hooks.prepatch.as_deref(), Some(&b"exit 0\n"[..]));
        assert_is_the_patch(&source, &image);
    }
    for bytes in [stream(&tree), gzip(&stream(&tree)), compressed(&stream(&tree))] {
        let (_temp, source, image) = scanned(&bytes).unwrap();
        assert_eq!(image.packages[0].directory, "SUNWb.p1", "the order of the stream");
        assert_is_the_patch(&source, &image);
    }
}

#[test]
fn a_directory_is_used_in_place_even_through_a_link() {
    let temp = TempDir::new().unwrap();
    let place = temp.path().join("real");
    directory(&place, &patch());
    fs::create_dir(place.join("docs")).unwrap();
    symlink("real", temp.path().join("900-01")).unwrap();
    let source = Source::open(&temp.path().join("900-01")).unwrap();
    let image = source.scan().unwrap();
    assert_eq!((image.form, image.name.as_str()), (Form::Directory, "900-01"));
    assert_eq!(image.patchinfo.as_ref().unwrap().patch_id, "900-01");
    assert_is_the_patch(&source, &image);

    let one = Source::open(&place.join("SUNWb.p1")).unwrap();
    let image = one.scan().unwrap();
    assert_eq!(image.packages[0].directory, "SUNWb.p1");
    one.verify(&image).unwrap();
    let path = PackagePath::new(b"etc/a.conf").unwrap();
    let mut text = String::new();
    one.open_one(&image, 0, &path).unwrap().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "a=1\n");
}

#[test]
fn a_link_in_place_of_a_file_is_refused_and_never_followed() {
    let temp = TempDir::new().unwrap();
    directory(temp.path(), &patch());
    let secret = temp.path().join("secret");
    fs::write(&secret, b"a=1\n").unwrap();
    let object = temp.path().join("SUNWa/reloc/etc/a.conf");
    let source = Source::open(temp.path()).unwrap();
    let image = source.scan().unwrap();
    fs::remove_file(&object).unwrap();
    symlink(&secret, &object).unwrap();
    let problem = source.scan().unwrap_err().problem;
    assert_eq!(problem.to_string(), "package SUNWa, file etc/a.conf: symbolic link included in patch");
    assert!(
        matches!(source.verify(&image).unwrap_err().problem, Problem::Symlink { .. }),
        "swapped in after the scan"
    );
    assert!(source.open_one(&image, 0, &PackagePath::new(b"etc/a.conf").unwrap()).is_err());

    fs::remove_dir_all(temp.path().join("SUNWa/reloc/etc")).unwrap();
    fs::create_dir(temp.path().join("elsewhere")).unwrap();
    fs::write(temp.path().join("elsewhere/a.conf"), b"a=1\n").unwrap();
    symlink("../../elsewhere", temp.path().join("SUNWa/reloc/etc")).unwrap();
    let problem = source.verify(&image).unwrap_err().problem;
    assert_eq!(problem.to_string(), "package SUNWa, file etc/a.conf: missing from the source");
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
            matches!(with(path, data), Problem::CorruptPackageFile { .. }),
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
        assert!(matches!(problem, Problem::Unsafe { .. }), "{problem}");
        problem.to_string()
    };
    assert_eq!(unsafe_name(b"/etc/passwd", None), "member </etc/passwd> has an absolute name");
    assert_eq!(unsafe_name(b"SUNWa/../../x", None), "member <SUNWa/../../x> has a `..` component");
    assert_eq!(
        unsafe_name(b"SUNWa//./reloc/etc/a.conf", None),
        "member <SUNWa/reloc/etc/a.conf> comes twice"
    );
    assert_eq!(unsafe_name(b"x", Some("/etc")), "member <x> is a link that leads outside, to </etc>");
}

#[test]
fn damaged_archives_are_errors_of_their_kind() {
    let tree = patch();
    let kind = |bytes: &[u8]| {
        let outcome = scanned(bytes).and_then(|(_temp, source, image)| source.verify(&image));
        outcome.unwrap_err().problem
    };
    let whole = gzip(&tar(&tree, ""));
    assert!(matches!(kind(&whole[..whole.len() / 2]), Problem::NotDecompressed(_)));
    assert!(
        matches!(kind(&whole[..whole.len() - 3]), Problem::NotDecompressed(_)),
        "the checksum at the end"
    );
    let plain = stream(&tree);
    for length in [700, 5000, plain.len() / 2, plain.len() - 1] {
        assert!(matches!(kind(&plain[..length]), Problem::BadForm(_)), "{length}");
        assert!(matches!(kind(&gzip(&plain[..length])), Problem::BadForm(_)), "{length}");
    }
    assert!(matches!(kind(&tar(&tree, "")[..9000]), Problem::BadForm(_)));
    assert!(matches!(kind(b"BZh91AY&SY"), Problem::Unsupported(_)));
    assert!(matches!(kind(b"hello"), Problem::BadForm(_)));
    assert!(matches!(kind(&gzip(&whole)), Problem::BadForm(_)), "compressed twice");
    let absent = Source::open(Path::new("/nonexistent/900-01")).unwrap_err();
    assert_eq!(absent.to_string(), "/nonexistent/900-01: no such file or directory");
}

#[test]
fn a_file_with_several_names_reaches_all_of_them() {
    let mut tree = Tree::new();
    package(&mut tree, "SUNWa");
    let map = "\
: 1 150
1 f none a 0644 root bin 4 217 5
1 f none b 0644 root bin 4 217 5
1 f none c 0644 root bin 4 217 5
1 f none empty 0644 root bin 0 0 5
";
    let pkgmap = map.as_bytes().to_vec();
    let inst = PkgInst::new("SUNWa").unwrap();
    let pkginfo = tree["SUNWa/pkginfo"].clone();
    let described = datastream::Package { inst, parts: 1, max_blocks: 1, pkginfo, pkgmap: pkgmap.clone() };
    let writer = datastream::Writer::new(Vec::new(), &[described], 0).unwrap();
    let mut part = writer.begin_part(cpio::Form::Newc).unwrap();
    for (name, ino, data) in
        [("reloc/a", 9, &b""[..]), ("reloc/empty", 8, b""), ("reloc/b", 9, b""), ("reloc/c", 9, b"a=1\n")]
    {
        let mut header = Header::file(name.as_bytes(), 0o644, 0, data.len() as u64);
        (header.ino, header.nlink) = (ino, 3);
        part.member(&header, data).unwrap();
    }
    let bytes = part.finish().unwrap().finish().unwrap();
    let (_temp, source, image) = scanned(&bytes).unwrap();
    source.verify(&image).unwrap();

    let mut builder = tar::Builder::new(Vec::new());
    for (path, data) in [
        ("pkginfo", &tree["SUNWa/pkginfo"][..]),
        ("pkgmap", &pkgmap),
        ("reloc/a", b"a=1\n"),
        ("reloc/empty", b""),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, format!("SUNWa/{path}"), data).unwrap();
    }
    for name in ["reloc/b", "reloc/c"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Link);
        header.set_size(0);
        builder.append_link(&mut header, format!("SUNWa/{name}"), "SUNWa/reloc/a").unwrap();
    }
    let (_temp, source, image) = scanned(&builder.into_inner().unwrap()).unwrap();
    source.verify(&image).unwrap();
}

#[test]
fn the_patches_of_the_goldens_are_the_same_as_directory_and_as_stream() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/goldens/pkgs");
    let Ok(entries) = fs::read_dir(&goldens) else {
        println!(
            "skipped: the_patches_of_the_goldens_are_the_same_as_directory_and_as_stream: ../shared is not here"
        );
        return;
    };
    let mut checked = 0;
    for path in entries.map(|entry| entry.unwrap().path()) {
        let stream = path.with_extension("ds");
        if !path.is_dir() || !stream.is_file() {
            continue;
        }
        let sources = [&path, &stream].map(|path| Source::open(path).unwrap());
        let [one, other] = [0, 1].map(|at| sources[at].scan().unwrap());
        assert_eq!(contents(&sources[0], &one), contents(&sources[1], &other), "{}", path.display());
        sources[1].verify(&other).unwrap();
        for package in &one.packages {
            let twin = other.packages.iter().find(|twin| twin.directory == package.directory).unwrap();
            assert_eq!(package.install, twin.install, "{}", path.display());
            assert_eq!(package.params, twin.params, "{}", path.display());
        }
        checked += 1;
    }
    assert!(checked > 5, "{checked}");
}
