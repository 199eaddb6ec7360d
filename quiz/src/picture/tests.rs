//! Every picture here is made by the test itself, the rotated and the hostile ones byte by byte.

use image::{Rgb, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    max_bytes: 1024 * 1024,
    max_pixels: 1_000_000,
    max_frames: 50,
};

const RED: Rgb<u8> = Rgb([250, 10, 10]);
const BLUE: Rgb<u8> = Rgb([10, 10, 250]);

/// 48 x 16: the left third is red, the rest blue.
fn flag() -> DynamicImage {
    RgbImage::from_fn(48, 16, |x, _| if x < 16 { RED } else { BLUE }).into()
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A PNG chunk with its checksum.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in kind.iter().chain(data) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    let length = u32::try_from(data.len()).unwrap();
    [
        &length.to_be_bytes(),
        &kind[..],
        data,
        &(!crc).to_be_bytes(),
    ]
    .concat()
}

/// A PNG whose header claims a size that its data does not have.
fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 6, 0, 0, 0]); // 8 bits, RGBA, no interlace
    let empty_zlib_stream = [0x78, 0x9c, 0x03, 0, 0, 0, 0, 1];
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"IDAT", &empty_zlib_stream),
        chunk(b"IEND", &[]),
    ]
    .concat()
}

/// `flag` as a JPEG whose EXIF says how the camera was held, and where it was.
fn jpeg_held(orientation: u8) -> Vec<u8> {
    let plain = encoded(&flag(), ImageFormat::Jpeg);
    let tiff = [
        b"MM\0*\0\0\0\x08".as_slice(),       // big endian, first directory at 8
        &[0, 1],                             // one entry:
        &[0x01, 0x12, 0, 3, 0, 0, 0, 1],     // orientation, one short
        &[0, orientation, 0, 0, 0, 0, 0, 0], // its value; no further directory
        b"GPS: 40.4526 N 3.7262 W",
    ]
    .concat();
    let length = u16::try_from(2 + 6 + tiff.len()).unwrap();
    let app1 = [&[0xff, 0xe1], &length.to_be_bytes()[..], b"Exif\0\0", &tiff].concat();
    [&plain[..2], &app1, &plain[2..]].concat()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

fn decode(input: &[u8]) -> Result<Picture, PictureError> {
    Picture::decode(input, &LIMITS)
}

fn reopened(picture: &Picture) -> RgbImage {
    image::load_from_memory(&picture.bytes).unwrap().into_rgb8()
}

/// JPEG is lossy: the colour that a pixel is nearer to.
fn is_red(pixel: &Rgb<u8>) -> bool {
    pixel.0[0] > pixel.0[2]
}

#[test]
fn a_jpeg_stays_jpeg_and_everything_else_becomes_png() {
    for (from, to) in [
        (ImageFormat::Png, Format::Png),
        (ImageFormat::Jpeg, Format::Jpeg),
        (ImageFormat::Gif, Format::Png),
        (ImageFormat::WebP, Format::Png),
    ] {
        let picture = decode(&encoded(&flag(), from)).unwrap();
        assert_eq!(
            (picture.format, picture.width, picture.height),
            (to, 48, 16)
        );
        let image = reopened(&picture);
        assert!(is_red(image.get_pixel(4, 8)), "{from:?}");
        assert!(!is_red(image.get_pixel(40, 8)), "{from:?}");
        let stored_as = image::guess_format(&picture.bytes).unwrap();
        assert_eq!(stored_as.to_mime_type(), picture.format.content_type());
    }
}

#[test]
fn the_same_pixels_give_the_same_bytes() {
    let png = decode(&encoded(&flag(), ImageFormat::Png)).unwrap();
    let webp = decode(&encoded(&flag(), ImageFormat::WebP)).unwrap();
    let opaque = DynamicImage::ImageRgba8(flag().into_rgba8());
    let rgba = decode(&encoded(&opaque, ImageFormat::Png)).unwrap();
    let sixteen_bits = DynamicImage::ImageRgb16(flag().into_rgb16());
    let deep = decode(&encoded(&sixteen_bits, ImageFormat::Png)).unwrap();
    let again = decode(&png.bytes).unwrap();
    for other in [webp, rgba, deep, again] {
        assert_eq!(other, png);
    }
    let jpeg = encoded(&flag(), ImageFormat::Jpeg);
    assert_eq!(decode(&jpeg).unwrap(), decode(&jpeg).unwrap());
}

#[test]
fn transparency_survives() {
    let glass = RgbaImage::from_fn(8, 8, |x, _| Rgba([200, 0, 0, if x < 4 { 0 } else { 255 }]));
    let picture = decode(&encoded(&glass.into(), ImageFormat::WebP)).unwrap();
    let image = image::load_from_memory(&picture.bytes)
        .unwrap()
        .into_rgba8();
    assert_eq!(image.get_pixel(0, 0).0[3], 0);
    assert_eq!(image.get_pixel(7, 0).0, [200, 0, 0, 255]);
}

#[test]
fn a_photo_is_turned_the_way_the_camera_was_held() {
    // EXIF orientation, width, height and where the red third ends up.
    for (orientation, width, height, red) in [
        (1, 48, 16, (4, 8)),
        (2, 48, 16, (44, 8)),
        (3, 48, 16, (44, 8)),
        (4, 48, 16, (4, 8)),
        (5, 16, 48, (8, 4)),
        (6, 16, 48, (8, 4)),
        (7, 16, 48, (8, 44)),
        (8, 16, 48, (8, 44)),
    ] {
        let picture = decode(&jpeg_held(orientation)).unwrap();
        assert_eq!(
            (picture.width, picture.height),
            (width, height),
            "{orientation}"
        );
        let image = reopened(&picture);
        assert!(is_red(image.get_pixel(red.0, red.1)), "{orientation}");
        let opposite = (width - 1 - red.0, height - 1 - red.1);
        assert!(
            !is_red(image.get_pixel(opposite.0, opposite.1)),
            "{orientation}"
        );
    }
}

#[test]
fn where_the_photo_was_taken_is_not_stored() {
    let upload = jpeg_held(6);
    assert!(contains(&upload, b"GPS"));
    let picture = decode(&upload).unwrap();
    assert!(!contains(&picture.bytes, b"GPS"));
    assert!(!contains(&picture.bytes, b"Exif"));
}

#[test]
fn text_and_trailing_files_are_not_stored() {
    let plain = encoded(&flag(), ImageFormat::Png);
    // After the signature and the header (8 + 25 bytes) come the other chunks.
    let comment = chunk(b"tEXt", b"Comment\0<script>alert(1)</script>");
    let upload = [
        &plain[..33],
        &comment,
        &plain[33..],
        b"PK\x03\x04 an archive",
    ]
    .concat();
    let picture = decode(&upload).unwrap();
    assert!(!contains(&picture.bytes, b"script"));
    assert!(!contains(&picture.bytes, b"PK\x03\x04"));
    assert_eq!(picture, decode(&plain).unwrap());
}

/// Pixels that no encoder makes small.
fn noise(width: u32, height: u32) -> DynamicImage {
    let mut state = 1_u32;
    RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [red, green, blue, _] = state.to_be_bytes();
        Rgb([red, green, blue])
    })
    .into()
}

