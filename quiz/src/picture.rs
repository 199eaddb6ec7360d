//! An uploaded picture: recognised by its content, checked, turned upright and encoded again.
//!
//! What leaves this file was drawn by our own encoder, pixel by pixel: no EXIF (where the photo was taken), no text
//! chunks, no trailing archive or script survives. Colour profiles do not either: the pixels are taken as sRGB.
//! An animated GIF or WebP becomes an animated GIF (`picture/animation.rs`); of an animated PNG the first frame is kept.

use std::io::Cursor;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult};

use crate::images::Format;

mod animation;
#[cfg(test)]
mod tests;

/// Where photos stop getting visibly better and go on getting bigger.
const JPEG_QUALITY: u8 = 85;

/// Bytes of the largest pixel that the decoders produce: four channels of 16 bits.
const WIDEST_PIXEL_BYTES: u64 = 8;

/// Room for what a decoder keeps besides pixels (tables, text chunks), in bytes.
const DECODER_BYTES: u64 = 16 * 1024 * 1024;

/// How much larger than the largest upload a stored picture may be: PNG needs more room than the formats it replaces,
/// but every reader pays for it, not only the one who uploaded it.
pub const MAX_GROWTH: usize = 2;

/// Width and height that a thumbnail keeps within, in pixels: sharp in a list, also on a screen of twice the pixels.
const THUMBNAIL_SIZE: (u32, u32) = (480, 360);

/// Above this many pixels the better compression would take ten seconds, and the quick one takes three.
const PATIENT_PIXELS: u64 = 8_000_000;

/// What we accept from a visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest upload, in bytes.
    pub max_bytes: usize,
    /// Width times height, at most. Bounds the memory and the time of one decoding.
    pub max_pixels: u64,
    /// Frames of an animation, at most. All of them together have no more than `max_pixels`.
    pub max_frames: u32,
}

impl Default for Limits {
    /// 20 MiB, 40 million pixels and 300 frames: any phone's photo, and ten seconds of animation.
    fn default() -> Self {
        Self {
            max_bytes: 20 * 1024 * 1024,
            max_pixels: 40_000_000,
            max_frames: 300,
        }
    }
}

/// A picture that is safe to store and to show. Made by [`Picture::decode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub bytes: Bytes,
    pub format: Format,
    pub width: u32,
    pub height: u32,
    /// A small still one for lists, when it saves bytes: PNG, or JPEG of a JPEG, of [`thumbnail_size`].
    pub thumbnail: Option<Bytes>,
}

/// Why an upload is no picture of ours. The text is for the log; the visitor reads the one of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// Neither PNG nor JPEG, GIF or WebP, whatever its name says (415).
    #[error("not a picture of a known type")]
    UnsupportedType,
    /// The upload has too many bytes (413).
    #[error("more than {max_bytes} bytes")]
    TooManyBytes { max_bytes: usize },
    /// The upload is small enough, and what we would store is not (422).
    #[error("too large once it is encoded again")]
    GrowsTooMuch,
    /// Width times height is too much (422).
    #[error("{width} x {height} pixels, and {max_pixels} are accepted")]
    TooManyPixels {
        width: u32,
        height: u32,
        max_pixels: u64,
    },
    /// Too many frames, or too many pixels over all of them (422).
    #[error("an animation of more than {max_frames} frames or {max_pixels} pixels in all")]
    AnimationTooLong { max_frames: u32, max_pixels: u64 },
    /// Starts like a picture and cannot be decoded (422).
    #[error("damaged")]
    Broken,
}

impl Picture {
    /// Checks `input` and encodes it again: JPEG stays JPEG, an animation becomes GIF, everything else PNG.
    ///
    /// The same pixels give the same bytes as long as the encoders do not change, so that storing by content finds
    /// copies. Size is judged from the header, before memory for pixels is taken. A JPEG that ends early is kept as far
    /// as it goes, and so is an animation that has two frames, as browsers do.
    ///
    /// Works for up to seconds on one core and takes up to 16 bytes of memory per pixel (14 were measured for noise of
    /// 16 bits and four channels, which is turned): call it where blocking is allowed, a few at a time.
    pub fn decode(input: &[u8], limits: &Limits) -> Result<Self, PictureError> {
        if input.len() > limits.max_bytes {
            return Err(too_many_bytes(limits));
        }
        let source = recognise(input)?;
        let (first, bytes, format) = match animation::encode(input, source, limits)? {
            Some((first, gif)) => (first, gif, Format::Gif),
            None => {
                let image = pixels(input, source, limits)?;
                let (bytes, format) = encoded(&image, source)?;
                (image, bytes, format)
            }
        };
        if bytes.len() > limits.max_bytes.saturating_mul(MAX_GROWTH) {
            return Err(match format {
                Format::Jpeg => too_many_bytes(limits),
                _ => PictureError::GrowsTooMuch,
            });
        }
        let thumbnail = thumbnail(&first, source)?;
        Ok(Self {
            thumbnail: thumbnail.filter(|small| small.len() < bytes.len()),
            bytes: bytes.into(),
            format,
            width: first.width(),
            height: first.height(),
        })
    }
}

