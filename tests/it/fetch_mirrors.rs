//! `wireboot fetch --mirrors` from servers of which the first is silent, refuses, ends half-way or has
//! something else.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::folder::Folder;
use crate::common::in_new_namespace;
use crate::common::scripted::{Scripted, redirect, whole};
use wireboot_proto::text::url::Sha256;

/// No server is waited for longer than five seconds while there is another.
const SOON: Duration = Duration::from_secs(12);

#[test]
fn a_mirror_goes_on_where_the_first_server_fell_silent_when_a_hash_judges_the_whole() {
    let folder = Folder::new();
    let content = content();
    let first = half(&content, fall_silent);
    let (mirror, asked) = complete(&content);
    let begun = Instant::now();
    let pin = pin(&content);
    let urls = [first.url("f"), mirror.url("f")].map(|url| format!("{url}{pin}"));
    folder.succeeds(&["--mirrors", &urls[0], &urls[1]]);
    assert!(begun.elapsed() < SOON);
    assert_eq!(fs::read(folder.path("f")).unwrap(), content.as_bytes());
    assert_eq!(first.requests(), 1);
    assert_eq!(*asked.lock().unwrap(), [Some(HALF)]);
}

#[test]
fn a_mirror_begins_anew_where_nothing_says_that_it_has_the_same_file() {
    let folder = Folder::new();
    let content = content();
    let first = half(&content, fall_silent);
    let (mirror, asked) = complete(&content);
    folder.succeeds(&["--mirrors", &first.url("f"), &mirror.url("f")]);
    assert_eq!(fs::read(folder.path("f")).unwrap(), content.as_bytes());
    assert_eq!(*asked.lock().unwrap(), [None]);
}

#[test]
fn a_server_that_knows_its_file_again_goes_on_itself_before_a_mirror_begins_anew() {
    let folder = Folder::new();
    let content = content();
    let (first, asked) = complete(&content);
    let cut = Scripted::new({
        let (url, content) = (first.url("f"), content.clone());
        move |request, stream| match range(request) {
            None => begin(&content, "ETag: \"x\"\r\n", stream),
            Some(_) => {
                assert!(request.contains("if-range: \"x\"\r\n"), "{request}");
                redirect(&url)
            }
        }
    });
    let mirror = Scripted::new(|_, _| whole("never asked"));
    folder.succeeds(&["--mirrors", &cut.url("f"), &mirror.url("f")]);
    assert_eq!(fs::read(folder.path("f")).unwrap(), content.as_bytes());
    assert_eq!(mirror.requests(), 0);
    // It was led elsewhere, where nothing is known of what it had.
    assert_eq!(*asked.lock().unwrap(), [None]);
}

#[test]
fn what_comes_of_two_different_files_is_thrown_away_and_the_mirror_gives_the_whole() {
    let folder = Folder::new();
    let content = content();
    let first = half(&"x".repeat(content.len()), |_| {});
    let (mirror, asked) = complete(&content);
    let pin = pin(&content);
    let urls = [first.url("f"), mirror.url("f")].map(|url| format!("{url}{pin}"));
    folder.succeeds(&["--mirrors", &urls[0], &urls[1]]);
    assert_eq!(fs::read(folder.path("f")).unwrap(), content.as_bytes());
    assert_eq!(*asked.lock().unwrap(), [Some(HALF), None]);
}

#[test]
fn a_part_of_another_version_is_not_put_behind_the_first() {
    let folder = Folder::new();
    let (new, old) = (content(), "x".repeat(content().len()));
    let len = new.len();
    let server = Scripted::new({
        let new = new.clone();
        let is_first = Mutex::new(true);
        move |request, stream| match range(request) {
            None if std::mem::take(&mut *is_first.lock().unwrap()) => {
                begin(&old, "ETag: \"old\"\r\n", stream)
            }
            None => whole(&new),
            // It does not know If-Range.
            Some(from) => format!(
                "HTTP/1.1 206 Partial Content\r\nETag: \"new\"\r\nContent-Length: {}\r\n\
                 Content-Range: bytes {from}-{}/{len}\r\n\r\n{}",
                len as u64 - from,
                len - 1,
                &new[usize::try_from(from).unwrap()..]
            ),
        }
    });
    folder.succeeds(&[&server.url("f")]);
    assert_eq!(fs::read(folder.path("f")).unwrap(), new.as_bytes());
    assert_eq!(server.requests(), 3);
}

#[test]
fn a_failure_behind_a_redirection_names_where_it_led() {
    let folder = Folder::new();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let url = format!("http://{}/elsewhere", gone.unwrap());
    let first = Scripted::new({
        let url = url.clone();
        move |_, _| redirect(&url)
    });
    let text = folder.fails(7, &[&first.url("f")]);
    assert!(
        text.contains(&format!("Connection refused (os error 111), at {url}")),
        "{text}"
    );
}

