//! Observation: the library put before a compile's processes, and the memory they note in what they look at.
//!
//! What is noted, and how, is docs/explanation/observed-inputs.md. Without a way to observe the compile runs all the same.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::os::unix::io::AsRawFd;

use crate::socket;
use crate::sys;

const LIBRARY: &[u8] = include_bytes!(env!("KACHE_OBSERVER"));
const DIGEST: &str = env!("KACHE_OBSERVER_DIGEST");
/// Why there is no library; empty if there is one.
const OFF: &str = env!("KACHE_OBSERVER_OFF");

// As observer/log.rs has them.
const SIZE: u64 = 8 << 20;
const FILTER_SIZE: usize = 1 << 15;
const RECORDS: u64 = (FILTER_SIZE + (1 << 14) * 8) as u64;
const HEADER_SIZE: usize = 16;

/// One observed compile.
pub struct Observation {
    library: OsString,
    memory: File,
}

impl Observation {
    /// Prepare to observe; `None` where that cannot be.
    pub fn start(filter: &[u8]) -> Option<Observation> {
        if filter.is_empty() || filter.len() > FILTER_SIZE - HEADER_SIZE {
            return None;
        }
        let library = place().ok()?;
        let memory = sys::shared_memory()?;
        let mut head = [0; HEADER_SIZE];
        head[12..].copy_from_slice(&(filter.len() as u32).to_le_bytes());
        memory.set_len(SIZE).ok()?;
        memory.write_all_at(&[&head, filter].concat(), 0).ok()?;
        Some(Observation { library, memory })
    }

    /// Variables of the compiler: ours stands behind the user's own preloads.
    pub fn environment(&self, users_preload: Option<&OsStr>) -> [(&'static str, OsString); 2] {
        let mut preload = users_preload.unwrap_or_default().to_os_string();
        if users_preload.is_some() {
            preload.push(":");
        }
        preload.push(&self.library);
        let memory = format!("/proc/{}/fd/{};0", sys::own_pid(), self.memory.as_raw_fd());
        [("LD_PRELOAD", preload), ("KACHE_OBSERVED", memory.into())]
    }

    /// Everything noted: a byte that is 1 if something is missing, then the records. Empty if it cannot be read.
    pub fn log(&self) -> Vec<u8> {
        let mut head = [0; HEADER_SIZE];
        if self.memory.read_exact_at(&mut head, 0).is_err() {
            return Vec::new();
        }
        let mut number = [0; 8];
        number.copy_from_slice(&head[..8]);
        let (wanted, room) = (u64::from_le_bytes(number), SIZE - RECORDS);
        let mut log = vec![0; 1 + wanted.min(room) as usize];
        if self.memory.read_exact_at(&mut log[1..], RECORDS).is_err() {
            return Vec::new();
        }
        log[0] = u8::from(head[8] != 0 || wanted > room);
        log
    }
}

/// `kache --observer`: the library's path, or why compiles are not observed.
pub fn status() -> String {
    match place() {
        Ok(path) => format!("on: {}", path.to_string_lossy()),
        Err(why) => format!("off: {}", why),
    }
}

/// The library in the cache dir, written there if it is not yet.
fn place() -> Result<OsString, String> {
    if !OFF.is_empty() {
        return Err(OFF.to_string());
    }
    let directory = socket::cache_dir();
    let mut bytes = directory.as_bytes().to_vec();
    // The loader divides LD_PRELOAD at these and replaces `$ORIGIN`.
    if bytes.first() != Some(&b'/') || bytes.iter().any(|byte| b" :;$\t\n".contains(byte)) {
        return Err(format!("{} is no path for LD_PRELOAD", directory.to_string_lossy()));
    }
    bytes.extend_from_slice(format!("/observer-{}.so", DIGEST).as_bytes());
    let path = OsString::from_vec(bytes);
    if !is_there(&path) {
        write(&directory, &path).map_err(|error| format!("{}: {}", path.to_string_lossy(), error))?;
    }
    // The loader would say on every program's stderr that it cannot load from there.
    if sys::is_mounted_noexec(&path) {
        return Err(format!("{} is mounted noexec", directory.to_string_lossy()));
    }
    Ok(path)
}

fn is_there(path: &OsStr) -> bool {
    fs::symlink_metadata(path).map_or(false, |facts| {
        facts.is_file() && facts.uid() == sys::own_uid() && facts.len() == LIBRARY.len() as u64
    })
}

fn write(directory: &OsStr, path: &OsStr) -> io::Result<()> {
    let mut new = path.to_os_string();
    new.push(format!(".{}", sys::own_pid()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    let written = file.write_all(LIBRARY).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}
