//! What the index keeps across a restart.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use crate::version::State;
use crate::wire::{FeedQuery, Fence, Folder, Verdict};

const ID: [u8; 16] = [3; 16];

const fn ballot(micros: u64) -> Ballot {
    Ballot { micros, node: 1 }
}

fn version(micros: u64) -> Version {
    Version::after(None, Ballot::ZERO, Ballot { micros, node: 1 }, State::Tomb)
}

async fn accept(index: &Index, key: &str, micros: u64) {
    let ballot = Ballot { micros, node: 1 };
    let accepted = index.accept(key.to_owned(), ballot, version(micros)).await;
    accepted.unwrap().unwrap();
}

#[tokio::test]
async fn promises_values_and_the_reserve_survive_a_restart() {
    for fsync in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        assert!(Index::create(dir.path(), ID).unwrap());
        let index = Index::open(dir.path(), ID, fsync).unwrap();
        accept(&index, "a", 5).await;
        let high = Ballot { micros: 9, node: 2 };
        index.prepare("a".to_owned(), high).await.unwrap().unwrap();
        index.reserve(77).await.unwrap();
        drop(index);

        let index = Index::open(dir.path(), ID, fsync).unwrap();
        assert_eq!(index.reserve_found(), 77);
        assert_eq!(index.read("a").unwrap().1, Some(version(5)));
        let low = Ballot { micros: 8, node: 3 };
        let refused = index.accept("a".to_owned(), low, version(8)).await.unwrap();
        assert_eq!(refused, Err(Nack { at_least: high }));
    }
}

/// As they are after a few restarts, or from a node whose clock is wrong.
#[tokio::test]
async fn a_leftover_whose_ballot_is_ahead_of_the_clock_is_old_when_it_has_been_known_for_long() {
    let dir = tempfile::tempdir().unwrap();
    Index::create(dir.path(), ID).unwrap();
    let index = Index::open(dir.path(), ID, false).unwrap();
    let ahead = u64::MAX / 2;
    accept(&index, "tombstone", ahead).await;
    let promised = index.prepare("promise".to_owned(), ballot(ahead)).await;
    promised.unwrap().unwrap();
    let (now, later) = (Duration::ZERO, Duration::from_secs(3_600));
    let tombstone = ("tombstone".to_owned(), ballot(ahead));
    assert_eq!(index.old_tombstones(now, 9), [tombstone]);
    assert_eq!(index.old_promises(now, 9), ["promise"]);
    assert!(index.old_tombstones(later, 9).is_empty());
    assert!(index.old_promises(later, 9).is_empty());
}

#[tokio::test]
async fn the_feed_has_one_entry_per_key_at_its_last_change() {
    let dir = tempfile::tempdir().unwrap();
    Index::create(dir.path(), ID).unwrap();
    let index = Index::open(dir.path(), ID, false).unwrap();
    for (key, micros) in [("a", 1), ("b", 2), ("a", 3)] {
        accept(&index, key, micros).await;
    }
    let read = index.db.begin_read().unwrap();
    let feed = read.open_table(FEED).unwrap();
    let entries: Vec<_> = feed
        .iter()
        .unwrap()
        .map(|entry| {
            let (seq, key) = entry.unwrap();
            (seq.value(), key.value().to_owned())
        })
        .collect();
    assert_eq!(entries, [(2, "b".to_owned()), (3, "a".to_owned())]);
}

/// A page that reaches the former end of the feed is not the last when a key has moved beyond it meanwhile.
#[tokio::test]
async fn a_page_of_the_feed_says_whether_there_is_more_by_now() {
    let dir = tempfile::tempdir().unwrap();
    Index::create(dir.path(), ID).unwrap();
    let index = Index::open(dir.path(), ID, false).unwrap();
    for key in ["a", "b", "c"] {
        accept(&index, key, 1).await;
    }
    let page = |after| {
        let query = FeedQuery {
            feed_id: index.feed_id(),
            after,
            done: 0,
            puller: 2,
            limit: 1,
        };
        let page = index.feed(&query).unwrap();
        let keys: Vec<_> = page.rows.into_iter().map(|row| row.key).collect();
        (keys.concat(), page.end, page.more)
    };
    assert_eq!(page(0), ("a".to_owned(), 1, true));
    accept(&index, "b", 2).await;
    assert_eq!(page(1), ("c".to_owned(), 3, true));
    assert_eq!(page(3), ("b".to_owned(), 4, false));
    assert_eq!(page(4), (String::new(), 4, false));
}

