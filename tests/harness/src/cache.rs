//! The folder of build output and downloads.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// Where build output and downloads stay: `BELLHOP_CACHE`, or `bellhop` in the user's cache.
///
/// # Errors
/// When neither it nor a home folder is named.
pub fn cache() -> anyhow::Result<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(cache) = var("BELLHOP_CACHE") {
        return Ok(cache.into());
    }
    let home = || var("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = var("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    Ok(cache.context("find the cache folder: set BELLHOP_CACHE or HOME")?.join("bellhop"))
}

/// The folder `name` in the cache, filled by `fill` if no run before did: it appears whole or not
/// at all, and two runs at once fill it once.
///
/// # Errors
/// When the cache cannot be written, or `fill` fails.
pub fn fetched(
    name: &str,
    fill: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let folder = cache()?.join("services").join(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let parent = folder.parent().context("find the folder of services")?;
    fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    let lock_path = parent.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).with_context(|| format!("make {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("lock {}", lock_path.display()))?;
    if !folder.is_dir() {
        let part = parent.join(format!("{name}.part"));
        if part.exists() {
            fs::remove_dir_all(&part).with_context(|| format!("clear {}", part.display()))?;
        }
        fs::create_dir_all(&part).with_context(|| format!("make {}", part.display()))?;
        fill(&part)?;
        fs::rename(&part, &folder).with_context(|| format!("make {}", folder.display()))?;
    }
    Ok(folder)
}

/// The folder `name` in the cache with Python packages, for `PYTHONPATH`; `packages` are arguments
/// of pip.
///
/// # Errors
/// When pip cannot install them.
pub fn python_packages(name: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    fetched(name, |folder| {
        let installed = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-compile"])
            .args(["--disable-pip-version-check", "--root-user-action=ignore", "--target"])
            .arg(folder)
            .args(packages)
            .status()
            .context("run python3 -m pip; install Python 3 with pip")?;
        ensure!(installed.success(), "pip could not install {packages:?}: see above");
        Ok(())
    })
}
