//! The one Python this kache was installed for: find it, and start what runs in it.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::raw::c_char;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::io::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::marker::Marker;
use crate::payload;
use crate::socket::{self, Attempt};
use crate::sys;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

const SIBLING: &str = "kache-python";
const START_LIMIT: Duration = Duration::from_secs(3);
const START_POLL: Duration = Duration::from_millis(2);

/// What the daemon keeps of the environment: nothing of one build or one shell may stay in it.
const KEPT: [&str; 7] = ["HOME", "USER", "LOGNAME", "PATH", "LANG", "RUSTUP_HOME", "CARGO_HOME"];
const KEPT_PREFIXES: [&str; 5] = ["LC_", "XDG_", "KACHE_", "AWS_", "SSL_CERT_"];
const KEPT_SUFFIXES: [&str; 2] = ["_PROXY", "_proxy"];

/// The interpreter; `None` where there is none, and then compiles are plain rustc.
pub fn find() -> Option<OsString> {
    beside_launcher()
        .or_else(|| sys::variable("KACHE_PYTHON"))
        .or_else(payload::python)
}

fn beside_launcher() -> Option<OsString> {
    let launcher = fs::canonicalize(env::current_exe().ok()?).ok()?;
    let mut start = Vec::new();
    fs::File::open(launcher.parent()?.join(SIBLING))
        .ok()?
        .take(8192)
        .read_to_end(&mut start)
        .ok()?;
    interpreter(&start).map(OsString::from_vec)
}

/// The interpreter a script names in its `#!` line, or in the `exec` line of the installers' `/bin/sh` form
/// (`'''exec' "/a path/python" "$0" "$@"`). docs/decisions/0006 has the forms they write: pip gives a path with a blank
/// no `/bin/sh`, so blanks belong to the path, and only options after it (pipx: ` -E`) do not.
fn interpreter(script: &[u8]) -> Option<Vec<u8>> {
    let mut lines = script.split(|byte| *byte == b'\n');
    let mut named = without_options(lines.next()?.strip_prefix(b"#!")?).to_vec();
    if named == b"/bin/sh" {
        named = shell_word(lines.next()?.strip_prefix(b"'''exec' ")?);
    }
    // An `env` would look PATH up, and that finds any Python.
    let is_env = named.ends_with(b"/env") || named.starts_with(b"/usr/bin/env ");
    let usable = named.first() == Some(&b'/') && !is_env;
    if usable {
        Some(named)
    } else {
        None
    }
}

/// A `#!` line without the blanks around it and the words at its end that start with a dash.
fn without_options(line: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !byte.is_ascii_whitespace();
    let text = match (line.iter().position(is_text), line.iter().rposition(is_text)) {
        (Some(start), Some(end)) => &line[start..=end],
        _ => return b"",
    };
    match text.iter().rposition(u8::is_ascii_whitespace) {
        Some(blank) if text[blank + 1] == b'-' => without_options(&text[..blank]),
        _ => text,
    }
}

/// The first word of a shell line: quotes of both kinds, side by side, and backslashes.
fn shell_word(line: &[u8]) -> Vec<u8> {
    let mut word = Vec::new();
    let mut quote = None;
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        match (quote, *byte) {
            (Some(open), byte) if byte == open => quote = None,
            (None, b'\'' | b'"') => quote = Some(*byte),
            (None | Some(b'"'), b'\\') => word.extend(bytes.next()),
            (None, b' ' | b'\t') => break,
            (_, byte) => word.push(byte),
        }
    }
    word
}

/// Become the command line; returns only the error.
pub fn exec_cli(python: &OsStr, words: &[&[u8]]) -> io::Error {
    let start = [python.as_bytes(), b"-I", b"-m", b"kache"];
    let argv: Vec<CString> = start
        .iter()
        .chain(words)
        .filter_map(|word| CString::new(*word).ok())
        .collect();
    let mut pointers: Vec<*const c_char> = argv.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    unsafe { sys::exec(pointers.as_ptr()) }
}

/// Start an engine for this one compile; gives the connection to it.
pub fn start_engine(python: &OsStr) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = module(python, "kache.wrapper");
    let debugging = sys::variable("KACHE_LOG").map_or(false, |level| level.eq_ignore_ascii_case("debug"));
    if !debugging {
        command.stderr(Stdio::null());
    }
    let fd = theirs.as_raw_fd();
    unsafe {
        command.pre_exec(move || sys::keep_only_as_fd_3(fd));
    }
    command.spawn()?;
    Ok(ours)
}

