#![no_main]
use wireboot_proto::trust::policy::Policy;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut policy = Policy::default();
    let lines = String::from_utf8_lossy(data);
    let is_read = policy.read(&lines);
    let url = "https://boot.example.com/k".parse();
    if let (Ok(()), Ok(url)) = (is_read, url) {
        let is_free = policy.schemes.is_empty() && policy.hosts.is_empty();
        assert!(!is_free || policy.refusal(&url).is_none());
    }
});
