//! Where the daemon's socket is (the rules of docs/explanation/protocol.md), and a connection that speaks frames.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::frame::{self, Answer};
use crate::sys;

/// Longest path bound directly: sun_path holds 104 bytes on macOS and 108 on Linux, with the ending NUL.
const MAX_SOCKET_PATH: usize = 100;
/// How long a full queue of the daemon may keep a compile waiting.
const CONNECT_PATIENCE: Duration = Duration::from_millis(200);

/// What a try to connect came to.
pub enum Attempt {
    Connected(UnixStream),
    /// Nobody listens there: a daemon may be started.
    Absent,
    /// Somebody is there whom we cannot or must not talk to.
    Unusable,
}

/// The socket's path; `None` where no daemon can be used (a relative path, a directory in /tmp that is not ours).
pub fn place() -> Option<OsString> {
    let path = match sys::variable("KACHE_SOCKET_PATH") {
        Some(explicit) => explicit,
        None => place_for(&cache_dir(), sys::own_uid()),
    };
    let usable = path.as_bytes().first() == Some(&b'/') && is_safe(&path);
    if usable {
        Some(path)
    } else {
        None
    }
}

/// The cache dir, by the environment alone.
pub fn cache_dir() -> OsString {
    if let Some(explicit) = sys::variable("KACHE_CACHE_DIR") {
        return explicit;
    }
    match sys::variable("XDG_CACHE_HOME") {
        Some(xdg) if xdg.as_bytes()[0] == b'/' => joined(&xdg, "/kache"),
        _ if cfg!(target_os = "macos") => joined(&home_dir(), "/Library/Caches/kache"),
        _ => joined(&home_dir(), "/.cache/kache"),
    }
}

/// Whether nothing was ever stored.
pub fn cache_is_new() -> bool {
    fs::symlink_metadata(joined(&cache_dir(), "/store")).is_err()
}

/// Whether a remote may be configured: it can fill a new cache, so there is something to wait for.
pub fn may_name_a_remote() -> bool {
    let named = |name| sys::variable(name).is_some();
    let configured = match sys::variable("XDG_CONFIG_HOME") {
        Some(xdg) if xdg.as_bytes()[0] == b'/' => joined(&xdg, "/kache/config.toml"),
        _ if cfg!(target_os = "macos") => joined(&home_dir(), "/Library/Application Support/kache/config.toml"),
        _ => joined(&home_dir(), "/.config/kache/config.toml"),
    };
    let exists = |path: &Path| fs::symlink_metadata(path).is_ok();
    named("KACHE_REMOTE")
        || named("KACHE_S3_BUCKET")
        || named("KACHE_CONFIG")
        || exists(Path::new(&configured))
        || env::current_dir().map_or(false, |cwd| {
            cwd.ancestors().any(|above| exists(&above.join(".kache.toml")))
        })
}

fn place_for(cache_dir: &OsStr, uid: u32) -> OsString {
    let beside_store = joined(cache_dir, "/daemon.sock");
    if beside_store.len() <= MAX_SOCKET_PATH {
        return beside_store;
    }
    format!("/tmp/kache-{}/{:016x}.sock", uid, fnv1a64(cache_dir.as_bytes())).into()
}

/// HOME, or the account's own directory where that is unset or empty.
pub fn home_dir() -> OsString {
    if let Some(home) = sys::variable("HOME") {
        return home;
    }
    let empty = env::var_os("HOME");
    env::remove_var("HOME"); // an empty one would be the answer
    #[allow(deprecated)] // for Windows' sake
    let found = env::home_dir();
    if let Some(value) = empty {
        env::set_var("HOME", value);
    }
    found.map_or_else(|| OsString::from("/"), OsString::from)
}

fn joined(directory: &OsStr, rest: &str) -> OsString {
    let mut bytes = directory.as_bytes().to_vec();
    bytes.extend_from_slice(rest.as_bytes());
    OsString::from_vec(bytes)
}

/// FNV-1a, 64 bits. Source: draft-eastlake-fnv, section 2.
fn fnv1a64(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The directory in /tmp whose name anybody can guess must be ours alone or not there yet; other places are the user's choice.
fn is_safe(path: &OsStr) -> bool {
    let directory = format!("/tmp/kache-{}", sys::own_uid());
    if Path::new(path).parent() != Some(Path::new(&directory)) {
        return true;
    }
    match fs::symlink_metadata(&directory) {
        Ok(facts) => facts.is_dir() && facts.uid() == sys::own_uid() && facts.permissions().mode() & 0o777 == 0o700,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Connect to the daemon, if it is this user's.
pub fn connect(path: &OsStr) -> Attempt {
    match sys::connect(path, CONNECT_PATIENCE) {
        Ok(stream) if sys::is_own_peer(&stream) => Attempt::Connected(stream),
        Ok(_) => Attempt::Unusable,
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Attempt::Absent,
            _ => Attempt::Unusable,
        },
    }
}

/// A conversation with an engine about one compile.
pub struct Channel {
    stream: UnixStream,
}

impl Channel {
    /// A silence or a full pipe longer than `patience` counts as a dead engine.
    pub fn new(stream: UnixStream, patience: Duration) -> io::Result<Channel> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Channel { stream })
    }

    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.stream.write_all(frame)
    }

    /// Wait for the answer proper.
    pub fn answer(&mut self) -> io::Result<Answer> {
        loop {
            match self.read_frame()? {
                Answer::Wait { seconds } => {
                    self.stream
                        .set_read_timeout(Some(Duration::from_secs(u64::from(seconds.max(1)))))?;
                }
                answer => return Ok(answer),
            }
        }
    }

    /// Wait until the engine closes, at most `limit` of silence.
    pub fn wait_for_close(&mut self, limit: Duration) {
        let _ = self.stream.set_read_timeout(Some(limit));
        let mut ignored = [0; 64];
        loop {
            match self.stream.read(&mut ignored) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
        }
    }

    fn read_frame(&mut self) -> io::Result<Answer> {
        let malformed = |_| io::Error::from(io::ErrorKind::InvalidData);
        let mut header = [0; frame::HEADER_SIZE];
        self.stream.read_exact(&mut header)?;
        let (kind, length) = frame::parse_header(&header).map_err(malformed)?;
        let mut body = Vec::new();
        (&mut self.stream).take(length as u64).read_to_end(&mut body)?;
        if body.len() < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        frame::decode(kind, &body).map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_cache_dirs_hold_the_socket() {
        assert_eq!(
            place_for(OsStr::new("/home/me/.cache/kache"), 7),
            "/home/me/.cache/kache/daemon.sock"
        );
        let longest = format!("/{}", "x".repeat(MAX_SOCKET_PATH - 1 - "/daemon.sock".len()));
        assert_eq!(place_for(OsStr::new(&longest), 7).len(), MAX_SOCKET_PATH);
    }

    #[test]
    fn long_ones_are_hashed_byte_by_byte() {
        let long = format!("/{}", "x".repeat(100));
        assert_eq!(place_for(OsStr::new(&long), 7), "/tmp/kache-7/20b9fb7273c1497e.sock");
    }

    #[test]
    fn fnv_of_the_published_vectors() {
        assert_eq!(fnv1a64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a64(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a64(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
