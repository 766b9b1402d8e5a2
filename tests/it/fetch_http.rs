//! `wireboot fetch` over HTTP, on loopback, from servers that do as they are told.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::common::folder::Folder;
use crate::common::scripted::{Scripted, path, redirect, whole};
use crate::common::{in_new_namespace, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::{Pid, mkfifo};

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
fn an_answer_that_comes_octet_by_octet_is_put_together() {
    let folder = Folder::new();
    let server = Scripted::new(|_, stream| {
        stream.set_nodelay(true).unwrap();
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = "2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: y\r\n\r\n";
        for octet in head.bytes().chain(body.bytes()) {
            stream.write_all(&[octet]).unwrap();
        }
        String::new()
    });
    folder.succeeds(&[&server.url("f")]);
    assert_eq!(fs::read(folder.path("f")).unwrap(), b"hello");
}

#[test]
fn a_head_without_end_is_given_up() {
    let folder = Folder::new();
    let server = Scripted::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(&[b'x'; 10_000]).is_ok() {}
        String::new()
    });
    let text = folder.fails(7, &[&server.url("f")]);
    assert!(
        text.contains("heads and trailers of more than 262144 bytes"),
        "{text}"
    );
    assert_eq!(server.requests(), 1);
}

#[test]
fn informational_responses_and_trailers_without_end_are_given_up() {
    for (before, flood, why) in [
        (
            "",
            "HTTP/1.1 102 Processing\r\n\r\n",
            "more than 10 informational",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
            "X-Trailer: y\r\n",
            "trailers of more than 262144 bytes",
        ),
    ] {
        let folder = Folder::new();
        let server = Scripted::new(move |_, stream| {
            let _ = stream.write_all(before.as_bytes());
            while stream.write_all(flood.repeat(100).as_bytes()).is_ok() {}
            String::new()
        });
        let text = folder.fails(7, &[&server.url("f")]);
        assert!(text.contains(why), "{text}");
        assert_eq!(server.requests(), 1);
        // Sent by a proxy.
        let mut command = folder.command(&["http://192.0.2.1/f"]);
        let output = command.env("http_proxy", server.url("")).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{text}");
        assert!(text.contains(why), "{text}");
        assert_eq!(server.requests(), 2);
        assert_eq!(folder.names(), Vec::<String>::new());
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
            text.contains("the connection ended after 5 bytes"),
            "{text}"
        );
        assert!(server.requests() > 2, "it may pass, so it is asked again");
        assert_eq!(folder.names(), Vec::<String>::new());
    }
}

