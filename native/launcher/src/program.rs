//! Is a word a compiler to run, one of our own verbs, or kache itself again?

use std::env;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use crate::sys;

/// Every verb of the command line, those to come included; a program of such a name needs its path.
const VERBS: [&str; 24] = [
    "stats",
    "list",
    "why-miss",
    "gc",
    "purge",
    "daemon",
    "doctor",
    "help",
    "init",
    "config",
    "report",
    "monitor",
    "clean",
    "sync",
    "cargo",
    "prefetch",
    "completions",
    "remote",
    "keys",
    "planner",
    "debug",
    "save-manifest",
    "login",
    "logout",
];

/// Parts of compilers' names: `gcc-12` and `x86_64-linux-gnu-g++` have them, too.
const COMPILERS: [&[u8]; 6] = [b"rustc", b"-driver", b"gcc", b"clang", b"g++", b"c++"];

/// Whether the word is run as a program: it has a `/`, or it is called as compilers are, PATH knows it and it is no verb.
///
/// A mistyped verb is never run, whatever lies on PATH: `kache rm serde`.
pub fn is_program(word: &[u8], arguments: &[&[u8]]) -> bool {
    if word.is_empty() || word[0] == b'-' {
        return false;
    }
    if word.contains(&b'/') {
        return true;
    }
    let is_verb = VERBS.iter().any(|verb| verb.as_bytes() == word);
    !is_verb && is_called_as_a_compiler(word, arguments) && on_path(word).is_some()
}

/// By a compiler's name, or in words that cargo says to `RUSTC=name` and no verb has.
fn is_called_as_a_compiler(word: &[u8], arguments: &[&[u8]]) -> bool {
    let named = |part: &[u8]| word.windows(part.len()).any(|piece| piece == part);
    let told = |argument: &&[u8]| {
        matches!(*argument, b"-vV" | b"--crate-name" | b"--print") || argument.starts_with(b"--print=")
    };
    word == b"cc" || COMPILERS.iter().any(|part| named(part)) || arguments.iter().any(told)
}

/// Whether the word leads to the launcher itself (RUSTC_WRAPPER and RUSTC_WORKSPACE_WRAPPER are both kache).
pub fn is_self(word: &[u8], own_name: &[u8]) -> bool {
    let name = base_name(word);
    if name != b"kache" && name != base_name(own_name) {
        return false;
    }
    let found = if word.contains(&b'/') {
        CString::new(word).ok()
    } else {
        on_path(word)
    };
    let same = || {
        let other = fs::metadata(OsStr::from_bytes(found.as_ref()?.as_bytes())).ok()?;
        let own = fs::metadata(env::current_exe().ok()?).ok()?;
        Some((other.dev(), other.ino()) == (own.dev(), own.ino()))
    };
    same().unwrap_or(false)
}

fn base_name(word: &[u8]) -> &[u8] {
    word.rsplit(|byte| *byte == b'/').next().unwrap_or(word)
}

fn on_path(word: &[u8]) -> Option<CString> {
    let path = env::var_os("PATH")?;
    path.as_bytes().split(|byte| *byte == b':').find_map(|directory| {
        let directory = if directory.is_empty() { b"." } else { directory };
        let candidate = CString::new([directory, b"/", word].concat()).ok()?;
        let runs = sys::is_executable(&candidate)
            && fs::metadata(OsStr::from_bytes(candidate.as_bytes())).map_or(false, |facts| facts.is_file());
        if runs {
            Some(candidate)
        } else {
            None
        }
    })
}
