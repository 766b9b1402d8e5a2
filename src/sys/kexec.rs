//! Loads another kernel and jumps into it.

#![allow(
    unsafe_code,
    reason = "kexec_file_load has no wrapper, in the C library or elsewhere"
)]

use std::convert::Infallible;
use std::ffi::CString;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};

use super::error::SyscallError;

/// The call's number. The libc crate lacks it for musl on arm64, which has the kernel's generic
/// table (include/uapi/asm-generic/unistd.h).
#[cfg(target_arch = "aarch64")]
const SYS_KEXEC_FILE_LOAD: libc::c_long = 294;
#[cfg(not(target_arch = "aarch64"))]
const SYS_KEXEC_FILE_LOAD: libc::c_long = libc::SYS_kexec_file_load;

/// Whether [`load_segments`] is supported on this processor, since the caller must know the kernel's
/// entry.
pub const TAKES_SEGMENTS: bool = cfg!(target_arch = "aarch64");

/// The call behind [`load_segments`].
const LOAD_SEGMENTS: &str = "kexec_load";

/// Loads another kernel and its initrd for [`reboot_into_loaded`]; the running kernel verifies them
/// according to its policy.
///
/// The files are read by the kernel itself, from their beginning, and may be in memory.
///
/// # Errors
/// The kernel's refusal; [`advice`] explains it.
pub fn load(
    kernel: BorrowedFd<'_>,
    initrd: Option<BorrowedFd<'_>>,
    command_line: &str,
) -> Result<(), SyscallError> {
    const CALL: &str = "kexec_file_load";
    let command_line =
        CString::new(command_line).map_err(|_| SyscallError::new(CALL, Errno::EINVAL))?;
    // The length counts the zero byte: without one at the end the call is EINVAL.
    let text = command_line.as_bytes_with_nul();
    let (initrd, flags) = match initrd {
        Some(initrd) => (initrd.as_raw_fd(), 0),
        // Without the flag the kernel reads descriptor -1 and answers EBADF.
        None => (-1, libc::KEXEC_FILE_NO_INITRAMFS),
    };
    // SAFETY: the pointer and the length are those of `text`, which lives through the call and
    // ends with the zero byte that the kernel looks for; the descriptors are borrowed for as long.
    let result = unsafe {
        libc::syscall(
            SYS_KEXEC_FILE_LOAD,
            libc::c_long::from(kernel.as_raw_fd()),
            libc::c_long::from(initrd),
            text.len(),
            text.as_ptr(),
            libc::c_long::from(flags),
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(SyscallError::last(CALL)),
    }
}

/// A memory segment of the next kernel.
#[derive(Debug, Clone)]
pub struct Segment<'a> {
    /// Its content, followed by zeros.
    pub octets: &'a [u8],
    /// Its physical address range, in multiples of the page size.
    pub at: Range<u64>,
}

/// Loads memory segments for [`reboot_into_loaded`], which then jumps to the physical address `entry`.
///
/// This is for kernels without the call behind [`load`]: nothing is verified.
///
/// # Errors
/// As [`load`].
pub fn load_segments(entry: u64, segments: &[Segment<'_>]) -> Result<(), SyscallError> {
    /// `struct kexec_segment`.
    #[repr(C)]
    struct Raw {
        buf: *const u8,
        bufsz: usize,
        mem: usize,
        memsz: usize,
    }
    let address = |address| {
        usize::try_from(address).map_err(|_| SyscallError::new(LOAD_SEGMENTS, Errno::EADDRNOTAVAIL))
    };
    let raw = |segment: &Segment<'_>| {
        Ok(Raw {
            buf: segment.octets.as_ptr(),
            bufsz: segment.octets.len(),
            mem: address(segment.at.start)?,
            memsz: address(segment.at.end - segment.at.start)?,
        })
    };
    let raw = segments.iter().map(raw).collect::<Result<Vec<_>, _>>()?;
    let entry = address(entry)?;
    // KEXEC_ARCH_DEFAULT, and not KEXEC_ON_CRASH.
    let of_this_kind: libc::c_long = 0;
    // SAFETY: pointer and length are those of `raw`, each of whose pointers and lengths are those
    // of a slice that is borrowed through the call; nothing is written to them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_load,
            entry,
            raw.len(),
            raw.as_ptr(),
            of_this_kind,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(SyscallError::last(LOAD_SEGMENTS)),
    }
}

/// Jumps into the loaded kernel once everything has been written to disk; no service is stopped.
///
/// # Errors
/// EINVAL when none is loaded, EPERM without CAP_SYS_BOOT.
pub fn reboot_into_loaded() -> Result<Infallible, SyscallError> {
    // kernel_kexec shuts devices down but writes no file system back.
    nix::unistd::sync();
    reboot(RebootMode::RB_KEXEC).map_err(|errno| SyscallError::new("reboot(KEXEC)", errno))
}

