//! What the kernel shows in /sys and /proc of firmware, processor and cards.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Returns whether the machine was started by EFI firmware.
pub fn is_efi() -> bool {
    Path::new("/sys/firmware/efi").exists()
}

/// Returns an SMBIOS text by its name in `/sys/class/dmi/id`; none when it is missing or empty.
pub fn smbios(name: &str) -> Option<String> {
    text(Path::new("/sys/class/dmi/id").join(name))
}

/// Returns these fields of the first processor in `/proc/cpuinfo`, such as `flags`; empty ones where
/// it has none.
pub fn processor<const N: usize>(names: [&str; N]) -> [String; N] {
    let mut fields = [const { String::new() }; N];
    // The kernel writes a part for each processor when it is read, and the first says it all.
    let lines = fs::File::open("/proc/cpuinfo").map(|file| BufReader::new(file).lines());
    let lines = lines.into_iter().flatten().map_while(Result::ok);
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or_default();
        for (wanted, field) in names.iter().zip(&mut fields) {
            if name.trim() == *wanted {
                value.trim().clone_into(field);
            }
        }
    }
    fields
}

/// Returns the device tree that the running kernel was given, as it was given, but for what it has
/// wiped out (seeds).
///
/// # Errors
/// ENOENT where it was given none, EACCES for others than root.
pub fn device_tree() -> io::Result<Vec<u8>> {
    fs::read("/sys/firmware/fdt")
}

/// A network card on the PCI bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciCard {
    /// Its vendor and device numbers.
    pub id: (u16, u16),
    /// The name of its driver in this kernel.
    pub driver: String,
}

/// Returns the card behind a network interface; none when it is on another bus or there is none.
pub fn pci_card(interface: &str) -> Option<PciCard> {
    let device = Path::new("/sys/class/net").join(interface).join("device");
    let mut device = fs::canonicalize(device).ok()?;
    let driver = last_part(fs::read_link(device.join("driver")).ok()?)?;
    // A virtio card is a device of its own on a PCI one.
    while last_part(fs::read_link(device.join("subsystem")).ok()?)? != "pci" {
        device.pop();
    }
    let number = |file: &str| {
        let text = text(device.join(file))?;
        u16::from_str_radix(text.trim_start_matches("0x"), 16).ok()
    };
    Some(PciCard {
        id: (number("vendor")?, number("device")?),
        driver,
    })
}

fn last_part(path: PathBuf) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

fn text(path: PathBuf) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
