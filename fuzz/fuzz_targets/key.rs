#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_credentials::vault::file::fuzz;

fuzz_target!(|bytes: &[u8]| fuzz::key(bytes));
