//! `wireboot fetch` over HTTP: against servers that misbehave, on loopback, and against nginx and
//! Python's server, in network namespaces of their own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail by panicking"
)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::{in_new_namespace, wait_until};
use wireboot::time::Random;

#[test]
fn a_file_arrives_however_the_server_frames_it() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ] {
        let folder = Folder::new();
        let server = Scripted::new(move |_, _| answer.to_owned());
        folder.succeeds(&[&server.url("f")]);
        assert_eq!(fs::read(folder.path("f")).unwrap(), b"hello", "{answer}");
    }
}

#[test]
fn a_file_that_is_shorter_than_its_server_says_is_refused() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n",
    ] {
        let folder = Folder::new();
        let server = Scripted::new(move |_, _| answer.to_owned());
        let text = folder.fails(7, &[&server.url("f")]);
        assert!(
            text.contains("the connection ended after 5 octets"),
            "{text}"
        );
        assert!(server.requests() > 2, "it may pass, so it is asked again");
        assert_eq!(folder.names(), Vec::<String>::new());
    }
}

#[test]
fn an_endless_file_is_stopped_at_the_largest_size_allowed() {
    let folder = Folder::new();
    let server = Scripted::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while stream.write_all(b"4\r\nabcd\r\n").is_ok() {}
        String::new()
    });
    let text = folder.fails(7, &["--max-size", "100000", &server.url("f")]);
    assert!(
        text.contains("more than the allowed 100000 octets"),
        "{text}"
    );
    assert_eq!(folder.names(), Vec::<String>::new());
}

#[test]
fn redirections_are_followed_and_end_somewhere() {
    let folder = Folder::new();
    let server = Scripted::new(|request, _| match path(request) {
        "/a" => redirect("b"),
        "/b" => redirect("/c?x=1"),
        "/c?x=1" => whole("there"),
        _ => redirect("/round"),
    });
    folder.succeeds(&[&server.url("a")]);
    assert_eq!(fs::read(folder.path("a")).unwrap(), b"there");
    let text = folder.fails(7, &[&server.url("round")]);
    assert!(text.contains("more than 10 redirections"), "{text}");
}

#[test]
fn files_of_one_host_come_over_one_connection() {
    let folder = Folder::new();
    let server = Scripted::new(|request, _| whole(path(request)));
    let urls = ["a", "b", "c"].map(|name| server.url(name));
    let [a, b, c] = urls.each_ref().map(String::as_str);
    folder.succeeds(&["--parallel", "1", a, b, c]);
    assert_eq!(fs::read(folder.path("c")).unwrap(), b"/c");
    assert_eq!((server.connections(), server.requests()), (1, 3));
}

#[test]
fn a_server_that_is_overloaded_is_asked_again() {
    let folder = Folder::new();
    let count = AtomicUsize::new(0);
    let server = Scripted::new(move |_, _| match count.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => whole("at last"),
    });
    folder.succeeds(&[&server.url("f")]);
    assert_eq!(server.requests(), 3);
}

#[test]
fn the_first_mirror_that_has_the_file_counts() {
    let folder = Folder::new();
    let server = Scripted::new(|request, _| match path(request) {
        "/gone/f" => "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/damaged/f" => whole("other"),
        _ => whole("content"),
    });
    let pin = "#sha256=ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
    let url = |name: &str| server.url(&format!("{name}/f{pin}"));
    let (gone, damaged, good) = (url("gone"), url("damaged"), url("good"));
    folder.succeeds(&["--mirrors", &gone, &damaged, &good]);
    assert_eq!(fs::read(folder.path("f")).unwrap(), b"content");
    folder.fails(8, &["-o", "g", "--mirrors", &gone, &damaged]);
    assert_eq!(folder.names(), ["f"]);
}

