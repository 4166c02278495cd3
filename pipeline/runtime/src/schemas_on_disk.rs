//! The schemas of a log that this machine has met, in a file of each folder that is named: a registry
//! that is away stops nothing that was written or read here before.
//!
//! # Invariants
//! 1. The registry is asked first; the file answers while it cannot be.
//! 2. An id stands for one record for ever. A registry that says otherwise of a known id is another
//!    one, or was emptied: it is refused, for what was written with the id could not be read again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};

use bellhop_core::message::LogId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::log::{Error, ErrorKind, Lookup, Schema};
use crate::registry::Registry;

/// How long a registry that was away is not asked for what the file knows.
const AWAY: Duration = Duration::from_secs(10);

/// A registry, and the files that stand in for it.
pub struct OnDisk {
    registry: Arc<dyn Registry>,
    /// Where it is kept; all of them hold the same.
    paths: Vec<PathBuf>,
    /// The first of them that was found.
    found: Option<PathBuf>,
    /// Whether what is kept is taken first, whatever the file says.
    first: bool,
    known: Mutex<Known>,
}

struct Known {
    /// What all files hold together.
    file: File,
    away_until: Option<Instant>,
}

impl OnDisk {
    /// Of a log, in some folders; what cannot be read is asked for again.
    #[must_use]
    pub fn open(registry: Arc<dyn Registry>, folders: &[PathBuf], log_id: LogId) -> Self {
        let mut file = File { log_id, schemas: Schemas::new(), restored: false };
        let paths: Vec<_> = folders.iter().map(|folder| path(folder, log_id)).collect();
        let mut first = None;
        for path in &paths {
            match fs::read_to_string(path).map(|text| from_json(&text)) {
                Ok(Some(found)) if found.log_id == log_id => {
                    file.restored |= found.restored;
                    for (id, schema) in found.schemas {
                        file.schemas.entry(id).or_insert(schema);
                    }
                    first = first.or(Some(path.clone()));
                }
                Ok(_) => {
                    tracing::warn!(path = %path.display(), "the file of schemas is damaged: they are asked for again");
                }
                Err(_) => {}
            }
        }
        let known = Mutex::new(Known { file, away_until: None });
        Self { registry, paths, found: first, first: false, known }
    }

