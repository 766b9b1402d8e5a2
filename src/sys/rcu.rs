//! Grace periods of RCU, which the kernel waits for when a packet ring is set up (`packet_set_ring`)
//! and when a packet socket is closed (`packet_release`).
//!
//! One takes 7 to 28 ms in Linux 6.18: until each processor has scheduled by itself. With another
//! value than 0 in `/sys/kernel/rcu_expedited` the kernel interrupts those that are not idle instead,
//! which takes 10 to 20 µs, of which each of the others loses a few. The file is for the whole machine,
//! so [`expedited`] writes it for the time of such a call, and then what was there before.
//!
//! What is there before is 0, or nothing is written. What is written is `OURS`, which nobody else
//! writes: a process that finds it is beside another of this program in the middle of a call, or after
//! one that was killed there, and writes 0 at its end as that one would have. So the file ends as it
//! was however many there are at once; the worst that the others do to one of them is to make it wait.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::OFlag;

use super::file;

/// Grace periods are expedited while this is not 0 (`rcu_gp_is_expedited`).
const EXPEDITED: &str = "/sys/kernel/rcu_expedited";
/// Grace periods are never expedited while this is not 0 (`rcu_gp_is_normal`), as on real-time kernels.
const NORMAL: &str = "/sys/kernel/rcu_normal";
/// What is written: not the 1 that people write.
const OURS: u8 = b'2';
const NONE: u8 = b'0';
/// Stands for any number of more than one digit.
const LONGER: u8 = b'+';

/// Whether [`expedited`] may write the file.
static IS_ALLOWED: AtomicBool = AtomicBool::new(false);

/// Whether a caller of [`expedited`] is inside another.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
/// Whether [`NORMAL`] was seen to be 0: it is set on the kernel's command line, and seldom later.
static MAY_EXPEDITE: AtomicBool = AtomicBool::new(false);

/// Allows [`expedited`] to change the machine's setting for as long as a call takes, or forbids it, as
/// at first.
pub fn allow(is_allowed: bool) {
    // Relaxed, as all of these: the worst of a race is a long grace period.
    IS_ALLOWED.store(is_allowed, Ordering::Relaxed);
}

