//! Roots that are mounted over the network: folders of NFS, and devices of NBD and of NVMe over TCP, which
//! the kernel's own drivers serve; none of them needs a process from then on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::config::{RootConfig, RootSource};
use crate::error::{Cause, Error, Reason};
use crate::fetch::Fetcher;
use crate::sys::{self, SyscallError, mounts, netlink};
use wireboot_proto::boot::{Answer, Query};
use wireboot_proto::dhcp::lease::Lease;
use wireboot_proto::nbd::{self, Handshake};
use wireboot_proto::oci::{Layer, Role};
use wireboot_proto::packet::option::code;
use wireboot_proto::text::remote_root::RemoteRoot;
use wireboot_proto::text::safe::Quoted;
use wireboot_proto::text::url::Url;

/// How long a server may be silent in a handshake, and a device may take to appear.
const PATIENCE: Duration = Duration::from_secs(15);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A folder on a server of NFS.
#[derive(Debug)]
pub(super) struct NfsFolder {
    /// The server and the folder, as mount(2) takes them.
    pub source: String,
    address: IpAddr,
    options: String,
    is_version_4: bool,
}

/// What is to be mounted, or fetched and mounted.
pub(super) enum Found {
    Image(Url),
    /// The layers of an image with this name, the lowest first.
    Layers(String, Vec<Url>),
    Nfs(NfsFolder),
    /// A device, its path, and its name in messages.
    Device(File, String, String),
}

/// Finds what the words and the lease say: connects a device, and finds the address of a server.
///
/// # Errors
/// [`Reason::NothingBootable`] when the lease has no root, [`Reason::Fetch`] when the server has it not.
pub(super) fn find(config: &RootConfig, lease: &Lease, fetcher: &Fetcher) -> Result<Found, Error> {
    let nothing = |what: String| Box::new(Reason::NothingBootable { what, source: None });
    let root = match &config.source {
        Some(RootSource::Image(url)) => return Ok(image_at(url.clone(), config)),
        Some(RootSource::Artifact(reference)) => {
            let files = fetcher.artifact(reference)?;
            let is_root =
                |layer: &Layer| reference.file.is_some() || layer.role() == Some(Role::Root);
            let is_image = files.iter().any(|(layer, _)| layer.is_of_image());
            let roots = files.into_iter().filter(|(layer, _)| is_root(layer));
            let mut roots: Vec<_> = roots.map(|(_, url)| url).collect();
            return match roots.pop() {
                None => Err(nothing("the artifact has no root".to_owned())),
                Some(url) if roots.is_empty() => Ok(Found::Image(url)),
                Some(url) if is_image => {
                    roots.push(url);
                    Ok(Found::Layers(reference.to_string(), roots))
                }
                Some(_) => Err(nothing(
                    "the artifact has several files that may be the root; name one behind #/"
                        .to_owned(),
                )),
            };
        }
        Some(RootSource::Remote(root)) => root.clone(),
        Some(RootSource::Lease) | None => match &config.nfs {
            Some(root) => root.clone(),
            None => {
                let text = lease.options.text(code::ROOT_PATH);
                let text = text.ok_or_else(|| {
                    nothing(
                        "the lease has no root path (option 17), and there is no nfsroot="
                            .to_owned(),
                    )
                })?;
                if let Ok(url) = text.trim_start_matches("live:").parse::<Url>() {
                    return Ok(image_at(url, config));
                }
                let root = RemoteRoot::parse(text).unwrap_or_else(|| RemoteRoot::nfs(text, false));
                root.map_err(|why| {
                    nothing(format!(
                        "the root path {} of the lease (option 17): {why}",
                        Quoted(text)
                    ))
                })?
            }
        },
    };
    if !fetcher.keys.is_empty() || fetcher.policy.must_be_signed {
        return Err(Box::new(Reason::Verification {
            what: "a root over NFS, NBD or NVMe".to_owned(),
            why: "it must be signed, and only a fetched image can be".to_owned(),
        }));
    }
    let failed = |name: &str| {
        let url = name.to_owned();
        move |source: Cause| Box::new(Reason::Fetch { url, source })
    };
    match root {
        RemoteRoot::Nfs {
            server,
            path,
            options,
            is_version_4,
        } => {
            let server = server.or_else(|| lease.file_servers().into_iter().next());
            let server =
                server.ok_or_else(|| nothing(format!("no server is named for the root {path}")))?;
            // The kernel takes the host name for it where it has one (root_nfs_data of fs/nfs/nfsroot.c).
            let own = lease
                .host_name
                .clone()
                .unwrap_or_else(|| lease.address.to_string());
            let path = path.replace("%s", &own);
            let address = resolve(&server, fetcher).map_err(failed(&server))?;
            let source = match address {
                IpAddr::V4(_) => format!("{address}:{path}"),
                IpAddr::V6(_) => format!("[{address}]:{path}"),
            };
            Ok(Found::Nfs(NfsFolder {
                source,
                address,
                options,
                is_version_4,
            }))
        }
        RemoteRoot::Nbd {
            server,
            port,
            export,
        } => {
            let name = format!("nbd:{server}:{port}/{export}");
            let connected = resolve(&server, fetcher)
                .and_then(|address| connect_nbd(SocketAddr::new(address, port), export));
            let path = connected.map_err(failed(&name))?;
            opened(path, name)
        }
        RemoteRoot::Nvme {
            server,
            port,
            subsystem,
        } => {
            let name = format!("nvme-tcp:{server}:{port}/{subsystem}");
            let connected = resolve(&server, fetcher)
                .and_then(|address| connect_nvme(address, port, &subsystem));
            let path = connected.map_err(failed(&name))?;
            opened(path, name)
        }
    }
}

