//! How much one answer about many jobs may carry: a thousand results of a mebibyte would fill this process.

use protocol::job::Job;
use protocol::limits;

/// What is left of it.
pub(crate) struct Room {
    bytes: usize,
}

impl Room {
    /// That of one answer.
    pub(crate) const fn of_batch() -> Self {
        Self { bytes: limits::BATCH_RESULT_BYTES }
    }

    /// Leaves out the result of a job for which there is no room.
    pub(crate) fn fit(&mut self, job: &mut Job) {
        let bytes = job.result.as_ref().map_or(0, |result| result.text().len());
        match self.bytes.checked_sub(bytes) {
            Some(left) => self.bytes = left,
            None => job.result = None,
        }
    }
}
