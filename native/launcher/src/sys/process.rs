//! Children: waiting for them, and leaving behind what they must not have of us.

use std::io;
use std::os::raw::c_int;
#[cfg(target_os = "linux")]
use std::os::raw::{c_long, c_uint};
#[cfg(target_os = "linux")]
use std::os::unix::io::FromRawFd;
use std::os::unix::io::RawFd;

use super::{c, fill_standard_fds, set_signal_mask, EINTR, FD_CLOEXEC, F_SETFD, SIG_DFL};

const WNOHANG: c_int = 1;
const HIGHEST_SIGNAL: c_int = 31;
/// Where the kernel cannot mark all descriptors at once, up to this one is done one by one.
const HIGHEST_FD: RawFd = 4096;

/// How a child ended.
pub struct Ended {
    pub status: i32,
    pub user_us: u64,
    pub system_us: u64,
    pub max_rss_kib: u64,
}

/// wait4(2); `None` when `block` is false and the child still runs, or when there is no such child.
pub fn wait_for(pid: i32, block: bool) -> Option<Ended> {
    let mut status = 0;
    let mut usage = unsafe { std::mem::zeroed::<c::RawUsage>() };
    loop {
        let found = unsafe { c::wait4(pid, &mut status, if block { 0 } else { WNOHANG }, &mut usage) };
        if found == pid {
            break;
        }
        if found == -1 && io::Error::last_os_error().raw_os_error() == Some(EINTR) {
            continue;
        }
        return None;
    }
    let micros = |time: &c::TimeVal| time.seconds as u64 * 1_000_000 + time.micros as u64;
    let rss_unit = if cfg!(target_os = "linux") { 1 } else { 1024 };
    Some(Ended {
        status,
        user_us: micros(&usage.user),
        system_us: micros(&usage.system),
        max_rss_kib: usage.max_rss as u64 / rss_unit,
    })
}

/// A descriptor that becomes readable when the child ends; `None` on kernels without (before 5.3).
pub fn process_fd(pid: i32) -> Option<std::fs::File> {
    #[cfg(target_os = "linux")]
    unsafe {
        const SYS_PIDFD_OPEN: c_long = 434;
        let fd = c::syscall(SYS_PIDFD_OPEN, pid as c_long, 0 as c_long);
        if fd >= 0 {
            return Some(std::fs::File::from_raw_fd(fd as RawFd));
        }
    }
    let _ = pid;
    None
}

/// Go on in a second process as well, nobody's child and with nothing of the caller's open: true there.
pub fn step_aside() -> bool {
    unsafe {
        let between = c::fork();
        if between > 0 {
            wait_for(between, true);
        }
        if between != 0 {
            return false;
        }
        c::setsid();
        if c::fork() != 0 {
            c::_exit(0)
        }
    }
    close_fds_from(0);
    fill_standard_fds();
    true
}

/// In a new child that becomes a daemon: leave the caller's session, jobserver, umask and signal settings behind.
///
/// A second fork makes it nobody's child. The process between stays for at most two seconds and ends as the daemon did
/// if that ended meanwhile, so that the launcher need not wait for a daemon that could not start.
pub fn detach() -> io::Result<()> {
    unsafe {
        let daemon = c::fork();
        if daemon == -1 {
            return Err(io::Error::last_os_error());
        }
        if daemon > 0 {
            watch(daemon);
        }
        c::setsid();
        c::umask(0o077);
        for signal in 1..=HIGHEST_SIGNAL {
            c::signal(signal, SIG_DFL);
        }
        set_signal_mask(&c::EMPTY_SET);
    }
    leave_fds_from(3);
    Ok(())
}

unsafe fn watch(daemon: c_int) -> ! {
    // Among them the pipe by which std learns that exec worked: only the daemon may hold that now.
    close_fds_from(0);
    for _ in 0..400 {
        if let Some(ended) = wait_for(daemon, false) {
            c::_exit(if ended.status & 0x7f == 0 {
                ended.status >> 8 & 0xff
            } else {
                1
            });
        }
        c::usleep(5_000);
    }
    c::_exit(0)
}

/// In a new child: put `stream` on descriptor 3 and let no other above it through exec.
pub fn keep_only_as_fd_3(stream: RawFd) -> io::Result<()> {
    unsafe {
        if stream != 3 && c::dup2(stream, 3) == -1 {
            return Err(io::Error::last_os_error());
        }
        c::fcntl(3, F_SETFD, 0 as c_int);
    }
    leave_fds_from(4);
    Ok(())
}

/// Mark descriptors close-on-exec; closing them would close std's own error pipe.
fn leave_fds_from(first: RawFd) {
    #[cfg(target_os = "linux")]
    unsafe {
        const CLOSE_RANGE_CLOEXEC: c_long = 4;
        if close_range(first, CLOSE_RANGE_CLOEXEC) {
            return;
        }
    }
    for fd in first..HIGHEST_FD {
        unsafe {
            c::fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
    }
}

fn close_fds_from(first: RawFd) {
    #[cfg(target_os = "linux")]
    unsafe {
        if close_range(first, 0) {
            return;
        }
    }
    for fd in first..HIGHEST_FD {
        unsafe {
            c::close(fd);
        }
    }
}

#[cfg(target_os = "linux")]
unsafe fn close_range(first: RawFd, flags: c_long) -> bool {
    const SYS_CLOSE_RANGE: c_long = 436;
    c::syscall(SYS_CLOSE_RANGE, first as c_long, c_uint::MAX as c_long, flags) == 0
}
