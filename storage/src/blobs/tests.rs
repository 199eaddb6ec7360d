//! A blob is whole or refused.

use super::*;

fn open(dir: &Path) -> Blobs {
    Blobs::open(dir, true).unwrap()
}

fn put(blobs: &Blobs, data: &[u8]) -> BlobRef {
    let id = BlobId::random();
    blobs.put(id, data).unwrap();
    BlobRef {
        id,
        len: data.len() as u64,
        blake3: *blake3::hash(data).as_bytes(),
    }
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

#[test]
fn ranges_of_every_size_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    for len in [0, 1, 65_535, 65_536, 65_537, 300_000] {
        let data = data(len);
        let blob = put(&blobs, &data);
        let len = len as u64;
        for range in [0..len, len / 3..len / 2, len.saturating_sub(1)..len, 0..0] {
            let read = blobs.read(&blob, range.clone()).unwrap();
            assert_eq!(read, data[range.start as usize..range.end as usize]);
        }
    }
    assert_eq!(blobs.usage().0, 6);
}

/// What lies on disks by now has to be read by every program to come.
#[test]
fn the_form_of_a_file_does_not_change() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let id = BlobId([0xab; 16]);
    blobs.put(id, &data(65_537)).unwrap();
    let path = blobs.path(id);
    assert!(path.ends_with(format!("blobs/ab/{}", "ab".repeat(16))));
    let file = fs::read(path).unwrap();
    assert_eq!(file[..65_537], data(65_537));
    let expected = "c4aabe57697bc685d44c789f9fab859a01000100000000007f5854cbbe70aec6\
        83ccf770058d23ce2a7e47b434b486ef1204e2d2ec00a9765153424c4f423031";
    assert_eq!(hex::encode(&file[65_537..]), expected);
}

#[test]
fn a_flipped_byte_anywhere_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let blob = put(&blobs, &data(70_000));
    let path = blobs.path(blob.id);
    let good = fs::read(&path).unwrap();
    for at in (0..good.len())
        .step_by(997)
        .chain(good.len() - 70..good.len())
    {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(&path, bad).unwrap();
        let read = blobs.read(&blob, 0..blob.len);
        assert!(matches!(read, Err(ReadError::Damaged(_))), "byte {at}");
    }
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert!(matches!(
        blobs.read(&blob, 0..1),
        Err(ReadError::Damaged(_))
    ));
    fs::write(&path, good).unwrap();
    assert!(blobs.read(&blob, 0..blob.len).is_ok());
}

#[test]
fn a_range_outside_the_damage_still_reads() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let blob = put(&blobs, &data(200_000));
    let path = blobs.path(blob.id);
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(blobs.read(&blob, 0..10).is_err());
    assert_eq!(
        blobs.read(&blob, 100_000..100_010).unwrap(),
        data(200_000)[100_000..100_010]
    );
}

#[test]
fn another_blob_under_the_same_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let blob = put(&blobs, b"right");
    blobs.put(blob.id, b"wrong").unwrap();
    assert!(matches!(
        blobs.read(&blob, 0..5),
        Err(ReadError::Damaged(_))
    ));
}

#[test]
fn what_a_crashed_write_left_is_deleted_at_start_and_blobs_stay() {
    let dir = tempfile::tempdir().unwrap();
    let blob = put(&open(dir.path()), b"kept");
    let leftover = dir.path().join("tmp").join("half");
    fs::write(&leftover, b"ha").unwrap();
    let blobs = open(dir.path());
    assert!(!leftover.exists());
    assert_eq!(blobs.read(&blob, 0..4).unwrap(), "kept");
    assert_eq!(blobs.usage().0, 1);
    assert!(blobs.ensure_durable(blob.id).unwrap());
    assert!(!blobs.ensure_durable(BlobId::random()).unwrap());
}

#[test]
fn a_blob_that_comes_in_pieces_is_the_same_file_as_one_that_comes_whole() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let data = data(300_001);
    let whole = put(&blobs, &data);
    for size in [1_000, 65_536, 100_000] {
        let id = BlobId::random();
        let mut staged = blobs.stage(id, 1).unwrap();
        for piece in data.chunks(size) {
            staged.append(piece).unwrap();
        }
        let blob = BlobRef { id, ..whole };
        blobs.finish(staged, &blob).unwrap();
        assert_eq!(
            fs::read(blobs.path(id)).unwrap(),
            fs::read(blobs.path(whole.id)).unwrap()
        );
        let mut seen = Vec::new();
        blobs
            .verify(&blob, |piece| seen.extend_from_slice(piece))
            .unwrap();
        assert!(seen == data);
    }
    assert_eq!(blobs.usage().0, 4);
}

#[test]
fn pieces_that_are_not_what_was_announced_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let good = BlobRef {
        id: BlobId::random(),
        len: 5,
        blake3: *blake3::hash(b"right").as_bytes(),
    };
    for wrong in [&b"wrong"[..], b"righ", b"right!"] {
        let mut staged = blobs.stage(good.id, 1).unwrap();
        staged.append(wrong).unwrap();
        assert!(blobs.finish(staged, &good).is_err());
    }
    let mut given_up = blobs.stage(good.id, 1).unwrap();
    given_up.append(b"ri").unwrap();
    drop(given_up);
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(blobs.usage(), (0, 0));
    assert!(!blobs.ensure_durable(good.id).unwrap());
}

#[test]
fn blobs_of_format_3_are_moved_up_also_after_a_crash_half_way() {
    let dir = tempfile::tempdir().unwrap();
    let all = [b"one", b"two", b"six"].map(|data| put(&open(dir.path()), data));
    for blob in &all[..2] {
        let path = open(dir.path()).path(blob.id);
        let below = folder_of(&path).join(&blob.id.to_string()[2..4]);
        fs::create_dir(&below).unwrap();
        fs::rename(&path, below.join(blob.id.to_string())).unwrap();
    }
    let empty = dir.path().join("blobs/00/ff");
    fs::create_dir(&empty).unwrap();
    for _ in 0..2 {
        let blobs = open(dir.path());
        assert_eq!(blobs.usage().0, 3);
        for (blob, data) in all.iter().zip([b"one", b"two", b"six"]) {
            assert_eq!(blobs.read(blob, 0..3).unwrap(), &data[..]);
        }
    }
    assert!(!empty.exists());
}
