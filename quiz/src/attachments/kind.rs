//! What an uploaded file is, by its first bytes: a name or a `Content-Type` is only what the sender claims.

use crate::images::Format;

/// Major brands of MP4 files that browsers play. Not `qt  `, `heic` or `avif`, which are other formats in the same box.
const MP4_BRANDS: [&[u8; 4]; 14] = [
    b"isom", b"iso2", b"iso3", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V ",
    b"M4VP", b"MSNV", b"dash", b"mp71",
];

/// A file type box has a size, its name, a major brand, a version and brands of four bytes each (ISO/IEC 14496-12, 4.3).
const SMALLEST_FILE_TYPE_BOX: u32 = 16;

/// The format of a file that is stored as it is; pictures are not.
pub(super) fn of(bytes: &[u8]) -> Option<Format> {
    if bytes.starts_with(b"%PDF-") {
        Some(Format::Pdf)
    } else if is_mp4(bytes) {
        Some(Format::Mp4)
    } else {
        None
    }
}

fn is_mp4(bytes: &[u8]) -> bool {
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else {
        return false;
    };
    let size = u32::from_be_bytes(*size);
    let fits = size >= SMALLEST_FILE_TYPE_BOX
        && size.is_multiple_of(4)
        && usize::try_from(size).is_ok_and(|size| size <= bytes.len());
    let brand = rest
        .strip_prefix(b"ftyp")
        .and_then(<[u8]>::first_chunk::<4>);
    fits && brand.is_some_and(|brand| MP4_BRANDS.contains(&brand))
}
