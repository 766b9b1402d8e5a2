//! The settings of a fetched root, and the words of dracut and of the kernel for them.

#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::time::Duration;

use super::config::{Config, Overlay, RootConfig, RootSource};
use wireboot_proto::oci::Reference;
use wireboot_proto::text::remote_root::RemoteRoot;
use wireboot_proto::text::url::{Url, without_credentials};

/// Sets the root.
///
/// # Errors
/// What its address lacks.
pub(super) fn source(config: &mut Config, value: &str) -> Result<(), String> {
    let wrong = |why| format!("not a root: {why}");
    config.root.source = Some(if value == "dhcp" {
        RootSource::Lease
    } else if let Some(root) = RemoteRoot::parse(value) {
        RootSource::Remote(root.map_err(wrong)?)
    } else if let Some(reference) = Reference::parse(value) {
        RootSource::Artifact(reference.map_err(wrong)?)
    } else {
        let url = value.parse();
        RootSource::Image(url.map_err(|error| format!("not a URL: {error}"))?)
    });
    // No boot file is waited for.
    (config.dhcp.proxy_wait, config.dhcp.late_wait) = (None, Duration::ZERO);
    Ok(())
}

/// Applies a word that is not one of wireboot's own; returns none if it is not about the root by the
/// network, and else what it means, if it changes anything.
pub(super) fn word(
    config: &mut Config,
    key: &str,
    value: &str,
) -> Option<Result<Option<String>, String>> {
    let meaning = match key {
        "root" | "netroot" => {
            let (address, is_live) = match value.strip_prefix("live:") {
                Some(address) => (address, true),
                None => (value, false),
            };
            let schemes = ["http://", "https://", "tftp://", "oci://", "oci+http://"];
            let is_image = schemes.iter().any(|scheme| address.starts_with(scheme));
            let address = match value {
                "/dev/nfs" | "dhcp6" => "dhcp",
                // SERVER:/PATH with an address, without a word in front (parse-nfsroot.sh of dracut).
                _ if is_nfs_of_address(value) => &format!("nfs:{value}"),
                _ if is_image || value == "dhcp" || RemoteRoot::parse(value).is_some() => address,
                // Those of dracut's handlers that have none here.
                _ if is_live && (Url::has_scheme(address) || address.starts_with("nfs")) => {
                    return Some(Err(
                        "an image is fetched by http, https or tftp, or from a registry".to_owned(),
                    ));
                }
                // The root of another system.
                _ => return None,
            };
            source(config, address).map(|()| {
                if is_image {
                    "the root is fetched and mounted".to_owned()
                } else {
                    "the root is mounted over the network".to_owned()
                }
            })
        }
        "nfsroot" => match RemoteRoot::nfs(value, false) {
            Ok(root) => {
                config.root.nfs = Some(root);
                Ok("the root of root=/dev/nfs".to_owned())
            }
            Err(why) => Err(why.to_owned()),
        },
        "roothash" => {
            let is_digit = |c: char| c.is_ascii_hexdigit();
            // From SHA-1 to SHA-512.
            if matches!(value.len(), 40 | 56 | 64 | 96 | 128) && value.chars().all(is_digit) {
                config.root.root_hash = Some(value.to_ascii_lowercase());
                Ok("the root is verified by dm-verity".to_owned())
            } else {
                Err("it is no hash in hexadecimal digits".to_owned())
            }
        }
        "usrhash" => Err("/usr is not mounted apart from the root".to_owned()),
        "rw" | "ro" if value.is_empty() => {
            config.root.is_writable = Some(key == "rw");
            return None;
        }
        "init" => {
            config.root.init = Some(value.to_owned());
            Ok(format!("{value} becomes process 1 of a fetched root"))
        }
        "rd.overlay" | "rd.live.overlay" => match value {
            "0" | "no" | "off" => overlay(config, "none"),
            // A disk that another word names is not taken back (get_rd_overlay of dracut).
            "" | "1" | "yes" | "on" => match config.root.overlay {
                Some(Overlay::Disk(_)) => return Some(Ok(None)),
                Some(Overlay::Tmpfs | Overlay::None) | None => overlay(config, "tmpfs"),
            },
            other => {
                // Behind a colon is where on the disk dracut keeps them, which its overlay of blocks takes.
                let (disk, path) = other.split_once(':').unwrap_or((other, ""));
                match path {
                    "" | "auto" => overlay(config, disk),
                    _ => Err("the folder on the disk cannot be chosen".to_owned()),
                }
            }
        },
        "rd.live.dir" => {
            value
                .trim_matches('/')
                .clone_into(&mut config.root.live_folder);
            return Some(Ok(None));
        }
        "rd.live.squashimg" => {
            value.clone_into(&mut config.root.live_image);
            return Some(Ok(None));
        }
        "rd.live.overlay.size" => match value.parse() {
            Ok(mib) if mib > 0 => {
                config.root.overlay_mib = Some(mib);
                Ok(format!("changes to a fetched root take up to {mib} MiB"))
            }
            _ => Err("it is not a number of MiB".to_owned()),
        },
        "rd.live.image"
        | "rd.live.ram"
        | "rd.live.overlay.overlayfs"
        | "rd.live.overlay.thin"
        | "rd.live.overlay.nouserconfirmprompt"
        | "rd.minmem" => return Some(Ok(None)),
        _ => return None,
    };
    Some(meaning.map(Some))
}