#[test]
fn a_length_that_cannot_be_right_is_refused_at_once() {
    for (answer, why) in [
        (
            "Content-Length: 4\r\n\r\nhello",
            "the answer is 1 bytes longer than its Content-Length",
        ),
        ("Content-Length: five\r\n\r\nhello", "cannot be read"),
        ("Content-Length: -5\r\n\r\nhello", "cannot be read"),
        (
            "Content-Length: 5\r\nContent-Length: 4\r\n\r\nhello",
            "cannot be read",
        ),
        (
            "Content-Length: 99999999999999999999\r\n\r\nhello",
            "cannot be read",
        ),
        (
            "Content-Length: 9999999999999999999\r\n\r\nhello",
            "are free in",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n",
            "cannot be read",
        ),
        // Not a length of the body, but no head either.
        (
            &"X: y\r\n".repeat(129),
            "answer cannot be read: more than 128 headers",
        ),
        (
            &format!("{}: y\r\n\r\n", "X".repeat(70_000)),
            "answer cannot be read: invalid HTTP header name",
        ),
        ("X y\r\n\r\n", "answer cannot be read: invalid header name"),
    ] {
        let value = answer.to_owned();
        let folder = Folder::new();
        let server = Scripted::new(move |_, _| format!("HTTP/1.1 200 OK\r\n{value}"));
        let text = folder.fails(7, &[&server.url("f")]);
        assert!(text.contains(why), "{answer:?}: {text}");
        assert_eq!(server.requests(), 1);
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
        text.contains("more than the allowed 100000 bytes"),
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
        if request.contains("authorization: Basic dXNlcjpzZWNyZXQ=\r\n") {
            whole("for you")
        } else {
            "HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n".to_owned()
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
    let output = folder.run(&["--key", KEY, &url("f")]);
    let text = String::from_utf8_lossy(&output.stderr);
    let signed = "/f: signature OK (key EDBC107B6DB4D4FD, \"the file f\")";
    assert!(text.contains(signed), "{text}");
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
    assert!(text.contains("does not contain \"unsigned\""), "{text}");
    let text = folder.fails(8, &["--sums", &url("SHA256SUMS"), "--key", KEY, &url("f")]);
    assert!(text.contains("SHA256SUMS.minisig"), "{text}");
    folder.fails(1, &["--require-signature", &url("f")]);
    assert_eq!(folder.names(), Vec::<String>::new());
}

#[test]
fn an_interrupted_fetch_leaves_nothing() {
    let folder = Folder::new();
    let server = Scripted::new(|_, stream| {
        begin_a_megabyte(stream, b'x');
        // The other half never comes; this ends when the client does.
        let _ = stream.read(&mut [0]);
        String::new()
    });
    let client = folder.command(&["-o", "f", &server.url("f")]).spawn();
    let client = client.unwrap();
    wait_until("the request came", || server.requests() > 0);
    let pid = Pid::from_raw(client.id().cast_signed());
    // What a shell runs in the background ignores SIGINT, tests and all.
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        kill(pid, signal).unwrap();
    }
    assert!(!client.wait_with_output().unwrap().status.success());
    assert_eq!(folder.names(), Vec::<String>::new());
}

#[test]
fn two_fetches_to_one_name_do_not_mix() {
    let folder = Folder::new();
    let both_are_half_there = Barrier::new(2);
    let server = Scripted::new(move |request, stream| {
        let octet = path(request).as_bytes()[1];
        begin_a_megabyte(stream, octet);
        both_are_half_there.wait();
        char::from(octet).to_string().repeat(500_000)
    });
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
fn what_is_no_regular_file_is_written_into_and_stays_what_it_is() {
    let folder = Folder::new();
    let server = Scripted::new(|_, _| whole("hello"));
    mkfifo(&folder.path("fifo"), Mode::S_IRWXU).unwrap();
    for name in ["fifo", "link"] {
        let reader = thread::spawn({
            let fifo = folder.path("fifo");
            move || fs::read(fifo).unwrap()
        });
        let _ = symlink("fifo", folder.path("link"));
        folder.succeeds(&["-o", name, &server.url("f")]);
        let kind = fs::metadata(folder.path("fifo")).unwrap().file_type();
        assert!(kind.is_fifo());
        assert_eq!(reader.join().unwrap(), b"hello");
    }
    // As /dev/stdout does.
    symlink("/proc/self/fd/1", folder.path("output")).unwrap();
    for mirrors in [&["-o", "output"][..], &["--mirrors", "-o", "output"]] {
        let output = folder.run(&[mirrors, &[&server.url("f")]].concat());
        assert_eq!(output.stdout, b"hello", "{output:?}");
    }
    let _socket = UnixListener::bind(folder.path("socket")).unwrap();
    let text = folder.fails(7, &["-o", "socket", &server.url("f")]);
    assert!(text.contains("cannot write socket"), "{text}");
    assert_eq!(server.requests(), 4);
}

#[test]
fn an_output_that_is_open_is_written_to_where_it_is() {
    let folder = Folder::new();
    let server = Scripted::new(|_, _| whole("hello"));
    let url = server.url("f");
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "-"] {
        for appends in [true, false] {
            let path = folder.path("log");
            fs::write(&path, if appends { "old " } else { "" }).unwrap();
            let mut file = File::options();
            let mut file = file.append(appends).write(true).open(&path).unwrap();
            if !appends {
                file.write_all(b"old ").unwrap();
            }
            let mut command = folder.command(&["-o", name, &url]);
            let status = command.stdout(file.try_clone().unwrap()).status().unwrap();
            assert!(status.success(), "{name}");
            file.write_all(b" new").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"old hello new", "{name}");
        }
    }
}