    /// Takes what is kept before the registry is asked.
    #[must_use]
    pub fn kept_first(self, first: bool) -> Self {
        Self { first, ..self }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the file says while the registry is away: `None` when it is to be asked.
    fn stand_in<T>(&self, find: impl Fn(&Schemas) -> Option<T>) -> Option<T> {
        let known = self.known();
        let away = known.away_until.is_some_and(|until| Instant::now() < until);
        if away || self.first || known.file.restored { find(&known.file.schemas) } else { None }
    }

    /// After the registry could not be asked: the file's answer, or the error.
    fn instead<T>(&self, error: Error, find: impl Fn(&Schemas) -> Option<T>) -> Result<T, Error> {
        if error.kind != ErrorKind::Retry {
            return Err(error);
        }
        let mut known = self.known();
        let Some(found) = find(&known.file.schemas) else { return Err(error) };
        if known.away_until.is_none() {
            let error: &dyn std::error::Error = &error;
            let path = self.found.as_deref().unwrap_or(Path::new("")).display();
            tracing::warn!(error, %path, "the schema registry is away: schemas that are known here are taken from the file");
        }
        known.away_until = Some(Instant::now() + AWAY);
        Ok(found)
    }

    fn keep(&self, id: u32, schema: &Schema) -> Result<(), Error> {
        let mut known = self.known();
        known.away_until = None;
        match known.file.schemas.get(&id) {
            Some(held) if held.name == schema.name => return Ok(()),
            Some(held) => {
                return Err(other_registry(
                    id,
                    &held.name,
                    Ok(&schema.name),
                    self.found.as_deref(),
                ));
            }
            None => {}
        }
        known.file.schemas.insert(id, schema.clone());
        for path in &self.paths {
            if let Err(error) = write(path, &known.file) {
                tracing::debug!(%error, path = %path.display(), "schemas are not kept on disk");
            }
        }
        Ok(())
    }
}

/// A registry that lost what a log was written with; `kept` is a file that has it.
pub(crate) fn other_registry(
    id: u32,
    name: &str,
    found: Result<&str, &str>,
    kept: Option<&Path>,
) -> Error {
    let file = kept.map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
    let says = match found {
        Ok(found) => format!("it has {found} under the id"),
        Err(why) => format!("it does not know the id ({why})"),
    };
    Error {
        kind: ErrorKind::FixInput,
        tried: format!("ask the schema registry for schema id {id}, {name} in this log"),
        hint: format!(
            "{says}: it is another registry than the log was written with, or it was emptied; the log is not damaged. Check `kafka.registry` and its path, or give the registry its schemas back by `bellhop schemas restore {file}` (with `--here` if it takes no ids)"
        ),
        source: None,
    }
}

/// Schemas by their ids.
pub type Schemas = BTreeMap<u32, Schema>;

/// The file of a log in a folder.
#[must_use]
pub fn path(folder: &Path, log_id: LogId) -> PathBuf {
    folder.join(format!("schemas-{}.json", log_id.0.hyphenated()))
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The log.
    pub log_id: LogId,
    /// Its schemas.
    pub schemas: Schemas,
    /// Whether somebody restored them here, for a registry that lost them and takes no ids: then the
    /// file is asked first.
    pub restored: bool,
}

/// The schemas of a log as a file holds them.
#[must_use]
pub fn to_json(file: &File) -> String {
    let File { log_id, schemas, restored } = file;
    let one = |(id, schema): (&u32, &Schema)| json!({"id": id, "name": schema.name, "schema": schema.text});
    let schemas: Vec<_> = schemas.iter().map(one).collect();
    format!("{:#}\n", json!({ "log_id": log_id.0, "restored": restored, "schemas": schemas }))
}

/// Reads what [`to_json`] wrote; `None` when it is something else.
#[must_use]
pub fn from_json(text: &str) -> Option<File> {
    let file: Value = serde_json::from_str(text).ok()?;
    let schema = |it: &Value| {
        let text = |name: &str| it[name].as_str().map(str::to_owned);
        let id = it["id"].as_u64().and_then(|id| u32::try_from(id).ok())?;
        Some((id, Schema { name: text("name")?, text: text("schema")? }))
    };
    let log_id = LogId(Uuid::parse_str(file["log_id"].as_str()?).ok()?);
    let schemas: Option<Schemas> = file["schemas"].as_array()?.iter().map(schema).collect();
    let restored = file["restored"].as_bool().unwrap_or(false);
    Some(File { log_id, schemas: schemas?, restored })
}

/// Writes a file, whole or not at all.
///
/// # Errors
/// When the folder cannot be made or written.
pub fn write(path: &Path, file: &File) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let aside = path.with_extension(format!("{}.making", std::process::id()));
    fs::write(&aside, to_json(file))?;
    fs::rename(&aside, path)
}

impl Registry for OnDisk {
    fn id_of(&self, name: &str, text: &str) -> Result<u32, Error> {
        let find = |schemas: &Schemas| {
            let is = |(_, schema): &(&u32, &Schema)| schema.name == name && schema.text == text;
            schemas.iter().rfind(is).map(|(id, _)| *id)
        };
        if let Some(id) = self.stand_in(find) {
            return Ok(id);
        }
        match self.registry.id_of(name, text) {
            Ok(id) => {
                let schema = Schema { name: name.to_owned(), text: text.to_owned() };
                self.keep(id, &schema).map(|()| id)
            }
            Err(error) => self.instead(error, find),
        }
    }

