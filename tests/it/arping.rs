//! `wireboot arping`: in the words and with the exit codes of iputils' arping, which is asked the same
//! where it is installed.

use std::process::{Command, Output};

use crate::common::far::Far;
use crate::common::{in_new_namespace, ip};

fn arping(arguments: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireboot"));
    let command = command.arg("arping").args(arguments.split_whitespace());
    said(&command.output().unwrap())
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) || error.is_empty(),
        "{error}"
    );
    (output.status.code(), text)
}

/// Returns the text with the times and hardware addresses left out.
fn without_times(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once("ms\n") {
        Some((_, rest)) => format!("TIMEms\n{rest}"),
        None if word.starts_with('[') => "[MAC]".to_owned(),
        None => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn who_answers_is_shown_as_iputils_shows_it() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        ip("address add 192.0.2.2/24 dev near");
        ip("link set near up");
        far.run("ip link set far address 02:ab:cd:00:00:01");
        let (code, text) = arping("-I near -c 2 -i 0.1 192.0.2.1");
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(
            without_times(&text).replace("[MAC]", "[02:AB:CD:00:00:01]"),
            "ARPING 192.0.2.1 from 192.0.2.2 near\n\
             Unicast reply from 192.0.2.1 [02:AB:CD:00:00:01]  TIMEms\n\
             Unicast reply from 192.0.2.1 [02:AB:CD:00:00:01]  TIMEms\n\
             Sent 2 probes (1 broadcast(s))\nReceived 2 response(s)\n"
        );
        assert!(text.contains("[02:AB:CD:00:00:01]"), "{text}");
        let of_iputils = Command::new("arping").args(["-V"]).output();
        if of_iputils
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("iputils"))
        {
            let mut command = Command::new("arping");
            let theirs = command
                .args(["-I", "near", "-c", "1", "192.0.2.1"])
                .output();
            let (code, ours) = arping("-I near -c 1 192.0.2.1");
            let theirs = said(&theirs.unwrap());
            assert_eq!(
                (code, without_times(&ours)),
                (theirs.0, without_times(&theirs.1))
            );
        }
        let (code, text) = arping("-f -b 192.0.2.1");
        assert_eq!(code, Some(0), "without -I, and with -f: {text}");
        assert!(text.contains("Received 1 response(s)"), "{text}");
        assert_eq!(arping("-q -c 1 192.0.2.1"), (Some(0), String::new()));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn the_exit_code_says_whether_somebody_has_the_address() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        ip("link set near up");
        let silence = "Sent 2 probes (2 broadcast(s))\nReceived 0 response(s)\n";
        let (code, text) = arping("-I near -c 2 -i 0.1 192.0.2.77");
        assert_eq!((code, text.ends_with(silence)), (Some(1), true), "{text}");
        // One without an address, as at the console of a boot.
        assert!(
            text.starts_with("ARPING 192.0.2.77 from 0.0.0.0 near\n"),
            "{text}"
        );
        assert_eq!(arping("-I near -c 1 192.0.2.1").0, Some(0));
        assert_eq!(arping("-D -I near -c 2 -i 0.1 192.0.2.77").0, Some(0));
        let (code, text) = arping("-D -I near -c 2 192.0.2.1");
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("Received 1 response(s)"), "{text}");
        // The deadline ends it, or as many answers.
        assert_eq!(arping("-I near -w 1 192.0.2.77").0, Some(1));
        assert_eq!(arping("-I near -c 3 -i 0.1 -w 20 192.0.2.1").0, Some(0));
        let neighbour = || far.output("ip neighbour show 192.0.2.9");
        far.run("sysctl -q net.ipv4.conf.far.arp_accept=1");
        for letter in ["-U", "-A"] {
            far.run("ip neighbour flush dev far");
            assert_eq!(
                arping(&format!("{letter} -I near -c 1 192.0.2.9")).0,
                Some(0)
            );
            assert!(neighbour().contains("lladdr"), "{letter}: {}", neighbour());
        }
        for wrong in [
            "-I near",
            "-I near 192.0.2",
            "-I none 192.0.2.1",
            "-I lo 192.0.2.1",
            "-I near --scan",
        ] {
            assert_eq!(arping(wrong).0, Some(2), "{wrong}");
        }
        // In the network of no interface: asked on the first that has ARP.
        ip("link set lo up");
        let (code, text) = arping("-c 1 -w 1 203.0.113.9");
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.starts_with("ARPING 203.0.113.9 from 0.0.0.0 near\n"),
            "{text}"
        );
        ip("link set near down");
        assert_eq!(arping("-I near 192.0.2.1").0, Some(2));
    });
}

#[test]
#[ignore = "needs CAP_NET_ADMIN"]
fn a_scan_lists_who_answers_in_the_network() {
    in_new_namespace(|| {
        let far = Far::plug_in();
        ip("address add 192.0.2.66/26 dev near");
        ip("link set near up");
        for host in [70, 120] {
            far.run(&format!("ip address add 192.0.2.{host}/24 dev far"));
        }
        let (code, text) = arping("--scan -I near");
        assert_eq!(code, Some(0), "{text}");
        let found: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .collect();
        let addresses: Vec<_> = found.iter().map(|(address, _)| *address).collect();
        assert_eq!(addresses, ["192.0.2.70", "192.0.2.120"], "{text}");
        ip("address flush dev near");
        ip("address add 10.0.0.1/8 dev near");
        assert_eq!(arping("--scan -I near").0, Some(2));
    });
}
