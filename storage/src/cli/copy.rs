//! `quiz-storage export` and `quiz-storage import`: the whole bucket to a folder or an archive and back.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use http::Response;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};

use super::entry::Entry;
use super::folder::{self, Folder};
use super::s3::{Listed, S3};
use super::tar;
use crate::human;

/// Objects copied at one time.
const PARALLEL: usize = 8;
/// Objects that are named when they cannot be copied.
const NAMED: u64 = 10;
/// Pause between two lines that say how far it is.
const LINE: Duration = Duration::from_secs(5);

/// What has been done so far, told on stderr: stdout may be the archive.
struct Progress {
    copied: u64,
    bytes: u64,
    same: u64,
    failed: u64,
    told: Instant,
}

impl Progress {
    fn new() -> Self {
        Self {
            copied: 0,
            bytes: 0,
            same: 0,
            failed: 0,
            told: Instant::now(),
        }
    }

    fn copied(&mut self, size: u64) {
        self.copied += 1;
        self.bytes += size;
        if self.told.elapsed() > LINE {
            self.told = Instant::now();
            self.tell();
        }
    }

    fn failed(&mut self, key: &str, error: &anyhow::Error) {
        self.failed += 1;
        if self.failed <= NAMED {
            eprintln!("{key:?}: {error:#}");
        }
    }

    fn tell(&self) {
        let (copied, bytes) = (human::count(self.copied), human::bytes(self.bytes));
        let (same, failed) = (human::count(self.same), human::count(self.failed));
        eprintln!("{copied} objects copied ({bytes}), {same} were there already, {failed} failed");
    }

    /// Tells the end. Returns whether all went well.
    fn end(&self) -> bool {
        self.tell();
        self.failed == 0
    }
}

/// All objects of the bucket, in the order of their keys.
fn listed(s3: &S3) -> impl Stream<Item = anyhow::Result<Listed>> + Unpin {
    let pages = futures::stream::try_unfold(Some(String::new()), async move |after| {
        let Some(after) = after else {
            return anyhow::Ok(None);
        };
        let (found, more) = s3.list(&after).await?;
        let next = found.last().filter(|_| more).map(|last| last.key.clone());
        Ok(Some((
            futures::stream::iter(found.into_iter().map(Ok)),
            next,
        )))
    });
    Box::pin(pages.try_flatten())
}

/// An object and its bytes; `None` when it was deleted meanwhile.
async fn fetch(s3: &S3, listed: &Listed) -> anyhow::Result<Option<(Entry, Response<Incoming>)>> {
    let Some(reply) = s3.get(&listed.key).await? else {
        return Ok(None);
    };
    let length = reply.headers().get("content-length");
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.context("the store does not say how long the object is")?;
    let mut entry = Entry::of(&listed.key, length, reply.headers());
    entry.last_modified.clone_from(&listed.last_modified);
    Ok(Some((entry, reply)))
}

fn data(reply: Response<Incoming>) -> impl Stream<Item = anyhow::Result<Bytes>> + Unpin {
    reply.into_body().into_data_stream().map_err(Into::into)
}

/// Brings a folder up to date. What is there and unchanged is left alone, so an interrupted export is just run again.
pub(super) async fn export_folder(s3: &S3, dir: &Path) -> anyhow::Result<bool> {
    let folder = Folder::new(dir);
    let known = folder.known().await?;
    let mut journal = folder.journal().await?;
    let (mut progress, mut entries) = (Progress::new(), Vec::new());
    let (folder_ref, known_ref) = (&folder, &known);
    let copies = listed(s3).map_ok(|listed| async move {
        let copied = copy_to(s3, folder_ref, known_ref, &listed).await;
        Ok((listed.key, copied))
    });
    let mut copies = copies.try_buffered(PARALLEL);
    while let Some((key, copied)) = copies.try_next().await? {
        match copied {
            Ok(None) => {} // deleted meanwhile
            Ok(Some((entry, true))) => {
                journal.write_all(folder::line(&entry)?.as_bytes()).await?;
                progress.copied(entry.size);
                entries.push(entry);
            }
            Ok(Some((entry, false))) => {
                progress.same += 1;
                entries.push(entry);
            }
            Err(error) => progress.failed(&key, &error),
        }
    }
    journal.flush().await?;
    if progress.failed == 0 {
        folder.end(&entries).await?;
        remove_others(&folder, &known, &entries).await?;
    }
    Ok(progress.end())
}

