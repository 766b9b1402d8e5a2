//! `wireboot fetch` over several connections at once, from servers that slow each of them down.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::folder::{Folder, Running, tls_server};
use crate::common::in_new_namespace;
use crate::common::scripted::{Scripted, cutter};

/// Octets of the file, for which one connection would take 12 s.
const LEN: usize = 48 << 20;
const SLOW: &str = "limit_rate 4m;";

#[test]
#[ignore = "needs nginx, openssl and namespaces"]
fn parts_of_a_large_file_come_over_several_connections_where_that_is_faster() {
    in_new_namespace(|| {
        let site = Site::new(SLOW);
        let began = Instant::now();
        site.brings_the_file("http://127.0.0.1:8081/file");
        let time = began.elapsed();
        let requests = site.requests();
        assert!(requests.iter().any(|request| request == "200 -"));
        assert!(parts(&requests) >= 3, "{requests:?}");
        // What lies behind a part is not sent in vain.
        let has_end = |request: &String| request.contains("bytes=") && !request.ends_with('-');
        assert!(requests.iter().any(has_end), "{requests:?}");
        assert!(time < Duration::from_secs(11), "{time:?}, {requests:?}");
        site.brings_the_file("https://localhost:8443/file");
        let requests = site.requests();
        assert!(parts(&requests) >= 6, "{requests:?}");
    });
}

#[test]
#[ignore = "needs nginx, openssl and namespaces"]
fn connections_that_are_cut_leave_their_parts_to_the_others() {
    in_new_namespace(|| {
        let site = Site::new(SLOW);
        let port = cutter(8081, 4, 6_000_000);
        site.brings_the_file(&format!("http://127.0.0.1:{port}/file"));
        assert!(parts(&site.requests()) >= 4);
    });
}

#[test]
#[ignore = "needs nginx, openssl and namespaces"]
fn a_server_without_ranges_is_asked_for_a_part_once_and_gives_the_whole_on_one_connection() {
    in_new_namespace(|| {
        let site = Site::new("limit_rate 8m; max_ranges 0;");
        site.brings_the_file("http://127.0.0.1:8081/file");
        let requests = site.requests();
        let asked = requests.iter().filter(|request| request.contains("bytes="));
        assert_eq!(asked.count(), 1, "{requests:?}");
    });
}

#[test]
fn a_file_that_is_replaced_meanwhile_does_not_mix_with_the_new_one() {
    let server = Scripted::new(|request, stream| {
        let tag = if request.contains("\r\nrange: bytes=") {
            'b'
        } else {
            'a'
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 16777216\r\n";
        let _ = write!(stream, "{head}ETag: \"{tag}\"\r\n\r\n");
        let tenth = vec![u8::try_from(tag).unwrap(); 16_777_216 / 64];
        for _ in 0..64 {
            if stream.write_all(&tenth).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(80));
        }
        String::new()
    });
    let folder = Folder::new();
    folder.succeeds(&["-o", "come", &server.url("file")]);
    assert!(fs::read(folder.path("come")).unwrap() == vec![b'a'; 16_777_216]);
    assert_eq!(server.requests(), 2);
}

/// How many answers were parts of the file.
fn parts(requests: &[String]) -> usize {
    let is_part = |request: &&String| request.starts_with("206 bytes=");
    requests.iter().filter(is_part).count()
}

/// A large file on an nginx, over HTTP on port 8081 and over TLS on 8443.
struct Site {
    folder: Folder,
    log: PathBuf,
    _nginx: Running,
}

impl Site {
    fn new(limits: &str) -> Self {
        let folder = Folder::new();
        folder.offer("file", LEN);
        folder.certificates();
        let log = folder.path("requests");
        let noting = format!("access_log {} asked; {limits}", log.display());
        let servers = format!(
            "log_format asked '$status $http_range';
             server {{ listen 127.0.0.1:8081; root served; {noting} }} {}",
            tls_server(8443, "good", &noting)
        );
        Self {
            log,
            _nginx: folder.nginx(&servers),
            folder,
        }
    }

    fn brings_the_file(&self, url: &str) {
        let arguments = ["--ca", "ca.pem", "-o", "come", url];
        self.folder.succeeds(&arguments);
        self.folder.is_whole("come", "file");
    }

    /// Returns status and range of each request that has ended.
    fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines().map(str::to_owned).collect()
    }
}
