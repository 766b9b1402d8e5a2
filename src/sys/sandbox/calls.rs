//! The tables of system calls that confined processes may make.
//!
//! They are what `strace -f` has shown of them in the tests of fetching, planning, unpacking, kept leases and
//! captures by the static binary, which musl is in; what other C libraries call instead is in [`OTHER_LIBC`].
//! What was never seen says why it is there.

#![forbid(unsafe_code)]

use nix::errno::Errno;

/// A system call, and what happens at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub(super) number: libc::c_long,
    pub(super) verdict: Verdict,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    /// It is allowed if all of these hold.
    AllowedIf(&'static [ArgumentCondition]),
    /// It fails with an error, which the caller can live with.
    Refused(Errno),
}

/// A condition on an argument; arguments are counted from 0, and only their low half is looked at, as the
/// kernel does for those that are named here.
#[derive(Debug, Clone, Copy)]
pub(super) enum ArgumentCondition {
    /// It has one of these values.
    Is(u32, &'static [u32]),
    /// It has none of these bits.
    Lacks(u32, u32),
    /// It has one of these bits.
    Has(u32, u32),
}

const fn allow(number: libc::c_long) -> Rule {
    allow_if(number, &[])
}

const fn allow_if(number: libc::c_long, conditions: &'static [ArgumentCondition]) -> Rule {
    Rule {
        number,
        verdict: Verdict::AllowedIf(conditions),
    }
}

const fn refuse(number: libc::c_long, errno: Errno) -> Rule {
    Rule {
        number,
        verdict: Verdict::Refused(errno),
    }
}

// asm-generic/mman-common.h, linux/prctl.h and linux/sched.h; libc has them as signed numbers.
const PROT_EXEC: u32 = 4;
const PR_SET_TIMERSLACK: u32 = 29;
const CLONE_THREAD: u32 = 0x10000;

/// What every process takes: its log, what is open, waiting, memory and its end.
pub(super) const BASE: &[Rule] = &[
    allow(libc::SYS_read),
    allow(libc::SYS_write),
    allow(libc::SYS_close),
    allow(libc::SYS_ppoll),
    // Not seen: a call that waits when the process is stopped and continued goes on by this one.
    allow(libc::SYS_restart_syscall),
    // Not seen: the time, where the kernel's vDSO cannot read this machine's clock.
    allow(libc::SYS_clock_gettime),
    // Memory, none of it executable.
    allow(libc::SYS_brk),
    allow(libc::SYS_munmap),
    allow(libc::SYS_mremap),
    allow_if(libc::SYS_mmap, &[ArgumentCondition::Lacks(2, PROT_EXEC)]),
    allow_if(
        libc::SYS_mprotect,
        &[ArgumentCondition::Lacks(2, PROT_EXEC)],
    ),
    // Locks; the allocator's, when another thread has it, yields.
    allow(libc::SYS_futex),
    allow(libc::SYS_sched_yield),
    // Not seen: where the standard library is not built anew, each thread has a stack for the handler that
    // tells of an overflow, the first one until the end.
    allow(libc::SYS_sigaltstack),
    allow(libc::SYS_exit_group),
];

/// What workers and kept leases take: messages, memory files and threads.
pub(super) const WORKER: &[Rule] = &[
    // The channel to the parent, with descriptors; sockets too.
    allow(libc::SYS_recvfrom),
    allow(libc::SYS_recvmsg),
    allow(libc::SYS_sendmsg),
    // The file that is written or read, and the kernel's report on memory.
    allow(libc::SYS_pread64),
    allow(libc::SYS_pwrite64),
    allow(libc::SYS_lseek),
    allow(libc::SYS_fstat),
    allow(libc::SYS_ftruncate),
    // Keys of TLS, and the seeds of hash tables.
    allow(libc::SYS_getrandom),
    allow(libc::SYS_clock_nanosleep),
    // Threads, of connections and hashes.
    allow_if(libc::SYS_clone, &[ArgumentCondition::Has(0, CLONE_THREAD)]),
    allow(libc::SYS_rt_sigprocmask),
    allow(libc::SYS_exit),
];

/// What processes take that make memory files and seal them.
pub(super) const MEMORY: &[Rule] = &[allow(libc::SYS_memfd_create), allow(libc::SYS_fcntl)];

/// What glibc, and the standard library with it, calls beside or instead of the above.
#[cfg(not(target_env = "musl"))]
pub(super) const OTHER_LIBC: &[Rule] = &[
    allow(libc::SYS_readv),
    allow(libc::SYS_writev),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_poll),
    allow(libc::SYS_fcntl),
    // fstat.
    allow(libc::SYS_newfstatat),
    allow(libc::SYS_nanosleep),
    allow(libc::SYS_madvise),
    allow(libc::SYS_set_robust_list),
    allow(libc::SYS_rseq),
    allow(libc::SYS_sched_getaffinity),
    allow(libc::SYS_rt_sigaction),
    allow(libc::SYS_rt_sigreturn),
    // abort: a signal to a thread of this process, or of another of the same user, of which there are
    // only workers.
    allow(libc::SYS_getpid),
    allow(libc::SYS_gettid),
    allow(libc::SYS_tgkill),
];
#[cfg(target_env = "musl")]
// The other tables were made with musl.
pub(super) const OTHER_LIBC: &[Rule] = &[];

