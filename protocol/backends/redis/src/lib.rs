//! The store and the registry on Redis.