/// Copies an object unless it is there. Returns its entry and whether it was copied.
async fn copy_to(
    s3: &S3,
    folder: &Folder,
    known: &BTreeMap<String, Entry>,
    listed: &Listed,
) -> anyhow::Result<Option<(Entry, bool)>> {
    if let Some(entry) = known.get(&listed.key)
        && entry.etag.trim_matches('"') == listed.etag.trim_matches('"')
        && entry.last_modified == listed.last_modified
        && folder.has(entry).await
    {
        return Ok(Some((entry.clone(), false)));
    }
    let Some((mut entry, reply)) = fetch(s3, listed).await? else {
        return Ok(None);
    };
    folder.write(&mut entry, data(reply)).await?;
    Ok(Some((entry, true)))
}

/// Removes the files of objects that earlier exports have brought here and that are not in the bucket any more.
async fn remove_others(
    folder: &Folder,
    known: &BTreeMap<String, Entry>,
    entries: &[Entry],
) -> anyhow::Result<()> {
    let files: std::collections::BTreeSet<&str> =
        entries.iter().map(|entry| entry.file.as_str()).collect();
    for entry in known.values() {
        if !entry.file.is_empty() && !files.contains(entry.file.as_str()) {
            folder.remove(entry).await?;
        }
    }
    Ok(())
}

/// Writes an archive to stdout.
pub(super) async fn export_archive(s3: &S3) -> anyhow::Result<bool> {
    let mut out = BufWriter::new(tokio::io::stdout());
    let mut progress = Progress::new();
    let mut objects = listed(s3);
    while let Some(listed) = objects.try_next().await? {
        let Some((entry, reply)) = fetch(s3, &listed).await? else {
            continue;
        };
        tar::begin(&mut out, &entry).await?;
        let (mut data, mut len) = (data(reply), 0);
        while let Some(piece) = data.try_next().await? {
            len += piece.len() as u64;
            out.write_all(&piece).await?;
        }
        if len != entry.size {
            anyhow::bail!("{:?} has {len} bytes instead of {}", entry.key, entry.size);
        }
        tar::pad(&mut out, len).await?;
        progress.copied(len);
    }
    tar::end(&mut out).await?;
    Ok(progress.end())
}

/// Writes the objects of a folder to the bucket, except those that are there already.
pub(super) async fn import_folder(s3: &S3, dir: &Path) -> anyhow::Result<bool> {
    let folder = Folder::new(dir);
    let entries = folder.entries().await?;
    let mut progress = Progress::new();
    let folder = &folder;
    let copies = entries
        .iter()
        .map(async |entry| (entry, copy_from(s3, folder, entry).await));
    let mut copies = futures::stream::iter(copies).buffer_unordered(PARALLEL);
    while let Some((entry, copied)) = copies.next().await {
        match copied {
            Ok(true) => progress.copied(entry.size),
            Ok(false) => progress.same += 1,
            Err(error) => progress.failed(&entry.key, &error),
        }
    }
    Ok(progress.end())
}

/// Writes an object unless it is there. Returns whether it was written.
async fn copy_from(s3: &S3, folder: &Folder, entry: &Entry) -> anyhow::Result<bool> {
    if is_there(s3, entry).await? {
        return Ok(false);
    }
    let file = folder.open(entry).await?;
    let written = s3.put(&entry.key, entry.headers()?, entry.size, file).await;
    written.map(|_| true)
}

/// Writes the objects of an archive on stdin to the bucket, except those that are there already.
pub(super) async fn import_archive(s3: &S3) -> anyhow::Result<bool> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut progress = Progress::new();
    while let Some(entry) = tar::next(&mut input).await? {
        let mut bytes = (&mut input).take(entry.size);
        if is_there(s3, &entry).await? {
            progress.same += 1;
        } else {
            let headers = entry.headers()?;
            match s3.put(&entry.key, headers, entry.size, &mut bytes).await {
                Ok(_) => progress.copied(entry.size),
                Err(error) => progress.failed(&entry.key, &error),
            }
        }
        tokio::io::copy(&mut bytes, &mut tokio::io::sink()).await?;
        tar::skip_padding(&mut input, entry.size).await?;
    }
    Ok(progress.end())
}

/// Whether the bucket has the same object.
async fn is_there(s3: &S3, entry: &Entry) -> anyhow::Result<bool> {
    let Some(headers) = s3.head(&entry.key).await? else {
        return Ok(false);
    };
    let length = headers.get("content-length");
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    Ok(length.is_some_and(|length| entry.is(&Entry::of(&entry.key, length, &headers))))
}