#[test]
fn a_large_picture_has_a_thumbnail_of_the_same_shape_and_kind() {
    for (format, kind) in [
        (ImageFormat::Png, ImageFormat::Png),
        (ImageFormat::Jpeg, ImageFormat::Jpeg),
        (ImageFormat::WebP, ImageFormat::Png),
    ] {
        let picture = decode(&encoded(&noise(560, 480), format)).unwrap();
        let thumbnail = picture.thumbnail.unwrap();
        assert_eq!(image::guess_format(&thumbnail).unwrap(), kind);
        let image = image::load_from_memory(&thumbnail).unwrap();
        assert_eq!((image.width(), image.height()), (420, 360));
        assert!(thumbnail.len() < picture.bytes.len());
    }
}

#[test]
fn a_thumbnail_that_saves_nothing_is_not_made() {
    // Small already, or one colour, which the encoder makes smaller than the smoothed edges of a thumbnail.
    for image in [noise(480, 360), RgbImage::from_pixel(481, 1, RED).into()] {
        let picture = decode(&encoded(&image, ImageFormat::Png)).unwrap();
        assert!(
            picture
                .thumbnail
                .is_none_or(|small| small.len() < picture.bytes.len()),
            "{image:?}"
        );
    }
    let small = decode(&encoded(&noise(480, 360), ImageFormat::Png)).unwrap();
    assert_eq!(small.thumbnail, None);
}

