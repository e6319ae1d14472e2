//! RUN: the compiler as a child of this process, its output forwarded as it comes and kept for the engine.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::io::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::frame::{Done, Replacement, Run, WAIT_FOR_CLOSE};
use crate::observe::Observation;
use crate::replace::replace;
use crate::signals::Guard;
use crate::socket::Channel;
use crate::sys::{self, Ended, PollFd};

/// What is kept for DONE; a compile that prints more is not recorded.
const MAX_KEPT: usize = (64 << 20) - 4096;
/// A line longer than this is forwarded in pieces.
const MAX_LINE: usize = 1 << 20;
/// Something that outlives rustc may hold its pipes: wait for so much silence, and never longer than the limit.
const SILENCE: Duration = Duration::from_millis(100);
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
const CLOSE_LIMIT: Duration = Duration::from_secs(120);

/// Run the compiler, report to the engine, and give the wait status.
///
/// An error means that nothing was spawned.
pub fn run(run: &Run, sigpipe: usize, channel: &mut Channel) -> io::Result<i32> {
    for path in &run.unlink {
        let _ = fs::remove_file(OsStr::from_bytes(path));
    }
    let signals = Guard::install();
    let observation = Observation::start(&run.filter);
    let started = Instant::now();
    let (pid, mut relay) = match spawn(run, sigpipe, observation.as_ref()) {
        Ok(spawned) => spawned,
        Err(error) => {
            signals.child_ended();
            return Err(error);
        }
    };
    signals.child_is(pid);
    let ended = relay.until_end(pid);
    signals.child_ended();
    let wall = started.elapsed();
    let observed = observation.map_or_else(Vec::new, |observation| observation.log());
    report(run, &relay, &ended, (wall, &observed), channel);
    Ok(ended.status)
}

