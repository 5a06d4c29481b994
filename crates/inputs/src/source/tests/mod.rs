//! One patch in every form must be one image; `refusals` has sources that must be refused.

mod descriptions;
mod refusals;
mod stamps;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use patchadm_container::Compression;
use patchadm_rootfs::never;
use patchadm_svr4::format::cpio;
use patchadm_svr4::format::cpio::CpioHeader;
use patchadm_svr4::format::{compress, datastream};
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::package::checksum::sum;

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
        writeln!(map, "1 {kind} {written} 0644 root bin {} {} 1577836800", data.len(), sum(data)).unwrap();
        let place = if path.starts_with('/') { format!("root{path}") } else { format!("reloc/{path}") };
        tree.insert(format!("{directory}/{place}"), data.to_vec());
    }
    for (script, data) in [("preinstall", &b"exit 0\n"[..]), ("deletes", b"share/old\n/etc/gone\n")] {
        writeln!(map, "1 i {script} {} {} 5", data.len(), sum(data)).unwrap();
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

/// Writes only the packages; a datastream has nothing beside them.
fn stream(tree: &Tree) -> Vec<u8> {
    let packages: Vec<_> = ["SUNWb.p1", "SUNWa"]
        .map(|name| datastream::DatastreamPackage {
            inst: PkgInst::new(name).unwrap(),
            parts: 1,
            max_blocks: 150,
            pkginfo: tree[&format!("{name}/pkginfo")].clone(),
            pkgmap: tree[&format!("{name}/pkgmap")].clone(),
        })
        .into();
    let mut writer = datastream::DatastreamWriter::new(Vec::new(), &packages, 0).unwrap();
    for package in &packages {
        let mut part = writer.begin_part(cpio::CpioFormat::Newc).unwrap();
        let prefix = format!("{}/", package.inst);
        for (path, data) in tree.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix)) {
            let name = &path.as_bytes()[prefix.len()..];
            part.write_member(&CpioHeader::file(name, 0o644, 0, data.len() as u64), &data[..]).unwrap();
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
    let mut encoder = compress::CompressEncoder::new(Vec::new());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn scanned(bytes: &[u8]) -> Result<(TempDir, Source, Image), SourceError> {
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("900-01.any");
    fs::write(&path, bytes).unwrap();
    let source = Source::open(&path, &never)?;
    let image = source.scan(&never)?;
    Ok((temp, source, image))
}

fn contents(source: &Source, image: &Image) -> BTreeMap<(String, String), Vec<u8>> {
    let mut found = BTreeMap::new();
    source
        .stream::<SourceError>(image, &mut |_, _| true, &mut |package, path, size, data| {
            let mut bytes = Vec::new();
            data.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, size.size);
            found.insert((image.packages[package].directory.clone(), path.to_string()), bytes);
            Ok(())
        })
        .unwrap();
    found
}

#[test]
fn a_directory_is_read_as_the_first_walk_found_it() {
    let temp = TempDir::new().unwrap();
    directory(temp.path(), &patch());
    let source = Source::open(temp.path(), &never).unwrap();
    let image = source.scan(&never).unwrap();
    fs::write(temp.path().join("SUNWa/reloc/bin/added"), "").unwrap();
    assert_is_the_patch(&source, &image);
    let read = || source.verify(&image, &never).map_err(|error| error.to_string());
    let tool = temp.path().join("SUNWa/reloc/bin/tool");
    for bytes in [vec![b'x'; 70_000], b"0123456".repeat(10_001), b"short".to_vec()] {
        fs::write(&tool, &bytes).unwrap();
        let told = read().unwrap_err();
        assert!(told.contains("bin/tool"), "{told}");
    }
    fs::remove_file(&tool).unwrap();
    assert!(read().unwrap_err().contains("bin/tool"));
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
    source.verify(image, &never).unwrap();
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
fn a_signal_ends_the_reading_of_every_form_wherever_it_is() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let tree = patch();
    let dir = tempfile::tempdir().unwrap();
    directory(&dir.path().join("900-01"), &tree);
    let forms = [("tar", tar(&tree, "900-01")), ("zip", zip(&tree, "900-01")), ("stream", stream(&tree))];
    for (name, bytes) in &forms {
        fs::write(dir.path().join(name), bytes).unwrap();
        fs::write(dir.path().join(format!("{name}.gz")), gzip(bytes)).unwrap();
    }
    for name in ["900-01", "tar", "tar.gz", "zip", "stream", "stream.gz"] {
        let path = dir.path().join(name);
        let asked = AtomicUsize::new(0);
        let after = |questions: usize| {
            asked.store(0, Ordering::Relaxed);
            let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) >= questions).then_some(2);
            let (source, image) = open_signed_until(&path, &[], &SharedRoom::default(), &interrupt)?;
            source.verify(&image, &interrupt)
        };
        after(usize::MAX).unwrap();
        for number in 0..asked.load(Ordering::Relaxed) {
            // The last question may be one after everything is read.
            let Err(error) = after(number) else {
                assert!(number + 2 > asked.load(Ordering::Relaxed), "{name} after {number}");
                continue;
            };
            assert!(matches!(error.problem, SourceProblem::Interrupted(2)), "{name} after {number}: {error}");
        }
    }
}

