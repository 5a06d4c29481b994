//! The information of a source about its files beside their content, and what it does not show.

use super::*;
use patchadm_rootfs::never;
use patchadm_svr4::package::PackagePath;

/// 1 January 2020; a zip archive has even seconds only.
const TIME: u64 = 1_577_836_800;

/// Returns the files of a package, with their modes.
fn members() -> [(&'static str, u32, &'static [u8]); 3] {
    [
        ("SUNWa/pkginfo", 0o644, b"PKG=SUNWa\nNAME=A\nARCH=all\nVERSION=1\nCATEGORY=application\n"),
        ("SUNWa/pkgmap", 0o644, b": 1 2\n1 f none bin/tool 0755 root root 2 107 0\n"),
        ("SUNWa/reloc/bin/tool", 0o750, b"a\n"),
    ]
}

fn directory(at: &Path) {
    for (path, mode, data) in members() {
        let path = at.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, data).unwrap();
        let file = File::open(&path).unwrap();
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(TIME)).unwrap();
    }
}

fn tar() -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (path, mode, data) in members() {
        let mut header = ::tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(mode);
        header.set_mtime(TIME);
        header.set_cksum();
        builder.append_data(&mut header, path, data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn zip() -> Vec<u8> {
    let mut writer = ::zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let time = ::zip::DateTime::from_date_and_time(2020, 1, 1, 0, 0, 0).unwrap();
    for (path, mode, data) in members() {
        let options = ::zip::write::SimpleFileOptions::default().unix_permissions(mode);
        writer.start_file(path, options.last_modified_time(time)).unwrap();
        writer.write_all(data).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn stream() -> Vec<u8> {
    let [(_, _, pkginfo), (_, _, pkgmap), (_, mode, data)] = members();
    let package = datastream::DatastreamPackage {
        inst: PkgInst::new("SUNWa").unwrap(),
        parts: 1,
        max_blocks: 2,
        pkginfo: pkginfo.to_vec(),
        pkgmap: pkgmap.to_vec(),
    };
    let time = i64::try_from(TIME).unwrap();
    let writer = datastream::DatastreamWriter::new(Vec::new(), &[package], time).unwrap();
    let mut part = writer.begin_part(cpio::CpioFormat::Newc).unwrap();
    part.write_member(&CpioHeader::file(b"reloc/bin/tool", mode, time, data.len() as u64), data).unwrap();
    part.finish().unwrap().finish().unwrap()
}

#[test]
fn every_form_tells_modes_and_times_of_its_files() {
    let temp = TempDir::new().unwrap();
    let mut forms = vec![temp.path().join("directory")];
    directory(&forms[0]);
    for (name, bytes) in [("tar", tar()), ("zip", zip()), ("stream", stream())] {
        let path = temp.path().join(name);
        fs::write(&path, bytes).unwrap();
        forms.push(path);
    }
    let stamp = |mode| MemberStamp { mode, mtime: i64::try_from(TIME).unwrap() };
    for path in forms {
        let source = Source::open(&path, &never).unwrap();
        let image = source.scan(&never).unwrap();
        let package = &image.packages[0];
        let told = ["pkginfo", "pkgmap"].map(|name| package.stamp(name));
        assert_eq!(told, [stamp(0o644); 2], "{}", path.display());
        let mut seen = Vec::new();
        let mut sink = |_, _: &PackagePath, delivered: ObjectHeader, data: &mut dyn Read| {
            seen.push(delivered);
            io::copy(data, &mut io::sink()).unwrap();
            Ok::<(), SourceError>(())
        };
        source.stream(&image, &mut |_, _| true, &mut sink).unwrap();
        assert_eq!(seen, [ObjectHeader { size: 2, stamp: stamp(0o750) }], "{}", path.display());
    }
}

#[test]
fn a_package_that_is_just_being_written_is_not_seen() {
    let temp = TempDir::new().unwrap();
    directory(temp.path());
    fs::rename(temp.path().join("SUNWa"), temp.path().join(".SUNWa.0123456789abcdef")).unwrap();
    let problem = Source::open(temp.path(), &never).unwrap().scan(&never).unwrap_err().problem;
    assert!(problem.to_string().starts_with("no package in it"), "{problem}");
}

#[test]
fn content_that_is_not_what_the_pkgmap_says_is_an_error_after_the_sink_has_read_it() {
    let temp = TempDir::new().unwrap();
    directory(temp.path());
    fs::write(temp.path().join("SUNWa/reloc/bin/tool"), "b\n").unwrap();
    let source = Source::open(temp.path(), &never).unwrap();
    let image = source.scan(&never).unwrap();
    let mut read = Vec::new();
    let mut sink = |_, _: &PackagePath, _, data: &mut dyn Read| {
        data.read_to_end(&mut read).unwrap();
        Ok::<(), SourceError>(())
    };
    let error = source.stream_checked(&image, &mut |_, _| true, &mut sink).unwrap_err();
    assert!(error.to_string().ends_with("package SUNWa, file bin/tool: sum 108, expected 107"), "{error}");
    assert_eq!(read, b"b\n");
}
