//! The fields of a Redis hash, read one by one. Nothing that is read back is trusted.

use std::collections::HashMap;
use std::str::FromStr;

use protocol::ports::PortError;
use protocol::time::Timestamp;
use redis::{FromRedisValue, from_redis_value};

use crate::error::{self, Unreadable};

/// The fields of a hash by name. None where there is no such key.
#[derive(Debug, Default)]
pub(crate) struct Fields(HashMap<String, String>);

impl Fields {
    /// The names and values that a script returns one after another, behind its first word.
    pub(crate) fn of_answer(words: Vec<String>) -> Self {
        let mut words = words.into_iter().skip(1);
        let mut fields = HashMap::new();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            fields.insert(name, value);
        }
        Self(fields)
    }

    /// Fields that were asked for by these names.
    pub(crate) fn of(names: &[&str], values: Vec<Option<String>>) -> Self {
        let there = |(name, value): (&&str, Option<String>)| Some(((*name).to_owned(), value?));
        Self(names.iter().zip(values).filter_map(there).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The text of a field that may be missing, or empty, which means the same.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// The value of a field that may be missing.
    pub(crate) fn maybe<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Unreadable> {
        match self.text(name) {
            Some(text) => parse(text).map(Some).ok_or_else(|| unreadable(name)),
            None => Ok(None),
        }
    }

    /// The value of a field that must be there.
    pub(crate) fn must<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Unreadable> {
        self.maybe(name, parse)?.ok_or_else(|| unreadable(name))
    }
}

impl FromRedisValue for Fields {
    fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
        HashMap::from_redis_value(value).map(Self)
    }
}

/// One answer of several.
pub(crate) fn read<T: FromRedisValue>(
    operation: &'static str,
    answer: Option<redis::Value>,
) -> Result<T, PortError> {
    from_redis_value(answer.unwrap_or_default()).map_err(|e| error::failed(operation, e.into()))
}

/// A limit as the server takes it.
pub(crate) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The number of a text.
pub(crate) fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// The instant of a text: milliseconds since 1970.
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    number(text).map(Timestamp::from_millis)
}

/// Our own small types as JSON text; they always have one.
pub(crate) fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".into())
}

fn unreadable(field: &str) -> Unreadable {
    Unreadable::at(format!("the field {field}"))
}

/// `text` as a Lua string.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\0' => quoted.push_str("\\0"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_for_lua() {
        assert_eq!(quoted(r#"{"a":"it's \"x\""}"#), r#"'{"a":"it\'s \\"x\\""}'"#);
        assert_eq!(quoted("a\nb"), r"'a\nb'");
    }
}
