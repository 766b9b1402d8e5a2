use std::time::Duration;

use std::fs;
use std::io::ErrorKind;
use std::net::UdpSocket;

use nix::libc;
use nix::sys::signal::Signal;

use super::seccomp::program;
use super::*;
use crate::sys::filter::FilterProgram;
use crate::sys::memfd::Memfd;
use crate::sys::process::{End, Fork};

const PROFILE: Profile = Profile {
    user: 65_534,
    capabilities: 0,
    ends_with_thread: true,
    calls: Calls::Network,
    on_violation: OnViolation::Kill,
    processor_time: Some(Duration::from_secs(60)),
    file_len: 1 << 30,
};

const PLANNER: Profile = Profile {
    calls: Calls::Terminal,
    ..PROFILE
};

/// Runs `act` in a confined process.
fn confined(profile: Profile, act: impl FnOnce() -> bool) -> End {
    let fork = Fork::run(Vec::new(), || {
        confine(&profile);
        u8::from(!act())
    });
    fork.unwrap().wait()
}

#[test]
fn what_a_worker_is_not_to_do_is_refused_or_kills_it() {
    const KILLED: End = End::Killed(Signal::SIGSYS);
    const DONE: End = End::Exited(0);
    let call = |number: libc::c_long, arguments: [libc::c_long; 3]| {
        confined(PROFILE, || raw_call(number, arguments) >= 0)
    };
    for (what, end, expected) in [
        ("nothing", confined(PROFILE, || true), DONE),
        ("a thread", confined(PROFILE, thread_runs), DONE),
        (
            "memory",
            confined(PLANNER, || Memfd::create("x").is_ok()),
            DONE,
        ),
        (
            "UDP",
            confined(PROFILE, || UdpSocket::bind("127.0.0.1:0").is_ok()),
            DONE,
        ),
        (
            "open",
            confined(PROFILE, || fs::File::open("/proc/self/status").is_err()),
            DONE,
        ),
        ("AF_PACKET", call(libc::SYS_socket, [17, 3, 0]), KILLED),
        ("AF_UNIX", call(libc::SYS_socket, [1, 1, 0]), KILLED),
        ("AF_NETLINK", call(libc::SYS_socket, [16, 3, 0]), KILLED),
        ("SCTP", call(libc::SYS_socket, [2, 1, 132]), KILLED),
        ("ptrace", call(libc::SYS_ptrace, [0, 0, 0]), KILLED),
        ("mount", call(libc::SYS_mount, [0, 0, 0]), KILLED),
        ("kexec_load", call(libc::SYS_kexec_load, [0, 0, 0]), KILLED),
        ("execve", call(libc::SYS_execve, [0, 0, 0]), KILLED),
        ("fork", call(libc::SYS_clone, [17, 0, 0]), KILLED),
        ("kill", call(libc::SYS_kill, [1, 0, 0]), KILLED),
        ("bpf", call(libc::SYS_bpf, [0, 0, 0]), KILLED),
        ("TIOCSTI", call(libc::SYS_ioctl, [0, 0x5412, 0]), KILLED),
        (
            "executable memory",
            call(libc::SYS_mprotect, [0, 0, 4]),
            KILLED,
        ),
    ] {
        assert_eq!(end, expected, "{what}");
    }
}

#[test]
fn a_worker_that_takes_more_than_its_processor_time_is_killed() {
    let profile = Profile {
        processor_time: Some(Duration::from_secs(1)),
        ..PROFILE
    };
    let end = confined(profile, || {
        loop {
            std::hint::spin_loop();
        }
    });
    // The kernel sends this one where the limit cannot be raised any more.
    assert_eq!(end, End::Killed(Signal::SIGKILL));
}

fn thread_runs() -> bool {
    std::thread::Builder::new()
        .spawn(|| 7)
        .is_ok_and(|thread| thread.join().is_ok_and(|seven| seven == 7))
}

/// Makes a system call with numbers for arguments.
fn raw_call(number: libc::c_long, arguments: [libc::c_long; 3]) -> libc::c_long {
    super::seccomp::raw_call(number, arguments)
}

