//! Running commands: by path where the host gives one, else by notification at the end.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{lease, respond, send};

/// Starts a run. A thread answers it, so that the end of the input is seen meanwhile.
pub(crate) fn start(request: &Value) {
    let request = request.clone();
    std::thread::spawn(move || respond(&request, run(&request)));
}

/// Executes the argv and says how it ended.
pub(crate) fn run(request: &Value) -> Result<Value, String> {
    let params = &request["params"];
    let words: Vec<&str> =
        params["argv"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (program, words) = words.split_first().ok_or("no argv")?;
    let mut command = Command::new(program);
    command.args(words).current_dir(lease::directory(params["lease"]["id"].as_str().unwrap_or_default())?);
    let text = |error: std::io::Error| error.to_string();
    command.stdin(match params["stdin"]["path"].as_str() {
        Some(path) => File::open(path).map_err(text)?.into(),
        None => Stdio::null(),
    });
    let paths = [&params["stdout"]["path"], &params["stderr"]["path"]].map(Value::as_str);
    let status = if let [Some(stdout), Some(stderr)] = paths {
        let open = |path| File::options().write(true).open(path).map(Stdio::from).map_err(text);
        command.stdout(open(stdout)?).stderr(open(stderr)?).status().map_err(text)?
    } else {
        let output = command.output().map_err(text)?;
        print(request, "stdout", &output.stdout);
        print(request, "stderr", &output.stderr);
        output.status
    };
    Ok(match status.code() {
        Some(code) => json!({"exitCode": code}),
        None => json!({"signal": status.signal().unwrap_or(9).to_string()}),
    })
}

/// Sends output, which here is always text.
pub(crate) fn print(request: &Value, stream: &str, bytes: &[u8]) {
    for piece in String::from_utf8_lossy(bytes).chars().collect::<Vec<_>>().chunks(8 * 1024) {
        let text: String = piece.iter().collect();
        let params = json!({"request": request["id"], "stream": stream, "text": text});
        send(&json!({"jsonrpc": "2.0", "method": "output", "params": params}));
    }
}
