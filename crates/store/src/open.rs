//! From a path to a database that is ours, whole and of the right shape.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::lockfile::{LockError, LockFile};

/// Bytes that stay free for results and acknowledgements unless a program
/// wants otherwise: two of the largest results, their log and their index.
const DEFAULT_RESERVE: u64 = 32 << 20;

/// For every connection. Nothing of ours is ever locked for long, but a
/// checkpoint may be in the way for a moment.
pub(crate) const SHARED_PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA temp_store = MEMORY;";

/// For the writer. `FULL` makes a commit wait for the disk; the log is
/// shortened to 16 MiB after it had to grow behind a long read.
const WRITER_PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 16777216;";

/// Statements the writer keeps prepared: more than either program has.
const CACHED_STATEMENTS: usize = 128;

/// Which file, and what is in it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database. Its folder exists; beside it appear `-wal`, `-shm` and
    /// `-lock`, all for the owner alone (0600).
    pub path: PathBuf,
    /// The schema, as steps that are each run once, in order, and never
    /// altered afterwards: the first leads to `user_version` 1.
    pub migrations: &'static [&'static str],
    /// Bytes that must stay free on the file system for new work to be taken.
    pub reserve: u64,
}

impl Settings {
    /// A store at `path` with this schema and a reserve of 32 MiB.
    #[must_use]
    pub const fn new(path: PathBuf, migrations: &'static [&'static str]) -> Self {
        Self { path, migrations, reserve: DEFAULT_RESERVE }
    }
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A later version of the program made it. Start that version, or another folder.
    #[error(
        "the database {path} has schema {found}, this version knows up to {known}: \
         start the version that wrote it, or use another folder"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The last schema of this program.
        known: u32,
    },
    /// It is no database, or a damaged one. Restore a copy, or move it away.
    #[error("the database {path} is damaged ({detail}): restore a copy or move it away")]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// The first thing found wrong.
        detail: String,
    },
    /// Another process uses it.
    #[error("the database {path} is in use by another process")]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot open {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite refused, for instance because the disk is full.
    #[error("cannot set up the database {path}")]
    Sqlite {
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// An open database: the writer's connection and the lock.
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) lock: LockFile,
}

pub(crate) fn open(settings: &Settings) -> Result<Opened, OpenError> {
    let path = &settings.path;
    let io = |path: &Path, source| OpenError::Io { path: path.to_owned(), source };
    let lock_path = LockFile::path_for(path);
    let mut lock = LockFile::acquire(&lock_path).map_err(|error| match error {
        LockError::Held => OpenError::Locked { path: path.clone() },
        LockError::Io(source) => io(&lock_path, source),
    })?;
    let fresh = create_private(path).map_err(|source| io(path, source))?;
    let was_clean = lock.was_clean().map_err(|source| io(&lock_path, source))?;

    let mut connection = connect(settings).map_err(|error| sqlite_error(path, error))?;
    let found = version(&connection).map_err(|error| sqlite_error(path, error))?;
    let known = u32::try_from(settings.migrations.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(OpenError::Newer { path: path.clone(), found, known });
    }
    if !fresh && !was_clean {
        tracing::info!(path = %path.display(), "the last end was not a proper one; checking");
        check(&connection, path)?;
    }
    lock.mark_in_use().map_err(|source| io(&lock_path, source))?;
    prepare(&mut connection, settings, found).map_err(|error| sqlite_error(path, error))?;
    Ok(Opened { connection, lock })
}

/// Makes the file if it is not there, for the owner alone: SQLite gives its
/// companions the same mode. Returns whether it was made.
fn create_private(path: &Path) -> io::Result<bool> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(_) => {
            // The name of the file must survive a power cut, like its rows.
            let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn connect(settings: &Settings) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&settings.path, flags)?;
    connection.execute_batch(SHARED_PRAGMAS)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| sqlite_error(path, error))?;
    if found == "ok" {
        Ok(())
    } else {
        Err(OpenError::Corrupt { path: path.to_owned(), detail: found })
    }
}

fn prepare(connection: &mut Connection, settings: &Settings, found: u32) -> rusqlite::Result<()> {
    connection.execute_batch(WRITER_PRAGMAS)?;
    for (step, migration) in (1_u32..).zip(settings.migrations).filter(|(step, _)| *step > found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", step)?;
        transaction.commit()?;
    }
    Ok(())
}

fn sqlite_error(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            OpenError::Corrupt { path, detail: source.to_string() }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked { path },
        Some(_) | None => OpenError::Sqlite { path, source },
    }
}
