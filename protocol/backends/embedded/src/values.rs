//! Our words as SQLite columns: instants as numbers, names as text, closed sets by their name in the API,
//! the rest as JSON. What doesn't read back is `Corrupt`.

use std::fmt::Display;
use std::str::FromStr;

use protocol::event::EventKind;
use protocol::isolation::Isolation;
use protocol::job::{Priority, Reason};
use protocol::outcome::Outcome;
use protocol::state::JobState;
use protocol::time::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An instant.
#[derive(Clone, Copy)]
pub(crate) struct At(pub(crate) Timestamp);

/// Anything with a text form: ids and names.
pub(crate) struct Text<T>(pub(crate) T);

/// A member of a closed set, by name.
#[derive(Clone, Copy)]
pub(crate) struct Word<T>(pub(crate) T);

/// Anything as JSON.
pub(crate) struct Written<T>(pub(crate) T);

/// A closed set whose members have names.
pub(crate) trait Named: Sized + Copy {
    fn name(self) -> &'static str;
    fn of(name: &str) -> Option<Self>;
}

macro_rules! named {
    ($($type:ty, $of:expr;)+) => {
        $(impl Named for $type {
            fn name(self) -> &'static str {
                self.as_str()
            }
            fn of(name: &str) -> Option<Self> {
                $of(name)
            }
        })+
    };
}

named! {
    JobState, Self::from_name;
    Reason, Self::from_name;
    Outcome, Self::from_name;
    Isolation, Self::from_name;
    EventKind, Self::from_name;
    Priority, |name: &str| Self::ALL.into_iter().find(|priority| priority.as_str() == name);
}

/// A number of rows for `LIMIT`.
pub(crate) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl ToSql for At {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.millis().into())
    }
}

impl FromSql for At {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(|millis| Self(Timestamp::from_millis(millis)))
    }
}

impl<T: Display> ToSql for Text<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

impl<T: FromStr<Err: std::error::Error + Send + Sync + 'static>> FromSql for Text<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(FromSqlError::other)
    }
}

impl<T: Named> ToSql for Word<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.name().into())
    }
}

impl<T: Named> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        T::of(value.as_str()?).map(Self).ok_or(FromSqlError::InvalidType)
    }
}

impl<T: Serialize> ToSql for Written<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(&self.0);
        text.map(Into::into).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
}

impl<T: DeserializeOwned> FromSql for Written<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(FromSqlError::other)
    }
}
