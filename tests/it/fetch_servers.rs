//! `wireboot fetch` from nginx and Python's server, in network namespaces of their own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::far::Far;
use crate::common::folder::{Folder, Running, tls_server};
use crate::common::machine::shell;
use crate::common::scripted::{cutter, head, path};
use crate::common::servers::dnsmasq;
use crate::common::{in_new_namespace, wait_until};
use wireboot::sys;

#[test]
#[ignore = "needs nginx, python3 and namespaces"]
fn nginx_and_python_serve_files_whole_redirected_chunked_slow_and_through_five_cuts() {
    in_new_namespace(|| {
        let folder = Folder::new();
        folder.offer("file", 3_000_000);
        folder.offer("small", 3000);
        let _nginx = folder.nginx("");
        let _python = folder.python();
        for (url, name) in [
            ("http://127.0.0.1:8080/file", "file"),
            ("http://127.0.0.1:8080/moved/file", "file"),
            ("http://127.0.0.1:8080/chunked/file", "file"),
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
        text.push_str(&tls_server(8448, "own", ""));
        text.push_str(
            "server { listen 127.0.0.1:8447 ssl; ssl_certificate good.pem;
             ssl_certificate_key good.key; return 302 http://127.0.0.1:8080/file; }",
        );
        let _nginx = folder.nginx(&text);
        let url = |port| format!("https://localhost:{port}/file");
        for (ca, port) in [("ca.pem", 8443), ("own.pem", 8448)] {
            folder.succeeds(&["--ca", ca, "-o", "come", &url(port)]);
            folder.is_whole("come", "file");
            fs::remove_file(folder.path("come")).unwrap();
        }

        let refused = |arguments: &[&str], why: &str| {
            let text = folder.fails(8, arguments);
            assert!(text.contains(why), "{text}");
        };
        let unknown = "unknown issuer \"authority\", not in ";
        refused(&[&url(8443)], unknown);
        refused(&["--ca", "own.pem", &url(8443)], unknown);
        for arguments in [&[&*url(8448)][..], &["--ca", "ca.pem", &url(8448)]] {
            refused(
                arguments,
                "self-signed certificate; trust it with --ca FILE",
            );
        }
        let expired = "it expired on 2020-02-01 00:00 UTC; 20";
        refused(&["--ca", "ca.pem", &url(8444)], expired);
        refused(&["--ca", "ca.pem", &url(8444)], "by the machine's clock");
        let elsewhere = "it is not for localhost but for elsewhere.example";
        refused(&["--ca", "ca.pem", &url(8445)], elsewhere);
        folder.fails(7, &["--ca", "ca.pem", &url(8446)]);
        folder.succeeds(&["--ca", "ca.pem", "--cert", "client.pem", &url(8446)]);
        let text = folder.fails(7, &["--ca", "ca.pem", "-o", "x", &url(8447)]);
        assert!(text.contains("cannot be followed"), "{text}");
    });
}

#[test]
#[ignore = "needs nginx, openssl and namespaces"]
fn an_issuer_between_must_be_one_that_may_sign_certificates() {
    in_new_namespace(|| {
        let folder = Folder::new();
        folder.offer("file", 1_000);
        folder.certificates();
        let script = "
            key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
            sign() {
                openssl req -new $key -keyout $1.key -out $1.csr -subj /CN=$1
                printf \"$3\" > $1.ext
                openssl x509 -req -in $1.csr -CA $2.pem -CAkey $2.key -CAcreateserial -days 9 \
                    -extfile $1.ext -out $1.pem
            }
            signer() {
                sign $1 ca \"basicConstraints=critical,CA:TRUE\\n$2\"
                sign by-$1 $1 subjectAltName=DNS:localhost
                cat $1.pem >> by-$1.pem
            }
            signer plain ''
            signer right keyUsage=critical,keyCertSign,cRLSign
            signer lists keyUsage=critical,cRLSign
            signer none keyUsage=digitalSignature
            signer elsewhere 'nameConstraints=permitted;DNS:elsewhere.example'
            sign by-text ca subjectAltName=DNS:127.0.0.1
            sign leaf ca basicConstraints=CA:FALSE
            sign by-leaf leaf subjectAltName=DNS:localhost
            cat leaf.pem >> by-leaf.pem";
        let status = std::process::Command::new("bash")
            .args(["-euc", script])
            .current_dir(folder.served().parent().unwrap())
            .output()
            .unwrap();
        assert!(status.status.success(), "{status:?}");
        let names = [
            "plain",
            "right",
            "lists",
            "none",
            "elsewhere",
            "leaf",
            "text",
        ];
        let servers = (8443..).zip(names);
        let text = servers.map(|(port, name)| tls_server(port, &format!("by-{name}"), ""));
        let _nginx = folder.nginx(&text.collect::<String>());
        let fetch = |port: u16| format!("https://localhost:{port}/file");
        for port in [8443, 8444] {
            folder.succeeds(&["--ca", "ca.pem", "-o", "come", &fetch(port)]);
        }
        let no_signer =
            |name| format!("\"{name}\" may not sign certificates: its keyUsage lacks keyCertSign");
        for (port, why) in [
            (8445, &*no_signer("lists")),
            (8446, &*no_signer("none")),
            (
                8447,
                "a CA in its chain may not sign for this name (nameConstraints)",
            ),
            (8448, "its issuer is no CA (CA:TRUE)"),
        ] {
            let text = folder.fails(8, &["--ca", "ca.pem", "-o", "x", &fetch(port)]);
            assert!(text.contains(why), "{text}");
        }
        let url = "https://127.0.0.1:8449/file";
        let text = folder.fails(8, &["--ca", "ca.pem", "-o", "x", url]);
        let why = "it has 127.0.0.1 as the name of a host (DNS), not as an address (IP)";
        assert!(text.contains(why), "{text}");
    });
}

#[test]
#[ignore = "needs nginx, openssl and namespaces"]
fn https_goes_through_a_proxy_that_sees_the_name_of_the_server_and_nothing_else() {
    in_new_namespace(|| {
        let folder = Folder::new();
        folder.offer("file", 3_000_000);
        folder.certificates();
        let _nginx = folder.nginx(&tls_server(8443, "good", ""));
        let seen = Arc::new(Mutex::new(String::new()));
        let proxy = proxy(Arc::clone(&seen));
        let fetch = |user: &str| {
            let url = "https://localhost:8443/file";
            let mut command = folder.command(&["--ca", "ca.pem", "-o", "come", url]);
            command.env("https_proxy", format!("http://{user}@127.0.0.1:{proxy}"));
            command.output().unwrap()
        };
        let output = fetch("u:p");
        assert!(output.status.success(), "{output:?}");
        folder.is_whole("come", "file");
        assert_eq!(
            *seen.lock().unwrap(),
            "CONNECT localhost:8443 HTTP/1.1\r\nHost: localhost:8443\r\n\
             Proxy-Authorization: Basic dTpw\r\n\r\n"
        );
        let output = fetch("nobody:p");
        assert_eq!(output.status.code(), Some(7));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let why = format!("the proxy http://127.0.0.1:{proxy}/ does not connect to localhost:8443");
        assert!(text.contains(&why), "{text}");
        assert!(text.contains("407 Who"), "{text}");
    });
}

#[test]
#[ignore = "needs openssl, python3 and namespaces"]
fn what_never_ends_or_drips_is_given_up_behind_tls_and_in_a_proxy_too() {
    in_new_namespace(|| {
        let folder = Folder::new();
        folder.certificates();
        let _server = folder.start("python3", &["-c", FLOODS], 8443);
        let fetch = |name: &str, more: &[&str]| {
            let url = format!("https://localhost:8443/{name}");
            let mut command = folder.command(&["--ca", "ca.pem", "-o", "-", &url]);
            command.args(more);
            command
        };
        let begun = Instant::now();
        let mut fetches = vec![
            (fetch("hints", &[]), 7, "more than 10 informational"),
            (
                fetch("trailers", &[]),
                7,
                "trailers of more than 262144 bytes",
            ),
            (fetch("head", &[]), 7, "trailers of more than 262144 bytes"),
            // Ten octets a second.
            (
                fetch("drip", &["--speed-time", "1"]),
                7,
                "the server is too slow",
            ),
            (
                fetch("drip", &["--speed-time", "1", "--speed-limit", "2"]),
                0,
                "",
            ),
        ];
        for (head, flood, pause, why) in [
            ("", "HTTP/1.1 102 Processing\r\n\r\n", 0, "without end"),
            ("HTTP/1.1 200 OK\r\n", "X: y\r\n", 0, "head of more than"),
            (
                "HTTP/1.1 200 OK\r\n",
                "X: y\r\n",
                300,
                "connecting through the proxy",
            ),
        ] {
            let proxy = listener(move |mut stream| {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(head.as_bytes());
                while stream.write_all(flood.as_bytes()).is_ok() {
                    thread::sleep(Duration::from_millis(pause));
                }
            });
            let mut command = fetch("drip", &["--stall-timeout", "1"]);
            command.env("https_proxy", format!("http://127.0.0.1:{proxy}"));
            fetches.push((command, 7, why));
        }
        let fetches = fetches.into_iter();
        let running: Vec<_> = fetches
            .map(|(mut command, code, why)| (command.spawn().unwrap(), code, why))
            .collect();
        for (child, code, why) in running {
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{why}: {text}");
            assert!(text.contains(why), "{why}: {text}");
        }
        assert!(begun.elapsed() < Duration::from_secs(90));
    });
}

#[test]
#[ignore = "needs nginx, python3, openssl, a C compiler and namespaces"]
fn certificates_are_judged_by_the_machines_clock_unless_that_is_behind() {
    in_new_namespace(|| {
        let folder = Folder::new();
        folder.offer("file", 1000);
        folder.certificates();
        let servers = [(8443, "good"), (8444, "early"), (8445, "expired")];
        let servers = servers.map(|(port, name)| tls_server(port, name, ""));
        let _nginx = folder.nginx(&servers.concat());
        let time = TimeServer::new(&folder);
        let now = sys::since_1970().as_secs();
        let (day, in_2034) = (86_400, 2_051_011_200);
        let fetch = |clock: Option<&str>, port: u16| {
            let url = format!("https://localhost:{port}/file");
            let mut command = folder.command(&["--ntp", "127.0.0.1", "--ca", "ca.pem"]);
            command.args(["-o", "come", &url]);
            if let Some(seconds) = clock {
                command.env("LD_PRELOAD", folder.path("clock.so"));
                command.env("CLOCK", seconds);
            }
            let output = command.output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.code(), text)
        };

        // A right clock is right, whatever a server says.
        for says in [in_2034, 1_000_000_000] {
            time.says(says);
            let (code, text) = fetch(None, 8443);
            assert_eq!(code, Some(0), "{text}");
            assert_eq!(text.matches("by the machine's clock").count(), 1, "{text}");
            let (code, text) = fetch(None, 8445);
            assert_eq!(code, Some(8), "{text}");
            assert!(text.contains("by the machine's clock"), "{text}");
            assert_eq!(time.asked(), 0);
        }

        // A certificate that is not valid yet: the clock may be behind.
        time.says(now + 30 * day);
        let (code, text) = fetch(None, 8444);
        assert_eq!(code, Some(0), "{text}");
        let by_server = "by the time server 127.0.0.1";
        assert_eq!(text.matches(by_server).count(), 1, "{text}");
        for says in [now, now - 3 * day, 1_000_000_000] {
            time.says(says);
            let (code, text) = fetch(None, 8444);
            assert_eq!(code, Some(8), "{text}");
            assert!(text.contains("it is not valid before 20"), "{text}");
            assert!(text.contains("by the machine's clock"), "{text}");
        }

        time.says(now + 12 * 365 * day);
        let (code, text) = fetch(None, 8444);
        assert_eq!(code, Some(8), "{text}");
        assert!(text.contains("clock is too far ahead: after 20"), "{text}");

        // The clock of a machine that has just been built together.
        clock_library(&folder);
        let unset = Some("86400");
        time.says(now);
        let (code, text) = fetch(unset, 8443);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(text.matches(by_server).count(), 1, "{text}");
        time.says(in_2034);
        let (code, text) = fetch(unset, 8443);
        assert_eq!(code, Some(8), "{text}");
        assert!(text.contains("2034-12-29"), "{text}");
        assert!(text.contains(by_server), "{text}");

        drop(time);
        let begun = Instant::now();
        let (code, text) = fetch(None, 8444);
        assert_eq!(code, Some(8), "{text}");
        let (code, text) = fetch(unset, 8444);
        assert_eq!(code, Some(8), "{text}");
        assert!(text.contains("the build of this program"), "{text}");
        assert!(begun.elapsed() < Duration::from_secs(15));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN, openssl, python3 and cc"]
fn a_policy_says_which_clock_and_which_key_of_a_server_a_boot_believes() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        let _dhcp = dnsmasq(&far, "--dhcp-option=option:ntp-server,192.0.2.1");
        let folder = Folder::new();
        clock_library(&folder);
        let path = |name: &str| folder.path(name).display().to_string();
        let pin = shell(&format!(
            "cd {}
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout far.key \\
                -out far.pem -subj /CN=far -days 9 -addext subjectAltName=IP:192.0.2.1 2>/dev/null
            openssl x509 -in far.pem -pubkey -noout | openssl pkey -pubin -outform der |
                openssl dgst -sha256 -binary | base64",
            path("")
        ));
        let server = far.write("server.py", TLS_AND_TIME);
        let command = format!("python3 {server} {} {}", path("far.pem"), path("far.key"));
        let server = far.serve(&command, "ready");
        let boot = |policy: &str, clock: Option<&str>| {
            fs::write(path("policy"), policy).unwrap();
            let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
            command.args(["boot", "-i", "near", "--stop-after", "plan"]);
            command.args(["--boot-file", "https://192.0.2.1/label"]);
            command.args(["--ca", &path("far.pem"), "--policy", &path("policy")]);
            if let Some(seconds) = clock {
                command.env("LD_PRELOAD", path("clock.so"));
                command.env("CLOCK", seconds);
            }
            let output = command.output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.code(), text)
        };
        // The server of the time is three days ahead.
        let unset = Some("86400");
        let other = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        for (policy, clock, code, is_asked, why) in [
            ("", None, 0, false, "by the machine's clock"),
            ("", unset, 0, true, "by the time server 192.0.2.1"),
            ("clock lease\n", unset, 0, true, "by the time server"),
            (
                "clock machine\n",
                unset,
                8,
                false,
                "the build of this program",
            ),
            ("clock-ahead 1\n", unset, 8, true, "too far ahead: after 20"),
            (
                &format!("pin-host 192.0.2.1 sha256//{pin}\n"),
                None,
                0,
                false,
                "",
            ),
            (
                &format!("pin-host 192.0.2.1 sha256//{other}\n"),
                None,
                8,
                false,
                "the policy pins another for 192.0.2.1",
            ),
        ] {
            server.forget();
            let (found, text) = boot(policy, clock);
            assert_eq!(found, Some(code), "{policy}: {text}");
            assert!(text.contains(why), "{policy}: {text}");
            assert_eq!(server.count("asked") > 0, is_asked, "{policy}: {text}");
        }
    });
}

