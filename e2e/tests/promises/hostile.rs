//! The load generator's hostile cases, against the real gateway.

use bytes::Bytes;
use e2e::{Answer, Client, Pipeline, Request, bodies::attacks, repository};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_case_gets_its_answer_and_what_is_accepted_is_archived() {
    let pipeline = Pipeline::weather().start().await;
    let cases: Vec<Value> =
        serde_json::from_str(&repository("locust/data/hostile.json")).expect("JSON");
    let mut client = pipeline.client();
    let (mut stored, mut faults) = (0, Vec::new());
    for case in &cases {
        let answer = match client.send(&request(case)).await {
            Ok(answer) => answer,
            Err(error) => {
                faults.push(format!("{}: no answer: {error:#}", case["name"]));
                continue;
            }
        };
        stored += answer.document()["accepted"].as_u64().unwrap_or(0);
        if let Err(fault) = compare(case, &answer) {
            faults.push(format!("{}: {fault}: {}", case["name"], answer.text()));
        }
        stored += after(&mut client).await;
    }
    assert!(
        faults.is_empty(),
        "{} of {} cases:\n{}",
        faults.len(),
        cases.len(),
        faults.join("\n")
    );
    pipeline.exact("weather", stored as usize).await;
    assert!(
        pipeline.archive.dead_letters().await.is_empty(),
        "what is accepted can be archived"
    );
}

/// Bytes of memory that no body may take, nor all of them one after another: `gateway.body_bytes_max` sixteen times.
const MEMORY_MAX: u64 = 128 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_takes_much_more_memory_than_it_is_long() {
    let pipeline = Pipeline::weather().into_kafka_only().start().await;
    let mut client = pipeline.client();
    after(&mut client).await;
    let idle = pipeline.gateway.memory();
    pipeline.gateway.forget_memory_peak();
    let mut faults = Vec::new();
    for attack in attacks() {
        let answer = pipeline.client().answer(&attack.request).await;
        if answer.status != attack.status {
            let (is, due) = (answer.status, attack.status);
            faults.push(format!("{}: {is} instead of {due}", attack.name));
        }
        let taken = pipeline.gateway.memory_peak().saturating_sub(idle);
        if taken > MEMORY_MAX {
            faults.push(format!("{}: {} MiB", attack.name, taken >> 20));
            pipeline.gateway.forget_memory_peak();
        }
        after(&mut client).await;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A good event gets through whatever came before it.
async fn after(client: &mut Client) -> u64 {
    let good = r#"{"texto": "Su lluvia", "país": "Argentina"}"#;
    client
        .answer(&Request::json("/input", good))
        .await
        .accepted(1);
    1
}

fn request(case: &Value) -> Request {
    let method = case["method"].as_str().unwrap_or("POST");
    let mut request =
        Request::post(case["path"].as_str().unwrap_or("/input"), body(case)).method(method);
    if let Some(kind) = case["content_type"].as_str() {
        request = request.header("content-type", kind);
    }
    for (name, values) in case["headers"].as_object().into_iter().flatten() {
        let values = values
            .as_array()
            .map_or(std::slice::from_ref(values), Vec::as_slice);
        for value in values {
            request = request.header(name, value.as_str().expect("a header's value"));
        }
    }
    if case["chunked"] == true {
        request.chunked()
    } else {
        request
    }
}

fn body(case: &Value) -> Bytes {
    if let Some(text) = case["body_base64"].as_str() {
        return base64(text).into();
    }
    if let Some(parts) = case["body_parts"].as_array() {
        let repeated = |part: &Value| {
            let times = part[1].as_u64().expect("how often") as usize;
            part[0].as_str().expect("a text").repeat(times)
        };
        return parts.iter().map(repeated).collect::<String>().into();
    }
    Bytes::copy_from_slice(case["body"].as_str().unwrap_or_default().as_bytes())
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for c in text.bytes().take_while(|c| *c != b'=') {
        let six = ALPHABET.iter().position(|a| *a == c).expect("base64") as u32;
        (bits, held) = (bits << 6 | six, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

fn compare(case: &Value, answer: &Answer) -> Result<(), String> {
    let status = case["status"].as_u64().expect("a status");
    if u64::from(answer.status) != status {
        return Err(format!("{} instead of {status}", answer.status));
    }
    if status >= 400 {
        answer.problem(answer.status);
    }
    let document = answer.document();
    for member in ["field", "accepted", "rejected"] {
        if case
            .get(member)
            .is_some_and(|expected| document[member] != *expected)
        {
            return Err(format!("{member} is not {}", case[member]));
        }
    }
    let expected = case["errors"].as_array().into_iter().flatten();
    let errors = document["errors"].as_array().map_or(&[][..], Vec::as_slice);
    if case.get("errors").is_some() && errors.len() != expected.clone().count() {
        return Err("other errors".into());
    }
    let differs = |(want, got): (&Value, &Value)| {
        want.as_object()
            .into_iter()
            .flatten()
            .any(|(name, value)| got[name] != *value)
    };
    if expected.zip(errors).any(differs) {
        Err("other errors".into())
    } else {
        Ok(())
    }
}
