//! Animations: frame by frame out of a GIF or a WebP, and into a GIF whose frames hold only what changes.

use std::borrow::Cow;
use std::io::Cursor;

use gif::{DisposalMethod, Encoder, Repeat};
use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::LoopCount;
use image::{
    AnimationDecoder, DynamicImage, Frame, Frames, ImageDecoder, ImageFormat, Rgba, RgbaImage,
};

#[cfg(test)]
pub(super) mod tests;

use super::{Limits, PictureError, broken, check_dimensions, memory};

/// Of the search for 256 colours, 1 (best) to 30 (fastest): from 10 on the difference is hard to see.
const SPEED: i32 = 10;

/// GIF knows seen and not seen: from here on a pixel is seen.
const MIN_ALPHA: u8 = 128;

const CLEAR: Rgba<u8> = Rgba([0; 4]);

/// The first frame and the bytes of the animation, unless `input` is a still picture.
pub(super) fn encode(
    input: &[u8],
    source: ImageFormat,
    limits: &Limits,
) -> Result<Option<(DynamicImage, Vec<u8>)>, PictureError> {
    let Some((mut frames, loops)) = open(input, source, limits)? else {
        return Ok(None);
    };
    let Some(first) = next(&mut frames)? else {
        return Ok(None);
    };
    // What breaks later ends the animation.
    let mut rest = std::iter::from_fn(|| next(&mut frames).ok().flatten());
    let size = first.buffer().dimensions();
    if max_frames(size, limits) < 2 {
        // A picture as large as this may stand still. There is no memory for two.
        drop(first);
        return rest.next().map_or(Ok(None), |_| Err(too_long(limits)));
    }
    let Some(second) = rest.next() else {
        return Ok(None);
    };
    let still = first.buffer().clone();
    let bytes = write([first, second].into_iter().chain(rest), size, loops, limits)?;
    Ok(Some((still.into(), bytes)))
}

/// Frames of that size, at most: they have the limit of pixels together.
fn max_frames((width, height): (u32, u32), limits: &Limits) -> u64 {
    let pixels = (u64::from(width) * u64::from(height)).max(1);
    u64::from(limits.max_frames).min(limits.max_pixels / pixels)
}

fn too_long(limits: &Limits) -> PictureError {
    PictureError::AnimationTooLong {
        max_frames: limits.max_frames,
        max_pixels: limits.max_pixels,
    }
}

/// Its frames and how often it runs, unless the header tells that there is one frame.
fn open<'a>(
    input: &'a [u8],
    source: ImageFormat,
    limits: &Limits,
) -> Result<Option<(Frames<'a>, Repeat)>, PictureError> {
    let input = Cursor::new(input);
    match source {
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(input).map_err(broken)?;
            check_dimensions(decoder.dimensions(), limits)?;
            decoder.set_limits(memory(limits)).map_err(broken)?;
            let repeat = repeat(decoder.loop_count());
            Ok(Some((decoder.into_frames(), repeat)))
        }
        ImageFormat::WebP => {
            let decoder = WebPDecoder::new(input).map_err(broken)?;
            check_dimensions(decoder.dimensions(), limits)?;
            let repeat = repeat(decoder.loop_count());
            let animated = decoder.has_animation();
            Ok(animated.then(|| (decoder.into_frames(), repeat)))
        }
        _ => Ok(None),
    }
}

fn repeat(count: LoopCount) -> Repeat {
    match count {
        LoopCount::Infinite => Repeat::Infinite,
        LoopCount::Finite(times) => Repeat::Finite(u16::try_from(times.get()).unwrap_or(u16::MAX)),
    }
}

fn next(frames: &mut Frames<'_>) -> Result<Option<Frame>, PictureError> {
    frames.next().transpose().map_err(broken)
}