// No AF_UNIX, AF_NETLINK or AF_PACKET: these workers speak with the network alone.
const FAMILIES: &[u32] = &[libc::AF_INET as u32, libc::AF_INET6 as u32];

/// Sockets.
pub(super) const NETWORK: &[Rule] = &[
    allow_if(
        libc::SYS_socket,
        &[
            ArgumentCondition::Is(0, FAMILIES),
            ArgumentCondition::Is(1, TYPES),
            ArgumentCondition::Is(2, PROTOCOLS),
        ],
    ),
    allow(libc::SYS_connect),
    allow(libc::SYS_bind),
    allow(libc::SYS_sendto),
    allow(libc::SYS_getsockname),
    allow(libc::SYS_getsockopt),
    allow(libc::SYS_setsockopt),
    // Whether the file is in memory, and how much there is left of its disk.
    allow(libc::SYS_fstatfs),
    // TFTP sleeps between the packets of a window, for less than the kernel's slack of 50 microseconds.
    allow_if(
        libc::SYS_prctl,
        &[ArgumentCondition::Is(0, &[PR_SET_TIMERSLACK])],
    ),
    allow_if(
        libc::SYS_ioctl,
        &[ArgumentCondition::Is(1, SOCKET_REQUESTS)],
    ),
];

/// SOCK_STREAM and SOCK_DGRAM, with SOCK_CLOEXEC and SOCK_NONBLOCK: not SOCK_RAW.
const TYPES: &[u32] = &[1, 2, 0x801, 0x802, 0x8_0001, 0x8_0002, 0x8_0801, 0x8_0802];
/// Those of another number would make the kernel load the module of that protocol.
const PROTOCOLS: &[u32] = &[0, libc::IPPROTO_TCP as u32, libc::IPPROTO_UDP as u32];
/// FIONBIO, and those of [`ISATTY`].
const SOCKET_REQUESTS: &[u32] = &[0x5421, 0x5401, 0x5413];
/// TCGETS, TCSETS, TCSETSW, TCSETSF and TIOCGWINSZ: not TIOCSTI, which types into the terminal.
const TERMINAL_REQUESTS: &[u32] = &[0x5401, 0x5402, 0x5403, 0x5404, 0x5413];

/// The terminal.
pub(super) const TERMINAL: &[Rule] = &[allow_if(
    libc::SYS_ioctl,
    &[ArgumentCondition::Is(1, TERMINAL_REQUESTS)],
)];

