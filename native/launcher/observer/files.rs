//! Files and directories: what is opened, asked for, listed, and what was looked for in vain.

use crate::log::{self, note_path};
use crate::sys::{self, AT_FDCWD, ENOENT, ENOSYS, ENOTDIR, O_CREAT, O_DIRECTORY, O_EXCL, O_PATH, O_TRUNC};

type Text = *const u8;
type Buffer = *mut u8;

/// How an opened file is used: read, written, both or listed.
fn use_of(flags: i32) -> u8 {
    let (access, makes) = (flags & 3, flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL);
    match access {
        _ if flags & O_PATH == O_PATH => b's',
        0 if flags & O_DIRECTORY == O_DIRECTORY => b'd',
        0 => b'r',
        2 if !makes && flags & O_TRUNC == 0 => b'b',
        _ => b'w',
    }
}

fn use_of_mode(mode: Text) -> u8 {
    let mode = unsafe { sys::text(mode) };
    match (mode.first(), mode.contains(&b'+')) {
        (Some(b'r'), false) => b'r',
        (Some(b'w'), _) => b'w',
        _ => b'b',
    }
}

unsafe fn note(kind: u8, found: bool, directory: i32, path: Text) {
    let kind = match found {
        true => kind,
        false if [ENOENT, ENOTDIR].contains(&sys::errno()) => b'a',
        false => b's',
    };
    note_path(kind, directory, path);
}

unsafe fn made(failed: i32, directory: i32, path: Text) {
    if failed == 0 {
        note_path(b'w', directory, path);
    }
}

unsafe fn read(failed: i32, directory: i32, path: Text) {
    note(b'r', failed == 0, directory, path);
}

/// One line a function: its arguments, what it gives where libc has none, and what to note of its result.
macro_rules! stand_in {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty, $none:expr => |$found:ident| $($note:expr),*;)*) => {$(
        #[no_mangle]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $result {
            let $found = match next!(stringify!($name), unsafe extern "C" fn($($type),*) -> $result) {
                Some(function) => function($($arg),*),
                None => {
                    sys::set_errno(ENOSYS);
                    $none
                }
            };
            if log::is_open() {
                $($note;)*
            }
            $found
        }
    )*};
}

const NULL: Buffer = core::ptr::null_mut();

