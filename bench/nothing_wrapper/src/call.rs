//! The little of a rustc command line that names a unit and its outputs.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// One call of the wrapper.
pub struct Call {
    crate_name: Option<String>,
    extra_filename: String,
    argv_hash: u64,
    /// Where rustc writes; `None` for probes (`-vV`, `--print`).
    pub out_dir: Option<PathBuf>,
    /// What a build script pipes into rustc to see whether it compiles: no unit, and its words do not say what it is.
    pub is_piped: bool,
}

impl Call {
    pub fn parse(rustc: &OsString, args: &[OsString]) -> Call {
        let mut call = Call {
            crate_name: None,
            extra_filename: String::new(),
            argv_hash: fnv(rustc, args),
            out_dir: None,
            is_piped: args.iter().any(|arg| arg == "-")
                && !args
                    .iter()
                    .any(|arg| arg.as_bytes().starts_with(b"--print")),
        };
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let text = arg.to_string_lossy();
            match text.as_ref() {
                "--crate-name" => {
                    call.crate_name = rest.next().map(|name| name.to_string_lossy().into_owned())
                }
                "--out-dir" => call.out_dir = rest.next().map(PathBuf::from),
                "-C" => {
                    let value = rest
                        .next()
                        .map(|value| value.to_string_lossy().into_owned())
                        .unwrap_or_default();
                    if let Some(extra) = value.strip_prefix("extra-filename=") {
                        call.extra_filename = extra.to_string();
                    }
                }
                _ => {}
            }
        }
        call
    }

    /// The directory name of this call's recording: the same in every checkout for a unit, one per argv for a probe.
    pub fn key(&self) -> String {
        match (&self.crate_name, &self.out_dir) {
            (Some(name), Some(_)) => format!("{name}{}", self.extra_filename),
            _ => format!("probe-{:016x}", self.argv_hash),
        }
    }

    /// Whether a file of the out dir is an output of this unit.
    pub fn owns(&self, file_name: &str) -> bool {
        let Some(name) = &self.crate_name else {
            return false;
        };
        let stem = format!("{name}{}", self.extra_filename);
        [stem.clone(), format!("lib{stem}")].iter().any(|stem| {
            file_name
                .strip_prefix(stem.as_str())
                .is_some_and(|tail| tail.is_empty() || tail.starts_with('.'))
        })
    }
}

/// FNV-1a: enough to tell three probes apart, and no dependency.
fn fnv(rustc: &OsString, args: &[OsString]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for word in std::iter::once(rustc).chain(args) {
        for byte in word.as_bytes().iter().chain(&[0]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
