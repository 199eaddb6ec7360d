//! Animations in, animations out, and what is too long.

use std::process::Command;

use image::codecs::gif::GifEncoder;
use image::{Delay, ImageFormat};

use super::super::Picture;
use super::*;
use crate::images::Format;

const LIMITS: Limits = Limits {
    max_bytes: 1024 * 1024,
    max_pixels: 100_000,
    max_frames: 5,
};

const RED: Rgba<u8> = Rgba([250, 10, 10, 255]);
const BLUE: Rgba<u8> = Rgba([10, 10, 250, 255]);

fn gif(frames: &[RgbaImage]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for frame in frames {
        let delay = Delay::from_numer_denom_ms(250, 1);
        encoder
            .encode_frame(Frame::from_parts(frame.clone(), 0, 0, delay))
            .unwrap();
    }
    drop(encoder);
    bytes
}

/// Red, blue, and red again.
pub(in super::super) fn blinking() -> Vec<u8> {
    gif(&[RED, BLUE, RED].map(|colour| RgbaImage::from_pixel(12, 8, colour)))
}

fn decode(input: &[u8]) -> Result<Picture, PictureError> {
    Picture::decode(input, &LIMITS)
}

/// The frames as a browser shows them.
fn shown(bytes: &[u8]) -> Vec<Frame> {
    let decoder = GifDecoder::new(Cursor::new(bytes)).unwrap();
    decoder.into_frames().collect_frames().unwrap()
}

fn images(bytes: &[u8]) -> Vec<RgbaImage> {
    shown(bytes).into_iter().map(Frame::into_buffer).collect()
}