/// Returns the meaning of an error of these calls, and what to try.
pub fn advice(error: &SyscallError) -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let situation = Situation {
        disabled: read("/proc/sys/kernel/kexec_load_disabled").trim() == "1",
        lockdown: locked_down(&read("/sys/kernel/security/lockdown")),
    };
    let errno = error.source.raw_os_error().unwrap_or_default();
    if TAKES_SEGMENTS && error.call == LOAD_SEGMENTS && errno == libc::EINVAL {
        return "kernel or initrd take more than half of the memory".to_owned();
    }
    explain(errno, &situation).to_owned()
}

/// Settings of the machine that forbid starting another kernel.
#[derive(Debug, Clone, Copy, Default)]
struct Situation {
    disabled: bool,
    lockdown: bool,
}

/// Reads `none [integrity] confidentiality`, where the brackets mark what is in force.
fn locked_down(state: &str) -> bool {
    state.contains('[') && !state.contains("[none]")
}

const fn explain(errno: i32, situation: &Situation) -> &'static str {
    match errno {
        libc::ENOSYS => {
            "the running kernel cannot: it needs CONFIG_KEXEC_FILE (the generic kernels of the \
             distributions have it), or CONFIG_KEXEC on arm64"
        }
        // CAP_SYS_BOOT, the sysctl and lockdown all share this number in the kernel.
        libc::EPERM if situation.disabled => {
            "kernel.kexec_load_disabled is 1, and only a restart takes that back"
        }
        libc::EPERM if situation.lockdown => {
            "the running kernel is locked down (secure boot): it starts nothing unsigned"
        }
        libc::EPERM => "that takes root with CAP_SYS_BOOT, outside of containers",
        libc::EACCES => "a security policy (SELinux, LoadPin, IMA) forbids it",
        // kexec_trylock: the kernel has one place for an image, and no queue.
        libc::EBUSY => "another image is being loaded at this moment; try again",
        // None of the kernel's loaders knows the file (kexec_image_probe_default).
        libc::ENOEXEC => {
            "what was fetched is no kernel that this machine starts: it takes a bzImage on x86, \
             an Image (not compressed) on ARM"
        }
        // verify_pefile_signature: ENODATA without a signature, ENOKEY for an unknown signer.
        libc::ENODATA | libc::EKEYREJECTED | libc::ENOKEY | libc::EBADMSG => {
            "the running kernel is locked down (secure boot) or demands signatures, and this \
             image has none that it trusts: sign it with an enrolled key"
        }
        libc::EINVAL => {
            "the command line is too long (2047 bytes on x86 and ARM), or the image is damaged"
        }
        // Each part needs one contiguous range of physical memory (kexec_locate_mem_hole).
        libc::ENOMEM | libc::EADDRNOTAVAIL => {
            "there is not enough memory in one piece for kernel and initrd"
        }
        libc::EFBIG => "the image is larger than the kernel takes",
        libc::EOPNOTSUPP => "the image wants something that the running kernel was built without",
        _ => "the running kernel refused the image",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_own_advice() {
        let plain = Situation::default();
        let locked = Situation {
            lockdown: true,
            ..plain
        };
        let disabled = Situation {
            disabled: true,
            ..locked
        };
        for (errno, situation, part) in [
            (libc::ENOSYS, plain, "CONFIG_KEXEC_FILE"),
            (libc::EPERM, plain, "CAP_SYS_BOOT"),
            (libc::EPERM, locked, "locked down"),
            (libc::EPERM, disabled, "kexec_load_disabled"),
            (libc::ENOEXEC, plain, "bzImage"),
            (libc::EKEYREJECTED, plain, "sign it"),
            (libc::ENODATA, plain, "sign it"),
            (libc::EBUSY, plain, "try again"),
        ] {
            let text = explain(errno, &situation);
            assert!(text.contains(part), "{errno}: {text}");
        }
    }

    #[test]
    fn lockdown_is_read_from_the_brackets() {
        assert!(!locked_down(""));
        assert!(!locked_down("[none] integrity confidentiality\n"));
        assert!(locked_down("none [integrity] confidentiality\n"));
    }

    #[test]
    fn a_refused_load_names_its_call() {
        let no_kernel = std::fs::File::open("/dev/null").unwrap();
        let error = load(std::os::fd::AsFd::as_fd(&no_kernel), None, "quiet").unwrap_err();
        assert_eq!(error.call, "kexec_file_load");
        assert!(!advice(&error).is_empty());
        let error = load(std::os::fd::AsFd::as_fd(&no_kernel), None, "a\0b").unwrap_err();
        assert_eq!(error.source.raw_os_error(), Some(libc::EINVAL));
    }
}
