//! Every way a call can end has its own code, and leaves the slot as it was.

use std::time::Duration;

use protocol::action::Reuse;
use protocol::error::Code;
use protocol::json::Json;
use protocol::outcome::Ending;
use serde_json::{Value, json};
use worker::python::Isolation;

use super::processes::send;
use super::support::{BOTH, Pool, UNIVERSAL, call, eventually};

macro_rules! handler {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/handlers/", $name))
    };
}

#[tokio::test]
async fn values_come_back_as_they_were_returned() {
    let pool = Pool::start(1).await;
    for value in
        [json!(null), json!({"ä": [1, 2.5, "☕", true, null, {"b": []}]}), json!("x".repeat(1_000_000))]
    {
        let ran = pool.run(json!({"do": "ok", "value": value.to_string()})).await;
        assert_eq!(ran.value(), Value::String(value.to_string()));
    }
    let ran = pool.source("def handle_event(data): return {'t': (1, 2), 'n': 2**70}", json!({})).await;
    assert_eq!(ran.value()["t"], json!([1, 2]));
    assert_eq!(pool.run(json!({"do": "async"})).await.value(), "awaited");
    assert_eq!(pool.run(json!({"do": "multiprocessing"})).await.value(), json!([0, 1, 4, 9, 16]));
}

#[tokio::test]
async fn context_tells_about_the_call() {
    let pool = Pool::start(1).await;
    let call = call(UNIVERSAL, json!({"do": "context"}), Reuse::Fresh);
    let spec = call.spec.clone();
    let value = pool.call(call, Duration::from_secs(30)).await.value();
    assert_eq!(value["job"], spec.id.to_string());
    assert_eq!(value["action"], "test.universal");
    assert_eq!(value["attempt"], 1);
    let deadline: protocol::time::Timestamp = serde_json::from_value(value["deadline"].clone()).unwrap();
    assert_eq!(deadline, spec.deadline);
    let remaining = value["remaining"].as_f64().unwrap();
    assert!((0.0..=30.0).contains(&remaining), "{remaining}");
}

