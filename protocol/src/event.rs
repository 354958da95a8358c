//! Events: the numbered entries of a job's stream.

use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::time::Timestamp;

/// What an event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The job changed its state: `{"state", "reason"?}`.
    State,
    /// The handler yielded a value: that value.
    Chunk,
    /// The handler printed or logged: `{"stream", "text"}`.
    Log,
    /// The handler told how far it is: `{"fraction", "message"?}`.
    Progress,
    /// The job ended; always the last event: `{"state", "result" | "error"}`.
    Result,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::State, Self::Chunk, Self::Log, Self::Progress, Self::Result];

    /// The name in the API and in stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Chunk => "chunk",
            Self::Log => "log",
            Self::Progress => "progress",
            Self::Result => "result",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One entry of a job's stream. Numbers start at 1 and have no gap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The number.
    pub seq: u64,
    /// What it tells.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// When the store took it.
    pub at: Timestamp,
    /// The attempt that made it; 0 before the first.
    pub attempt: u32,
    /// Its content, by kind.
    pub data: Json,
}

/// An event of an attempt on its way to the store, which gives it number and time.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// `Chunk`, `Log` or `Progress`; the others are made by the store with the change that they tell.
    pub kind: EventKind,
    /// Its content.
    pub data: Json,
}

/// The events of an attempt from its `first`-th on (counted 1, 2, ... within the attempt). The ordinal lets
/// the store recognise what it already has when a batch is sent again after an answer was lost.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventBatch {
    /// Ordinal within the attempt of the first event of this batch; 1 for the attempt's very first.
    pub first: u64,
    /// The events, in order.
    pub events: Vec<NewEvent>,
}
