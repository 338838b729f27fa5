//! Compiles the kernel program and generates its skeleton.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use libbpf_cargo::SkeletonBuilder;

const PACKAGES: &str = "apt-get install clang libelf-dev zlib1g-dev pkg-config";

fn main() {
    println!("cargo::rerun-if-changed=src/bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    if let Err(message) = build() {
        println!("cargo::error={message}");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    let clang = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let found = Command::new(&clang).arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        return Err(format!(
            "the kernel program needs `{}`, which does not run; install clang: {PACKAGES}",
            clang.display()
        ));
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    // -mcpu=v3: atomic fetch-and-add, which numbers the records, is not in the older sets.
    let mut clang_args = vec!["-mcpu=v3", "-Wall", "-Wno-unused-function", "-Werror"];
    // Debian and Ubuntu keep <asm/types.h> in the directory of the architecture.
    let multiarch = "/usr/include/x86_64-linux-gnu";
    if Path::new(multiarch).is_dir() {
        clang_args.extend(["-I", multiarch]);
    }
    let mut programs = vec!["capture"];
    if env::var_os("CARGO_FEATURE_BENCH").is_some() {
        programs.push("empty");
    }
    for program in programs {
        SkeletonBuilder::new()
            .source(format!("src/bpf/{program}.bpf.c"))
            .clang(&clang)
            .clang_args(&clang_args)
            .build_and_generate(out.join(format!("{program}.skel.rs")))
            .map_err(|error| {
                format!("{error:#}; the packages needed: {PACKAGES}").replace('\n', " | ")
            })?;
    }
    Ok(())
}
