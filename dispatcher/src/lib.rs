//! Takes requests, makes jobs of them, and hands out their results.
