//! An HTTP server on loopback that answers as a test tells it to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub fn path(request: &str) -> &str {
    request.split(' ').nth(1).unwrap_or_default()
}

pub fn whole(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

/// A server on loopback that answers as it is told.
pub struct Scripted {
    port: u16,
    counts: Arc<Mutex<(usize, usize)>>,
}

impl Scripted {
    pub fn new(answer: impl Fn(&str, &mut TcpStream) -> String + Send + Sync + 'static) -> Self {
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

    pub fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    pub fn connections(&self) -> usize {
        self.counts.lock().unwrap().0
    }

    pub fn requests(&self) -> usize {
        self.counts.lock().unwrap().1
    }
}

fn is_complete(answer: &str) -> bool {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    head.ends_with(&format!("Content-Length: {}", body.len()))
}

pub fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).ok()?;
        head.extend(octet);
    }
    String::from_utf8(head).ok()
}

/// Passes connections on to `port`, the first `cuts` of them for `len` octets only.
pub fn cutter(port: u16, cuts: usize, len: u64) -> u16 {
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
            // Further requests on the same connection.
            let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
            let _ = io::copy(&mut far.take(limit), &mut near);
            let _ = near.shutdown(Shutdown::Both);
        }
    });
    own
}