#[test]
fn a_signal_ends_the_look_at_compressed_bytes_that_have_no_content() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let bzip2 = b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0".repeat(100_000);
    let skipped = [&b"\x50\x2a\x4d\x18\0\0\x80\0"[..], &vec![0; 8 << 20]].concat();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("900-01");
    for (form, bytes) in [("bzip2", bzip2), ("zstd", skipped), ("gzip", gzip(b"").repeat(100_000))] {
        fs::write(&path, bytes).unwrap();
        let asked = AtomicUsize::new(0);
        let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) >= 3).then_some(15);
        let error = open_until(Origin::Path(&path), Extent::Everything, &interrupt).unwrap_err();
        assert!(matches!(error.problem, SourceProblem::Interrupted(15)), "{form}: {error}");
        assert!(asked.into_inner() < 10, "{form}");
    }
}

#[test]
fn a_signal_ends_the_skipping_of_a_member_that_a_few_bytes_decompress_to() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let mut tree = patch();
    tree.insert("SUNWa/reloc/share/zeros".to_owned(), vec![0; 16 << 20]);
    let temp = TempDir::new().unwrap();
    let path = temp.path().join("900-01.tar.gz");
    fs::write(&path, gzip(&tar(&tree, "900-01"))).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 1 << 20);
    let asked = AtomicUsize::new(0);
    let after = |questions: usize| {
        asked.store(0, Ordering::Relaxed);
        let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) >= questions).then_some(2);
        open_sharing(Origin::Path(&path), &SharedRoom::default(), &interrupt).map(drop)
    };
    after(usize::MAX).unwrap();
    let all = asked.load(Ordering::Relaxed);
    assert!(all > 100, "{all}");
    let error = after(all / 2).unwrap_err();
    assert!(matches!(error.problem, SourceProblem::Interrupted(2)), "{error}");
}

#[test]
fn a_damaged_package_is_no_harm_to_its_neighbours() {
    let mut tree = patch();
    tree.insert("SUNWa/install/preinstall".to_owned(), b"something else".to_vec());
    for bytes in [tar(&tree, "900-01/"), zip(&tree, ""), stream(&tree)] {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("spool");
        fs::write(&path, bytes).unwrap();
        let source = Source::open(&path, &never).unwrap();
        assert!(source.scan(&never).is_err());
        let image = source.scan_only(&|name| name == "SUNWb.p1", &never).unwrap();
        assert_eq!(image.packages.len(), 1);
        source.verify(&image, &never).unwrap();
        let nothing = source.scan_only(&|_| false, &never).unwrap_err().problem;
        assert!(matches!(nothing, SourceProblem::BadForm(_)));
    }
}

