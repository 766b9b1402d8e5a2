#![no_main]
// Four numbers, and a map behind them.
libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((numbers, map)) = data.split_at_checked(16) else {
        return;
    };
    let number = |at: usize| {
        let four = [
            numbers[at],
            numbers[at + 1],
            numbers[at + 2],
            numbers[at + 3],
        ];
        u64::from(u32::from_le_bytes(four)) << (numbers[at] % 8)
    };
    let lens = [number(0), number(4), number(8)];
    let map = String::from_utf8_lossy(map);
    wireboot::fuzzing::placement(&map, lens, number(12) % (2 << 20));
});
