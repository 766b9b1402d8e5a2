//! User, capabilities, limits, and the flags that keep a process from getting more.

#![allow(
    unsafe_code,
    reason = "prctl, capset and setrlimit have no wrapper that the program uses otherwise"
)]

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use crate::sys::error::SyscallError;

/// The bit of CAP_NET_ADMIN, which addresses and routes take.
pub const CAP_NET_ADMIN: u64 = 1 << 12;
/// The bit of CAP_NET_RAW, which packet sockets take, and SO_BINDTODEVICE before Linux 5.7.
pub const CAP_NET_RAW: u64 = 1 << 13;
/// The bit of CAP_NET_BIND_SERVICE, which ports below 1024 take.
pub const CAP_NET_BIND_SERVICE: u64 = 1 << 10;
/// The bits of CAP_DAC_OVERRIDE and CAP_FOWNER: files and directories of other users, sticky ones too.
pub const CAP_FILES: u64 = 1 << 1 | 1 << 3;
/// Files of any owner, and their capabilities: `CAP_CHOWN`, `CAP_DAC_OVERRIDE`, `CAP_FOWNER`, `CAP_FSETID`
/// and `CAP_SETFCAP`.
pub const CAP_OWNERS: u64 = 1 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 31;

/// Becomes `user`, if one is given, with those of these capabilities that it has, and keeps to these
/// limits; returns what could not be given up.
pub(super) fn give_up(
    user: Option<u32>,
    capabilities: u64,
    ends_with_thread: bool,
    processor_time: Option<Duration>,
    file_len: u64,
) -> Vec<SyscallError> {
    let mut missing = Vec::new();
    let mut note = |result: Result<(), SyscallError>| missing.extend(result.err());
    let is_root = geteuid().is_root();
    let mut death_signal = death_signal();
    if is_root {
        // Both before the user changes, which takes CAP_SETPCAP and CAP_SETGID.
        note(drop_bounding(capabilities));
        note(process_control(
            "prctl(PR_SET_KEEPCAPS)",
            libc::PR_SET_KEEPCAPS,
            1,
        ));
        if let Some(user) = user {
            note(change_user(user));
        }
    }
    // EINVAL before Linux 4.3, which has no ambient capabilities.
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    match process_control("prctl(PR_CAP_AMBIENT)", libc::PR_CAP_AMBIENT, clear) {
        Err(error) if error.is(Errno::EINVAL) => {}
        result => note(result),
    }
    note(set_capabilities(capabilities));
    note(process_control(
        "prctl(PR_SET_NO_NEW_PRIVS)",
        libc::PR_SET_NO_NEW_PRIVS,
        1,
    ));
    // After the user, which sets it to the value of fs.suid_dumpable.
    note(process_control(
        "prctl(PR_SET_DUMPABLE)",
        libc::PR_SET_DUMPABLE,
        0,
    ));
    if ends_with_thread {
        death_signal = libc::SIGKILL;
    }
    // After the user too, which clears the one that a supervisor may have set (commit_creds).
    note(process_control(
        "prctl(PR_SET_PDEATHSIG)",
        libc::PR_SET_PDEATHSIG,
        libc::c_ulong::try_from(death_signal).unwrap_or(0),
    ));
    note(limit("setrlimit(CORE)", libc::RLIMIT_CORE, 0));
    note(limit("setrlimit(FSIZE)", libc::RLIMIT_FSIZE, file_len));
    if let Some(time) = processor_time {
        note(limit("setrlimit(CPU)", libc::RLIMIT_CPU, time.as_secs()));
    }
    missing
}

/// Descriptors: what Linux gives the first process (`INR_OPEN_MAX`); `fetch --parallel` needs most.
const DESCRIPTORS: u64 = 4096;

/// As [`super::harden`].
pub(super) fn harden(file_len: u64) -> Vec<SyscallError> {
    // Otherwise the end at a file that is too long would be a signal instead of an error.
    let mut too_long = SigSet::empty();
    too_long.add(Signal::SIGXFSZ);
    let _ = too_long.thread_block();
    let results = [
        process_control("prctl(PR_SET_NO_NEW_PRIVS)", libc::PR_SET_NO_NEW_PRIVS, 1),
        process_control("prctl(PR_SET_DUMPABLE)", libc::PR_SET_DUMPABLE, 0),
        limit("setrlimit(CORE)", libc::RLIMIT_CORE, 0),
        limit("setrlimit(FSIZE)", libc::RLIMIT_FSIZE, file_len),
        limit("setrlimit(NOFILE)", libc::RLIMIT_NOFILE, DESCRIPTORS),
    ];
    results.into_iter().filter_map(Result::err).collect()
}

