#![no_main]
use wireboot_proto::trust::signature::{Keys, Signature};
use wireboot_proto::trust::sums::Sums;

const KEY: &str = "RWT91LRtexC87fNKxFfV3/R29qj91MclNhbBK3rFk5Q1jOviuGZC82aP";

// A list of hashes, keys, or a signature; nobody here can make a good one.
libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(sums) = text.parse::<Sums>() {
        let _ = sums.of("f");
    }
    let mut keys = Keys::default();
    let _ = keys.add(text);
    keys.add(KEY).expect("it is a key");
    if let Ok(signature) = text.parse::<Signature>()
        && let Ok(mut check) = keys.check(&signature)
    {
        check.update(b"file");
        assert!(check.finish("file").is_err());
    }
});
