#![no_main]
use wireboot_proto::text::url::Url;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (base, reference) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(url) = base.parse::<Url>() {
        if let Ok(again) = url.to_string().parse::<Url>() {
            assert_eq!(again.to_string(), url.to_string());
        }
        let _ = (
            url.join(reference),
            url.beside(reference),
            url.with_file_name(reference),
        );
    }
    let _ = Url::tftp("192.0.2.1", base);
});
