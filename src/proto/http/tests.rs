//! Answers of servers, cut at every place.

use core::time::Duration;

use ureq_proto::http::StatusCode;

use super::*;
use crate::text::url::Form;
use crate::time::SpeedLimit;

#[test]
fn a_file_arrives_whole_however_the_answer_is_framed_and_cut() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\nDate: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\nDate: x\n\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        for step in [1, 2, 3, 7, answer.len()] {
            let (body, events) = exchange(get(None), answer, step);
            assert_eq!(body, b"hello", "{step}");
            assert_eq!(events.last(), Some(&Event::Done));
        }
    }
}

#[test]
fn a_connection_is_used_again_only_where_the_end_of_the_file_is_sure() {
    for (answer, expected) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
            true,
        ),
        (
            b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 5\r\n\r\nhello",
            false,
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", false),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", false),
    ] {
        let mut get = get(None);
        let head = get.handle_input(answer, Instant::ZERO).consumed;
        let _ = get.handle_input(&answer[head..], Instant::ZERO);
        assert_eq!(get.is_reusable(), expected, "{}", answer.escape_ascii());
    }
}

#[test]
fn a_proxy_is_told_the_whole_address_and_who_asks() {
    let mut get = get(None);
    get.config.proxy = Some(Proxy {
        credentials: Some("a:b".to_owned()),
    });
    let request = String::from_utf8(ask(&get.config).unwrap().0).unwrap();
    let line = format!("GET {} HTTP/1.1\r\n", get.config.url);
    assert!(request.starts_with(&line), "{request}");
    assert!(
        request.contains("proxy-authorization: Basic YTpi\r\n"),
        "{request}"
    );
}

#[test]
fn an_answer_that_ends_early_is_never_a_file() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ] {
        for len in 0..answer.len() {
            let (_, events) = exchange(get(None), &answer[..len], 4);
            let last = events.last();
            assert!(
                matches!(last, Some(Event::Failed(Failure::Truncated { .. }))),
                "{len}"
            );
        }
    }
}

#[test]
fn a_redirection_is_followed_but_never_out_of_https() {
    for (from, location, to) in [
        ("http://192.0.2.1/a/b", "../c", Some("http://192.0.2.1/c")),
        (
            "http://192.0.2.1/a",
            "https://192.0.2.2/",
            Some("https://192.0.2.2/"),
        ),
        ("https://192.0.2.1/a", "http://192.0.2.1/a", None),
        ("http://192.0.2.1/a", "tftp://192.0.2.1/a", None),
        ("http://192.0.2.1/a", "", None),
        ("http://192.0.2.1/a", "data:,x/y", None),
        ("http://192.0.2.1/a", "./b:c", Some("http://192.0.2.1/b:c")),
    ] {
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let (_, events) = exchange(of(config(from)), answer.as_bytes(), 9);
        match to {
            Some(to) => assert_eq!(events, [Event::Redirected(to.parse().unwrap())]),
            None => assert_eq!(
                events,
                [Event::Failed(Failure::BadRedirect(location.to_owned()))]
            ),
        }
    }
}

#[test]
fn a_redirection_without_end_is_not_shown_whole() {
    let failure = Failure::BadRedirect("https://192.0.2.1/".repeat(10_000));
    let text = failure.to_string();
    assert!(
        text.len() < 1_000 && text.ends_with("cannot be followed"),
        "{text}"
    );
}

#[test]
fn a_refusal_is_told_by_its_status() {
    for (answer, failure) in [
        (
            "HTTP/1.1 404 Not Found\r\n\r\n",
            Failure::Missing(StatusCode::NOT_FOUND),
        ),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            Failure::Refused(StatusCode::FORBIDDEN),
        ),
        (
            "HTTP/1.1 304 Not Modified\r\n\r\n",
            Failure::Refused(StatusCode::NOT_MODIFIED),
        ),
    ] {
        let (_, events) = exchange(get(None), answer.as_bytes(), 5);
        assert_eq!(events, [Event::Failed(failure)]);
    }
    let (_, events) = exchange(get(None), b"SSH-2.0-OpenSSH\r\n\r\n", 100);
    assert!(matches!(events[..], [Event::Failed(Failure::Malformed(_))]));
}