#[tokio::test]
async fn a_page_ends_at_the_limit_and_leaves_out_what_is_only_promised() {
    let dir = tempfile::tempdir().unwrap();
    Index::create(dir.path(), ID).unwrap();
    let index = Index::open(dir.path(), ID, false).unwrap();
    for key in ["p/a", "p/b", "p/c", "q"] {
        accept(&index, key, 1).await;
    }
    let ballot = Ballot { micros: 1, node: 1 };
    index
        .prepare("p/aa".to_owned(), ballot)
        .await
        .unwrap()
        .unwrap();
    let mut listing = Listing {
        prefix: "p/".to_owned(),
        from: "p/".to_owned(),
        after: false,
        limit: 2,
    };
    let page = index.list(&listing).unwrap();
    let keys = |page: &ListPage| page.rows.iter().map(|r| r.key.clone()).collect::<Vec<_>>();
    assert_eq!(
        (keys(&page), page.more),
        (vec!["p/a".to_owned(), "p/b".to_owned()], true)
    );
    listing.from = "p/b".to_owned();
    listing.after = true;
    let page = index.list(&listing).unwrap();
    assert_eq!((keys(&page), page.more), (vec!["p/c".to_owned()], false));
}

#[test]
fn the_index_of_another_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    Index::create(dir.path(), ID).unwrap();
    assert!(matches!(
        Index::open(dir.path(), [4; 16], true),
        Err(Error::OtherStore)
    ));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(
        Index::open(empty.path(), ID, true),
        Err(Error::Missing(_))
    ));
}

#[tokio::test]
async fn an_index_in_use_is_not_created_again() {
    let dir = tempfile::tempdir().unwrap();
    Index::create(dir.path(), ID).unwrap();
    assert!(Index::create(dir.path(), ID).unwrap(), "still unused");
    let index = Index::open(dir.path(), ID, false).unwrap();
    accept(&index, "a", 1).await;
    drop(index);
    assert!(!Index::create(dir.path(), ID).unwrap());
}

#[test]
fn a_folder_in_use_cannot_be_opened_a_second_time() {
    let dir = tempfile::tempdir().unwrap();
    Index::create(dir.path(), ID).unwrap();
    for (first, second) in [(true, true), (false, false), (true, false), (false, true)] {
        let index = Index::open(dir.path(), ID, first).unwrap();
        let again = Index::open(dir.path(), ID, second);
        assert!(
            matches!(again, Err(Error::InUse)),
            "fsync {first}, then {second}: {again:?}"
        );
        drop(index);
    }
}

#[test]
fn an_index_whose_creation_was_cut_short_is_created_again() {
    let whole = tempfile::tempdir().unwrap();
    Index::create(whole.path(), ID).unwrap();
    let bytes = fs::read(whole.path().join(FILE)).unwrap();
    for len in [0, 1, 64, 4_096, bytes.len() / 2, bytes.len()] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(TEMPORARY), &bytes[..len]).unwrap();
        let created = Index::create(dir.path(), [9; 16]);
        assert!(
            matches!(created, Ok(true)),
            "after {len} bytes: {created:?}"
        );
        assert!(!dir.path().join(TEMPORARY).exists());
        Index::open(dir.path(), [9; 16], false).unwrap();
    }
}

#[test]
fn an_unused_index_is_replaced_by_one_of_the_new_store() {
    let dir = tempfile::tempdir().unwrap();
    Index::create(dir.path(), ID).unwrap();
    drop(Index::open(dir.path(), ID, false).unwrap());
    assert!(Index::create(dir.path(), [9; 16]).unwrap());
    Index::open(dir.path(), [9; 16], false).unwrap();
}

#[tokio::test]
async fn an_index_that_only_reserved_ballots_is_not_created_again() {
    let dir = tempfile::tempdir().unwrap();
    Index::create(dir.path(), ID).unwrap();
    let index = Index::open(dir.path(), ID, false).unwrap();
    index.reserve(7).await.unwrap();
    drop(index);
    assert!(!Index::create(dir.path(), ID).unwrap());
}

