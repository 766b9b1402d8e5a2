//! Firmware, processor, cards and the TPM, through /sys, /proc and /dev.

#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::error::SyscallError;

// Only there where EFI has started the kernel.
const EFI: &str = "/sys/firmware/efi";

/// Returns whether the machine was started by EFI firmware.
pub fn is_efi() -> bool {
    Path::new(EFI).exists()
}

/// Returns an SMBIOS text by its name in `/sys/class/dmi/id`; none when it is missing or empty.
pub fn smbios(name: &str) -> Option<String> {
    // UUID and serial numbers are readable by root only (mode 0400).
    text(Path::new("/sys/class/dmi/id").join(name))
}

/// Maximum length of the part about one processor in `/proc/cpuinfo`, in bytes.
const PROCESSOR_LEN: u64 = 16 << 10;

/// The first processor's part of `/proc/cpuinfo`.
#[derive(Debug, Clone, Default)]
pub struct Processor(String);

impl Processor {
    /// Reads its part of `/proc/cpuinfo`; one that cannot be read has no fields.
    pub fn first() -> Self {
        let mut text = Vec::new();
        // The kernel writes a part for each processor while it is read.
        if let Ok(file) = fs::File::open("/proc/cpuinfo") {
            // What was read until an error has its fields.
            let _ = (&file).take(PROCESSOR_LEN).read_to_end(&mut text);
        }
        Self(String::from_utf8_lossy(&text).into_owned())
    }

    /// Returns a field, such as `flags`; an empty one where there is none.
    pub fn field(&self, name: &str) -> &str {
        let mut fields = self.0.lines().filter_map(|line| line.split_once(':'));
        let field = fields.find(|(known, _)| known.trim() == name);
        field.map_or("", |(_, value)| value.trim())
    }
}

/// Returns the device tree that the running kernel was booted with, without the seeds, which it erases.
///
/// # Errors
/// ENOENT if it was booted without one, EACCES except for root.
pub fn device_tree() -> io::Result<Vec<u8>> {
    fs::read("/sys/firmware/fdt")
}

/// Returns the boot parameters that the running kernel was given (`struct boot_params` of x86).
///
/// # Errors
/// ENOENT on other processors.
pub fn boot_params() -> io::Result<Vec<u8>> {
    fs::read("/sys/kernel/boot_params/data")
}

/// Facts about EFI for a kernel that is started by another one, since the firmware tells it
/// once only: addresses of tables, and the map of memory that its runtime services use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EfiRuntime {
    /// Physical address of the vendor's name.
    pub fw_vendor: u64,
    /// Physical address of the configuration tables.
    pub config_table: u64,
    /// Physical address of the SMBIOS entry point, 0 without.
    pub smbios: u64,
    /// The map: type, physical address, virtual address, pages and attributes of each region, in 64
    /// bits each, as a kernel reads them (`efi_memory_desc_t`).
    pub map: Vec<u8>,
}

impl EfiRuntime {
    /// Reads it from `/sys/firmware/efi`; none when the kernel lacks a part of it
    /// (`CONFIG_EFI_RUNTIME_MAP`).
    pub fn read() -> Option<Self> {
        let mut map = Vec::new();
        for region in 0_u32.. {
            let number = |name| efi_number(&format!("runtime-map/{region}/{name}"));
            let Some(kind) = number("type") else {
                break;
            };
            map.extend(kind.to_le_bytes());
            for name in ["phys_addr", "virt_addr", "num_pages", "attribute"] {
                map.extend(number(name)?.to_le_bytes());
            }
        }
        if map.is_empty() {
            return None;
        }
        let systab = text(Path::new(EFI).join("systab"))?;
        let smbios = systab.lines().find_map(|line| line.strip_prefix("SMBIOS="));
        Some(Self {
            fw_vendor: efi_number("fw_vendor")?,
            config_table: efi_number("config_table")?,
            smbios: smbios.and_then(hexadecimal).unwrap_or(0),
            map,
        })
    }
}

fn efi_number(name: &str) -> Option<u64> {
    hexadecimal(&text(Path::new(EFI).join(name))?)
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// A network card on the PCI bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PciCard {
    /// Its vendor and device numbers.
    pub id: (u16, u16),
    /// The name of its driver in this kernel.
    pub driver: String,
}

/// Returns the PCI card of a network interface; none if it is on another bus or virtual.
pub fn pci_card(interface: &str) -> Option<PciCard> {
    let device = Path::new("/sys/class/net").join(interface).join("device");
    let mut device = fs::canonicalize(device).ok()?;
    let driver = last_part(fs::read_link(device.join("driver")).ok()?)?;
    // A virtio card is a device of its own below the PCI device.
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

// Not /dev/tpm0, which one process at a time may open (EBUSY); since Linux 4.12.
const TPM_DEVICE: &str = "/dev/tpmrm0";

/// An open TPM.
#[derive(Debug)]
pub struct Tpm(File);

impl Tpm {
    /// Returns whether the machine has a TPM 2.0, and the kernel a driver for it.
    pub fn exists() -> bool {
        Path::new(TPM_DEVICE).exists()
    }

    /// Opens the machine's TPM 2.0; none when it has none, or the kernel no driver for it.
    ///
    /// # Errors
    /// `open`: EACCES, EIO.
    pub fn open() -> Result<Option<Self>, SyscallError> {
        match OpenOptions::new().read(true).write(true).open(TPM_DEVICE) {
            Ok(file) => Ok(Some(Self(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SyscallError::of("open(/dev/tpmrm0)", source)),
        }
    }

    /// Sends a command and returns the response, which may have up to `max_len` bytes.
    ///
    /// # Errors
    /// `write` or `read`: ETIME when the TPM takes too long, EIO.
    pub fn transmit(&mut self, command: &[u8], max_len: usize) -> Result<Vec<u8>, SyscallError> {
        let failed = |call| move |source| SyscallError::of(call, source);
        // The driver expects a command in one write and returns its response in one read.
        let written = self
            .0
            .write(command)
            .map_err(failed("write(/dev/tpmrm0)"))?;
        if written != command.len() {
            return Err(failed("write(/dev/tpmrm0)")(
                io::ErrorKind::WriteZero.into(),
            ));
        }
        let mut response = vec![0; max_len];
        let len = self
            .0
            .read(&mut response)
            .map_err(failed("read(/dev/tpmrm0)"))?;
        response.truncate(len);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_processor_is_asked() {
        let processor = Processor::first();
        assert_eq!(processor.field("processor"), "0");
        assert_eq!(processor.field("no such field"), "");
    }
}
