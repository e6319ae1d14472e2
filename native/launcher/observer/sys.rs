//! System calls made directly (libc's would come back to us), and the way to the functions we stand in front of.

use core::arch::asm;

pub const AT_FDCWD: i32 = -100;
pub const O_CREAT: i32 = 0o100;
pub const O_EXCL: i32 = 0o200;
pub const O_TRUNC: i32 = 0o1000;
pub const O_PATH: i32 = 0o10_000_000;
const O_CLOEXEC: i32 = 0o2_000_000;
pub const ENOENT: i32 = 2;
pub const ENOTDIR: i32 = 20;
pub const ENOSYS: i32 = 38;
pub const PATH_MAX: usize = 4096;

#[cfg(target_arch = "x86_64")]
mod arch {
    pub const OPENAT: usize = 257;
    pub const CLOSE: usize = 3;
    pub const MMAP: usize = 9;
    pub const PREAD: usize = 17;
    pub const READLINKAT: usize = 267;
    pub const GETCWD: usize = 79;
    pub const EXIT_GROUP: usize = 231;
    pub const FTRUNCATE: usize = 77;
    pub const PATH_CALLS: [(usize, &[u8]); 19] = [
        (2, b"open"),
        (4, b"stat"),
        (6, b"lstat"),
        (21, b"access"),
        (59, b"execve"),
        (78, b"getdents"),
        (89, b"readlink"),
        (217, b"getdents64"),
        (257, b"openat"),
        (262, b"newfstatat"),
        (267, b"readlinkat"),
        (269, b"faccessat"),
        (322, b"execveat"),
        (332, b"statx"),
        (425, b"io_uring_setup"),
        (437, b"openat2"),
        (439, b"faccessat2"),
        (101, b"ptrace"),
        (310, b"process_vm_readv"),
    ];
    pub const O_DIRECTORY: i32 = 0o200_000;
    pub const MACHINE: u16 = 62;
    /// Version of libc's oldest symbols.
    pub const FIRST: &[u8] = b"GLIBC_2.2.5\0";
}

#[cfg(target_arch = "aarch64")]
mod arch {
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const MMAP: usize = 222;
    pub const PREAD: usize = 67;
    pub const READLINKAT: usize = 78;
    pub const GETCWD: usize = 17;
    pub const EXIT_GROUP: usize = 94;
    pub const FTRUNCATE: usize = 46;
    pub const PATH_CALLS: [(usize, &[u8]); 12] = [
        (48, b"faccessat"),
        (56, b"openat"),
        (61, b"getdents64"),
        (78, b"readlinkat"),
        (79, b"newfstatat"),
        (117, b"ptrace"),
        (221, b"execve"),
        (281, b"execveat"),
        (291, b"statx"),
        (425, b"io_uring_setup"),
        (437, b"openat2"),
        (439, b"faccessat2"),
    ];
    pub const O_DIRECTORY: i32 = 0o40_000;
    pub const MACHINE: u16 = 183;
    pub const FIRST: &[u8] = b"GLIBC_2.17\0";
}

pub use arch::{MACHINE, O_DIRECTORY};

#[cfg(target_arch = "x86_64")]
unsafe fn call(number: usize, words: [usize; 6]) -> isize {
    let result;
    asm!("syscall", inlateout("rax") number as isize => result, in("rdi") words[0], in("rsi") words[1],
        in("rdx") words[2], in("r10") words[3], in("r8") words[4], in("r9") words[5],
        out("rcx") _, out("r11") _, options(nostack));
    result
}

#[cfg(target_arch = "aarch64")]
unsafe fn call(number: usize, words: [usize; 6]) -> isize {
    let result;
    asm!("svc 0", in("x8") number, inlateout("x0") words[0] as isize => result, in("x1") words[1],
        in("x2") words[2], in("x3") words[3], in("x4") words[4], in("x5") words[5], options(nostack));
    result
}

/// Open for reading (`write` also for writing); negative on failure.
pub unsafe fn open(path: *const u8, write: bool) -> isize {
    let flags = O_CLOEXEC | if write { 2 } else { 0 };
    call(
        arch::OPENAT,
        [AT_FDCWD as usize, path as usize, flags as usize, 0, 0, 0],
    )
}

