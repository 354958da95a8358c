//! All three ports in one SQLite file.
