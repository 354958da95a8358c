//! The open file: folder, lock, layout, the writer's and the readers' connections.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use protocol::ports::{Kind, PortError};
use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use crate::crew::{Crew, lock};
use crate::error::{Failure, OpenError};
use crate::index::{self, Waiting};
use crate::options::Options;
use crate::sync;
use crate::values::At;
use crate::writer::{self, Answer, Durability, Operation, Tx};

/// Threads that read. More than cores are no use: the file is in memory most of the time.
const READERS: usize = 3;
/// Prepared statements that a connection keeps: more than there are.
const STATEMENTS: usize = 200;
/// The port's bound on a ping.
const PING: Duration = Duration::from_secs(2);
/// The layouts, oldest first. A file's `user_version` says how many of them it has; they only ever get more.
const LAYOUTS: &[&str] =
    &[include_str!("../schema/0001_first.sql"), include_str!("../schema/0002_secrets_isolation.sql")];

type Query = Box<dyn FnOnce(&Connection) + Send>;

/// The file of this process.
pub(crate) struct Database {
    // Closed in this order, so that the writer's connection is the last one and tidies the log away; what then still waits for
    // the disk is in the database.
    glance: Mutex<Option<Connection>>,
    readers: Crew<Query>,
    writer: Crew<Operation>,
    syncing: Arc<Crew<Answer>>,
    folder: Mutex<Option<File>>,
}

impl Database {
    /// Opens the file, and tells what waits in its queue.
    pub(crate) fn open(options: &Options) -> Result<(Self, Vec<Waiting>), OpenError> {
        let dir = &options.dir;
        let trouble = |source| OpenError::Folder { dir: dir.clone(), source };
        let folder = take_folder(dir)?;
        let file = dir.join("sortie.db");
        make_private(&file).map_err(trouble)?;
        let unreadable =
            |source: rusqlite::Error| OpenError::File { file: file.clone(), source: Box::new(source) };

        let mut connection = connect(&file).map_err(unreadable)?;
        migrate(&mut connection, &file)?;
        let waiting = index::load(&connection).map_err(unreadable)?;
        let reader = || {
            let reader = connect(&file)?;
            reader.pragma_update(None, "query_only", true)?;
            Ok(reader)
        };
        let glance = reader().map_err(unreadable)?;
        let readers = (0..READERS).map(|_| reader()).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;

        let log = OpenOptions::new().write(true).open(dir.join("sortie.db-wal")).map_err(trouble)?;
        let syncing = Crew::of_one("sortie-sync", move |answers| sync::run(&log, &answers));
        let syncing = Arc::new(syncing.map_err(trouble)?);
        let (sync, waiting_for_disk) = (options.sync, syncing.clone());
        let writer = Crew::of_one("sortie-write", move |operations| {
            // Refused only once the crew is closed: after this thread has ended.
            writer::run(&connection, &operations, sync, |answer| drop(waiting_for_disk.order(answer)));
        });
        let readers = Crew::new(move |queries| start_readers(readers, queries));
        let database = Self {
            glance: Mutex::new(Some(glance)),
            readers: readers.map_err(trouble)?,
            writer: writer.map_err(trouble)?,
            syncing,
            folder: Mutex::new(Some(folder)),
        };
        Ok((database, waiting))
    }