#[test]
fn a_proxy_of_the_environment_is_asked_and_told_who_asks() {
    let folder = Folder::new();
    let server = Scripted::new(|request, _| {
        let is_ours = request.starts_with("GET http://192.0.2.9:81/f HTTP/1.1\r\n")
            && request.contains("proxy-authorization: Basic dTpw\r\n");
        whole(if is_ours { "by proxy" } else { request })
    });
    let proxy = server.url("").replace("http://", "http://u:p@");
    let mut command = folder.command(&["http://192.0.2.9:81/f"]);
    let output = command.env("http_proxy", proxy).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(folder.path("f")).unwrap(), b"by proxy");
}

#[test]
fn a_user_in_the_url_is_named_to_the_server_and_nowhere_else() {
    let folder = Folder::new();
    let server = Scripted::new(|request, _| {
        match request.contains("authorization: Basic dXNlcjpzZWNyZXQ=\r\n") {
            true => whole("for you"),
            false => "HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n".to_owned(),
        }
    });
    let url = server.url("f").replace("http://", "http://user:secret@");
    let output = folder.run(&["-v", "-v", &url]);
    assert!(output.status.success(), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("secret"));
}

#[test]
fn a_list_of_hashes_and_its_signature_vouch_for_files() {
    const KEY: &str = "RWT91LRtexC87fNKxFfV3/R29qj91MclNhbBK3rFk5Q1jOviuGZC82aP";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key
RUT91LRtexC87dvCycLcyr2cquymjf1uqgCNmD73P7ES/XaiJYySQEaUTBHMqNt3kMsi/xQX4PLKApy77GSrFiHjgaDM3mGIxQY=
trusted comment: the file f
HUYuvEZ6VUCTieL4sXsBr8RPFQgnhift8Ti6GKAH7/tWtb+dD46qY6BGQsXpqjecU29fXwLgJ+HDrPHbACvTDw==
";
    const SUM: &str = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73";
    let folder = Folder::new();
    let server = Scripted::new(|request, _| match path(request) {
        "/SHA256SUMS" => whole(&format!("{SUM}  f\n{SUM}  changed\n")),
        "/f" | "/unsigned" => whole("content"),
        "/f.minisig" | "/changed.minisig" => whole(SIGNATURE),
        "/changed" => whole("Content"),
        _ => "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
    });
    let url = |name| server.url(name);
    folder.succeeds(&["--key", KEY, &url("f")]);
    assert_eq!(fs::read(folder.path("f")).unwrap(), b"content");
    fs::remove_file(folder.path("f")).unwrap();
    folder.succeeds(&["--sums", &url("SHA256SUMS"), &url("f")]);
    fs::remove_file(folder.path("f")).unwrap();
    let text = folder.fails(8, &["--key", KEY, &url("changed")]);
    assert!(
        text.contains("the signature does not fit the file"),
        "{text}"
    );
    let text = folder.fails(8, &["--key", KEY, &url("unsigned")]);
    assert!(text.contains("there is no signature"), "{text}");
    let text = folder.fails(8, &["--sums", &url("SHA256SUMS"), &url("changed")]);
    assert!(text.contains(SUM), "{text}");
    let text = folder.fails(8, &["--sums", &url("SHA256SUMS"), &url("unsigned")]);
    assert!(text.contains("does not have \"unsigned\""), "{text}");
    let text = folder.fails(8, &["--sums", &url("SHA256SUMS"), "--key", KEY, &url("f")]);
    assert!(text.contains("SHA256SUMS.minisig"), "{text}");
    folder.fails(1, &["--require-signature", &url("f")]);
    assert_eq!(folder.names(), Vec::<String>::new());
}