#[test]
fn a_download_goes_on_where_it_was_cut_or_begins_anew() {
    let mut resumed = get(Some((3, "\"v1\"")));
    let request = String::from_utf8(resumed.poll_transmit().unwrap()).unwrap();
    assert!(request.contains("range: bytes=3-\r\n"), "{request}");
    assert!(request.contains("if-range: \"v1\"\r\n"), "{request}");
    let partial = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 3-4/5\r\nContent-Length: 2\r\nETag: \"v1\"\r\n\r\nlo";
    let (body, events) = exchange(resumed, partial, 8);
    assert_eq!(body, b"lo");
    let started = Event::Started(BodyStart {
        from: 3,
        len: Some(5),
        validator: Some("\"v1\"".to_owned()),
    });
    assert_eq!(events, [started, Event::Done]);

    let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let (body, events) = exchange(get(Some((3, "\"v1\""))), whole, 8);
    assert_eq!(body, b"hello");
    assert!(matches!(
        events[0],
        Event::Started(BodyStart { from: 0, .. })
    ));

    for wrong in ["bytes 2-4/5", "bytes 3-4/9", "bytes 3/5", "x"] {
        let answer =
            format!("HTTP/1.1 206 P\r\nContent-Range: {wrong}\r\nContent-Length: 2\r\n\r\nlo");
        let (_, events) = exchange(get(Some((3, "\"v1\""))), answer.as_bytes(), 8);
        assert!(
            matches!(events[..], [Event::Failed(Failure::Malformed(_))]),
            "{wrong}"
        );
    }
}

#[test]
fn a_file_over_the_limit_is_refused_whatever_announces_it() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"[..],
        &[&b"HTTP/1.0 200 OK\r\n\r\n"[..], &[7; 101]].concat(),
        &[
            &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n"[..],
            &[7; 101],
        ]
        .concat(),
    ] {
        let (body, events) = exchange(get(None), answer, 50);
        assert!(body.len() <= 100);
        assert_eq!(
            events.last(),
            Some(&Event::Failed(Failure::TooLarge { limit: 100 }))
        );
    }
}

