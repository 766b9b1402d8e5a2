//! Loads the modules that the machine's devices ask for, as udev would: by modalias, through
//! `modules.alias` and `modules.dep`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;

use super::{alias, text};
use crate::sys::module;
use crate::sys::uevent::{DeviceNews, Heard};

/// A device's driver may bring devices of its own: a PCI function, a virtio bus, a network card.
const MAX_ROUNDS: usize = 8;

/// Loads modules until no device asks for another one.
fn load_for_devices() {
    let Some(index) = Index::read() else {
        log::debug!("no modules in the archive; the kernel must have its drivers built in");
        return;
    };
    let mut loaded = BTreeSet::new();
    for _ in 0..MAX_ROUNDS {
        let before = loaded.len();
        for name in index.wanted(&modaliases()) {
            index.load(&name, &mut loaded);
        }
        if loaded.len() == before {
            break;
        }
    }
}

/// Loads the modules of all devices, and from then on of each that appears.
///
/// A card behind a slow bus, or one that is plugged in, comes when the boot already waits for it.
pub(super) fn load_and_follow() {
    // First, so that no device falls between the look at all of them and the news.
    let news = DeviceNews::open();
    load_for_devices();
    let followed = news.map(|news| thread::Builder::new().spawn(move || follow(&news)));
    match followed {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => log::warn!("devices that appear late get no driver: {error}"),
        Err(error) => log::warn!("devices that appear late get no driver: {}", text(&error)),
    }
}

/// Loads a module that no device asks for.
pub(super) fn load_named(name: &str) {
    if let Some(index) = Index::read() {
        index.load(name, &mut BTreeSet::new());
    }
}

fn follow(news: &DeviceNews) {
    loop {
        match news.next_device() {
            Ok(Heard::Device(modalias)) => load_for(modalias),
            Ok(Heard::Lost) => load_for_devices(),
            Err(error) => {
                return log::warn!("devices that appear get no driver: {}", text(&error));
            }
        }
    }
}

fn load_for(modalias: String) {
    if let Some(index) = Index::read() {
        for name in index.wanted(&BTreeSet::from([modalias])) {
            index.load(&name, &mut BTreeSet::new());
        }
    }
}

/// What the running kernel's modules are for and need.
struct Index {
    folder: PathBuf,
    /// Patterns of devices, and the module for each.
    aliases: Vec<(String, String)>,
    /// Files by the modules' names, with the files that must be loaded before, last first.
    files: BTreeMap<String, Vec<String>>,
}

impl Index {
    fn read() -> Option<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
        let folder = Path::new("/lib/modules").join(release.trim());
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        let index = Self {
            aliases: parse_aliases(&read("modules.alias").unwrap_or_default()),
            files: parse_dependencies(&read("modules.dep")?),
            folder,
        };
        Some(index)
    }

    /// Returns the modules for the devices, each once.
    fn wanted(&self, modaliases: &BTreeSet<String>) -> BTreeSet<String> {
        let fits = |pattern: &str| modaliases.iter().any(|text| alias::matches(pattern, text));
        let wanted = self.aliases.iter().filter(|(pattern, _)| fits(pattern));
        wanted.map(|(_, module)| module.clone()).collect()
    }

    /// Loads a module behind those it needs.
    fn load(&self, name: &str, loaded: &mut BTreeSet<String>) {
        let Some(files) = self.files.get(name) else {
            return;
        };
        for path in files.iter().rev() {
            if !loaded.insert(path.clone()) {
                continue;
            }
            let compressed = !path.ends_with(".ko");
            let result = File::open(self.folder.join(path))
                .map_err(|error| error.to_string())
                .and_then(|file| {
                    let result = module::load(&file, compressed, "");
                    result.map_err(|error| text(&error))
                });
            match result {
                Ok(()) => log::debug!("module {path}"),
                Err(error) => log::warn!("module {path}: {error}"),
            }
        }
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
                 kernel/drivers/net/virtio-net.ko.xz: kernel/net/core/failover.ko\n\nbroken\n",
            ),
        };
        let devices = BTreeSet::from(["virtio:d00000001v00001AF4".to_owned()]);
        let wanted: Vec<_> = index.wanted(&devices).into_iter().collect();
        assert_eq!(wanted, ["virtio_net"]);
        let expected = [
            "kernel/drivers/net/virtio-net.ko.xz",
            "kernel/net/core/failover.ko",
        ];
        assert_eq!(index.files["virtio_net"], expected);
    }
}
