//! What the benchmarks share: processes as the kernel accounts for them, and figures made of many measurements.

pub mod process;
pub mod stats;
