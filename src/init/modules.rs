//! Loads the modules that the machine's devices ask for, as udev and modprobe would: by modalias,
//! through `modules.alias`, `modules.dep` and `modules.softdep`.
//!
//! Packed modules are left to the kernel, which unpacks the one kind it was built for, or none; what
//! it refuses is unpacked here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;

use super::alias;
use crate::sys::drivers::{self, DeviceEvent, UeventSocket};
use crate::unpack::{self, Packing};

/// A device's driver may bring devices of its own: a PCI function, a virtio bus, a network card.
const MAX_ROUNDS: usize = 8;
/// The longest module that is unpacked here, in octets; the longest of Debian's has 24 MiB.
const MAX_LEN: u64 = 256 << 20;

/// Loads the modules of these names and those of all devices, and from then on of each device that
/// appears.
///
/// A card behind a slow bus, or one that is plugged in, comes when the boot already waits for it.
pub(super) fn load_and_follow<'a>(names: impl Iterator<Item = &'a str>) {
    // First, so that no device falls between the look at all of them and the news.
    let news = UeventSocket::open();
    let Some(index) = Index::read() else {
        log::debug!("no modules in the archive; the kernel must have its drivers built in");
        return;
    };
    for name in names {
        index.load(name, &mut BTreeSet::new());
    }
    index.load_for_devices();
    let followed = news.map(|news| thread::Builder::new().spawn(move || index.follow(&news)));
    match followed {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => log::warn!("devices that appear late get no driver: {error}"),
        Err(error) => log::warn!("devices that appear late get no driver: {}", error.chain()),
    }
}

/// What the running kernel's modules are for and need.
struct Index {
    folder: PathBuf,
    /// Patterns of devices, and the module for each.
    aliases: Vec<(String, String)>,
    /// Files by the modules' names, with the files that must be loaded before, last first.
    files: BTreeMap<String, Vec<String>>,
    /// What modules want before them, by name, and would do without.
    before: BTreeMap<String, Vec<String>>,
    /// What they want behind them.
    behind: BTreeMap<String, Vec<String>>,
}

impl Index {
    fn read() -> Option<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
        let folder = Path::new("/lib/modules").join(release.trim());
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let wishes = read("modules.softdep").unwrap_or_default();
        let index = Self {
            aliases: parse_aliases(&read("modules.alias").unwrap_or_default()),
            files: parse_dependencies(&read("modules.dep")?),
            before: parse_wishes(&wishes, "pre:"),
            behind: parse_wishes(&wishes, "post:"),
            folder,
        };
        Some(index)
    }

    /// Loads modules until no device asks for another one.
    fn load_for_devices(&self) {
        let mut loaded = BTreeSet::new();
        for _ in 0..MAX_ROUNDS {
            let before = loaded.len();
            self.load_for(&modaliases(), &mut loaded);
            if loaded.len() == before {
                break;
            }
        }
    }

    /// Loads the modules of the devices that appear, as long as they are told of.
    fn follow(&self, news: &UeventSocket) {
        loop {
            match news.next_device() {
                Ok(DeviceEvent::Device(modalias)) => {
                    self.load_for(&BTreeSet::from([modalias]), &mut BTreeSet::new());
                }
                Ok(DeviceEvent::Lost) => self.load_for_devices(),
                Err(error) => {
                    return log::warn!("devices that appear get no driver: {}", error.chain());
                }
            }
        }
    }

    fn load_for(&self, modaliases: &BTreeSet<String>, loaded: &mut BTreeSet<String>) {
        for name in self.wanted(modaliases) {
            self.load(&name, loaded);
        }
    }

    /// Returns the modules for the devices, each once.
    fn wanted(&self, modaliases: &BTreeSet<String>) -> BTreeSet<String> {
        let fits = |pattern: &str| modaliases.iter().any(|text| alias::matches(pattern, text));
        let wanted = self.aliases.iter().filter(|(pattern, _)| fits(pattern));
        wanted.map(|(_, module)| module.clone()).collect()
    }

    /// Loads a module behind those it needs and wants, and before those it wants then.
    fn load(&self, name: &str, loaded: &mut BTreeSet<String>) {
        for path in self.order(name, loaded) {
            match load_file(&self.folder.join(&path)) {
                Ok(()) => log::debug!("module {path}"),
                Err(error) => log::warn!("module {path}: {error}"),
            }
        }
    }

    /// Returns the files to load for a module that are not among `known`, which then has their
    /// modules.
    fn order(&self, name: &str, known: &mut BTreeSet<String>) -> Vec<String> {
        let Some((file, needed)) = self.files.get(name).and_then(|files| files.split_first())
        else {
            return Vec::new();
        };
        // First, since wishes may go in circles.
        if !known.insert(name.to_owned()) {
            return Vec::new();
        }
        let names = |all: &BTreeMap<_, Vec<String>>| all.get(name).cloned().unwrap_or_default();
        let needed = needed.iter().rev().map(|file| module_name(file));
        let mut order = Vec::new();
        for name in names(&self.before).into_iter().chain(needed) {
            order.extend(self.order(&name, known));
        }
        order.push(file.clone());
        for name in names(&self.behind) {
            order.extend(self.order(&name, known));
        }
        order
    }
}