/// Words that choose something about a root, by their ends, and why each is not followed.
const NO_CHOICES: [(&str, &str); 7] = [
    ("rootfstype", "the file system is recognized by itself"),
    (
        "rootflags",
        "nothing is mounted with options, but NFS with those behind its path",
    ),
    (
        "overlay.readonly",
        "changes on a disk are added to; wireboot.overlay=tmpfs does without it",
    ),
    (
        "overlay.reset",
        "remove the folder wireboot-overlay from the disk",
    ),
    (
        "rd.writable.fsimg",
        "changes go into an overlay; an image is fetched as it is, and not in a tar",
    ),
    (
        "rd.nfs.domain",
        "owners are numbers; /etc/idmapd.conf of the root has the domain",
    ),
    ("rd.break", "use wireboot.stop-after="),
];

/// Returns why a word that chooses something about a root is not followed, of those that are not: such a
/// word is reported only where there is a root by the network, which may be named behind it.
pub(super) fn no_choice(key: &str) -> Option<&'static str> {
    if let Some((_, why)) = NO_CHOICES.iter().find(|(end, _)| key.ends_with(end)) {
        return Some(why);
    }
    let mut starts = ["rd.live.", "rd.overlay.", "live.updates"].iter();
    let is_of_live = starts.any(|start| key.starts_with(start)) && key != "rd.live.check";
    is_of_live.then_some("there is no such choice for a root that wireboot mounts")
}

/// Words by which other live systems name their root, as they begin, and what wireboot takes in place of
/// them.
const OF_OTHERS: [(&str, &str); 3] = [
    (
        "fetch= httpfs= ftpfs= rd.systemd.pull= url= iso-url= boot=live boot=casper netboot= \
         archiso_http_srv= archiso_nfs_srv= archiso_nbd_srv=",
        "root=live:URL of the file system (in an ISO image: URL.iso#/PATH), or root=nfs:SERVER:/PATH of the \
         root itself",
    ),
    ("boot=nfs", "root=/dev/nfs"),
    (
        "modloop= alpine_repo= root=iscsi: netroot=iscsi:",
        "a boot file with that system's kernel and initramfs",
    ),
];

/// Returns what wireboot takes in place of a word by which another live system names its root.
pub(super) fn of_others(word: &str) -> Option<&'static str> {
    // Installers have a word url= too, for their answers.
    let is_it =
        |start: &str| word.starts_with(start) && (start != "url=" || word.ends_with(".iso"));
    let mut rows = OF_OTHERS.iter();
    Some(rows.find(|(starts, _)| starts.split(' ').any(is_it))?.1)
}

