//! Turns what the JSON library says about a body into a code, a place and a sentence for people, with a
//! hint where a name is nearly right.

use protocol::error::{Code, Problem};
use serde_path_to_error::{Path, Segment};

/// The longest piece of the caller's own text that a message repeats, in characters.
const ECHO_CHARS: usize = 60;

/// The problem with a body whose field at `path` (below `root`) was refused with `message`.
pub(crate) fn refusal(root: &str, path: &Path, message: &str) -> Problem {
    let message = without_position(message);
    let place = format!("{root}{}", pointer(path));
    if let Some((name, known)) = unknown(message, "unknown field `") {
        // The path may already end with the unknown name.
        let own = format!("/{}", escape(name));
        let place = if place.ends_with(&own) { place } else { format!("{place}{own}") };
        return Problem::at(
            Code::FieldUnknown,
            place,
            format!("unknown field; {}", hint(name, &known, "fields")),
        );
    }
    if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return Problem::at(Code::FieldMissing, format!("{place}/{}", escape(name)), "is missing");
    }
    if let Some((name, known)) = unknown(message, "unknown variant `") {
        let text = format!("unknown value {:?}; {}", echo(name), hint(name, &known, "values"));
        return Problem::at(Code::FieldInvalid, place, text);
    }
    if let Some(name) = message.strip_prefix("duplicate field `").and_then(|rest| rest.strip_suffix('`')) {
        let own = format!("/{}", escape(name));
        let place = if place.ends_with(&own) { place } else { format!("{place}{own}") };
        return Problem::at(Code::FieldInvalid, place, "appears twice");
    }
    for start in ["invalid type: ", "invalid value: "] {
        let halves = message.strip_prefix(start).and_then(|rest| rest.rsplit_once(", expected "));
        if let Some((given, wanted)) = halves {
            let text = format!("must be {}, not {}", wanted_words(wanted), given_words(given));
            return Problem::at(Code::FieldInvalid, place, text);
        }
    }
    Problem::at(Code::FieldInvalid, place, message)
}

/// "did you mean", if one of the known names is close, else the list of them.
pub(crate) fn hint(name: &str, known: &[&str], what: &str) -> String {
    match closest(name, known) {
        Some(close) => format!("did you mean {close}?"),
        None if known.is_empty() => format!("there are no {what} here"),
        None => format!("known {what}: {}", known.join(", ")),
    }
}

/// The JSON pointer (RFC 6901) of a path.
pub(crate) fn pointer(path: &Path) -> String {
    path.iter().fold(String::new(), |text, segment| match segment {
        Segment::Seq { index } => format!("{text}/{index}"),
        Segment::Map { key } => format!("{text}/{}", escape(key)),
        // The variant of an enum and what the library can't name are no places in the text.
        Segment::Enum { .. } | Segment::Unknown => text,
    })
}

/// A name as one step of a JSON pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The message without the line and column that the library adds; fields have a pointer instead.
pub(crate) fn without_position(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |end| &message[..end])
}

/// Name and known names of "unknown ... `name`, expected one of `a`, `b`".
fn unknown<'a>(message: &'a str, start: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let rest = message.strip_prefix(start)?;
    let (name, rest) = rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there are "))?;
    Some((name, rest.split('`').skip(1).step_by(2).collect()))
}

fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    if name.len() > 64 {
        return None;
    }
    let near = |candidate: &&&str| {
        let related = name.len() >= 3 && (candidate.starts_with(&name) || name.starts_with(**candidate));
        related || distance(&name, candidate) <= candidate.len() / 3
    };
    known.iter().filter(near).min_by_key(|candidate| distance(&name, candidate)).copied()
}

/// The number of letters to insert, delete or replace (Levenshtein).
fn distance(one: &str, two: &str) -> usize {
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in two.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[two.len()]
}

fn wanted_words(wanted: &str) -> &str {
    match wanted {
        "u64" | "usize" => "a whole number, 0 or more",
        "u32" => "a whole number from 0 to 4294967295",
        "i64" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a map" => "an object",
        "a sequence" => "an array",
        wanted if wanted.starts_with("struct ") || wanted.starts_with("internally tagged enum ") => {
            "an object"
        }
        wanted => wanted,
    }
}

fn given_words(given: &str) -> String {
    match given {
        "map" => "an object".into(),
        "sequence" => "an array".into(),
        given => {
            let kinds = ["integer `", "floating point `", "boolean `"];
            let number = kinds.iter().find_map(|kind| given.strip_prefix(kind)?.strip_suffix('`'));
            number.map_or_else(
                || {
                    given
                        .strip_prefix("string ")
                        .map_or_else(|| echo(given), |text| format!("the string {}", echo(text)))
                },
                echo,
            )
        }
    }
}

/// The caller's text, cut to what a message can bear.
fn echo(text: &str) -> String {
    match text.char_indices().nth(ECHO_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_listed() {
        let known = ["action", "deadline_ms", "input", "lane"];
        for (name, expected) in [
            ("deadline", "did you mean deadline_ms?"),
            ("Action", "did you mean action?"),
            ("lanes", "did you mean lane?"),
            ("inptu", "known fields: action, deadline_ms, input, lane"),
            ("colour", "known fields: action, deadline_ms, input, lane"),
        ] {
            assert_eq!(hint(name, &known, "fields"), expected, "{name}");
        }
    }

    #[test]
    fn distances_count_letters() {
        assert_eq!(distance("lane", "lane"), 0);
        assert_eq!(distance("lanes", "lane"), 1);
        assert_eq!(distance("priorty", "priority"), 1);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn the_echo_of_hostile_text_is_short() {
        assert!(given_words(&format!("string {:?}", "ä".repeat(10_000))).len() < 200);
        assert_eq!(given_words("integer `-1`"), "-1");
    }
}
