//! Whether the input is what the version asks for.
//!
//! Schemas are written by users, and some take for ever: references that branch at every step, thousands
//! of alternatives for thousands of items. So only a check that is surely short runs in place. Any other
//! gets a thread of its own, of which there are few, and the caller a clear answer when it takes too long.

use std::sync::Arc;
use std::time::Duration;

use protocol::error::{Code, Fault, Problem};
use protocol::json::Json;
use protocol::limits;
use protocol::schema::check_apart;
use tokio::sync::Semaphore;

use super::explain;
use super::resolve::{Run, Terms};

/// The longest check.
const PATIENCE: Duration = Duration::from_secs(1);
/// Checks on threads of their own. A check can't be broken off: one that takes for ever keeps its place.
static PLACES: Semaphore = Semaphore::const_new(8);

/// Refuses an input that is too large or doesn't fit the schema of what runs.
pub(crate) async fn input(run: &Run, input: &Json) -> Result<(), Problem> {
    let size = input.text().len();
    if size > limits::INPUT_BYTES {
        let detail =
            format!("the input has {size} bytes of JSON; at most {} are allowed", limits::INPUT_BYTES);
        return Err(Problem::new(Code::InputTooLarge, detail));
    }
    let faults = if run.terms.input.is_quick(size) {
        faults(&run.terms, input)?
    } else {
        apart(Arc::clone(&run.terms), input.clone()).await?
    };
    let Some(first) = faults.first() else { return Ok(()) };
    let version = run.version.map_or_else(|| "the draft".into(), |number| format!("version {number}"));
    let place = if first.pointer.is_empty() { "the input" } else { &first.pointer };
    let (action, message) = (&run.action, &first.message);
    let detail = format!("the input does not fit the schema of {action} ({version}): {place}: {message}");
    Err(Problem::new(Code::InputInvalid, detail).with(faults))
}

/// The faults, found on a thread that nobody has to wait for, not even at the end of the process.
async fn apart(terms: Arc<Terms>, input: Json) -> Result<Vec<Fault>, Problem> {
    let busy = || Problem::new(Code::Overloaded, "too many inputs are being checked at this moment");
    let place = tokio::time::timeout(PATIENCE, PLACES.acquire()).await;
    let place = place.ok().and_then(Result::ok).ok_or_else(busy)?;
    let check = move || {
        let _place = place;
        faults(&terms, &input)
    };
    let answered = check_apart("input-check", check).map_err(|_| busy())?;
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(answer) => answer.map_err(|_| Problem::new(Code::Internal, "the check of the input broke off"))?,
        Err(_) => {
            let detail = format!("checking this input against the schema took longer than {PATIENCE:?}");
            Err(Problem::new(Code::SchemaTooComplex, detail))
        }
    }
}

fn faults(terms: &Terms, input: &Json) -> Result<Vec<Fault>, Problem> {
    // The text was only scanned so far: a number out of range or half a surrogate pair shows here.
    let value = serde_json::from_str(input.text()).map_err(|error| {
        let message = error.to_string();
        Problem::at(Code::FieldInvalid, "/input", explain::without_position(&message))
    })?;
    Ok(terms.input.faults(&value, input.text().len()))
}
