//! Which of a channel's messages the server has been told about, so that it is told in few words. Pure.
//!
//! Messages have the channel's numbers, 1, 2, ..., but those of several consumers reach us in an order of their own: what
//! is before a number may still be on its way to us, and must not be acked with it.

use std::collections::BTreeSet;

/// The messages of one channel.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// How many that came are not settled.
    out: usize,
    /// Up to here all are settled, and behind it these.
    settled_to: u64,
    settled_behind: BTreeSet<u64>,
}

/// One ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) tag: u64,
    /// It stands for all before it too.
    pub(crate) multiple: bool,
}

impl Ledger {
    /// One more message came.
    pub(crate) fn came(&mut self) {
        self.out += 1;
    }

    /// How many that came are not settled.
    pub(crate) const fn out(&self) -> usize {
        self.out
    }

    /// Settles messages; the fewest acks that say so of `acked`, once the `released` have been given back.
    pub(crate) fn settle(&mut self, mut acked: Vec<u64>, released: &[u64]) -> Vec<Ack> {
        self.out = self.out.saturating_sub(acked.len() + released.len());
        self.settled_behind.extend(acked.iter().chain(released));
        while self.settled_behind.remove(&(self.settled_to + 1)) {
            self.settled_to += 1;
        }
        acked.sort_unstable();
        let alone = acked.split_off(acked.partition_point(|tag| *tag <= self.settled_to));
        let together = acked.pop().map(|tag| Ack { tag, multiple: true });
        together.into_iter().chain(alone.into_iter().map(|tag| Ack { tag, multiple: false })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(ledger: &mut Ledger, acked: &[u64], released: &[u64]) -> Vec<(u64, bool)> {
        ledger.settle(acked.to_vec(), released).into_iter().map(|ack| (ack.tag, ack.multiple)).collect()
    }

    #[test]
    fn what_is_settled_without_a_gap_is_acked_at_once() {
        let mut ledger = Ledger::default();
        (0..9).for_each(|_| ledger.came());
        assert_eq!(settle(&mut ledger, &[3, 1, 2], &[]), [(3, true)]);
        assert_eq!(settle(&mut ledger, &[6, 8], &[5]), [(6, false), (8, false)]);
        assert_eq!(settle(&mut ledger, &[4], &[]), [(4, true)], "5 and 6 are settled already");
        assert_eq!(settle(&mut ledger, &[], &[7]), []);
        assert_eq!(settle(&mut ledger, &[9], &[]), [(9, true)]);
        assert_eq!(ledger.out(), 0);
    }

    #[test]
    fn what_has_not_come_yet_is_not_acked_with_what_came_behind_it() {
        let mut ledger = Ledger::default();
        ledger.came();
        ledger.came();
        assert_eq!(settle(&mut ledger, &[2, 3], &[]), [(2, false), (3, false)]);
        ledger.came();
        assert_eq!(settle(&mut ledger, &[1], &[]), [(1, true)]);
    }
}
