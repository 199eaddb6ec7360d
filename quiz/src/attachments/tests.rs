//! What is taken, what is refused and how that is told, and how a file is shown.

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;
use crate::locale::Language;

#[test]
fn each_refusal_has_the_status_of_its_reason() {
    let too_many_bytes = PictureError::TooManyBytes { max_bytes: 1 };
    for (refusal, status) in [
        (Refusal::TooLarge { max_bytes: 1 }, 413),
        (too_many_bytes.into(), 413),
        (Refusal::Busy, 503),
        (Refusal::WrongType(Accept::Any), 415),
        (PictureError::UnsupportedType.into(), 415),
        (PictureError::GrowsTooMuch.into(), 422),
        (PictureError::Broken.into(), 422),
    ] {
        assert_eq!(refusal.status().as_u16(), status, "{refusal}");
    }
}

#[test]
fn every_refusal_tells_the_visitor_what_to_do() {
    let too_many_pixels = PictureError::TooManyPixels {
        width: 1,
        height: 1,
        max_pixels: 1,
    };
    let refusals = [
        Refusal::TooLarge { max_bytes: 1 },
        Refusal::Busy,
        Refusal::WrongType(Accept::Any),
        Refusal::WrongType(Accept::PictureOnly),
        PictureError::GrowsTooMuch.into(),
        PictureError::Broken.into(),
        too_many_pixels.into(),
    ];
    for refusal in refusals {
        let english = refusal.text(Language::English.texts());
        let spanish = refusal.text(Language::Spanish.texts());
        assert!(
            english.contains("try again") || english.contains("Choose"),
            "{english}"
        );
        assert!(
            spanish.contains("inténtalo de nuevo") || spanish.contains("Elige"),
            "{spanish}"
        );
    }
}

#[test]
fn a_limit_is_told_in_the_unit_that_people_use() {
    let text = |max_bytes| Refusal::TooLarge { max_bytes }.text(Language::English.texts());
    assert!(text(20 << 20).contains("20 MiB"));
    assert!(text(1500).contains("2 KiB"));
}

const LIMITS: Limits = Limits {
    max_bytes: 100_000,
    max_pixels: 10_000,
    max_frames: 5,
};

fn check(bytes: &[u8], accept: Accept) -> Result<Prepared, Refusal> {
    let bytes = Bytes::copy_from_slice(bytes);
    Prepared::check(bytes, accept, &LIMITS, Place::of_nobody())
}

fn format(bytes: &[u8], accept: Accept) -> Option<Format> {
    check(bytes, accept)
        .ok()
        .map(|prepared| prepared.id.format())
}

/// The beginning of an MP4 file of that major brand.
fn mp4(brand: &[u8; 4]) -> Vec<u8> {
    [
        b"\0\0\0\x18ftyp",
        &brand[..],
        b"\0\0\x02\0isommp41",
        b"\0\0\0\x08free",
    ]
    .concat()
}

fn picture(format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let image = image::RgbImage::from_fn(20, 10, |x, y| image::Rgb([x as u8, y as u8, 9]));
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn videos_and_documents_are_known_by_their_first_bytes_and_stored_as_they_are() {
    for (bytes, format) in [
        (mp4(b"isom"), Format::Mp4),
        (mp4(b"mp42"), Format::Mp4),
        (b"%PDF-1.7\nrest".to_vec(), Format::Pdf),
    ] {
        let prepared = check(&bytes, Accept::Any).unwrap();
        assert_eq!(prepared.id.format(), format);
        assert_eq!(prepared.bytes, bytes);
        assert_eq!((prepared.size, prepared.thumbnail), (None, None));
        let refusal = check(&bytes, Accept::PictureOnly).unwrap_err();
        assert_eq!(refusal.status().as_u16(), 415);
    }
}

#[test]
fn what_is_neither_picture_nor_video_nor_document_is_refused() {
    let mut short_box = mp4(b"isom");
    short_box[3] = 12;
    let mut long_box = mp4(b"isom");
    long_box[2] = 1;
    let html = b"<!DOCTYPE html><script>alert(1)</script>";
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    for bytes in [
        &html[..],
        svg,
        b"just text",
        b"",
        b" %PDF-1.7",
        b"\0\0\0\x18ftypisom",
        &mp4(b"heic"),
        &mp4(b"avif"),
        &mp4(b"qt  "),
        &short_box,
        &long_box,
        b"PK\x03\x04",
    ] {
        let refusal = check(bytes, Accept::Any).unwrap_err();
        assert_eq!(refusal.status().as_u16(), 415, "{bytes:?}");
    }
}

#[test]
fn a_photo_may_be_any_picture() {
    use image::ImageFormat::{Gif, Jpeg, Png, WebP};
    for source in [Gif, Jpeg, Png, WebP] {
        let stored = if source == Jpeg {
            Format::Jpeg
        } else {
            Format::Png
        };
        assert_eq!(format(&picture(source), Accept::PictureOnly), Some(stored));
    }
}

#[test]
fn a_view_is_relative_and_shows_the_thumbnail_where_there_is_one() {
    let sha = "0".repeat(64);
    let view = |name: &str, thumbnail| {
        View::new(
            Some(&format!("{sha}{name}")),
            Some(960),
            Some(720),
            thumbnail,
        )
        .unwrap()
    };
    let photo = view(".jpg", true);
    assert_eq!(photo.kind(), Kind::Picture);
    assert_eq!(photo.url(), format!("/images/{sha}.jpg"));
    assert_eq!(photo.small_url(), format!("/images/{sha}-thumb.jpg"));
    assert_eq!(
        (photo.size(), photo.small_size()),
        (Some((960, 720)), Some((480, 360)))
    );
    assert_eq!(
        view(".gif", false).small_url(),
        format!("/images/{sha}.gif")
    );
    assert_eq!(view(".mp4", true).small_url(), format!("/images/{sha}.mp4"));
    assert_eq!(
        (view(".mp4", false).kind(), view(".pdf", false).kind()),
        (Kind::Video, Kind::Document)
    );
    assert_eq!(View::new(None, None, None, false), None);
    assert_eq!(
        View::new(Some("of a later release.avif"), None, None, false),
        None
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_taken_or_refused_and_nothing_else(
        sample in 0_usize..6,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        use image::ImageFormat::{Gif, Jpeg, Png, WebP};
        let mut bytes = match sample {
            0 => mp4(b"isom"),
            1 => b"%PDF-1.7\n1 0 obj".to_vec(),
            other => picture([Gif, Jpeg, Png, WebP][other - 2]),
        };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match check(&bytes, Accept::Any) {
            Ok(prepared) => {
                let hash = hex::encode(Sha256::digest(&prepared.bytes));
                prop_assert!(prepared.id.to_string().starts_with(&hash));
            }
            Err(refusal) => prop_assert!(refusal.status().is_client_error()),
        }
    }
}
