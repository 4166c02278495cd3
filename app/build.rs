//! Names the build: the release and the revision of the source.
#![allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn main() {
    println!("cargo::rerun-if-env-changed=BELLHOP_REVISION");
    // Written by each commit and each change of branch.
    if let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={head}");
    }
    let given = std::env::var("BELLHOP_REVISION").ok().filter(|given| !given.is_empty());
    // Without the prefix of settings: cargo gives it to the programs that it runs, too.
    let revision = given.or_else(|| git(&["rev-parse", "--short=10", "HEAD"]));
    let version = env!("CARGO_PKG_VERSION");
    match revision {
        Some(revision) => println!("cargo::rustc-env=BUILD_VERSION={version}+{revision}"),
        None => println!("cargo::rustc-env=BUILD_VERSION={version}"),
    }
}
