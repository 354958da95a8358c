//! Takes jobs from the queue and runs their handlers.
