//! The few libc functions std does not offer, declared by hand (no dependencies), each behind a safe function.

mod c;
mod process;

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::raw::{c_char, c_int, c_uint, c_void};
#[cfg(target_os = "linux")]
use std::os::raw::{c_long, c_ulong};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::io::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::time::Duration;

pub use c::PollFd;
pub use process::*;

pub const SIGHUP: c_int = 1;
pub const SIGINT: c_int = 2;
pub const SIGQUIT: c_int = 3;
pub const SIGPIPE: c_int = 13;
pub const SIGTERM: c_int = 15;
pub const SIG_DFL: usize = 0;
pub const SIG_IGN: usize = 1;

const EINTR: i32 = 4;
pub const ENOENT: i32 = 2;
#[cfg(target_os = "linux")]
const EAGAIN: i32 = 11;
#[cfg(not(target_os = "linux"))]
const EAGAIN: i32 = 35;

pub const POLLIN: i16 = 1;
const POLLOUT: i16 = 4;
const F_GETFD: c_int = 1;
const F_SETFD: c_int = 2;
const FD_CLOEXEC: c_int = 1;

/// The words `main` was given; they live as long as the process.
///
/// # Safety
/// `argv` must be what the C runtime gave to `main`.
pub unsafe fn words(argv: *const *const c_char) -> Vec<&'static [u8]> {
    let mut found = Vec::new();
    let mut next = argv;
    while !next.is_null() && !(*next).is_null() {
        found.push(CStr::from_ptr(*next).to_bytes());
        next = next.add(1);
    }
    found
}

/// The environment as it is, byte for byte. Nothing here changes it while the slices are in use.
pub fn environment() -> Vec<&'static [u8]> {
    unsafe { words(c::environ) }
}

/// Replace this process; returns only the error. `argv` ends with a null pointer.
///
/// # Safety
/// `argv` must point to C strings and a closing null.
pub unsafe fn exec(argv: *const *const c_char) -> io::Error {
    c::execvp(*argv, argv);
    io::Error::last_os_error()
}

pub fn parent_pid() -> i32 {
    unsafe { c::getppid() }
}

pub fn own_pid() -> i32 {
    unsafe { c::getpid() }
}

pub fn own_uid() -> u32 {
    unsafe { c::getuid() }
}

pub fn current_umask() -> u32 {
    unsafe {
        let mask = c::umask(0o077);
        c::umask(mask);
        mask as u32
    }
}

pub fn is_terminal(fd: RawFd) -> bool {
    unsafe { c::isatty(fd) == 1 }
}

/// Whether this user may execute the file; directories too, as access(2) has it.
pub fn is_executable(path: &CStr) -> bool {
    unsafe { c::access(path.as_ptr(), 1) == 0 }
}

/// Give 0, 1 and 2 something to be where the caller closed them, or a socket would become one of them.
pub fn fill_standard_fds() {
    for fd in 0..3 {
        unsafe {
            if c::fcntl(fd, F_GETFD) == -1 {
                c::open(b"/dev/null\0".as_ptr().cast(), 2);
            }
        }
    }
}

/// The inode of the mount namespace, 0 where there is none.
pub fn mount_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/mnt").map_or(0, |facts| facts.ino())
}

// --- signals ---

pub fn send_signal(pid: i32, signal: c_int) {
    unsafe {
        c::kill(pid, signal);
    }
}

/// Set a disposition (`SIG_DFL`, `SIG_IGN`); gives back the former one.
pub fn set_disposition(signal: c_int, disposition: usize) -> usize {
    unsafe { c::signal(signal, disposition) }
}

/// Install a three-argument handler unless the signal is ignored; gives back the former disposition if it was installed.
pub fn install_handler(signal: c_int, handler: extern "C" fn(c_int, *const c_int, *const c_void)) -> Option<usize> {
    unsafe {
        let mut former = std::mem::zeroed::<c::SigAction>();
        c::sigaction(signal, ptr::null(), &mut former);
        if former.handler == SIG_IGN {
            return None; // nohup and the like: the caller's wish
        }
        let mut action = std::mem::zeroed::<c::SigAction>();
        action.handler = handler as usize;
        action.flags = c::SA_SIGINFO | c::SA_RESTART;
        c::sigaction(signal, &action, ptr::null_mut());
        Some(former.handler)
    }
}

pub fn signal_mask() -> c::SigSet {
    let mut mask = c::EMPTY_SET;
    unsafe {
        c::sigprocmask(c::SIG_SETMASK, ptr::null(), &mut mask);
    }
    mask
}

pub fn set_signal_mask(mask: &c::SigSet) {
    unsafe {
        c::sigprocmask(c::SIG_SETMASK, mask, ptr::null_mut());
    }
}

/// End by `signal`, so that the caller sees what it would have seen of the child; without a second core dump.
pub fn die_by(signal: c_int) {
    unsafe {
        c::setrlimit(c::RLIMIT_CORE, &[0, 0]);
        c::signal(signal, SIG_DFL);
        set_signal_mask(&c::EMPTY_SET);
        c::kill(c::getpid(), signal);
    }
}