fn change_user(id: u32) -> Result<(), SyscallError> {
    let failed = |call| move |errno| SyscallError::new(call, errno);
    let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
    // Groups first: the new user may not change them.
    setgroups(&[]).map_err(failed("setgroups"))?;
    setresgid(group, group, group).map_err(failed("setresgid"))?;
    setresuid(user, user, user).map_err(failed("setresuid"))
}

/// Removes all capabilities but `kept` from the bounding set, so that no program could bring them back.
fn drop_bounding(kept: u64) -> Result<(), SyscallError> {
    const CALL: &str = "prctl(PR_CAPBSET_DROP)";
    for capability in 0..64 {
        if kept & 1 << capability != 0 {
            continue;
        }
        match process_control(CALL, libc::PR_CAPBSET_DROP, capability) {
            // Behind the last one that this kernel knows.
            Err(error) if error.is(Errno::EINVAL) => break,
            result => result?,
        }
    }
    Ok(())
}

/// The kernel's `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    process: libc::c_int,
}

/// The kernel's `struct __user_cap_data_struct`, for 32 capabilities.
#[repr(C)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`, with two [`Sets`].
const VERSION_3: u32 = 0x2008_0522;

/// Keeps those of these capabilities that this process has, and makes them effective, which they are not
/// after a change of the user.
fn set_capabilities(kept: u64) -> Result<(), SyscallError> {
    let sets = |kept: u64| Sets {
        effective: u32::try_from(kept & u64::from(u32::MAX)).unwrap_or(0),
        permitted: u32::try_from(kept & u64::from(u32::MAX)).unwrap_or(0),
        inheritable: 0,
    };
    let header = Header {
        version: VERSION_3,
        process: 0,
    };
    let mut both = [sets(kept), sets(kept >> 32)];
    let mut had = [sets(0), sets(0)];
    // SAFETY: as below, but that it writes both of the second one, which are as many as it takes.
    let result = unsafe { libc::syscall(libc::SYS_capget, &header, had.as_mut_ptr()) };
    Errno::result(result).map_err(|errno| SyscallError::new("capget", errno))?;
    for (kept, had) in both.iter_mut().zip(&had) {
        kept.permitted &= had.permitted;
        kept.effective = kept.permitted;
    }
    // SAFETY: both structures are laid out as the kernel's, of this version, and live through the call,
    // which only reads the second one.
    let result = unsafe { libc::syscall(libc::SYS_capset, &header, both.as_ptr()) };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| SyscallError::new("capset", errno))
}

/// Returns the signal that this process gets when the thread ends that has started it; 0 for none.
fn death_signal() -> libc::c_int {
    let mut signal: libc::c_int = 0;
    // SAFETY: it writes a number of this type, which lives through the call.
    let result = unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
    if result == 0 { signal } else { 0 }
}

fn process_control(
    call: &'static str,
    option: libc::c_int,
    value: libc::c_ulong,
) -> Result<(), SyscallError> {
    let none: libc::c_ulong = 0;
    // SAFETY: the options used here take numbers alone.
    let result = unsafe { libc::prctl(option, value, none, none, none) };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| SyscallError::new(call, errno))
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

/// Lowers a limit, the soft one and the hard one.
fn limit(call: &'static str, resource: Resource, most: u64) -> Result<(), SyscallError> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // None is lower than 0.
    if most > 0 {
        // SAFETY: it writes a structure of this type.
        let result = unsafe { libc::getrlimit(resource, &mut limit) };
        Errno::result(result).map_err(|errno| SyscallError::new(call, errno))?;
    }
    // One that is lower already stays.
    let most = limit.rlim_max.min(most);
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: most,
    };
    // SAFETY: it reads a structure of this type.
    let result = unsafe { libc::setrlimit(resource, &limit) };
    Errno::result(result)
        .map(drop)
        .map_err(|errno| SyscallError::new(call, errno))
}
