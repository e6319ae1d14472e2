//! The log: memory of the launcher's, shared by every process of a compile.
//!
//! ```text
//! memory  := next:u64 lost:u32 filter_length:u32 filter[FILTER_SIZE - 16] seen:u64[SLOTS] record*
//! filter  := ( rule text 0x00 )*
//! record  := kind:u8 role:u8 length:u16 text[length] padding to 4 bytes
//! ```
//! `next` counts the bytes of records handed out, so a process that is killed loses at most the record it was writing:
//! its kind stays 0. Nothing is flushed, so neither `_exit` nor exec nor a signal loses anything. Kinds, roles and rules
//! are those of docs/explanation/observed-inputs.md.

use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicU8, Ordering};

use crate::environment;
use crate::sys::{self, AT_FDCWD, PATH_MAX};

const FILTER_SIZE: usize = 1 << 15;
const HEADER_SIZE: usize = 16;
const SLOTS: usize = 1 << 14;
const RECORDS: usize = FILTER_SIZE + SLOTS * 8;
pub const SIZE: usize = 8 << 20;
/// So many places of `seen` are tried; where all are taken a record is written twice.
const TRIES: usize = 16;

/// Rules of the filter.
mod rule {
    /// A program whose path begins so is the compiler.
    pub const COMPILER: u8 = b'C';
    /// The toolchain's own files.
    pub const TOOLCHAIN: u8 = b'T';
    /// Other paths that never count.
    pub const PREFIX: u8 = b'P';
    /// A directory whose listing alone does not count.
    pub const LISTING: u8 = b'L';
}

/// What a process is to the compile.
pub mod role {
    /// A proxy of rustup or a script in front of the compiler.
    pub const BEFORE: u8 = b'0';
    pub const COMPILER: u8 = b'1';
    /// What the compiler runs: a linker.
    pub const TOOL: u8 = b'2';
    /// What a macro runs, and a build script with all it runs.
    pub const OF_MACRO: u8 = b'3';
    /// cargo, which is not observed itself.
    pub const FRONT: u8 = b'4';
}

static MEMORY: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static ROLE: AtomicU8 = AtomicU8::new(0);

pub fn own_role() -> u8 {
    ROLE.load(Ordering::Relaxed)
}

pub fn is_open() -> bool {
    !MEMORY.load(Ordering::Relaxed).is_null()
}

/// Take our two variables out of the environment, map the memory, and say who we are.
pub unsafe fn open(environment: *mut *mut u8) {
    let (path, role) = match environment::take(environment) {
        Some(found) => found,
        None => return,
    };
    if role == role::FRONT {
        ROLE.store(role, Ordering::Relaxed);
        crate::exec::prepare();
        return;
    }
    let fd = sys::open(path, true);
    if fd < 0 {
        return;
    }
    let memory = sys::map_shared(fd, SIZE);
    sys::close(fd);
    if memory.is_null() {
        return;
    }
    MEMORY.store(memory, Ordering::Release);
    let mut program = [0; PATH_MAX];
    let length = sys::read_link(b"/proc/self/exe\0".as_ptr(), &mut program);
    let program = &program[..length.min(PATH_MAX)];
    let is_compiler = role == role::BEFORE && is_ruled(rule::COMPILER, program);
    ROLE.store(if is_compiler { role::COMPILER } else { role }, Ordering::Relaxed);
    note(b'h', program);
    crate::exec::prepare();
    if own_role() >= role::TOOL {
        crate::unwind::note_libraries();
    }
}

/// Note something with a path, as one is given to a system call.
pub unsafe fn note_path(kind: u8, directory: i32, path: *const u8) {
    if path.is_null() || *path == 0 || !is_open() || own_role() == role::BEFORE && kind != b'x' {
        return;
    }
    let path = sys::text(path);
    if path[0] == b'/' {
        note_absolute(kind, path);
        return;
    }
    let mut whole = [0; 2 * PATH_MAX];
    let base = if directory == AT_FDCWD {
        sys::working_directory(&mut whole[..PATH_MAX])
    } else {
        let mut name = *b"/proc/self/fd/0000000000\0";
        write_number(&mut name[14..24], directory);
        sys::read_link(name.as_ptr(), &mut whole[..PATH_MAX])
    };
    if base == 0 || base >= PATH_MAX || path.len() >= PATH_MAX {
        lose();
        return;
    }
    whole[base] = b'/';
    let length = base + 1 + path.len();
    match whole.get_mut(base + 1..length) {
        Some(rest) => rest.copy_from_slice(path),
        None => return,
    }
    note_absolute(kind, &whole[..length.min(2 * PATH_MAX)]);
}

