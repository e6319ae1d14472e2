//! A RUSTC_WRAPPER that does nothing but put recorded outputs back: the floor (F) for any per-unit compile cache.
//!
//! `NOTHING_MODE=record` runs rustc and keeps, per unit, its outputs, what it printed and the call itself (argv, cwd,
//! env: the benchmark replays those calls against kache). `NOTHING_MODE=replay` looks a unit up by crate name and
//! metadata hash, which cargo makes the same in every checkout, and puts the outputs into `--out-dir`. It hashes nothing
//! and checks nothing: its answers are right only for unchanged sources, so it is a yardstick and never a cache.
//!
//! `NOTHING_DIR` holds the recordings, `NOTHING_ROOT` is the checkout's root (paths below it are rewritten in `.d`
//! files and messages), `NOTHING_LOG`, if set, gets one line per call.

mod call;
mod recording;

use std::env;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{exit, Command};

use call::Call;
use recording::Recording;

fn main() {
    let mut args = env::args_os().skip(1);
    let Some(rustc) = args.next() else {
        eprintln!("usage: NOTHING_MODE=record|replay NOTHING_DIR=… NOTHING_ROOT=… nothing-wrapper RUSTC ARGS…");
        exit(2);
    };
    let args: Vec<OsString> = args.collect();
    let (Some(dir), Some(root)) = (env::var_os("NOTHING_DIR"), env::var_os("NOTHING_ROOT")) else {
        run_plain(&rustc, &args)
    };
    let call = Call::parse(&rustc, &args);
    log_call(&call);
    if call.is_piped {
        run_plain(&rustc, &args) // part of running the build script, which runs here as under every cache
    }
    let recording = Recording::new(PathBuf::from(dir).join(call.key()), root);
    let replay = env::var_os("NOTHING_MODE").is_some_and(|mode| mode == "replay");
    let done = if replay {
        recording.replay(&call)
    } else {
        recording.record(&call, &rustc, &args)
    };
    match done {
        Ok(code) => exit(code),
        Err(error) => {
            // A unit nobody recorded: the benchmark counts these lines, a build with one is no floor.
            eprintln!("nothing-wrapper: {}: {error}", call.key());
            run_plain(&rustc, &args)
        }
    }
}

fn run_plain(rustc: &OsString, args: &[OsString]) -> ! {
    let error = Command::new(rustc).args(args).exec();
    eprintln!("nothing-wrapper: cannot run {rustc:?}: {error}");
    exit(127)
}

fn log_call(call: &Call) {
    let Some(path) = env::var_os("NOTHING_LOG") else {
        return;
    };
    if let Ok(mut log) = OpenOptions::new().append(true).create(true).open(path) {
        let _ = log.write_all(format!("{}\n", call.key()).as_bytes());
    }
}
