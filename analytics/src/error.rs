//! What can go wrong between events, files and figures.

use std::path::PathBuf;

use datafusion::arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The question is wrong; the message says how to mend it.
    FixInput,
    /// The lake is not of this log or this version, or has lost a file: delete its folder and expand
    /// the events anew.
    Rebuild,
    /// Somebody else writes the lake; wait, or read it only.
    Busy,
    /// The world failed: a file, memory, damaged bytes.
    Failed,
}

/// An operation that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An event that has no rows.
    #[error(transparent)]
    Expand(#[from] bellhop_ledger::Error),
    /// A file or folder of the lake.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A Parquet file.
    #[error("write {}", path.display())]
    Parquet {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: ParquetError,
    },
    /// The lake belongs to another log, or to another version of this crate.
    #[error("the lake {} holds {found}, not {wanted}; delete the folder, it is made anew from the events", path.display())]
    NotThisLog {
        /// Folder of the lake.
        path: PathBuf,
        /// What it is of.
        found: String,
        /// What was wanted.
        wanted: String,
    },
    /// A file that `lake.json` says has rows is not there.
    #[error("the file {} is missing, of which lake.json says that it has {rows} rows; delete the folder {}, it is made anew from the events", path.display(), lake.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Its rows.
        rows: u64,
        /// Folder of the lake.
        lake: PathBuf,
    },
    /// Another process writes the lake.
    #[error("the lake {} is being written by another process; try again when it has ended", path.display())]
    Locked {
        /// Folder of the lake.
        path: PathBuf,
    },
    /// Arrow could not build or format a batch.
    #[error("build a batch of rows")]
    Arrow(#[from] ArrowError),
    /// DataFusion refused or failed a query.
    #[error("run the query")]
    Query(#[from] DataFusionError),
    /// The query runtime could not start.
    #[error("start the query threads")]
    Runtime {
        /// The cause.
        source: std::io::Error,
    },
    /// A KPI that does not exist.
    #[error("there is no KPI \"{name}\"; there are {known}")]
    UnknownKpi {
        /// As asked.
        name: String,
        /// All there are.
        known: String,
    },
    /// A dimension that does not exist.
    #[error("there is no dimension \"{name}\"; there are {known}")]
    UnknownDimension {
        /// As asked.
        name: String,
        /// All there are.
        known: String,
    },
    /// A property that does not exist.
    #[error("there is no property \"{named}\"; there are {known}")]
    UnknownProperty {
        /// As asked.
        named: String,
        /// All there are.
        known: String,
    },
    /// A code that several properties have.
    #[error("several properties have the code \"{code}\"; name one by its id: {ids}")]
    AmbiguousProperty {
        /// As asked.
        code: String,
        /// Their ids.
        ids: String,
    },
    /// Text that is neither a day nor an instant.
    #[error("\"{text}\" is neither a day like 2016-08-31 nor an instant like 2016-08-31T14:00:00Z")]
    NotAnInstant {
        /// As asked.
        text: String,
    },
    /// A period that ends before it begins, or that no hotel has lived through.
    #[error("the period from {from} to {to} {what}")]
    BadPeriod {
        /// First day.
        from: String,
        /// Last day.
        to: String,
        /// What is wrong.
        what: &'static str,
    },
}

impl Error {
    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownKpi { .. }
            | Self::UnknownDimension { .. }
            | Self::UnknownProperty { .. }
            | Self::AmbiguousProperty { .. }
            | Self::NotAnInstant { .. }
            | Self::BadPeriod { .. } => ErrorKind::FixInput,
            Self::Query(error) if is_about_the_text(error) => ErrorKind::FixInput,
            Self::NotThisLog { .. } | Self::Missing { .. } => ErrorKind::Rebuild,
            Self::Locked { .. } => ErrorKind::Busy,
            Self::Expand(_)
            | Self::File { .. }
            | Self::Parquet { .. }
            | Self::Arrow(_)
            | Self::Query(_)
            | Self::Runtime { .. } => ErrorKind::Failed,
        }
    }
}

/// Whether the text of a query is at fault, and not the machine.
fn is_about_the_text(error: &DataFusionError) -> bool {
    matches!(
        error.find_root(),
        DataFusionError::SQL(..)
            | DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::NotImplemented(_)
    )
}
