//! How many jobs a worker takes before a slot is free for them: so many as will get one soon, judged by how long calls
//! have kept their slots.
//!
//! A slot that is free must not wait for the queue and the store. A job that was claimed must not wait for a slot, since
//! a slot of another worker may be free. Where calls take a millisecond both can be had; where they take seconds
//! nothing is taken ahead.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a job that was claimed ahead may have to wait for its slot, as far as one can judge.
const WAIT: Duration = Duration::from_millis(10);
/// The most that is claimed ahead.
const MOST: usize = 64;
/// The queue may deliver so many times what is claimed ahead: acks are under way, and the next jobs at hand.
const AT_HAND: usize = 4;
/// How many calls the average looks back on.
const CALLS: u64 = 32;
/// How long calls are taken to keep their slot until some have.
const UNKNOWN: Duration = Duration::from_secs(1);

/// Counts what is on its way to a slot or in one.
#[derive(Debug)]
pub(crate) struct Ahead {
    slots: usize,
    /// Moving average of the time that a call keeps its slot, in microseconds.
    kept: AtomicU64,
    /// Jobs that are claimed ahead at most.
    number: AtomicUsize,
    entered: AtomicUsize,
    left: Notify,
}

impl Ahead {
    pub(crate) fn new(slots: usize) -> Self {
        let (kept, number, entered) =
            (AtomicU64::new(micros(UNKNOWN)), AtomicUsize::new(0), AtomicUsize::new(0));
        Self { slots, kept, number, entered, left: Notify::new() }
    }

    /// Waits until one more job may be begun. For one task.
    pub(crate) async fn room(&self) {
        while self.entered.load(Ordering::Relaxed) >= self.slots + self.number.load(Ordering::Relaxed) {
            self.left.notified().await;
        }
    }

    /// True if there is a slot that no job is in, nor on its way to.
    pub(crate) fn has_spare_slot(&self) -> bool {
        self.entered.load(Ordering::Relaxed) < self.slots
    }

    /// One more job is on its way to a slot.
    pub(crate) fn enter(&self) {
        self.entered.fetch_add(1, Ordering::Relaxed);
    }

    /// It is no more, nor in its slot.
    pub(crate) fn leave(&self) {
        self.entered.fetch_sub(1, Ordering::Relaxed);
        self.left.notify_one();
    }

    /// A call has kept its slot for so long.
    pub(crate) fn kept(&self, time: Duration) {
        // Two at once may lose one of them, which an average bears.
        let kept = (self.kept.load(Ordering::Relaxed) * (CALLS - 1) + micros(time)) / CALLS;
        self.set(kept);
    }

    /// A job that was claimed has waited too long for a slot: the average says nothing about those that hold them.
    pub(crate) fn misjudged(&self) {
        self.set(micros(UNKNOWN));
    }

    /// Deliveries that the queue may have out at this worker.
    pub(crate) fn ceiling(&self) -> u16 {
        let ceiling = self.slots + AT_HAND * self.number.load(Ordering::Relaxed);
        u16::try_from(ceiling).unwrap_or(u16::MAX)
    }

    fn set(&self, kept: u64) {
        self.kept.store(kept, Ordering::Relaxed);
        let number = number(self.number.load(Ordering::Relaxed), self.slots, Duration::from_micros(kept));
        if self.number.swap(number, Ordering::Relaxed) < number {
            self.left.notify_one();
        }
    }
}

/// How many jobs to claim ahead, given how many it were and how long a call keeps a slot: 0, 4, 16 or 64. Steps, and
/// far apart, for each is another agreement with the queue.
fn number(now: usize, slots: usize, kept: Duration) -> usize {
    let fits = u128::from(micros(WAIT)) * slots as u128 / kept.as_micros().max(1);
    let fits = usize::try_from(fits).unwrap_or(MOST);
    let mut number = now;
    while number < MOST && fits >= (number * 4).max(4) {
        number = (number * 4).max(4);
    }
    while number > 0 && fits < number / 4 {
        number = if number > 4 { number / 4 } else { 0 };
    }
    number
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_calls_are_claimed_ahead_and_long_ones_are_not() {
        let us = Duration::from_micros;
        assert_eq!(number(0, 2, us(300)), 64);
        assert_eq!(number(0, 2, us(1_000)), 16);
        assert_eq!(number(0, 8, us(10_000)), 4);
        assert_eq!(number(0, 2, us(6_000)), 0);
        assert_eq!(number(64, 2, us(50_000)), 0);
    }

    #[test]
    fn a_small_change_changes_nothing() {
        let us = Duration::from_micros;
        assert_eq!(number(16, 2, us(5_000)), 16);
        assert_eq!(number(16, 2, us(400)), 16);
        assert_eq!(number(4, 2, us(20_000)), 4);
        assert_eq!(number(4, 2, us(21_000)), 0);
    }

    #[test]
    fn a_slot_that_a_job_is_on_its_way_to_is_not_spare() {
        let ahead = Ahead::new(1);
        assert!(ahead.has_spare_slot());
        ahead.enter();
        assert!(!ahead.has_spare_slot());
        ahead.leave();
        assert!(ahead.has_spare_slot());
    }

    #[test]
    fn many_short_calls_are_needed_to_believe_it_and_one_misjudgement_to_stop() {
        let ahead = Ahead::new(2);
        ahead.kept(Duration::from_micros(300));
        assert_eq!(ahead.ceiling(), 2);
        for _ in 0..500 {
            ahead.kept(Duration::from_micros(300));
        }
        assert_eq!(ahead.ceiling(), 2 + 256);
        ahead.misjudged();
        assert_eq!(ahead.ceiling(), 2);
    }

    #[tokio::test]
    async fn there_is_room_for_as_many_as_there_are_slots() {
        let ahead = Ahead::new(1);
        ahead.room().await;
        ahead.enter();
        let mut room = Box::pin(ahead.room());
        assert!(futures_util::poll!(&mut room).is_pending());
        ahead.leave();
        room.await;
    }
}
