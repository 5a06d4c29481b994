//! Compression: small data that grows large, truncated data, and data that is not compressed at all.

use std::fs;
use std::path::PathBuf;

use crate::delivery::{self, bzip2, gzip, xz, zstd};
use crate::packages::Package;
use crate::reliability::hostile::archives::{Cpio, Tar, zip};
use crate::reliability::hostile::bench::{Bench, ID};
use crate::reliability::hostile::case::{ADD, CHECK, Case, INFO, TRY, UNPACK, case, handled, refused, says};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = bombs();
    cases.extend(members());
    cases.extend(younger());
    cases.extend(lzw());
    cases.extend(cut());
    cases.extend(flipped());
    cases
}

/// 32 MiB that compress to nearly nothing.
fn zeros() -> Vec<u8> {
    vec![0; 32 << 20]
}

#[rustfmt::skip] // each case is a line
fn bombs() -> Vec<Case> {
    let two = handled(&["bin/httpd f 755 two\\n"]);
    let object = || Bench::web().line("new", "f none new 0644 root root 2 130 0");
    vec![
        case(13, "gzip: 32 MiB that no pkgmap names", ADD, |b| { let tar = b.tarred(Bench::web(), &[Tar::file(format!("{ID}/x"), zeros())]); b.source(".tar.gz", gzip(&tar)) }, two.clone()),
        case(13, "gzip: an object of 32 MiB, 2 bytes in the pkgmap", ADD, move |b| { let tar = b.tarred(object(), &[Tar::file(format!("{ID}/ACMEweb/reloc/new"), zeros())]); b.source(".tar.gz", gzip(&tar)) }, refused(10, "expected 2")),
        case(13, "the same, unpacked", UNPACK, move |b| { let tar = b.tarred(object(), &[Tar::file(format!("{ID}/ACMEweb/reloc/new"), zeros())]); b.source(".tar.gz", gzip(&tar)) }, refused(1, "size")),
        case(13, "gzip: a script of 32 MiB", ADD, |b| { let tar = b.tarred(Bench::web().line("i", "i preinstall 5 1 0"), &[Tar::file(format!("{ID}/ACMEweb/install/preinstall"), zeros())]); b.source(".tar.gz", gzip(&tar)) }, refused(33, "larger than")),
        case(13, "gzip: a README of 32 MiB", ADD, |b| { let tar = b.tarred(Bench::web(), &[Tar::file(format!("{ID}/README.{ID}"), zeros())]); b.source(".tar.gz", gzip(&tar)) }, two.clone()),
        case(13, "gzip: a patchinfo of 32 MiB", ADD, |b| { let tar = b.tarred(Bench::web(), &[Tar::file(format!("{ID}/patchinfo"), zeros())]); b.source(".tar.gz", gzip(&tar)) }, refused(33, "")),
        case(13, "gzip: a second pkgmap of 32 MiB", ADD, |b| { let tar = b.tarred(Bench::web(), &[Tar::file(format!("{ID}/ACMEz/pkgmap"), zeros())]); b.source(".tar.gz", gzip(&tar)) }, two.clone()),
        case(13, "gzip: 32 MiB behind the end of the tar archive", ADD, |b| { let tar = b.tarred(Bench::web(), &[]); b.source(".tar.gz", gzip(&[tar, zeros()].concat())) }, two.clone()),
        case(13, "gzip: 32 MiB behind the end of the datastream", ADD, |b| { let stream = b.streamed("070701", Bench::web(), &[]); b.source(".ds.gz", gzip(&[stream, zeros()].concat())) }, two.clone()),
        case(13, "gzip: 32 MiB before anything", ADD, |b| b.source(".tar.gz", gzip(&zeros())), refused(33, "neither a package")),
        case(13, "gzip in gzip", ADD, |b| { let tar = b.gzipped(); b.source(".tar.gz", gzip(&tar)) }, refused(33, "neither a package")),
        case(13, "gzip in gzip in gzip, 32 MiB", ADD, |b| b.source(".tar.gz", gzip(&gzip(&gzip(&zeros())))), refused(33, "neither a package")),
        case(13, "datastream in gzip: an object of 32 MiB, 2 bytes in the pkgmap", ADD, move |b| { let stream = b.streamed("070701", object(), &[Cpio::file("reloc/new", zeros())]); b.source(".ds.gz", gzip(&stream)) }, refused(10, ", expected 2")),
        case(13, "zip: 32 MiB that no pkgmap names", ADD, |b| b.zip(Bench::web(), &[("900-01/x", &zeros())], None), two),
        case(13, "zip: an object of 32 MiB, 2 bytes in the pkgmap", ADD, move |b| b.zip(object(), &[("900-01/ACMEweb/reloc/new", &zeros())], None), refused(10, ", expected 2")),
        case(13, "zip: a pkginfo of 32 MiB", ADD, |b| b.source(".zip", zip(&[(format!("{ID}/ACMEweb/pkginfo"), zeros()), (format!("{ID}/ACMEweb/pkgmap"), b": 1 1\n".to_vec())], None)), refused(28, "larger than")),
        case(13, "the same, listed", INFO, |b| b.source(".zip", zip(&[("ACMEweb/pkginfo".to_owned(), zeros()), ("ACMEweb/pkgmap".to_owned(), b": 1 1\n".to_vec())], None)), refused(1, "larger than")),
        case(13, "a zip in a zip, which is a set of one patch", ADD, |b| { let inner = b.zipped(Bench::web(), &[], None); b.source(".zip", zip(&[("900-01.zip".to_owned(), inner)], None)) }, handled(&["bin/httpd f 755 two\\n"])),
        case(13, "a hundred thousand members", ADD, |b| { let many: Vec<Tar> = (0..100_000).map(|number| Tar::file(format!("{ID}/{number}"), "")).collect(); let tar = b.tarred(Bench::web(), &many); b.source(".tar.gz", gzip(&tar)) }, handled(&["bin/httpd f 755 two\\n"])).giant(),
        case(13, "directories that are 2,000 deep", ADD, |b| b.damaged(|p| fs::create_dir_all(p.join("reloc").join("d/".repeat(1000))).unwrap()), refused(33, "nested too deeply")),
    ]
}