/// All frames have the size of the canvas and are drawn over what the ones before have left, so that a frame needs to
/// hold only the rectangle that changes. Nothing can be drawn that makes a pixel clear again: before such a frame the
/// canvas is wiped, which the frame before it has to ask for.
fn write(
    frames: impl Iterator<Item = Frame>,
    (width, height): (u32, u32),
    loops: Repeat,
    limits: &Limits,
) -> Result<Vec<u8>, PictureError> {
    let side = |pixels| u16::try_from(pixels).map_err(|_| PictureError::Broken);
    let mut out = Vec::new();
    let mut encoder =
        Encoder::new(&mut out, side(width)?, side(height)?, &[]).map_err(not_written)?;
    encoder.set_repeat(loops).map_err(not_written)?;
    let max_frames = max_frames((width, height), limits);
    let mut canvas = RgbaImage::new(width, height);
    let mut frames = frames.map(seen_or_not).peekable();
    let mut written = 0;
    while let Some((image, delay)) = frames.next() {
        written += 1;
        if written > max_frames {
            return Err(too_long(limits));
        }
        let wipe = frames.peek().is_some_and(|(next, _)| clears(&image, next));
        encoder
            .write_frame(&difference(&canvas, &image, wipe, delay))
            .map_err(not_written)?;
        canvas = if wipe {
            RgbaImage::new(width, height)
        } else {
            image
        };
    }
    drop(encoder);
    Ok(out)
}

/// The image with each pixel either seen or not, and its time in hundredths of a second.
fn seen_or_not(frame: Frame) -> (RgbaImage, u16) {
    let (numerator, denominator) = frame.delay().numer_denom_ms();
    let delay = numerator / denominator.max(1) / 10;
    let mut image = frame.into_buffer();
    for pixel in image.pixels_mut() {
        *pixel = match pixel.0 {
            [red, green, blue, alpha] if alpha >= MIN_ALPHA => Rgba([red, green, blue, u8::MAX]),
            _ => CLEAR,
        };
    }
    (image, u16::try_from(delay).unwrap_or(u16::MAX))
}

/// Is a pixel of `before` to become clear?
fn clears(before: &RgbaImage, after: &RgbaImage) -> bool {
    let pairs = before.pixels().zip(after.pixels());
    pairs
        .into_iter()
        .any(|(before, after)| *before != CLEAR && *after == CLEAR)
}

/// The frame that turns `canvas` into `image`. One that wipes covers everything, because it wipes what it covers.
fn difference(
    canvas: &RgbaImage,
    image: &RgbaImage,
    wipe: bool,
    delay: u16,
) -> gif::Frame<'static> {
    let (left, top, width, height) = if wipe {
        (0, 0, image.width(), image.height())
    } else {
        changed(canvas, image)
    };
    let mut part = Vec::with_capacity(width as usize * height as usize * 4);
    for y in top..top + height {
        for x in left..left + width {
            let pixel = image.get_pixel(x, y);
            let same = pixel == canvas.get_pixel(x, y);
            part.extend(if same { CLEAR.0 } else { pixel.0 });
        }
    }
    let side =
        |pixels| u16::try_from(pixels).expect("the canvas of a GIF has 65,535 pixels a side");
    let frame = gif::Frame::from_rgba_speed(side(width), side(height), &mut part, SPEED);
    gif::Frame {
        left: side(left),
        top: side(top),
        delay,
        dispose: if wipe {
            DisposalMethod::Background
        } else {
            DisposalMethod::Keep
        },
        buffer: Cow::Owned(frame.buffer.into_owned()),
        ..frame
    }
}

/// Left, top, width and height of the smallest rectangle that holds all that changes; one pixel if nothing does.
fn changed(canvas: &RgbaImage, image: &RgbaImage) -> (u32, u32, u32, u32) {
    let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
    for (x, y, pixel) in image.enumerate_pixels() {
        if pixel != canvas.get_pixel(x, y) {
            (left, right) = (left.min(x), right.max(x));
            (top, bottom) = (top.min(y), bottom.max(y));
        }
    }
    if left > right {
        return (0, 0, 1, 1);
    }
    (left, top, right - left + 1, bottom - top + 1)
}

/// Writing to memory fails for no reason of the visitor's that we know; the log tells ours.
#[expect(clippy::needless_pass_by_value, reason = "shaped for map_err")]
fn not_written(cause: gif::EncodingError) -> PictureError {
    tracing::warn!(%cause, "could not write an animation");
    PictureError::Broken
}