stand_in! {
    // libc's are variadic; on the architectures we are built for a further argument does not matter
    fn open(path: Text, flags: i32, mode: u32) -> i32, -1 => |fd| note(use_of(flags), fd >= 0, AT_FDCWD, path);
    fn open64(path: Text, flags: i32, mode: u32) -> i32, -1 => |fd| note(use_of(flags), fd >= 0, AT_FDCWD, path);
    fn __open_2(path: Text, flags: i32) -> i32, -1 => |fd| note(use_of(flags), fd >= 0, AT_FDCWD, path);
    fn __open64_2(path: Text, flags: i32) -> i32, -1 => |fd| note(use_of(flags), fd >= 0, AT_FDCWD, path);
    fn openat(at: i32, path: Text, flags: i32, mode: u32) -> i32, -1 => |fd| note(use_of(flags), fd >= 0, at, path);
    fn openat64(at: i32, path: Text, flags: i32, mode: u32) -> i32, -1 => |fd| note(use_of(flags), fd >= 0, at, path);
    fn __openat_2(at: i32, path: Text, flags: i32) -> i32, -1 => |fd| note(use_of(flags), fd >= 0, at, path);
    fn __openat64_2(at: i32, path: Text, flags: i32) -> i32, -1 => |fd| note(use_of(flags), fd >= 0, at, path);
    fn creat(path: Text, mode: u32) -> i32, -1 => |fd| note(b'w', fd >= 0, AT_FDCWD, path);
    fn creat64(path: Text, mode: u32) -> i32, -1 => |fd| note(b'w', fd >= 0, AT_FDCWD, path);
    fn fopen(path: Text, mode: Text) -> Buffer, NULL => |file| note(use_of_mode(mode), !file.is_null(), AT_FDCWD, path);
    fn fopen64(path: Text, mode: Text) -> Buffer, NULL =>
        |file| note(use_of_mode(mode), !file.is_null(), AT_FDCWD, path);
    fn freopen(path: Text, mode: Text, file: Buffer) -> Buffer, NULL =>
        |found| note(use_of_mode(mode), !found.is_null(), AT_FDCWD, path);
    fn freopen64(path: Text, mode: Text, file: Buffer) -> Buffer, NULL =>
        |found| note(use_of_mode(mode), !found.is_null(), AT_FDCWD, path);
    fn opendir(path: Text) -> Buffer, NULL => |found| note(b'd', !found.is_null(), AT_FDCWD, path);
    fn fdopendir(fd: i32) -> Buffer, NULL => |found| note_path(b'd', fd, b".\0".as_ptr());
    fn scandir(path: Text, names: Buffer, filter: Buffer, order: Buffer) -> i32, -1 =>
        |count| note(b'd', count >= 0, AT_FDCWD, path);
    fn scandir64(path: Text, names: Buffer, filter: Buffer, order: Buffer) -> i32, -1 =>
        |count| note(b'd', count >= 0, AT_FDCWD, path);

    fn stat(path: Text, facts: Buffer) -> i32, -1 => |failed| note(b's', failed == 0, AT_FDCWD, path);
    fn stat64(path: Text, facts: Buffer) -> i32, -1 => |failed| note(b's', failed == 0, AT_FDCWD, path);
    fn lstat(path: Text, facts: Buffer) -> i32, -1 => |failed| note(b'l', failed == 0, AT_FDCWD, path);
    fn lstat64(path: Text, facts: Buffer) -> i32, -1 => |failed| note(b'l', failed == 0, AT_FDCWD, path);
    fn fstatat(at: i32, path: Text, facts: Buffer, flags: i32) -> i32, -1 => |failed| note(b's', failed == 0, at, path);
    fn fstatat64(at: i32, path: Text, facts: Buffer, flags: i32) -> i32, -1 =>
        |failed| note(b's', failed == 0, at, path);
    fn __xstat(version: i32, path: Text, facts: Buffer) -> i32, -1 =>
        |failed| note(b's', failed == 0, AT_FDCWD, path);
    fn __xstat64(version: i32, path: Text, facts: Buffer) -> i32, -1 =>
        |failed| note(b's', failed == 0, AT_FDCWD, path);
    fn __lxstat(version: i32, path: Text, facts: Buffer) -> i32, -1 =>
        |failed| note(b'l', failed == 0, AT_FDCWD, path);
    fn __lxstat64(version: i32, path: Text, facts: Buffer) -> i32, -1 =>
        |failed| note(b'l', failed == 0, AT_FDCWD, path);
    fn __fxstatat(version: i32, at: i32, path: Text, facts: Buffer, flags: i32) -> i32, -1 =>
        |failed| note(b's', failed == 0, at, path);
    fn __fxstatat64(version: i32, at: i32, path: Text, facts: Buffer, flags: i32) -> i32, -1 =>
        |failed| note(b's', failed == 0, at, path);
    fn statx(at: i32, path: Text, flags: i32, mask: u32, facts: Buffer) -> i32, -1 =>
        |failed| note(b's', failed == 0, at, path);
    fn access(path: Text, mode: i32) -> i32, -1 => |failed| note(b's', failed == 0, AT_FDCWD, path);
    fn eaccess(path: Text, mode: i32) -> i32, -1 => |failed| note(b's', failed == 0, AT_FDCWD, path);
    fn euidaccess(path: Text, mode: i32) -> i32, -1 => |failed| note(b's', failed == 0, AT_FDCWD, path);
    fn faccessat(at: i32, path: Text, mode: i32, flags: i32) -> i32, -1 => |failed| note(b's', failed == 0, at, path);
    fn readlink(path: Text, into: Buffer, size: usize) -> isize, -1 => |length| note(b'l', length >= 0, AT_FDCWD, path);
    fn readlinkat(at: i32, path: Text, into: Buffer, size: usize) -> isize, -1 =>
        |length| note(b'l', length >= 0, at, path);
    fn __readlink_chk(path: Text, into: Buffer, size: usize, room: usize) -> isize, -1 =>
        |length| note(b'l', length >= 0, AT_FDCWD, path);
    fn __readlinkat_chk(at: i32, path: Text, into: Buffer, size: usize, room: usize) -> isize, -1 =>
        |length| note(b'l', length >= 0, at, path);
    fn realpath(path: Text, into: Buffer) -> Buffer, NULL => |found| note(b'l', !found.is_null(), AT_FDCWD, path);
    fn __realpath_chk(path: Text, into: Buffer, room: usize) -> Buffer, NULL =>
        |found| note(b'l', !found.is_null(), AT_FDCWD, path);
    fn canonicalize_file_name(path: Text) -> Buffer, NULL => |found| note(b'l', !found.is_null(), AT_FDCWD, path);

    // What they make is nobody's input.
    fn mkdir(path: Text, mode: u32) -> i32, -1 => |failed| made(failed, AT_FDCWD, path);
    fn mkdirat(at: i32, path: Text, mode: u32) -> i32, -1 => |failed| made(failed, at, path);
    fn mkstemp(path: Text) -> i32, -1 => |fd| made(fd.min(0), AT_FDCWD, path);
    fn mkstemp64(path: Text) -> i32, -1 => |fd| made(fd.min(0), AT_FDCWD, path);
    fn mkostemp(path: Text, flags: i32) -> i32, -1 => |fd| made(fd.min(0), AT_FDCWD, path);
    fn mkostemp64(path: Text, flags: i32) -> i32, -1 => |fd| made(fd.min(0), AT_FDCWD, path);
    fn mkstemps(path: Text, suffix: i32) -> i32, -1 => |fd| made(fd.min(0), AT_FDCWD, path);
    fn mkstemps64(path: Text, suffix: i32) -> i32, -1 => |fd| made(fd.min(0), AT_FDCWD, path);
    fn mkdtemp(path: Text) -> Buffer, NULL => |found| made(if found.is_null() { -1 } else { 0 }, AT_FDCWD, path);
    fn link(old: Text, new: Text) -> i32, -1 => |failed| read(failed, AT_FDCWD, old), made(failed, AT_FDCWD, new);
    fn linkat(at: i32, old: Text, to: i32, new: Text, flags: i32) -> i32, -1 =>
        |failed| read(failed, at, old), made(failed, to, new);
    fn symlink(target: Text, path: Text) -> i32, -1 => |failed| made(failed, AT_FDCWD, path);
    fn symlinkat(target: Text, at: i32, path: Text) -> i32, -1 => |failed| made(failed, at, path);
    fn rename(old: Text, new: Text) -> i32, -1 => |failed| made(failed, AT_FDCWD, new);
    fn renameat(at: i32, old: Text, to: i32, new: Text) -> i32, -1 => |failed| made(failed, to, new);
    fn renameat2(at: i32, old: Text, to: i32, new: Text, flags: u32) -> i32, -1 => |failed| made(failed, to, new);
}
