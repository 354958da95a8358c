//! The thread that waits for the disk while the writer goes on: for answers which promise that a power cut can't undo what
//! was committed, where nothing else hangs on that.
//!
//! SQLite's log (the file beside the database) has all that was committed, in order, and stays the same file as long as the
//! database is open; when it begins anew, SQLite has synced what it had (<https://www.sqlite.org/wal.html>).

use std::fs::File;
use std::sync::mpsc::Receiver;

use crate::error::Failure;
use crate::writer::Answer;

/// The thread's work: until nobody waits any more. All that wait at the same moment wait for one sync.
pub(crate) fn run(log: &File, answers: &Receiver<Answer>) {
    while let Ok(first) = answers.recv() {
        let rest: Vec<_> = answers.try_iter().collect();
        let synced = log.sync_data().map_err(|error| {
            tracing::error!(%error, "the log of the embedded file can't be synced");
            Failure::from(error)
        });
        for answer in std::iter::once(first).chain(rest) {
            answer(synced.clone());
        }
    }
}
