//! Figures made of many measurements.

use std::time::Duration;

/// The time that so many of a hundred don't exceed, in ms. Zero for no times at all.
pub fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.max(1) - 1).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

/// The middle one, or what lies between the two in the middle. Zero for none.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or(0.0);
    let lower = values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(upper);
    f64::midpoint(lower, upper)
}

/// To three decimals.
pub fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