#[test]
fn a_mirror_whose_file_is_shorter_than_what_has_come_is_asked_for_all_of_it() {
    let folder = Folder::new();
    let content = content();
    let first = half(&content.repeat(3), |_| {});
    let (mirror, asked) = complete(&content);
    let pin = pin(&content);
    let urls = [first.url("f"), mirror.url("f")].map(|url| format!("{url}{pin}"));
    folder.succeeds(&["--mirrors", &urls[0], &urls[1]]);
    assert_eq!(fs::read(folder.path("f")).unwrap(), content.as_bytes());
    assert_eq!(*asked.lock().unwrap(), [Some(HALF * 3), None]);
}

#[test]
fn a_mirror_gives_all_of_what_a_tftp_server_has_begun() {
    let folder = Folder::new();
    let content = content();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let first = format!("tftp://{}/f", socket.local_addr().unwrap());
    let begins = thread::spawn(move || {
        let (_, client) = socket.recv_from(&mut [0; 512]).unwrap();
        let transfer = UdpSocket::bind("127.0.0.1:0").unwrap();
        let block = [&[0, 3, 0, 1][..], &[b'x'; 512]].concat();
        transfer.send_to(&block, client).unwrap();
        transfer
    });
    let (mirror, asked) = complete(&content);
    let pin = pin(&content);
    let urls = [first, mirror.url("f")].map(|url| format!("{url}{pin}"));
    let begun = Instant::now();
    folder.succeeds(&["--mirrors", &urls[0], &urls[1]]);
    assert!(begun.elapsed() < SOON);
    begins.join().unwrap();
    assert_eq!(fs::read(folder.path("f")).unwrap(), content.as_bytes());
    assert_eq!(*asked.lock().unwrap(), [None]);
}

#[test]
fn a_server_that_refuses_is_passed_over_at_once() {
    let folder = Folder::new();
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/f", listener.local_addr().unwrap())
    };
    let busy = Scripted::new(|_, _| "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_owned());
    let gone = Scripted::new(|_, _| "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned());
    let mirror = Scripted::new(|_, _| whole("content"));
    let begun = Instant::now();
    let (busy, gone_url) = (busy.url("f"), gone.url("f"));
    folder.succeeds(&["--mirrors", &nobody, &busy, &gone_url, &mirror.url("f")]);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(fs::read(folder.path("f")).unwrap(), b"content");
    folder.fails(7, &["--mirrors", &nobody, &gone_url]);
    assert_eq!(gone.requests(), 2, "what it does not have it will not have");
}

#[test]
fn all_are_asked_again_in_rounds() {
    let folder = Folder::new();
    let count = Mutex::new(0);
    let busy = || "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_owned();
    let first = Scripted::new(move |_, _| busy());
    let mirror = Scripted::new(move |_, _| {
        let mut count = count.lock().unwrap();
        *count += 1;
        match *count {
            1 | 2 => busy(),
            _ => whole("at last"),
        }
    });
    folder.succeeds(&["--mirrors", &first.url("f"), &mirror.url("f")]);
    assert_eq!((first.requests(), mirror.requests()), (3, 3));
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, nftables and dnsmasq"]
fn a_first_server_that_is_silent_costs_seconds() {
    in_new_namespace(|| {
        let folder = Folder::new();
        folder.offer("file", 3_000_000);
        // What is sent to that address is lost.
        let rules =
            "add table inet lose; add chain inet lose input { type filter hook input priority 0; };
            add rule inet lose input ip daddr 127.0.0.9 drop";
        let lost = Command::new("nft").arg(rules).status().expect("installed");
        assert!(lost.success());
        let _nginx = folder.nginx("");
        let _dnsmasq = folder.spawn(
            "dnsmasq",
            &[
                "--conf-file=/dev/null",
                "--no-daemon",
                "--user=root",
                "--port=0",
                "--pid-file=",
                "--listen-address=127.0.0.1",
                "--bind-interfaces",
                "--enable-tftp",
                &format!("--tftp-root={}", folder.served().display()),
            ],
        );
        for scheme in ["http", "tftp"] {
            let port = if scheme == "http" { ":8080" } else { "" };
            let url = |host: &str| format!("{scheme}://{host}{port}/file");
            let begun = Instant::now();
            folder.succeeds(&[
                "-o",
                scheme,
                "--mirrors",
                &url("127.0.0.9"),
                &url("127.0.0.1"),
            ]);
            let took = begun.elapsed();
            assert!(took < SOON, "{scheme}: {took:?}");
            folder.is_whole(scheme, "file");
        }
    });
}

#[test]
#[ignore = "takes half a minute"]
fn a_server_that_drips_is_left_for_the_mirror() {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    // A record of the handshake, and one after it, that would take hours.
    const RECORD: &str = "\x16\x03\x03\x40\x00\x02\x00\x3f\x00";
    let drippers = [
        ("http", OK.to_owned(), "X: y\r\n"),
        ("http", "HTTP/1.1 103 Hints\r\nX: ".to_owned(), "x"),
        ("http", format!("{OK}Content-Length: 99999\r\n\r\n"), "x"),
        ("http", format!("{OK}\r\n"), "x"),
        (
            "http",
            format!("{OK}Transfer-Encoding: chunked\r\n\r\n"),
            "1\r\nx\r\n",
        ),
        (
            "http",
            format!("{OK}Transfer-Encoding: chunked\r\n\r\n0\r\n"),
            "X: y\r\n",
        ),
        ("https", RECORD.to_owned(), "\x01"),
    ];
    let fetches = drippers.map(|(scheme, before, drip)| {
        let is_body = before.starts_with(OK) && before.contains("\r\n\r\n");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let first = format!("{scheme}://{}/f", listener.local_addr().unwrap());
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (before, drip) = (before.clone(), drip);
                thread::spawn(move || {
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(before.as_bytes());
                    while stream.write_all(drip.as_bytes()).is_ok() {
                        thread::sleep(Duration::from_secs(1));
                    }
                });
            }
        });
        (first, is_body)
    });
    let tftp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let first = format!("tftp://{}/f", tftp.local_addr().unwrap());
    thread::spawn(move || {
        let (_, client) = tftp.recv_from(&mut [0; 512]).unwrap();
        let transfer = UdpSocket::bind("127.0.0.1:0").unwrap();
        for block in 0_u16..200 {
            let [high, low] = block.to_be_bytes();
            let packet = match block {
                0 => b"\0\x06blksize\08\0".to_vec(),
                _ => [&[0, 3, high, low][..], &[b'x'; 8]].concat(),
            };
            let _ = transfer.send_to(&packet, client);
            // After a second of silence it would be asked anew.
            thread::sleep(Duration::from_millis(500));
        }
    });
    let mirror = Scripted::new(|_, _| whole("content"));
    let mirror = mirror.url("f");
    let clients = fetches.into_iter().chain([(first, true)]);
    let clients = clients.map(|(first, is_body)| {
        let mirror = mirror.clone();
        thread::spawn(move || {
            let (folder, begun) = (Folder::new(), Instant::now());
            folder.succeeds(&["--mirrors", &first, &mirror]);
            assert_eq!(fs::read(folder.path("f")).unwrap(), b"content");
            let took = begun.elapsed();
            // Heads and handshakes have the time for which the first server may be silent.
            let (least, most) = if is_body { (25, 60) } else { (4, 25) };
            assert!(took > Duration::from_secs(least), "{first}: {took:?}");
            assert!(took < Duration::from_secs(most), "{first}: {took:?}");
        })
    });
    let clients: Vec<_> = clients.collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
}