/// What a kept lease takes: packet sockets (ARP, a link that has returned), netlink (addresses, routes),
/// UDP from its address, ICMPv6, and timers.
pub(super) const LEASE: &[Rule] = &[
    allow_if(
        libc::SYS_socket,
        &[ArgumentCondition::Is(0, LEASE_FAMILIES)],
    ),
    allow(libc::SYS_bind),
    allow(libc::SYS_sendto),
    allow(libc::SYS_getsockname),
    allow(libc::SYS_getsockopt),
    allow(libc::SYS_setsockopt),
    allow(libc::SYS_timerfd_settime),
    // Not seen: the kernel's release, by which a rare kernel is known.
    allow(libc::SYS_uname),
    allow_if(libc::SYS_ioctl, &[ArgumentCondition::Is(1, ISATTY)]),
    refuse(libc::SYS_sethostname, Errno::EPERM),
];

// Netlink sets the addresses; packet sockets ask while there is none.
const LEASE_FAMILIES: &[u32] = &[
    libc::AF_INET as u32,
    libc::AF_INET6 as u32,
    libc::AF_NETLINK as u32,
    libc::AF_PACKET as u32,
];

/// PACKET_STATISTICS, of the sockets that are open, and the channel to the process that creates files.
pub(super) const CAPTURE: &[Rule] = &[
    allow(libc::SYS_getsockopt),
    allow(libc::SYS_recvfrom),
    allow(libc::SYS_recvmsg),
    allow(libc::SYS_sendmsg),
    allow_if(libc::SYS_ioctl, &[ArgumentCondition::Is(1, ISATTY)]),
];

/// Files, folders and links, their owners and permissions; on x86-64 the C libraries use the older calls
/// too.
pub(super) const FILES: &[Rule] = &[
    allow(libc::SYS_newfstatat),
    allow(libc::SYS_openat),
    allow(libc::SYS_mkdirat),
    allow(libc::SYS_mknodat),
    allow(libc::SYS_unlinkat),
    // What a layer of an image removes.
    allow(libc::SYS_getdents64),
    allow(libc::SYS_symlinkat),
    allow(libc::SYS_linkat),
    allow(libc::SYS_fchownat),
    allow(libc::SYS_fchmodat),
    allow(libc::SYS_utimensat),
    allow(libc::SYS_lsetxattr),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_open),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_stat),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_lstat),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_mkdir),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_mknod),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_rmdir),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_unlink),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_symlink),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_link),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_chown),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_lchown),
    #[cfg(target_arch = "x86_64")]
    allow(libc::SYS_chmod),
    allow_if(libc::SYS_ioctl, &[ArgumentCondition::Is(1, ISATTY)]),
];

/// What isatty(3) asks, for each line of the log: TCGETS with glibc, TIOCGWINSZ with musl.
const ISATTY: &[u32] = &[0x5401, 0x5413];

/// Calls that the C libraries and the standard library try first, or make only to find out: a file that
/// cannot be opened is no fault of theirs.
pub(super) const REFUSED: &[Rule] = &[
    // The flags are in memory, where no filter can look; glibc goes on with clone.
    refuse(libc::SYS_clone3, Errno::ENOSYS),
    refuse(libc::SYS_statx, Errno::ENOSYS),
    refuse(libc::SYS_openat, Errno::EACCES),
    refuse(libc::SYS_faccessat, Errno::EACCES),
    refuse(libc::SYS_readlinkat, Errno::EACCES),
    #[cfg(target_arch = "x86_64")]
    refuse(libc::SYS_open, Errno::EACCES),
    #[cfg(target_arch = "x86_64")]
    refuse(libc::SYS_access, Errno::EACCES),
    #[cfg(target_arch = "x86_64")]
    refuse(libc::SYS_readlink, Errno::EACCES),
    refuse(libc::SYS_prlimit64, Errno::EPERM),
];
