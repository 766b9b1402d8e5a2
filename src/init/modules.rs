//! Loads the modules of the machine's devices, as udev and modprobe do: by modalias, with
//! `modules.alias`, `modules.dep` and `modules.softdep`.
//!
//! The kernel decompresses modules in the format that it was built for, if any; others are decompressed
//! here.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;

use crate::sys::drivers::{self, DeviceEvent, UeventSocket};
use crate::timeline::Timeline;
use crate::unpack::{self, Packing};
use wireboot_proto::sorted::SortedMap;

/// Rounds over all devices: a driver may add devices that need other drivers, such as a virtio bus with
/// a network card.
const MAX_ROUNDS: usize = 8;
/// The longest module that is decompressed here, in bytes; the longest of Debian's has 24 MiB.
const MAX_LEN: u64 = 256 << 20;

/// The program that the kernel starts for a module that it needs itself: the driver of a PHY, which no
/// device's modalias leads to, a VLAN, a packet socket.
const MODPROBE: &str = "/sbin/modprobe";
/// Its arguments before the module (`call_modprobe` in the kernel).
const MODPROBE_ARGUMENTS: [&str; 2] = ["-q", "--"];

/// Loads the modules of all devices, and in the background those of each new device: a card on a slow
/// bus, or one that is plugged in, appears while the boot waits for it. `timeline` gets the moment when
/// each was loaded. `more` are modules that no device asks for.
pub(super) fn load_and_follow(timeline: &Timeline, more: &[&str]) {
    // Subscribed first, so that no device is missed between enumeration and the first event.
    let uevents = UeventSocket::open();
    let Some(index) = Index::read(timeline) else {
        log::debug!("no modules in the archive; the drivers must be built into the kernel");
        return;
    };
    if !Path::new(MODPROBE).exists()
        && let Ok(program) = std::env::current_exe()
    {
        // Fails where the kernel has no modules, and then needs none.
        let _ = fs::write(
            "/proc/sys/kernel/modprobe",
            program.as_os_str().as_encoded_bytes(),
        );
    }
    // Every boot needs it; here it costs no further process.
    for name in ["af_packet"].iter().chain(more) {
        index.load(name, &mut Vec::new());
    }
    index.load_for_devices();
    let followed =
        uevents.map(|uevents| thread::Builder::new().spawn(move || index.follow(&uevents)));
    match followed {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            log::warn!("no drivers are loaded for devices that appear later: {error}")
        }
        Err(error) => log::warn!(
            "no drivers are loaded for devices that appear later: {}",
            error.chain()
        ),
    }
}

/// Returns the module or alias that the kernel started this process for, in place of `modprobe`.
pub(crate) fn requested(arguments: impl Iterator<Item = OsString>) -> Option<String> {
    let words: Vec<_> = arguments.take(MODPROBE_ARGUMENTS.len() + 2).collect();
    match words.split_last() {
        Some((name, before)) if before == MODPROBE_ARGUMENTS => name.to_str().map(str::to_owned),
        _ => None,
    }
}

/// Loads a module by its name or one of its aliases.
pub(crate) fn load_requested(name: &str) {
    let Some(index) = Index::read(&Timeline::default()) else {
        return;
    };
    let mut loaded = Vec::new();
    index.load_for(&[name.to_owned()], &mut loaded);
    if loaded.is_empty() {
        index.load(&module_name(name), &mut loaded);
    }
}

/// The modules of the running kernel: their devices and their dependencies.
struct Index {
    folder: PathBuf,
    /// Modalias patterns, and the module for each.
    aliases: Vec<(String, String)>,
    /// Files by the modules' names, with the files that must be loaded before, last first.
    files: SortedMap<String, Vec<String>>,
    /// Modules, and one to load before each, if it exists (`pre:` of a soft dependency).
    before: Vec<(String, String)>,
    /// Modules, and one to load after each, if it exists (`post:`).
    after: Vec<(String, String)>,
    timeline: Timeline,
}

