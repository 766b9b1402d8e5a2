//! Addresses of roots that are mounted over the network, by the words of dracut and of the kernel.
//!
//! They come from the command line, or from the lease (option 17), which nobody has signed: what is read
//! has no control characters, so that it can stand in a log and in the options of mount(2).

use crate::prelude::*;

/// The longest address, in bytes: that of a DHCP option.
const MAX_LEN: usize = 1024;

/// Ports of NBD and of NVMe over TCP, by IANA.
const NBD_PORT: u16 = 10809;
const NVME_PORT: u16 = 4420;

/// A root that is mounted over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteRoot {
    /// A folder on a server of NFS.
    Nfs {
        /// The server; that of the lease when none.
        server: Option<String>,
        /// The folder, from its first `/`; `%s` stands for the machine's name or address.
        path: String,
        /// Options for mount(2), with commas.
        options: String,
        /// Whether it is version 4 of the protocol, or the highest that the server has.
        is_version_4: bool,
    },
    /// A network block device.
    Nbd {
        /// The server.
        server: String,
        /// Its port.
        port: u16,
        /// The name of the export; empty for the server's default.
        export: String,
    },
    /// A namespace of an NVMe subsystem, over TCP.
    Nvme {
        /// The server.
        server: String,
        /// Its port.
        port: u16,
        /// The subsystem's qualified name.
        subsystem: String,
    },
}

impl RemoteRoot {
    /// Reads `nfs:[SERVER:]PATH[:OPTIONS]`, `nfs4:…`, `nfs://SERVER[:PORT]/PATH`, `nbd:SERVER:PORT[/EXPORT]`,
    /// `nbd:SERVER:EXPORT` or `nvme-tcp:SERVER[:PORT]/NQN`; none for an address of another kind.
    ///
    /// # Errors
    /// What it lacks.
    pub fn parse(text: &str) -> Option<Result<Self, &'static str>> {
        let (kind, rest) = text.split_once(':')?;
        Some(match kind {
            "nfs" if rest.starts_with("//") => nfs_url(rest),
            "nfs" => Self::nfs(rest, false),
            "nfs4" => Self::nfs(rest, true),
            "nbd" => nbd(rest),
            "nvme-tcp" => nvme(rest),
            _ => return None,
        })
    }

    /// Reads `[SERVER:]PATH[,OPTIONS]`, as `nfsroot=` and option 17 have it.
    ///
    /// # Errors
    /// What it lacks.
    pub fn nfs(text: &str, is_version_4: bool) -> Result<Self, &'static str> {
        let text = checked(text)?;
        let (server, rest) = if text.starts_with('/') {
            (None, text)
        } else {
            let (server, rest) = host(text)?;
            let rest = rest.strip_prefix(':').ok_or("there is no folder")?;
            (Some(server.to_owned()), rest)
        };
        let (path, options) = rest.split_once([',', ':']).unwrap_or((rest, ""));
        if !path.starts_with('/') {
            return Err("its folder does not begin with /");
        }
        Ok(Self::Nfs {
            server,
            path: path.to_owned(),
            options: options.to_owned(),
            is_version_4,
        })
    }
}

/// The URL of RFC 2224, without its `nfs:`; a `:` without a port is let pass, as by dracut.
fn nfs_url(text: &str) -> Result<RemoteRoot, &'static str> {
    let (server, rest) = host(checked(text)?.trim_start_matches('/'))?;
    let (port, path) = rest.split_at(rest.find('/').ok_or("there is no folder")?);
    let port = port.trim_start_matches(':');
    let options = match port.parse::<u16>() {
        Ok(port) => format!("port={port}"),
        Err(_) if port.is_empty() => String::new(),
        Err(_) => return Err("its port is no number"),
    };
    Ok(RemoteRoot::Nfs {
        server: Some(server.to_owned()),
        path: path.to_owned(),
        options,
        is_version_4: false,
    })
}

/// What is behind the export, `:FSTYPE`, the file system says itself.
fn nbd(text: &str) -> Result<RemoteRoot, &'static str> {
    let (server, rest) = host(checked(text)?)?;
    let mut fields = rest.strip_prefix(':').unwrap_or_default().split(':');
    let place = fields.next().unwrap_or_default();
    let (number, name) = place.split_once('/').unwrap_or((place, ""));
    let (port, export) = match number.parse() {
        Ok(port) => (port, name),
        Err(_) => (NBD_PORT, place),
    };
    if fields.skip(1).any(|field| !field.is_empty()) {
        return Err("options for mounting and for the client are not supported");
    }
    Ok(RemoteRoot::Nbd {
        server: server.to_owned(),
        port,
        export: export.to_owned(),
    })
}

