//! The head of a job: the small part of its record that decisions are made from.

use protocol::id::JobId;
use protocol::job::JobSpec;
use protocol::state::JobState;
use protocol::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::error::Failure;
use crate::values::{At, Text, Word, Written};

/// What decisions need to know of a job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    /// What the other tables call the job.
    pub(super) row: i64,
    /// The job.
    pub(super) id: JobId,
    /// Where it is.
    pub(super) state: JobState,
    /// Number of the newest attempt; 0 before the first.
    pub(super) attempt: u32,
    /// Events that the newest attempt has handed in.
    pub(super) ordinal: u64,
    /// Until when the running attempt is held.
    pub(super) lease_until: Option<Timestamp>,
    /// Worthless after this.
    pub(super) deadline: Timestamp,
    /// True once someone asked to cancel it.
    pub(super) cancel_requested: bool,
    /// Number of the newest event.
    pub(super) last_seq: u64,
    /// True if its answer is sent somewhere.
    pub(super) replies: bool,
}

/// How an attempt number relates to the job: the fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fence {
    /// It is the newest attempt, and runs.
    Current,
    /// It is an attempt that the store never heard of, or has lost.
    Unknown,
    /// It has ended, or the job is over: nothing more can be written.
    Closed,
}

impl Head {
    const SELECT: &str = "SELECT row, id, state, attempt, ordinal, lease_until, deadline, cancel_requested, \
                          last_seq, replies FROM jobs";

    /// The head of the job with that id.
    pub(super) fn load(file: &Connection, id: JobId) -> Result<Option<Self>, Failure> {
        let mut statement = file.prepare_cached(&format!("{} WHERE id = ?1", Self::SELECT))?;
        Ok(statement.query_row([Text(id)], Self::read).optional()?)
    }

    /// The heads that `condition` selects.
    pub(super) fn all(file: &Connection, condition: &str, params: impl Params) -> Result<Vec<Self>, Failure> {
        let mut statement = file.prepare_cached(&format!("{} WHERE {condition}", Self::SELECT))?;
        let heads = statement.query_map(params, Self::read)?.collect::<Result<_, _>>()?;
        Ok(heads)
    }

    /// Where the attempt stands.
    pub(super) fn fence(&self, attempt: u32) -> Fence {
        if self.state.is_terminal() || attempt < self.attempt {
            Fence::Closed
        } else if attempt > self.attempt {
            Fence::Unknown
        } else if self.state == JobState::Running {
            Fence::Current
        } else {
            Fence::Closed
        }
    }

    /// True if an attempt runs and its lease holds.
    pub(super) fn is_held(&self, now: Timestamp) -> bool {
        self.state == JobState::Running && self.lease_until.is_some_and(|until| now < until)
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (Text(id), Word(state), At(deadline)) = (row.get(1)?, row.get(2)?, row.get(6)?);
        Ok(Self {
            row: row.get(0)?,
            id,
            state,
            attempt: row.get(3)?,
            ordinal: row.get(4)?,
            lease_until: row.get::<_, Option<At>>(5)?.map(|At(until)| until),
            deadline,
            cancel_requested: row.get(7)?,
            last_seq: row.get(8)?,
            replies: row.get(9)?,
        })
    }
}

/// What was asked for.
pub(super) fn spec(file: &Connection, row: i64) -> Result<JobSpec, Failure> {
    let mut statement = file.prepare_cached("SELECT spec FROM specs WHERE job = ?1")?;
    let Written(spec) = statement.query_row([row], |row| row.get(0))?;
    Ok(spec)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A head of a job with two attempts, at the instant 1,000.
    pub(in crate::store) fn head(state: JobState) -> Head {
        Head {
            row: 1,
            id: JobId::generate(),
            state,
            attempt: 2,
            ordinal: 0,
            lease_until: (state == JobState::Running).then_some(Timestamp::from_millis(2_000)),
            deadline: Timestamp::from_millis(10_000),
            cancel_requested: false,
            last_seq: 5,
            replies: false,
        }
    }

    #[test]
    fn only_the_newest_attempt_of_a_running_job_may_write() {
        for state in JobState::ALL {
            let head = head(state);
            assert_eq!(head.fence(1), Fence::Closed, "{state}");
            assert_eq!(head.fence(2) == Fence::Current, state == JobState::Running, "{state}");
            assert_eq!(head.fence(3) == Fence::Unknown, !state.is_terminal(), "{state}");
        }
    }

    #[test]
    fn a_lease_holds_until_its_end() {
        let head = head(JobState::Running);
        assert!(head.is_held(Timestamp::from_millis(1_999)));
        assert!(!head.is_held(Timestamp::from_millis(2_000)));
    }
}
