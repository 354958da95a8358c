//! When the server is told what became of its messages: soon where somebody waits for it, else many at once. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::Settle;

/// What the server should hear soon is gathered for so long after it was last told something.
const SOON: Duration = Duration::from_millis(2);
/// Acks are gathered for so long where nobody waits for the room that they make: the server writes many to its disk at
/// the cost of one. What they are for is delivered once more if the connection is lost meanwhile.
const AT_LEISURE: Duration = Duration::from_millis(50);
/// Acks that wait at leisure, at most.
const MANY: usize = 256;
/// Such a part of what a subscriber took on beyond its first prefetch may wait for its ack: the rest is at hand.
const PART: usize = 4;

/// What the server has not been told yet.
pub(crate) struct Gathering {
    waiting: Vec<Settle>,
    /// Since when something waits.
    since: Instant,
    /// When the server was last told something.
    told: Instant,
    /// A message that was given back is among them: others may want it.
    released: bool,
}

impl Gathering {
    pub(crate) fn new(now: Instant) -> Self {
        Self { waiting: Vec::new(), since: now, told: now, released: false }
    }

    pub(crate) fn add(&mut self, settle: Settle, now: Instant) {
        if self.waiting.is_empty() {
            self.since = now;
        }
        self.released |= matches!(settle, Settle::Release(_));
        self.waiting.push(settle);
    }

    /// When the server is to be told, of `out` messages of which so many may wait at leisure; `None` if there is nothing to
    /// tell.
    pub(crate) fn due(&self, out: usize, may_wait: usize) -> Option<Instant> {
        let waiting = self.waiting.len();
        if waiting == 0 {
            None
        } else if !self.released && waiting <= may_wait {
            Some(self.since + AT_LEISURE)
        } else if waiting >= out {
            // Nothing else can come.
            Some(self.since)
        } else {
            Some(self.told + SOON)
        }
    }

    /// All of it: the server is told now.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<Settle> {
        self.told = now;
        self.released = false;
        std::mem::take(&mut self.waiting)
    }
}

/// How many acks may wait at leisure while `out` messages are out: no more than there is room for further messages, for a
/// server takes who doesn't ack for busy; without room, a part of what it has delivered beyond the first prefetch.
pub(crate) fn may_wait(prefetch: u16, more: u16, out: usize) -> usize {
    let room = (usize::from(prefetch) + usize::from(more)).saturating_sub(out);
    let wait = if room > 0 { room } else { usize::from(more) / PART };
    wait.min(MANY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_wait_only_where_there_is_room_or_enough_at_hand() {
        let waits = |more| [1, 7, 8, 24].map(|out| may_wait(8, more, out));
        assert_eq!(waits(0), [7, 1, 0, 0]);
        assert_eq!(waits(16), [23, 17, 16, 4]);
        assert_eq!(may_wait(8, 2_000, 8), MANY);
    }

    #[test]
    fn what_somebody_waits_for_is_told_soon() {
        let start = Instant::now();
        let later = start + Duration::from_millis(1);
        let mut gathering = Gathering::new(start);
        assert_eq!(gathering.due(9, MANY), None);
        gathering.add(Settle::Ack(1), later);
        assert_eq!(gathering.due(9, MANY), Some(later + AT_LEISURE));
        assert_eq!(gathering.due(9, 0), Some(start + SOON));
        assert_eq!(gathering.due(1, 0), Some(later), "nothing else can come");
        gathering.add(Settle::Release(2), later);
        assert_eq!(gathering.due(9, MANY), Some(start + SOON), "others may want it");
        assert_eq!(gathering.take(later).len(), 2);
        gathering.add(Settle::Ack(3), later);
        assert_eq!(gathering.due(9, 0), Some(later + SOON));
    }
}