/// Replaces one byte in the middle of a value, as a failing disk would that redb's own checksums do not see.
fn damage(db: &Database, table: TableDefinition<'_, &str, &[u8]>, name: &str) {
    let write = db.begin_write().unwrap();
    {
        let mut table = write.open_table(table).unwrap();
        let mut bytes = table.get(name).unwrap().unwrap().value().to_vec();
        let middle = (bytes.len() - 8) / 2;
        bytes[middle] ^= 1;
        table.insert(name, &bytes[..]).unwrap();
    }
    write.commit().unwrap();
}

#[tokio::test]
async fn a_damaged_row_is_neither_read_nor_opened() {
    let dir = tempfile::tempdir().unwrap();
    Index::create(dir.path(), ID).unwrap();
    let index = Index::open(dir.path(), ID, false).unwrap();
    accept(&index, "a", 5).await;
    accept(&index, "b", 5).await;
    damage(&index.db, REG, "a");
    assert!(matches!(index.read("a"), Err(Error::Damaged(key)) if key == "a"));
    assert!(index.read("b").is_ok());
    assert!(matches!(index.versions(), Err(Error::Damaged(_))));
    drop(index);
    let opened = Index::open(dir.path(), ID, false);
    assert!(matches!(opened, Err(Error::Damaged(key)) if key == "a"));
}

#[tokio::test]
async fn a_damaged_ballot_reserve_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    Index::create(dir.path(), ID).unwrap();
    let index = Index::open(dir.path(), ID, false).unwrap();
    index.reserve(1_700_000_000_000_000).await.unwrap();
    damage(&index.db, META, RESERVE);
    drop(index);
    let opened = Index::open(dir.path(), ID, false);
    assert!(matches!(opened, Err(Error::Damaged(name)) if name == RESERVE));
}

/// Set in a process that runs one test alone, to its bitter end.
const CHILD: &str = "QUIZ_STORAGE_TEST_CHILD";

/// Runs one of the tests here that end their process, by its name; its folder is `dir`.
fn run_in_a_process(test: &str, dir: &std::path::Path) -> std::process::Output {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args([&format!("index::tests::{test}"), "--exact", "--nocapture"]);
    child.current_dir(dir).env("TMPDIR", dir).env(CHILD, "1");
    child.output().unwrap()
}

/// Storage that panics at the next sync once it is armed, as redb does on some damaged pages.
#[derive(Debug)]
struct Trap(redb::backends::InMemoryBackend, Arc<AtomicBool>);

