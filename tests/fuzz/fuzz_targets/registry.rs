#![no_main]
use wireboot_proto::boot::Architecture;
use wireboot_proto::oci::{
    Challenge, Manifest, Reference, Whiteout, credentials_in, repository_of, token_in,
};
use wireboot_proto::text::json::Json;
use wireboot_proto::text::url::Url;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let url: Url = "https://h.example:5000/v2/team/app/manifests/1"
        .parse()
        .unwrap();
    let reference = Reference::parse("oci://h.example:5000/team/app:1")
        .unwrap()
        .unwrap();
    for here in [Architecture::X86_64, Architecture::Other] {
        match Manifest::parse(data, here) {
            Ok(Manifest::Index(digest)) => is_pinned(&reference, "manifests", &digest),
            Ok(Manifest::Layers(layers)) => {
                assert!(!layers.is_empty());
                for layer in layers {
                    is_pinned(&reference, "blobs", &layer.digest);
                    let _ = (layer.role(), layer.is_of_image());
                }
            }
            Err(_) => {}
        }
    }
    let _ = token_in(data);
    if let Some(Whiteout::Name(folder, name)) = Whiteout::of(data) {
        assert!(data.starts_with(folder) && data.ends_with(name));
        assert!(!matches!(name, b"" | b"." | b"..") && !name.contains(&b'/'));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(file) = Json::parse(text) {
        let _ = credentials_in(&file, &url);
    }
    if let Some(challenge @ Challenge::Token(_)) = Challenge::parse(text, &url) {
        let Challenge::Token(at) = &challenge else {
            return;
        };
        // It asks for reading, and for this repository, whatever the challenge has.
        let query = at.query().unwrap_or_default();
        assert!(
            query.ends_with("&scope=repository:team/app:pull"),
            "{query}"
        );
        assert_eq!(
            challenge.may_have_credentials(&url),
            at.to_string().starts_with("https:")
        );
    }
    if let Some(Ok(reference)) = Reference::parse(text)
        && let Ok(manifest) = reference.manifest()
    {
        assert!(manifest.path().starts_with("/v2/"), "{manifest}");
        assert_eq!(reference.unpinned().is_none(), manifest.sha256().is_some());
        assert!(repository_of(&manifest).is_some(), "{manifest}");
    }
});

fn is_pinned(reference: &Reference, kind: &str, digest: &str) {
    let url = reference.pinned(kind, digest).unwrap();
    assert!(url.sha256().is_some(), "{url}");
    assert_eq!(repository_of(&url), Some("team/app"));
}