fn is_nfs_of_address(value: &str) -> bool {
    let server = value.split_once(":/").map(|(server, _)| server);
    server.is_some_and(|server| server.trim_matches(['[', ']']).parse::<IpAddr>().is_ok())
}

/// Returns the root that a plan is to mount in place of its kernel, with what else the words of its
/// command line say about it; none unless `wireboot.root=` names one. A word such as `root=live:URL` is for
/// the initramfs of the kernel.
///
/// # Errors
/// What is wrong with a word, in plain words.
pub fn of_plan(words: &[String]) -> Result<Option<RootConfig>, String> {
    let mut config = Config::for_boot();
    if !words.iter().any(|word| word.starts_with("wireboot.root=")) {
        return Ok(None);
    }
    for text in words {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let meaning = match key {
            "wireboot.root" => source(&mut config, value),
            "wireboot.overlay" => overlay(&mut config, value).map(drop),
            "root" | "netroot" => Ok(()),
            _ => match (word(&mut config, key, value), no_choice(key)) {
                (Some(meaning), _) => meaning.map(drop),
                (None, Some(why)) => Err(why.to_owned()),
                (None, None) => Ok(()),
            },
        };
        meaning.map_err(|why| format!("{key}=: {why}"))?;
    }
    Ok(Some(config.root).filter(|root| root.source.is_some()))
}

/// Returns what becomes of a root by the network that the command line of a plan names.
pub fn explain(words: &[String]) -> Option<String> {
    let mut named = words.iter().filter_map(|word| word.split_once('='));
    if named.any(|(key, _)| key == "wireboot.root") {
        let text = "wireboot.root= in the command line: process 1 mounts it as the root, and starts no kernel";
        return Some(text.to_owned());
    }
    let of_kernel = words.iter().find(|text| {
        let (key, value) = text.split_once('=').unwrap_or_default();
        let is_root = matches!(key, "root" | "netroot");
        is_root && word(&mut Config::for_boot(), key, value).is_some()
    })?;
    Some(format!(
        "{}: the kernel's own initramfs gets it; by wireboot.root=, wireboot as process 1 would mount it \
         and need no second kernel",
        without_credentials(of_kernel)
    ))
}

