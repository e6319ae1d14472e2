//! While rustc runs, the launcher outlives signals: rustc gets them, and the launcher then ends as rustc ended.

use std::os::raw::{c_int, c_void};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::sys;

const FORWARDED: [c_int; 4] = [sys::SIGHUP, sys::SIGINT, sys::SIGQUIT, sys::SIGTERM];

const NO_CHILD: i32 = 0;
static CHILD: AtomicI32 = AtomicI32::new(NO_CHILD);
static OWNER: AtomicI32 = AtomicI32::new(0);
/// A signal that came before there was a child to give it to.
static PENDING: AtomicI32 = AtomicI32::new(0);

/// Handlers in place; what was there before comes back with `restore`.
pub struct Guard {
    former: Vec<(c_int, usize)>,
}

impl Guard {
    /// Take the signals over, but those the caller has ignored (nohup): they stay so, for rustc too.
    pub fn install() -> Guard {
        OWNER.store(sys::own_pid(), Ordering::SeqCst);
        let install = |signal: &c_int| sys::install_handler(*signal, forward).map(|former| (*signal, former));
        Guard {
            former: FORWARDED.iter().filter_map(install).collect(),
        }
    }

    /// From now on this child gets them.
    pub fn child_is(&self, pid: i32) {
        CHILD.store(pid, Ordering::SeqCst);
        let early = PENDING.swap(0, Ordering::SeqCst);
        if early != 0 {
            sys::send_signal(pid, early);
        }
    }

    /// The child is reaped and its pid may be anybody's.
    pub fn child_ended(&self) {
        CHILD.store(NO_CHILD, Ordering::SeqCst);
        for (signal, former) in &self.former {
            sys::set_disposition(*signal, *former);
        }
    }
}

extern "C" fn forward(signal: c_int, info: *const c_int, _: *const c_void) {
    let own_pid = sys::own_pid();
    if own_pid != OWNER.load(Ordering::SeqCst) {
        // The new child, before it became rustc: end as rustc would.
        sys::set_disposition(signal, sys::SIG_DFL);
        sys::send_signal(own_pid, signal);
        return;
    }
    let child = CHILD.load(Ordering::SeqCst);
    // si_code is the third integer of siginfo_t; above 0 the kernel sent it, as a terminal does to the whole group,
    // rustc included.
    let sent_to_us_alone = unsafe { info.is_null() || *info.add(2) <= 0 };
    if child == NO_CHILD {
        PENDING.store(signal, Ordering::SeqCst);
    } else if sent_to_us_alone {
        sys::send_signal(child, signal);
    }
}
