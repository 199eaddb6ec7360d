//! Pictures to upload: noise, so that none is like another and each weighs what a photo does.

use std::io::Cursor;

use bytes::Bytes;
use image::{ImageFormat, RgbImage};
use rand::Rng as _;
use rand::rngs::StdRng;

/// Noise does not compress: some 49 KB as a PNG.
const SIDE: u32 = 128;

/// A PNG that nobody has seen before.
///
/// # Panics
/// Never: memory takes all that is written to it.
#[must_use]
pub fn noise(rng: &mut StdRng) -> Bytes {
    let mut pixels = vec![0; (SIDE * SIDE * 3) as usize];
    rng.fill_bytes(&mut pixels);
    let picture = RgbImage::from_raw(SIDE, SIDE, pixels).expect("three bytes for each pixel");
    let mut png = Cursor::new(Vec::new());
    picture
        .write_to(&mut png, ImageFormat::Png)
        .expect("memory takes all that is written to it");
    png.into_inner().into()
}