#[rustfmt::skip] // each case is a line
fn members() -> Vec<Case> {
    let gz = |make: fn(Vec<u8>) -> Vec<u8>| move |b: &Bench| { let bytes = make(tar(b)); b.source(".tar.gz", bytes) };
    let two = handled(&["bin/httpd f 755 two\\n"]);
    vec![
        case(13, "gzip: two members", ADD, gz(|tar| [gzip(&tar[..700]), gzip(&tar[700..])].concat()), two.clone()),
        case(13, "gzip: a thousand empty members", ADD, gz(|tar| [gzip(&tar), gzip(b"").repeat(1000)].concat()), two.clone()),
        case(13, "gzip: a member for each byte", ADD, gz(|tar| tar.iter().flat_map(|byte| gzip(&[*byte])).collect()), two),
        case(13, "gzip: another patch behind it", ADD, gz(|tar| [gzip(&tar), gzip(&tar)].concat()), handled(&["bin/httpd f 755 two\\n"])),
        case(13, "gzip: garbage behind it", ADD, gz(|tar| [&gzip(&tar)[..], b"garbage"].concat()), refused(39, "cannot decompress")),
        case(13, "gzip: zeros behind it", ADD, gz(|tar| [&gzip(&tar)[..], &[0; 512]].concat()), refused(39, "cannot decompress")),
        case(13, "gzip: a reserved flag", ADD, gz(|tar| { let mut bytes = gzip(&tar); bytes[3] = 0xe0; bytes }), refused(39, "cannot decompress")),
        case(13, "gzip: an unknown method", ADD, gz(|tar| { let mut bytes = gzip(&tar); bytes[2] = 7; bytes }), refused(39, "cannot decompress")),
        case(13, "gzip: a name without end", ADD, gz(|tar| { let mut bytes = gzip(&tar)[..10].to_vec(); bytes[3] = 8; bytes.extend(vec![b'n'; 1 << 20]); bytes }), refused(39, "cannot decompress")),
        case(13, "gzip: an extra field of 64 KiB that is not there", ADD, gz(|tar| { let mut bytes = gzip(&tar); bytes[3] = 4; bytes[10..12].fill(0xff); bytes }), refused(39, "cannot decompress")),
        case(13, "gzip: a wrong sum", ADD, gz(|tar| { let mut bytes = gzip(&tar); let at = bytes.len() - 8; bytes[at] ^= 1; bytes }), refused(39, "cannot decompress")),
        case(13, "gzip: a wrong length", ADD, gz(|tar| { let mut bytes = gzip(&tar); let at = bytes.len() - 1; bytes[at] ^= 1; bytes }), refused(39, "cannot decompress")),
        case(13, "gzip: a header and nothing else", ADD, gz(|tar| gzip(&tar)[..10].to_vec()), refused(39, "cannot decompress")),
        case(13, "bzip2: a header and nothing else", ADD, gz(|_| b"BZh91AY&SY".to_vec()), refused(39, "cannot decompress")),
        case(13, "xz: a header and nothing else", ADD, gz(|_| b"\xfd7zXZ\0\0\0".to_vec()), refused(39, "cannot decompress")),
        case(13, "zstd: a header and nothing else", ADD, gz(|_| b"\x28\xb5\x2f\xfd\0".to_vec()), refused(39, "cannot decompress")),
    ]
}