/// A 1 x 1 WebP of three frames, written by hand: image encoders write none that move.
fn webp() -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap();
        let padding = vec![0; data.len() % 2];
        [&kind[..], &length.to_le_bytes(), data, &padding].concat()
    };
    let still = |colour| {
        let mut bytes = Cursor::new(Vec::new());
        RgbaImage::from_pixel(1, 1, colour)
            .write_to(&mut bytes, ImageFormat::WebP)
            .unwrap();
        // After RIFF, the size and WEBP comes its one chunk.
        bytes.into_inner()[12..].to_vec()
    };
    let frame = |colour| {
        // Position 0, 0; size 1 x 1 (less one); 250 ms; no blending.
        let header = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 250, 0, 0, 2];
        chunk(b"ANMF", &[&header[..], &still(colour)].concat())
    };
    let body = [
        b"WEBP".to_vec(),
        chunk(b"VP8X", &[0b0001_0010, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        chunk(b"ANIM", &[0; 6]),
        frame(RED),
        frame(BLUE),
        frame(RED),
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap();
    [b"RIFF", &length.to_le_bytes()[..], &body].concat()
}

#[test]
fn an_animated_gif_stays_one_with_its_frames_and_its_pace() {
    let picture = decode(&blinking()).unwrap();
    assert_eq!(
        (picture.format, picture.width, picture.height),
        (Format::Gif, 12, 8)
    );
    let frames = shown(&picture.bytes);
    let colours: Vec<_> = frames
        .iter()
        .map(|frame| *frame.buffer().get_pixel(5, 5))
        .collect();
    assert_eq!(colours, [RED, BLUE, RED]);
    for frame in frames {
        assert_eq!(frame.delay().numer_denom_ms(), (250, 1));
    }
}

#[test]
fn an_animated_webp_becomes_an_animated_gif() {
    let picture = decode(&webp()).unwrap();
    assert_eq!(picture.format, Format::Gif);
    let colours: Vec<_> = images(&picture.bytes)
        .iter()
        .map(|image| *image.get_pixel(0, 0))
        .collect();
    assert_eq!(colours, [RED, BLUE, RED]);
    assert_eq!(shown(&picture.bytes)[0].delay().numer_denom_ms(), (250, 1));
}

#[test]
fn what_moves_over_a_clear_ground_leaves_no_trace() {
    let dot_at = |at| RgbaImage::from_fn(9, 3, |x, _| if x == at { RED } else { CLEAR });
    let frames = [0, 4, 8, 4].map(dot_at);
    let picture = decode(&gif(&frames)).unwrap();
    assert_eq!(images(&picture.bytes), frames);
}

#[test]
fn frames_that_do_not_change_keep_their_time() {
    let still = RgbaImage::from_pixel(4, 4, RED);
    let mut other = still.clone();
    other.put_pixel(2, 1, BLUE);
    let frames = [still.clone(), still.clone(), other, still];
    let picture = decode(&gif(&frames)).unwrap();
    assert_eq!(images(&picture.bytes), frames);
}

#[test]
fn only_what_changes_is_stored() {
    let ground = RgbaImage::from_fn(100, 100, |x, y| {
        Rgba([x as u8, y as u8, (x * y) as u8, 255])
    });
    let frames: Vec<_> = (0..4)
        .map(|n| {
            let mut frame = ground.clone();
            frame.put_pixel(n, 0, RED);
            frame
        })
        .collect();
    let alone = decode(&gif(&frames[..2])).unwrap().bytes.len();
    let all = decode(&gif(&frames)).unwrap().bytes.len();
    assert!(all < alone + alone / 10, "{alone} and {all} bytes");
}

#[test]
fn too_many_frames_or_pixels_in_all_are_refused() {
    let gif_of = |frames: u8, side| {
        let frame = |n| RgbaImage::from_pixel(side, side, Rgba([n, 0, 0, 255]));
        gif(&(0..frames).map(frame).collect::<Vec<_>>())
    };
    let too_long = Err(PictureError::AnimationTooLong {
        max_frames: LIMITS.max_frames,
        max_pixels: LIMITS.max_pixels,
    });
    assert!(decode(&gif_of(5, 4)).is_ok());
    assert_eq!(decode(&gif_of(6, 4)), too_long);
    // 10,000 pixels each would be fine alone.
    assert_eq!(decode(&gif_of(5, 160)), too_long);
    assert!(decode(&gif_of(3, 160)).is_ok());
}

#[test]
fn an_animation_that_ends_early_is_kept_as_far_as_it_goes() {
    let mut upload = blinking();
    upload.truncate(upload.len() - 8);
    let picture = decode(&upload).unwrap();
    assert_eq!(picture.format, Format::Gif);
    assert_eq!(images(&picture.bytes).len(), 2);
}

#[test]
fn the_thumbnail_of_an_animation_does_not_move() {
    let limits = Limits {
        max_pixels: 10_000_000,
        ..LIMITS
    };
    let noisy = |seed: u32| {
        RgbaImage::from_fn(600, 600, |x, y| {
            let n = (x * 7919 + y * 104_729 + seed).wrapping_mul(2_654_435_761);
            Rgba([(n >> 24) as u8, 0, 0, 255])
        })
    };
    let picture = Picture::decode(&gif(&[noisy(1), noisy(2)]), &limits).unwrap();
    let thumbnail = picture.thumbnail.unwrap();
    assert_eq!(image::guess_format(&thumbnail).unwrap(), ImageFormat::Png);
}

/// What it takes at its peak, in bytes for each pixel that is allowed, to decode two frames with sides of `side`; and
/// whether they are accepted. To be called in a process where nothing else runs.
fn peak(side: u32) -> (u64, bool) {
    let status = |name: &str| -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let kib = line.split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() * 1024
    };
    let frame = |n| RgbaImage::from_fn(side, side, |x, y| Rgba([x as u8, y as u8, n, 255]));
    let input = gif(&[frame(1), frame(200)]);
    let limits = Limits {
        max_bytes: input.len(),
        max_pixels: 4_000_000,
        ..LIMITS
    };
    // Forgets the peak of what was before.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let accepted = Picture::decode(&input, &limits).is_ok();
    ((status("VmHWM") - before) / limits.max_pixels, accepted)
}

#[test]
fn animations_take_no_more_memory_than_a_picture_may() {
    for test in ["accepted_frames", "refused_frames"] {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let name = format!("picture::animation::tests::{test}");
        let output = alone
            .args(["--exact", "--ignored", &name])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("1 passed"), "{text}");
    }
}

#[test]
#[ignore = "measures memory, in a process of its own that another test starts"]
fn accepted_frames() {
    let (peak, accepted) = peak(1414);
    assert!(accepted && peak < 16, "{peak} bytes");
}

#[test]
#[ignore = "measures memory, in a process of its own that another test starts"]
fn refused_frames() {
    let (peak, accepted) = peak(1990);
    assert!(!accepted && peak < 16, "{peak} bytes");
}
