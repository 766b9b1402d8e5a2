//! The static binaries, which are built in another way than those of the other tests: for size.

use std::process::Command;

use crate::common::machine::shell;
use crate::common::scripted::{Scripted, whole};

#[test]
#[ignore = "builds the static binaries"]
fn requests_of_the_static_binaries_are_those_of_http() {
    let server = Scripted::new(|request, _| whole(request.lines().next().unwrap()));
    for features in ["", " --no-default-features"] {
        let binary = shell(&format!("static_binary{features}"));
        let mut command = Command::new(binary);
        let output = command
            .args(["fetch", "-o", "-", &server.url("f")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout, b"GET /f HTTP/1.1", "{features}: {said}");
    }
}
