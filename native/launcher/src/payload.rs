//! Release archives: the Python package lies inside the launcher, and its first command installs it.
//!
//! Installers such as `cargo binstall` put one program somewhere and nothing beside it. A launcher that was built from
//! the sources has no payload, and nothing of this runs. A compile never installs anything: it passes through.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::python::VERSION;
use crate::socket::home_dir;
use crate::sys;

/// Empty unless build.rs was given a wheel (KACHE_PAYLOAD).
static WHEEL: &[u8] = include_bytes!(env!("KACHE_PAYLOAD_FILE"));
const WHEEL_NAME: &str = env!("KACHE_PAYLOAD_NAME");
const SCRIPT: &str = include_str!("payload.sh");
/// Another command is installing: pip has some packages to fetch.
const TURN_LIMIT: Duration = Duration::from_secs(300);
const TURN_POLL: Duration = Duration::from_millis(100);

/// The interpreter an earlier command installed the package for.
pub fn python() -> Option<OsString> {
    if WHEEL.is_empty() {
        return None;
    }
    let home = home();
    let is_complete = home.join("complete").is_file();
    Some(home.join("bin/python").into_os_string()).filter(|_| is_complete)
}

/// Install the package and what it depends on, once a user and version; says so on stderr.
///
/// `None` where the launcher has no payload, or where it could not be installed: the script has said why.
pub fn install() -> Option<OsString> {
    if WHEEL.is_empty() {
        return None;
    }
    let home = home();
    let parent = home.parent()?;
    DirBuilder::new().recursive(true).mode(0o700).create(parent).ok()?;
    let turn = File::open(parent).ok()?;
    let came = Instant::now();
    while !sys::try_lock(&turn) && came.elapsed() < TURN_LIMIT {
        sleep(TURN_POLL);
    }
    if let Some(python) = python() {
        return Some(python); // whoever had the turn before us did it
    }
    let wheel = parent.join(WHEEL_NAME);
    fs::write(&wheel, WHEEL).ok()?;
    let launcher = env::current_exe().and_then(fs::canonicalize).ok()?;
    let done = run(&wheel, &home, &launcher);
    let _ = fs::remove_file(&wheel);
    drop(turn);
    done.and_then(|()| python())
}

fn run(wheel: &Path, home: &Path, launcher: &Path) -> Option<()> {
    let mut script = Command::new("/bin/sh");
    script.arg("-c").arg(SCRIPT).arg("kache").args([wheel, home, launcher]);
    // What this prints must not be taken for what the command prints.
    let status = script.stdin(Stdio::null()).stdout(Stdio::null()).status().ok()?;
    Some(()).filter(|()| status.success())
}

fn home() -> PathBuf {
    let below: &OsStr = OsStr::from_bytes(if cfg!(target_os = "macos") {
        b"Library/Application Support/kache/installed"
    } else {
        b".local/share/kache"
    });
    let data = sys::variable("XDG_DATA_HOME").map(PathBuf::from);
    let parent = match data {
        Some(data) if data.is_absolute() => data.join("kache"),
        _ => Path::new(&home_dir()).join(below),
    };
    parent.join(VERSION)
}
