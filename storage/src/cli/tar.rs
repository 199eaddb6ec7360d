//! Archives: `tar` as POSIX has it since 2001, which any `tar` reads.
//!
//! Every object is a file `objects/KEY`; what else is known of it is an extended attribute, which other programs pass
//! over. Sizes and names of any length are in extended headers.

use anyhow::{Context as _, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::entry::Entry;

const BLOCK: usize = 512;
/// Folder of the objects in an archive.
const OBJECTS: &str = "objects/";
/// The attribute that holds an [`Entry`].
const ATTRIBUTE: &str = "SCHILY.xattr.user.quiz-storage";
/// Largest extended header that is read: an entry has some kilobytes.
const MAX_HEADER: u64 = 1024 * 1024;

/// Writes what comes before the bytes of an object.
pub(super) async fn begin(
    out: &mut (impl AsyncWrite + Unpin),
    entry: &Entry,
) -> anyhow::Result<()> {
    let path = format!("{OBJECTS}{}", entry.key);
    let about = serde_json::to_string(entry)?;
    let records: String = [
        ("path", path.as_str()),
        ("size", &entry.size.to_string()),
        (ATTRIBUTE, &about),
    ]
    .iter()
    .map(|(name, value)| record(name, value))
    .collect();
    out.write_all(&header("quiz-storage/header", records.len() as u64, b'x'))
        .await?;
    out.write_all(records.as_bytes()).await?;
    pad(out, records.len() as u64).await?;
    let name = format!("quiz-storage/{}", blake3::hash(entry.key.as_bytes()));
    Ok(out.write_all(&header(&name, entry.size, b'0')).await?)
}

/// Fills up the last block of `len` bytes.
pub(super) async fn pad(out: &mut (impl AsyncWrite + Unpin), len: u64) -> anyhow::Result<()> {
    Ok(out.write_all(&[0; BLOCK][..padding(len)]).await?)
}

/// Ends an archive.
pub(super) async fn end(out: &mut (impl AsyncWrite + Unpin)) -> anyhow::Result<()> {
    out.write_all(&[0; 2 * BLOCK]).await?;
    Ok(out.flush().await?)
}

/// Reads up to the bytes of the next object; `None` at the end. The caller then reads as many bytes as the entry says,
/// and the padding.
pub(super) async fn next(input: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<Option<Entry>> {
    let mut extended = Vec::new();
    loop {
        let mut block = [0; BLOCK];
        let first = input.read(&mut block).await?;
        if first == 0 {
            bail!("the archive ends too early");
        }
        input.read_exact(&mut block[first..]).await?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        check(&block)?;
        let size = octal(&block[124..136])?;
        match block[156] {
            b'x' if size <= MAX_HEADER => {
                extended = vec![0; size as usize];
                input.read_exact(&mut extended).await?;
                skip_padding(input, size).await?;
            }
            b'0' | 0 => {
                let entry = describe(&extended, text(&block[..100]), size)?;
                if entry.key.is_empty() {
                    bail!("the archive holds a file that is not below {OBJECTS}");
                }
                return Ok(Some(entry));
            }
            // Folders, links, comments: nothing of ours.
            _ => {
                extended.clear();
                let mut rest = input.take(size.next_multiple_of(BLOCK as u64));
                tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
            }
        }
    }
}

/// Reads what fills up the last block of `len` bytes.
pub(super) async fn skip_padding(
    input: &mut (impl AsyncRead + Unpin),
    len: u64,
) -> anyhow::Result<()> {
    let mut rest = [0; BLOCK];
    input.read_exact(&mut rest[..padding(len)]).await?;
    Ok(())
}

fn padding(len: u64) -> usize {
    (len.next_multiple_of(BLOCK as u64) - len) as usize
}

/// What the headers say of a file.
fn describe(extended: &[u8], name: String, size: u64) -> anyhow::Result<Entry> {
    let (mut path, mut len, mut entry) = (name, size, None);
    let mut rest = extended;
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ');
        let space = space.context("an extended header cannot be read")?;
        let whole: usize = std::str::from_utf8(&rest[..space])?.parse()?;
        if whole <= space + 1 || whole > rest.len() {
            bail!("an extended header is cut off");
        }
        let record = std::str::from_utf8(&rest[space + 1..whole - 1])?;
        match record
            .split_once('=')
            .context("an extended header has no =")?
        {
            ("path", value) => path = value.to_owned(),
            ("size", value) => len = value.parse()?,
            (ATTRIBUTE, value) => entry = Some(serde_json::from_str::<Entry>(value)?),
            _ => {}
        }
        rest = &rest[whole..];
    }
    let mut entry = entry.unwrap_or_default();
    if entry.key.is_empty() {
        // Made by another program.
        entry.key = path.strip_prefix(OBJECTS).unwrap_or_default().to_owned();
    }
    entry.size = len;
    Ok(entry)
}

/// `LENGTH NAME=VALUE`, where the length counts itself.
fn record(name: &str, value: &str) -> String {
    let rest = format!(" {name}={value}\n");
    let mut len = rest.len() + 1;
    while len != rest.len() + len.to_string().len() {
        len = rest.len() + len.to_string().len();
    }
    format!("{len}{rest}")
}

fn header(name: &str, size: u64, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, &name.as_bytes()[..name.len().min(99)]);
    put(100, b"0000644");
    put(108, b"0000000");
    put(116, b"0000000");
    // What does not fit is in the extended header, which counts more.
    put(
        124,
        format!("{:011o}", size.min(0o77_777_777_777)).as_bytes(),
    );
    put(136, b"00000000000");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum = sum(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Of a header, with its own place taken as spaces.
fn sum(block: &[u8; BLOCK]) -> u64 {
    let sum = |part: &[u8]| part.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    sum(&block[..148]) + 8 * 32 + sum(&block[156..])
}

fn check(block: &[u8; BLOCK]) -> anyhow::Result<()> {
    if octal(&block[148..156])? != sum(block) {
        bail!("this is not an archive, or it is damaged");
    }
    Ok(())
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
}

fn octal(field: &[u8]) -> anyhow::Result<u64> {
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8).context("a number in the archive cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, size: u64) -> Entry {
        Entry {
            key: key.to_owned(),
            size,
            headers: [("content-type".to_owned(), "a=b\nc".to_owned())].into(),
            ..Entry::default()
        }
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        let long = "x".repeat(1_000);
        let entries = [entry("a", 3), entry(&long, 512), entry("ü/../ = 9", 0)];
        let mut archive = Vec::new();
        for entry in &entries {
            begin(&mut archive, entry).await.unwrap();
            archive.extend(vec![7; entry.size as usize]);
            pad(&mut archive, entry.size).await.unwrap();
        }
        end(&mut archive).await.unwrap();
        let mut input = &archive[..];
        for entry in entries {
            let found = next(&mut input).await.unwrap().unwrap();
            assert_eq!(found, entry);
            let mut bytes = vec![0; entry.size as usize];
            input.read_exact(&mut bytes).await.unwrap();
            assert!(bytes.iter().all(|byte| *byte == 7));
            skip_padding(&mut input, entry.size).await.unwrap();
        }
        assert!(next(&mut input).await.unwrap().is_none());
        for end in [0, 511, 600, 1_400] {
            assert!(next(&mut &archive[..end]).await.is_err(), "cut at {end}");
        }
        archive[2] ^= 1;
        assert!(next(&mut &archive[..]).await.is_err());
    }

    #[test]
    fn the_length_of_a_record_counts_itself() {
        assert_eq!(record("a", "b"), "6 a=b\n");
        let record = record("a", &"b".repeat(94));
        assert_eq!(record.len(), 101);
        assert!(record.starts_with("101 "));
    }
}
