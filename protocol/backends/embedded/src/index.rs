//! What waits in the queue, in memory: per lane in the order of delivery. Bodies stay in the file, so a
//! long backlog costs a few dozen bytes a job.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use protocol::id::Lane;
use protocol::job::Priority;
use protocol::time::Timestamp;
use rusqlite::Connection;
use tokio::sync::Notify;

use crate::crew::lock;
use crate::values::{At, Text, Word};

/// A message that nobody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Its number in the file.
    pub(crate) id: i64,
    /// Its lane.
    pub(crate) lane: Lane,
    /// Its priority.
    pub(crate) priority: Priority,
    /// When it was published.
    pub(crate) since: Timestamp,
    /// True if it may have been handed out before.
    pub(crate) redelivered: bool,
}

/// How many deliveries of each lane and priority one consumer has out.
pub(crate) type Out = Mutex<HashMap<(Lane, Priority), u16>>;

/// All that waits.
#[derive(Debug, Default)]
pub(crate) struct Index {
    lanes: Mutex<HashMap<Lane, Places>>,
    /// Told when something new waits, or when a consumer may take more.
    pub(crate) news: Notify,
}

// The most urgent first, then the oldest: a message that was given back is at its old place.
type Places = BTreeMap<(Reverse<Priority>, i64), (Timestamp, bool)>;

impl Index {
    /// An index of what the file holds.
    pub(crate) fn new(waiting: Vec<Waiting>) -> Self {
        let index = Self::default();
        waiting.into_iter().for_each(|message| index.add(message));
        index
    }

    /// Something waits.
    pub(crate) fn add(&self, message: Waiting) {
        let place = (Reverse(message.priority), message.id);
        let mut lanes = lock(&self.lanes);
        lanes.entry(message.lane).or_default().insert(place, (message.since, message.redelivered));
        drop(lanes);
        self.news.notify_waiters();
    }

    /// The next message for a consumer of `lanes`, counted in `out`: the most urgent, then the oldest, of
    /// the lanes and priorities where `ceiling` isn't reached.
    pub(crate) fn take(&self, lanes: &[Lane], out: &Out, ceiling: u16) -> Option<Waiting> {
        let (mut waiting, mut out) = (lock(&self.lanes), lock(out));
        let (priority, lane, id) = Priority::ALL.into_iter().find_map(|priority| {
            let first = |lane: &Lane| {
                let all = (Reverse(priority), i64::MIN)..=(Reverse(priority), i64::MAX);
                waiting.get(lane)?.range(all).next().map(|(place, _)| place.1)
            };
            lanes
                .iter()
                .filter(|lane| out.get(&((*lane).clone(), priority)).is_none_or(|count| *count < ceiling))
                .filter_map(|lane| first(lane).map(|id| (id, lane)))
                .min_by_key(|(id, _)| *id)
                .map(|(id, lane)| (priority, lane.clone(), id))
        })?;
        let places = waiting.get_mut(&lane)?;
        let (since, redelivered) = places.remove(&(Reverse(priority), id))?;
        if places.is_empty() {
            waiting.remove(&lane);
        }
        *out.entry((lane.clone(), priority)).or_default() += 1;
        Some(Waiting { id, lane, priority, since, redelivered })
    }

    /// A delivery is out no more: its consumer may take another one.
    pub(crate) fn settle(&self, message: &Waiting, out: &Out) {
        let mut out = lock(out);
        if let Some(count) = out.get_mut(&(message.lane.clone(), message.priority)) {
            *count = count.saturating_sub(1);
        }
        drop(out);
        self.news.notify_waiters();
    }

    /// How many wait in a lane, and since when the oldest does.
    pub(crate) fn depth(&self, lane: &Lane) -> (u64, Option<Timestamp>) {
        let lanes = lock(&self.lanes);
        let Some(places) = lanes.get(lane) else { return (0, None) };
        let oldest = Priority::ALL.into_iter().filter_map(|priority| {
            let all = (Reverse(priority), i64::MIN)..=(Reverse(priority), i64::MAX);
            places.range(all).next().map(|(_, (since, _))| *since)
        });
        (u64::try_from(places.len()).unwrap_or(u64::MAX), oldest.min())
    }
}

/// What waits in a file that was just opened. Whoever held a message is gone; whether it was handed out
/// before isn't known, so it counts as that.
pub(crate) fn load(connection: &Connection) -> rusqlite::Result<Vec<Waiting>> {
    let mut statement = connection.prepare("SELECT id, lane, priority, published_at FROM messages")?;
    let messages = statement.query_map([], |row| {
        let (Text(lane), Word(priority), At(since)) = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Waiting { id: row.get(0)?, lane, priority, since, redelivered: true })
    })?;
    messages.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str) -> Lane {
        Lane::new(name).unwrap()
    }

    fn waiting(id: i64, name: &str, priority: Priority) -> Waiting {
        let since = Timestamp::from_millis(1_000 + id);
        Waiting { id, lane: lane(name), priority, since, redelivered: false }
    }

    #[test]
    fn the_most_urgent_goes_first_and_then_the_oldest_of_all_lanes() {
        use Priority::{High, Low, Normal};
        let all = [(1, "a", Low), (2, "b", Normal), (3, "a", Normal), (4, "b", High), (5, "c", High)];
        let index = Index::new(all.map(|(id, name, priority)| waiting(id, name, priority)).to_vec());
        let (lanes, out) = ([lane("a"), lane("b")], Out::default());
        let order: Vec<_> =
            std::iter::from_fn(|| index.take(&lanes, &out, 9)).map(|message| message.id).collect();
        assert_eq!(order, [4, 2, 3, 1]);
        assert_eq!(index.depth(&lane("c")), (1, Some(Timestamp::from_millis(1_005))));
        assert_eq!(index.depth(&lane("a")), (0, None));
    }

    #[test]
    fn the_ceiling_holds_for_each_lane_and_priority_until_one_is_settled() {
        let messages = (1..=3).map(|id| waiting(id, "a", Priority::Normal));
        let index = Index::new(messages.chain([waiting(9, "a", Priority::Low)]).collect());
        let (lanes, out) = ([lane("a")], Out::default());
        let first = index.take(&lanes, &out, 1).unwrap();
        assert_eq!(first.id, 1);
        assert_eq!(index.take(&lanes, &out, 1).unwrap().id, 9);
        assert_eq!(index.take(&lanes, &out, 1), None);
        assert_eq!(index.take(&lanes, &Out::default(), 1).unwrap().id, 2);
        index.settle(&first, &out);
        index.add(first.clone());
        assert_eq!(index.take(&lanes, &out, 1), Some(first));
    }
}