    fn schema_of(&self, id: u32) -> Result<Lookup, Error> {
        let find = |schemas: &Schemas| schemas.get(&id).cloned();
        if let Some(schema) = self.stand_in(find) {
            return Ok(Lookup::Known(schema));
        }
        match self.registry.schema_of(id) {
            Ok(Lookup::Known(schema)) => self.keep(id, &schema).map(|()| Lookup::Known(schema)),
            Ok(Lookup::Unknown(why)) => match find(&self.known().file.schemas) {
                Some(held) => Err(other_registry(id, &held.name, Err(&why), self.found.as_deref())),
                None => Ok(Lookup::Unknown(why)),
            },
            Err(error) => self.instead(error, find).map(Lookup::Known),
        }
    }

    /// What the file knows is of this log, and nobody has to be asked.
    fn schema_at_once(&self, id: u32) -> Result<Lookup, Error> {
        let held = self.known().file.schemas.get(&id).cloned();
        if let Some(schema) = held {
            return Ok(Lookup::Known(schema));
        }
        let found = self.registry.schema_at_once(id)?;
        if let Lookup::Known(schema) = &found {
            self.keep(id, schema)?;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A registry that is told what to answer.
    #[derive(Default)]
    struct Told {
        schemas: Mutex<Schemas>,
        away: Mutex<bool>,
    }

    impl Told {
        fn away(&self) -> Result<(), Error> {
            if !*self.away.lock().unwrap() {
                return Ok(());
            }
            let (tried, hint) = ("ask".to_owned(), "away".to_owned());
            Err(Error { kind: ErrorKind::Retry, tried, hint, source: None })
        }
    }

    impl Registry for Told {
        fn id_of(&self, name: &str, text: &str) -> Result<u32, Error> {
            self.away()?;
            let mut schemas = self.schemas.lock().unwrap();
            let schema = Schema { name: name.to_owned(), text: text.to_owned() };
            if let Some((id, _)) = schemas.iter().find(|(_, it)| **it == schema) {
                return Ok(*id);
            }
            let id = schemas.len() as u32 + 1;
            schemas.insert(id, schema);
            Ok(id)
        }

        fn schema_of(&self, id: u32) -> Result<Lookup, Error> {
            self.away()?;
            let found = self.schemas.lock().unwrap().get(&id).cloned();
            Ok(found.map_or_else(|| Lookup::Unknown("status 404".to_owned()), Lookup::Known))
        }
    }

    const LOG: LogId = LogId(Uuid::from_u128(7 << 100));

    #[test]
    fn a_registry_that_is_away_stops_nothing_that_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Arc::new(Told::default());
        let open = || OnDisk::open(registry.clone(), &[folder.path().to_owned()], LOG);
        let id = open().id_of("a.B", "text").unwrap();
        *registry.away.lock().unwrap() = true;
        let later = open();
        assert_eq!(later.id_of("a.B", "text").unwrap(), id);
        assert_eq!(later.schema_of(id).unwrap().schema().unwrap().name, "a.B");
        for error in [later.id_of("a.B", "other").unwrap_err(), later.schema_of(99).unwrap_err()] {
            assert_eq!(error.kind, ErrorKind::Retry, "what is new waits");
        }
        *registry.away.lock().unwrap() = false;
        assert_eq!(
            later.schema_of(99).unwrap().schema(),
            None,
            "it is asked again for what is not known"
        );
    }

    #[test]
    fn an_emptied_registry_is_told_apart_and_never_gives_an_id_a_second_meaning() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Arc::new(Told::default());
        let open = || OnDisk::open(registry.clone(), &[folder.path().to_owned()], LOG);
        open().id_of("a.B", "text").unwrap();
        registry.schemas.lock().unwrap().clear();
        let error = open().schema_of(1).unwrap_err();
        assert_eq!(error.kind, ErrorKind::FixInput);
        assert!(error.to_string().contains("it does not know the id"), "{error}");
        let error = open().id_of("c.D", "text").unwrap_err();
        assert!(error.to_string().contains("it has c.D under the id"), "{error}");
        assert!(error.to_string().contains("the log is not damaged"), "{error}");
        let other =
            OnDisk::open(registry, &[folder.path().to_owned()], LogId(Uuid::from_u128(8 << 100)));
        assert_eq!(other.schema_of(1).unwrap().schema().unwrap().name, "c.D", "a log of its own");
    }

