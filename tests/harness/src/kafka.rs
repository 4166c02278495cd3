//! Apache Kafka (KRaft, each node broker and controller) from its jars at Maven Central.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::cache::fetched;
use crate::proxy::Proxy;
use crate::server::{Server, free_port, signal};

const VERSION: &str = "4.3.1";
const LOG4J: &str = "2.25.4";
/// A version that keeps its word when its only broker is killed.
///
/// 4.3.1 does not: the broker that starts again is the leader by its old metadata, then fenced,
/// then the leader anew, and when it is fenced it takes its partitions for deleted and the
/// transactions on them for complete, with no marker written ("Couldn't find leader endpoint … can
/// be skipped"). What was acknowledged stays undecided for ever, for every reader.
///
/// # Source
/// KAFKA-20734.
pub const KEEPS_ITS_WORD: &str = "3.9.1";
const READY: Duration = Duration::from_secs(90);
const LOG4J_PROPERTIES: &str = "\
status = ERROR
appender.o.type = Console
appender.o.name = O
appender.o.layout.type = PatternLayout
appender.o.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = INFO
rootLogger.appenderRef.o.ref = O
";

/// How a cluster is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Version of Kafka.
    pub version: String,
    /// Brokers.
    pub nodes: usize,
    /// Megabytes of heap of each.
    pub heap_mb: u32,
    /// Lines for `server.properties`, which win.
    pub properties: Vec<String>,
    /// The processors that it may use, as `taskset -c` takes them.
    pub processors: Option<String>,
    /// Whether those who come by [`Kafka::far_brokers`] need TLS and sign in, and may do what they
    /// have a right to. The others may do all.
    pub secure: bool,
}

/// Password of all users of a secure cluster: `plain` (PLAIN) and `scram` (SCRAM-SHA-256) have all
/// rights, `guest` (PLAIN) has none.
pub const PASSWORD: &str = "open sesame";
/// Password of the brokers' own key.
const KEY_PASSWORD: &str = "of the brokers";

impl Default for Options {
    fn default() -> Self {
        let version = VERSION.to_owned();
        Self {
            version,
            nodes: 1,
            heap_mb: 320,
            properties: Vec::new(),
            processors: None,
            secure: false,
        }
    }
}

/// A running cluster, killed when dropped.
pub struct Kafka {
    jars: PathBuf,
    options: Options,
    nodes: Vec<Node>,
    folder: TempDir,
}