/// Octets that a server sends before it breaks off.
const HALF: u64 = 250_000;

fn content() -> String {
    (0..HALF / 5)
        .map(|number| format!("{number:010}"))
        .collect()
}

fn pin(content: &str) -> String {
    let hash = <sha2::Sha256 as sha2::Digest>::digest(content);
    format!("#sha256={}", Sha256(hash.into()))
}

/// Sends the first half of a file, with a header more.
fn begin(content: &str, header: &str, stream: &mut TcpStream) -> String {
    let len = content.len();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\n{header}Content-Length: {len}\r\n\r\n"
    );
    content[..len / 2].to_owned()
}

/// A server that sends the first half of a file, does something, and closes the connection.
fn half(content: &str, then: fn(&mut TcpStream)) -> Scripted {
    let content = content.to_owned();
    Scripted::new(move |_, stream| {
        let octets = begin(&content, "", stream);
        let _ = stream.write_all(octets.as_bytes());
        then(stream);
        String::new()
    })
}

/// Waits until the client has gone.
fn fall_silent(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0]);
}

/// A server that gives all of a file, or what is left behind the beginning of a range; and the
/// beginnings that it was asked for.
fn complete(content: &str) -> (Scripted, Arc<Mutex<Vec<Option<u64>>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (content, noted) = (content.to_owned(), Arc::clone(&asked));
    let server = Scripted::new(move |request, _| {
        let from = range(request);
        noted.lock().unwrap().push(from);
        let len = content.len();
        let Some(from) = from else {
            return whole(&content);
        };
        match content.get(usize::try_from(from).unwrap()..) {
            Some(rest) if !rest.is_empty() => format!(
                "HTTP/1.1 206 Part\r\nContent-Range: bytes {from}-{}/{len}\r\nContent-Length: {}\r\n\r\n{rest}",
                len - 1,
                rest.len()
            ),
            _ => "HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        }
    });
    (server, asked)
}

/// Returns where the range begins that a request asks for.
fn range(request: &str) -> Option<u64> {
    let (_, range) = request.split_once("\r\nrange: bytes=")?;
    range.split_once("-\r\n")?.0.parse().ok()
}