#[test]
fn without_a_filter_the_other_walls_hold() {
    let profile = Profile {
        on_violation: OnViolation::Log,
        ..PROFILE
    };
    let walls = confined(profile, || {
        let refused = |number, arguments| raw_call(number, arguments) < 0;
        let status = nix::unistd::geteuid().as_raw() == 65_534 || !nix::unistd::geteuid().is_root();
        status
            && refused(libc::SYS_socket, [17, 3, 0])
            && refused(libc::SYS_mount, [0, 0, 0])
            && refused(libc::SYS_kexec_load, [0, 0, 0])
    });
    assert_eq!(walls, End::Exited(0));
}

#[test]
fn no_privilege_is_left_of_those_in_proc_status() {
    let report = Memfd::create("report").unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let gate = Fork::run(vec![std::os::fd::AsRawFd::as_raw_fd(&writer)], || {
        let missing: Vec<_> = confine(&PROFILE).iter().map(SyscallError::chain).collect();
        let written = std::io::Write::write_all(&mut &writer, missing.join("; ").as_bytes());
        let _ = std::io::Write::write_all(&mut &writer, b"\n");
        std::thread::sleep(Duration::from_secs(60));
        u8::from(written.is_err())
    });
    let gate = gate.unwrap();
    drop(writer);
    let mut first = [0; 256];
    let len = std::io::Read::read(&mut reader, &mut first).unwrap();
    let missing = String::from_utf8_lossy(&first[..len]).into_owned();
    let status = fs::read_to_string(format!("/proc/{}/status", gate.id().unwrap())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':')).unwrap().1;
        value.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (name, expected) in [
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("CapEff", "0000000000000000"),
    ] {
        assert_eq!(field(name), expected, "{name} ({missing})");
    }
    if nix::unistd::geteuid().is_root() {
        let nobody = "65534 65534 65534 65534";
        for (name, expected) in [
            ("Uid", nobody),
            ("Gid", nobody),
            ("Groups", ""),
            ("CapPrm", "0000000000000000"),
            ("CapInh", "0000000000000000"),
            ("CapBnd", "0000000000000000"),
            ("CapAmb", "0000000000000000"),
        ] {
            assert_eq!(field(name), expected, "{name} ({missing})");
        }
    }
    for missing in missing
        .trim()
        .split("; ")
        .filter(|missing| !missing.is_empty())
    {
        assert!(missing.starts_with("landlock"), "{missing}");
    }
    drop(report);
}

#[test]
fn the_filter_has_few_calls_and_judges_by_arguments() {
    let program = program(Calls::Network, OnViolation::Kill).unwrap();
    assert!(
        program.instructions().len() < 250,
        "{}",
        program.instructions().len()
    );
    for (number, arguments, expected) in [
        (libc::SYS_read, [0; 3], ALLOW),
        (libc::SYS_exit_group, [0; 3], ALLOW),
        (libc::SYS_socket, [2, 2, 0], ALLOW),
        (libc::SYS_socket, [10, 1, 6], ALLOW),
        (libc::SYS_socket, [10, 1, 132], KILL),
        (libc::SYS_socket, [17, 3, 0], KILL),
        (libc::SYS_mmap, [0, 4096, 3], ALLOW),
        (libc::SYS_mmap, [0, 4096, 5], KILL),
        (libc::SYS_clone, [0x3d0f00, 0, 0], ALLOW),
        (libc::SYS_clone, [17, 0, 0], KILL),
        (libc::SYS_openat, [0; 3], 0x0005_0000 | libc::EACCES as u32),
        (libc::SYS_execve, [0; 3], KILL),
        // TCGETS, TIOCGWINSZ and TIOCSTI.
        (libc::SYS_ioctl, [2, 0x5401, 0], ALLOW),
        (libc::SYS_ioctl, [2, 0x5413, 0], ALLOW),
        (libc::SYS_ioctl, [2, 0x5412, 0], KILL),
        (0x4000_0000, [0; 3], KILL),
    ] {
        assert_eq!(
            run(&program, number, arguments),
            expected,
            "{number} {arguments:x?}"
        );
    }
}