#[test]
#[ignore = "needs nginx, openssl, curl and namespaces"]
fn a_certificate_in_the_list_is_trusted_as_it_stands_as_curl_does() {
    in_new_namespace(|| {
        let folder = Folder::new();
        folder.offer("file", 300_000);
        folder.certificates();
        own_certificates(&folder);
        let names = [
            "default",
            "common",
            "old",
            "wild",
            "for-clients",
            "over",
            "good",
            "default",
        ];
        let mut text = String::new();
        for (port, name) in (8443..).zip(names) {
            let only = if port == 8450 {
                "ssl_protocols TLSv1.2;"
            } else {
                ""
            };
            text.push_str(&tls_server(port, name, only));
        }
        text.push_str(&tls_server(8451, "old", "ssl_protocols TLSv1.2;"));
        let _nginx = folder.nginx(&text);
        for (ca, url, why) in [
            // What openssl req -x509 makes: CA:TRUE.
            ("default.pem", "https://localhost:8443/file", None),
            ("default.pem", "https://127.0.0.1:8443/file", None),
            ("default.pem", "https://localhost:8450/file", None),
            ("all.pem", "https://localhost:8443/file", None),
            // A common name alone, and version 1, which has nothing else.
            ("common.pem", "https://localhost:8444/file", None),
            ("old.pem", "https://localhost:8445/file", None),
            ("old.pem", "https://localhost:8451/file", None),
            ("wild.pem", "https://a.rack.example:8446/file", None),
            // One that an authority has made, without that.
            ("good.pem", "https://localhost:8449/file", None),
            (
                "old.pem",
                "https://localhost:8443/file",
                Some("self-signed certificate; trust it with --ca FILE"),
            ),
            (
                "default.pem",
                "https://localhost:8445/file",
                Some("self-signed certificate; trust it with --ca FILE"),
            ),
            (
                "default.pem",
                "https://a.rack.example:8443/file",
                Some("it is not for a.rack.example but for localhost, 127.0.0.1"),
            ),
            (
                "old.pem",
                "https://a.rack.example:8445/file",
                Some("it has no subjectAltName for a.rack.example, only the common name localhost"),
            ),
            (
                "wild.pem",
                "https://b.a.rack.example:8446/file",
                Some("it is not for b.a.rack.example but for *.rack.example"),
            ),
            (
                "for-clients.pem",
                "https://localhost:8447/file",
                Some("it is not for servers: its extendedKeyUsage lacks serverAuth"),
            ),
            (
                "over.pem",
                "https://localhost:8448/file",
                Some("it expired on 2020-02-01 00:00 UTC; 20"),
            ),
        ] {
            let output = folder.run(&["--ca", ca, "-o", "come", url]);
            let text = String::from_utf8_lossy(&output.stderr);
            let expected = if why.is_some() { 8 } else { 0 };
            assert_eq!(output.status.code(), Some(expected), "{ca} {url}: {text}");
            assert!(text.contains(why.unwrap_or_default()), "{ca} {url}: {text}");
            if why.is_some() {
                is_in_plain_words(&text);
            }
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-o", "come", "--cacert", ca, url]);
            let curl = curl.current_dir(folder.path("")).output().unwrap();
            assert_eq!(curl.status.success(), why.is_none(), "{ca} {url}: {curl:?}");
        }
    });
}