#[test]
fn a_thumbnail_keeps_the_shape_within_its_frame() {
    for (size, thumbnail) in [
        ((480, 360), (480, 360)),
        ((1, 1), (1, 1)),
        ((960, 720), (480, 360)),
        ((4000, 3000), (480, 360)),
        ((3000, 4000), (270, 360)),
        ((10_000, 10), (480, 1)),
        ((10, 10_000), (1, 360)),
    ] {
        assert_eq!(thumbnail_size(size.0, size.1), thumbnail);
    }
}

#[test]
fn what_is_no_picture_is_refused_whatever_it_is_called() {
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>"#;
    let html = b"<!DOCTYPE html><title>holiday.png</title><script>alert(1)</script>";
    for input in [
        b"just text".as_slice(),
        svg,
        html,
        b"",
        b"\x89PN",
        b"BM a bitmap, which we do not take",
        b"%PDF-1.7",
        b"RIFF\x24\0\0\0WAVEfmt ",
    ] {
        assert_eq!(decode(input), Err(PictureError::UnsupportedType));
    }
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    assert_eq!(
        decode(&png_claiming(100_000, 100_000)),
        Err(PictureError::TooManyPixels {
            width: 100_000,
            height: 100_000,
            max_pixels: LIMITS.max_pixels,
        })
    );
    // Also where the site's own limit is what stands between 10^10 pixels and 40 GB of memory.
    let error = Picture::decode(&png_claiming(100_000, 100_000), &Limits::default());
    assert!(matches!(error, Err(PictureError::TooManyPixels { .. })));
}

#[test]
fn the_other_formats_have_their_pixels_counted_too() {
    let small = Limits {
        max_pixels: 48 * 16 - 1,
        ..LIMITS
    };
    let exact = Limits {
        max_pixels: 48 * 16,
        ..LIMITS
    };
    for format in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Gif,
        ImageFormat::WebP,
    ] {
        let upload = encoded(&flag(), format);
        let error = Picture::decode(&upload, &small).unwrap_err();
        assert!(
            matches!(error, PictureError::TooManyPixels { .. }),
            "{format:?}"
        );
        assert!(Picture::decode(&upload, &exact).is_ok(), "{format:?}");
    }
}

/// A GIF whose screen is smaller than its one frame; both are squares.
fn gif_with_large_frame(screen: u16, frame: u32) -> Vec<u8> {
    let frame = DynamicImage::from(RgbImage::from_pixel(frame, frame, RED));
    let mut upload = encoded(&frame, ImageFormat::Gif);
    upload[6..8].copy_from_slice(&screen.to_le_bytes());
    upload[8..10].copy_from_slice(&screen.to_le_bytes());
    upload
}

