//! Secrets of tenants: set, listed, deleted, and never given back. They are sealed here, before anything stores them.

use protocol::error::{Code, Fault, Problem};
use protocol::id::SecretName;
use protocol::limits::{SECRET_BYTES, TENANT_SECRETS};
use protocol::ports::{PutSecret, SecretInfo};
use protocol::seal::{self, MasterKeys};
use protocol::secret::Secret;
use serde::Deserialize;
use serde_json::Value;

use crate::access::Caller;
use crate::dispatcher::Dispatcher;
use crate::intake;
use crate::trouble;

/// A value to be kept: the body of `PUT /v1/secrets/{name}`.
#[derive(Debug, Clone)]
pub struct NewSecret {
    value: Secret,
}

impl NewSecret {
    /// Reads the body of a request. No message shows the value.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            value: Value,
        }
        // Types are checked here: the usual messages show what stands there instead.
        let body: Value = intake::read(body)?;
        if !body.is_object() {
            return Err(Problem::at(Code::FieldInvalid, "", "must be an object"));
        }
        let Body { value } = intake::read_part("", body)?;
        let Value::String(value) = value else { return Err(wrong("must be a string")) };
        check(&value).map_err(wrong)?;
        Ok(Self { value: value.into() })
    }
}

/// Seals and stores a secret, if there is room for it.
pub(crate) async fn put(
    dispatcher: &Dispatcher,
    caller: &Caller,
    name: &SecretName,
    new: NewSecret,
) -> Result<PutSecret, Problem> {
    let keys = master_keys(dispatcher)?;
    unlimited(caller)?;
    let sealed = seal::seal(keys, caller.tenant(), name, &new.value).map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a secret can't be sealed");
        Problem::new(Code::Internal, "the secret can't be sealed; the log of the dispatcher says why")
    })?;
    let put = dispatcher.registry().put_secret(caller.tenant(), name, &sealed).await;
    put.map_err(trouble::problem)?.ok_or_else(|| {
        let detail = format!(
            "the tenant has {TENANT_SECRETS} secrets, which is the limit; delete one, or set one of them again"
        );
        Problem::new(Code::SecretsTooMany, detail)
    })
}

/// The secrets of the caller's tenant, without their values.
pub(crate) async fn list(dispatcher: &Dispatcher, caller: &Caller) -> Result<Vec<SecretInfo>, Problem> {
    master_keys(dispatcher)?;
    dispatcher.registry().secrets(caller.tenant()).await.map_err(trouble::problem)
}

/// Deletes a secret.
pub(crate) async fn delete(
    dispatcher: &Dispatcher,
    caller: &Caller,
    name: &SecretName,
) -> Result<(), Problem> {
    master_keys(dispatcher)?;
    unlimited(caller)?;
    let deleted = dispatcher.registry().delete_secret(caller.tenant(), name).await;
    if deleted.map_err(trouble::problem)? { Ok(()) } else { Err(no_secret(name)) }
}

/// There is no such secret.
pub(crate) fn no_secret(name: impl std::fmt::Display) -> Problem {
    Problem::new(Code::SecretNotFound, format!("there is no secret {name}"))
}

fn master_keys(dispatcher: &Dispatcher) -> Result<&MasterKeys, Problem> {
    dispatcher.options().master_keys.as_deref().ok_or_else(|| {
        let detail = "this dispatcher has no master key; its operator sets SORTIE_MASTER_KEY or --master-key-file, \
                      the same for every dispatcher and worker";
        Problem::new(Code::MasterKeyMissing, detail)
    })
}

/// Every action of the tenant may name a secret, so who is limited to some of them can't change it.
fn unlimited(caller: &Caller) -> Result<(), Problem> {
    match caller.actions() {
        None => Ok(()),
        Some(_) => Err(Problem::new(
            Code::ActionNotAllowed,
            format!("the key {} is limited to some actions, and secrets are for all of them", caller.key()),
        )),
    }
}

fn wrong(message: impl Into<String>) -> Problem {
    intake::invalid(vec![Fault::at("/value", message)])
}

/// Whether a value may be a secret's.
fn check(value: &str) -> Result<(), String> {
    let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
    if value.len() < *least {
        return Err(format!(
            "has {} bytes; at least {least} are needed, because shorter ones can't be cut out of logs",
            value.len()
        ));
    }
    if value.len() > *most {
        return Err(format!("has {} bytes; at most {most} are allowed", value.len()));
    }
    if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err("must be text, without control characters other than line breaks and tabs".into());
    }
    if value.trim().len() < *least {
        return Err(format!("must have at least {least} bytes besides blanks"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(body: &Value) -> (Code, String) {
        let problem = NewSecret::parse(body.to_string().as_bytes()).unwrap_err();
        (problem.code, problem.detail)
    }

    #[test]
    fn a_value_is_text_of_a_length_that_can_be_found_again() {
        for good in ["12345678", "-----BEGIN KEY-----\n\tx\r\n", "pässwörd", &"x".repeat(16 * 1024)] {
            assert!(NewSecret::parse(json!({"value": good}).to_string().as_bytes()).is_ok(), "{good}");
        }
        let (code, detail) = refusal(&json!({"value": "hunter2"}));
        assert_eq!(code, Code::FieldInvalid);
        assert!(detail.contains("at least 8") && detail.contains("cut out of logs"), "{detail}");
        for bad in ["", "        ", "123456\n\n", "12345678\0", "\u{1b}[31m1234", &"x".repeat(16 * 1024 + 1)]
        {
            assert_eq!(refusal(&json!({"value": bad})).0, Code::FieldInvalid, "{bad:?}");
        }
    }

    #[test]
    fn no_refusal_shows_what_was_sent() {
        for (body, code) in [
            (json!({"value": "hunter2"}), Code::FieldInvalid),
            (json!({"value": 4_815_162_342_u64}), Code::FieldInvalid),
            (json!({"value": ["hunter2"]}), Code::FieldInvalid),
            (json!({"value": "hunter2\0\0"}), Code::FieldInvalid),
            (json!({"value": "hunter2hunter2", "name": "X"}), Code::FieldUnknown),
            (json!({"secret": "hunter2"}), Code::FieldUnknown),
            (json!({}), Code::FieldMissing),
            (json!("hunter2hunter2"), Code::FieldInvalid),
        ] {
            let (found, detail) = refusal(&body);
            assert_eq!(found, code, "{body}");
            assert!(!detail.contains("hunter2") && !detail.contains("4815162342"), "{detail}");
        }
    }
}
