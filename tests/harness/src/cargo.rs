//! Cargo, started by a program that cargo has started.

use std::process::Command;

/// What cargo tells a program of its package; the last where the package has a build script.
const TOLD: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "OUT_DIR"];

/// Cargo as a shell starts it.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    as_from_a_shell(&mut command);
    command
}

/// Takes from a command what cargo has told this program of its package: the build scripts of some
/// dependencies look at it, and all above them, the SQL engine too, would be built once more.
pub fn as_from_a_shell(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let of_package = |name: &str| TOLD.iter().any(|prefix| name.starts_with(prefix));
        if name.to_str().is_some_and(of_package) {
            command.env_remove(name);
        }
    }
}
