//! What a fuzzer once found worth keeping (`lb/fuzz`, `make fuzz`) holds in every build.

use std::{fs, path::Path};

#[path = "../../fuzz/drivers.rs"]
mod drivers;

fn replay(target: &str, driver: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = fs::read_dir(corpus.join(target)).expect("there is a corpus");
    let mut replayed = 0;
    for file in files {
        let path = file.expect("it can be listed").path();
        driver(&fs::read(path).expect("it can be read"));
        replayed += 1;
    }
    assert!(replayed > 0, "{target} has no corpus");
}

#[test]
fn the_corpus_of_every_fuzz_target_passes() {
    replay("config", drivers::config);
    replay("proxy_header", drivers::proxy_header);
    replay("dns", drivers::dns);
    replay("framing", drivers::framing);
}
