//! Who calls: does a macro's own library stand among the callers, or only the compiler's?

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::environment;
use crate::log;
use crate::sys;

/// `std::env::var` is some frames away from getenv.
const FRAMES: usize = 16;

static HAS_MACROS: AtomicBool = AtomicBool::new(false);

/// A library was opened: only from now on there can be a macro.
pub fn library_opened() {
    HAS_MACROS.store(true, Ordering::Relaxed);
}

#[repr(C)]
struct ObjectHead {
    base: usize,
    name: *const u8,
    headers: *const ProgramHeader,
    header_count: u16,
}

#[repr(C)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

type EachObject = unsafe extern "C" fn(*const ObjectHead, usize, *mut c_void) -> i32;
type EachFrame = unsafe extern "C" fn(*mut c_void, *mut c_void) -> i32;

extern "C" {
    fn dl_iterate_phdr(each: EachObject, data: *mut c_void) -> i32;
}

/// Note every library this program was started with.
pub unsafe fn note_libraries() {
    unsafe extern "C" fn each(object: *const ObjectHead, _: usize, _: *mut c_void) -> i32 {
        let name = (*object).name;
        // The program itself has no name, the kernel's own object no path.
        if !name.is_null() && *name == b'/' && !environment::is_own(sys::text(name)) {
            log::note_path(b'r', sys::AT_FDCWD, name);
        }
        0
    }
    dl_iterate_phdr(each, core::ptr::null_mut());
}

struct Walk {
    left: usize,
    found: bool,
    address: usize,
}

/// Whether a macro is among the nearest callers.
pub unsafe fn from_macro() -> bool {
    if !HAS_MACROS.load(Ordering::Relaxed) || log::own_role() != log::role::COMPILER {
        return false;
    }
    let walker = match next!("_Unwind_Backtrace", unsafe extern "C" fn(EachFrame, *mut c_void) -> i32) {
        Some(walker) => walker,
        None => return true,
    };
    let mut walk = Walk {
        left: FRAMES,
        found: false,
        address: 0,
    };
    walker(each_frame, &mut walk as *mut Walk as *mut c_void);
    walk.found
}

unsafe extern "C" fn each_frame(context: *mut c_void, walk: *mut c_void) -> i32 {
    let walk = &mut *(walk as *mut Walk);
    walk.address = match next!("_Unwind_GetIP", unsafe extern "C" fn(*mut c_void) -> usize) {
        Some(address_of) => address_of(context),
        None => 0,
    };
    dl_iterate_phdr(object_of, walk as *mut Walk as *mut c_void);
    walk.left -= 1;
    if walk.found || walk.left == 0 {
        5 // _URC_END_OF_STACK; anything but 0 ends the walk
    } else {
        0
    }
}

/// Is the address in this object, and is the object a macro's? Gives 1 when the right object was found.
unsafe extern "C" fn object_of(object: *const ObjectHead, _: usize, walk: *mut c_void) -> i32 {
    const LOAD: u32 = 1;
    let (object, walk) = (&*object, &mut *(walk as *mut Walk));
    let headers = core::slice::from_raw_parts(object.headers, object.header_count as usize);
    let is_here = headers.iter().any(|header| {
        let start = object.base.wrapping_add(header.address as usize);
        header.kind == LOAD && walk.address.wrapping_sub(start) < header.memory_size as usize
    });
    if is_here {
        walk.found = !object.name.is_null() && log::is_outside_toolchain(sys::text(object.name));
    }
    i32::from(is_here)
}