/// Returns the image at `url`; of an ISO image, as live systems have one, the file system in it.
fn image_at(url: Url, config: &RootConfig) -> Found {
    if !url.names_iso() {
        return Found::Image(url);
    }
    // The defaults of dracut (dmsquash-live-root.sh).
    let or = |text: &str, usual: &str| if text.is_empty() { usual } else { text }.to_owned();
    let folder = or(&config.live_folder, "LiveOS");
    let path = format!("/{folder}/{}", or(&config.live_image, "squashfs.img"));
    // A path that is none leaves the image, of which it is said what it is.
    Found::Image(url.in_image(&path).unwrap_or(url))
}

fn opened(path: String, name: String) -> Result<Found, Error> {
    let device = await_device(&path).map_err(|source| {
        Box::new(Reason::Root {
            what: format!("{name}, which is {path}"),
            source: SyscallError::of("open", source),
        })
    })?;
    log::info!("{name} is {path}");
    Ok(Found::Device(device, path, name))
}

/// Opens a device, which the kernel may be about to make.
pub(super) fn await_device(path: &str) -> io::Result<File> {
    let until = sys::now() + PATIENCE;
    loop {
        match File::open(path) {
            Err(error) if sys::now() >= until => return Err(error),
            Err(_) => sleep(POLL_INTERVAL),
            opened => return opened,
        }
    }
}

fn resolve(server: &str, fetcher: &Fetcher) -> Result<IpAddr, Cause> {
    if let Ok(address) = server.parse() {
        return Ok(address);
    }
    let answer = fetcher.answer(Query::Address(server.to_owned()));
    if let Answer::Text(text) = answer {
        return Ok(text.parse()?);
    }
    let Answer::Failed(why) = answer else {
        return Err(format!("no address is known for {server}").into());
    };
    Err(why.into())
}

impl NfsFolder {
    /// Returns whether the options say that it is mounted for writing.
    pub(super) fn is_writable(&self) -> bool {
        self.options.split(',').any(|option| option == "rw")
    }

    /// Mounts the folder at `point`, by the highest version of the protocol that the server has unless one
    /// is named.
    ///
    /// # Errors
    /// `mount`, as it failed for the last version: ENODEV without the driver, ENOENT and EACCES of the
    /// server, ETIMEDOUT and ECONNREFUSED.
    pub(super) fn mount(&self, point: &str, is_read_only: bool) -> Result<(), SyscallError> {
        let is_flag = |option: &&str| !matches!(*option, "" | "ro" | "rw" | "_netdev" | "defaults");
        let options: Vec<_> = self.options.split(',').filter(is_flag).collect();
        let options = options.join(",");
        let has = |names: &[&str]| {
            options
                .split(',')
                .any(|option| names.iter().any(|name| option.starts_with(name)))
        };
        let versions: &[&str] = if has(&["vers=", "nfsvers=", "v3", "v4"]) {
            &[""]
        } else if self.is_version_4 {
            &["vers=4.2", "vers=4.1", "vers=4.0"]
        } else {
            &["vers=4.2", "vers=4.1", "vers=4.0", "vers=3"]
        };
        let mut last = Ok(());
        for version in versions {
            let mut all = format!("addr={}", self.address);
            // Nobody here serves locks of version 3, and it has none across a restart of the client.
            let nolock = if has(&["lock", "nolock"]) {
                ""
            } else {
                "nolock"
            };
            for option in [nolock, version, &options] {
                if !option.is_empty() {
                    all = format!("{all},{option}");
                }
            }
            log::debug!("mounting {} by NFS, {all}", self.source);
            last = mounts::mount(&self.source, point, "nfs", &all, is_read_only);
            match &last {
                Ok(()) => return Ok(()),
                // Another version fares no better.
                Err(error) if is_of_network(error) => return last,
                Err(error) => log::debug!("{}: {}", self.source, error.chain()),
            }
        }
        last
    }
}