/// The reason why grace periods take long.
#[derive(Debug, thiserror::Error)]
pub enum Lengthy {
    /// The settings say so.
    #[error("--no-expedite forbids it")]
    Forbidden,
    /// The kernel's settings say so.
    #[error("{NORMAL} forbids it")]
    Normal,
    /// The file cannot be written.
    #[error("{EXPEDITED}: {0}")]
    File(#[from] io::Error),
}

/// Calls `act` with short grace periods.
///
/// # Errors
/// Why they cannot be short; `act` has not been called then.
pub fn expedited<T>(act: impl FnOnce() -> T) -> Result<T, Lengthy> {
    let _window = window()?;
    Ok(act())
}

/// Calls `act`, with short grace periods where they can be.
pub fn hastened<T>(act: impl FnOnce() -> T) -> T {
    let _window = window();
    act()
}

fn window() -> Result<Option<Window>, Lengthy> {
    if !IS_ALLOWED.load(Ordering::Relaxed) {
        return Err(Lengthy::Forbidden);
    }
    // Of another thread too, which may end it too early for this one and so make it wait.
    if IS_OPEN.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let normal = Some(Path::new(NORMAL)).filter(|_| !MAY_EXPEDITE.load(Ordering::Relaxed));
    let window = Window::open(Path::new(EXPEDITED), normal)?;
    MAY_EXPEDITE.store(true, Ordering::Relaxed);
    IS_OPEN.store(true, Ordering::Relaxed);
    Ok(Some(window))
}

/// The time in which grace periods are short; ends when it is dropped.
#[derive(Debug)]
struct Window {
    /// The file, if it is to be restored.
    changed: Option<File>,
}

impl Window {
    fn open(expedited: &Path, normal: Option<&Path>) -> Result<Self, Lengthy> {
        let (file, refusal) = match file::open(expedited, OFlag::O_RDWR) {
            Ok(file) => (file, None),
            // A kernel for one processor has neither file, and waits for nothing (CONFIG_TINY_RCU).
            Err(error) if error.kind() == io::ErrorKind::NotFound && has_parent(expedited) => {
                return Ok(Self { changed: None });
            }
            // Where /sys is read-only they may be short all the same.
            Err(error) => (file::open(expedited, OFlag::O_RDONLY)?, Some(error)),
        };
        if let Some(normal) = normal
            && read(&file::open(normal, OFlag::O_RDONLY)?)? != NONE
        {
            return Err(Lengthy::Normal);
        }
        let value = read(&file)?;
        if value != NONE && value != OURS {
            return Ok(Self { changed: None });
        }
        if let Some(error) = refusal {
            return Err(error.into());
        }
        file.write_all_at(&[OURS], 0)?;
        Ok(Self {
            changed: Some(file),
        })
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        IS_OPEN.store(false, Ordering::Relaxed);
        let Some(file) = &self.changed else { return };
        let restored = match read(file) {
            Ok(OURS) => file.write_all_at(&[NONE], 0),
            // Somebody has written what is wanted now, or another of us what was there.
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = restored {
            log::warn!("{EXPEDITED} is not restored to 0: {error}");
        }
    }
}

fn has_parent(path: &Path) -> bool {
    path.parent().is_some_and(Path::exists)
}

/// Returns the number in the file by its digit.
fn read(file: &File) -> io::Result<u8> {
    let mut text = [0; 2];
    file.read_exact_at(&mut text, 0)?;
    let [first, second] = text;
    Ok(if second == b'\n' { first } else { LONGER })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_file_is_restored_to_what_it_was() {
        let machine = Machine::new("0", "0");
        let window = machine.open().unwrap();
        assert_eq!(machine.expedited(), "2\n");
        // Another beside it, which ends first, and one that ends last.
        let beside = machine.open().unwrap();
        drop(machine.open().unwrap());
        assert_eq!(machine.expedited(), "0\n");
        drop((window, beside));
        assert_eq!(machine.expedited(), "0\n");
    }

    #[test]
    fn what_one_left_that_was_killed_is_restored_by_the_next() {
        let machine = Machine::new("0", "0");
        std::mem::forget(machine.open().unwrap());
        assert_eq!(machine.expedited(), "2\n");
        drop(machine.open().unwrap());
        assert_eq!(machine.expedited(), "0\n");
    }

    #[test]
    fn what_somebody_else_has_written_stays() {
        for value in ["1", "22", "-1"] {
            let machine = Machine::new(value, "0");
            let window = machine.open().unwrap();
            assert_eq!(machine.expedited().trim(), value);
            drop(window);
            assert_eq!(machine.expedited().trim(), value);
        }
        let machine = Machine::new("0", "0");
        let window = machine.open().unwrap();
        machine.write(EXPEDITED, "1");
        drop(window);
        assert_eq!(machine.expedited(), "1\n");
    }

    #[test]
    fn a_kernel_that_never_expedites_is_left_alone() {
        let machine = Machine::new("0", "1");
        assert!(matches!(machine.open(), Err(Lengthy::Normal)));
        assert_eq!(machine.expedited(), "0\n");
        // It would not help either where it is on already.
        let machine = Machine::new("1", "1");
        assert!(matches!(machine.open(), Err(Lengthy::Normal)));
    }

    #[test]
    fn without_the_files_there_is_nothing_to_wait_for_and_without_sys_nothing_is_known() {
        let machine = Machine::new("0", "0");
        for name in [EXPEDITED, NORMAL] {
            fs::remove_file(machine.path(name)).unwrap();
        }
        drop(machine.open().unwrap());
        fs::remove_dir(machine.0.join("sys/kernel")).unwrap();
        assert!(matches!(machine.open(), Err(Lengthy::File(_))));
    }

    #[test]
    fn nothing_is_written_unless_it_is_allowed() {
        let called = expedited(|| panic!("not called"));
        assert!(matches!(called, Err(Lengthy::Forbidden)));
    }

    /// A directory with the two files; goes with its test.
    struct Machine(PathBuf);

    impl Machine {
        fn new(expedited: &str, normal: &str) -> Self {
            let name = format!("wireboot-rcu-{:016x}", crate::sys::seed());
            let machine = Self(std::env::temp_dir().join(name));
            fs::create_dir_all(machine.0.join("sys/kernel")).unwrap();
            machine.write(EXPEDITED, expedited);
            machine.write(NORMAL, normal);
            machine
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name.trim_start_matches('/'))
        }

        fn write(&self, name: &str, value: &str) {
            fs::write(self.path(name), format!("{value}\n")).unwrap();
        }

        fn open(&self) -> Result<Window, Lengthy> {
            Window::open(&self.path(EXPEDITED), Some(&self.path(NORMAL)))
        }

        fn expedited(&self) -> String {
            fs::read_to_string(self.path(EXPEDITED)).unwrap()
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
