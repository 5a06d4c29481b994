//! Floods: 10 GB of zeros in an archive of about 11 MB, made of one compressed piece that is repeated.

use std::io::Write as _;
use std::path::PathBuf;

use flate2::write::GzEncoder;
use flate2::{Compress, Compression, Crc, FlushCompress};

use crate::packages::Package;
use crate::reliability::hostile::archives::{Cpio, FILESIZE, Tar, tar};
use crate::reliability::hostile::bench::{Bench, ID};
use crate::reliability::hostile::case::{ADD, Case, PLAN, TRY, UNPACK, case, handled, refused};

#[rustfmt::skip] // each case is a line
pub(super) fn cases() -> Vec<Case> {
    let two = || handled(&["bin/httpd f 755 two\\n"]);
    let object = format!("{ID}/ACMEweb/reloc/new");
    let of = |name: &str, size, pack: Pack| { let name = name.to_owned(); move |b: &Bench| in_tar(b, &name, size, pack) };
    let cases = vec![
        case(13, "gzip: 10 GB that no pkgmap names", ADD, of(&format!("{ID}/x"), OCTAL, one_member), two()),
        case(13, "gzip: an object of 10 GB, 2 bytes in the pkgmap", ADD, of(&object, OCTAL, one_member), refused(10, "expected 2")),
        case(13, "the same object of 10 GB, its size in base 256", ADD, of(&object, BASE_256, one_member), refused(10, ", expected 2")),
        case(13, "the same object of 10 GB in a hundred members", ADD, of(&object, OCTAL, many_members), refused(10, ", expected 2")),
        case(13, "the same object of 10 GB, only asked", TRY, of(&object, OCTAL, one_member), refused(10, "size 10000000000, expected 2")),
        case(13, "the same object of 10 GB, only planned", PLAN, of(&object, OCTAL, one_member), refused(1, "size 10000000000, expected 2")),
        case(13, "the same object of 10 GB, unpacked", UNPACK, of(&object, OCTAL, one_member), refused(1, "size")),
        case(13, "gzip: a script of 10 GB", ADD, of(&format!("{ID}/ACMEweb/install/preinstall"), OCTAL, one_member), refused(33, "larger than")),
        case(13, "gzip: a second pkgmap of 10 GB", ADD, of(&format!("{ID}/ACMEweb/pkgmap"), OCTAL, one_member), refused(33, "occurs twice")),
        case(13, "gzip: 10 GB behind the end of the tar archive", ADD, |b| flood(b, ".tar.gz", &[(b.tarred(Bench::web(), &[]), PIECES)], b"", one_member), two()),
        case(13, "gzip: 10 GB before anything", ADD, |b| flood(b, ".tar.gz", &[(Vec::new(), PIECES)], b"", one_member), refused(33, "neither a package")),
        case(13, "datastream in gzip: 10 GB, 2 bytes in the pkgmap", ADD, |b| in_stream(b, one_member), refused(10, ", expected 2")),
        case(13, "the same datastream of 10 GB in a hundred members", ADD, |b| in_stream(b, many_members), refused(10, ", expected 2")),
        case(13, "the same datastream of 10 GB, unpacked", UNPACK, |b| in_stream(b, one_member), refused(1, "size")),
        case(13, "datastream in gzip: 10 GB behind its end", ADD, |b| flood(b, ".ds.gz", &[(b.streamed("070701", Bench::web(), &[]), PIECES)], b"", one_member), two()),
    ];
    cases.into_iter().map(Case::giant).collect()
}

/// Size of the zeros that are compressed once, and how often 10 GB contain them.
const PIECE: usize = 100_000_000;
const PIECES: usize = 100;

/// 10^10 as sizes of tar: twelve octal digits without a terminator, and a base-256 number.
const OCTAL: [u8; 12] = *b"112402762000";
const BASE_256: [u8; 12] = *b"\x80\0\0\0\0\0\0\x02\x54\x0b\xe4\0";

