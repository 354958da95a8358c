//! Ports around ports: one that fails on demand, one that measures.