/// In a new child: die with the launcher. False if the launcher is gone already.
pub fn die_with_parent(launcher: i32) -> bool {
    #[cfg(target_os = "linux")]
    unsafe {
        const PR_SET_PDEATHSIG: c_int = 1;
        const SIGKILL: c_ulong = 9; // it must not write into a target that cargo has left
        c::prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    parent_pid() == launcher
}

// --- descriptors ---

/// poll(2); 0 on a timeout or an interruption.
pub fn poll(fds: &mut [PollFd], timeout_ms: i32) -> i32 {
    for fd in fds.iter_mut() {
        fd.revents = 0;
    }
    unsafe { c::poll(fds.as_mut_ptr(), fds.len() as c::PollCount, timeout_ms).max(0) }
}

/// Memory that processes open by `/proc/<pid>/fd/<number>` and map; it goes with the last of them, however they end.
pub fn shared_memory() -> Option<std::fs::File> {
    #[cfg(target_os = "linux")]
    unsafe {
        const SYS_MEMFD_CREATE: c_long = if cfg!(target_arch = "aarch64") { 279 } else { 319 };
        const MFD_CLOEXEC: c_uint = 1;
        if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            let name = b"kache-observed\0".as_ptr();
            let fd = c::syscall(SYS_MEMFD_CREATE, name, MFD_CLOEXEC);
            if fd >= 0 {
                return Some(std::fs::File::from_raw_fd(fd as RawFd));
            }
        }
    }
    None
}

/// Lock a file for this process alone, without waiting: false if another one has it. Where files cannot be locked, true.
pub fn try_lock(file: &std::fs::File) -> bool {
    const LOCK_EX: c_int = 2;
    const LOCK_NB: c_int = 4;
    let failed = unsafe { c::flock(std::os::unix::io::AsRawFd::as_raw_fd(file), LOCK_EX | LOCK_NB) } != 0;
    !failed || std::io::Error::last_os_error().kind() != std::io::ErrorKind::WouldBlock
}

/// Whether nothing may be run from where the file is.
pub fn is_mounted_noexec(path: &OsStr) -> bool {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    {
        const ST_NOEXEC: u64 = 8;
        let mut facts = [0u64; 32]; // struct statvfs: 14 words; f_flag is the tenth
        let path = std::ffi::CString::new(path.as_bytes()).unwrap_or_default();
        let failed = unsafe { c::statvfs(path.as_ptr(), facts.as_mut_ptr().cast()) } != 0;
        failed || facts[9] & ST_NOEXEC != 0
    }
    #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
    {
        let _ = path;
        false
    }
}

/// Write everything to a descriptor, also one that someone else made non-blocking.
pub fn write_all(fd: RawFd, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let written = unsafe { c::write(fd, data.as_ptr().cast(), data.len()) };
        if written >= 0 {
            data = &data[written as usize..];
            continue;
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(EINTR) => {}
            Some(EAGAIN) => {
                let mut ready = [PollFd {
                    fd,
                    events: POLLOUT,
                    revents: 0,
                }];
                poll(&mut ready, -1);
            }
            _ => return Err(error),
        }
    }
    Ok(())
}

/// Connect to a Unix socket, waiting at most `patience` where its queue is full.
pub fn connect(path: &OsStr, patience: Duration) -> io::Result<UnixStream> {
    let bytes = path.as_bytes();
    if bytes.len() >= c::SUN_PATH_LEN || bytes.contains(&0) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    const AF_UNIX: c_int = 1;
    const SOCK_STREAM: c_int = 1;
    #[cfg(target_os = "linux")]
    const SOCK_CLOEXEC: c_int = 0o2_000_000;
    #[cfg(not(target_os = "linux"))]
    const SOCK_CLOEXEC: c_int = 0;
    unsafe {
        let fd = c::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        let stream = UnixStream::from_raw_fd(fd);
        if SOCK_CLOEXEC == 0 {
            c::fcntl(fd, F_SETFD, FD_CLOEXEC);
        }
        stream.set_write_timeout(Some(patience))?; // connect(2) keeps to it
        let mut address = std::mem::zeroed::<c::SockAddr>();
        address.family = AF_UNIX as _;
        address.path[..bytes.len()].copy_from_slice(bytes);
        if c::connect(fd, &address, std::mem::size_of::<c::SockAddr>() as c_uint) == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(stream)
    }
}

/// Whether the process at the other end is this user's.
pub fn is_own_peer(stream: &UnixStream) -> bool {
    let fd = stream.as_raw_fd();
    #[cfg(target_os = "linux")]
    unsafe {
        let mut peer = [0u32; 3]; // pid, uid, gid
        let mut length = std::mem::size_of_val(&peer) as c_uint;
        let got = c::getsockopt(fd, c::SOL_SOCKET, c::SO_PEERCRED, peer.as_mut_ptr().cast(), &mut length);
        got == 0 && peer[1] == c::geteuid()
    }
    #[cfg(not(target_os = "linux"))]
    unsafe {
        let (mut uid, mut gid) = (0, 0);
        c::getpeereid(fd, &mut uid, &mut gid) == 0 && uid == c::geteuid()
    }
}

/// A variable as text of any bytes; `None` when unset or empty.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