#[test]
#[ignore = "needs nginx, openssl and namespaces"]
fn what_keeps_a_tls_connection_from_coming_about_is_said_in_plain_words() {
    in_new_namespace(|| {
        let folder = Folder::new();
        folder.offer("file", 1000);
        folder.certificates();
        let check = "ssl_client_certificate ca.pem; ssl_verify_client on; ssl_protocols TLSv1.3;";
        let old = "ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;";
        let servers = [
            (8443, "good", ""),
            (8444, "good", check),
            (8445, "good", old),
        ];
        let servers = servers.map(|(port, name, more)| tls_server(port, name, more));
        let _nginx = folder.nginx(&servers.concat());
        let server = "s_server -accept 8446 -cert good.pem -key good.key -Verify 1 -www";
        let server: Vec<_> = server.split(' ').collect();
        let _server = folder.start("openssl", &server, 8446);
        let silent = listener(|_stream| thread::sleep(Duration::from_secs(60)));
        let closing = listener(|mut stream| {
            let _ = stream.read(&mut [0; 4096]);
        });
        for (name, text) in [
            ("empty.pem", ""),
            ("text.pem", "no certificate"),
            ("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n"),
            (
                "bad.pem",
                "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            ),
            (
                "noise.pem",
                "-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n",
            ),
        ] {
            fs::write(folder.path(name), text).unwrap();
        }
        for (code, arguments, why) in [
            (
                7,
                "--ca ca.pem https://localhost:8080/file",
                "does not speak TLS on port 8080; is http:// meant?",
            ),
            (
                7,
                &*format!("--ca ca.pem --stall-timeout 1 https://localhost:{silent}/file"),
                "no answer in the TLS handshake; is port",
            ),
            (
                7,
                &*format!("--ca ca.pem --stall-timeout 1 https://localhost:{closing}/file"),
                "the TLS handshake failed: the connection was closed",
            ),
            (
                7,
                "--ca ca.pem --stall-timeout 1 https://localhost:8445/file",
                "the server has neither TLS 1.3 nor TLS 1.2",
            ),
            (
                7,
                "--ca ca.pem --stall-timeout 1 https://localhost:8446/file",
                "the server requires a client certificate; give one with --cert FILE",
            ),
            (
                1,
                "--ca empty.pem https://localhost:8443/file",
                "cannot use the certificates in empty.pem: it contains no certificate; PEM is expected",
            ),
            (
                1,
                "--ca text.pem https://localhost:8443/file",
                "cannot use the certificates in text.pem: it contains no certificate; PEM is expected",
            ),
            (
                1,
                "--ca cut.pem https://localhost:8443/file",
                "cannot use the certificates in cut.pem: it is cut off",
            ),
            (
                1,
                "--ca bad.pem https://localhost:8443/file",
                "cannot use the certificates in bad.pem: entry 1 is not a certificate",
            ),
            (
                1,
                "--ca noise.pem https://localhost:8443/file",
                "cannot use the certificates in noise.pem: it is not PEM",
            ),
            (
                1,
                "--ca gone.pem https://localhost:8443/file",
                "cannot read the authorities in gone.pem: No such file",
            ),
            (
                1,
                "--ca ca.pem --cert ca.pem https://localhost:8444/file",
                "cannot use the certificate and key in ca.pem: it contains no private key",
            ),
        ] {
            let arguments: Vec<_> = arguments.split(' ').collect();
            let output = folder.run(&arguments);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
            assert!(text.contains(why), "{arguments:?}: {text}");
            is_in_plain_words(&text);
        }
    });
}

#[test]
#[ignore = "needs openssl and namespaces"]
fn keys_and_signatures_that_are_not_supported_are_named() {
    in_new_namespace(|| {
        let folder = Folder::new();
        let script = "
            names='-addext subjectAltName=DNS:localhost'
            own() { openssl req -x509 -nodes -days 9 -keyout $1.key -out $1.pem -subj /CN=$1 \"${@:2}\"; }
            ec='-newkey ec -pkeyopt'
            own short -newkey rsa:1024 $names
            own p521 $ec ec_paramgen_curve:P-521 $names
            own good $ec ec_paramgen_curve:P-256
            openssl req -new -key good.key -subj /CN=localhost -out good.csr
            echo subjectAltName=DNS:localhost > names
            sign() {
                openssl x509 -req -in good.csr -CA $1.pem -CAkey $1.key -CAcreateserial -days 9 \
                    -extfile names -out by-$1.pem ${@:2}
                cp good.key by-$1.key
            }
            sign short
            sign p521
            sign good -sha1
            cp *.pem near/
        ";
        let mut command = Command::new("bash");
        let own = folder.path("..");
        command.args(["-euc", script]).current_dir(own);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        for (port, shown, ca, code, why) in [
            (
                8443,
                "short",
                "short",
                8,
                "its key is RSA of 1024 bits; supported are",
            ),
            (8444, "p521", "p521", 7, "as when its key is P-521"),
            (
                8445,
                "by-short",
                "short",
                8,
                "issuer \"short\" is RSA of 1024 bits",
            ),
            (
                8446,
                "by-p521",
                "p521",
                8,
                "the key of its issuer \"p521\" is P-521",
            ),
            (8447, "by-good", "good", 8, "not supported, such as SHA-1"),
        ] {
            let server = format!(
                "s_server -accept {port} -cert {shown}.pem -key {shown}.key -www \
                 -cipher ALL:@SECLEVEL=0"
            );
            let server: Vec<_> = server.split(' ').collect();
            let _server = folder.start("openssl", &server, port);
            let url = format!("https://localhost:{port}/");
            let text = folder.fails(code, &["--ca", &format!("{ca}.pem"), "-o", "f", &url]);
            assert!(text.contains(why), "{shown}: {text}");
            is_in_plain_words(
                &text
                    .replace("SHA", "")
                    .replace("RSA", "")
                    .replace("Ed2", ""),
            );
        }
    });
}

/// Fails where a value of the program shows, or an error of the kernel that only means a timeout.
fn is_in_plain_words(text: &str) {
    let terms = ["subjectAltName", "extendedKeyUsage", "serverAuth"];
    let text = terms
        .iter()
        .fold(text.to_owned(), |text, term| text.replace(term, ""));
    let mut pairs = text.chars().zip(text.chars().skip(1));
    let has_names = pairs.any(|(a, b)| a.is_ascii_lowercase() && b.is_ascii_uppercase());
    assert!(!has_names && !text.contains("os error 11"), "{text}");
    assert!(!text.contains('{') && !text.contains("Some("), "{text}");
}

/// Accepts connections on loopback and has each on its own.
fn listener(act: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let act = Arc::new(act);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let act = Arc::clone(&act);
            thread::spawn(move || act(stream));
        }
    });
    port
}