#[test]
fn an_interrupted_fetch_leaves_nothing_and_two_to_one_name_do_not_mix() {
    let folder = Folder::new();
    let server = Scripted::new(|request, stream| {
        let octet = path(request).as_bytes()[1];
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        for _ in 0..100 {
            if stream.write_all(&[octet; 10_000]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
        String::new()
    });
    let begun = server.requests();
    let client = folder
        .command(&["-o", "f", &server.url("x")])
        .spawn()
        .unwrap();
    wait_until("the request came", || server.requests() > begun);
    let pid = nix::unistd::Pid::from_raw(client.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(!client.wait_with_output().unwrap().status.success());
    assert_eq!(folder.names(), Vec::<String>::new());
    let both = ["a", "b"].map(|name| folder.command(&["-o", "f", &server.url(name)]).spawn());
    for client in both {
        assert!(client.unwrap().wait_with_output().unwrap().status.success());
    }
    let content = fs::read(folder.path("f")).unwrap();
    assert_eq!(content.len(), 1_000_000);
    assert!(content.iter().all(|octet| *octet == content[0]));
    assert_eq!(folder.names(), ["f"]);
}

#[test]
fn programs_are_told_by_json_how_it_goes() {
    let folder = Folder::new();
    let server = Scripted::new(|_, _| whole("hello"));
    let output = folder.run(&["--json", &server.url("f")]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let events: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<_> = events.iter().map(|event| &event["event"]).collect();
    assert_eq!(names, ["started", "done"]);
    assert_eq!(
        (&events[0]["length"], &events[1]["octets"]),
        (&5.into(), &5.into())
    );
}

#[test]
#[ignore = "needs nginx, python3 and namespaces"]
fn nginx_and_python_serve_files_whole_redirected_slow_and_through_five_cuts() {
    in_new_namespace(|| {
        let folder = Folder::new();
        folder.offer("file", 3_000_000);
        folder.offer("small", 3000);
        let _nginx = folder.nginx("");
        let _python = folder.start(
            "python3",
            &[
                "-m",
                "http.server",
                "-b",
                "127.0.0.1",
                "-d",
                "served",
                "8000",
            ],
            8000,
        );
        for (url, name) in [
            ("http://127.0.0.1:8080/file", "file"),
            ("http://127.0.0.1:8080/moved/file", "file"),
            ("http://localhost:8000/file", "file"),
            ("http://127.0.0.1:8080/slow/small", "small"),
        ] {
            folder.succeeds(&["-o", "come", url]);
            folder.is_whole("come", name);
        }
        let cutter = cutter(8080, 5, 400_000);
        folder.succeeds(&["-o", "come", &format!("http://127.0.0.1:{cutter}/file")]);
        folder.is_whole("come", "file");
        let text = folder.fails(7, &["http://127.0.0.1:8080/nothing"]);
        assert!(text.contains("404"), "{text}");
    });
}

#[test]
#[ignore = "needs nginx, openssl and namespaces"]
fn servers_whose_certificate_does_not_prove_who_they_are_are_refused() {
    in_new_namespace(|| {
        let folder = Folder::new();
        folder.offer("file", 300_000);
        folder.certificates();
        let servers = [(8443, "good"), (8444, "expired"), (8445, "elsewhere")];
        let mut text = String::new();
        for (port, name) in servers {
            text.push_str(&tls_server(port, name, ""));
        }
        let check = "ssl_client_certificate ca.pem; ssl_verify_client on;";
        text.push_str(&tls_server(8446, "good", check));
        text.push_str(
            "server { listen 127.0.0.1:8447 ssl; ssl_certificate good.pem;
             ssl_certificate_key good.key; return 302 http://127.0.0.1:8080/file; }",
        );
        let _nginx = folder.nginx(&text);
        let url = |port| format!("https://localhost:{port}/file");
        folder.succeeds(&["--ca", "ca.pem", "-o", "come", &url(8443)]);
        folder.is_whole("come", "file");
        fs::remove_file(folder.path("come")).unwrap();

        let refused = |arguments: &[&str], why: &str| {
            let text = folder.fails(8, arguments);
            assert!(text.contains(why), "{text}");
        };
        refused(&[&url(8443)], "UnknownIssuer; --ca FILE names an authority");
        refused(&["--ca", "ca.pem", &url(8444)], "certificate expired");
        refused(&["--ca", "ca.pem", &url(8444)], "by the machine's clock");
        refused(&["--ca", "ca.pem", &url(8445)], "not valid for name");
        folder.fails(7, &["--ca", "ca.pem", &url(8446)]);
        folder.succeeds(&["--ca", "ca.pem", "--cert", "client.pem", &url(8446)]);
        let text = folder.fails(7, &["--ca", "ca.pem", "-o", "x", &url(8447)]);
        assert!(text.contains("cannot be followed"), "{text}");
    });
}

#[test]
#[ignore = "needs nginx, python3, openssl and namespaces"]
fn certificates_are_judged_by_the_time_server_of_the_network() {
    in_new_namespace(|| {
        let folder = Folder::new();
        folder.offer("file", 1000);
        folder.certificates();
        let _nginx = folder.nginx(&tls_server(8443, "good", ""));
        // In the year 2035 the certificate has expired.
        let server = "import socket,struct
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('127.0.0.1',123))
while True:
    q,a=s.recvfrom(512)
    s.sendto(bytes([0x24,1])+bytes(22)+q[40:48]+bytes(8)+struct.pack('>II',4260000000,0),a)";
        let _time = folder.spawn("python3", &["-c", server]);
        wait_until("the time server listens", || {
            let sockets = fs::read_to_string("/proc/thread-self/net/udp").unwrap();
            sockets.contains(":007B ")
        });
        let ntp = ["--ntp", "127.0.0.1", "--ca", "ca.pem"];
        let url = "https://localhost:8443/file";
        let text = folder.fails(8, &[&ntp[..], &[url]].concat());
        assert!(text.contains("2034-12-29"), "{text}");
        assert!(text.contains("by the time server 127.0.0.1"), "{text}");
    });
}

fn path(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or_default()
}

fn whole(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

/// A server on loopback that answers as it is told.
struct Scripted {
    port: u16,
    counts: Arc<Mutex<(usize, usize)>>,
}

impl Scripted {
    fn new(answer: impl Fn(&str, &mut TcpStream) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::new(Mutex::new((0, 0)));
        let (shared, answer) = (Arc::clone(&counts), Arc::new(answer));
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (shared, answer) = (Arc::clone(&shared), Arc::clone(&answer));
                shared.lock().unwrap().0 += 1;
                thread::spawn(move || {
                    while let Some(request) = head(&mut stream) {
                        shared.lock().unwrap().1 += 1;
                        let answer = answer(&request, &mut stream);
                        let keeps = answer.starts_with("HTTP/1.1 200 OK\r\nContent-Length: ")
                            && is_complete(&answer);
                        if stream.write_all(answer.as_bytes()).is_err() || !keeps {
                            break;
                        }
                    }
                });
            }
        });
        Self { port, counts }
    }

    fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    fn connections(&self) -> usize {
        self.counts.lock().unwrap().0
    }

    fn requests(&self) -> usize {
        self.counts.lock().unwrap().1
    }
}

fn is_complete(answer: &str) -> bool {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    head.ends_with(&format!("Content-Length: {}", body.len()))
}

fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).ok()?;
        head.extend(octet);
    }
    String::from_utf8(head).ok()
}