/// Puts a module into the kernel, packed or not.
fn load_file(path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let packing = match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("gz") => Some(Packing::Gzip),
        Some("zst") => Some(Packing::Zstd),
        Some("ko") => return drivers::load(&file).map_err(|error| error.chain()),
        _ => None,
    };
    match drivers::load_packed(&file) {
        Ok(()) => return Ok(()),
        // What it says to the flag, or to a packing it was not built for.
        Err(error) if drivers::cannot_unpack(&error) => {}
        Err(error) => return Err(error.chain()),
    }
    let packing = packing.ok_or(
        "the kernel does not unpack it (CONFIG_MODULE_DECOMPRESS), and only .gz and .zst are \
         unpacked here: put it into the archive unpacked",
    )?;
    let mut octets = Vec::new();
    match unpack::unpack(file, packing, MAX_LEN, &mut octets) {
        Ok(_) => drivers::load_octets(&octets).map_err(|error| error.chain()),
        Err(error) => Err(format!("the kernel does not unpack it, and here: {error}")),
    }
}

/// `alias PATTERN MODULE` in each line.
fn parse_aliases(text: &str) -> Vec<(String, String)> {
    let words = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("alias")).then_some(())?;
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    text.lines().filter_map(words).collect()
}

/// `FILE: NEEDED…` in each line.
fn parse_dependencies(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut files = BTreeMap::new();
    for line in text.lines() {
        let Some((file, needed)) = line.split_once(':') else {
            continue;
        };
        let all = std::iter::once(file).chain(needed.split_whitespace());
        files.insert(module_name(file), all.map(str::to_owned).collect());
    }
    files
}

/// `softdep MODULE pre: WANTED… post: WANTED…` in each line; returns what stands behind `place`.
fn parse_wishes(text: &str, place: &str) -> BTreeMap<String, Vec<String>> {
    let mut wishes = BTreeMap::new();
    for line in text.lines() {
        let Some((module, words)) = line
            .strip_prefix("softdep ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let mut is_there = false;
        let wanted: &mut Vec<_> = wishes.entry(module_name(module)).or_default();
        for word in words.split_whitespace() {
            match word {
                "pre:" | "post:" => is_there = word == place,
                name if is_there => wanted.push(module_name(name)),
                _ => {}
            }
        }
    }
    wishes
}

/// A module's name is its file's, with `_` for every `-`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split(".ko").next().unwrap_or(file);
    name.replace('-', "_")
}

/// Returns what all devices say they are.
fn modaliases() -> BTreeSet<String> {
    let entries = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    entries(Path::new("/sys/bus"))
        .iter()
        .flat_map(|bus| entries(&bus.join("devices")))
        .filter_map(|device| fs::read_to_string(device.join("modalias")).ok())
        .map(|text| text.trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_leads_to_its_module_and_all_it_needs() {
        let index = Index {
            folder: PathBuf::new(),
            aliases: parse_aliases("# comment\nalias virtio:d00000001v* virtio_net\nalias x\n"),
            files: parse_dependencies(
                "kernel/net/core/failover.ko:\n\
                 kernel/drivers/net/net_failover.ko.zst: kernel/net/core/failover.ko\n\
                 kernel/drivers/net/virtio-net.ko.xz: kernel/drivers/net/net_failover.ko.zst \
                 kernel/net/core/failover.ko\n\nbroken\n",
            ),
            before: BTreeMap::new(),
            behind: BTreeMap::new(),
        };
        let devices = BTreeSet::from(["virtio:d00000001v00001AF4".to_owned()]);
        let wanted: Vec<_> = index.wanted(&devices).into_iter().collect();
        assert_eq!(wanted, ["virtio_net"]);
        let mut known = BTreeSet::new();
        let expected = [
            "kernel/net/core/failover.ko",
            "kernel/drivers/net/net_failover.ko.zst",
            "kernel/drivers/net/virtio-net.ko.xz",
        ];
        assert_eq!(index.order("virtio_net", &mut known), expected);
        assert_eq!(index.order("virtio_net", &mut known), [""; 0]);
        assert_eq!(index.order("missing", &mut known), [""; 0]);
    }

    #[test]
    fn what_a_module_only_wants_is_loaded_before_and_behind_it_even_in_circles() {
        let wishes = "# comment\nsoftdep r8169 pre: absent post: last\nsoftdep r8169 pre: realtek\n\
            softdep realtek pre: r8169\nsoftdep\n";
        let index = Index {
            folder: PathBuf::new(),
            aliases: Vec::new(),
            files: parse_dependencies("r8169.ko:\nrealtek.ko: libphy.ko\nlibphy.ko:\nlast.ko:\n"),
            before: parse_wishes(wishes, "pre:"),
            behind: parse_wishes(wishes, "post:"),
        };
        let order = index.order("r8169", &mut BTreeSet::new());
        assert_eq!(order, ["libphy.ko", "realtek.ko", "r8169.ko", "last.ko"]);
    }
}