/// Compresses texts, each followed by a number of pieces of zeros, and an end.
type Pack = fn(&[(Vec<u8>, usize)], &[u8]) -> Vec<u8>;

/// The patch with one more object, of two bytes.
fn package() -> Package {
    Bench::web().line("new", "f none new 0644 root root 2 130 0")
}

/// The patch as a tar archive with a member of 10 GB behind the others.
fn in_tar(b: &Bench, name: &str, size: [u8; 12], pack: Pack) -> PathBuf {
    let package = if name.ends_with("/new") { package() } else { Bench::web() };
    let mut front = b.tarred(package, &[Tar { size: Some(size), ..Tar::file(name, "") }]);
    let end = tar(&[]);
    front.truncate(front.len() - end.len());
    flood(b, ".tar.gz", &[(front, PIECES)], &end, pack)
}

/// The patch as a datastream with members of 4, 4 and 2 GB: a header of this form cannot express more.
fn in_stream(b: &Bench, pack: Pack) -> PathBuf {
    let member = |name, size| Cpio::file(name, "").with(FILESIZE, size);
    let [large, small] = ["ee6b2800", "77359400"];
    let members = [member("reloc/a", large), member("reloc/b", large), member("reloc/new", small)];
    let mut rest = b.streamed("070701", package(), &members);
    let mut parts = Vec::new();
    for (next, pieces) in [("reloc/b", 40), ("reloc/new", 40), ("TRAILER!!!", 20)] {
        let name = rest.windows(next.len()).rposition(|window| window == next.as_bytes()).unwrap();
        let tail = rest.split_off(name - HEAD);
        parts.push((std::mem::replace(&mut rest, tail), pieces));
    }
    flood(b, ".ds.gz", &parts, &rest, pack)
}

/// The bytes of a newc header before its name.
const HEAD: usize = 110;

/// A file beside the root with texts and their zeros, compressed.
fn flood(b: &Bench, suffix: &str, parts: &[(Vec<u8>, usize)], end: &[u8], pack: Pack) -> PathBuf {
    b.source(suffix, pack(parts, end))
}

/// A gzip member for each text and each piece.
fn many_members(parts: &[(Vec<u8>, usize)], end: &[u8]) -> Vec<u8> {
    let piece = gzip_best(&vec![0; PIECE]);
    let each = parts.iter().flat_map(|(text, pieces)| [gzip_best(text), piece.repeat(*pieces)]);
    each.chain([gzip_best(end)]).collect::<Vec<_>>().concat()
}

/// One gzip member. A full flush of deflate ends at a byte and refers to nothing before it, so its output may be
/// written any number of times.
fn one_member(parts: &[(Vec<u8>, usize)], end: &[u8]) -> Vec<u8> {
    let zeros = vec![0; PIECE];
    let piece = (flushed(&zeros), crc(&zeros));
    let mut bytes = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
    let mut sum = Crc::new();
    for (text, pieces) in parts {
        bytes.extend(flushed(text));
        sum.update(text);
        for _ in 0..*pieces {
            bytes.extend(&piece.0);
            sum.combine(&piece.1);
        }
    }
    bytes.extend(flushed(end));
    sum.update(end);
    // An empty block marked as the last one.
    bytes.extend(b"\x03\0");
    bytes.extend(sum.sum().to_le_bytes());
    bytes.extend(sum.amount().to_le_bytes());
    bytes
}

fn flushed(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 500 + 1024 + text.len().min(1 << 20));
    let mut deflate = Compress::new(Compression::best(), false);
    deflate.compress_vec(text, &mut bytes, FlushCompress::Full).unwrap();
    assert_eq!(deflate.total_in(), text.len() as u64);
    bytes
}

fn crc(text: &[u8]) -> Crc {
    let mut crc = Crc::new();
    crc.update(text);
    crc
}

fn gzip_best(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
