use super::*;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

#[test]
fn every_part_of_a_url_is_found() {
    let url = url(
        "HTTPS://me:s%40cret@boot.example:8443/a b/%7Ex?mac=52:54&y#sha256=\
         00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
    );
    assert_eq!(url.scheme(), Scheme::Https);
    assert_eq!(url.credentials(), Some("me:s@cret"));
    assert_eq!((url.host(), url.port()), ("boot.example", 8443));
    assert_eq!(url.request_target(), "/a%20b/%7Ex?mac=52:54&y");
    assert_eq!(url.file_name(), "%7Ex");
    assert_eq!(url.sha256().unwrap().0[..3], [0x00, 0x11, 0x22]);
}

#[test]
fn credentials_are_printed_nowhere() {
    let secret = url("http://me:secret@192.0.2.1/x");
    assert_eq!(secret.to_string(), "http://192.0.2.1/x");
    assert_eq!(format!("{secret:?}"), "http://192.0.2.1/x");
    for wrong in [
        "http://me:secret@192.0.2.1:0/x",
        "nfs://me:secret@h/x",
        "http://me:secret@h/x#md5=1",
        "http://me:secret@h/\u{1}",
    ] {
        let error = wrong.parse::<Url>().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn a_tftp_url_names_a_file_as_the_server_means_it() {
    for (text, file, printed) in [
        (
            "tftp://192.0.2.1/boot/vmlinuz",
            "boot/vmlinuz",
            "tftp://192.0.2.1/boot/vmlinuz",
        ),
        (
            "tftp://192.0.2.1//srv/a",
            "/srv/a",
            "tftp://192.0.2.1//srv/a",
        ),
        (
            "tftp://192.0.2.1:1069/a%20b?c",
            "a b?c",
            "tftp://192.0.2.1:1069/a%20b?c",
        ),
        ("tftp://h/a;mode=octet", "a", "tftp://h/a"),
        (
            "tftp://h/a%3Bmode=octet;mode=octet",
            "a;mode=octet",
            "tftp://h/a%3Bmode=octet",
        ),
    ] {
        let url = url(text);
        assert_eq!(url.tftp_file(), file);
        assert_eq!(url.to_string(), printed);
        assert_eq!(printed.parse::<Url>().unwrap(), url);
    }
    let literal = Url::tftp("192.0.2.1", "/odd#name%20?").unwrap();
    assert_eq!(literal.tftp_file(), "/odd#name%20?");
    assert_eq!(url(&literal.to_string()), literal);
}

#[test]
fn references_resolve_as_in_rfc_3986() {
    let base = url("http://me:pw@a:81/b/c/d;p?q");
    for (reference, expected) in [
        ("g", "http://a:81/b/c/g"),
        ("./g", "http://a:81/b/c/g"),
        ("g/", "http://a:81/b/c/g/"),
        ("/g", "http://a:81/g"),
        ("//g", "http://g/"),
        ("?y", "http://a:81/b/c/d;p?y"),
        ("g?y", "http://a:81/b/c/g?y"),
        ("", "http://a:81/b/c/d;p?q"),
        (".", "http://a:81/b/c/"),
        ("..", "http://a:81/b/"),
        ("../g", "http://a:81/b/g"),
        ("../../../g", "http://a:81/g"),
        ("/a/b/c/./../../g", "http://a:81/a/g"),
        ("g:h", "http://a:81/b/c/g:h"),
        ("tftp://192.0.2.1/x", "tftp://192.0.2.1/x"),
    ] {
        let joined = base.join(reference).unwrap();
        assert_eq!(joined.to_string(), expected, "{reference}");
        let same_host = expected.starts_with("http://a:81/");
        assert_eq!(joined.credentials().is_some(), same_host, "{reference}");
    }
}

#[test]
fn file_names_beside_a_tftp_file_keep_its_first_slash() {
    let absolute = url("tftp://h//srv/boot/pxelinux.0");
    assert_eq!(absolute.join("a/b").unwrap().tftp_file(), "/srv/boot/a/b");
    assert_eq!(absolute.join("../x?y").unwrap().tftp_file(), "/srv/x?y");
    let windows = Url::tftp("h", r"boot\x64\wdsnbp.com").unwrap();
    assert_eq!(windows.join("bcd").unwrap().tftp_file(), r"boot\x64\bcd");
    assert_eq!(absolute.with_file_name("/a").unwrap().tftp_file(), "/a");
    assert_eq!(absolute.with_file_name("a").unwrap().tftp_file(), "a");
    let http = url("http://h/x/y").with_file_name("/a").unwrap();
    assert_eq!(http.to_string(), "http://h/a");
}

#[test]
fn what_is_no_url_is_refused_with_its_place() {
    for (text, column, what) in [
        (
            "boot/x",
            1,
            "a URL must begin with tftp://, http:// or https://",
        ),
        ("ftp://h/x", 1, "only tftp, http and https can be fetched"),
        ("http:///x", 8, "the host is missing"),
        ("http://a:b@/x", 12, "the host is missing"),
        ("http://h:99999/x", 8, "a port is 1 to 65535"),
        ("http://h:+80/x", 8, "the port is not a number"),
        ("http://[::1/x", 8, "the ] is missing"),
        ("http://[1::2::3]/x", 8, "not an IPv6 address"),
        ("http://a b/x", 8, "a character that host names cannot have"),
        ("http://h/x#y", 11, "only sha256= is supported after #"),
        (
            "http://h/x#sha256=00",
            11,
            "a SHA-256 is 64 hexadecimal digits",
        ),
        ("tftp://h/", 9, "the file name is missing"),
        ("tftp://h/%0a", 9, "a control character in the file name"),
        ("tftp://u@h/x", 8, "TFTP has no user names"),
        ("http://h/a\nb", 11, "a control character"),
    ] {
        let error = text.parse::<Url>().unwrap_err();
        assert_eq!((error.column, error.what), (column, what), "{text}");
    }
    assert!(
        format!("http://h/{}", "x".repeat(MAX_LEN))
            .parse::<Url>()
            .is_err()
    );
    assert_eq!(
        url("http://[2001:db8::1]:81/x").authority(),
        "[2001:db8::1]:81"
    );
}

#[test]
fn a_file_has_the_same_path_in_the_folder_of_a_mirror() {
    for (file, folder, expected) in [
        ("http://a/d/f?q=1", "http://b", "http://b/d/f?q=1"),
        ("http://a/d/f", "https://b:81/x", "https://b:81/x/d/f"),
        ("http://a/d/f", "https://b/x/?y", "https://b/x/d/f"),
        ("http://a/", "http://b/x", "http://b/x/"),
        ("http://a/b://c/%23", "http://b/", "http://b/b://c/%23"),
        ("tftp://a/d/f 1", "http://b/x/", "http://b/x/d/f%201"),
        ("tftp://a//d/f", "http://b/x/", "http://b/x/d/f"),
        ("http://a/d/f%201", "tftp://b/x", "tftp://b/x/d/f%201"),
    ] {
        let mirrored = url(file).below(&url(folder)).unwrap();
        assert_eq!(mirrored.to_string(), expected);
    }
    let pinned = url(&format!("http://a/f#sha256={}", "5".repeat(64)));
    let mirrored = pinned.below(&url("http://u:p@b/")).unwrap();
    assert_eq!(mirrored.sha256(), pinned.sha256());
    assert_eq!(mirrored.credentials(), Some("u:p"));
}

#[test]
fn a_file_inside_of_an_image_is_named_behind_the_address_of_the_image() {
    let image = url("http://me:pw@h:81/a%20b.ISO?v=1#sha256=\
         00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
    assert!(image.names_iso());
    let kernel = image.in_image("/casper/vm linuz#1").unwrap();
    let shown = "http://h:81/a%20b.ISO?v=1#/casper/vm%20linuz%231";
    assert_eq!(kernel.to_string(), shown);
    assert_eq!(kernel.path_in_image(), Some("/casper/vm linuz#1"));
    assert_eq!(kernel.path(), "/casper/vm linuz#1");
    assert_eq!(kernel.file_name(), "vm linuz#1");
    assert_eq!(kernel.request_target(), "/a%20b.ISO?v=1");
    // The pin is that of the image.
    assert_eq!((kernel.sha256(), kernel.image()), (None, Some(image)));
    assert_eq!(url(shown).to_string(), shown);
    for (reference, expected) in [
        ("initrd", "#/casper/initrd"),
        ("../boot/x?y", "#/boot/x?y"),
        ("../../../x", "#/x"),
        ("/a/./b", "#/a/b"),
        ("//a", "#//a"),
        ("#/c", "#/c"),
        ("100%", "#/casper/100%25"),
    ] {
        let joined = kernel.join(reference).unwrap().to_string();
        assert_eq!(
            joined,
            format!("http://h:81/a%20b.ISO?v=1{expected}"),
            "{reference}"
        );
    }
    assert_eq!(kernel.beside("i").unwrap().path(), "/casper/i");
    assert_eq!(kernel.with_file_name("i").unwrap().path(), "/i");
    assert_eq!(kernel.join("tftp://t/x").unwrap().to_string(), "tftp://t/x");
    let pinned = kernel
        .join(&format!("/i#sha256={}", "0".repeat(64)))
        .unwrap();
    assert_eq!(
        (pinned.path(), pinned.sha256()),
        ("/i", Some(Sha256([0; 32])))
    );
    let mirrored = kernel.below(&url("https://m/pub")).unwrap().to_string();
    assert_eq!(
        mirrored,
        "https://m/pub/a%20b.ISO?v=1#/casper/vm%20linuz%231"
    );
    let outside = url("http://h/boot.ipxe").join("x.iso#/k").unwrap();
    assert_eq!(outside.to_string(), "http://h/x.iso#/k");
    for wrong in [
        "http://h/x.iso#/%00",
        "http://h/x.iso#/%ff",
        "http://h/x.iso#/a#sha256=1",
    ] {
        assert!(wrong.parse::<Url>().is_err(), "{wrong}");
    }
    assert!(kernel.in_image("a\nb").is_err());
    assert!(!url("http://h/iso").names_iso());
    assert!(!url("http://h/é").names_iso());
}

#[test]
fn a_link_local_host_may_have_a_zone_which_no_server_sees() {
    for text in [
        "http://[fe80::1%25eth0]:81/a/b",
        "http://[fe80::1%eth0]:81/a/b",
    ] {
        let url = url(text);
        assert_eq!(url.to_string(), "http://[fe80::1%25eth0]:81/a/b");
        assert_eq!((url.host(), url.zone()), ("fe80::1", Some("eth0")));
        assert_eq!(url.authority(), "[fe80::1]:81");
        let other = url.join("../c").unwrap();
        assert_eq!(other.to_string(), "http://[fe80::1%25eth0]:81/c");
    }
    assert_eq!(url("tftp://[fe80::1]/x").zone(), None);
    for wrong in [
        "http://[fe80::1%25]/",
        "http://[2001:db8::1%25eth0]/",
        "http://[fe80::1%25a/b]/",
        "http://[fe80::1%25a b]/",
        "http://host%25eth0/",
    ] {
        assert!(wrong.parse::<Url>().is_err(), "{wrong}");
    }
}