#[tokio::test]
async fn source_that_can_not_run_says_why() {
    let pool = Pool::start(1).await;
    let ran = pool.source(handler!("handler_invalid.py"), json!({})).await;
    let error = ran.assert_fails(Code::HandlerInvalid, "line 2");
    assert_eq!(error.details["line"], 2);
    assert!(matches!(ran.ending, Ending::Failed { retryable: false, .. }));
    pool.source("x = '\0'", json!({})).await.assert_fails(Code::HandlerInvalid, "null bytes");
    let deep = format!("x = {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    pool.source(&deep, json!({})).await.assert_fails(Code::HandlerInvalid, "");

    let missing = Code::HandlerMissing;
    pool.source(handler!("handler_missing.py"), json!({})).await.assert_fails(missing, "handle_event(data)");
    pool.source(handler!("handler_not_callable.py"), json!({})).await.assert_fails(missing, "int");
    pool.source(handler!("handler_wrong_parameters.py"), json!({})).await.assert_fails(missing, "more");
    pool.source("def handle_event(): pass", json!({})).await.assert_fails(missing, "()");
    pool.source("", json!({})).await.assert_fails(missing, "");
    pool.assert_unharmed().await;
}

#[tokio::test]
async fn exceptions_are_told_with_the_handlers_own_frames() {
    let pool = Pool::start(1).await;
    let ran = pool.run(json!({"do": "raise"})).await;
    let error = ran.assert_fails(Code::HandlerRaised, "RuntimeError: it went wrong");
    assert_eq!(error.details["type"], "RuntimeError");
    let traceback = error.details["traceback"].as_str().unwrap();
    assert!(traceback.contains("int(\"no number\")"), "the source is visible: {traceback}");
    assert!(traceback.contains("direct cause"), "the cause is told: {traceback}");
    assert!(!traceback.contains("sortie_runner"), "none of our frames: {traceback}");

    let raised = Code::HandlerRaised;
    pool.source(handler!("module_raises.py"), json!({})).await.assert_fails(raised, "at the top level");
    pool.run(json!({"do": "raise_hostile"})).await.assert_fails(raised, "that can't be shown");
    pool.run(json!({"do": "keyboard_interrupt"})).await.assert_fails(raised, "KeyboardInterrupt");
    pool.run(json!({"do": "recursion"})).await.assert_fails(raised, "RecursionError");
    pool.run(json!({"do": "memory"})).await.assert_fails(Code::OutOfMemory, "memory_mb of 128 MiB");
    let long = pool.run(json!({"do": "raise", "message": "x".repeat(200_000)})).await;
    assert!(long.failure().message.len() < 10_000);
    pool.run(json!({"do": "imports", "module": "sortie_runner_x"}))
        .await
        .assert_fails(raised, "ModuleNotFoundError");
    pool.run(json!({"do": "imports", "module": "frames"})).await.assert_fails(raised, "ModuleNotFoundError");
    assert_eq!(pool.run(json!({"do": "imports", "module": "requests"})).await.value(), "imported");
    pool.assert_unharmed().await;
}

#[tokio::test]
async fn ending_the_process_is_an_exit_or_a_crash() {
    let pool = Pool::start(1).await;
    let exited = Code::HandlerExited;
    pool.run(json!({"do": "exit", "status": 4})).await.assert_fails(exited, "sys.exit(4)");
    pool.source(handler!("module_exits.py"), json!({})).await.assert_fails(exited, "not today");
    let ran = pool.run(json!({"do": "_exit", "status": 3})).await;
    assert_eq!(ran.assert_fails(exited, "exit status 3").details["exit_status"], 3);
    pool.run(json!({"do": "_exit", "status": 0})).await.assert_fails(exited, "exit status 0");
    for (input, name) in [
        (json!({"do": "kill", "signal": 9}), "SIGKILL"),
        (json!({"do": "kill", "signal": 15}), "SIGTERM"),
        (json!({"do": "abort"}), "SIGABRT"),
    ] {
        let Ending::Crashed(error) = pool.run(input).await.ending else { panic!("no crash") };
        assert_eq!(error.code, Code::HandlerCrashed);
        assert!(error.message.contains(name), "{}", error.message);
    }
    pool.assert_unharmed().await;
}

#[tokio::test]
async fn output_that_is_not_json_says_what_and_where() {
    let pool = Pool::start(1).await;
    for (name, part) in [
        ("set", "at /a/1 a value of type set"),
        ("nan", "nan"),
        ("keys", "keys must be strings"),
        ("deep", "64 levels"),
        ("endless", "64 levels"),
        ("surrogate", "surrogate"),
        ("bad_chunk", "a chunk has a value of type set"),
    ] {
        pool.run(json!({"do": name})).await.assert_fails(Code::OutputNotJson, part);
    }
    pool.run(json!({"do": "large"})).await.assert_fails(Code::OutputTooLarge, "2,000,002 bytes");
    pool.assert_unharmed().await;
}

#[tokio::test]
async fn tricks_with_the_channel_end_the_call_only() {
    let pool = Pool::start(1).await;
    pool.run(json!({"do": "garbage"})).await.assert_fails(Code::HandlerCrashed, "4294967295 bytes");
    pool.run(json!({"do": "malformed"}))
        .await
        .assert_fails(Code::HandlerCrashed, "not what the runner sends");
    pool.run(json!({"do": "close_descriptors"}))
        .await
        .assert_fails(Code::HandlerExited, "closed the channel");
    let ran = pool.run(json!({"do": "close_descriptors", "seconds": 60})).await;
    ran.assert_fails(Code::HandlerExited, "closed the channel");
    assert!(ran.took < Duration::from_secs(10), "it is not waited for: {:?}", ran.took);
    pool.run(json!({"do": "second_result"}))
        .await
        .assert_fails(Code::HandlerCrashed, "not what the runner sends");
    pool.assert_unharmed().await;
}

#[tokio::test]
async fn what_does_not_end_is_dead_at_once_when_it_is_stopped() {
    for isolation in BOTH {
        let pool = Pool::with(isolation, 1).await;
        for name in ["sleep", "spin", "ignore_signals"] {
            let call = call(UNIVERSAL, json!({"do": name}), Reuse::Fresh);
            let limit = Duration::from_millis(300);
            let ran = pool.call(call, limit).await;
            assert_eq!(ran.ending, Ending::Interrupted, "{name}");
            // An aim on a quiet machine is 10 ms; this bound only tells dead from forgotten.
            assert!(ran.took < limit + Duration::from_secs(2), "{name}: {:?}", ran.took);
            pool.assert_unharmed().await;
        }
    }
}

#[tokio::test]
async fn a_template_that_is_killed_or_stopped_from_outside_is_replaced() {
    for isolation in BOTH {
        let pool = Pool::with(isolation, 1).await;
        let source = "import subprocess\ndef handle_event(data): subprocess.run(['sleep', str(data)])";
        for (signal, seconds) in [("KILL", 600), ("STOP", 5)] {
            let harm = async {
                let mut template = None;
                eventually("the handler's program runs", || {
                    let all = pool.processes();
                    let parent = |number: i32| all.iter().find(|p| p.number == number).map(|p| p.parent);
                    // It is the template's grandchild.
                    let program = all.iter().find(|process| process.name == "sleep");
                    template = program.and_then(|program| parent(program.parent));
                    template.is_some()
                })
                .await;
                send(signal, template.unwrap());
            };
            let (ran, ()) = tokio::join!(pool.source(source, json!(seconds)), harm);
            match &ran.ending {
                Ending::Crashed(error) => assert_eq!((signal, error.code), ("KILL", Code::HandlerCrashed)),
                other => assert_eq!((signal, other), ("STOP", &Ending::Returned(Json::of(&()).unwrap()))),
            }
            pool.assert_unharmed().await;
        }
    }
}

#[tokio::test]
async fn a_handler_reaches_its_template_only_where_nothing_isolates_it() {
    for isolation in BOTH {
        let pool = Pool::with(isolation, 1).await;
        let isolated = isolation == Isolation::Required;
        let ran = pool.run(json!({"do": "kill_template", "seconds": if isolated { 0 } else { 60 }})).await;
        match &ran.ending {
            Ending::Crashed(_) => assert!(!isolated),
            other => assert_eq!((isolated, other), (true, &Ending::Returned(Json::of(&()).unwrap()))),
        }
        pool.assert_unharmed().await;
        assert_eq!(pool.run(json!({"do": "stop_template"})).await.value(), "stopped");
        pool.assert_unharmed().await;
    }
}
