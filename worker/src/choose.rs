//! Which of the jobs that wait in this worker goes next. Pure.
//!
//! The most urgent one, except that a priority which was passed over often enough while it had something to
//! run comes first: so urgent work waits little, and nothing starves.

use protocol::job::Priority;

/// How often each priority may be passed over in a row: one in 5 slots is kept for normal work, and one in 21
/// for low, if there is any.
const PATIENCE: [u32; 3] = [0, 4, 20];

/// How often each priority was passed over in a row, in the order of [`Priority::ALL`].
pub(crate) type Passed = [u32; 3];

/// The priority to serve next, given which ones have something waiting, and the new counts. Both in the order
/// of [`Priority::ALL`].
pub(crate) fn choose(waiting: [bool; 3], passed: Passed) -> Option<(Priority, Passed)> {
    let impatient = (0..3).rev().find(|&p| waiting[p] && PATIENCE[p] > 0 && passed[p] >= PATIENCE[p]);
    let chosen = impatient.or_else(|| (0..3).find(|&p| waiting[p]))?;
    let next = std::array::from_fn(|p| if p != chosen && waiting[p] { passed[p] + 1 } else { 0 });
    Some((Priority::ALL[chosen], next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(waiting: [bool; 3], rounds: usize) -> Vec<Priority> {
        let mut passed = Passed::default();
        let mut order = Vec::new();
        for _ in 0..rounds {
            let (priority, next) = choose(waiting, passed).unwrap();
            passed = next;
            order.push(priority);
        }
        order
    }

    fn count(order: &[Priority], priority: Priority) -> usize {
        order.iter().filter(|p| **p == priority).count()
    }

    #[test]
    fn nothing_waiting_gives_nothing() {
        assert_eq!(choose([false; 3], [9; 3]), None);
    }

    #[test]
    fn the_most_urgent_goes_first() {
        assert_eq!(served([true, true, true], 4), [Priority::High; 4]);
        assert_eq!(served([false, true, true], 4), [Priority::Normal; 4]);
        assert_eq!(served([false, false, true], 2), [Priority::Low; 2]);
    }

    #[test]
    fn under_a_flood_of_urgent_work_every_priority_keeps_its_share() {
        let order = served([true, true, true], 210);
        assert_eq!(count(&order, Priority::Low), 10);
        assert!((35..=42).contains(&count(&order, Priority::Normal)));
        assert!(count(&order, Priority::High) >= 155);
        let order = served([false, true, true], 210);
        assert_eq!(count(&order, Priority::Low), 10);
    }

    #[test]
    fn who_has_nothing_waiting_gathers_no_claim() {
        let (_, passed) = choose([true, false, true], [0, 3, 3]).unwrap();
        assert_eq!(passed, [0, 0, 4]);
    }
}
