//! Secrets in every place and spelling, whole and in pieces.

use protocol::error::Code;
use protocol::id::SecretName;
use protocol::secret::Secret;
use serde_json::json;

use super::*;

fn redactor(secrets: &[(&str, &str)]) -> Redactor {
    let named = |(name, value): &(&str, &str)| (SecretName::new(name).unwrap(), Secret::new(*value));
    Redactor::new(&secrets.iter().map(named).collect())
}

fn json_of(redactor: &Redactor, text: &str) -> String {
    redactor.json(Json::parse(text.to_owned()).unwrap()).text().to_owned()
}

/// A log in pieces, to its end.
fn log(redactor: &Redactor, pieces: &[&str]) -> String {
    let mut held = Held::default();
    let mut out: String = pieces.iter().map(|piece| redactor.feed(&mut held, piece)).collect();
    out.push_str(&redactor.flush(&mut held));
    out
}

#[test]
fn without_secrets_nothing_changes() {
    let none = Redactor::default();
    assert!(matches!(none.text("a … [cut]"), Cow::Borrowed("a … [cut]")));
    assert_eq!(json_of(&none, r#"{ "a" : "\u0061" }"#), r#"{ "a" : "\u0061" }"#);
    assert!(matches!(none.feed(&mut Held::default(), "x"), Cow::Borrowed("x")));
}

#[test]
fn every_spelling_is_cut_out_of_texts() {
    let redactor = redactor(&[("KEY", "p@ss/wörd \"1\"")]);
    for spelled in [
        "p@ss/wörd \"1\"",
        r#"p@ss/wörd \"1\""#,
        r#"p@ss/w\u00f6rd \"1\""#,
        "p%40ss%2Fw%C3%B6rd%20%221%22",
        "p%40ss/w%C3%B6rd%20%221%22",
        "p%40ss%2Fw%C3%B6rd+%221%22",
    ] {
        assert_eq!(redactor.text(&format!("<{spelled}>")), "<[secret KEY]>");
    }
    assert_eq!(redactor.text("p@ss/wörd"), "p@ss/wörd", "a part is not the secret");
}

#[test]
fn what_overlaps_goes_as_a_whole() {
    let redactor = redactor(&[("A", "abcdefgh"), ("B", "efghijkl"), ("C", "abcdefghXYZ")]);
    assert_eq!(redactor.text("-abcdefghijkl-"), "-[secret A]-");
    assert_eq!(redactor.text("-abcdefghXYZ-"), "-[secret C]-");
    assert_eq!(redactor.text("abcdefghabcdefgh"), "[secret A][secret A]");
    for at in 1..12 {
        let (one, two) = "abcdefghijkl".split_at(at);
        assert_eq!(log(&redactor, &["-", one, two, "-"]), "-[secret A]-", "{at}");
        let (one, two) = "abcdefghXYZ".split_at(at.min(10));
        assert_eq!(log(&redactor, &[one, two]), "[secret C]", "{at}");
    }
}

#[test]
fn json_keeps_its_form_and_loses_secrets_however_they_are_escaped() {
    let redactor = redactor(&[("KEY", "s3cr3t-välue"), ("PIN", "12345678")]);
    for (text, clean) in [
        (r#"{ "a" : "s3cr3t-välue", "n": 1.50 }"#, r#"{ "a" : "[secret KEY]", "n": 1.50 }"#),
        (r#"{"s3cr3t-v\u00e4lue":["\u00733cr3t-välue!"]}"#, r#"{"[secret KEY]":["[secret KEY]!"]}"#),
        (r#""x \"s3cr3t-välue\" \n""#, r#""x \"[secret KEY]\" \n""#),
        (r#""{\"k\": \"s3cr3t-v\\u00e4lue\"}""#, r#""{\"k\": \"[secret KEY]\"}""#),
        (r#"[12345678, -0.123456789e1, true]"#, r#"["[secret PIN]", "-0.[secret PIN]9e1", true]"#),
        (r#""\ud800 s3cr3t-välue""#, r#""\ud800 [secret KEY]""#),
        (r#""s3cr3t-vä… [cut]""#, r#""[secret KEY]… [cut]""#),
        (r#"["\\", "s3cr3t"]"#, r#"["\\", "s3cr3t"]"#),
    ] {
        assert_eq!(json_of(&redactor, text), clean);
    }
}

#[test]
fn a_secret_that_lost_its_end_to_a_cut_is_no_longer_shown() {
    let redactor = redactor(&[("KEY", "0123456789")]);
    assert_eq!(redactor.text("a 01234567… [cut]"), "a [secret KEY]… [cut]");
    assert_eq!(redactor.text("a 012… [cut]"), "a 012… [cut]");
    assert_eq!(redactor.text("a 01234567"), "a 01234567", "nothing was cut");
}

#[test]
fn a_log_in_pieces_reads_as_if_it_were_whole() {
    let redactor = redactor(&[("KEY", "sésame"), ("TWIN", "aabaabaab")]);
    let text = "x sésame y aabaabaabaab sés aaabaabaab\nsesame aabaaba… é";
    let whole = redactor.replaced(text).into_owned();
    assert!(!whole.contains("sésame") && whole.matches("[secret").count() == 3, "{whole}");
    let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    for size in 1..12 {
        let mut cuts: Vec<usize> = ends.iter().copied().step_by(size).collect();
        cuts.push(text.len());
        let pieces: Vec<&str> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        assert_eq!(log(&redactor, &pieces), whole, "in pieces of {size}");
    }
}

#[test]
fn a_secret_that_somebody_wrote_into_is_found_all_the_same() {
    let redactor = redactor(&[("KEY", "line one\nline two\nline three"), ("SHORT", "sk_live_0123")]);
    assert_eq!(
        log(&redactor, &["<line one\n", "raw a\n", "line two\n", "raw b\n", "li", "ne three>"]),
        "<raw a\nraw b\n[secret KEY]>"
    );
    assert_eq!(
        log(&redactor, &["sk_live_", "line one\nl", "0123\n", "x\n"]),
        "[secret SHORT]\nx\n[secret KEY]"
    );
    // What never goes on, and one that takes its place.
    assert_eq!(log(&redactor, &["sk_live_", "a\n", "line one", "b\n"]), "a\n[secret SHORT]b\n[secret KEY]");
    assert_eq!(log(&redactor, &["sk_live", "x\n"]), "sk_livex\n", "too short to be one");
}

#[test]
fn only_what_may_become_a_secret_is_held() {
    let redactor = redactor(&[("KEY", "secret-value")]);
    let mut held = Held::default();
    assert_eq!(redactor.feed(&mut held, "a line\n"), "a line\n");
    assert_eq!(redactor.feed(&mut held, "se"), "");
    assert_eq!(redactor.feed(&mut held, "ven secret-"), "seven ");
    assert_eq!(redactor.feed(&mut held, "value"), "[secret KEY]");
    assert_eq!(redactor.feed(&mut held, "secret-v"), "");
    assert_eq!(redactor.flush(&mut held), "[secret KEY]");
    assert!(!format!("{redactor:?} {held:?}").contains("value"));
}

#[test]
fn endings_lose_secrets_in_message_details_and_result() {
    let redactor = redactor(&[("KEY", "secret-value")]);
    let error = JobError::new(Code::HandlerRaised, "KeyError: 'secret-value'")
        .with(json!({"traceback": "x\nsecret-value\n", "secret-value": [1]}));
    for ending in [
        Ending::Returned(json!(["secret-value"]).into()),
        Ending::Failed { error: error.clone(), retryable: true, retry_after: None },
        Ending::Crashed(error.clone()),
        Ending::TimedOut(error),
    ] {
        let told = format!("{:?}", redactor.ending(ending));
        assert!(!told.contains("secret-value") && told.contains("[secret KEY]"), "{told}");
    }
}

#[test]
fn secrets_made_to_be_slow_are_not() {
    let value = format!("{}b", "a".repeat(16 * 1024));
    let redactor = redactor(&[("SLOW", &value)]);
    let began = std::time::Instant::now();
    let mut held = Held::default();
    for _ in 0..64 {
        redactor.feed(&mut held, &"a".repeat(1024));
    }
    assert_eq!(redactor.text(&"a".repeat(1024 * 1024)).len(), 1024 * 1024);
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}