fn overlay(config: &mut Config, text: &str) -> Result<String, String> {
    let overlay = text.parse().map_err(|why| format!("it is {why}"))?;
    Ok(match config.root.overlay.insert(overlay) {
        Overlay::Tmpfs => "changes to a fetched root are kept in memory".to_owned(),
        Overlay::None => "a fetched root is read-only".to_owned(),
        Overlay::Disk(name) => format!("changes to a fetched root are kept on the disk {name}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::cmdline::{self, words};

    fn root_of(words: &str) -> RootConfig {
        let mut config = Config::for_boot();
        assert_eq!(cmdline::apply(words, &mut config), [""; 0], "{words}");
        let waits = config.dhcp.proxy_wait.is_some();
        assert_eq!(config.root.source.is_none(), waits, "{words}");
        config.root
    }

    #[test]
    fn a_root_by_the_network_is_told_from_all_others() {
        for word in [
            "root=live:http://192.0.2.1/a.squashfs",
            "root=http://192.0.2.1/a.squashfs",
            "wireboot.root=http://192.0.2.1/a.squashfs",
            "root=/dev/sda1 root=live:http://192.0.2.1/a.squashfs rd.live.image",
        ] {
            let expected = RootSource::Image("http://192.0.2.1/a.squashfs".parse().unwrap());
            assert_eq!(root_of(word).source, Some(expected));
        }
        for other in [
            "root=/dev/sda1",
            "root=live:CDLABEL=x",
            "root=live:/dev/sr0",
            "root=UUID=7",
            "root=/srv",
            "root=a:/srv",
            "rootflags=subvol=a rootfstype=btrfs root=/dev/sda1",
        ] {
            assert_eq!(root_of(other), RootConfig::default(), "{other}");
        }
        for refused in [
            "root=live:ftp://h/a.iso",
            "root=live:nfs://h/a.iso",
            "root=live:nfs:h:/a.iso",
        ] {
            let refused = cmdline::apply(refused, &mut Config::for_boot());
            assert!(refused[0].contains("fetched by http"), "{refused:?}");
        }
        let mut config = Config::for_boot();
        let refused = cmdline::apply("root=live:http:///a", &mut config);
        assert!(refused[0].contains("not a URL"), "{refused:?}");
        assert_eq!(config.root.source, None);
        let artifact = root_of("root=live:oci://h.example/debian:12").source;
        assert!(
            matches!(artifact, Some(RootSource::Artifact(_))),
            "{artifact:?}"
        );
        for (words, source, is_writable) in [
            (
                "root=nfs:h:/srv rw",
                RootSource::Remote(RemoteRoot::nfs("h:/srv", false).unwrap()),
                Some(true),
            ),
            (
                "root=192.0.2.7:/srv:rw",
                RootSource::Remote(RemoteRoot::nfs("192.0.2.7:/srv:rw", false).unwrap()),
                None,
            ),
            (
                "root=[2001:db8::1]:/srv",
                RootSource::Remote(RemoteRoot::nfs("[2001:db8::1]:/srv", false).unwrap()),
                None,
            ),
            (
                "root=nfs4:/srv,ro ro",
                RootSource::Remote(RemoteRoot::nfs("/srv,ro", true).unwrap()),
                Some(false),
            ),
            ("root=/dev/nfs nfsroot=h:/srv", RootSource::Lease, None),
            ("netroot=dhcp", RootSource::Lease, None),
            ("wireboot.root=dhcp", RootSource::Lease, None),
        ] {
            let root = root_of(words);
            assert_eq!(
                (root.source, root.is_writable),
                (Some(source), is_writable),
                "{words}"
            );
            assert_eq!(root.nfs.is_some(), words.contains("nfsroot"), "{words}");
        }
        for wrong in [
            "root=nfs:h",
            "root=nbd::7",
            "nfsroot=h",
            "wireboot.root=nfs:h",
        ] {
            let refused = cmdline::apply(wrong, &mut Config::for_boot());
            assert_eq!(refused.len(), 1, "{wrong}");
        }
    }

    #[test]
    fn a_plan_names_its_root_by_a_word_of_its_own_alone() {
        let pin = "7".repeat(64);
        let line = format!(
            "quiet root=live:http://192.0.2.1/b wireboot.root=http://192.0.2.1/a#sha256={pin} init=/bin/sh \
             wireboot.overlay=none roothash={pin} wireboot.timeout=7"
        );
        let root = of_plan(&words(&line)).unwrap().unwrap();
        let Some(RootSource::Image(url)) = &root.source else {
            panic!("{root:?}");
        };
        assert_eq!(url.to_string(), "http://192.0.2.1/a");
        assert_eq!(url.sha256().unwrap().to_string(), pin);
        assert_eq!(root.init.as_deref(), Some("/bin/sh"));
        assert_eq!(root.overlay, Some(Overlay::None));
        assert_eq!(root.root_hash, Some(pin));
        assert!(
            explain(&words(&line))
                .unwrap()
                .starts_with("wireboot.root=")
        );
        for (other, expected) in [
            (
                "root=live:http://192.0.2.1/a rd.live.image",
                Some("root=live:http://192.0.2.1/a: "),
            ),
            ("root=nfs:192.0.2.1:/srv", Some("root=nfs:192.0.2.1:/srv: ")),
            (
                "netroot=http://me:secret@192.0.2.1/a",
                Some("netroot=http://…@192.0.2.1/a: "),
            ),
            ("root=/dev/sda1 ip=dhcp init=/bin/sh", None),
            ("", None),
        ] {
            assert_eq!(of_plan(&words(other)), Ok(None), "{other}");
            let said = explain(&words(other));
            assert_eq!(said.is_some(), expected.is_some(), "{other}");
            if let (Some(said), Some(expected)) = (said, expected) {
                assert!(said.starts_with(expected), "{said}");
            }
        }
        for wrong in [
            "wireboot.root=x",
            "wireboot.root=http://192.0.2.1/a roothash=7",
        ] {
            of_plan(&words(wrong)).unwrap_err();
        }
    }

    #[test]
    fn the_words_of_dracut_say_where_changes_are_kept() {
        let label = || Overlay::Disk("LABEL=data".to_owned());
        let disk = |name: &str| Overlay::Disk(name.to_owned());
        for (words, overlay, mib) in [
            ("wireboot.overlay=none", Overlay::None, None),
            ("wireboot.overlay=LABEL=data", label(), None),
            ("rd.overlay=0", Overlay::None, None),
            ("rd.overlay=0 rd.overlay", Overlay::Tmpfs, None),
            ("rd.overlay=yes", Overlay::Tmpfs, None),
            ("rd.overlay=off", Overlay::None, None),
            ("rd.live.overlay=LABEL=data rd.overlay=1", label(), None),
            ("rd.overlay=LABEL=data", label(), None),
            ("rd.live.overlay=none", Overlay::None, None),
            ("rd.overlay=/dev/sdb1", disk("/dev/sdb1"), None),
            (
                "rd.overlay=UUID=7-a:auto rd.overlay",
                disk("UUID=7-a"),
                None,
            ),
            ("rd.live.overlay=LABEL=data:auto", label(), None),
            (
                "wireboot.overlay=tmpfs rd.live.overlay.size=700 rd.live.ram=1",
                Overlay::Tmpfs,
                Some(700),
            ),
        ] {
            let root = root_of(words);
            assert_eq!(
                (root.overlay, root.overlay_mib),
                (Some(overlay), mib),
                "{words}"
            );
        }
        for wrong in [
            "wireboot.overlay=LABEL=",
            "rd.overlay=PARTUUID=7",
            "rd.overlay=/dev/sdb1:/b",
            "rd.live.overlay=LABEL=a:/b",
            "rootflags=subvol=a root=http://192.0.2.1/a",
            "root=nfs:h:/a rd.nfs.domain=example.org",
            "rd.live.overlay.size=0",
            "root=http://192.0.2.1/a rd.live.overlay.reset",
            "root=http://192.0.2.1/a rd.overlay.readonly",
            "root=http://192.0.2.1/a rootflags=subvol=a",
            "root=http://192.0.2.1/a rd.writable.fsimg",
        ] {
            let mut config = Config::for_boot();
            assert_eq!(cmdline::apply(wrong, &mut config).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn words_of_other_live_systems_are_told_of_where_no_root_is_named() {
        let told = |text: &str| {
            let line = cmdline::parse(text, Config::for_boot());
            assert_eq!(line.remarks.iter().find_map(cmdline::Remark::refusal), None);
            let remarks = line.roots_of_others.iter();
            remarks
                .filter_map(cmdline::Remark::refusal)
                .collect::<Vec<_>>()
        };
        for (word, instead) in [
            ("fetch=http://192.0.2.1/a.squashfs", "root=live:URL"),
            ("boot=live", "root=live:URL"),
            ("netboot=nfs", "root=nfs:SERVER:/PATH"),
            ("url=http://192.0.2.1/ubuntu.iso", "URL.iso#/PATH"),
            ("archiso_http_srv=http://192.0.2.1/", "root=live:URL"),
            ("boot=nfs", "root=/dev/nfs"),
            ("modloop=http://192.0.2.1/modloop-lts", "a boot file"),
            (
                "rd.systemd.pull=raw,blockdev:root:http://192.0.2.1/a",
                "root=live:",
            ),
            ("root=iscsi:192.0.2.1::::iqn.a", "a boot file"),
        ] {
            let said = told(word);
            let [said] = &said[..] else {
                panic!("{word}: {said:?}");
            };
            assert!(said.contains(word) && said.contains(instead), "{said}");
            // One that is named is mounted, whatever else is there for the system in it.
            assert!(told(&format!("{word} root=live:http://192.0.2.1/a")).is_empty());
        }
        for other in [
            "url=http://192.0.2.1/preseed",
            "boot=local",
            "fetch",
            "root=/dev/sda1",
            "-- boot=live",
        ] {
            assert!(told(other).is_empty(), "{other}");
        }
    }
}