#[test]
fn an_output_that_cannot_be_written_has_an_exit_code_of_its_own() {
    let folder = Folder::new();
    let server = Scripted::new(|_, _| whole("hello"));
    let url = server.url("f");
    for name in ["/dev/stdout", "-"] {
        let run = |output: Stdio| {
            let mut command = folder.command(&["-q", "-o", name, &url]);
            let output = command.stdout(output).output().unwrap();
            assert_eq!(output.status.code(), Some(13), "{output:?}");
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(writer.into()), "", "who has gone needs no message");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let text = run(full.into());
        assert!(text.contains("No space left on device"), "{text}");
    }
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN"]
fn what_does_not_fit_has_one_exit_code_in_memory_and_on_a_disk() {
    in_new_namespace(|| {
        let folder = Folder::new();
        let server = Scripted::new(|request, stream| {
            let head = match path(request) {
                "/announced" => "Content-Length: 3000000\r\n",
                "/large" => "Content-Length: 300000000000000\r\n",
                _ => "",
            };
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes());
            let _ = stream.write_all(&[b'x'; 3_000_000]);
            String::new()
        });
        let small = folder.path("small");
        fs::create_dir(&small).unwrap();
        let mount = "mount -t tmpfs -o size=1m none";
        let mount = format!("{mount} {}", small.display());
        let mounted = Command::new("sh").args(["-c", &mount]).status();
        assert!(mounted.unwrap().success());
        for sandbox in ["on", "off"] {
            for (name, output, why) in [
                ("announced", "small/f", "only 1048576 are free in"),
                ("unknown", "small/f", "No space left on device"),
                ("large", "-", "MiB of memory; "),
            ] {
                let url = server.url(name);
                let text = folder.fails(7, &["--sandbox", sandbox, "-o", output, &url]);
                assert!(text.contains(why), "{text}");
                assert_eq!(fs::read_dir(&small).unwrap().count(), 0);
            }
        }
    });
}

#[test]
#[ignore = "needs CAP_CHOWN"]
fn a_strangers_link_or_pipe_in_a_directory_for_all_is_not_written_into() {
    let folder = Folder::new();
    let server = Scripted::new(|_, _| whole("hello"));
    fs::set_permissions(folder.path(""), Permissions::from_mode(0o1777)).unwrap();
    fs::write(folder.path("target"), "mine").unwrap();
    symlink("target", folder.path("link")).unwrap();
    mkfifo(&folder.path("fifo"), Mode::S_IRWXU).unwrap();
    for name in ["link", "fifo"] {
        std::os::unix::fs::lchown(folder.path(name), Some(65534), None).unwrap();
        let text = folder.fails(7, &["-o", name, &server.url("f")]);
        assert!(text.contains("Permission denied"), "{text}");
    }
    assert_eq!(fs::read(folder.path("target")).unwrap(), b"mine");
    assert_eq!(server.requests(), 0);
}

#[test]
#[ignore = "needs CAP_MKNOD"]
fn a_device_is_written_into_and_stays_a_device() {
    let folder = Folder::new();
    let server = Scripted::new(|_, _| whole("hello"));
    for (name, minor, code) in [("null", 3, 0), ("full", 7, 13)] {
        let device = nix::sys::stat::makedev(1, minor);
        mknod(&folder.path(name), SFlag::S_IFCHR, Mode::S_IRWXU, device).unwrap();
        let output = folder.run(&["-o", name, &server.url("f")]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let metadata = fs::symlink_metadata(folder.path(name)).unwrap();
        assert_eq!((metadata.rdev(), metadata.mode() & 0o777), (device, 0o700));
    }
}

#[test]
fn a_file_that_is_replaced_keeps_its_permissions_and_the_links_to_it() {
    let folder = Folder::new();
    let server = Scripted::new(|_, _| whole("hello"));
    fs::write(folder.path("file"), "old").unwrap();
    fs::set_permissions(folder.path("file"), Permissions::from_mode(0o640)).unwrap();
    symlink("file", folder.path("link")).unwrap();
    symlink("none yet", folder.path("dangling")).unwrap();
    for (name, real) in [("file", "file"), ("link", "file"), ("dangling", "none yet")] {
        folder.succeeds(&["-o", name, &server.url("f")]);
        assert_eq!(fs::read(folder.path(real)).unwrap(), b"hello");
        let is_link = fs::symlink_metadata(folder.path(name))
            .unwrap()
            .is_symlink();
        assert_eq!(is_link, name != real, "{name}");
    }
    let metadata = fs::metadata(folder.path("file")).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o640);
}

