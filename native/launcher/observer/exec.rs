//! Programs: what is started, with our preload put back into its environment, and what we cannot follow.

use core::arch::naked_asm;

use crate::elf;
use crate::environment::{self, Environment};
use crate::front;
use crate::log::{self, note, note_path, role};
use crate::sys::{self, AT_FDCWD, ENOSYS, PATH_MAX};
use crate::unwind;

type Text = *const u8;
type Words = *const *const u8;
type Execve = unsafe extern "C" fn(Text, Words, Words) -> i32;
type Execveat = unsafe extern "C" fn(i32, Text, Words, Words, i32) -> i32;
type Spawn = unsafe extern "C" fn(*mut i32, Text, *const (), *const (), Words, Words) -> i32;

extern "C" {
    static environ: Words;
}

/// Look up now what a forked child must not look up any more.
pub unsafe fn prepare() {
    let _ = next!("execve", Execve);
}

#[no_mangle]
pub unsafe extern "C" fn execve(path: Text, argv: Words, envp: Words) -> i32 {
    start(next!("execve", Execve), path, false, envp, |function, envp| {
        function(path, argv, envp)
    })
}

#[no_mangle]
pub unsafe extern "C" fn execv(path: Text, argv: Words) -> i32 {
    start(next!("execve", Execve), path, false, environ, |function, envp| {
        function(path, argv, envp)
    })
}

#[no_mangle]
pub unsafe extern "C" fn execvp(name: Text, argv: Words) -> i32 {
    start(next!("execvpe", Execve), name, true, environ, |function, envp| {
        function(name, argv, envp)
    })
}

#[no_mangle]
pub unsafe extern "C" fn execvpe(name: Text, argv: Words, envp: Words) -> i32 {
    start(next!("execvpe", Execve), name, true, envp, |function, envp| {
        function(name, argv, envp)
    })
}

#[no_mangle]
pub unsafe extern "C" fn execveat(at: i32, path: Text, argv: Words, envp: Words, flags: i32) -> i32 {
    if at != AT_FDCWD && (path.is_null() || *path != b'/') {
        unseen(b"execveat");
    }
    start(next!("execveat", Execveat), path, false, envp, |function, envp| {
        function(at, path, argv, envp, flags)
    })
}

#[no_mangle]
pub unsafe extern "C" fn posix_spawn(
    pid: *mut i32,
    path: Text,
    actions: *const (),
    attributes: *const (),
    argv: Words,
    envp: Words,
) -> i32 {
    let run = |function: Spawn, envp| unsafe { function(pid, path, actions, attributes, argv, envp) };
    start(next!("posix_spawn", Spawn), path, false, envp, run)
}

#[no_mangle]
pub unsafe extern "C" fn posix_spawnp(
    pid: *mut i32,
    name: Text,
    actions: *const (),
    attributes: *const (),
    argv: Words,
    envp: Words,
) -> i32 {
    let run = |function: Spawn, envp| unsafe { function(pid, name, actions, attributes, argv, envp) };
    start(next!("posix_spawnp", Spawn), name, true, envp, run)
}

/// Note a start (by path, or by a name that PATH decides about) and do it with the environment the child is to get.
unsafe fn start<F>(
    function: Option<F>,
    program: Text,
    by_name: bool,
    envp: Words,
    run: impl FnOnce(F, Words) -> i32,
) -> i32 {
    let function = match function {
        Some(function) => function,
        None => {
            sys::set_errno(ENOSYS);
            return -1;
        }
    };
    if !program.is_null() && log::own_role() == role::FRONT {
        return front::start(program, envp, |envp| run(function, envp));
    }
    if program.is_null() || !log::is_open() {
        return run(function, envp);
    }
    let role = match log::own_role() {
        role::COMPILER if unwind::from_macro() => role::OF_MACRO,
        role::COMPILER => role::TOOL,
        own => own,
    };
    let name = sys::text(program);
    let is_searched = by_name && !name.contains(&b'/');
    // What a macro starts is noted in capitals: no explicit rule knows of it.
    match (is_searched, role == role::OF_MACRO) {
        (true, false) => note(b'p', name),
        (true, true) => note(b'P', name),
        (false, false) => note_path(b'x', AT_FDCWD, program),
        (false, true) => note_path(b'X', AT_FDCWD, program),
    }
    let mut found = [0; PATH_MAX];
    let path = if is_searched { search(name, &mut found) } else { program };
    if path.is_null() || elf::may_preload(path) {
        Environment::with(envp, environment::memory_path(), role, |envp| run(function, envp))
    } else {
        run(function, envp)
    }
}

