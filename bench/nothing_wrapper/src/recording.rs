//! One unit's recording: a directory with `out/` (its outputs), `stdout`, `stderr`, `root`, and the call itself.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::call::Call;

pub struct Recording {
    dir: PathBuf,
    root: OsString,
}

impl Recording {
    pub fn new(dir: PathBuf, root: OsString) -> Recording {
        Recording { dir, root }
    }

    /// Run rustc, keep what it made. Not timed by anybody, so it waits for rustc to end before it forwards its output.
    pub fn record(&self, call: &Call, rustc: &OsString, args: &[OsString]) -> io::Result<i32> {
        let output = Command::new(rustc)
            .args(args)
            .stdin(std::process::Stdio::inherit())
            .output()?;
        io::stdout().write_all(&output.stdout)?;
        io::stderr().write_all(&output.stderr)?;
        if !output.status.success() {
            return Ok(output.status.code().unwrap_or(101));
        }
        let kept = self.dir.join("out");
        let _ = fs::remove_dir_all(&self.dir);
        fs::create_dir_all(&kept)?;
        if let Some(out_dir) = &call.out_dir {
            for entry in fs::read_dir(out_dir)? {
                let entry = entry?;
                if call.owns(&entry.file_name().to_string_lossy()) {
                    fs::copy(entry.path(), kept.join(entry.file_name()))?;
                }
            }
        }
        fs::write(self.dir.join("stdout"), &output.stdout)?;
        fs::write(self.dir.join("stderr"), &output.stderr)?;
        fs::write(self.dir.join("root"), self.root.as_bytes())?;
        fs::write(
            self.dir.join("cwd"),
            env::current_dir()?.as_os_str().as_bytes(),
        )?;
        fs::write(
            self.dir.join("argv"),
            nul_joined(std::iter::once(rustc).chain(args).cloned()),
        )?;
        fs::write(
            self.dir.join("env"),
            nul_joined(env::vars_os().map(|(name, value)| {
                let mut pair = name;
                pair.push("=");
                pair.push(value);
                pair
            })),
        )?;
        Ok(0)
    }

    /// Put the outputs into this call's `--out-dir` and print what rustc printed.
    ///
    /// As kache restores them: what nothing writes in place is a hardlink with its old date; `.rmeta` and whatever a
    /// linker writes is a private copy dated now, which is what cargo's freshness asks for; `.d` gets this checkout's paths.
    pub fn replay(&self, call: &Call) -> io::Result<i32> {
        let recorded_root = fs::read(self.dir.join("root"))?;
        if let Some(out_dir) = &call.out_dir {
            for entry in fs::read_dir(self.dir.join("out"))? {
                let entry = entry?;
                let target = out_dir.join(entry.file_name());
                match fs::remove_file(&target) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => self.place(&entry.path(), &target, &recorded_root)?,
                }
            }
        }
        io::stdout().write_all(&self.moved(fs::read(self.dir.join("stdout"))?, &recorded_root))?;
        io::stderr().write_all(&self.moved(fs::read(self.dir.join("stderr"))?, &recorded_root))?;
        Ok(0)
    }

    fn place(&self, kept: &Path, target: &Path, recorded_root: &[u8]) -> io::Result<()> {
        match kept.extension().and_then(OsStr::to_str) {
            Some("d") => fs::write(target, self.moved(fs::read(kept)?, recorded_root)),
            Some("rlib" | "a") => fs::hard_link(kept, target),
            _ => fs::copy(kept, target).map(|_| ()),
        }
    }

    /// The same text with this checkout's root for the recorded one.
    fn moved(&self, text: Vec<u8>, recorded_root: &[u8]) -> Vec<u8> {
        let own = self.root.as_bytes();
        if recorded_root == own || recorded_root.is_empty() {
            return text;
        }
        let mut moved = Vec::with_capacity(text.len());
        let mut rest = text.as_slice();
        while let Some(at) = rest
            .windows(recorded_root.len())
            .position(|window| window == recorded_root)
        {
            moved.extend_from_slice(&rest[..at]);
            moved.extend_from_slice(own);
            rest = &rest[at + recorded_root.len()..];
        }
        moved.extend_from_slice(rest);
        moved
    }
}

fn nul_joined(words: impl Iterator<Item = OsString>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in words {
        bytes.extend_from_slice(&word.into_vec());
        bytes.push(0);
    }
    bytes
}