#[test]
fn each_process_has_the_calls_of_its_own_work_alone() {
    let all = [
        Calls::Network,
        Calls::Terminal,
        Calls::Lease,
        Calls::Capture,
        Calls::Files,
    ];
    let clone = (libc::SYS_clone, [0x3d0f00, 0, 0]);
    for (number, arguments, who) in [
        (
            libc::SYS_socket,
            [2, 1, 0],
            &[Calls::Network, Calls::Lease][..],
        ),
        (libc::SYS_socket, [17, 3, 0], &[Calls::Lease]),
        (libc::SYS_connect, [0; 3], &[Calls::Network]),
        (libc::SYS_fstatfs, [0; 3], &[Calls::Network]),
        (
            libc::SYS_memfd_create,
            [0; 3],
            &[Calls::Terminal, Calls::Lease, Calls::Files],
        ),
        (
            clone.0,
            clone.1,
            &[Calls::Network, Calls::Terminal, Calls::Lease, Calls::Files],
        ),
        (libc::SYS_timerfd_settime, [0; 3], &[Calls::Lease]),
        (libc::SYS_mkdirat, [0; 3], &[Calls::Files]),
        (libc::SYS_shutdown, [0; 3], &[]),
        (libc::SYS_kill, [0; 3], &[]),
    ] {
        for calls in all {
            let program = program(calls, OnViolation::Kill).unwrap();
            let is_allowed = run(&program, number, arguments) == ALLOW;
            assert_eq!(is_allowed, who.contains(&calls), "{calls:?} {number}");
        }
    }
    // musl's share; the other lists are those of glibc, and of calls that fail.
    let [base, worker, network] = [calls::BASE, calls::WORKER, calls::NETWORK].map(<[_]>::len);
    assert!(base + worker + network < 40);
}

#[test]
fn every_process_may_find_out_whether_its_log_goes_to_a_terminal() {
    for calls in [
        Calls::Network,
        Calls::Terminal,
        Calls::Lease,
        Calls::Capture,
    ] {
        let program = program(calls, OnViolation::Kill).unwrap();
        // TCGETS of glibc, TIOCGWINSZ of musl; and TIOCSTI, which types into the terminal.
        for (request, expected) in [(0x5401, ALLOW), (0x5413, ALLOW), (0x5412, KILL)] {
            let found = run(&program, libc::SYS_ioctl, [2, request, 0]);
            assert_eq!(found, expected, "{calls:?} {request:x}");
        }
    }
}

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;

/// Returns the verdict on a system call.
fn run(program: &FilterProgram, number: libc::c_long, arguments: [u32; 3]) -> u32 {
    // The interpreter reads numbers as those of the network.
    let mut data = Vec::new();
    data.extend(u32::try_from(number).unwrap().to_be_bytes());
    data.extend(super::seccomp::ARCHITECTURE.to_be_bytes());
    data.extend([0; 8]);
    for argument in arguments {
        data.extend(argument.to_be_bytes());
        data.extend([0; 4]);
    }
    program.run(&data)
}

#[test]
fn a_file_that_is_too_long_is_an_error_and_ends_no_command() {
    let path = std::env::temp_dir().join(format!("wireboot-long-{}", std::process::id()));
    let fork = Fork::run(Vec::new(), || {
        let missing = harden(4096);
        let written = fs::write(&path, [0; 8192]);
        let is_too_long = written.is_err_and(|error| error.kind() == ErrorKind::FileTooLarge);
        let limits = fs::read_to_string("/proc/self/status").unwrap_or_default();
        u8::from(!missing.is_empty() || !is_too_long || !limits.contains("NoNewPrivs:\t1\n"))
    });
    assert_eq!(fork.unwrap().wait(), End::Exited(0));
    fs::remove_file(path).unwrap();
}