/// Passes connections on to `port`, the first `cuts` of them for `len` octets only.
fn cutter(port: u16, cuts: usize, len: u64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (index, mut near) in listener.incoming().map_while(Result::ok).enumerate() {
            let Some(request) = head(&mut near) else {
                continue;
            };
            let mut far = TcpStream::connect(("127.0.0.1", port)).unwrap();
            far.write_all(request.as_bytes()).unwrap();
            let limit = if index < cuts { len } else { u64::MAX };
            let _ = std::io::copy(&mut far.take(limit), &mut near);
        }
    });
    own
}

fn tls_server(port: u16, name: &str, more: &str) -> String {
    format!(
        "server {{ listen 127.0.0.1:{port} ssl; root served; ssl_certificate {name}.pem;
         ssl_certificate_key {name}.key; {more} }}\n"
    )
}

/// A folder that goes with its test.
struct Folder(PathBuf);

/// A server that goes with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        // A chance to end its workers.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

impl Folder {
    fn new() -> Self {
        let name = format!("wireboot-http-{:016x}", wireboot::sys::seed());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("near")).unwrap();
        fs::create_dir(path.join("served")).unwrap();
        Self(path)
    }

    /// Returns the path of a file that was fetched.
    fn path(&self, name: &str) -> PathBuf {
        self.0.join("near").join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
        command.arg("fetch").args(arguments);
        command.current_dir(self.path(""));
        for name in [
            "http_proxy",
            "https_proxy",
            "all_proxy",
            "HTTPS_PROXY",
            "ALL_PROXY",
        ] {
            command.env_remove(name);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    /// Returns the last line that a failing fetch says.
    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        let text = String::from_utf8_lossy(&output.stderr);
        text.lines().last().unwrap_or_default().to_owned()
    }

    fn offer(&self, name: &str, len: usize) {
        let mut random = Random::new(len as u64);
        let words = std::iter::repeat_with(|| random.next_u64().to_le_bytes());
        let mut content: Vec<u8> = words.take(len / 8 + 1).flatten().collect();
        content.truncate(len);
        fs::write(self.0.join("served").join(name), content).unwrap();
    }

    fn is_whole(&self, come: &str, served: &str) {
        let served = fs::read(self.0.join("served").join(served)).unwrap();
        assert!(fs::read(self.path(come)).unwrap() == served);
    }

    fn spawn(&self, program: &str, arguments: &[&str]) -> Running {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.0);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().expect("it is installed"))
    }

    fn start(&self, program: &str, arguments: &[&str], port: u16) -> Running {
        let server = self.spawn(program, arguments);
        wait_until(program, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    fn nginx(&self, more: &str) -> Running {
        let folder = self.0.display();
        let config = format!(
            "daemon off; user root; pid {folder}/pid; error_log {folder}/errors;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
                uwsgi_temp_path {folder}; scgi_temp_path {folder};
                server {{
                    listen 127.0.0.1:8080;
                    root {folder}/served;
                    location /moved/ {{ rewrite ^/moved(.*) $1 redirect; }}
                    location /slow/ {{ alias {folder}/served/; limit_rate 1k; }}
                }}
                {}
            }}",
            more.replace("root served", &format!("root {folder}/served"))
        );
        let path = self.0.join("nginx.conf");
        fs::write(&path, config).unwrap();
        let path = path.to_str().unwrap();
        self.start("nginx", &["-p", self.0.to_str().unwrap(), "-c", path], 8080)
    }

    /// Makes an authority, and certificates by it that are good, have expired, and are for another
    /// host; and one for a client, with its key in the same file.
    fn certificates(&self) {
        let script = "
            key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
            openssl req -x509 $key -keyout ca.key -out ca.pem -subj /CN=authority -days 9
            touch index; echo 01 > serial
            cat > ca.conf <<END
[ca]
default_ca = own
[own]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
END
            sign() {
                openssl req -new $key -keyout $1.key -out $1.csr -subj /CN=$2 -addext subjectAltName=DNS:$2
                openssl ca -batch -config ca.conf -cert ca.pem -keyfile ca.key -notext \\
                    -startdate $3 -enddate $4 -in $1.csr -out $1.pem
            }
            now=$(date -u +%Y%m%d000000Z) later=$(date -u -d '+9 days' +%Y%m%d000000Z)
            sign good localhost $now $later
            sign expired localhost 20200101000000Z 20200201000000Z
            sign elsewhere elsewhere.example $now $later
            sign client client.example $now $later
            cat client.key >> client.pem
            cp ca.pem client.pem near/
        ";
        let output = Command::new("bash")
            .args(["-euc", script])
            .current_dir(&self.0)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
