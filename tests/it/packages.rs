//! What `initramfs/release` has made, in target/initramfs/release: each package is installed and removed
//! in a folder of its own.

use std::path::PathBuf;
use std::process::Command;

use crate::common::machine::shell;

#[test]
#[ignore = "needs initramfs/release to have been run, dpkg, rpm and lintian"]
fn packages_are_installed_whole_and_removed_whole() {
    for name in ["wireboot", "wireboot-initramfs"] {
        let deb = one(&format!("{name}_*_amd64.deb"));
        let deb = deb.display();
        // Its own database: nothing reaches this machine's.
        let said = run(&format!(
            "root=$(mktemp -d); trap 'rm -rf \"$root\"' EXIT
            mkdir -p \"$root\"/var/lib/dpkg/{{info,updates,triggers}}; : >\"$root/var/lib/dpkg/status\"
            dpkg=(dpkg --root=\"$root\" --force-not-root --log=/dev/null)
            \"${{dpkg[@]}}\" --install {deb} >/dev/null
            (cd \"$root\" && find usr -type f)
            [ {name} != wireboot ] || \"$root/usr/sbin/wireboot\" --version
            \"${{dpkg[@]}}\" --purge {name} >/dev/null
            echo left; (cd \"$root\" && find . -type f ! -path './var/lib/dpkg/*')"
        ));
        has_all(&said, name);
        let said = run(&format!(
            "lintian --allow-root --fail-on error {deb} 2>&1 || echo failed"
        ));
        assert!(!said.contains("failed") && !said.contains("E: "), "{said}");
    }
    for name in ["wireboot", "wireboot-initramfs"] {
        let rpm = one(&format!("{name}-[0-9]*.x86_64.rpm"));
        let rpm = rpm.display();
        let said = run(&format!(
            "root=$(mktemp -d); trap 'rm -rf \"$root\"' EXIT
            rpm=(rpm --root \"$root\" --dbpath /var/lib/rpm)
            \"${{rpm[@]}}\" --nodeps --install {rpm}
            (cd \"$root\" && find usr -type f)
            [ {name} != wireboot ] || \"$root/usr/sbin/wireboot\" --version
            \"${{rpm[@]}}\" --erase {name}
            echo left; (cd \"$root\" && find . -type f ! -path './var/lib/rpm/*')"
        ));
        has_all(&said, name);
    }
}

#[test]
#[ignore = "needs initramfs/release to have been run, and man"]
fn the_manual_of_the_package_is_found_by_name() {
    let deb = one("wireboot_*_amd64.deb");
    let deb = deb.display();
    for page in [
        "wireboot",
        "wireboot-lease",
        "wireboot.cmdline",
        "wireboot-troubleshooting",
        "wireboot-recipes",
    ] {
        let said = run(&format!(
            "root=$(mktemp -d); trap 'rm -rf \"$root\"' EXIT
            dpkg -x {deb} \"$root\"
            MANPATH=$root/usr/share/man MANPAGER=cat man {page} 2>&1"
        ));
        assert!(
            said.contains("NAME") && said.contains(page),
            "{page}: {said}"
        );
    }
}

#[test]
#[ignore = "needs initramfs/release to have been run"]
fn hashes_and_bill_of_materials_are_of_what_is_there() {
    let said = run("sha256sum --strict --check SHA256SUMS; ls");
    let listed = said.matches(": OK\n").count();
    let there = said.lines().filter(|line| !line.ends_with(": OK")).count();
    assert_eq!(listed + 1, there, "{said}");
    let bill = std::fs::read_to_string(one("*.cdx.json")).unwrap();
    let bill: serde_json::Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let names: Vec<_> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| component["name"].as_str().unwrap())
        .collect();
    for expected in ["wireboot-proto", "rustls", "dhcproto", "libc"] {
        assert!(names.contains(&expected), "{names:?}");
    }
    let notices = std::fs::read_to_string(one("third-party")).unwrap();
    for (name, version) in bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| (&component["name"], &component["version"]))
    {
        let crate_name = format!("{}-{}: ", name.as_str().unwrap(), version.as_str().unwrap());
        let is_listed =
            notices.contains(&crate_name) || WITHOUT_NOTICE.contains(&name.as_str().unwrap());
        assert!(is_listed, "no notice of {crate_name}");
    }
}

/// Our own crate, and those that run only while the binary is built.
const WITHOUT_NOTICE: &[&str] = &[
    "wireboot-proto",
    "aho-corasick",
    "dhcproto-macros",
    "regex",
    "regex-automata",
    "regex-syntax",
    "serde_derive",
    "thiserror-impl",
];

/// Checks the files of a package that was installed, and that none was left when it was removed.
fn has_all(said: &str, name: &str) {
    let (installed, left) = said.split_once("left\n").expect(said);
    let expected: &[&str] = if name == "wireboot" {
        &[
            "usr/sbin/wireboot",
            "usr/share/man/man8/wireboot-lease.8.gz",
            "usr/share/man/man7/wireboot.cmdline.7.gz",
            "usr/share/man/man7/wireboot-troubleshooting.7.gz",
            "usr/share/man/man7/wireboot-recipes.7.gz",
            "usr/share/bash-completion/completions/wireboot",
            "usr/lib/systemd/system/wireboot@.service",
            "wireboot 0.",
        ]
    } else {
        &[
            "usr/lib/wireboot/wireboot",
            "usr/lib/dracut/modules.d/30network/module-setup.sh",
        ]
    };
    for file in expected.iter().chain(&["third-party"]) {
        assert!(installed.contains(file), "{file}: {installed}");
    }
    assert_eq!(left, "");
}

/// Returns the path of the only file in the release with such a name.
fn one(pattern: &str) -> PathBuf {
    let found = run(&format!("ls -d \"$PWD\"/{pattern}"));
    assert_eq!(found.lines().count(), 1, "{pattern}: {found}");
    PathBuf::from(found.trim())
}

/// Runs commands in the folder of the release and returns what they print.
fn run(commands: &str) -> String {
    let folder = shell("echo \"$work/release\"");
    let mut command = Command::new("bash");
    command.args(["-euc", commands]).current_dir(folder);
    let output = command.output().expect("bash is installed");
    assert!(output.status.success(), "{commands}: {output:?}");
    String::from_utf8(output.stdout).expect("it is text")
}
