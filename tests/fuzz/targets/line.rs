#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    graven_fuzz::line(bytes);
});