/// What a broker coordinates, by name.
#[derive(Debug, Clone, Copy)]
pub enum Coordinator<'a> {
    /// A group of consumers.
    Group(&'a str),
    /// The transactions of a transactional id.
    Transactions(&'a str),
}

struct Node {
    folder: PathBuf,
    port: u16,
    controller_port: u16,
    /// Listens for those who come by the proxy.
    far_port: u16,
    proxy: Proxy,
    server: Option<Server>,
}

impl Kafka {
    /// Starts a cluster of so many nodes.
    ///
    /// # Errors
    /// When it cannot be fetched, or does not start.
    pub fn start(nodes: usize) -> anyhow::Result<Self> {
        Self::start_with(Options { nodes, ..Options::default() })
    }

    /// Starts a cluster.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn start_with(options: Options) -> anyhow::Result<Self> {
        let jars = jars(&options.version)?;
        let temp = TempDir::new().context("make a folder for Kafka")?;
        let mut nodes = Vec::new();
        for number in 1..=options.nodes {
            let folder = temp.path().join(format!("n{number}"));
            fs::create_dir(&folder).context("make a folder for a broker")?;
            let (port, controller_port, far_port) = (free_port()?, free_port()?, free_port()?);
            let (proxy, target) = Proxy::start()?;
            target.carry_to(far_port)?;
            nodes.push(Node { folder, port, controller_port, far_port, proxy, server: None });
        }
        let mut kafka = Self { jars, options, nodes, folder: temp };
        if kafka.options.secure {
            kafka.make_key()?;
        }
        for index in 0..kafka.nodes.len() {
            let properties = kafka.properties(index);
            let node = &kafka.nodes[index];
            fs::write(node.folder.join("server.properties"), properties)
                .context("write server.properties")?;
            kafka.format(index)?;
        }
        for index in 0..kafka.nodes.len() {
            kafka.launch(index)?;
        }
        kafka.wait_ready()?;
        Ok(kafka)
    }

    /// `host:port` of all nodes, by commas.
    #[must_use]
    pub fn brokers(&self) -> String {
        let all: Vec<_> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        all.join(",")
    }

    /// As [`Kafka::brokers`], for clients whose network can be cut: whatever they ask of any node
    /// goes through the node's proxy. Brokers among themselves do not.
    #[must_use]
    pub fn far_brokers(&self) -> String {
        let all: Vec<_> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.proxy.port())).collect();
        all.join(",")
    }

    /// The certificate that the brokers of a secure cluster show, which signs itself (PEM).
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// The network between the far clients and all nodes.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.nodes.iter().map(|node| &node.proxy)
    }

    /// What a node (from 0) has logged.
    ///
    /// # Errors
    /// When there is no such node, or no log.
    pub fn log_of(&self, node: usize) -> anyhow::Result<String> {
        let node = self.nodes.get(node).context("there is no such broker")?;
        let bytes = fs::read(node.folder.join("log")).context("read a broker's log")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The node (from 0) that coordinates a group or a transactional id, as another node knows it.
    ///
    /// # Errors
    /// When no node that runs can be asked, or it does not know.
    pub fn coordinator(&self, of: Coordinator<'_>) -> anyhow::Result<usize> {
        let asked = self.nodes.iter().find(|node| node.server.is_some());
        let port = asked.context("there is no broker that runs")?.port;
        let (kind, name) = match of {
            Coordinator::Group(name) => (0, name),
            Coordinator::Transactions(name) => (1, name),
        };
        // FindCoordinator, version 1: a name and its kind.
        let mut body = u16::try_from(name.len())?.to_be_bytes().to_vec();
        body.extend_from_slice(name.as_bytes());
        body.push(kind);
        let answer = request(&here(port), 10, 1, &body)?;
        // Throttle time, error, its text (none: a length of -1), the node's id.
        let code = answer.get(4..6).map_or(-1, |code| i16::from_be_bytes([code[0], code[1]]));
        ensure!(code == 0, "find the coordinator of {name}: error {code}");
        let text = answer.get(6..8).map_or(-1, |len| i16::from_be_bytes([len[0], len[1]]));
        let at = 8 + usize::try_from(text).unwrap_or(0);
        let id = answer.get(at..).and_then(<[u8]>::first_chunk).context("read the answer")?;
        usize::try_from(i32::from_be_bytes(*id) - 1).context("read the node's id")
    }

    /// The process id of a node (from 0).
    #[must_use]
    pub fn pid(&self, node: usize) -> Option<u32> {
        self.nodes.get(node)?.server.as_ref().map(Server::pid)
    }

    /// Kills a node (signal 9).
    pub fn kill9(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.server = None;
        }
    }

    /// Starts a killed node again, on its data, and waits until it answers.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self, node: usize) -> anyhow::Result<()> {
        self.kill9(node);
        self.launch(node)?;
        self.wait_ready()
    }

    /// Stops a node where it stands (signal STOP).
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self, node: usize) -> anyhow::Result<()> {
        signal(self.pid(node).context("pause a broker that does not run")?, "STOP")
    }

    /// Lets a stopped node go on (signal CONT).
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self, node: usize) -> anyhow::Result<()> {
        signal(self.pid(node).context("resume a broker that does not run")?, "CONT")
    }

    /// As [`expel`], on the first node.
    ///
    /// # Errors
    /// As [`expel`].
    pub fn expel(&self, group: &str, member: &str) -> anyhow::Result<()> {
        let node = self.nodes.first().context("there is no broker")?;
        expel(&here(node.port), group, member)
    }

    fn java(&self, heap_mb: u32) -> Command {
        let mut command = match &self.options.processors {
            Some(processors) => {
                let mut command = Command::new("taskset");
                command.args(["-c", processors, "java"]);
                command
            }
            None => Command::new("java"),
        };
        command.args(java_arguments(heap_mb, &self.jars));
        command
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys.p12")
    }

    /// Makes the brokers' key and certificate.
    fn make_key(&self) -> anyhow::Result<()> {
        let keytool = |arguments: &[&str]| -> anyhow::Result<()> {
            let output = Command::new("keytool")
                .args(arguments)
                .args(["-alias", "broker", "-storetype", "PKCS12", "-storepass", KEY_PASSWORD])
                .arg("-keystore")
                .arg(self.keys())
                .output()
                .context("start keytool: is a JDK 17 or newer installed?")?;
            let said = [output.stdout, output.stderr].concat();
            ensure!(output.status.success(), "keytool: {}", String::from_utf8_lossy(&said));
            Ok(())
        };
        let key = ["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1"];
        let name = ["-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-validity", "30"];
        keytool(&[&key[..], &name].concat())?;
        keytool(&["-exportcert", "-rfc", "-file", &self.certificate().display().to_string()])
    }

    fn format(&self, index: usize) -> anyhow::Result<()> {
        let properties = self.nodes[index].folder.join("server.properties");
        let user = format!("SCRAM-SHA-256=[name=scram,password={PASSWORD}]");
        let users = ["--add-scram", &user];
        let users = if self.options.secure { &users[..] } else { &[] };
        format_storage(&self.jars, &properties, users)
    }

    fn launch(&mut self, index: usize) -> anyhow::Result<()> {
        let mut command = self.java(self.options.heap_mb);
        let node = &mut self.nodes[index];
        command.arg("kafka.Kafka").arg(node.folder.join("server.properties"));
        let name = format!("Kafka broker {}", index + 1);
        node.server = Some(Server::start(&name, &mut command, &node.folder.join("log"))?);
        Ok(())
    }

    fn wait_ready(&mut self) -> anyhow::Result<()> {
        let running = self.nodes.iter().filter(|node| node.server.is_some()).count();
        for node in &mut self.nodes {
            let port = node.port;
            if let Some(server) = &mut node.server {
                server.wait_ready(READY, || {
                    known_brokers(&here(port)).is_ok_and(|it| it >= running)
                })?;
            }
        }
        Ok(())
    }

    fn properties(&self, index: usize) -> String {
        let Node { folder, port, controller_port, far_port, proxy, .. } = &self.nodes[index];
        let proxy_port = proxy.port();
        let voters: Vec<_> = (1..)
            .zip(&self.nodes)
            .map(|(id, node)| format!("{id}@127.0.0.1:{}", node.controller_port))
            .collect();
        let mut text = format!(
            "process.roles=broker,controller
node.id={}
controller.quorum.voters={}
listeners=PLAINTEXT://127.0.0.1:{port},FAR://127.0.0.1:{far_port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},FAR://127.0.0.1:{proxy_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,FAR:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={}
{}",
            index + 1,
            voters.join(","),
            folder.join("data").display(),
            common_properties(self.nodes.len()),
        );
        if self.options.secure {
            text.push_str(&secure_properties(&self.keys()));
        }
        for line in &self.options.properties {
            // Only a String is written to, which never fails.
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

/// Settings of every broker of a cluster of so many nodes.
pub(crate) fn common_properties(nodes: usize) -> String {
    let (copies, insync) = if nodes >= 3 { (3, 2) } else { (1, 1) };
    format!(
        "default.replication.factor={copies}
min.insync.replicas={insync}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={insync}
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={insync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
"
    )
}

/// Arguments of java, up to the class to run, for what lies in a folder.
pub(crate) fn java_arguments(heap_mb: u32, jars: &Path) -> Vec<String> {
    vec![
        "-Xms64m".to_owned(),
        format!("-Xmx{heap_mb}m"),
        "-XX:+UseSerialGC".to_owned(),
        "-Djava.awt.headless=true".to_owned(),
        format!("-Dlog4j2.configurationFile={}", jars.join("log4j2.properties").display()),
        "-cp".to_owned(),
        jars.join("lib/*").display().to_string(),
    ]
}

/// Formats the storage that a file of properties names.
pub(crate) fn format_storage(jars: &Path, properties: &Path, users: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("java")
        .args(java_arguments(128, jars))
        .args(["kafka.tools.StorageTool", "format", "-t", "YmVsbGhvcC10ZXN0cy0wMA", "-c"])
        .arg(properties)
        .args(users)
        .output()
        .context("start java: is a JDK 17 or newer installed?")?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(
        output.status.success(),
        "format a broker's storage: {}",
        String::from_utf8_lossy(&said)
    );
    Ok(())
}

/// What makes the far listener of a broker a secure one.
fn secure_properties(keys: &Path) -> String {
    format!(
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,FAR:SASL_SSL,CONTROLLER:PLAINTEXT
listener.name.far.ssl.keystore.type=PKCS12
listener.name.far.ssl.keystore.location={keys}
listener.name.far.ssl.keystore.password={KEY_PASSWORD}
listener.name.far.ssl.key.password={KEY_PASSWORD}
listener.name.far.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.far.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_plain=\"{PASSWORD}\" user_guest=\"{PASSWORD}\";
listener.name.far.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:plain;User:scram
",
        keys = keys.display()
    )
}

/// The address of a port of this machine.
fn here(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// How many brokers the one at `host:port` knows: a Metadata request (version 1) with no topic.
///
/// # Errors
/// When it does not answer.
pub fn known_brokers(at: &str) -> anyhow::Result<usize> {
    let answer = request(at, 3, 1, &[0, 0, 0, 0])?;
    let count = answer.first_chunk().context("read the answer")?;
    Ok(usize::try_from(i32::from_be_bytes(*count)).unwrap_or(0))
}

/// Throws a member out of a group of the classic protocol, as if its session had expired: by a
/// LeaveGroup request (version 0), which is not in librdkafka's interface.
///
/// # Errors
/// When the broker at `host:port` does not answer, or knows no such member.
pub fn expel(at: &str, group: &str, member: &str) -> anyhow::Result<()> {
    let mut body = Vec::new();
    for text in [group, member] {
        body.extend_from_slice(&u16::try_from(text.len())?.to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    let answer = request(at, 13, 0, &body)?;
    let code = answer.get(..2).map_or(-1, |code| i16::from_be_bytes([code[0], code[1]]));
    ensure!(code == 0, "throw {member} out of {group}: error {code}");
    Ok(())
}

/// One request of the Kafka protocol; gives the answer behind its correlation id.
fn request(at: &str, api: i16, version: i16, body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let address = at.to_socket_addrs().with_context(|| format!("find {at}"))?.next();
    let address = address.with_context(|| format!("find {at}"))?;
    let wait = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, wait).context("connect")?;
    stream.set_read_timeout(Some(wait)).context("set a timeout")?;
    let mut frame = Vec::new();
    frame.extend_from_slice(&api.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    // Correlation id 1 and the client's name "x".
    frame.extend_from_slice(&[0, 0, 0, 1, 0, 1, b'x']);
    frame.extend_from_slice(body);
    stream.write_all(&u32::try_from(frame.len())?.to_be_bytes()).context("send")?;
    stream.write_all(&frame).context("send")?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).context("receive")?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).context("receive")?;
    ensure!(answer.len() >= 4, "the answer is too short");
    Ok(answer.split_off(4))
}

/// The folder of a version of Kafka.
pub(crate) fn jars(version: &str) -> anyhow::Result<PathBuf> {
    fetched(&format!("kafka-{version}"), |folder| fetch(folder, version))
}

fn fetch(folder: &Path, version: &str) -> anyhow::Result<()> {
    let pom = format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>lab</groupId><artifactId>kafka-dist</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
 <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version></dependency>
 <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>{LOG4J}</version></dependency>
</dependencies></project>
"#
    );
    fs::write(folder.join("pom.xml"), pom).context("write pom.xml")?;
    fs::write(folder.join("log4j2.properties"), LOG4J_PROPERTIES).context("write log4j2")?;
    maven(&[
        "-f",
        &folder.join("pom.xml").display().to_string(),
        // Pinned: the version that Maven 3.8 takes by itself is old.
        "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
        "-DincludeScope=runtime",
        &format!("-DoutputDirectory={}", folder.join("lib").display()),
    ])
}

/// A class path of Kafka's client and Avro, for producers in Java.
///
/// # Errors
/// When Maven cannot fetch them.
pub fn java_class_path() -> anyhow::Result<String> {
    const AVRO: &str = "1.12.1";
    let kafka = jars(VERSION)?;
    let avro = fetched(&format!("avro-{AVRO}"), |folder| {
        let artifact = format!("-Dartifact=org.apache.avro:avro:{AVRO}");
        let to = format!("-DoutputDirectory={}", folder.display());
        let copy = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy";
        maven(&[copy, &artifact, &to])
    })?;
    Ok(format!("{}/*:{}/lib/*", avro.display(), kafka.display()))
}

/// Runs Maven.
pub(crate) fn maven(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("mvn").args(["-B", "-q"]).args(arguments).output();
    let output = output.context("start mvn: is Maven installed?")?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("fetch with Maven: {}", String::from_utf8_lossy(&said));
    }
    Ok(())
}
