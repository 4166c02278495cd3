//! Every key with its default and what it means, out of the sources of the configuration itself: a
//! key that is added there is in the file, in `bellhop config --all` and in the page.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::Config;

/// The structs that are read, each with the name of its table.
const SOURCES: [(&str, &str, &str); 4] = [
    ("", "Config", include_str!("../config.rs")),
    ("kafka", "Kafka", include_str!("kafka.rs")),
    ("clickhouse", "ClickHouse", include_str!("clickhouse.rs")),
    ("telemetry", "Telemetry", include_str!("telemetry.rs")),
];

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    name: String,
    doc: String,
}

/// A table: its name, what it is, its keys in order.
struct Table {
    name: &'static str,
    doc: String,
    keys: Vec<Key>,
}

/// The documented fields of a struct. Fields that are tables themselves are left out.
fn read(name: &'static str, of: &str, source: &str) -> Table {
    let mut table = Table { name, doc: String::new(), keys: Vec::new() };
    let (mut doc, mut inside) = (String::new(), false);
    for line in source.lines() {
        let line = line.trim();
        if let Some(words) = line.strip_prefix("///") {
            if !doc.is_empty() {
                doc.push(' ');
            }
            doc.push_str(words.trim());
        } else if line.starts_with("#[") || line.is_empty() {
            // Attributes stand between a field and its words.
        } else if inside && line == "}" {
            break;
        } else if inside {
            let field = line.trim_start_matches("pub(crate) ").split_once(": ");
            let words = std::mem::take(&mut doc);
            let is_table =
                |ty: &str| SOURCES.iter().any(|(_, it, _)| ty.trim_end_matches(',') == *it);
            if let Some((field, ty)) = field
                && !is_table(ty)
            {
                table.keys.push(Key { name: field.to_owned(), doc: words });
            }
        } else {
            inside = line == format!("pub(crate) struct {of} {{");
            let words = std::mem::take(&mut doc);
            if inside {
                table.doc = words;
            }
        }
    }
    table
}

fn tables() -> impl Iterator<Item = Table> {
    SOURCES.iter().map(|(name, of, source)| read(name, of, source))
}

fn value_of<'v>(config: &'v Value, table: &str, key: &str) -> Option<&'v Value> {
    let table = if table.is_empty() { config } else { &config[table] };
    table.get(key).filter(|value| !value.is_null())
}

/// Whether a value, or one within it, is a secret.
pub(super) fn is_secret(value: &Value) -> bool {
    match value {
        Value::String(text) => text == "***",
        Value::Object(fields) => fields.values().any(is_secret),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    }
}

/// The variable that sets a key.
fn variable(table: &str, key: &str) -> String {
    let table = if table.is_empty() { String::new() } else { format!("{table}__") };
    format!("BELLHOP_{table}{key}").to_uppercase()
}

impl Config {
    /// As a file with every key and what it means; those that are not set are comments.
    ///
    /// # Errors
    /// Never, for a value that was read.
    pub(crate) fn to_commented_toml(&self) -> Result<String> {
        let config = serde_json::to_value(self)?;
        let mut out = String::new();
        for Table { name, doc, keys } in tables() {
            if !name.is_empty() {
                write!(out, "\n# {doc}\n[{name}]\n")?;
            }
            for Key { name: key, doc } in keys {
                for line in wrapped(&doc, 96) {
                    writeln!(out, "# {line}")?;
                }
                match value_of(&config, name, &key) {
                    Some(value) if is_secret(value) => {
                        writeln!(
                            out,
                            "# {key} is set; secrets are not printed: {}",
                            variable(name, &key)
                        )?;
                    }
                    Some(Value::Object(fields)) => {
                        let fields: Vec<_> =
                            fields.iter().map(|(key, value)| format!("{key} = {value}")).collect();
                        writeln!(out, "{key} = {{ {} }}", fields.join(", "))?;
                    }
                    Some(value) => writeln!(out, "{key} = {value}")?,
                    None => writeln!(out, "# {key} =")?,
                }
            }
        }
        Ok(out)
    }

    /// The page of all keys, with their defaults.
    ///
    /// # Errors
    /// When the page cannot be written.
    pub(crate) fn reference() -> Result<String> {
        let defaults = serde_json::to_value(Self::default())?;
        let mut out = String::from(
            "# Configuration\n\n<!-- Written by `bellhop config --reference`; a test compares. -->\n\n\
             A file (`bellhop.toml` in the working folder, or `--config FILE`), then variables: \
             `BELLHOP_KAFKA__BROKERS` is `brokers` of `[kafka]`. Unknown keys are refused.\n\
             `bellhop config --all` prints what is effective, with these words; `--write FILE` keeps it.\n",
        );
        for Table { name, doc, keys } in tables() {
            if !name.is_empty() {
                write!(out, "\n## [{name}]\n{doc}\n")?;
            }
            writeln!(out, "\n| key | default | what |\n| --- | --- | --- |")?;
            for Key { name: key, doc } in keys {
                let default = value_of(&defaults, name, &key);
                let default = default.map_or_else(String::new, |value| format!("`{value}`"));
                writeln!(out, "| `{key}` | {default} | {} |", doc.replace('|', "\\|"))?;
            }
        }
        Ok(out)
    }
}

/// Words in lines of at most so many bytes.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= most => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Writes the file of a configuration, whole or not at all; an existing one is not touched.
///
/// # Errors
/// When the file is there, or cannot be written.
pub(crate) fn write_new(path: &std::path::Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::File::create_new(path).with_context(|| {
        format!("write {}: an existing file is not replaced; give another name", path.display())
    })?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented_and_every_documented_key_exists() {
        // With every option set: those that are not leave no trace in JSON.
        for Table { name, keys, .. } in tables() {
            assert!(!keys.is_empty(), "[{name}] has no keys: its source is read wrongly");
            for Key { name: key, doc } in keys {
                assert!(!doc.is_empty(), "{name}.{key} says nothing");
            }
        }
        let json = serde_json::to_value(Config::default()).expect("JSON");
        let known = |table: &str, key: &str| {
            tables().any(|it| it.name == table && it.keys.iter().any(|it| it.name == key))
        };
        for (key, value) in json.as_object().expect("an object") {
            match value.as_object() {
                Some(fields) => {
                    for field in fields.keys() {
                        assert!(known(key, field), "{key}.{field} is not in the reference");
                    }
                }
                None => assert!(known("", key), "{key} is not in the reference"),
            }
        }
    }

    #[test]
    fn what_is_printed_with_all_keys_is_read_again() {
        let text = Config::default().to_commented_toml().expect("a file");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bellhop.toml");
        write_new(&file, &text).expect("write");
        assert_eq!(Config::load(Some(&file)).expect("read"), Config::default());
        let error = write_new(&file, "").expect_err("it is there");
        assert!(error.to_string().contains("not replaced"), "{error}");
    }

    #[test]
    fn secrets_are_never_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bellhop.toml");
        let secrets = "[kafka]\nregistry_user = \"u\"\nregistry_password = \"secret\"\n[kafka.client]\na = \"secret\"\n";
        std::fs::write(&file, secrets).expect("write");
        let config = Config::load(Some(&file)).expect("read");
        for text in [config.to_toml().expect("text"), config.to_commented_toml().expect("text")] {
            assert!(!text.contains("secret\""), "{text}");
            let again = folder.path().join("again.toml");
            std::fs::write(&again, text.replace("[kafka.client]", "")).expect("write");
            let figment = std::fs::read_to_string(&again).expect("read");
            assert!(!figment.lines().any(|line| line.contains("***") && !line.starts_with('#')));
        }
    }
}
