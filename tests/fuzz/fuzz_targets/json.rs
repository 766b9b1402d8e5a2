#![no_main]
use wireboot_fuzz::budget;
use wireboot_proto::text::json::Json;

/// More than a value takes that two bytes of text can be, with the growth of the vector it is in.
const VALUE_LEN: u64 = 512;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Some(json) = budget::linear(text.len(), VALUE_LEN, || Json::parse(text)) else {
        return;
    };
    // The limit of values is kept to the last one.
    let (values, depth) = extent_of(&json);
    assert!(depth <= 17);
    assert_eq!(Json::parse_within(text, values).as_ref(), Some(&json));
    assert_eq!(Json::parse_within(text, values - 1), None);
});

/// Returns how many values there are, and how many are within each other.
fn extent_of(json: &Json) -> (u32, u32) {
    let inner: Vec<&Json> = match json {
        Json::Array(values) => values.iter().collect(),
        Json::Object(members) => members.iter().map(|(_, value)| value).collect(),
        Json::Number(_) | Json::Other | Json::Text(_) => Vec::new(),
    };
    let inner = inner.into_iter().map(extent_of);
    inner.fold((1, 1), |(values, depth), (more, below)| {
        (values + more, depth.max(below + 1))
    })
}
