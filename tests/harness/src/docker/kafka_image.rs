//! An image of Apache Kafka, made from what is on this machine: a Java runtime with what Kafka needs
//! of it, the libraries that it links, Kafka's jars. There is no shell in it.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use super::files::{archive, copy, put_libraries, run};
use super::{Engine, say};
use crate::kafka::{KEEPS_ITS_WORD, format_storage, jars};

pub(super) const NAME: &str = "bellhop-test/kafka";
/// Paths in the image.
pub(super) const JAVA: &str = "/java/bin/java";
pub(super) const SETTINGS: &str = "/kafka/server.properties";
/// What its data was formatted for.
pub(super) const PROPERTIES: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
controller.listener.names=CONTROLLER
log.dirs=/kafka/data
";
/// What Kafka uses of Java; its logging asks for a class of the desktop.
const MODULES: &str = "java.base,java.desktop,java.logging,java.management,java.naming,\
                       java.security.jgss,java.security.sasl,java.sql,java.xml,jdk.crypto.ec,\
                       jdk.management,jdk.unsupported,jdk.zipfs";

/// Makes the image, if the engine does not have it; gives its tag, which changes with its content.
pub(super) fn make(engine: &Engine) -> anyhow::Result<String> {
    ensure!(cfg!(target_os = "linux"), "an image of Kafka can only be made on Linux");
    let java = Java::find()?;
    let mut hasher = DefaultHasher::new();
    // How it is made is part of what it is.
    let made = [include_str!("kafka_image.rs"), include_str!("files.rs")];
    (&java.version, std::env::consts::ARCH, made).hash(&mut hasher);
    let tag = format!("{KEEPS_ITS_WORD}-{:016x}", hasher.finish());
    if !engine.has_image(&format!("{NAME}:{tag}"))? {
        say(&format!("containers: making the image {NAME}:{tag}, once"));
        let folder = TempDir::new().context("make a folder for an image")?;
        fill(&folder.path().join("root"), &java)?;
        engine.import(NAME, &tag, archive(folder.path())?)?;
    }
    Ok(tag)
}

/// The Java of this machine.
struct Java {
    home: PathBuf,
    version: String,
}

impl Java {
    fn find() -> anyhow::Result<Self> {
        let output = Command::new("java").args(["-XshowSettings:properties", "-version"]).output();
        let output = output.context("start java: is a JDK 17 or newer installed?")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let property = |name: &str| {
            let line =
                said.lines().find_map(|it| it.trim().strip_prefix(name)?.strip_prefix(" = "));
            line.map(str::to_owned).with_context(|| format!("find {name} of java"))
        };
        Ok(Self { home: property("java.home")?.into(), version: property("java.runtime.version")? })
    }

    /// Puts a runtime there: only what is needed of it, if this Java can make one.
    fn put(&self, to: &Path) -> anyhow::Result<()> {
        if !self.home.join("jmods").is_dir() {
            return copy(&self.home, to);
        }
        let mut jlink = Command::new(self.home.join("bin/jlink"));
        jlink
            .args(["--add-modules", MODULES, "--no-header-files", "--no-man-pages"])
            .arg("--strip-java-debug-attributes")
            .arg("--output")
            .arg(to);
        run(&mut jlink).map(drop)
    }
}

fn fill(root: &Path, java: &Java) -> anyhow::Result<()> {
    let kafka = jars(KEEPS_ITS_WORD)?;
    for folder in ["tmp", "kafka/data"] {
        fs::create_dir_all(root.join(folder)).with_context(|| format!("make {folder}"))?;
    }
    java.put(&root.join("java"))?;
    let mut binaries = vec![root.join("java/bin/java")];
    find_libraries(&root.join("java/lib"), &mut binaries)?;
    put_libraries(root, &binaries)?;
    copy(&kafka.join("lib"), &root.join("kafka/lib"))?;
    copy(&kafka.join("log4j2.properties"), &root.join("kafka/log4j2.properties"))?;
    // Formatted here: there is no shell there to do it before the broker starts.
    let data = root.join("kafka/data");
    let settings = PROPERTIES.replace("/kafka/data", &data.display().to_string());
    let path = root.join("kafka/format.properties");
    let listeners = "listeners=PLAINTEXT://:9092,CONTROLLER://localhost:9093";
    fs::write(&path, format!("{settings}{listeners}\n")).context("write properties")?;
    format_storage(&kafka, &path, &[])?;
    fs::remove_file(&path).context("remove properties")
}

fn find_libraries(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry.context("list libraries")?.path();
        if path.is_dir() {
            find_libraries(&path, found)?;
        } else if path.extension().is_some_and(|it| it == "so") {
            found.push(path);
        }
    }
    Ok(())
}
