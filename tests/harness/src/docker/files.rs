//! The files of an image, taken from this machine.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// Parts of a Java home that nothing runs with.
const NOT_TAKEN: [&str; 6] = ["jmods", "man", "docs", "legal", "include", "src.zip"];

/// Puts the libraries there that programs link, at their own paths.
pub(super) fn put_libraries(root: &Path, binaries: &[PathBuf]) -> anyhow::Result<()> {
    let linked = Command::new("ldd").args(binaries).output().context("start ldd")?;
    let linked = String::from_utf8_lossy(&linked.stdout);
    // `libz.so.1 => /lib/libz.so.1 (0x..)`, or the loader: `/lib64/ld-linux-x86-64.so.2 (0x..)`.
    let paths: BTreeSet<&Path> = linked
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(|path| Path::new(path.trim_end_matches(':')))
        .filter(|path| !path.starts_with(root))
        .collect();
    ensure!(!paths.is_empty(), "ldd finds no library of {binaries:?}");
    for path in paths {
        copy(path, &root.join(path.strip_prefix("/").unwrap_or(path)))?;
    }
    Ok(())
}

/// Copies a file or a folder: what links lead to, and no link that leads nowhere.
pub(super) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
        for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
            let name = entry.context("list files")?.file_name();
            if NOT_TAKEN.iter().all(|it| name != *it) {
                copy(&from.join(&name), &to.join(&name))?;
            }
        }
    } else if from.exists() {
        let parent = to.parent().context("find a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    }
    Ok(())
}

/// An archive of the folder `root` in a folder.
pub(super) fn archive(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("root.tar");
    let mut tar = Command::new("tar");
    tar.args(["--numeric-owner", "--owner=0", "--group=0", "-C"])
        .arg(folder.join("root"))
        .arg("-cf")
        .arg(&path)
        .arg(".");
    run(&mut tar)?;
    File::open(&path).with_context(|| format!("open {}", path.display()))
}

/// Runs a program that has to succeed.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("start {program}"))?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&said));
    Ok(())
}