#[test]
fn a_directory_is_used_in_place_even_through_a_link() {
    let temp = TempDir::new().unwrap();
    let place = temp.path().join("real");
    directory(&place, &patch());
    fs::create_dir(place.join("docs")).unwrap();
    symlink("real", temp.path().join("900-01")).unwrap();
    let source = Source::open(&temp.path().join("900-01"), &never).unwrap();
    let image = source.scan(&never).unwrap();
    assert_eq!((image.form, image.name.as_str()), (Form::Directory, "900-01"));
    assert_eq!(image.patchinfo.as_ref().unwrap().patch_id, "900-01");
    assert_is_the_patch(&source, &image);

    let one = Source::open(&place.join("SUNWb.p1"), &never).unwrap();
    let image = one.scan(&never).unwrap();
    assert_eq!(image.packages[0].directory, "SUNWb.p1");
    one.verify(&image, &never).unwrap();
    let files = contents(&one, &image);
    assert_eq!(files[&("SUNWb.p1".to_owned(), "etc/a.conf".to_owned())], b"a=1\n");
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
    let described =
        datastream::DatastreamPackage { inst, parts: 1, max_blocks: 1, pkginfo, pkgmap: pkgmap.clone() };
    let writer = datastream::DatastreamWriter::new(Vec::new(), &[described], 0).unwrap();
    let mut part = writer.begin_part(cpio::CpioFormat::Newc).unwrap();
    for (name, ino, data) in
        [("reloc/a", 9, &b""[..]), ("reloc/empty", 8, b""), ("reloc/b", 9, b""), ("reloc/c", 9, b"a=1\n")]
    {
        let mut header = CpioHeader::file(name.as_bytes(), 0o644, 0, data.len() as u64);
        (header.ino, header.nlink) = (ino, 3);
        part.write_member(&header, data).unwrap();
    }
    let bytes = part.finish().unwrap().finish().unwrap();
    let (_temp, source, image) = scanned(&bytes).unwrap();
    source.verify(&image, &never).unwrap();

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
    source.verify(&image, &never).unwrap();
}

#[test]
fn long_names_are_read_in_both_dialects_and_lying_sizes_are_refused() {
    let long = format!("lib/{}/x", ["d".repeat(120), "e".repeat(120)].join("/"));
    let mut tree = patch();
    let map = tree.get_mut("SUNWa/pkgmap").unwrap();
    map.extend_from_slice(format!("1 f none {long} 0644 root bin 4 217 5\n").as_bytes());
    tree.insert(format!("SUNWa/reloc/{long}"), b"a=1\n".to_vec());
    let (_temp, source, image) = scanned(&tar(&tree, "")).unwrap();
    source.verify(&image, &never).unwrap();

    let pax = |size: &[u8]| {
        let mut archive = tar(&patch(), "");
        archive.truncate(archive.len() - 1024); // the end mark
        let mut builder = tar::Builder::new(archive);
        builder.append_pax_extensions([("path", long.as_bytes()), ("size", size)]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(4);
        builder.append_data(&mut header, "short", &b"a=1\n"[..]).unwrap();
        scanned(&builder.into_inner().unwrap())
    };
    assert!(pax(b"4").is_ok());
    let problem = pax(b"0").unwrap_err().problem;
    assert_eq!(problem.to_string(), "a pax record gives a member a different size from its header");
}

#[test]
fn the_patches_of_the_goldens_are_the_same_as_directory_and_as_stream() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/goldens/pkgs");
    let Ok(entries) = fs::read_dir(&goldens) else {
        crate::skipped(
            "the_patches_of_the_goldens_are_the_same_as_directory_and_as_stream: ../shared is not here",
        );
        return;
    };
    let mut checked = 0;
    for path in entries.map(|entry| entry.unwrap().path()) {
        let stream = path.with_extension("ds");
        if !path.is_dir() || !stream.is_file() {
            continue;
        }
        let sources = [&path, &stream].map(|path| Source::open(path, &never).unwrap());
        let [one, other] = [0, 1].map(|at| sources[at].scan(&never).unwrap());
        assert_eq!(contents(&sources[0], &one), contents(&sources[1], &other), "{}", path.display());
        sources[1].verify(&other, &never).unwrap();
        for package in &one.packages {
            let twin = other.packages.iter().find(|twin| twin.directory == package.directory).unwrap();
            assert_eq!(package.install, twin.install, "{}", path.display());
            assert_eq!(package.params, twin.params, "{}", path.display());
        }
        checked += 1;
    }
    assert!(checked > 5, "{checked}");
}

#[test]
fn real_packages_are_what_their_pkgmaps_say() {
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/realdata/datastream");
    let Ok(owners) = fs::read_dir(&real) else {
        crate::skipped("real_packages_are_what_their_pkgmaps_say: ../shared is not here");
        return;
    };
    let directories = owners.map(|owner| owner.unwrap().path()).filter(|path| path.is_dir());
    let mut checked = 0;
    for path in directories.flat_map(|owner| fs::read_dir(owner).unwrap()).map(|entry| entry.unwrap().path())
    {
        let source = Source::open(&path, &never).unwrap();
        let image = source.scan(&never).unwrap();
        source.verify(&image, &never).unwrap();
        checked += image.packages.len();
    }
    assert_eq!(checked, 5);
}