/// A compression, by the ending of its files.
type Encoder = fn(&[u8]) -> Vec<u8>;

/// The newer compressions of patches, each tried with the same lies.
const YOUNGER: [(&str, Encoder); 3] = [(".bz2", bzip2), (".xz", xz), (".zst", zstd)];

#[rustfmt::skip] // each case is a line
fn younger() -> Vec<Case> {
    let two = handled(&["bin/httpd f 755 two\\n"]);
    YOUNGER.into_iter().flat_map(|(ending, encode)| {
        let lie = |name: &str, make: fn(&Bench, Encoder) -> Vec<u8>, expected| {
            case(13, format!("{ending}: {name}"), ADD, move |b| b.source(&format!(".tar{ending}"), make(b, encode)), expected)
        };
        vec![
            lie("32 MiB that no pkgmap names", |b, encode| encode(&b.tarred(Bench::web(), &[Tar::file(format!("{ID}/x"), zeros())])), two.clone()),
            lie("an object of 32 MiB, 2 bytes in the pkgmap", |b, encode| encode(&b.tarred(Bench::web().line("new", "f none new 0644 root root 2 130 0"), &[Tar::file(format!("{ID}/ACMEweb/reloc/new"), zeros())])), refused(10, "expected 2")),
            lie("32 MiB behind the end of the tar archive", |b, encode| encode(&[tar(b), zeros()].concat()), two.clone()),
            lie("32 MiB before anything", |_, encode| encode(&zeros()), refused(33, "neither a package")),
            lie("compressed twice", |b, encode| encode(&encode(&tar(b))), refused(33, "neither a package")),
            lie("in gzip", |b, encode| gzip(&encode(&tar(b))), refused(33, "neither a package")),
            lie("two streams", |b, encode| [encode(&tar(b)[..700]), encode(&tar(b)[700..])].concat(), two.clone()),
            lie("garbage behind it", |b, encode| [&encode(&tar(b))[..], b"garbage"].concat(), refused(39, "cannot decompress")),
            lie("cut in the middle", |b, encode| { let bytes = encode(&tar(b)); bytes[..bytes.len() / 2].to_vec() }, refused(39, "cannot decompress")),
            lie("a flipped bit near the end", |b, encode| { let mut bytes = encode(&tar(b)); let at = bytes.len() - 3; bytes[at] ^= 1; bytes }, refused(39, "cannot decompress")),
        ]
    }).collect()
}

fn tar(b: &Bench) -> Vec<u8> {
    b.tarred(Bench::web(), &[])
}

/// The patch as a compressed tar archive, with this flag byte.
fn compressed(flag: u8) -> impl Fn(&Bench) -> PathBuf {
    move |b| {
        let mut bytes = delivery::compressed(&tar(b));
        bytes[2] = flag;
        b.source(".tar.Z", bytes)
    }
}

/// Nine-bit codes behind the header of compress(1).
fn codes(codes: &[u16]) -> Vec<u8> {
    let (mut bytes, mut bits, mut held) = (vec![0x1f, 0x9d, 0x90], 0_u32, 0_u32);
    for code in codes {
        held |= u32::from(*code) << bits;
        bits += 9;
        while bits >= 8 {
            bytes.push(held.to_le_bytes()[0]);
            held >>= 8;
            bits -= 8;
        }
    }
    bytes.push(held.to_le_bytes()[0]);
    bytes
}

