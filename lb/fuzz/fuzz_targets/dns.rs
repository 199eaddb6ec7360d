#![no_main]

#[expect(dead_code, reason = "the other targets use the rest")]
#[path = "../drivers.rs"]
mod drivers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drivers::dns(bytes));