    /// Runs `work` in the next transaction and returns when that is committed.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        work: impl FnOnce(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, PortError> {
        let (order, answer) = Operation::new(durability, work);
        let ordered = self.writer.order(order);
        answered(ordered, answer, operation).await
    }

    /// Runs `work` in one of the next transactions. Nobody waits for it; a failure is logged.
    pub(crate) fn post(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Tx<'_>) -> Result<(), Failure> + Send + 'static,
    ) {
        let logged = move |tx: &Tx<'_>| {
            work(tx).inspect_err(|error| tracing::warn!(operation, %error, "the embedded file"))
        };
        if self.writer.order(Operation::new(Durability::Relaxed, logged).0).is_err() {
            tracing::debug!(operation, "the embedded file is closed already");
        }
    }

    /// Runs `query` on one state of the file.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        query: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, PortError> {
        let (sender, answer) = oneshot::channel();
        let ordered = self.readers.order(Box::new(move |connection| {
            // Nobody listens where the caller gave up.
            let _ = sender.send(snapshot(connection, query));
        }));
        answered(ordered, answer, operation).await
    }

    /// The same for a row or two, which the calling thread reads itself: going to another thread and back takes longer,
    /// and readers of the log wait for nobody.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        operation: &'static str,
        query: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, PortError> {
        let here = match self.glance.try_lock() {
            Ok(glance) => match &*glance {
                Some(connection) => Ok(snapshot(connection, query)),
                None => Ok(Err(Failure::closed())),
            },
            Err(_) => Err(query),
        };
        match here {
            Ok(answer) => answer.map_err(|failure| failure.during(operation)),
            Err(query) => self.read(operation, query).await,
        }
    }

    /// Whether writing works now.
    pub(crate) async fn ping(&self, operation: &'static str) -> Result<(), PortError> {
        let beat = self.write(operation, Durability::Relaxed, |tx| {
            tx.prepare_cached("UPDATE pulse SET at = ?1")?.execute([At(tx.now)])?;
            Ok(())
        });
        tokio::time::timeout(PING, beat)
            .await
            .unwrap_or_else(|_| Err(PortError::new(Kind::Timeout, operation)))
    }

    /// Does what was ordered, closes the file and frees the folder. Blocks.
    pub(crate) fn close(&self) {
        drop(lock(&self.glance).take());
        self.readers.close();
        self.writer.close();
        self.syncing.close();
        drop(lock(&self.folder).take());
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.close();
    }
}

async fn answered<T>(
    ordered: Result<(), Failure>,
    answer: oneshot::Receiver<Result<T, Failure>>,
    operation: &'static str,
) -> Result<T, PortError> {
    let answer = match ordered {
        Ok(()) => answer.await.unwrap_or_else(|_| Err(Failure::closed())),
        Err(failure) => Err(failure),
    };
    answer.map_err(|failure| failure.during(operation))
}

/// Makes the folder, for this user alone, and locks it for this process. The lock ends with the process,
/// however that ends.
fn take_folder(dir: &Path) -> Result<File, OpenError> {
    let trouble = |source| OpenError::Folder { dir: dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(trouble)?;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(dir.join("sortie.lock")).map_err(trouble)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(trouble(source)),
    }
}

/// SQLite gives its other files the mode of this one.
fn make_private(file: &Path) -> std::io::Result<()> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(file)?;
    std::fs::set_permissions(file, Permissions::from_mode(0o600))
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Nobody else writes; what remains is a reader that meets a checkpoint.
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // After a burst the log shrinks to this again.
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

/// Brings the file to the newest layout, in one step.
fn migrate(connection: &mut Connection, file: &Path) -> Result<(), OpenError> {
    let unreadable =
        |source: rusqlite::Error| OpenError::File { file: file.to_owned(), source: Box::new(source) };
    let known = i64::try_from(LAYOUTS.len()).unwrap_or(i64::MAX);
    let step = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unreadable)?;
    let found: i64 = step.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(unreadable)?;
    if found > known {
        return Err(OpenError::Newer { file: file.to_owned(), found, known });
    }
    for layout in LAYOUTS.iter().skip(usize::try_from(found).unwrap_or_default()) {
        step.execute_batch(layout).map_err(unreadable)?;
    }
    step.pragma_update(None, "user_version", known).map_err(unreadable)?;
    step.commit().map_err(unreadable)
}

fn start_readers(
    connections: Vec<Connection>,
    queries: Receiver<Query>,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let queries = Arc::new(Mutex::new(queries));
    let start = |connection: Connection| {
        let queries = Arc::clone(&queries);
        let work = move || {
            loop {
                // The lock is held while waiting, not while reading.
                let next = lock(&queries).recv();
                match next {
                    Ok(query) => query(&connection),
                    Err(_) => return,
                }
            }
        };
        thread::Builder::new().name("sortie-read".into()).spawn(work)
    };
    connections.into_iter().map(start).collect()
}

/// Several statements see the same state only inside a transaction.
fn snapshot<T>(
    connection: &Connection,
    query: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let transaction = connection.unchecked_transaction()?;
    let answer = query(&transaction)?;
    transaction.commit()?;
    Ok(answer)
}
