//! How much memory a node takes for large objects.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::presigned;
use crate::process::start_with;

const CLIENTS: usize = 64;
const MIB: usize = 1024 * 1024;
/// The most memory a node may have resident, whatever the size of the objects.
const MOST_KIB: u64 = 400 * 1024;

/// Size of each object in MiB; `make test-full` sets 256, of which three copies of 64 need 48 GiB of disk.
const MIB_EACH: &str = "STORAGE_TEST_OBJECT_MIB";

fn object_mib() -> usize {
    let given = std::env::var_os(MIB_EACH);
    given.map_or(16, |mib| mib.to_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn many_large_uploads_and_downloads_at_once_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    // Small disks are slow, and it is about memory; with large objects and time, syncing takes part.
    let fsync = std::env::var_os(MIB_EACH).is_some().to_string();
    let nodes = start_with(folder.path(), &[("STORAGE_FSYNC", fsync.as_str())]).await;
    let (store, address) = (nodes[0].store(), nodes[0].s3);
    let mib = object_mib();
    let uploads = (0..CLIENTS).map(async |i| {
        let target = presigned(&store, http::Method::PUT, &format!("{i}")).await;
        // Told to slow down, clients try again.
        for _ in 0..5 {
            if let Ok(reply) = upload(address, &target, mib).await
                && reply.contains(" 200 ")
            {
                return reply;
            }
        }
        String::new()
    });
    let replies = futures::future::join_all(uploads).await;
    let done = replies.iter().filter(|reply| reply.contains(" 200 "));
    assert_eq!(done.count(), CLIENTS, "{replies:?}");
    let written = peak_kib(nodes[0].child.id());
    let downloads = (0..CLIENTS).map(async |i| {
        let target = presigned(&store, http::Method::GET, &format!("{i}")).await;
        download(address, &target).await
    });
    for len in futures::future::join_all(downloads).await {
        assert!(len > mib * MIB, "{len} bytes");
    }
    let read = peak_kib(nodes[0].child.id());
    println!("{CLIENTS} x {mib} MiB: peak {written} KiB written, {read} KiB read");
    assert!(written < MOST_KIB && read < MOST_KIB, "{written}, {read}");
    // Those that were sent the copies.
    for node in &nodes[1..] {
        assert!(peak_kib(node.child.id()) < MOST_KIB);
    }
}

/// Puts `mib` MiB and returns the first line of the reply.
async fn upload(to: SocketAddr, target: &str, mib: usize) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(to).await?;
    let len = mib * MIB;
    let head = format!("PUT {target} HTTP/1.1\r\nhost: {to}\r\ncontent-length: {len}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let piece = vec![7; 64 * 1024];
    for _ in 0..len / piece.len() {
        stream.write_all(&piece).await?;
    }
    let mut reply = vec![0; 200];
    let read = stream.read(&mut reply).await?;
    let reply = String::from_utf8_lossy(&reply[..read]);
    Ok(reply.lines().next().unwrap_or_default().to_owned())
}

/// Gets an object and returns the bytes of the reply.
async fn download(from: SocketAddr, target: &str) -> usize {
    let mut stream = TcpStream::connect(from).await.unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nhost: {from}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut piece = vec![0; 64 * 1024];
    let mut len = 0;
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        len += read;
    }
    len
}

/// The most memory that a process has had resident.
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse().unwrap()
}