#[test]
fn credentials_are_in_the_request_and_nowhere_else() {
    let mut get = of(config("http://user:secret@192.0.2.1:8080/a%20b?c"));
    let request = String::from_utf8(get.poll_transmit().unwrap()).unwrap();
    assert!(
        request.starts_with("GET /a%20b?c HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("host: 192.0.2.1:8080\r\n"), "{request}");
    assert!(
        request.contains("authorization: Basic dXNlcjpzZWNyZXQ=\r\n"),
        "{request}"
    );
    assert!(!format!("{:?}", get.config).contains("secret"));
}

#[test]
fn a_form_goes_with_its_request_and_with_no_other() {
    let form = |method: &str, headers: &[(&str, &str)], body: &str| {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Form::new(method, &headers, body.to_owned())
    };
    let url: Url = "http://192.0.2.1/a/b?c".parse().unwrap();
    let request_of = |url: &Url| {
        let mut get = of(Config {
            url: url.clone(),
            ..config("http://192.0.2.1/")
        });
        String::from_utf8(get.poll_transmit().unwrap()).unwrap()
    };
    let token = [("X-Token", "secret \n"), ("Accept", "a, b")];
    let put = url.clone().with_form(form("PUT", &token, "").unwrap());
    let request = request_of(&put);
    assert!(request.starts_with("PUT /a/b?c HTTP/1.1\r\n"), "{request}");
    let end = "\r\nX-Token: secret\r\nAccept: a, b\r\nContent-Length: 0\r\n\r\n";
    assert!(request.ends_with(end), "{request}");
    // It may hold a password.
    assert!(!format!("{put}{put:?}").contains("secret"));
    let post = url
        .clone()
        .with_form(form("POST", &[], "a=b&c=d%20e").unwrap());
    let request = request_of(&post);
    let end =
        "Content-Length: 11\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\na=b&c=d%20e";
    assert!(request.ends_with(end), "{request}");
    assert_eq!(request.matches("\r\n\r\n").count(), 1, "{request}");
    // What the file refers to, and where it is redirected, is asked for as ever.
    for reference in ["next", "/next", "?d", "", "http://192.0.2.1/a/b?c"] {
        let next = request_of(&put.join(reference).unwrap());
        assert!(next.starts_with("GET /"), "{next}");
        assert!(!next.contains("secret"), "{next}");
    }
    // No second request can be hidden in one.
    for (method, headers) in [
        ("", vec![]),
        ("GET /x", vec![]),
        ("GET\r\n", vec![]),
        ("GET", vec![("", "a")]),
        ("GET", vec![("A:", "a")]),
        ("GET", vec![("A\r\nB", "a")]),
        ("GET", vec![("A", "a\r\nB: c")]),
        ("GET", vec![("A", "a\0")]),
    ] {
        assert!(
            form(method, &headers, "").is_err(),
            "{method:?} {headers:?}"
        );
    }
}

#[test]
fn what_is_posted_may_be_answered_by_any_success() {
    let form = Form::new("POST", &[], "{}".to_owned()).unwrap();
    let posted = || {
        let mut config = config("http://192.0.2.1/boots");
        config.url = config.url.with_form(form.clone());
        of(config)
    };
    for (answer, body) in [
        ("204 No Content\r\n\r\n", ""),
        (
            "201 Created\r\nLocation: /boots/1\r\nContent-Length: 2\r\n\r\n{}",
            "{}",
        ),
        (
            "202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "ok",
        ),
    ] {
        let answer = format!("HTTP/1.1 {answer}");
        let (received, events) = exchange(posted(), answer.as_bytes(), 7);
        assert_eq!(received, body.as_bytes(), "{answer}");
        assert_eq!(events.last(), Some(&Event::Done), "{answer}");
        // To a GET it is no file.
        let (_, events) = exchange(get(None), answer.as_bytes(), 7);
        assert!(
            matches!(events[..], [Event::Failed(Failure::Refused(_))]),
            "{answer}"
        );
    }
}

#[test]
fn silence_is_given_up_after_the_stall_time() {
    let mut get = get(None);
    get.handle_timeout(Instant::from_millis(14_999));
    assert_eq!(get.poll_event(), None);
    get.handle_timeout(Instant::from_millis(15_000));
    assert_eq!(
        get.poll_event(),
        Some(Event::Failed(Failure::Stalled { received: 0 }))
    );
    assert_eq!(get.poll_timeout(), None);
}

#[test]
fn an_answer_in_drips_is_too_slow_whatever_part_of_it_drips() {
    for (before, drip, limit) in [
        (&b"HTTP/1.1 200 OK\r\nX: "[..], &b"x"[..], 15),
        (b"HTTP/1.1 103 Early Hints\r\nX: ", b"x", 15),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n", 11),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x", 31),
        (b"HTTP/1.0 200 OK\r\n\r\n", b"x", 31),
        (CHUNKED, b"1\r\nx\r\n", 31),
        (CHUNKED, b"0", 31),
        (&[CHUNKED, b"0\r\n"].concat(), b"X: y\r\n", 31),
    ] {
        let mut slow = of(Config {
            max_len: 10_000,
            ..config("http://192.0.2.1/file")
        });
        let given_up = drip_in(&mut slow, before, drip);
        // The time for the body begins when the head has come.
        let (before, drip) = (before.escape_ascii(), drip.escape_ascii());
        assert_eq!(given_up, limit, "{before} {drip}");
        let events: Vec<_> = std::iter::from_fn(|| slow.poll_event()).collect();
        let is_right = match events.last() {
            Some(Event::Failed(Failure::SlowHead)) => limit == 15,
            Some(Event::Failed(Failure::TooSlow { .. })) => limit == 31,
            Some(Event::Failed(Failure::Malformed(_))) => limit == 11,
            _ => false,
        };
        assert!(is_right, "{events:?}");
        assert_eq!(slow.poll_timeout(), None);
    }
}

#[test]
fn a_slow_link_that_is_alive_is_waited_for() {
    let mut get = of(Config {
        max_len: u64::MAX,
        ..config("http://192.0.2.1/file")
    });
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 3600000\r\n\r\n";
    assert_eq!(drip_in(&mut get, head, &[7; 600]), 3_600);
}

#[test]
fn the_least_speed_is_the_users() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 3600000\r\n\r\n";
    for (least, time, drip, expected) in [
        (512, 30, 400, 31),
        (1_000, 5, 700, 6),
        (1_000, 5, 1_000, 3_600),
        (0, 30, 1, 3_600),
    ] {
        let mut get = of(Config {
            max_len: u64::MAX,
            speed: SpeedLimit {
                least,
                time: Duration::from_secs(time),
            },
            ..config("http://192.0.2.1/file")
        });
        let drip = vec![7; drip];
        assert_eq!(drip_in(&mut get, head, &drip), expected, "{least} {time}");
    }
}

