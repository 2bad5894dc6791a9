//! A provider that answers as another one once did: `crabbox-provider-recorded TRANSCRIPT DIRECTORY --stdio`.
//!
//! Each request gets the next answer that the transcript has for its method, the last one again and again.
//! How far it is stands in the directory, because a host starts many processes. Written without the kit, like
//! the host's own replay is without a session.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

/// A request that was answered, and what the plugin said to it.
#[derive(Debug, Default)]
struct Exchange {
    params: Value,
    said: Vec<Value>,
    cancelled: bool,
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let (Some(transcript), Some(directory)) = (words.next(), words.next().map(PathBuf::from)) else {
        return ExitCode::FAILURE;
    };
    let recorded = read(&fs::read_to_string(transcript).expect("the transcript can be read"));
    let mut lines = std::io::stdin().lock().lines().map_while(Result::ok);
    let mut stdout = std::io::stdout();
    while let Some(line) = lines.next() {
        let request: Value = serde_json::from_str(&line).expect("the host sends JSON");
        let Some(method) = request["method"].as_str().filter(|_| !request["id"].is_null()) else { continue };
        let Some(exchanges) = recorded.get(method) else {
            fs::write(directory.join("unknown"), method).expect("a file can be written");
            let error = json!({"code": -32601, "message": "never recorded", "data": {"kind": "unsupported"}});
            let answer = json!({"jsonrpc": "2.0", "id": request["id"], "error": error});
            writeln!(stdout, "{answer}").expect("the host reads");
            continue;
        };
        let counter = directory.join(method);
        let count: usize = fs::read_to_string(&counter).map_or(0, |text| text.parse().expect("a number"));
        fs::write(&counter, (count + 1).to_string()).expect("a file can be written");
        let exchange = &exchanges[count.min(exchanges.len() - 1)];
        if exchange.cancelled && !lines.any(|line| line.contains(r#""method":"cancel""#)) {
            break;
        }
        for message in &exchange.said {
            writeln!(stdout, "{}", ours(message, exchange, &request)).expect("the host reads");
        }
    }
    ExitCode::SUCCESS
}

/// What the plugin said, by method.
fn read(text: &str) -> BTreeMap<String, Vec<Exchange>> {
    let mut all: BTreeMap<String, Vec<Exchange>> = BTreeMap::new();
    // By session and request: which exchange of which method.
    let mut open: BTreeMap<(String, u64), (String, Exchange)> = BTreeMap::new();
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).expect("the transcript is JSON");
        let session = entry["session"].as_str().expect("a session has a name").to_owned();
        let Ok(message) = serde_json::from_str::<Value>(entry["line"].as_str().unwrap_or_default()) else {
            continue;
        };
        let id = message["id"].as_u64().or(message["params"]["request"].as_u64());
        let Some(key) = id.map(|id| (session, id)) else { continue };
        let method = message["method"].as_str().unwrap_or_default();
        match (entry["dir"].as_str(), open.get_mut(&key)) {
            (Some("host"), Some((_, exchange))) if method == "cancel" => exchange.cancelled = true,
            (Some("host"), _) => {
                let params = message["params"].clone();
                open.insert(key, (method.to_owned(), Exchange { params, ..Exchange::default() }));
            }
            (Some("plugin"), Some((_, exchange))) => {
                exchange.said.push(message.clone());
                if message.get("id").is_some() {
                    let (method, exchange) = open.remove(&key).expect("it was just there");
                    all.entry(method).or_default().push(exchange);
                }
            }
            _ => {}
        }
    }
    all
}

/// A recorded message as an answer to this request: with its number, and with its lease.
fn ours(message: &Value, exchange: &Exchange, request: &Value) -> Value {
    let id = |params: &Value| params["lease"]["id"].as_str().map(str::to_owned);
    let mut text = message.to_string();
    if let (Some(old), Some(new)) = (id(&exchange.params), id(&request["params"])) {
        text = text.replace(&old, &new);
    }
    let mut message: Value = serde_json::from_str(&text).expect("identifiers are of one length");
    match message.get("id") {
        Some(_) => message["id"] = request["id"].clone(),
        None => message["params"]["request"] = request["id"].clone(),
    }
    message
}
