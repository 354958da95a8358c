//! What was compiled of a handler is kept for later calls, and nobody but the interpreter says what that is.

use protocol::error::Code;
use serde_json::json;

use super::support::{BOTH, Pool};

/// The compiler warns of it, each time that it compiles it.
const WARNS: &str = "def handle_event(data):\n    return len('\\d') if data else 1 / 0";

#[tokio::test]
async fn a_handler_is_compiled_once() {
    for isolation in BOTH {
        let pool = Pool::with(isolation, 2).await;
        let ran = pool.source(WARNS, json!(1)).await;
        assert_eq!(ran.value(), 2);
        assert!(ran.text("stderr").contains("SyntaxWarning"), "{:?}", ran.events);
        for _ in 0..3 {
            let ran = pool.source(WARNS, json!(1)).await;
            assert_eq!((ran.value(), ran.text("stderr")), (json!(2), String::new()));
        }
        let other = WARNS.replace("len", "repr");
        assert!(pool.source(&other, json!(1)).await.text("stderr").contains("SyntaxWarning"));
    }
}

#[tokio::test]
async fn a_traceback_has_the_source_all_the_same() {
    let pool = Pool::start(1).await;
    for _ in 0..2 {
        let ran = pool.source(WARNS, json!(0)).await;
        let error = ran.assert_fails(Code::HandlerRaised, "ZeroDivisionError");
        let told = error.details["traceback"].as_str().unwrap_or_default();
        assert!(told.contains("line 2, in handle_event") && told.contains("return len('\\d')"), "{told}");
    }
}

/// In the first call of a version, and in one that comes with the code.
#[tokio::test]
async fn a_handler_can_not_say_what_it_was_compiled_to() {
    let pool = Pool::start(1).await;
    let source = r#"
import os
def handle_event(data):
    if data:
        frame = b'{"kind":"code","value":"00"}'
        os.write(4, len(frame).to_bytes(4, "big") + frame)
    return 1
"#;
    for _ in 0..2 {
        let ran = pool.source(source, json!(1)).await;
        ran.assert_fails(Code::HandlerCrashed, "wrote to the channel of its process");
        assert_eq!(pool.source(source, json!(0)).await.value(), 1);
    }
}

#[tokio::test]
async fn what_does_not_compile_fails_each_time() {
    let pool = Pool::start(1).await;
    for _ in 0..2 {
        let ran = pool.source("def handle_event(data) return 1", json!({})).await;
        ran.assert_fails(Code::HandlerInvalid, "line 1: expected ':'");
        pool.assert_unharmed().await;
    }
}
