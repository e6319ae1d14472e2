//! kache's native launcher: `RUSTC_WRAPPER=kache` calls it once for every rustc call.
//!
//! It holds no policy. It describes the call to an engine (the daemon, or one it starts for this call), does what the
//! answer says, and reports how the compile ended. docs/explanation/protocol.md is its specification. Whatever goes
//! wrong on the cache's side, the compile goes on as plain rustc.

// std's own start would ignore SIGPIPE before we can see what the caller had set, and rustc must inherit that.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code))]

mod frame;
mod marker;
mod observe;
mod payload;
mod program;
mod python;
mod replace;
mod run;
mod signals;
mod socket;
mod sys;

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::raw::c_char;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::exit;
use std::time::Duration;

use frame::{Answer, Request};
use marker::Marker;
use python::VERSION;
use socket::{Attempt, Channel};

/// A daemon silent for so long is stopped or stuck; one that means to wait longer says so (WAIT).
const DAEMON_PATIENCE: Duration = Duration::from_secs(20);
/// An engine of our own has an interpreter to start, maybe on a machine with hundreds of them.
const ENGINE_PATIENCE: Duration = Duration::from_secs(60);

#[cfg(not(test))]
#[no_mangle]
extern "C" fn main(_: std::os::raw::c_int, argv: *const *const c_char) -> std::os::raw::c_int {
    sys::fill_standard_fds();
    let words = unsafe { sys::words(argv) };
    let mut first = 1;
    // A wrapper of a wrapper: kache kache rustc … is kache rustc ….
    while first < words.len() && program::is_self(words[first], words[0]) {
        first += 1;
    }
    let rest = words.get(first..).unwrap_or(&[]);
    match rest.first() {
        Some(word) if program::is_program(word, &rest[1..]) => {
            // A write to an engine that died must be an error, not our end.
            let sigpipe = sys::set_disposition(sys::SIGPIPE, sys::SIG_IGN);
            Call {
                argv: rest,
                pointers: unsafe { argv.add(first) },
                sigpipe,
            }
            .serve()
        }
        Some(&(b"--version" | b"-V")) if rest.len() == 1 => {
            let _ = sys::write_all(1, format!("kache {}\n", VERSION).as_bytes());
            exit(0)
        }
        Some(&b"--observer") if rest.len() == 1 => {
            let _ = sys::write_all(1, format!("{}\n", observe::status()).as_bytes());
            exit(0)
        }
        _ => command_line(rest),
    }
}

fn command_line(words: &[&[u8]]) -> ! {
    let why = match python::find().or_else(payload::install) {
        Some(python) => {
            let error = python::exec_cli(&python, words);
            format!("{}: {}", python.to_string_lossy(), error)
        }
        None => "there is no kache-python script beside the launcher, and KACHE_PYTHON is not set".to_string(),
    };
    let fix = "install kache again with pip, pipx or uv tool, or set KACHE_PYTHON; compiles go on without the cache";
    fail("no-python", "kache has no Python to run this command", &why, fix, 1)
}

fn fail(code: &str, what: &str, why: &str, fix: &str, status: i32) -> ! {
    let _ = writeln!(io::stderr(), "error[{}]: {}\nwhy: {}\nfix: {}", code, what, why, fix);
    exit(status)
}

fn switch(name: &str) -> Option<bool> {
    let value = sys::variable(name)?.to_string_lossy().trim().to_ascii_lowercase();
    match value.as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// One compile.
struct Call<'a> {
    /// The compiler and its arguments.
    argv: &'a [&'static [u8]],
    /// The same as exec takes them.
    pointers: *const *const c_char,
    /// The caller's disposition of SIGPIPE, which rustc inherits.
    sigpipe: usize,
}

