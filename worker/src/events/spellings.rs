//! How a secret may be spelled where it turns up: as it is, escaped in JSON or by Python's `repr`, percent-encoded.
//!
//! What isn't here (its Base64, its hash, one letter a line) can't be told from other text and isn't looked for.

use std::collections::BTreeSet;
use std::fmt::Write;

/// What percent-encoders leave as it is, besides letters and digits: the strict ones, Python's `quote`,
/// JavaScript's `encodeURIComponent`, and those that take a whole URL.
const KEPT: [&str; 4] = ["-._~", "-._~/", "-._~!'()*", "-._~!#$%&'()*+,/:;=?@[]"];
/// The same for forms, where a space is a plus: Python's `urlencode`, and browsers.
const KEPT_IN_FORMS: [&str; 2] = ["-._~", "-._*"];

/// Every spelling of `value`, each once.
pub(super) fn of(value: &str) -> BTreeSet<String> {
    let (json, ascii, repr) = (json_of(value), ascii_of(&json_of(value)), repr_of(value));
    let mut spellings = BTreeSet::from([value.to_owned()]);
    // And once more: JSON in JSON, and what Python shows of JSON or writes of what it shows.
    spellings.extend([
        json_of(&json),
        ascii_of(&json_of(&ascii)),
        repr_of(&json),
        repr_of(&ascii),
        json_of(&repr),
    ]);
    spellings.extend([json, ascii, repr]);
    spellings.extend(KEPT.map(|kept| percent(value, kept)));
    spellings.extend(KEPT_IN_FORMS.map(|kept| percent(value, kept).replace("%20", "+")));
    spellings
}

/// As inside a JSON string, with no more escapes than needed.
fn json_of(value: &str) -> String {
    let quoted = serde_json::to_string(value).unwrap_or_default();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// The same by encoders that write ASCII only.
fn ascii_of(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing into a string can't fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// As Python shows a text to programmers, in the message of a `KeyError` for instance.
fn repr_of(value: &str) -> String {
    let quote = value.contains('\'') && value.contains('"');
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\'' if quote => out.push_str("\\'"),
            c => out.push(c),
        }
    }
    out
}

fn percent(value: &str, kept: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_word_has_one_spelling() {
        assert_eq!(of("abc-123_x"), BTreeSet::from(["abc-123_x".to_owned()]));
        assert_eq!(of("abc-123_.~").len(), 2, "browsers encode the tilde in forms");
    }

    #[test]
    fn every_encoder_is_known() {
        let spellings = of("a/b c\"é\n'🦀");
        for spelling in [
            "a/b c\"é\n'🦀",
            "a/b c\\\"é\\n'🦀",
            "a/b c\\\"\\u00e9\\n'\\ud83e\\udd80",
            "a/b c\"é\\n\\'🦀",
            "a/b c\\\\\\\"\\\\u00e9\\\\n'\\\\ud83e\\\\udd80",
            "a%2Fb%20c%22%C3%A9%0A%27%F0%9F%A6%80",
            "a/b%20c%22%C3%A9%0A%27%F0%9F%A6%80",
            "a%2Fb%20c%22%C3%A9%0A'%F0%9F%A6%80",
            "a%2Fb+c%22%C3%A9%0A%27%F0%9F%A6%80",
        ] {
            assert!(spellings.contains(spelling), "{spelling} is not in {spellings:#?}");
        }
    }
}