impl redb::StorageBackend for Trap {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        assert!(!self.1.load(Ordering::SeqCst), "a damaged page");
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

fn write_to_an_index_that_panics() {
    crate::log::start(crate::config::LogFormat::Text);
    let armed = Arc::new(AtomicBool::new(false));
    let trap = Trap(redb::backends::InMemoryBackend::new(), Arc::clone(&armed));
    let db = Arc::new(redb::Builder::new().create_with_backend(trap).unwrap());
    let writer = writer::Writer::new(
        db,
        Limits::default(),
        1,
        Cursors::default(),
        writer::Shared::default(),
    );
    let (ops, queue) = mpsc::channel(1);
    let (reply, answer) = oneshot::channel();
    armed.store(true, Ordering::SeqCst);
    ops.blocking_send(Op::Reserve { upto: 7, reply }).unwrap();
    let ended = std::thread::spawn(move || futures::executor::block_on(writer.run(queue))).join();
    println!("survived: {answer:?}, {ended:?}");
}

#[test]
fn a_writer_that_panics_ends_the_process() {
    use std::os::unix::process::ExitStatusExt as _;
    if std::env::var_os(CHILD).is_some() {
        return write_to_an_index_that_panics();
    }
    let dir = tempfile::tempdir().unwrap();
    let ended = run_in_a_process("a_writer_that_panics_ends_the_process", dir.path());
    let said = String::from_utf8_lossy(&ended.stderr) + String::from_utf8_lossy(&ended.stdout);
    assert!(said.contains("panicked at"), "{said}");
    assert!(
        said.contains("aborting") && said.contains("check the disk"),
        "{said}"
    );
    assert_eq!(ended.status.signal(), Some(6), "{said}");
}

#[test]
fn an_index_of_format_2_is_brought_to_this_one_with_all_that_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let superblock = crate::superblock::init(dir.path(), 1).unwrap();
    let id = superblock.store_id;
    {
        // What format 2 had in place of today's tables, and a row as both write it.
        let db = Database::open(dir.path().join(FILE)).unwrap();
        let write = db.begin_write().unwrap();
        write.delete_table(PULLED).unwrap();
        write.delete_table(ACKED).unwrap();
        write.open_table(CURSOR).unwrap();
        let row = Row {
            register: crate::register::Register {
                promised: ballot(7),
                accepted: ballot(7),
                value: Some(Version::after(None, Ballot::ZERO, ballot(7), State::Tomb)),
            },
            seq: 1,
        };
        let mut reg = write.open_table(REG).unwrap();
        reg.insert("key", &seal("key", &row)[..]).unwrap();
        let mut feed = write.open_table(FEED).unwrap();
        feed.insert(1, "key").unwrap();
        let mut meta = write.open_table(META).unwrap();
        meta.insert(NEXT_SEQ, &seal(NEXT_SEQ, &2_u64)[..]).unwrap();
        drop((reg, feed, meta));
        write.commit().unwrap();
        let text = format!(
            "quizstack-storage 2\nstore_id {}\nnode 1\n",
            hex::encode(id)
        );
        std::fs::write(dir.path().join("superblock"), text).unwrap();
    }
    assert_eq!(crate::superblock::load(dir.path(), 1).unwrap(), superblock);
    for _ in 0..2 {
        let index = Index::open(dir.path(), id, false).unwrap();
        assert_eq!(index.read("key").unwrap().0, ballot(7));
        assert_eq!((index.last_seq(), index.behind(2)), (1, 1));
    }
    let text = std::fs::read_to_string(dir.path().join("superblock")).unwrap();
    assert!(text.starts_with("quizstack-storage 4\n"), "{text}");
}

#[test]
fn an_index_whose_feed_lost_an_entry_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let id = [7; 16];
    assert!(Index::create(dir.path(), id).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let index = Index::open(dir.path(), id, false).unwrap();
    for key in ["a", "b"] {
        let version = Version::after(None, Ballot::ZERO, ballot(1), State::Tomb);
        let accepted = index.accept(key.to_owned(), ballot(1), version);
        runtime.block_on(accepted).unwrap().unwrap();
    }
    drop(index);
    for (seq, key) in [(2, None), (2, Some("a")), (3, Some("b"))] {
        let db = Database::open(dir.path().join(FILE)).unwrap();
        let write = db.begin_write().unwrap();
        let mut feed = write.open_table(FEED).unwrap();
        feed.remove(2).unwrap();
        if let Some(key) = key {
            feed.insert(seq, key).unwrap();
        }
        drop(feed);
        write.commit().unwrap();
        drop(db);
        let refused = Index::open(dir.path(), id, false);
        assert!(matches!(refused, Err(Error::Damaged(_))), "{refused:?}");
    }
}

/// As after a line that delivered it twice, the second time much later.
#[tokio::test]
async fn a_fence_of_an_earlier_rebuilding_says_nothing_of_the_folder_that_there_is_now() {
    let dir = tempfile::tempdir().unwrap();
    Index::create(dir.path(), ID).unwrap();
    let index = Index::open(dir.path(), ID, false).unwrap();
    let folder = |feed: u8, commits, run| Folder {
        node: 2,
        feed_id: [feed; 16],
        commits,
        run,
    };
    index.meet(2, [7; 16]);
    index.save_members().await.unwrap();
    let fence = |micros, from| Fence {
        fence: ballot(micros),
        from,
    };
    let (first, second) = (fence(5, folder(8, 1, 1)), fence(9, folder(9, 1, 2)));
    index.fence(&first).await.unwrap();
    index.fence(&second).await.unwrap();
    let now = folder(9, 6, 2);
    assert_eq!(index.members().saw(&now), Verdict::Welcome);
    for late in [first, second] {
        index.fence(&late).await.unwrap();
        assert_eq!(index.members().saw(&now), Verdict::Welcome, "{late:?}");
        let copy = folder(9, 5, 3);
        let verdict = index.members().saw(&copy);
        assert_eq!(verdict, Verdict::RolledBack, "{late:?}");
        assert_eq!(index.highest(), ballot(9));
    }
}
