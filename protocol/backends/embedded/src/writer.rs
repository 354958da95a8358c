//! The one thread that writes, with group commit: as many operations as are waiting run in one transaction,
//! each in a savepoint of its own, and are answered after the commit. The disk is asked to sync once for
//! all of them, and only if one of them needs it; where only answers wait for that, another thread does (`sync.rs`).

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::mpsc::Receiver;

use protocol::time::Timestamp;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::Failure;
use crate::options::Sync;

/// Most operations of one transaction: bounds how long the first of them waits for the last.
const BATCH: usize = 512;

/// Whether an operation's answer promises that a power cut can't undo it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It does.
    Durable,
    /// It does too, but until then others may see what was written already, and go on with it.
    DurableAnswer,
    /// Losing it costs a repetition, no promise. It still survives the end of the process.
    Relaxed,
}

/// One operation's view of the transaction: the connection, its instant, and what to do after the commit.
pub(crate) struct Tx<'a> {
    connection: &'a Connection,
    /// The instant of the operation, the same for everything that it writes.
    pub(crate) now: Timestamp,
    effects: RefCell<Vec<Effect>>,
}

type Effect = Box<dyn FnOnce() + Send>;
/// Tells whoever ordered an operation what came of it.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), Failure>) + Send>;
/// Does the work, and says whether its writes stand and how to answer once they are committed.
type Step = Box<dyn FnOnce(&Tx<'_>) -> (Result<(), Failure>, Answer) + Send>;

/// An operation on its way to the thread.
pub(crate) struct Operation {
    durability: Durability,
    step: Step,
}

impl Tx<'_> {
    /// Runs `effect` once the transaction is committed, before anyone is answered; never if it isn't.
    pub(crate) fn after_commit(&self, effect: impl FnOnce() + Send + 'static) {
        self.effects.borrow_mut().push(Box::new(effect));
    }
}

impl Deref for Tx<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Operation {
    /// An operation and where its answer arrives. It runs even if nobody waits for the answer any more.
    pub(crate) fn new<T: Send + 'static>(
        durability: Durability,
        work: impl FnOnce(&Tx<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> (Self, oneshot::Receiver<Result<T, Failure>>) {
        let (sender, receiver) = oneshot::channel();
        let step = Box::new(move |tx: &Tx<'_>| {
            let done = work(tx);
            let stands = done.as_ref().map(drop).map_err(Clone::clone);
            let answer: Answer = Box::new(move |commit| {
                // Nobody listens where the caller gave up.
                let _ = sender.send(done.and_then(|value| commit.map(|()| value)));
            });
            (stands, answer)
        });
        (Self { durability, step }, receiver)
    }
}

/// The thread's work: until nobody can order anything more. Answers that wait for the disk alone go to `syncing`.
pub(crate) fn run(
    connection: &Connection,
    operations: &Receiver<Operation>,
    sync: Sync,
    syncing: impl Fn(Answer),
) {
    let mut synced = None;
    while let Ok(first) = operations.recv() {
        let mut batch = vec![first];
        batch.extend(operations.try_iter().take(BATCH - 1));
        let durable = batch.iter().any(|operation| operation.durability == Durability::Durable);
        let full = durable && sync == Sync::Full;
        let mut done = Done::default();
        let committed = set_synchronous(connection, full, &mut synced)
            .and_then(|()| transact(connection, batch, &mut done));
        match &committed {
            Ok(()) => done.effects.into_iter().for_each(|effect| effect()),
            Err(failure) => {
                tracing::error!(error = %failure, "a transaction of the embedded file failed");
                if !connection.is_autocommit()
                    && let Err(error) = connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(%error, "and could not be rolled back");
                }
            }
        }
        // Operations that the failure left unexecuted have no answer here: their callers see a closed
        // channel, which reads "outcome unknown".
        for (durability, answer) in done.answers {
            let waits = durability == Durability::DurableAnswer && sync == Sync::Full && !full;
            if waits && committed.is_ok() {
                syncing(answer);
            } else {
                answer(committed.clone());
            }
        }
    }
}

#[derive(Default)]
struct Done {
    answers: Vec<(Durability, Answer)>,
    effects: Vec<Effect>,
}