#[test]
fn heads_and_trailers_without_end_are_given_up() {
    let long = format!("X: {}\r\n", "x".repeat(60_000));
    let hint = format!("HTTP/1.1 103 Early Hints\r\n{long}\r\n");
    let is_refused = |answer: &str, step| {
        let (_, events) = exchange(get(None), answer.as_bytes(), step);
        matches!(events.last(), Some(Event::Failed(Failure::Malformed(_))))
    };
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let end = "1\r\nx\r\n0\r\n";
    for (answer, expected) in [
        ("HTTP/1.1 102 Processing\r\n\r\n".repeat(10) + ok, false),
        ("HTTP/1.1 102 Processing\r\n\r\n".repeat(11) + ok, true),
        (hint.repeat(4) + ok, false),
        (hint.repeat(5) + ok, true),
        (format!("{}{chunked}{end}\r\n", hint.repeat(4)), false),
        (format!("{chunked}{end}{}\r\n", long.repeat(4)), false),
        (format!("{chunked}{end}{}\r\n", long.repeat(5)), true),
        (
            format!("{hint}{hint}{chunked}{end}{}\r\n", long.repeat(3)),
            true,
        ),
        (format!("{chunked}1;{}", long.trim().repeat(5)), true),
    ] {
        let text = answer.get(..200).unwrap_or(&answer);
        assert_eq!(is_refused(&answer, 10_000), expected, "{text}");
    }
    // One that comes at once is no better.
    let head = |count| ok.replace("Content", &(long.repeat(count) + "Content"));
    for step in [10_000, usize::MAX] {
        assert!(!is_refused(&head(4), step));
        assert!(is_refused(&head(5), step));
    }
}

#[test]
fn extensions_of_chunks_are_accepted_up_to_a_limit() {
    let is_refused = |body: String| {
        let answer = [CHUNKED, body.as_bytes()].concat();
        let ends = [1_460, 16_000, answer.len()].map(|step| {
            let unlimited = of(Config {
                max_len: u64::MAX,
                ..config("http://192.0.2.1/file")
            });
            let (body, events) = exchange(unlimited, &answer, step);
            match events.last() {
                Some(Event::Done) => body.iter().all(|byte| *byte == b'x'),
                Some(Event::Failed(Failure::Malformed(_))) => false,
                event => panic!("{event:?}"),
            }
        });
        assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
        !ends[0]
    };
    let long = |len: usize| format!(";a={}", "y".repeat(len));
    for (body, expected) in [
        (format!("1{}\r\nx\r\n0\r\n\r\n", long(4_000)), false),
        (format!("1\r\nx\r\n0{}\r\n\r\n", long(4_000)), false),
        (format!("1{}\r\nx\r\n0\r\n\r\n", long(17_000)), true),
        (format!("1{}", long(17_000)), true),
        // In proportion to the file, as long as it goes on.
        (
            format!("fa0{}\r\n{}\r\n", long(4_000), "x".repeat(4_000)).repeat(100) + "0\r\n\r\n",
            false,
        ),
        (format!("1{}\r\nx\r\n", long(4_000)).repeat(70), true),
        ("1\r\nx\r\n".repeat(10_000) + "0\r\n\r\n", false),
        (format!("{}1\r\nx\r\n0\r\n\r\n", "0".repeat(30)), false),
        ("1 ; a=\"b;c\"\r\nx\r\n000\r\n\r\n".to_owned(), false),
        ("1\r\nxy\r\n0\r\n\r\n".to_owned(), true),
        ("+1\r\nx\r\n0\r\n\r\n".to_owned(), true),
        ("-1\r\nx\r\n0\r\n\r\n".to_owned(), true),
        ("0x1\r\nx\r\n0\r\n\r\n".to_owned(), true),
        ("\r\nx\r\n0\r\n\r\n".to_owned(), true),
        ("10000000000000000\r\nx\r\n".to_owned(), true),
    ] {
        let text = body.get(..60).unwrap_or(&body).to_owned();
        assert_eq!(is_refused(body), expected, "{text}");
    }
}

