//! Schemas: compiling one (when a version is published, and again by each process that first meets it) and checking a
//! value that was read already, one that fits and one that doesn't.

use divan::{Bencher, black_box};
use protocol::schema::Schema;
use serde_json::{Value, json};

/// The least that an action has.
const SMALL: &str = r#"{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}"#;

/// About what a tool of an agent has.
pub(crate) const TOOL: &str = r##"{
    "type": "object",
    "properties": {
        "query": {"type": "string", "minLength": 1},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "language": {"enum": ["de", "en", "es", "fr", "ja", "zh"]},
        "safe": {"type": "boolean"},
        "filters": {"type": "array", "maxItems": 20, "items": {"$ref": "#/$defs/filter"}}
    },
    "required": ["query"],
    "additionalProperties": false,
    "$defs": {
        "filter": {
            "type": "object",
            "properties": {
                "field": {"type": "string"},
                "from": {"type": ["number", "null"]},
                "to": {"anyOf": [{"type": "number"}, {"type": "string", "format": "date"}]}
            },
            "required": ["field"]
        }
    }
}"##;

/// A pattern is the dearest thing to compile.
const PATTERN: &str =
    r#"{"type": "object", "properties": {"id": {"type": "string", "pattern": "^[a-z]{2,8}-[0-9]{4,12}$"}}}"#;

const SCHEMAS: [&str; 3] = ["small", "tool", "pattern"];

/// The schema of that name, a value that fits it and one that doesn't.
fn example(name: &str) -> (Value, Value, Value) {
    let (schema, good, bad) = match name {
        "tool" => (
            TOOL,
            json!({"query": "rust", "limit": 20, "language": "en", "filters": [{"field": "year", "from": 1990.5}]}),
            json!({"query": "", "limit": 0, "language": "xx", "filters": [{"from": "1990"}], "more": 1}),
        ),
        "pattern" => (PATTERN, json!({"id": "order-20260131"}), json!({"id": "Order 7"})),
        _ => (SMALL, json!({"city": "Oslo"}), json!({"town": "Oslo"})),
    };
    (serde_json::from_str(schema).unwrap(), good, bad)
}

fn compiled(schema: &Value) -> Schema {
    Schema::compile(schema, "/input_schema").unwrap()
}

#[divan::bench(args = SCHEMAS)]
fn compile(bencher: Bencher<'_, '_>, name: &str) {
    let (schema, ..) = example(name);
    bencher.bench(|| compiled(black_box(&schema)));
}

#[divan::bench(args = SCHEMAS)]
fn fits(bencher: Bencher<'_, '_>, name: &str) {
    let (schema, good, _) = example(name);
    let (schema, bytes) = (compiled(&schema), good.to_string().len());
    bencher.bench(|| assert!(schema.faults(black_box(&good), bytes).is_empty()));
}

#[divan::bench(args = SCHEMAS)]
fn refuses(bencher: Bencher<'_, '_>, name: &str) {
    let (schema, _, bad) = example(name);
    let (schema, bytes) = (compiled(&schema), bad.to_string().len());
    bencher.bench(|| assert!(!schema.faults(black_box(&bad), bytes).is_empty()));
}