#[test]
#[ignore = "needs CAP_SYS_ADMIN"]
fn a_file_of_unknown_length_is_stopped_where_memory_ends() {
    in_new_namespace(|| {
        let folder = Folder::new();
        let meminfo = folder.served().join("meminfo");
        let has_free = {
            let meminfo = meminfo.clone();
            move |mib: u64| {
                fs::write(&meminfo, format!("MemAvailable: {} kB\n", mib << 10)).unwrap()
            }
        };
        has_free(1_000);
        let mount = |what: &str, flags: &[&str]| {
            let mut command = Command::new("mount");
            assert!(
                command
                    .args(flags)
                    .args([what, "/proc/meminfo"])
                    .status()
                    .unwrap()
                    .success()
            );
        };
        mount(meminfo.to_str().unwrap(), &["--bind"]);
        let shrinks = has_free.clone();
        let chunks = move |stream: &mut TcpStream| -> std::io::Result<()> {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for number in 0..64 {
                if number == 8 {
                    shrinks(12);
                }
                stream.write_all(b"100000\r\n")?;
                stream.write_all(&[b'x'; 1 << 20])?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\n\r\n")
        };
        let server = Scripted::new(move |_, stream| {
            let _ = chunks(stream);
            String::new()
        });
        // By RFC 1350, without tsize.
        let tftp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let url = format!("tftp://{}/f", tftp.local_addr().unwrap());
        let shrinks = has_free.clone();
        thread::spawn(move || {
            let (_, mut client) = tftp.recv_from(&mut [0; 512]).unwrap();
            let transfer = UdpSocket::bind("127.0.0.1:0").unwrap();
            for block in 1..=0x8000_u16 {
                if block == 0x4000 {
                    shrinks(12);
                }
                let [high, low] = block.to_be_bytes();
                let len = if block == 0x8000 { 0 } else { 512 };
                let packet = [&[0, 3, high, low][..], &vec![b'x'; len]].concat();
                let _ = transfer.send_to(&packet, client);
                let mut answer = [0; 512];
                (_, client) = transfer.recv_from(&mut answer).unwrap();
                if answer[1] != 4 {
                    break;
                }
            }
        });
        for url in [server.url("f"), url] {
            has_free(1_000);
            let text = folder.fails(7, &["-o", "-", &url]);
            assert!(text.contains("it needs more than"), "{text}");
            assert!(
                text.contains("MiB of memory; 12 MiB available, and 16 MiB stay free (wireboot-"),
                "{text}"
            );
        }
        // What announces its length is not even begun, and what is small is fetched.
        let server = Scripted::new(|request, _| match path(request) {
            "/small" => whole("hello"),
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n".to_owned(),
        });
        let text = folder.fails(7, &["-o", "-", &server.url("f")]);
        assert!(
            text.contains(
                "it needs 48 MiB of memory; 12 MiB available, and 16 MiB stay free (wireboot-"
            ),
            "{text}"
        );
        assert_eq!(server.requests(), 1);
        folder.succeeds(&["-o", "-", &server.url("small")]);
    });
}

/// Answers with the first half of a file that has the same octet a million times.
fn begin_a_megabyte(stream: &mut TcpStream, octet: u8) {
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    let _ = stream.write_all(&[octet; 500_000]);
}
