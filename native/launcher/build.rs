//! Compiles the observer (observer/lib.rs), which the launcher carries in itself, with the rustc that builds the launcher.
//!
//! Where that cannot be, the launcher is built without one and says why (`kache --observer`, `kache doctor`).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCES: [&str; 8] = ["lib", "sys", "log", "environment", "files", "exec", "elf", "unwind"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    carry_payload();
    for name in SOURCES {
        println!("cargo:rerun-if-changed=observer/{}.rs", name);
    }
    let library = PathBuf::from(variable("OUT_DIR")).join("observer.so");
    let why = compile(&library).err().unwrap_or_default();
    if !why.is_empty() {
        fs::write(&library, b"").expect("OUT_DIR can be written");
    }
    let content = fs::read(&library).expect("it was written just now");
    link_unwinder();
    println!("cargo:rustc-env=KACHE_OBSERVER={}", library.display());
    println!("cargo:rustc-env=KACHE_OBSERVER_DIGEST={:016x}", fnv1a64(&content));
    println!("cargo:rustc-env=KACHE_OBSERVER_OFF={}", why.replace('\n', " "));
}

/// The wheel that a release's launcher carries in itself (tools/archive.py); any other launcher carries nothing.
fn carry_payload() {
    println!("cargo:rerun-if-env-changed=KACHE_PAYLOAD");
    let carried = PathBuf::from(variable("OUT_DIR")).join("payload");
    let wheel = PathBuf::from(variable("KACHE_PAYLOAD"));
    let content = match wheel.file_name() {
        Some(_) => fs::read(&wheel).expect("KACHE_PAYLOAD names a wheel"),
        None => Vec::new(),
    };
    fs::write(&carried, content).expect("OUT_DIR can be written");
    let name = wheel.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !name.is_empty() {
        println!("cargo:rerun-if-changed={}", wheel.display());
    }
    println!("cargo:rustc-env=KACHE_PAYLOAD_FILE={}", carried.display());
    println!("cargo:rustc-env=KACHE_PAYLOAD_NAME={}", name);
}

/// The unwinder out of the compiler's archive: one shared library less to find and bind at each start (measured: 0.95 ms
/// for 1.10). Without the archive the launcher takes the shared one, as any Rust program does.
fn link_unwinder() {
    let native = variable("HOST") == variable("TARGET");
    if !native || variable("CARGO_CFG_TARGET_OS") != "linux" || variable("CARGO_CFG_TARGET_ENV") != "gnu" {
        return;
    }
    let asked = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output();
    let answer = asked.map(|done| String::from_utf8_lossy(&done.stdout).into_owned());
    let archive = PathBuf::from(answer.unwrap_or_default().trim_end());
    // A compiler that has none answers with the bare name.
    if let (true, Some(directory)) = (archive.is_absolute() && archive.is_file(), archive.parent()) {
        println!("cargo:rustc-link-search=native={}", directory.display());
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}

fn compile(library: &Path) -> Result<(), String> {
    let target = variable("TARGET");
    if variable("CARGO_CFG_TARGET_OS") != "linux" || variable("CARGO_CFG_TARGET_ENV") != "gnu" {
        return Err(format!("{} has no glibc to stand in front of", target));
    }
    if !["x86_64", "aarch64"].contains(&variable("CARGO_CFG_TARGET_ARCH").as_str()) {
        return Err(format!("{} is not an architecture it is written for", target));
    }
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .args([
            "--edition=2021",
            "--crate-type=cdylib",
            "--crate-name=observer",
            "--target",
            &target,
        ])
        .args([
            "-Copt-level=3",
            "-Cpanic=abort",
            "-Clto=fat",
            "-Ccodegen-units=1",
            "-Cstrip=symbols",
        ])
        // The unwinder walks over its functions to those that call them.
        .arg("-Cforce-unwind-tables=yes")
        // No libc of its own, and names bound when first called: it takes whatever libc the program has.
        .args([
            "-Crelro-level=partial",
            "-Clink-arg=-nostdlib",
            "-Clink-arg=-Wl,--as-needed",
            "-Clink-arg=-ldl",
        ])
        .arg("-o")
        .arg(library)
        .arg("observer/lib.rs");
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={}", linker));
    }
    let done = rustc
        .output()
        .map_err(|error| format!("rustc does not run: {}", error))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let first = said
        .lines()
        .find(|line| line.starts_with("error"))
        .unwrap_or("no word why");
    Err(format!(
        "it does not compile with this rustc (1.88 or newer is needed): {}",
        first
    ))
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// FNV-1a, 64 bits. Source: draft-eastlake-fnv, section 2.
fn fnv1a64(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
