//! cargo under `kache cargo`: it is left alone, and the build scripts it starts are observed, each in a memory of its own.

use crate::elf;
use crate::environment::{self, Environment};
use crate::log::{self, role};
use crate::sys;

const SCRIPT: &[u8] = b"build-script-";
/// Where cargo keeps what nobody edits: scripts of such packages are served on their declarations.
const PACKAGES: [&[u8]; 2] = [b"/registry/src/", b"/git/checkouts/"];
const DIGITS: usize = 16;

/// Start a program of cargo's.
pub unsafe fn start<T>(program: *const u8, envp: *const *const u8, run: impl FnOnce(*const *const u8) -> T) -> T {
    let path = sys::text(program);
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    if name == b"cargo" || name.starts_with(b"cargo-") {
        return Environment::with(envp, environment::memory_path(), role::FRONT, run);
    }
    let mut memory = [0; 96];
    let length = if name.starts_with(SCRIPT) && elf::may_preload(program) {
        make_memory(envp, &mut memory)
    } else {
        0
    };
    if length == 0 {
        return run(envp);
    }
    Environment::with(envp, &memory[..length], role::OF_MACRO, run)
}

/// Make the memory of one run, named by a hash of its OUT_DIR; the length of its path, 0 if there is none to make.
unsafe fn make_memory(envp: *const *const u8, path: &mut [u8; 96]) -> usize {
    let out_dir = match value(envp, b"OUT_DIR=") {
        Some(out_dir) => out_dir,
        None => return 0,
    };
    let package = value(envp, b"CARGO_MANIFEST_DIR=").unwrap_or(b"");
    let is_in = |part: &&[u8]| package.windows(part.len()).any(|window| window == *part);
    let directory = environment::memory_path();
    let length = directory.len() + 1 + DIGITS;
    if PACKAGES.iter().any(is_in) || length >= path.len() {
        return 0;
    }
    path[..directory.len()].copy_from_slice(directory);
    path[directory.len()] = b'/';
    let hash = fnv(out_dir);
    for (at, place) in path[directory.len() + 1..length].iter_mut().enumerate() {
        *place = b"0123456789abcdef"[(hash >> (60 - 4 * at)) as usize & 15];
    }
    path[length] = 0;
    if sys::make_file(path.as_ptr(), log::SIZE) {
        length
    } else {
        0
    }
}

unsafe fn value<'a>(mut at: *const *const u8, start: &[u8]) -> Option<&'a [u8]> {
    while !at.is_null() && !(*at).is_null() {
        let pair = sys::text(*at);
        if pair.starts_with(start) {
            return Some(&pair[start.len()..]);
        }
        at = at.add(1);
    }
    None
}

/// FNV-1a of 64 bits, as the engine finds the file by.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
