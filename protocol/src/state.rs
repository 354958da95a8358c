//! The states of a job and the one table of transitions between them.
//!
//! `protocol/README.md` draws this table; a test below keeps drawing and table the same.

use serde::{Deserialize, Serialize};

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Not before a certain time: a job for later, or one that waits to be retried.
    Scheduled,
    /// Ready to run, waiting for a worker.
    Queued,
    /// An attempt runs.
    Running,
    /// The handler asked for input and waits for it.
    Waiting,
    /// Ended with a result.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended because its deadline passed.
    Expired,
    /// Ended because someone asked for it.
    Cancelled,
}

use JobState::{Cancelled, Expired, Failed, Queued, Running, Scheduled, Succeeded, Waiting};

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 8] = [Scheduled, Queued, Running, Waiting, Succeeded, Failed, Expired, Cancelled];

    /// True for the four states that never change again.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Succeeded | Failed | Expired | Cancelled)
    }

    /// The states that may follow this one: the transition table.
    pub const fn successors(self) -> &'static [Self] {
        match self {
            // Due; or given up before it was.
            Scheduled => &[Queued, Expired, Cancelled],
            // Claimed; or given up before that. Failed: the crash limit was reached while it waited.
            Queued => &[Running, Failed, Expired, Cancelled],
            // Scheduled: retry with back-off. Queued: the worker drained or died. Waiting: asked for input.
            Running => &[Succeeded, Failed, Expired, Cancelled, Scheduled, Queued, Waiting],
            // Queued: resumed.
            Waiting => &[Queued, Expired, Cancelled],
            Succeeded | Failed | Expired | Cancelled => &[],
        }
    }

    /// True if a job may go from this state to `next` in one step.
    pub fn may_become(self, next: Self) -> bool {
        self.successors().contains(&next)
    }

    /// The name in the API, in stores and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheduled => "scheduled",
            Queued => "queued",
            Running => "running",
            Waiting => "waiting",
            Succeeded => "succeeded",
            Failed => "failed",
            Expired => "expired",
            Cancelled => "cancelled",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The arrows of the Mermaid diagram in `protocol/README.md`, without the start and end marks.
    fn drawn() -> BTreeSet<(String, String)> {
        include_str!("../README.md")
            .lines()
            .filter_map(|line| line.trim().split(':').next()?.split_once("-->"))
            .map(|(from, to)| (from.trim().to_owned(), to.trim().to_owned()))
            .filter(|(from, to)| from != "[*]" && to != "[*]")
            .collect()
    }

    #[test]
    fn the_diagram_shows_exactly_the_table() {
        let table: BTreeSet<(String, String)> = JobState::ALL
            .into_iter()
            .flat_map(|from| from.successors().iter().map(move |to| (from.to_string(), to.to_string())))
            .collect();
        assert_eq!(drawn(), table);
    }

    #[test]
    fn terminal_states_have_no_successor_and_the_others_can_all_end() {
        for state in JobState::ALL {
            assert_eq!(state.is_terminal(), state.successors().is_empty(), "{state}");
            assert!(state.is_terminal() || state.may_become(Expired), "{state} can outlive its deadline");
        }
    }

    #[test]
    fn names_read_back() {
        for state in JobState::ALL {
            assert_eq!(JobState::from_name(state.as_str()), Some(state));
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{state}\""));
        }
    }
}
