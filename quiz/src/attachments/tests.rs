//! What a refused upload says, and with which status.

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