impl Call<'_> {
    fn serve(self) -> ! {
        if switch("KACHE_DISABLED") == Some(true) {
            self.pass();
        }
        let request = match self.request(0) {
            Some(request) => request,
            None => self.pass(),
        };
        let python = if switch("KACHE_DAEMON") == Some(false) {
            python::find()
        } else {
            match self.daemon() {
                Daemon::Answers(stream, place) => {
                    self.converse(stream, &request, DAEMON_PATIENCE, Some(&place));
                    python::find() // it was busy
                }
                Daemon::None(python) => python,
            }
        };
        if let Some(stream) = python.and_then(|python| python::start_engine(&python).ok()) {
            self.converse(stream, &request, ENGINE_PATIENCE, None);
        }
        self.pass()
    }

    fn request(&self, further_flags: u32) -> Option<Vec<u8>> {
        let terminals = [(2, frame::STDERR_IS_TERMINAL), (1, frame::STDOUT_IS_TERMINAL)];
        let flags = terminals
            .iter()
            .filter(|(fd, _)| sys::is_terminal(*fd))
            .map(|(_, flag)| flag)
            .sum::<u32>()
            | further_flags;
        let cwd = env::current_dir().unwrap_or_default(); // empty when deleted; the engine passes then
        Request {
            pid: sys::own_pid() as u32,
            ppid: sys::parent_pid() as u32,
            umask: sys::current_umask(),
            flags,
            mount_ns: sys::mount_namespace(),
            launcher_version: VERSION,
            cwd: cwd.as_os_str().as_bytes(),
            argv: self.argv,
            env: &sys::environment(),
        }
        .encode()
    }

    /// The daemon, started if there is none; else the Python for an engine of our own.
    fn daemon(&self) -> Daemon {
        let place = match socket::place() {
            Some(place) if !Marker::Silent.is_fresh(&place) => place,
            _ => return Daemon::None(python::find()),
        };
        match socket::connect(&place) {
            Attempt::Connected(stream) => Daemon::Answers(stream, place),
            Attempt::Unusable => Daemon::None(python::find()),
            Attempt::Absent => {
                let python = python::find();
                if let (Some(python), true) = (
                    &python,
                    self.is_question() && socket::cache_is_new() && !socket::may_name_a_remote(),
                ) {
                    self.ask_aside(python, &place)
                }
                match python.as_ref().and_then(|python| python::start_daemon(python, &place)) {
                    Some(stream) => Daemon::Answers(stream, place),
                    None => Daemon::None(python),
                }
            }
        }
    }

    /// Whether it compiles nothing: cargo asks who the compiler is, and what it can do.
    fn is_question(&self) -> bool {
        self.argv
            .iter()
            .any(|word| *word == b"-vV" || word.starts_with(b"--print"))
    }

    /// Cargo's questions to a new cache without a remote, which can know no answer: rustc gives it, while a process aside starts the daemon
    /// and asks in our place, so that the daemon knows this toolchain when the first compile comes.
    fn ask_aside(&self, python: &OsStr, place: &OsStr) -> ! {
        let request = self.request(frame::ASIDE);
        if sys::step_aside() {
            if Path::new(python).is_absolute() {
                let _ = env::set_current_dir("/"); // the checkout may be unmounted meanwhile
            }
            let stream = python::start_daemon(python, place);
            let channel = stream.map(|stream| Channel::new(stream, DAEMON_PATIENCE));
            if let (Some(Ok(mut channel)), Some(request)) = (channel, request) {
                let _ = channel.send(&request).and_then(|()| channel.answer());
            }
            exit(0)
        }
        self.pass()
    }

    /// Ask and do as told. Returns only if the engine will not serve this call.
    fn converse(&self, stream: UnixStream, request: &[u8], patience: Duration, daemon: Option<&OsStr>) {
        let mut channel = match Channel::new(stream, patience) {
            Ok(channel) => channel,
            Err(_) => self.pass(),
        };
        let answer = channel.send(request).and_then(|()| channel.answer());
        match answer {
            Ok(Answer::Hit {
                exit_code,
                stdout,
                stderr,
            }) => {
                let _ = sys::write_all(1, &stdout);
                let _ = sys::write_all(2, &stderr);
                exit(exit_code as i32)
            }
            Ok(Answer::Run(run)) => {
                if let Ok(status) = run::run(&run, self.sigpipe, &mut channel) {
                    run::end_like(status)
                }
                self.pass()
            }
            Ok(Answer::Busy) => (),
            Ok(_) => self.pass(),
            Err(error) => {
                let silent = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                if let (true, Some(place)) = (silent, daemon) {
                    Marker::Silent.write(place); // a stopped daemon must not cost every compile that long
                }
                self.pass()
            }
        }
    }

    /// Become the compiler, as if kache were not there.
    fn pass(&self) -> ! {
        sys::set_disposition(sys::SIGPIPE, self.sigpipe);
        let error = unsafe { sys::exec(self.pointers) };
        let status = if error.raw_os_error() == Some(sys::ENOENT) {
            127
        } else {
            126
        };
        let what = format!("could not run {}", String::from_utf8_lossy(self.argv[0]));
        fail(
            "no-compiler",
            &what,
            &error.to_string(),
            "see that the compiler exists and may be executed",
            status,
        )
    }
}

enum Daemon {
    Answers(UnixStream, OsString),
    None(Option<OsString>),
}