/// Start the daemon and wait until it listens; `None` where it does not, or did not a moment ago.
///
/// Of launchers that come at once one starts it, the others wait: two dozen interpreters would keep each other from it.
pub fn start_daemon(python: &OsStr, place: &OsStr) -> Option<UnixStream> {
    let directory = Path::new(place).parent()?;
    let _ = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let turn = fs::File::open(directory).ok(); // without one everybody starts a daemon, and all but one end at once
    let came = Instant::now();
    loop {
        if Marker::Failed.is_fresh(place) {
            return None;
        }
        let is_mine = turn.as_ref().map_or(true, sys::try_lock);
        if let Attempt::Connected(stream) = socket::connect(place) {
            return Some(stream);
        }
        if is_mine {
            break;
        }
        if came.elapsed() >= START_LIMIT {
            return None;
        }
        sleep(START_POLL);
    }
    let connected = spawn_daemon(python).ok().and_then(|mut watcher| {
        let connected = wait_for_daemon(place, &mut watcher);
        let _ = watcher.kill();
        let _ = watcher.wait();
        connected
    });
    if connected.is_none() {
        Marker::Failed.write(place);
    }
    connected
}

fn spawn_daemon(python: &OsStr) -> io::Result<Child> {
    let mut command = module(python, "kache.daemon");
    command.stderr(Stdio::null()).current_dir("/").env_clear();
    command.envs(env::vars_os().filter(|(name, _)| is_kept(name)));
    unsafe {
        command.pre_exec(sys::detach);
    }
    command.spawn()
}

/// `watcher` ends as the daemon did: well if another one has the cache dir already, which then is about to listen.
fn wait_for_daemon(place: &OsStr, watcher: &mut Child) -> Option<UnixStream> {
    let started = Instant::now();
    while started.elapsed() < START_LIMIT {
        if let Attempt::Connected(stream) = socket::connect(place) {
            return Some(stream);
        }
        if let Ok(Some(status)) = watcher.try_wait() {
            if !status.success() {
                return None;
            }
        }
        sleep(START_POLL);
    }
    None
}

fn module(python: &OsStr, name: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-I", "-m", name, "--launcher-version", VERSION]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn is_kept(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    KEPT.contains(&name.as_ref())
        || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || KEPT_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::{interpreter, is_kept};
    use std::ffi::OsStr;

    fn check(script: &str, expected: Option<&str>) {
        let found = interpreter(script.as_bytes()).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(found.as_deref(), expected, "{script}");
    }

    #[test]
    fn the_plain_form() {
        check("#!/opt/venv/bin/python\nimport sys\n", Some("/opt/venv/bin/python"));
        check("#! /opt/venv/bin/python3.11 -sP\n", Some("/opt/venv/bin/python3.11"));
        check("#!/opt/venv/bin/python -E -s \r\n", Some("/opt/venv/bin/python"));
        check("#!/opt/a -b/v env/bin/python3\n", Some("/opt/a -b/v env/bin/python3"));
        check("#!/opt/v env/bin/python3 -E\n", Some("/opt/v env/bin/python3"));
    }

    #[test]
    fn the_shell_form_for_long_paths_and_blanks() {
        check(
            "#!/bin/sh\n'''exec' /long/python \"$0\" \"$@\"\n' '''\n",
            Some("/long/python"),
        );
        check(
            "#!/bin/sh\n'''exec' \"/a b/python\" \"$0\" \"$@\"\n",
            Some("/a b/python"),
        );
        check(
            "#!/bin/sh\n'''exec' '/a b/it'\"'\"'s/python' \"$0\" \"$@\"\n",
            Some("/a b/it's/python"),
        );
        check("#!/bin/sh\n'''exec' \"/a\\\"b/python\" \"$0\"\n", Some("/a\"b/python"));
    }

    #[test]
    fn what_names_no_interpreter() {
        check("", None);
        check("import sys\n", None);
        check("#!\n", None);
        check("#!/usr/bin/env python3\n", None);
        check("#!python3\n", None);
        check("#!/bin/sh\nexec python3\n", None);
    }

    #[test]
    fn the_daemon_keeps_little_of_the_environment() {
        for name in [
            "HOME",
            "PATH",
            "LC_ALL",
            "XDG_CACHE_HOME",
            "KACHE_LOG",
            "https_proxy",
            "AWS_PROFILE",
        ] {
            assert!(is_kept(OsStr::new(name)), "{name}");
        }
        for name in [
            "CARGO",
            "MAKEFLAGS",
            "RUSTC_WRAPPER",
            "LD_PRELOAD",
            "PYTHONPATH",
            "CARGO_PKG_NAME",
            "PATHS",
        ] {
            assert!(!is_kept(OsStr::new(name)), "{name}");
        }
    }
}
