//! Whether the input is what the version asks for.

use std::sync::Arc;

use protocol::error::{Code, Fault, Problem};
use protocol::json::Json;
use protocol::limits;

use super::explain;
use super::resolve::{Run, Terms};

/// Larger inputs are checked on a thread of their own, so that a costly schema holds up nobody else.
const INLINE_BYTES: usize = 16 * 1024;

/// Refuses an input that is too large or doesn't fit the schema of what runs.
pub(crate) async fn input(run: &Run, input: &Json) -> Result<(), Problem> {
    let size = input.text().len();
    if size > limits::INPUT_BYTES {
        let detail =
            format!("the input has {size} bytes of JSON; at most {} are allowed", limits::INPUT_BYTES);
        return Err(Problem::new(Code::InputTooLarge, detail));
    }
    let faults = if size <= INLINE_BYTES {
        faults(&run.terms, input)?
    } else {
        let (terms, input) = (Arc::clone(&run.terms), input.clone());
        let checked = tokio::task::spawn_blocking(move || faults(&terms, &input)).await;
        checked.map_err(|_| Problem::new(Code::Internal, "the check of the input broke off"))??
    };
    if faults.is_empty() {
        return Ok(());
    }
    let version = run.version.map_or_else(|| "the draft".into(), |number| format!("version {number}"));
    let first = &faults[0];
    let detail = format!(
        "the input does not fit the schema of {} ({version}): {}{}",
        run.action,
        if first.pointer.is_empty() { String::new() } else { format!("{}: ", first.pointer) },
        first.message
    );
    Err(Problem::new(Code::InputInvalid, detail).with(faults))
}

fn faults(terms: &Terms, input: &Json) -> Result<Vec<Fault>, Problem> {
    // The text was only scanned so far: a number out of range or half a surrogate pair shows here.
    let value = serde_json::from_str(input.text()).map_err(|error| {
        let message = error.to_string();
        Problem::at(Code::FieldInvalid, "/input", explain::without_position(&message))
    })?;
    Ok(terms.input.faults(&value))
}