    #[test]
    fn schemas_that_somebody_restored_here_are_taken_before_the_registry_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Arc::new(Told::default());
        let schema = Schema { name: "a.B".to_owned(), text: "text".to_owned() };
        let schemas = Schemas::from([(1, schema.clone())]);
        let file = File { log_id: LOG, schemas, restored: true };
        assert_eq!(from_json(&to_json(&file)).as_ref(), Some(&file));
        write(&path(folder.path(), LOG), &file).unwrap();
        let disk = OnDisk::open(registry.clone(), &[folder.path().to_owned()], LOG);
        assert_eq!(disk.schema_of(1).unwrap().schema(), Some(schema));
        assert_eq!(disk.id_of("a.B", "text").unwrap(), 1);
        let error = disk.id_of("c.D", "text").unwrap_err();
        assert!(error.to_string().contains("it has c.D under the id"), "{error}");
    }

    #[test]
    fn every_folder_is_read_and_written() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = [here.path().to_owned(), there.path().to_owned()];
        let registry = Arc::new(Told::default());
        // Met with the second folder alone, then known with the first one before it.
        OnDisk::open(registry.clone(), &folders[1..], LOG).id_of("a.B", "text").unwrap();
        *registry.away.lock().unwrap() = true;
        let both = OnDisk::open(registry.clone(), &folders, LOG);
        assert_eq!(both.id_of("a.B", "text").unwrap(), 1);
        *registry.away.lock().unwrap() = false;
        let both = OnDisk::open(registry.clone(), &folders, LOG);
        both.id_of("c.D", "text").unwrap();
        *registry.away.lock().unwrap() = true;
        for folder in &folders {
            let disk = OnDisk::open(registry.clone(), std::slice::from_ref(folder), LOG);
            assert_eq!(disk.id_of("a.B", "text").unwrap(), 1, "{}", folder.display());
            assert_eq!(disk.id_of("c.D", "text").unwrap(), 2, "{}", folder.display());
        }
    }

    #[test]
    fn schemas_that_were_restored_in_one_folder_are_taken_first_with_another_one_before_it() {
        let (data, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = [data.path().to_owned(), cache.path().to_owned()];
        let registry = Arc::new(Told::default());
        OnDisk::open(registry.clone(), &folders[..1], LOG).id_of("a.B", "text").unwrap();
        registry.schemas.lock().unwrap().clear();
        let error = OnDisk::open(registry.clone(), &folders, LOG).schema_of(1).unwrap_err();
        let kept = path(data.path(), LOG);
        let named = format!("bellhop schemas restore {}", kept.display());
        assert!(error.to_string().contains(&named), "the file that has them: {error}");
        let export = OnDisk::open(registry.clone(), &folders, LOG).kept_first(true);
        assert!(export.schema_of(1).unwrap().schema().is_some(), "they can be exported");
        let file = from_json(&fs::read_to_string(&kept).unwrap()).unwrap();
        write(&path(cache.path(), LOG), &File { restored: true, ..file }).unwrap();
        let disk = OnDisk::open(registry, &folders, LOG);
        assert_eq!(disk.schema_of(1).unwrap().schema().unwrap().name, "a.B");
    }

    #[test]
    fn a_damaged_file_is_asked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Arc::new(Told::default());
        fs::write(folder.path().join(format!("schemas-{}.json", LOG.0)), "{").unwrap();
        let disk = OnDisk::open(registry, &[folder.path().to_owned()], LOG);
        assert_eq!(disk.id_of("a.B", "text").unwrap(), 1);
    }
}