impl Index {
    fn read(timeline: &Timeline) -> Option<Self> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
        let folder = Path::new("/lib/modules").join(release.trim());
        let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
        // r8169 needs its PHY's driver on some cards, and only this file says so.
        let soft = read("modules.softdep").unwrap_or_default();
        let index = Self {
            // The text form; modules.alias.bin is for libkmod.
            aliases: parse_aliases(&read("modules.alias").unwrap_or_default()),
            files: parse_dependencies(&read("modules.dep")?),
            before: parse_soft_dependencies(&soft, "pre:"),
            after: parse_soft_dependencies(&soft, "post:"),
            folder,
            timeline: timeline.clone(),
        };
        Some(index)
    }

    /// Loads modules until no device needs another one.
    fn load_for_devices(&self) {
        let mut loaded = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let before = loaded.len();
            self.load_for(&modaliases(), &mut loaded);
            if loaded.len() == before {
                break;
            }
        }
    }

    /// Loads the modules of the devices that appear, until the socket fails.
    fn follow(&self, uevents: &UeventSocket) {
        loop {
            match uevents.next_device() {
                Ok(DeviceEvent::Device(modalias)) => {
                    self.load_for(&[modalias], &mut Vec::new());
                }
                // Loading a loaded module is EEXIST, which is no error.
                Ok(DeviceEvent::Lost) => self.load_for_devices(),
                Err(error) => {
                    return log::warn!(
                        "no more drivers are loaded for devices that appear: {}",
                        error.chain()
                    );
                }
            }
        }
    }

    fn load_for(&self, modaliases: &[String], loaded: &mut Vec<String>) {
        for name in self.wanted(modaliases) {
            self.load(&name, loaded);
        }
    }

    /// Returns the modules for the devices, each once, by name.
    fn wanted(&self, modaliases: &[String]) -> Vec<String> {
        let fits = |pattern: &str| modaliases.iter().any(|text| matches_alias(pattern, text));
        let wanted = self.aliases.iter().filter(|(pattern, _)| fits(pattern));
        unique(wanted.map(|(_, module)| module.clone()).collect())
    }

    /// Loads a module in the order of its dependencies.
    fn load(&self, name: &str, loaded: &mut Vec<String>) {
        for path in self.order(name, loaded) {
            match load_file(&self.folder.join(&path)) {
                Ok(()) => {
                    log::debug!("module {path}");
                    self.timeline.note(format!("module {}", module_name(&path)));
                }
                Err(error) => log::warn!("module {path}: {error}"),
            }
        }
    }

    /// Returns the files to load for a module, without those of modules in `known`, and adds theirs
    /// to it.
    fn order(&self, name: &str, known: &mut Vec<String>) -> Vec<String> {
        let Some((file, needed)) = self.files.get(name).and_then(|files| files.split_first())
        else {
            return Vec::new();
        };
        // Before the recursion, since soft dependencies may be circular.
        if known.iter().any(|known| known == name) {
            return Vec::new();
        }
        known.push(name.to_owned());
        let mut order = Vec::new();
        for (_, name) in self.before.iter().filter(|(module, _)| module == name) {
            order.extend(self.order(name, known));
        }
        // The last one first, as libkmod has them (kmod_module_parse_depline).
        for file in needed.iter().rev() {
            order.extend(self.order(&module_name(file), known));
        }
        order.push(file.clone());
        for (_, name) in self.after.iter().filter(|(module, _)| module == name) {
            order.extend(self.order(name, known));
        }
        order
    }
}

/// Loads a module into the kernel, compressed or not.
fn load_file(path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let packing = match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("gz") => Some(Packing::Gzip),
        Some("zst") => Some(Packing::Zstd),
        Some("xz") => Some(Packing::Xz),
        Some("ko") => return drivers::load(&file).map_err(|error| error.chain()),
        _ => None,
    };
    match drivers::load_packed(&file) {
        Ok(()) => return Ok(()),
        // EINVAL for the flag MODULE_INIT_COMPRESSED_FILE, or for another format than its own.
        Err(error) if drivers::cannot_unpack(&error) => {}
        Err(error) => return Err(error.chain()),
    }
    // Such as the kernels of Debian 12.
    let packing = packing.ok_or(
        "the kernel cannot decompress it (CONFIG_MODULE_DECOMPRESS), and wireboot only .gz, .xz and \
         .zst: decompress it in the archive",
    )?;
    let mut bytes = Vec::new();
    match unpack::unpack(file, packing, MAX_LEN, &mut bytes) {
        Ok(_) => drivers::load_bytes(&bytes).map_err(|error| error.chain()),
        Err(error) => Err(format!(
            "neither the kernel nor wireboot can decompress it: {error}"
        )),
    }
}

/// Parses lines `alias PATTERN MODULE`.
fn parse_aliases(text: &str) -> Vec<(String, String)> {
    let words = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("alias")).then_some(())?;
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    text.lines().filter_map(words).collect()
}

/// Parses lines `FILE: NEEDED…`.
fn parse_dependencies(text: &str) -> SortedMap<String, Vec<String>> {
    let files = text.lines().filter_map(|line| {
        let (file, needed) = line.split_once(':')?;
        let all = std::iter::once(file).chain(needed.split_whitespace());
        Some((module_name(file), all.map(str::to_owned).collect()))
    });
    files.collect()
}

/// Parses lines `softdep MODULE pre: NAME… post: NAME…`; returns each module with a name after
/// `place`.
fn parse_soft_dependencies(text: &str, place: &str) -> Vec<(String, String)> {
    let mut modules = Vec::new();
    for line in text.lines() {
        let Some((module, words)) = line
            .strip_prefix("softdep ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let mut is_place = false;
        for word in words.split_whitespace() {
            match word {
                "pre:" | "post:" => is_place = word == place,
                name if is_place => modules.push((module_name(module), module_name(name))),
                _ => {}
            }
        }
    }
    modules
}

/// Returns whether `text` matches `pattern` with `*`, `?` and `[set]`, as fnmatch(3).
fn matches_alias(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to continue if the rest after the last * does not match: one byte further.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() || p < pattern.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p, t));
            p += 1;
            continue;
        }
        let after = match (pattern.get(p), text.get(t)) {
            (Some(b'?'), Some(_)) => Some(p + 1),
            (Some(b'['), Some(byte)) => after_set(pattern, p, *byte),
            (Some(expected), Some(byte)) if expected == byte => Some(p + 1),
            _ => None,
        };
        match (after, retry) {
            (Some(after), _) => (p, t) = (after, t + 1),
            (None, Some((star, at))) if at < text.len() => {
                retry = Some((star, at + 1));
                (p, t) = (star + 1, at + 1);
            }
            (None, _) => return false,
        }
    }
    true
}