#[test]
fn a_gif_frame_larger_than_its_screen_gets_only_the_memory_that_the_screen_leaves() {
    let picture = decode(&gif_with_large_frame(1, 2400)).unwrap();
    assert_eq!((picture.width, picture.height), (1, 1));
    let both = gif_with_large_frame(1000, 2400);
    assert_eq!(decode(&both), Err(PictureError::Broken));
    let frame_alone = gif_with_large_frame(1, 3000);
    assert_eq!(decode(&frame_alone), Err(PictureError::Broken));
}

#[test]
fn a_truncated_png_is_broken() {
    let upload = encoded(&flag(), ImageFormat::Png);
    for length in [9, 20, 33, upload.len() / 2, upload.len() - 20] {
        assert_eq!(
            decode(&upload[..length]),
            Err(PictureError::Broken),
            "{length}"
        );
    }
    assert_eq!(decode(&png_claiming(10, 10)), Err(PictureError::Broken));
}

#[test]
fn too_many_bytes_are_refused_before_anything_is_decoded() {
    let upload = encoded(&flag(), ImageFormat::Png);
    let limits = Limits {
        max_bytes: upload.len() - 1,
        ..LIMITS
    };
    let error = Picture::decode(&upload, &limits).unwrap_err();
    assert!(matches!(error, PictureError::TooManyBytes { .. }));
}

#[test]
fn a_picture_that_grows_out_of_measure_as_png_is_refused() {
    let plain = DynamicImage::from(RgbImage::from_pixel(1000, 1000, RED));
    let upload = encoded(&plain, ImageFormat::WebP);
    let stored = decode(&upload).unwrap().bytes.len();
    assert!(stored > upload.len() * MAX_GROWTH, "{stored}");
    let limits = Limits {
        max_bytes: upload.len(),
        ..LIMITS
    };
    let error = Picture::decode(&upload, &limits).unwrap_err();
    assert_eq!(error, PictureError::GrowsTooMuch);
}

#[test]
fn a_picture_may_grow_to_twice_the_upload_limit_and_not_more() {
    let plain = DynamicImage::from(RgbImage::from_pixel(1000, 1000, RED));
    let upload = encoded(&plain, ImageFormat::WebP);
    let stored = decode(&upload).unwrap().bytes.len();
    let with_limit = |max_bytes| {
        let limits = Limits {
            max_bytes,
            ..LIMITS
        };
        Picture::decode(&upload, &limits)
    };
    assert!(with_limit(stored.div_ceil(2)).is_ok());
    assert_eq!(
        with_limit(stored.div_ceil(2) - 1),
        Err(PictureError::GrowsTooMuch)
    );
}

/// One valid file of each format, in the order that `mutated_files_never_panic` picks from.
fn samples() -> [Vec<u8>; 6] {
    let of = |format| encoded(&flag(), format);
    [
        of(ImageFormat::Png),
        of(ImageFormat::Jpeg),
        of(ImageFormat::Gif),
        of(ImageFormat::WebP),
        jpeg_held(6),
        animation::tests::blinking(),
    ]
}

/// Whatever was accepted must be a picture that browsers can show, within the limits.
fn assert_sound(outcome: Result<Picture, PictureError>) {
    if let Ok(picture) = outcome {
        let image = reopened(&picture);
        assert_eq!((picture.width, picture.height), image.dimensions());
        assert!(u64::from(picture.width) * u64::from(picture.height) <= LIMITS.max_pixels);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(
        magic in prop::sample::select(vec![
            b"\x89PNG\r\n\x1a\n".as_slice(), b"\xff\xd8\xff", b"GIF89a", b"RIFF\x10\0\0\0WEBPVP8L", b"",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        assert_sound(decode(&[magic, &rest].concat()));
    }

    #[test]
    fn mutated_files_never_panic(
        sample in 0_usize..6,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        let mut input = samples()[sample].clone();
        for (at, byte) in changes {
            let at = at.index(input.len());
            input[at] = byte;
        }
        if truncate {
            input.truncate(length.index(input.len()));
        }
        assert_sound(decode(&input));
    }
}
