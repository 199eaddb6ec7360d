//! Histograms as text: `HdrHistogram` V2, compressed, in base64. It is what the logs of other tools hold and what
//! their plotters read; it begins with `HISTFAAA`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{
    DeserializeError, Deserializer, Serializer as _, V2DeflateSerializer,
};
use thiserror::Error;

use super::Percentiles;

/// Why a text is no histogram.
#[derive(Debug, Error)]
pub enum Error {
    #[error("it is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("it is not an HdrHistogram of version 2: {0}")]
    Histogram(#[from] DeserializeError),
}

/// # Panics
/// Never: memory takes all that is written to it, and a count beyond an `i64` would take a thousand years to reach.
#[must_use]
pub fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a vector takes all that is written to it, and no count exceeds an i64");
    STANDARD.encode(bytes)
}

/// Takes what [`encode`] made, and also V2 that is not compressed.
///
/// # Errors
/// When the text is not base64 or not a histogram.
pub fn decode(text: &str) -> Result<Histogram<u64>, Error> {
    let bytes = STANDARD.decode(text.trim())?;
    Ok(Deserializer::new().deserialize(&mut bytes.as_slice())?)
}

/// The figures of a histogram of microseconds, absent when it is empty.
#[must_use]
pub fn percentiles(histogram: &Histogram<u64>) -> Option<Percentiles> {
    (!histogram.is_empty()).then(|| Percentiles {
        count: histogram.len(),
        p50: histogram.value_at_quantile(0.5),
        p90: histogram.value_at_quantile(0.9),
        p99: histogram.value_at_quantile(0.99),
        p99_9: histogram.value_at_quantile(0.999),
        max: histogram.max(),
    })
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::V2Serializer;
    use proptest::prelude::*;

    use super::*;

    fn histogram(values: &[u64]) -> Histogram<u64> {
        let mut histogram =
            Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds that fit");
        for value in values {
            histogram.saturating_record(*value);
        }
        histogram
    }

    #[test]
    fn the_text_begins_as_other_tools_expect() {
        assert!(encode(&histogram(&[1, 2, 3])).starts_with("HISTFAAA"));
    }

    #[test]
    fn an_empty_histogram_survives_and_has_no_percentiles() {
        let decoded = decode(&encode(&histogram(&[]))).expect("a histogram");
        assert!(decoded.is_empty());
        assert_eq!(percentiles(&decoded), None);
    }

    #[test]
    fn a_histogram_that_is_not_compressed_is_read_as_well() {
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(&histogram(&[7, 7]), &mut bytes)
            .expect("a vector");
        let decoded = decode(&STANDARD.encode(bytes)).expect("a histogram");
        assert_eq!(decoded.count_at(7), 2);
    }

    #[test]
    fn what_is_no_histogram_is_refused_with_words() {
        let not_base64 = decode("!").expect_err("not base64").to_string();
        assert!(not_base64.contains("base64"), "{not_base64}");
        for text in ["", "AAAA", "aGVsbG8gd29ybGQ="] {
            let refused = decode(text).expect_err("no histogram").to_string();
            assert!(refused.contains("HdrHistogram"), "{refused}");
        }
        let whole = encode(&histogram(&[1, 1_000_000]));
        assert!(decode(&whole[..whole.len() / 2 / 4 * 4]).is_err());
    }

    proptest! {
        #[test]
        fn every_histogram_survives_the_way_there_and_back(
            values in prop::collection::vec(0_u64..=u64::MAX, 0..200)
        ) {
            let before = histogram(&values);
            let after = decode(&encode(&before)).expect("a histogram");
            prop_assert_eq!(&before, &after);
            prop_assert_eq!(percentiles(&before), percentiles(&after));
        }
    }
}