/// Returns the offset after the set at `at`, if `byte` is in the set.
fn after_set(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    let set = pattern.get(at + 1..)?;
    let len = set.iter().position(|byte| *byte == b']')?;
    let set = set.get(..len)?;
    let mut rest = set;
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        let last = match more {
            [b'-', last, after @ ..] => {
                rest = after;
                last
            }
            _ => first,
        };
        if (*first..=*last).contains(&byte) {
            return Some(at + len + 2);
        }
    }
    None
}

/// Returns a module's name, which is its file's with `_` for every `-`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split(".ko").next().unwrap_or(file);
    // The kernel names modules with `_` only, whatever the file is called (modprobe(8)).
    name.replace('-', "_")
}

/// Returns the modalias of each device.
fn modaliases() -> Vec<String> {
    let entries = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let buses = entries(Path::new("/sys/bus"));
    let texts = buses
        .iter()
        .flat_map(|bus| entries(&bus.join("devices")))
        .filter_map(|device| fs::read_to_string(device.join("modalias")).ok())
        .map(|text| text.trim().to_owned());
    unique(texts.collect())
}

/// Sorts texts and leaves each once.
fn unique(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// Reads all four files from one text and orders the modules that they name: each once, and behind all
/// that it needs, unless they need each other.
#[cfg(fuzzing)]
pub fn fuzz(text: &str) {
    let index = Index {
        folder: PathBuf::new(),
        aliases: parse_aliases(text),
        files: parse_dependencies(text),
        before: parse_soft_dependencies(text, "pre:"),
        after: parse_soft_dependencies(text, "post:"),
        timeline: Timeline::default(),
    };
    let modaliases: Vec<_> = text.lines().map(str::to_owned).collect();
    let mut known = Vec::new();
    let mut all = Vec::new();
    for name in index.wanted(&modaliases).iter().chain(&modaliases) {
        all.extend(index.order(name, &mut known));
    }
    let count = known.len();
    assert_eq!((all.len(), unique(known).len()), (count, count));
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
            before: Vec::new(),
            after: Vec::new(),
            timeline: Timeline::default(),
        };
        let devices = ["virtio:d00000001v00001AF4".to_owned()];
        assert_eq!(index.wanted(&devices), ["virtio_net"]);
        let mut known = Vec::new();
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
    fn what_the_kernel_asks_modprobe_for_is_no_command() {
        let asked = |words: &[&str]| requested(words.iter().map(OsString::from));
        assert_eq!(
            asked(&["-q", "--", "net-pf-17"]).as_deref(),
            Some("net-pf-17")
        );
        for words in [
            &[][..],
            &["-q"],
            &["-q", "--"],
            &["-q", "--", "a", "b"],
            &["boot", "-q", "--"],
            &["lease", "--", "a"],
        ] {
            assert_eq!(asked(words), None, "{words:?}");
        }
    }

    #[test]
    fn soft_dependencies_are_loaded_before_and_after_even_if_circular() {
        let soft = "# comment\nsoftdep r8169 pre: absent post: last\nsoftdep r8169 pre: realtek\n\
            softdep realtek pre: r8169\nsoftdep\n";
        let index = Index {
            folder: PathBuf::new(),
            aliases: Vec::new(),
            files: parse_dependencies("r8169.ko:\nrealtek.ko: libphy.ko\nlibphy.ko:\nlast.ko:\n"),
            before: parse_soft_dependencies(soft, "pre:"),
            after: parse_soft_dependencies(soft, "post:"),
            timeline: Timeline::default(),
        };
        let order = index.order("r8169", &mut Vec::new());
        assert_eq!(order, ["libphy.ko", "realtek.ko", "r8169.ko", "last.ko"]);
    }

    #[test]
    fn patterns_match_as_the_kernel_writes_them() {
        for (pattern, text, fits) in [
            ("virtio:d00000001v*", "virtio:d00000001v00001AF4", true),
            ("virtio:d00000001v*", "virtio:d00000002v00001AF4", false),
            (
                "pci:v00008086d000010D3sv*sd*bc*sc*i*",
                "pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00",
                true,
            ),
            ("usb:v0B95p772[AB-D]d*", "usb:v0B95p772Bd0001", true),
            ("usb:v0B95p772[AB-D]d*", "usb:v0B95p772Ed0001", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("[", "[", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches_alias(pattern, text), fits, "{pattern} {text}");
        }
    }
}
