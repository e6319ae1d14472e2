//! Notes to the launchers to come, beside the daemon's socket: for a minute they need not learn the same again.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::{Duration, SystemTime};

const COUNTS: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
pub enum Marker {
    /// The daemon could not be started: do not try.
    Failed,
    /// It did not answer: do not ask.
    Silent,
}

impl Marker {
    pub fn is_fresh(self, place: &OsStr) -> bool {
        let noted = fs::symlink_metadata(self.path(place)).and_then(|facts| facts.modified());
        // A date in the future (the clock went back) counts for nothing.
        noted
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok())
            .map_or(false, |age| age < COUNTS)
    }

    pub fn write(self, place: &OsStr) {
        let path = self.path(place);
        let _ = fs::remove_file(&path); // and create anew: no link that somebody put there is followed
        if let Ok(mut file) = OpenOptions::new().write(true).create_new(true).open(&path) {
            let _ = file.write_all(b"compiles do without the daemon until a minute after this file's date\n");
        }
    }

    fn path(self, place: &OsStr) -> OsString {
        let mut path = place.to_os_string();
        path.push(match self {
            Marker::Failed => ".failed",
            Marker::Silent => ".silent",
        });
        path
    }
}
