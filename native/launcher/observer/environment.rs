//! The environment: what is read of it by name, and our own two variables, which nobody else gets to see.

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::log::{self, role};
use crate::sys::{self, PATH_MAX};
use crate::unwind;

/// `<path of the memory>;<role>`, for cargo `<directory of memories>;<role>`
const LOG: &[u8] = b"KACHE_OBSERVED=";
const PRELOAD: &[u8] = b"LD_PRELOAD=";
const MAX_VARIABLES: usize = 4096;

static mut MEMORY_PATH: [u8; 64] = [0; 64];
static mut OWN_PATH: [u8; 512] = [0; 512];
static OWN_PATH_LENGTH: AtomicUsize = AtomicUsize::new(0);
static MEMORY_PATH_LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Take our variables out, give LD_PRELOAD back the value it had without us, and remember both for our children.
///
/// Gives the path of the memory (with NUL) and our role.
pub unsafe fn take(environment: *mut *mut u8) -> Option<(*const u8, u8)> {
    let log = find(environment, LOG)?;
    let value = sys::text((*log).add(LOG.len()));
    let (path, role) = (value.get(..value.len().checked_sub(2)?)?, *value.last()?);
    if path.len() >= 64 {
        return None;
    }
    let memory_path = core::ptr::addr_of_mut!(MEMORY_PATH) as *mut u8;
    core::ptr::copy_nonoverlapping(path.as_ptr(), memory_path, path.len());
    MEMORY_PATH_LENGTH.store(path.len(), Ordering::Relaxed);
    remove(log);
    if let Some(preload) = find(environment, PRELOAD) {
        let whole = sys::text(*preload);
        let value = &whole[PRELOAD.len()..];
        // The user's own come first, ours is behind the last colon.
        let colon = value.iter().rposition(|byte| *byte == b':');
        let own = &value[colon.map_or(0, |at| at + 1)..];
        if own.len() >= 512 {
            return None;
        }
        let own_path = core::ptr::addr_of_mut!(OWN_PATH) as *mut u8;
        core::ptr::copy_nonoverlapping(own.as_ptr(), own_path, own.len());
        OWN_PATH_LENGTH.store(own.len(), Ordering::Relaxed);
        match colon {
            Some(at) => *(*preload).add(PRELOAD.len() + at) = 0,
            None => remove(preload),
        }
    }
    Some((memory_path, role))
}

/// Whether a library is the observer itself.
pub fn is_own(path: &[u8]) -> bool {
    let length = OWN_PATH_LENGTH.load(Ordering::Relaxed);
    unsafe { core::slice::from_raw_parts(core::ptr::addr_of!(OWN_PATH) as *const u8, length) == path }
}

/// Path of the memory, or of the directory of memories; empty without one.
pub fn memory_path() -> &'static [u8] {
    let length = MEMORY_PATH_LENGTH.load(Ordering::Relaxed);
    unsafe { core::slice::from_raw_parts(core::ptr::addr_of!(MEMORY_PATH) as *const u8, length) }
}

/// Whether the observer's file still is where it was: of one that is gone a loader would complain on stderr.
unsafe fn is_there() -> bool {
    let fd = sys::open(core::ptr::addr_of!(OWN_PATH) as *const u8, false);
    if fd >= 0 {
        sys::close(fd);
    }
    fd >= 0
}

unsafe fn find(environment: *mut *mut u8, start: &[u8]) -> Option<*mut *mut u8> {
    let mut at = environment;
    while !at.is_null() && !(*at).is_null() {
        if sys::text(*at).starts_with(start) {
            return Some(at);
        }
        at = at.add(1);
    }
    None
}

unsafe fn remove(mut at: *mut *mut u8) {
    while !(*at).is_null() {
        *at = *at.add(1);
        at = at.add(1);
    }
}

/// An environment for a child with our two variables put back in.
pub struct Environment {
    pointers: [*const u8; MAX_VARIABLES],
    log: [u8; 96],
    preload: [u8; 2 * PATH_MAX],
}

impl Environment {
    /// Run `then` with an environment as `given` with ours in it, or with `given` itself where that cannot be.
    pub unsafe fn with<T>(
        given: *const *const u8,
        memory_path: &[u8],
        role: u8,
        then: impl FnOnce(*const *const u8) -> T,
    ) -> T {
        let mut own = core::mem::MaybeUninit::<Environment>::uninit();
        if (*own.as_mut_ptr()).fill(given, memory_path, role) {
            then(core::ptr::addr_of!((*own.as_ptr()).pointers) as *const *const u8)
        } else {
            then(given)
        }
    }

    unsafe fn fill(&mut self, given: *const *const u8, memory_path: &[u8], role: u8) -> bool {
        let own_length = OWN_PATH_LENGTH.load(Ordering::Relaxed);
        if memory_path.is_empty() || own_length == 0 || !is_there() {
            return false;
        }
        let own_path = core::slice::from_raw_parts(core::ptr::addr_of!(OWN_PATH) as *const u8, own_length);
        let mut users: Option<&[u8]> = None;
        let (mut count, mut at) = (0, given);
        while !at.is_null() && !(*at).is_null() {
            let pair = sys::text(*at);
            if pair.starts_with(PRELOAD) {
                users = Some(&pair[PRELOAD.len()..]);
            } else if !pair.starts_with(LOG) {
                if count >= MAX_VARIABLES - 3 {
                    return false;
                }
                self.pointers[count] = *at;
                count += 1;
            }
            at = at.add(1);
        }
        let users = users.unwrap_or(b"");
        let colon: &[u8] = if users.is_empty() { b"" } else { b":" };
        if !join(&mut self.log, &[LOG, memory_path, b";", &[role]])
            || !join(&mut self.preload, &[PRELOAD, users, colon, own_path])
        {
            return false;
        }
        self.pointers[count] = self.log.as_ptr();
        self.pointers[count + 1] = self.preload.as_ptr();
        self.pointers[count + 2] = core::ptr::null();
        true
    }
}

/// Write parts one behind the other and a NUL; false if they do not fit.
fn join(into: &mut [u8], parts: &[&[u8]]) -> bool {
    let mut at = 0;
    for part in parts {
        match into.get_mut(at..at + part.len()) {
            Some(place) => place.copy_from_slice(part),
            None => return false,
        }
        at += part.len();
    }
    into.get_mut(at).map(|end| *end = 0).is_some()
}

unsafe fn note(name: *const u8) {
    if name.is_null() || !log::is_open() || log::own_role() == role::BEFORE {
        return;
    }
    let is_macro = log::own_role() == role::OF_MACRO || unwind::from_macro();
    log::note(if is_macro { b'E' } else { b'e' }, sys::text(name));
}

macro_rules! getenv {
    ($($name:ident)*) => {$(
        #[no_mangle]
        pub unsafe extern "C" fn $name(name: *const u8) -> *mut u8 {
            note(name);
            match next!(stringify!($name), unsafe extern "C" fn(*const u8) -> *mut u8) {
                Some(function) => function(name),
                None => core::ptr::null_mut(),
            }
        }
    )*};
}

getenv! { getenv secure_getenv __secure_getenv }
