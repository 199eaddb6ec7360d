//! The form of every value in the index: [`encode`]'s, then a CRC-64 over the key and all before it.
//!
//! A ballot or a version that changed on disk would still decode, and a node that has lost a promise breaks the
//! register protocol, so what does not match is never used.

use crc_fast::{CrcAlgorithm, Digest};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Error;
use crate::register::Register;
use crate::version::{Version, decode, encode};

const CRC_LEN: usize = 8;

/// A register and its place in the feed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) register: Register<Version>,
    /// 0 until something is accepted.
    pub(super) seq: u64,
}

/// The bytes to store under `key`.
pub(super) fn seal<T: Serialize>(key: &str, value: &T) -> Vec<u8> {
    let mut bytes = encode(value);
    bytes.extend(crc(key, &bytes));
    bytes
}

/// Undoes [`seal`]. Fails for bytes that changed or were stored under another key.
pub(super) fn unseal<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    let damaged = || Error::Damaged(key.to_owned());
    let (value, sum) = bytes.split_last_chunk::<CRC_LEN>().ok_or_else(damaged)?;
    if *sum != crc(key, value) {
        return Err(damaged());
    }
    Ok(decode(value)?)
}

fn crc(key: &str, value: &[u8]) -> [u8; CRC_LEN] {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    digest.update(key.as_bytes());
    // In no key, so that where it ends is part of what is summed.
    digest.update(&[0xff]);
    digest.update(value);
    digest.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ballot::Ballot;
    use crate::version::{BlobId, BlobRef, Headers, Live, State};

    /// What lies on disks by now has to be read by every program to come, and what nodes say to each other has the same
    /// form in it.
    #[test]
    fn the_form_of_a_row_does_not_change() {
        let ballot = Ballot {
            micros: 1_700_000_000_000_000,
            node: 2,
        };
        let blob = BlobRef {
            id: BlobId([0xaa; 16]),
            len: 300,
            blake3: [0xbb; 32],
        };
        let text = |text: &str| Some(text.to_owned());
        let live = Live {
            blobs: vec![blob],
            size: 300,
            etag: [0xcc; 16],
            headers: Headers {
                content_type: text("type"),
                cache_control: text("cache"),
                content_disposition: text("disposition"),
                content_encoding: text("encoding"),
                content_language: text("language"),
                user: vec![("name".to_owned(), "value".to_owned())],
            },
            last_modified_ms: 1_700_000_000_000,
            ..Live::default()
        };
        let before = Version::after(
            None,
            Ballot::ZERO,
            Ballot { micros: 5, node: 1 },
            State::Tomb,
        );
        let value = Version::after(Some(&before), Ballot::ZERO, ballot, State::Live(live));
        let row = Row {
            register: Register {
                promised: ballot,
                accepted: ballot,
                value: Some(value),
            },
            seq: 300,
        };
        let expected = "018080f9c0c1c48203028080f9c0c1c4820302018080f9c0c1c48203020105010001aaaaaaaaaaaaaaaaaaaaaa\
            aaaaaaaaaaac02bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbac02cccccccc\
            cccccccccccccccccccccccc01047479706501056361636865010b646973706f736974696f6e0108656e636f64\
            696e6701086c616e677561676501046e616d650576616c756580d095ffbc31ac0240cecdb5701fceff";
        assert_eq!(hex::encode(seal("key", &row)), expected);
    }

    #[test]
    fn no_flipped_bit_and_no_other_key_is_taken_for_a_row() {
        let ballot = Ballot {
            micros: 1_700_000_000_000_000,
            node: 2,
        };
        let row = Row {
            register: Register {
                promised: ballot,
                accepted: ballot,
                value: Some(Version::after(None, Ballot::ZERO, ballot, State::Tomb)),
            },
            seq: 9,
        };
        let mut bytes = seal("key", &row);
        let back: Row = unseal("key", &bytes).unwrap();
        assert_eq!((back.register, back.seq), (row.register, row.seq));
        assert!(unseal::<Row>("kez", &bytes).is_err());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = unseal::<Row>("key", &bytes);
            assert!(matches!(flipped, Err(Error::Damaged(_))), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for len in 0..bytes.len() {
            assert!(unseal::<Row>("key", &bytes[..len]).is_err(), "{len} bytes");
        }
    }
}