/// Make an empty file for this user alone, in place of what was there, that reads as so many zeros.
pub unsafe fn make_file(path: *const u8, size: usize) -> bool {
    let flags = O_CLOEXEC | O_CREAT | O_TRUNC | 2;
    let words = [AT_FDCWD as usize, path as usize, flags as usize, 0o600, 0, 0];
    let fd = call(arch::OPENAT, words);
    if fd < 0 {
        return false;
    }
    let done = call(arch::FTRUNCATE, [fd as usize, size, 0, 0, 0, 0]);
    close(fd);
    done == 0
}

pub unsafe fn close(fd: isize) {
    call(arch::CLOSE, [fd as usize, 0, 0, 0, 0, 0]);
}

/// Map shared memory; null on failure.
pub unsafe fn map_shared(fd: isize, size: usize) -> *mut u8 {
    let (read_write, shared) = (3, 1);
    let at = call(arch::MMAP, [0, size, read_write, shared, fd as usize, 0]);
    if (-4095..=0).contains(&at) {
        core::ptr::null_mut()
    } else {
        at as *mut u8
    }
}

/// Read at an offset; the bytes read, 0 on failure.
pub unsafe fn read_at(fd: isize, buffer: &mut [u8], offset: u64) -> usize {
    let words = [
        fd as usize,
        buffer.as_mut_ptr() as usize,
        buffer.len(),
        offset as usize,
        0,
        0,
    ];
    call(arch::PREAD, words).max(0) as usize
}

/// Target of a symbolic link; its length, 0 on failure.
pub unsafe fn read_link(path: *const u8, buffer: &mut [u8]) -> usize {
    let words = [
        AT_FDCWD as usize,
        path as usize,
        buffer.as_mut_ptr() as usize,
        buffer.len(),
        0,
        0,
    ];
    call(arch::READLINKAT, words).max(0) as usize
}

/// The working directory; its length without the NUL, 0 on failure.
pub unsafe fn working_directory(buffer: &mut [u8]) -> usize {
    let length = call(arch::GETCWD, [buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0, 0]);
    (length - 1).max(0) as usize
}

/// The name of a system call that looks at files or starts programs.
pub fn name_of_call(number: usize) -> Option<&'static [u8]> {
    arch::PATH_CALLS
        .iter()
        .find(|(known, _)| *known == number)
        .map(|(_, name)| *name)
}

pub fn abort() -> ! {
    loop {
        unsafe { call(arch::EXIT_GROUP, [134, 0, 0, 0, 0, 0]) };
    }
}

/// Bytes of a C string without its NUL.
pub unsafe fn text<'a>(string: *const u8) -> &'a [u8] {
    let mut length = 0;
    while *string.add(length) != 0 {
        length += 1;
    }
    core::slice::from_raw_parts(string, length)
}

pub unsafe fn errno() -> i32 {
    *__errno_location()
}

pub unsafe fn set_errno(value: i32) {
    *__errno_location() = value;
}

/// The next definition of a function after ours; null if there is none.
pub unsafe fn next_symbol(name: *const u8) -> *mut () {
    const RTLD_NEXT: *mut () = usize::MAX as *mut ();
    let found = dlsym(RTLD_NEXT, name);
    if found.is_null() {
        // What old programs alone still call (`__xstat`) is there in its old version only.
        dlvsym(RTLD_NEXT, name, arch::FIRST.as_ptr())
    } else {
        found
    }
}

extern "C" {
    fn __errno_location() -> *mut i32;
    fn dlsym(handle: *mut (), name: *const u8) -> *mut ();
    fn dlvsym(handle: *mut (), name: *const u8, version: *const u8) -> *mut ();
}

/// The function of this name that we stand in front of, looked up once.
macro_rules! next {
    ($name:expr, $type:ty) => {{
        use core::sync::atomic::{AtomicPtr, Ordering};
        static FOUND: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
        let mut found = FOUND.load(Ordering::Relaxed);
        if found.is_null() {
            found = $crate::sys::next_symbol(concat!($name, "\0").as_ptr());
            FOUND.store(found, Ordering::Relaxed);
        }
        core::mem::transmute::<*mut (), Option<$type>>(found)
    }};
}