/// Decimal digits with zeros in front, which /proc takes as they are not.
fn write_number(into: &mut [u8], number: i32) {
    let mut left = number.max(0) as u32;
    let mut digits = 0;
    while left > 0 || digits == 0 {
        left /= 10;
        digits += 1;
    }
    left = number.max(0) as u32;
    for at in (0..digits).rev() {
        into[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    into[digits..].fill(0);
}

fn note_absolute(kind: u8, path: &[u8]) {
    if path.starts_with(b"/proc/") && path.ends_with(b"/environ") && kind == b'r' {
        note(b'V', path);
        return;
    }
    let is_listing = kind == b'd';
    let is_left_out = |(rule, text): (u8, &[u8])| match rule {
        rule::TOOLCHAIN | rule::PREFIX => path.starts_with(text),
        rule::LISTING => is_listing && path == text,
        _ => false,
    };
    // Programs and libraries that are run count wherever they lie.
    let is_run = matches!(kind, b'x' | b'X' | b'm');
    if is_run || !rules().any(is_left_out) {
        note(kind, path);
    }
}

/// Whether a library is neither the compiler's own nor the system's: then it is a macro's.
pub fn is_outside_toolchain(path: &[u8]) -> bool {
    const SYSTEM: [&[u8]; 5] = [b"/lib/", b"/lib64/", b"/usr/lib/", b"/usr/lib64/", b"/nix/store/"];
    path.starts_with(b"/")
        && !SYSTEM.iter().any(|start| path.starts_with(start))
        && !is_ruled(rule::TOOLCHAIN, path)
        && !environment::is_own(path)
}

/// Write a record, unless the same was written before by a process of the same role.
pub fn note(kind: u8, text: &[u8]) {
    let memory = MEMORY.load(Ordering::Acquire);
    if memory.is_null() || text.len() > 2 * PATH_MAX {
        return;
    }
    unsafe {
        if !is_new(memory, hash(kind, own_role(), text)) {
            return;
        }
        let size = (4 + text.len() + 3) & !3;
        let next = &*(memory as *const AtomicU64);
        let at = RECORDS + next.fetch_add(size as u64, Ordering::Relaxed) as usize;
        if at + size > SIZE {
            lose();
            return;
        }
        let record = memory.add(at);
        core::ptr::copy_nonoverlapping(text.as_ptr(), record.add(4), text.len());
        let head = u32::from_le_bytes([kind, own_role(), text.len() as u8, (text.len() >> 8) as u8]);
        (*(record as *const AtomicU32)).store(head, Ordering::Release);
    }
}

/// Say that something could not be noted.
pub fn lose() {
    let memory = MEMORY.load(Ordering::Acquire);
    if !memory.is_null() {
        unsafe { (*(memory.add(8) as *const AtomicU32)).store(1, Ordering::Relaxed) };
    }
}

unsafe fn is_new(memory: *mut u8, hash: u64) -> bool {
    let slots = memory.add(FILTER_SIZE) as *const AtomicU64;
    for step in 0..TRIES {
        let slot = &*slots.add((hash as usize).wrapping_add(step) % SLOTS);
        match slot.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(found) if found == hash => return false,
            Err(_) => {}
        }
    }
    true
}

/// Eight bytes at a time; a collision of all 64 bits would lose a record, so they are mixed well.
fn hash(kind: u8, role: u8, text: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = u64::from(kind) << 8 | u64::from(role) | (text.len() as u64) << 16;
    let mut mix = |word: u64| {
        let wide = u128::from(state ^ word).wrapping_mul(u128::from(ODD) << 64 | 0xd6e8_feb8_6659_fd93);
        state = (wide >> 64) as u64 ^ (wide as u64).rotate_left(29) ^ ODD;
    };
    let mut words = text.chunks_exact(8);
    for word in &mut words {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(word);
        mix(u64::from_le_bytes(bytes));
    }
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    mix(u64::from_le_bytes(last));
    mix(ODD);
    state | 1 // 0 is an empty slot
}

fn is_ruled(wanted: u8, path: &[u8]) -> bool {
    rules().any(|(rule, text)| rule == wanted && path.starts_with(text))
}

struct Rules(&'static [u8]);

impl Iterator for Rules {
    type Item = (u8, &'static [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (rule, rest) = self.0.split_first()?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        self.0 = &rest[end + 1..];
        Some((*rule, &rest[..end]))
    }
}

fn rules() -> Rules {
    let memory = MEMORY.load(Ordering::Acquire);
    if memory.is_null() {
        return Rules(&[]);
    }
    unsafe {
        let length = (*(memory.add(12) as *const AtomicU32)).load(Ordering::Relaxed) as usize;
        let filter = core::slice::from_raw_parts(memory.add(HEADER_SIZE), length.min(FILTER_SIZE - HEADER_SIZE));
        Rules(filter)
    }
}