#[test]
fn a_coding_that_was_not_asked_for_is_refused() {
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    for (head, body, expected) in [
        ("1.1 200 OK\r\nTransfer-Encoding: gzip", "hello", None),
        (
            "1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
            chunks,
            None,
        ),
        ("1.1 200 OK\r\nTransfer-Encoding: xchunked", chunks, None),
        (
            "1.1 200 OK\r\nTransfer-Encoding: chunked, chunked",
            chunks,
            None,
        ),
        ("1.0 200 OK\r\nTransfer-Encoding: chunked", chunks, None),
        (
            "1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
            chunks,
            None,
        ),
        (
            "1.1 200 OK\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: Chunked",
            chunks,
            Some("hello"),
        ),
        (
            "1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5",
            "hello",
            Some("hello"),
        ),
        (
            "1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5",
            "hello",
            None,
        ),
        (
            "1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 5",
            "hello",
            Some("hello"),
        ),
    ] {
        let answer = format!("HTTP/{head}\r\n\r\n{body}");
        let (body, events) = exchange(get(None), answer.as_bytes(), 7);
        let Some(expected) = expected else {
            let last = events.last();
            assert!(
                matches!(last, Some(Event::Failed(Failure::Malformed(_)))),
                "{head}: {events:?}"
            );
            continue;
        };
        assert_eq!(
            (&*body, events.last()),
            (expected.as_bytes(), Some(&Event::Done))
        );
    }
    // Apache's AddEncoding, for a file that is compressed as it stands.
    let answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: x-gzip\r\nContent-Length: 5\r\n\r\nhello";
    let (body, _) = exchange(of(config("http://192.0.2.1/initrd.gz")), answer, 7);
    assert_eq!(body, b"hello");
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Hands in `before`, and `drip` each second for an hour; returns after how many seconds it was over.
fn drip_in(get: &mut Get, before: &[u8], drip: &[u8]) -> u64 {
    let mut waiting = before.to_vec();
    for second in 1..=3_600 {
        let now = Instant::from_millis(second * 1_000);
        waiting.extend_from_slice(drip);
        loop {
            let consumed = get.handle_input(&waiting, now).consumed;
            waiting.drain(..consumed);
            if consumed == 0 || waiting.is_empty() {
                break;
            }
        }
        get.handle_timeout(now);
        if get.poll_timeout().is_none() {
            return second;
        }
    }
    3_600
}

fn config(url: &str) -> Config {
    Config {
        url: url.parse().unwrap(),
        stall_timeout: Duration::from_secs(15),
        speed: SpeedLimit::default(),
        max_len: 100,
        resume: None,
        window: None,
        proxy: None,
    }
}

fn of(config: Config) -> Get {
    Get::new(config, Instant::ZERO).unwrap()
}

fn get(resume: Option<(u64, &str)>) -> Get {
    of(Config {
        resume: resume.map(|(len, validator)| Resume {
            len,
            end: None,
            validator: Some(validator.to_owned()),
        }),
        ..config("http://192.0.2.1/file")
    })
}

#[test]
fn a_validator_is_kept_unless_it_is_weak_or_leaves_no_room_in_a_request() {
    let long = "e".repeat(20_000);
    for (headers, kept) in [
        ("ETag: \"v\"", Some("\"v\"")),
        ("ETag: W/\"v\"\r\nLast-Modified: then", Some("then")),
        (&format!("ETag: \"{long}\""), None),
        (&format!("Last-Modified: {long}"), None),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{headers}\r\nContent-Length: 1\r\n\r\nx");
        let (_, events) = exchange(get(None), answer.as_bytes(), answer.len());
        let [Event::Started(start), Event::Done] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(start.validator.as_deref(), kept, "{headers:.40}");
    }
}

#[test]
fn a_window_of_a_file_is_a_file_of_its_own() {
    let windowed = |resume| {
        of(Config {
            window: Some(100..105),
            resume,
            ..config("http://192.0.2.1/file")
        })
    };
    let resume = Some(Resume {
        len: 2,
        end: None,
        validator: Some("\"v\"".to_owned()),
    });
    for (resume, range, answer, from, body) in [
        (None, "100-104", "100-104/1000", 0, &b"hello"[..]),
        (None, "100-104", "100-104/*", 0, b"hello"),
        (resume.clone(), "102-104", "102-104/1000", 2, b"llo"),
        // The file ends in the window.
        (None, "100-104", "100-102/103", 0, b"hel"),
    ] {
        let mut get = windowed(resume);
        let request = String::from_utf8(get.poll_transmit().unwrap()).unwrap();
        assert!(
            request.contains(&format!("range: bytes={range}\r\n")),
            "{request}"
        );
        let len = body.len();
        let head = format!(
            "HTTP/1.1 206 P\r\nContent-Range: bytes {answer}\r\nContent-Length: {len}\r\n\r\n"
        );
        let answer = [head.as_bytes(), body].concat();
        let (received, events) = exchange(get, &answer, 7);
        assert_eq!(received, body);
        let len = Some(from + len as u64);
        assert!(
            matches!(&events[0], Event::Started(start) if start.from == from && start.len == len),
            "{events:?}"
        );
        assert_eq!(events.last(), Some(&Event::Done));
    }
    let moved = b"HTTP/1.1 302 Found\r\nLocation: /y.iso\r\nContent-Length: 0\r\n\r\n";
    let (_, events) = exchange(of(config("http://192.0.2.1/d/x.iso#/a/b")), moved, 1000);
    let to = "http://192.0.2.1/y.iso".parse().unwrap();
    assert_eq!(events, [Event::Redirected(to)]);
    for (answer, failure) in [
        (
            &b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"[..],
            Failure::NoParts,
        ),
        (
            b"HTTP/1.1 206 P\r\nContent-Range: bytes 0-4/1000\r\nContent-Length: 5\r\n\r\nhello",
            Failure::Malformed("not the requested range".to_owned()),
        ),
    ] {
        let (_, events) = exchange(windowed(None), answer, 1000);
        assert_eq!(events.last(), Some(&Event::Failed(failure)));
    }
}

#[test]
fn a_part_is_requested_up_to_its_end() {
    let answered = |window: Option<core::ops::Range<u64>>, end, range: &str, answer: &str, len| {
        let mut get = of(Config {
            window,
            resume: Some(Resume {
                len: 2,
                end: Some(end),
                validator: None,
            }),
            ..config("http://192.0.2.1/file")
        });
        let request = String::from_utf8(get.poll_transmit().unwrap()).unwrap();
        assert!(
            request.contains(&format!("range: bytes={range}\r\n")),
            "{request}"
        );
        let head = format!(
            "HTTP/1.1 206 P\r\nContent-Range: bytes {answer}\r\nContent-Length: {len}\r\n\r\n"
        );
        let answer = [head.as_bytes(), &vec![b'x'; len]].concat();
        let (received, events) = exchange(get, &answer, 7);
        let Event::Started(start) = &events[0] else {
            return (0, None, events.last().cloned());
        };
        let whole = start.len;
        (received.len(), whole, events.last().cloned())
    };
    let whole = Some(9);
    let done = Some(Event::Done);
    assert_eq!(
        answered(None, 5, "2-4", "2-4/9", 3),
        (3, whole, done.clone())
    );
    assert_eq!(
        answered(None, 5, "2-4", "2-4/*", 3),
        (3, None, done.clone())
    );
    // A server that sends the rest of the file.
    assert_eq!(
        answered(None, 5, "2-4", "2-8/9", 7),
        (7, whole, done.clone())
    );
    assert_eq!(
        answered(Some(20..29), 5, "22-24", "22-24/90", 3),
        (3, whole, done)
    );
    let differs = Failure::Malformed("range and length differ".to_owned());
    let (_, _, end) = answered(None, 5, "2-4", "2-3/9", 2);
    assert_eq!(end, Some(Event::Failed(differs)));
}

/// Hands the answer in by `step` bytes and closes.
fn exchange(mut get: Get, answer: &[u8], step: usize) -> (Vec<u8>, Vec<Event>) {
    let mut body = Vec::new();
    let mut waiting = Vec::new();
    for bytes in answer.chunks(step) {
        waiting.extend_from_slice(bytes);
        loop {
            let taken = get.handle_input(&waiting, Instant::ZERO);
            body.extend_from_slice(taken.body);
            let consumed = taken.consumed;
            waiting.drain(..consumed);
            if consumed == 0 || waiting.is_empty() {
                break;
            }
        }
    }
    get.handle_close(true);
    let mut events = Vec::new();
    while let Some(event) = get.poll_event() {
        events.push(event);
    }
    (body, events)
}
