//! libc as the launcher uses it: types, constants and functions, declared by hand.

use std::os::raw::{c_char, c_int, c_long, c_uint, c_void};
use std::os::unix::io::RawFd;

#[cfg(target_os = "linux")]
mod os {
    use std::os::raw::*;
    pub const SA_SIGINFO: c_int = 4;
    pub const SA_RESTART: c_int = 0x1000_0000;
    pub const SIG_SETMASK: c_int = 2;
    pub const RLIMIT_CORE: c_int = 4;
    pub const SOL_SOCKET: c_int = 1;
    pub const SO_PEERCRED: c_int = 17;
    pub const SUN_PATH_LEN: usize = 108;
    pub type SigSet = [c_ulong; 128 / std::mem::size_of::<c_ulong>()];
    pub type Micros = c_long;
    pub type PollCount = c_ulong;
    pub const EMPTY_SET: SigSet = [0; 128 / std::mem::size_of::<c_ulong>()];

    #[repr(C)]
    pub struct SigAction {
        pub handler: usize,
        pub mask: SigSet,
        pub flags: c_int,
        pub restorer: usize,
    }

    #[repr(C)]
    pub struct SockAddr {
        pub family: u16,
        pub path: [u8; SUN_PATH_LEN],
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    use std::os::raw::*;
    pub const SA_SIGINFO: c_int = 0x40;
    pub const SA_RESTART: c_int = 2;
    pub const SIG_SETMASK: c_int = 3;
    pub const RLIMIT_CORE: c_int = 4;
    pub const SUN_PATH_LEN: usize = 104;
    pub type SigSet = u32;
    pub type Micros = i32;
    pub type PollCount = c_uint;
    pub const EMPTY_SET: SigSet = 0;

    #[repr(C)]
    pub struct SigAction {
        pub handler: usize,
        pub mask: SigSet,
        pub flags: c_int,
    }

    #[repr(C)]
    pub struct SockAddr {
        pub len: u8,
        pub family: u8,
        pub path: [u8; SUN_PATH_LEN],
    }
}

pub use os::*;

#[repr(C)]
pub struct TimeVal {
    pub seconds: c_long,
    pub micros: Micros,
}

#[repr(C)]
pub struct RawUsage {
    pub user: TimeVal,
    pub system: TimeVal,
    pub max_rss: c_long,
    rest: [c_long; 13],
}

#[repr(C)]
pub struct PollFd {
    pub fd: RawFd,
    pub events: i16,
    pub revents: i16,
}

extern "C" {
    pub static environ: *const *const c_char;
    pub fn getppid() -> c_int;
    pub fn getpid() -> c_int;
    pub fn getuid() -> c_uint;
    pub fn geteuid() -> c_uint;
    pub fn kill(pid: c_int, signal: c_int) -> c_int;
    pub fn sigaction(signal: c_int, new: *const SigAction, old: *mut SigAction) -> c_int;
    pub fn signal(signal: c_int, handler: usize) -> usize;
    pub fn sigprocmask(how: c_int, new: *const SigSet, old: *mut SigSet) -> c_int;
    pub fn setsid() -> c_int;
    pub fn fork() -> c_int;
    pub fn _exit(status: c_int) -> !;
    pub fn wait4(pid: c_int, status: *mut c_int, options: c_int, usage: *mut RawUsage) -> c_int;
    pub fn umask(mask: c_uint) -> c_uint;
    pub fn isatty(fd: c_int) -> c_int;
    pub fn access(path: *const c_char, mode: c_int) -> c_int;
    pub fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    pub fn close(fd: c_int) -> c_int;
    pub fn flock(fd: c_int, operation: c_int) -> c_int;
    pub fn dup2(old: c_int, new: c_int) -> c_int;
    pub fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    pub fn usleep(micros: c_uint) -> c_int;
    pub fn execvp(file: *const c_char, argv: *const *const c_char) -> c_int;
    pub fn poll(fds: *mut PollFd, count: PollCount, timeout_ms: c_int) -> c_int;
    pub fn write(fd: c_int, data: *const c_void, count: usize) -> isize;
    pub fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    pub fn connect(fd: c_int, address: *const SockAddr, length: c_uint) -> c_int;
    pub fn setrlimit(resource: c_int, limit: *const [u64; 2]) -> c_int;
    #[cfg(target_os = "linux")]
    pub fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut c_uint) -> c_int;
    #[cfg(not(target_os = "linux"))]
    pub fn getpeereid(fd: c_int, uid: *mut c_uint, gid: *mut c_uint) -> c_int;
    #[cfg(target_os = "linux")]
    pub fn prctl(option: c_int, ...) -> c_int;
    #[cfg(target_os = "linux")]
    pub fn statvfs(path: *const c_char, facts: *mut c_void) -> c_int;
    #[cfg(target_os = "linux")]
    pub fn syscall(number: c_long, ...) -> c_long;
}
