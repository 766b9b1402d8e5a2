//! What the kernel's log says about firmware that a driver asked for and did not get: `quiet` keeps it from
//! the console, and a card without its firmware looks like one without a cable.

use std::fs::File;
use std::io::{ErrorKind, Read};

/// The longest record that `/dev/kmsg` returns (PRINTK_MESSAGE_MAX).
const RECORD_LEN: usize = 2048;

/// Logs a warning for each file of firmware that is missing, for ever.
pub(super) fn follow() {
    // A kernel without CONFIG_PRINTK has no log.
    let Ok(mut log) = File::open("/dev/kmsg") else {
        return;
    };
    let mut buf = [0; RECORD_LEN];
    let mut last = String::new();
    loop {
        match log.read(&mut buf) {
            Ok(len) => {
                let record = String::from_utf8_lossy(buf.get(..len).unwrap_or_default());
                if let Some(warning) = missing_firmware(&record).filter(|text| *text != last) {
                    log::warn!("{warning}");
                    last = warning;
                }
            }
            // EPIPE: records were overwritten before they were read.
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
            Err(_) => return,
        }
    }
}

/// Returns the warning for a record of `/dev/kmsg`, `PRIORITY,NUMBER,TIME,FLAGS;TEXT`, about firmware that
/// is missing.
fn missing_firmware(record: &str) -> Option<String> {
    let text = record.split_once(';')?.1.lines().next()?;
    // fw_get_filesystem_firmware: "Direct firmware load for NAME failed with error -2"; Debian's kernels
    // say "firmware: failed to load NAME (-2)" in its place. Both begin with driver and device.
    let (device, rest) = text
        .split_once(": Direct firmware load for ")
        .or_else(|| text.split_once(": firmware: failed to load "))?;
    let name = rest.split(' ').next()?;
    Some(format!(
        "{device}: firmware {name} is missing; initramfs/build --firmware DIR puts it into the archive"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_firmware_is_said_with_card_and_file() {
        for (record, about) in [
            (
                "4,711,2345678,-;bnx2 0000:03:00.0: Direct firmware load for bnx2/bnx2-mips-09-6.2.1b.fw \
                 failed with error -2\n SUBSYSTEM=pci\n DEVICE=+pci:0000:03:00.0\n",
                "bnx2 0000:03:00.0: firmware bnx2/bnx2-mips-09-6.2.1b.fw is missing",
            ),
            (
                "3,712,2345678,-;e100 0000:00:03.0: firmware: failed to load e100/d102e_ucode.bin (-2)\n",
                "e100 0000:00:03.0: firmware e100/d102e_ucode.bin is missing",
            ),
        ] {
            let warning = missing_firmware(record).expect(record);
            assert!(warning.starts_with(about), "{warning}");
        }
        for record in [
            "",
            "6,1,2,-",
            "6,1,2,-;e100 0000:00:03.0: firmware: direct-loading firmware e100/d102e_ucode.bin\n",
            "6,1,2,-;eth0: link up\n",
            "6,1,2,-;other\n DEVICE: Direct firmware load for x failed\n",
        ] {
            assert_eq!(missing_firmware(record), None, "{record}");
        }
    }
}