#[rustfmt::skip] // each case is a line
fn lzw() -> Vec<Case> {
    let of = |codes_of: &'static [u16]| move |b: &Bench| b.source(".tar.Z", codes(codes_of));
    vec![
        case(13, "compress: maxbits 0", ADD, compressed(0x80), refused(39, "is not supported")),
        case(13, "compress: maxbits 8", ADD, compressed(0x88), refused(39, "is not supported")),
        case(13, "compress: maxbits 17", ADD, compressed(0x91), refused(39, "is not supported")),
        case(13, "compress: maxbits 31", ADD, compressed(0x9f), refused(39, "is not supported")),
        case(13, "compress: reserved flags", ADD, compressed(0xf0), handled(&["bin/httpd f 755 two\\n"])),
        case(13, "compress: fewer bits than it was made with", ADD, compressed(0x89), refused(39, "is corrupt")),
        case(13, "compress: without block mode", ADD, compressed(0x10), refused(39, "is corrupt")),
        case(13, "compress: a header and nothing else", ADD, |b| b.source(".tar.Z", b"\x1f\x9d\x90"), refused(33, "neither a package")),
        case(13, "compress: two bytes", ADD, |b| b.source(".tar.Z", b"\x1f\x9d"), refused(39, "not in compressed")),
        case(13, "compress: a first code beyond the bytes", ADD, of(&[300, 65, 66]), refused(39, "is corrupt")),
        case(13, "compress: a code that is not there yet", ADD, of(&[65, 400, 66]), refused(39, "is corrupt")),
        case(13, "compress: the code that is just made", ADD, of(&[65, 257, 258, 259]), refused(33, "neither a package")),
        case(13, "compress: nothing but clear codes", ADD, of(&[65, 256, 256, 256, 256, 256, 256, 256]), refused(39, "ends inside a code")),
        case(13, "compress: 32 MiB before anything", ADD, |b| b.source(".tar.Z", delivery::compressed(&zeros())), refused(33, "neither a package")).giant(),
        case(13, "compress: 32 MiB that no pkgmap names", ADD, |b| { let tar = b.tarred(Bench::web(), &[Tar::file(format!("{ID}/x"), zeros())]); b.source(".tar.Z", delivery::compressed(&tar)) }, handled(&["bin/httpd f 755 two\\n"])).giant(),
        case(13, "compress: garbage behind it", ADD, |b| { let bytes = delivery::compressed(&tar(b)); b.source(".tar.Z", [&bytes[..], &[0xff; 100]].concat()) }, refused(39, "is corrupt")),
    ]
}

/// A form of a patch: the suffix of its file, its bytes, and the codes with which it is refused when it is cut at the
/// places of [`CUTS`]; 0 if only the end mark is missing.
type Form = (&'static str, fn(&Bench) -> Vec<u8>, [i32; 8]);

/// The places of the cuts, in thousandths.
const CUTS: [usize; 8] = [1, 50, 200, 400, 600, 800, 950, 999];

const FORMS: [Form; 7] = [
    (".tar", |b| b.tarred(noisy(), &[]), [33, 33, 33, 33, 33, 33, 0, 0]),
    (".tar.gz", |b| gzip(&b.tarred(noisy(), &[])), [39; 8]),
    (".tar.Z", |b| delivery::compressed(&b.tarred(noisy(), &[])), [33, 33, 33, 33, 39, 33, 39, 0]),
    (".zip", |b| b.zipped(noisy(), &[], None), [33; 8]),
    (".ds", |b| b.streamed("070701", noisy(), &[]), [33; 8]),
    (".ds.gz", |b| gzip(&b.streamed("070701", noisy(), &[])), [39; 8]),
    (".ds.Z", |b| delivery::compressed(&b.streamed("070707", noisy(), &[])), [33; 8]),
];

/// The package of the patch, with a file whose bytes do not compress.
fn noisy() -> Package {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    Bench::web().file("lib/x", 0o644, (0..5_000).map(|_| next()).collect::<Vec<u8>>())
}

/// Each form, truncated.
fn cut() -> Vec<Case> {
    let mut cases = Vec::new();
    for (suffix, bytes, codes) in FORMS {
        for (at, code) in CUTS.into_iter().zip(codes) {
            let lines = [ADD, TRY, CHECK, UNPACK, INFO];
            let line = if suffix.contains("ds") { lines[at % 5] } else { lines[at % 2] };
            let then = match code {
                0 if line == TRY => says("can be installed"),
                0 => handled(&["bin/httpd f 755 two\\n", "lib/x f 644 5000 bytes"]),
                _ if ![ADD, TRY].contains(&line) => refused(1, ""),
                code => refused(code, ""),
            };
            let make = move |b: &Bench| {
                let bytes = bytes(b);
                b.source(suffix, &bytes[..bytes.len() * at / 1000])
            };
            cases.push(case(13, format!("{suffix} cut at {at}/1000"), line, make, then));
        }
    }
    cases
}

/// Each form with one bit of its content flipped.
fn flipped() -> Vec<Case> {
    let mut cases = Vec::new();
    for (suffix, bytes, _) in FORMS {
        let make = move |b: &Bench| {
            let mut bytes = bytes(b);
            let middle = bytes.len() * 6 / 10;
            bytes[middle] ^= 0x10;
            b.source(suffix, bytes)
        };
        let code = match suffix {
            ".tar.gz" | ".ds.gz" => 39,
            ".zip" => 33,
            _ => 10,
        };
        cases.push(case(13, format!("{suffix} with a bit turned"), ADD, make, refused(code, "")));
    }
    cases
}
