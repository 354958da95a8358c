//! How long calls of a version take, as a process has heard lately: what it goes by where it may put short jobs together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::id::ContentHash;

/// Versions of which something is kept. With more, all is forgotten, and soon heard again.
const KEPT: usize = 4_096;
/// Calls that are shorter than thought make the average follow by such a part.
const DOWN: u32 = 16;
/// What any call may take, so that a pace can grow from it.
const LEAST: Duration = Duration::from_micros(10);

/// A version, in few bytes: the beginning of its hash. Two that have the same would share their pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PaceKey(u64);

impl PaceKey {
    /// The key of a version.
    pub fn of(content: &ContentHash) -> Self {
        Self(u64::from_str_radix(content.as_str().get(..16).unwrap_or_default(), 16).unwrap_or_default())
    }
}

impl std::fmt::Display for PaceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl std::str::FromStr for PaceKey {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// The paces of versions. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Paces {
    kept: Arc<Mutex<HashMap<PaceKey, Duration>>>,
}

impl Paces {
    /// A call has taken so long. Cautious: a call that is longer than thought doubles the pace at most, so that one that was
    /// held up says little, but one in twelve makes it theirs; those that are shorter bring it down slowly.
    pub fn note(&self, version: PaceKey, took: Duration) {
        let mut kept = self.lock();
        if kept.len() >= KEPT && !kept.contains_key(&version) {
            kept.clear();
        }
        let pace = kept.entry(version).or_insert(took);
        let most = (*pace * 2).max(LEAST);
        *pace = if took > *pace { took.min(most) } else { *pace - (*pace - took) / DOWN };
    }

    /// How long a call takes; nothing if none was heard of.
    pub fn of(&self, version: PaceKey) -> Option<Duration> {
        self.lock().get(&version).copied()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PaceKey, Duration>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_slows_soon_and_quickens_slowly() {
        let (paces, version, ms) = (Paces::default(), PaceKey(1), Duration::from_millis);
        assert_eq!(paces.of(version), None);
        paces.note(version, ms(1));
        assert_eq!(paces.of(version), Some(ms(1)));
        paces.note(version, ms(100));
        assert_eq!(paces.of(version), Some(ms(2)), "one is an accident");
        (0..9).for_each(|_| paces.note(version, ms(100)));
        assert_eq!(paces.of(version), Some(ms(100)), "ten are not");
        (0..100).for_each(|_| paces.note(version, ms(1)));
        assert!(paces.of(version).unwrap() < ms(2));
        assert_eq!(paces.of(PaceKey(2)), None);
    }

    #[test]
    fn a_few_long_calls_among_short_ones_decide() {
        let paces = Paces::default();
        for (version, every) in [(1, 100), (2, 8)] {
            for number in 0..10_000 {
                paces.note(
                    PaceKey(version),
                    Duration::from_micros(if number % every == 0 { 1_000_000 } else { 100 }),
                );
            }
        }
        assert!(paces.of(PaceKey(1)).unwrap() < Duration::from_millis(1));
        assert!(paces.of(PaceKey(2)).unwrap() > Duration::from_millis(100));
    }

    #[test]
    fn a_key_is_a_part_of_the_hash_and_reads_back() {
        let key = PaceKey::of(&ContentHash::new(format!("00ff{}", "a".repeat(60))).unwrap());
        assert_eq!(key.to_string(), "ffaaaaaaaaaaaa");
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let paces = Paces::default();
        (0..10_000).for_each(|number| paces.note(PaceKey(number), Duration::ZERO));
        assert!(paces.lock().len() <= KEPT);
    }
}