fn nvme(text: &str) -> Result<RemoteRoot, &'static str> {
    let (server, rest) = host(checked(text)?)?;
    let (port, subsystem) = rest.split_once('/').ok_or("there is no / with the NQN")?;
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().map_err(|_| "its port is no number")?,
        None => NVME_PORT,
    };
    // NVM Express Base Specification, NVMe Qualified Names; and a comma would begin another option.
    let is_name = subsystem.starts_with("nqn.") && subsystem.len() < 224;
    if !is_name || subsystem.contains(',') {
        return Err("the name of its subsystem is no NQN");
    }
    Ok(RemoteRoot::Nvme {
        server: server.to_owned(),
        port,
        subsystem: subsystem.to_owned(),
    })
}

fn checked(text: &str) -> Result<&str, &'static str> {
    if text.len() > MAX_LEN || text.contains(|c: char| c.is_control() || c == ' ') {
        return Err("it is too long, or has blanks or control characters");
    }
    Ok(text)
}

/// Splits a host, IPv6 in brackets, from what follows it.
fn host(text: &str) -> Result<(&str, &str), &'static str> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']').ok_or("there is no ]")?,
        None => text.split_at(text.find([':', '/']).unwrap_or(text.len())),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
    if host.is_empty() || !host.chars().all(is_host) {
        return Err("it has no server");
    }
    Ok((host, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_by_the_words_of_dracut_and_the_kernel() {
        let nfs = |server: Option<&str>, path: &str, options: &str, is_version_4| RemoteRoot::Nfs {
            server: server.map(str::to_owned),
            path: path.to_owned(),
            options: options.to_owned(),
            is_version_4,
        };
        let nbd = |server: &str, port, export: &str| RemoteRoot::Nbd {
            server: server.to_owned(),
            port,
            export: export.to_owned(),
        };
        let nvme = |server: &str, port, subsystem: &str| RemoteRoot::Nvme {
            server: server.to_owned(),
            port,
            subsystem: subsystem.to_owned(),
        };
        for (text, expected) in [
            (
                "nfs:192.0.2.1:/srv/root",
                nfs(Some("192.0.2.1"), "/srv/root", "", false),
            ),
            (
                "nfs4:h:/srv:vers=4.1,ro",
                nfs(Some("h"), "/srv", "vers=4.1,ro", true),
            ),
            ("nfs:/srv/%s,nolock", nfs(None, "/srv/%s", "nolock", false)),
            (
                "nfs:[2001:db8::1]:/srv",
                nfs(Some("2001:db8::1"), "/srv", "", false),
            ),
            ("nfs://h/srv/a", nfs(Some("h"), "/srv/a", "", false)),
            ("nfs://h:/srv", nfs(Some("h"), "/srv", "", false)),
            ("nfs://h:2050/", nfs(Some("h"), "/", "port=2050", false)),
            ("nbd:192.0.2.1:10810", nbd("192.0.2.1", 10810, "")),
            ("nbd:h:2000/debian:ext4", nbd("h", 2000, "debian")),
            (
                "nbd:[2001:db8::1]:debian",
                nbd("2001:db8::1", 10809, "debian"),
            ),
            ("nbd:h:a/b", nbd("h", 10809, "a/b")),
            ("nbd:h", nbd("h", 10809, "")),
            (
                "nvme-tcp:h/nqn.2014-08.org.example:a",
                nvme("h", 4420, "nqn.2014-08.org.example:a"),
            ),
            ("nvme-tcp:[::1]:7/nqn.a", nvme("::1", 7, "nqn.a")),
        ] {
            assert_eq!(RemoteRoot::parse(text), Some(Ok(expected)), "{text}");
        }
        for other in [
            "/dev/sda1",
            "UUID=7",
            "http://h/a",
            "LABEL=a:b",
            "live:nfs:h:/a",
        ] {
            assert_eq!(RemoteRoot::parse(other), None, "{other}");
        }
        for wrong in [
            "nfs:",
            "nfs:h",
            "nfs:h:srv",
            "nfs::/srv",
            "nfs:[::1:/srv",
            "nfs:h:/a b",
            "nfs://h",
            "nfs:///srv",
            "nfs://h:x/srv",
            "nfs:h:/a\nb",
            "nbd:",
            "nbd::7",
            "nbd:h:7:ext4:ro",
            "nvme-tcp:h",
            "nvme-tcp:h/a",
            "nvme-tcp:h:x/nqn.a",
            "nvme-tcp:h/nqn.a,hostnqn=b",
        ] {
            assert!(matches!(RemoteRoot::parse(wrong), Some(Err(_))), "{wrong}");
        }
    }
}