/// Makes certificates that their owners made by themselves: as openssl makes them, with a common
/// name only, of version 1, with a wildcard, not for servers, and over.
fn own_certificates(folder: &Folder) {
    let script = "
        key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        own() { openssl req -x509 $key -keyout $1.key -out $1.pem -days 9 -subj /CN=$2 \"${@:3}\"; }
        own default localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1
        own common localhost
        own wild rack -addext 'subjectAltName=DNS:*.rack.example'
        own for-clients localhost -addext subjectAltName=DNS:localhost \
            -addext extendedKeyUsage=clientAuth
        openssl req -new $key -keyout old.key -out old.csr -subj /CN=localhost
        openssl x509 -req -in old.csr -signkey old.key -out old.pem -days 9
        openssl x509 -in old.pem -noout -text | grep 'Version: 1 '
        openssl req -new $key -keyout over.key -out over.csr -subj /CN=localhost
        openssl ca -batch -selfsign -config ca.conf -keyfile over.key -notext -in over.csr \
            -out over.pem -startdate 20200101000000Z -enddate 20200201000000Z
        cat own.pem old.pem default.pem > all.pem
        cp *.pem near/
        echo '127.0.0.1 localhost a.rack.example b.a.rack.example' > /etc/hosts
    ";
    let mut command = Command::new("bash");
    command
        .args(["-euc", script])
        .current_dir(folder.path(".."));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A server on 127.0.0.1 that says any time, and notes each question.
struct TimeServer {
    folder: PathBuf,
    _server: Running,
}

impl TimeServer {
    fn new(folder: &Folder) -> Self {
        let script = "import socket,struct
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('127.0.0.1',123))
while True:
    q,a=s.recvfrom(512)
    open('near/asked','a').write('x')
    t=int(open('near/time').read())+2208988800
    s.sendto(bytes([0x24,1])+bytes(22)+q[40:48]+bytes(8)+struct.pack('>II',t%2**32,0),a)";
        let server = folder.spawn("python3", &["-c", script]);
        wait_until("the time server listens", || {
            let sockets = fs::read_to_string("/proc/thread-self/net/udp").unwrap();
            sockets.contains(":007B ")
        });
        let folder = folder.path("");
        Self {
            folder,
            _server: server,
        }
    }

    /// Has it say so many seconds since 1970 from now on.
    fn says(&self, seconds: u64) {
        fs::write(self.folder.join("time"), seconds.to_string()).unwrap();
        fs::write(self.folder.join("asked"), "").unwrap();
    }

    /// Returns how often it was asked since.
    fn asked(&self) -> usize {
        fs::read(self.folder.join("asked")).unwrap().len()
    }
}

/// Makes `clock.so`, which shows the seconds in CLOCK to a program as the wall clock.
fn clock_library(folder: &Folder) {
    let source = "#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *time) {
    if (id != CLOCK_REALTIME) return syscall(SYS_clock_gettime, id, time);
    time->tv_sec = atoll(getenv(\"CLOCK\"));
    time->tv_nsec = 0;
    return 0;
}
";
    fs::write(folder.path("clock.c"), source).unwrap();
    let mut command = Command::new("cc");
    command.args(["-shared", "-fPIC", "-o", "clock.so", "clock.c"]);
    let status = command.current_dir(folder.path("")).status().unwrap();
    assert!(status.success());
}

/// A proxy that connects to anywhere for the user `u` with the password `p`, and notes what it was
/// asked for last.
fn proxy(seen: Arc<Mutex<String>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut near in listener.incoming().map_while(Result::ok) {
            let request = head(&mut near).unwrap();
            *seen.lock().unwrap() = request.clone();
            if !request.contains("\r\nProxy-Authorization: Basic dTpw\r\n") {
                let _ = near.write_all(b"HTTP/1.1 407 Who\r\n\r\n");
                continue;
            }
            let far = TcpStream::connect(path(&request)).unwrap();
            near.write_all(b"HTTP/1.1 200 Connected\r\nVia: x\r\n\r\n")
                .unwrap();
            for (mut from, mut to) in [
                (near.try_clone().unwrap(), far.try_clone().unwrap()),
                (far, near),
            ] {
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    own
}

/// A server of TLS that sends what its path says.
const FLOODS: &str = r"
import socket, ssl, threading, time
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain('good.pem', 'good.key')
ok = b'HTTP/1.1 200 OK\r\n'
floods = {
    b'/hints': (b'', b'HTTP/1.1 102 Processing\r\n\r\n'),
    b'/trailers': (ok + b'Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n', b'X-Trailer: y\r\n'),
    b'/head': (ok + b'X-Head: ', b'x' * 100),
}
def serve(stream):
    try:
        stream = tls.wrap_socket(stream, server_side=True)
        path = stream.recv(4096).split()[1]
        if path == b'/drip':
            stream.sendall(ok + b'Content-Length: 40\r\n\r\n')
            for _ in range(40):
                stream.sendall(b'x')
                time.sleep(0.1)
            return
        before, flood = floods[path]
        stream.sendall(before)
        while True:
            stream.sendall(flood * 100)
    except OSError:
        pass
server = socket.create_server(('127.0.0.1', 8443))
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
";

/// A server of TLS with a boot file, and one of the time that is three days ahead, on 192.0.2.1.
const TLS_AND_TIME: &str = r"
import socket, ssl, struct, sys, threading, time
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(sys.argv[1], sys.argv[2])
def serve(server):
    while True:
        stream = server.accept()[0]
        try:
            stream = tls.wrap_socket(stream, server_side=True)
            stream.recv(4096)
            text = b'default a\nlabel a\nkernel k\n'
            stream.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s' % (len(text), text))
        except OSError:
            pass
clock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
clock.bind(('192.0.2.1', 123))
server = socket.create_server(('192.0.2.1', 443))
threading.Thread(target=serve, args=(server,), daemon=True).start()
print('ready', flush=True)
while True:
    query, client = clock.recvfrom(512)
    print('asked', flush=True)
    seconds = (int(time.time()) + 3 * 86400 + 2208988800) % 2**32
    answer = bytes([0x24, 1]) + bytes(22) + query[40:48] + bytes(8) + struct.pack('>II', seconds, 0)
    clock.sendto(answer, client)
";