/// The size of the thumbnail of a picture of this size: its shape, within 480 x 360, and never larger than itself.
pub fn thumbnail_size(width: u32, height: u32) -> (u32, u32) {
    let (max_width, max_height) = THUMBNAIL_SIZE;
    if width <= max_width && height <= max_height {
        return (width, height);
    }
    let scaled = |side: u32, numerator: u32, denominator: u32| {
        let side = u64::from(side) * u64::from(numerator) / u64::from(denominator.max(1));
        u32::try_from(side.max(1)).unwrap_or(u32::MAX)
    };
    // Wider than the frame: the width decides.
    if u64::from(width) * u64::from(max_height) >= u64::from(height) * u64::from(max_width) {
        (max_width, scaled(height, max_width, width))
    } else {
        (scaled(width, max_height, height), max_height)
    }
}

fn thumbnail(image: &DynamicImage, source: ImageFormat) -> Result<Option<Bytes>, PictureError> {
    let (width, height) = thumbnail_size(image.width(), image.height());
    if (width, height) == (image.width(), image.height()) {
        return Ok(None);
    }
    let small = image.thumbnail_exact(width, height);
    let (bytes, _) = encoded(&small, source)?;
    Ok(Some(bytes.into()))
}

/// A still picture, in the format that one of that source is stored in.
fn encoded(image: &DynamicImage, source: ImageFormat) -> Result<(Vec<u8>, Format), PictureError> {
    let (bytes, format) = match source {
        ImageFormat::Jpeg => (jpeg(image), Format::Jpeg),
        _ => (png(image), Format::Png),
    };
    Ok((bytes.map_err(broken)?, format))
}

/// The type by the first bytes. A name or a `Content-Type` is only what the sender claims.
fn recognise(input: &[u8]) -> Result<ImageFormat, PictureError> {
    match image::guess_format(input) {
        Ok(
            format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Gif | ImageFormat::WebP),
        ) => Ok(format),
        _ => Err(PictureError::UnsupportedType),
    }
}

/// Decodes the first frame and turns it the way the camera was held.
fn pixels(
    input: &[u8],
    source: ImageFormat,
    limits: &Limits,
) -> Result<DynamicImage, PictureError> {
    let mut reader = ImageReader::with_format(Cursor::new(input), source);
    let mut budget = memory(limits);
    reader.limits(budget.clone());
    let mut decoder = reader.into_decoder().map_err(broken)?;
    check_dimensions(decoder.dimensions(), limits)?;
    // The image itself counts, so that a GIF frame larger than its screen finds only the rest.
    budget.reserve(decoder.total_bytes()).map_err(broken)?;
    decoder.set_limits(budget).map_err(broken)?;

    // A camera's broken EXIF is no reason to refuse its photo.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(broken)?;
    // Before the turn, which holds the picture twice. A JPEG has eight bits already, and a grey one stays grey.
    if source != ImageFormat::Jpeg {
        image = eight_bits(image);
    }
    image.apply_orientation(orientation);
    Ok(image)
}

/// What a decoder may take.
fn memory(limits: &Limits) -> image::Limits {
    let pixels = limits.max_pixels.saturating_mul(WIDEST_PIXEL_BYTES);
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(pixels.saturating_add(DECODER_BYTES));
    memory
}

fn check_dimensions((width, height): (u32, u32), limits: &Limits) -> Result<(), PictureError> {
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(PictureError::TooManyPixels {
            width,
            height,
            max_pixels: limits.max_pixels,
        });
    }
    Ok(())
}

/// As eight-bit RGB, with alpha only where something is transparent: a GIF and a PNG of the same pixels become one file.
fn eight_bits(image: DynamicImage) -> DynamicImage {
    if !image.color().has_alpha() {
        return image.into_rgb8().into();
    }
    let rgba = image.into_rgba8();
    if rgba.pixels().all(|pixel| pixel.0[3] == u8::MAX) {
        DynamicImage::ImageRgba8(rgba).into_rgb8().into()
    } else {
        rgba.into()
    }
}

fn jpeg(image: &DynamicImage) -> ImageResult<Vec<u8>> {
    let mut out = Vec::new();
    image.write_with_encoder(JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY))?;
    Ok(out)
}

fn png(image: &DynamicImage) -> ImageResult<Vec<u8>> {
    let compression = if u64::from(image.width()) * u64::from(image.height()) > PATIENT_PIXELS {
        CompressionType::Fast
    } else {
        CompressionType::Default
    };
    let mut out = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut out, compression, FilterType::Adaptive);
    image.write_with_encoder(encoder)?;
    Ok(out)
}

fn too_many_bytes(limits: &Limits) -> PictureError {
    PictureError::TooManyBytes {
        max_bytes: limits.max_bytes,
    }
}

/// The decoder's words are for the log; the visitor gets ours.
#[expect(clippy::needless_pass_by_value, reason = "shaped for map_err")]
fn broken(cause: image::ImageError) -> PictureError {
    tracing::debug!(cause = %cause, "refused a picture that does not decode");
    PictureError::Broken
}