fn spawn<'a>(run: &'a Run, sigpipe: usize, observation: Option<&Observation>) -> io::Result<(i32, Relay<'a>)> {
    let mut command = Command::new(OsStr::from_bytes(&run.argv[0]));
    command.args(run.argv[1..].iter().map(|word| OsStr::from_bytes(word)));
    for name in &run.env_unset {
        command.env_remove(OsStr::from_bytes(name));
    }
    for pair in &run.env_set {
        if let Some(equals) = pair.iter().position(|byte| *byte == b'=') {
            command.env(
                OsStr::from_bytes(&pair[..equals]),
                OsStr::from_bytes(&pair[equals + 1..]),
            );
        }
    }
    if let Some(observation) = observation {
        command.envs(observation.environment(env::var_os("LD_PRELOAD").as_deref()));
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let launcher = sys::own_pid();
    let mask = sys::signal_mask();
    unsafe {
        command.pre_exec(move || {
            if !sys::die_with_parent(launcher) {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe));
            }
            // std gives children a default SIGPIPE and an empty mask; rustc gets what the launcher was given.
            sys::set_disposition(sys::SIGPIPE, sigpipe);
            sys::set_signal_mask(&mask);
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    let relay = Relay {
        stdout: child
            .stdout
            .take()
            .map(|pipe| unsafe { File::from_raw_fd(pipe.into_raw_fd()) }),
        stderr: child
            .stderr
            .take()
            .map(|pipe| unsafe { File::from_raw_fd(pipe.into_raw_fd()) }),
        replacements: &run.replacements,
        line: Vec::new(),
        kept: Some(Kept::default()),
    };
    Ok((child.id() as i32, relay))
}

fn report(run: &Run, relay: &Relay, ended: &Ended, (wall, observed): (Duration, &[u8]), channel: &mut Channel) {
    let kept = match &relay.kept {
        Some(kept) => kept,
        None => return, // closing without DONE: not recorded
    };
    let done = Done {
        token: run.token,
        wait_status: ended.status,
        user_us: ended.user_us,
        sys_us: ended.system_us,
        max_rss_kib: ended.max_rss_kib,
        wall_us: wall.as_micros() as u64,
        stdout: &kept.stdout,
        stderr: &kept.stderr,
        observed,
    };
    let sent = done.encode().map_or(false, |frame| channel.send(&frame).is_ok());
    if sent && run.flags & WAIT_FOR_CLOSE != 0 {
        channel.wait_for_close(CLOSE_LIMIT);
    }
}

/// End this process as the compiler ended.
pub fn end_like(status: i32) -> ! {
    let signal = status & 0x7f;
    if signal == 0 {
        std::process::exit(status >> 8 & 0xff);
    }
    sys::die_by(signal);
    std::process::exit(128 + signal)
}

/// Both streams unreplaced, as the engine records them.
#[derive(Default)]
struct Kept {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// The compiler's two pipes and what became of their bytes.
struct Relay<'a> {
    stdout: Option<File>,
    stderr: Option<File>,
    replacements: &'a [Replacement],
    /// The piece of stderr after its last newline, not forwarded yet.
    line: Vec<u8>,
    /// `None` once there was too much of it or a reader went away.
    kept: Option<Kept>,
}

impl Relay<'_> {
    /// Forward until both pipes have ended and the child too.
    fn until_end(&mut self, pid: i32) -> Ended {
        let process = sys::process_fd(pid);
        let mut buffer = vec![0; 64 << 10];
        let mut ended: Option<(Ended, Instant)> = None;
        while self.stdout.is_some() || self.stderr.is_some() {
            let watched = if ended.is_none() { process.as_ref() } else { None };
            let mut fds = [
                pollable(self.stdout.as_ref()),
                pollable(self.stderr.as_ref()),
                pollable(watched),
            ];
            let patience_ms = if watched.is_some() {
                -1
            } else {
                SILENCE.as_millis() as i32
            };
            let ready = sys::poll(&mut fds, patience_ms);
            if fds[0].revents != 0 {
                self.forward_stdout(&mut buffer);
            }
            if fds[1].revents != 0 {
                self.forward_stderr(&mut buffer);
            }
            match &ended {
                Some((_, at)) if ready == 0 || at.elapsed() > DRAIN_LIMIT => break,
                None if fds[2].revents != 0 || ready == 0 => {
                    ended = sys::wait_for(pid, false).map(|found| (found, Instant::now()));
                }
                _ => {}
            }
        }
        self.flush_line();
        let lost = Ended {
            status: 1 << 8,
            user_us: 0,
            system_us: 0,
            max_rss_kib: 0,
        };
        ended
            .map(|(found, _)| found)
            .or_else(|| sys::wait_for(pid, true))
            .unwrap_or(lost)
    }

    fn forward_stdout(&mut self, buffer: &mut [u8]) {
        let count = read_some(&mut self.stdout, buffer);
        self.keep(&buffer[..count], |kept| &mut kept.stdout);
        if sys::write_all(1, &buffer[..count]).is_err() {
            self.stdout = None; // the reader has gone: rustc learns it as it would without us
            self.kept = None;
        }
    }

    fn forward_stderr(&mut self, buffer: &mut [u8]) {
        let count = read_some(&mut self.stderr, buffer);
        let fresh = &buffer[..count];
        self.keep(fresh, |kept| &mut kept.stderr);
        match fresh.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => {
                self.line.extend_from_slice(&fresh[..=newline]);
                self.flush_line();
                self.line.extend_from_slice(&fresh[newline + 1..]);
            }
            None => self.line.extend_from_slice(fresh),
        }
        if self.line.len() > MAX_LINE {
            self.flush_line();
        }
    }

    fn flush_line(&mut self) {
        let written = if self.replacements.is_empty() {
            sys::write_all(2, &self.line)
        } else {
            sys::write_all(2, &replace(&self.line, self.replacements))
        };
        self.line.clear();
        if written.is_err() {
            self.stderr = None;
            self.kept = None;
        }
    }

    fn keep(&mut self, fresh: &[u8], stream: fn(&mut Kept) -> &mut Vec<u8>) {
        if let Some(kept) = &mut self.kept {
            if kept.stdout.len() + kept.stderr.len() + fresh.len() > MAX_KEPT {
                self.kept = None;
            } else {
                stream(kept).extend_from_slice(fresh);
            }
        }
    }
}

fn pollable(file: Option<&File>) -> PollFd {
    PollFd {
        fd: file.map_or(-1, |file| file.as_raw_fd()),
        events: sys::POLLIN,
        revents: 0,
    }
}

/// Read once; the pipe becomes `None` at its end.
fn read_some(pipe: &mut Option<File>, buffer: &mut [u8]) -> usize {
    let count = loop {
        match pipe.as_mut().map_or(Ok(0), |file| file.read(buffer)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break 0,
            Ok(count) => break count,
        }
    };
    if count == 0 {
        *pipe = None;
    }
    count
}