/// Where PATH has a program; null if it is nowhere.
unsafe fn search(name: &[u8], found: &mut [u8; PATH_MAX]) -> Text {
    let path = match next!("getenv", unsafe extern "C" fn(Text) -> Text) {
        Some(getenv) => getenv(b"PATH\0".as_ptr()),
        None => return core::ptr::null(),
    };
    if path.is_null() {
        return core::ptr::null();
    }
    for directory in sys::text(path).split(|byte| *byte == b':') {
        let length = directory.len();
        if length + name.len() + 2 > PATH_MAX {
            continue;
        }
        found[..length].copy_from_slice(directory);
        found[length] = b'/';
        found[length + 1..length + 1 + name.len()].copy_from_slice(name);
        found[length + 1 + name.len()] = 0;
        let fd = sys::open(found.as_ptr(), false);
        if fd >= 0 {
            sys::close(fd);
            return found.as_ptr();
        }
    }
    core::ptr::null()
}

// Functions that must be called as if we were not there (variadic ones; dlopen, which searches by its caller's own
// run path): note the call, then jump to the real one with every register as it was. The directives let the unwinder
// find the caller: without them a macro behind it is not seen.

macro_rules! jumping {
    ($($name:ident |$first:ident| $noted:expr;)*) => {$(
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() {
            unsafe extern "C" fn note_it($first: usize) -> unsafe extern "C" fn() -> isize {
                if log::is_open() {
                    $noted;
                }
                next!(stringify!($name), unsafe extern "C" fn() -> isize).unwrap_or(missing)
            }
            #[cfg(target_arch = "x86_64")]
            naked_asm!(
                ".cfi_startproc",
                "push rdi", "push rsi", "push rdx", "push rcx", "push r8", "push r9", "push rax",
                ".cfi_adjust_cfa_offset 56",
                "call {note}",
                "mov r11, rax",
                "pop rax", "pop r9", "pop r8", "pop rcx", "pop rdx", "pop rsi", "pop rdi",
                ".cfi_adjust_cfa_offset -56",
                "jmp r11",
                ".cfi_endproc",
                note = sym note_it
            );
            #[cfg(target_arch = "aarch64")]
            naked_asm!(
                ".cfi_startproc",
                "stp x29, x30, [sp, #-80]!",
                ".cfi_def_cfa_offset 80", ".cfi_offset 29, -80", ".cfi_offset 30, -72",
                "stp x0, x1, [sp, #16]", "stp x2, x3, [sp, #32]",
                "stp x4, x5, [sp, #48]", "stp x6, x7, [sp, #64]",
                "bl {note}",
                "mov x16, x0",
                "ldp x0, x1, [sp, #16]", "ldp x2, x3, [sp, #32]",
                "ldp x4, x5, [sp, #48]", "ldp x6, x7, [sp, #64]", "ldp x29, x30, [sp], #80",
                ".cfi_def_cfa_offset 0", ".cfi_restore 29", ".cfi_restore 30",
                "br x16",
                ".cfi_endproc",
                note = sym note_it
            );
        }
    )*};
}

unsafe extern "C" fn missing() -> isize {
    sys::set_errno(ENOSYS);
    -1
}

jumping! {
    execl |_first| unseen(b"execl");
    execlp |_first| unseen(b"execlp");
    execle |_first| unseen(b"execle");
    fexecve |_first| unseen(b"fexecve");
    system |_first| unseen(b"system");
    popen |_first| unseen(b"popen");
    glob |_first| unseen(b"glob");
    glob64 |_first| unseen(b"glob64");
    wordexp |_first| unseen(b"wordexp");
    ftw |_first| unseen(b"ftw");
    ftw64 |_first| unseen(b"ftw64");
    nftw |_first| unseen(b"nftw");
    nftw64 |_first| unseen(b"nftw64");
    fts_open |_first| unseen(b"fts_open");
    fts64_open |_first| unseen(b"fts64_open");
    connect |_first| unseen(b"connect");
    sendto |_first| unseen(b"sendto");
    dlopen |path| opened(path as Text);
    syscall |number| called(number);
}

unsafe fn opened(path: Text) {
    unwind::library_opened();
    if !path.is_null() && sys::text(path).contains(&b'/') {
        note_path(b'm', AT_FDCWD, path);
    }
}

/// Note that something was asked of libc, or of the kernel, whose answer we do not see.
unsafe fn unseen(name: &[u8]) {
    note(if unwind::from_macro() { b'U' } else { b'u' }, name);
}

unsafe fn called(number: usize) {
    if let Some(name) = sys::name_of_call(number) {
        unseen(name);
    }
}
