//! The observer: a library preloaded into a compile that notes what its processes look at.
//!
//! It stands in front of libc, calls what it stands in front of, and writes one record into memory shared with the
//! launcher for each thing seen for the first time. docs/explanation/observed-inputs.md is its specification. It holds
//! no policy but what saves time: what the engine told the launcher to leave out is left out here.
//!
//! It needs no standard library and no libc of its own, allocates nothing, opens no descriptor for longer than a call
//! and leaves errno alone, so that whatever it is loaded into does not notice.

#![no_std]
#![allow(clippy::missing_safety_doc)] // the functions here are libc's

#[macro_use]
mod sys;
mod elf;
mod environment;
mod exec;
mod files;
mod front;
mod log;
mod unwind;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    sys::abort()
}

#[used]
#[link_section = ".init_array"]
static START: unsafe extern "C" fn(i32, *const *const u8, *mut *mut u8) = start;

unsafe extern "C" fn start(_: i32, _: *const *const u8, environment: *mut *mut u8) {
    log::open(environment);
}