/// Returns whether the server was not reached.
fn is_of_network(error: &SyscallError) -> bool {
    matches!(
        error.source.kind(),
        io::ErrorKind::TimedOut
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

/// Asks a server for an export, and gives the connection to the kernel; returns the path of the device.
fn connect_nbd(server: SocketAddr, export: String) -> Result<String, Cause> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Requests are short.
    stream.set_nodelay(true)?;
    let mut handshake = Handshake::new(export);
    let export = loop {
        if let Some(bytes) = handshake.poll_transmit() {
            stream.write_all(&bytes)?;
        }
        if let Some(export) = handshake.export() {
            break export;
        }
        let mut bytes = vec![0; handshake.wanted()];
        let read = stream.read_exact(&mut bytes);
        read.map_err(|error| {
            // EAGAIN at the end of SO_RCVTIMEO (socket(7)).
            if error.kind() == io::ErrorKind::WouldBlock {
                return format!("it said nothing for {} s", PATIENCE.as_secs()).into();
            }
            Cause::from(error)
        })?;
        handshake.handle_input(&bytes)?;
    };
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    let family = netlink::ask_generic("the search for the driver nbd", &nbd::family_request())?;
    let family = nbd::family(&family).ok_or("the kernel's driver nbd has no number")?;
    let request = nbd::connect_request(family, export, stream.as_raw_fd().unsigned_abs());
    let device = netlink::ask_generic("NBD_CMD_CONNECT", &request)?;
    let device = nbd::device(&device).ok_or("the kernel's driver nbd has named no device")?;
    Ok(format!("/dev/nbd{device}"))
}

/// Connects the kernel to an NVMe subsystem; returns the path of its first namespace.
fn connect_nvme(server: IpAddr, port: u16, subsystem: &str) -> Result<String, Cause> {
    const FABRICS: &str = "/dev/nvme-fabrics";
    let cannot = |error: io::Error| format!("{FABRICS}: {error}");
    let mut fabrics = OpenOptions::new()
        .read(true)
        .write(true)
        .open(FABRICS)
        .map_err(cannot)?;
    let options = format!("transport=tcp,traddr={server},trsvcid={port},nqn={subsystem}");
    // The whole of it by one call (nvmf_dev_write).
    fabrics.write_all(options.as_bytes()).map_err(cannot)?;
    let until = sys::now() + PATIENCE;
    loop {
        if let Some(path) = namespace_of(subsystem) {
            return Ok(path);
        }
        if sys::now() >= until {
            return Err("the subsystem has no namespace".into());
        }
        sleep(POLL_INTERVAL);
    }
}

/// Returns the path of the first namespace of a subsystem that is connected.
fn namespace_of(subsystem: &str) -> Option<String> {
    let mut names: Vec<_> = fs::read_dir("/sys/class/block")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("nvme"))
        .collect();
    // readdir(3) has no order.
    names.sort_unstable();
    let name = names.into_iter().find(|name| {
        let folder = Path::new("/sys/class/block").join(name);
        let named = fs::read_to_string(folder.join("device/subsysnqn"));
        // Neither a partition nor one of several paths, which is hidden.
        let is_whole = !folder.join("partition").exists()
            && fs::read_to_string(folder.join("hidden")).is_ok_and(|text| text.trim() == "0");
        is_whole && named.is_ok_and(|text| text.trim() == subsystem)
    })?;
    Some(format!("/dev/{name}"))
}

/// Returns the length of a device, in bytes.
pub(super) fn len_of(mut device: &File) -> io::Result<u64> {
    device.seek(SeekFrom::End(0))
}