/// Runs the batch as one transaction. Fails as a whole only where SQLite does.
fn transact(connection: &Connection, batch: Vec<Operation>, done: &mut Done) -> Result<(), Failure> {
    statement(connection, "BEGIN IMMEDIATE")?;
    for operation in batch {
        let tx = Tx { connection, now: Timestamp::now(), effects: RefCell::default() };
        statement(connection, "SAVEPOINT operation")?;
        let (stands, answer) = (operation.step)(&tx);
        done.answers.push((operation.durability, answer));
        match stands {
            Ok(()) => done.effects.append(&mut tx.effects.take()),
            // After grave trouble (a full disk) SQLite itself has rolled back everything.
            Err(failure) if connection.is_autocommit() => return Err(failure),
            Err(_) => statement(connection, "ROLLBACK TO operation")?,
        }
        statement(connection, "RELEASE operation")?;
    }
    statement(connection, "COMMIT")
}

fn statement(connection: &Connection, sql: &str) -> Result<(), Failure> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// In WAL mode `FULL` syncs the log at every commit, `NORMAL` only at checkpoints.
fn set_synchronous(connection: &Connection, full: bool, synced: &mut Option<bool>) -> Result<(), Failure> {
    if *synced != Some(full) {
        connection.pragma_update(None, "synchronous", if full { "FULL" } else { "NORMAL" })?;
        *synced = Some(full);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Runs the operations as one batch on an empty table `t(v UNIQUE)`.
    fn batch(values: &[i64]) -> (Connection, Vec<bool>) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (v INTEGER UNIQUE)").unwrap();
        let (sender, receiver) = mpsc::channel();
        let answers: Vec<_> = values
            .iter()
            .map(|value| {
                let value = *value;
                let (operation, answer) = Operation::new(Durability::Durable, move |tx| {
                    tx.execute("INSERT INTO t VALUES (-?1)", [value])?;
                    tx.execute("INSERT INTO t VALUES (?1)", [value])?;
                    Ok(())
                });
                sender.send(operation).unwrap();
                answer
            })
            .collect();
        drop(sender);
        run(&connection, &receiver, Sync::Full, |_| panic!("nothing waits for the disk alone"));
        let kept = answers.into_iter().map(|mut answer| answer.try_recv().unwrap().is_ok()).collect();
        (connection, kept)
    }

    #[test]
    fn an_operation_that_fails_leaves_nothing_and_harms_no_other() {
        let (connection, kept) = batch(&[1, 2, 0, 3]);
        assert_eq!(kept, [true, true, false, true]);
        let rows: i64 = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 6);
    }

    #[test]
    fn effects_run_for_what_was_kept_and_before_the_answer() {
        let connection = Connection::open_in_memory().unwrap();
        let (sender, receiver) = mpsc::channel();
        let (told, heard) = mpsc::channel();
        for keep in [true, false] {
            let told = told.clone();
            let (operation, _answer) = Operation::new(Durability::Relaxed, move |tx| {
                tx.after_commit(move || told.send(keep).unwrap());
                if keep { Ok(()) } else { Err(Failure::closed()) }
            });
            sender.send(operation).unwrap();
        }
        drop((sender, told));
        run(&connection, &receiver, Sync::Full, |_| panic!("nothing waits for the disk alone"));
        assert_eq!(heard.iter().collect::<Vec<_>>(), [true]);
    }

    #[test]
    fn an_answer_waits_for_the_disk_where_it_promises_that_and_the_transaction_did_not() {
        use Durability::{Durable, DurableAnswer, Relaxed};
        let waiting = |sync, durabilities: &[Durability]| {
            let connection = Connection::open_in_memory().unwrap();
            let (sender, receiver) = mpsc::channel();
            let order = |durability: &Durability| {
                let (operation, answer) = Operation::new(*durability, |_| Ok(()));
                sender.send(operation).unwrap();
                answer
            };
            let mut answers: Vec<_> = durabilities.iter().map(order).collect();
            drop(sender);
            let syncing = RefCell::new(Vec::new());
            run(&connection, &receiver, sync, |answer| syncing.borrow_mut().push(answer));
            let waits = answers.iter_mut().map(|answer| answer.try_recv().is_err()).collect::<Vec<_>>();
            let failure = Failure::closed();
            syncing.into_inner().into_iter().for_each(|answer| answer(Err(failure.clone())));
            let refused = answers.iter_mut().map(|answer| matches!(answer.try_recv(), Ok(Err(_))));
            assert_eq!(waits, refused.collect::<Vec<_>>(), "what the disk said is answered");
            waits
        };
        assert_eq!(waiting(Sync::Full, &[DurableAnswer, Relaxed]), [true, false]);
        assert_eq!(waiting(Sync::Full, &[DurableAnswer, Relaxed, Durable]), [false; 3]);
        assert_eq!(waiting(Sync::Normal, &[DurableAnswer, Relaxed]), [false; 2]);
    }
}
