//! A session: what comes in is read to the end, what is asked is answered once, and in the end all goes.
//!
//! Three tasks: the reader (here), which only reads and so always sees a `cancel`; the worker, which
//! answers requests one at a time, or as they come where the provider is `concurrent`; the writer, behind
//! the [`Outbox`].

use std::future::Future;
use std::time::Duration;

use crabbox_protocol::{HostMessage, LineBuffer, Method, Remote, RequestId, decode_host_line, feature};
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cancel::Requests;
use crate::dispatch::{Setup, guarded};
use crate::outbox::Outbox;
use crate::{CancelToken, Context, Error, Provider, Result};

/// How long requests may go on after the end of input: what takes a moment gets its moment.
const SETTLE: Duration = Duration::from_millis(200);

/// How long cancelled requests may take after that. The host gives two seconds in all.
const CLOSE: Duration = Duration::from_millis(1400);

/// How long the last lines may take to be written.
const FLUSH: Duration = Duration::from_millis(200);

/// How many requests may wait for their turn.
const WAITING: usize = 256;

/// Serves a session over any pair of streams, until the input ends. [`serve`](crate::serve) does this
/// with standard input and output; by itself it is for tests over an in-memory pipe.
pub async fn serve_on<P: Provider>(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
) {
    serve_until::<P>(input, output, std::future::pending()).await;
}

/// Serves a session until the input ends or `stop` is ready.
pub(crate) async fn serve_until<P: Provider>(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
    stop: impl Future<Output = ()>,
) {
    let (outbox, mut writer) = Outbox::open(output);
    let requests = Requests::default();
    let (calls, queue) = mpsc::channel(WAITING);
    let mut worker = tokio::spawn(work::<P>(queue, requests.clone(), outbox.clone()));
    let settle = tokio::select! {
        () = read(input, &calls, &requests) => SETTLE,
        () = stop => Duration::ZERO,
    };
    drop(calls);
    if timeout(settle, &mut worker).await.is_err() {
        requests.close();
        if timeout(CLOSE, &mut worker).await.is_err() {
            worker.abort();
            let _ = worker.await;
        }
    }
    drop(outbox);
    if timeout(FLUSH, &mut writer).await.is_err() {
        writer.abort();
    }
}

/// A request on its way to the worker.
struct Call {
    id: RequestId,
    method: String,
    params: Box<RawValue>,
    cancel: CancelToken,
}

/// Reads lines until they end.
async fn read(mut input: impl AsyncRead + Unpin, calls: &mpsc::Sender<Call>, requests: &Requests) {
    let mut lines = LineBuffer::new();
    loop {
        match input.read_buf(lines.input(16 * 1024)).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        loop {
            match lines.next_line() {
                Ok(Some(line)) => take(line, calls, requests).await,
                Ok(None) => break,
                Err(error) => return complain(&format!("the host's input cannot be read on: {error}")),
            }
        }
    }
}

async fn take(line: &[u8], calls: &mpsc::Sender<Call>, requests: &Requests) {
    match decode_host_line(line) {
        Ok(HostMessage::Request(id, method, params)) => {
            let cancel = requests.open(id);
            let _ = calls.send(Call { id, method, params, cancel }).await;
        }
        Ok(HostMessage::Cancel(cancel)) => requests.cancel(cancel.request, cancel.reason),
        Ok(HostMessage::Unknown(_)) => {}
        Err(bad) => match bad.id {
            // Answered like any other, by a method that nobody has.
            Some(id) => {
                let call = Call {
                    id,
                    method: bad.message,
                    params: RawValue::NULL.to_owned(),
                    cancel: requests.open(id),
                };
                let _ = calls.send(call).await;
            }
            None => complain(&format!("a line from the host was ignored: {}", bad.message)),
        },
    }
}

/// Answers requests until there are no more and each has its response.
async fn work<P: Provider>(mut queue: mpsc::Receiver<Call>, requests: Requests, outbox: Outbox) {
    let mut setup = Setup::<P>::new();
    let concurrent = setup.manifest().feature(feature::CONCURRENT);
    let mut under_way = JoinSet::new();
    while let Some(call) = queue.recv().await {
        let (requests, outbox) = (requests.clone(), outbox.clone());
        match call.method.parse() {
            Ok(Method::Initialize) => {
                answer(call.id, async { setup.initialize(&call.params) }, &requests, &outbox).await;
            }
            Ok(Method::Configure) => {
                answer(call.id, async { setup.configure(&call.params) }, &requests, &outbox).await;
            }
            _ if concurrent => {
                under_way.spawn(answer_call(call, setup.clone(), requests, outbox));
                while under_way.try_join_next().is_some() {}
            }
            _ => answer_call(call, setup.clone(), requests, outbox).await,
        }
    }
    while under_way.join_next().await.is_some() {}
}

async fn answer_call<P: Provider>(call: Call, setup: Setup<P>, requests: Requests, outbox: Outbox) {
    let Call { id, method, params, cancel } = call;
    if cancel.is_cancelled() {
        return answer(id, async { Err(never_begun(&method)) }, &requests, &outbox).await;
    }
    let context = Context::new(id, cancel, outbox.clone());
    answer(id, setup.call(method, params, context), &requests, &outbox).await;
}

/// Does the work of a request and sends its one response.
async fn answer(
    id: RequestId,
    work: impl Future<Output = Result<Box<RawValue>>>,
    requests: &Requests,
    outbox: &Outbox,
) {
    let outcome = guarded(work).await;
    requests.forget(id);
    outbox.respond(id, outcome).await;
}

/// The answer to a request that was cancelled while it waited for its turn.
fn never_begun(method: &str) -> Error {
    let error = Error::cancelled(format!("`{method}` was cancelled before it began"));
    match method.parse() {
        Ok(Method::Acquire) => error.created(false),
        Ok(Method::Run) => error.remote(Remote::Absent),
        _ => error,
    }
}

/// Says something to whoever reads the plugin's standard error.
#[expect(clippy::print_stderr, reason = "standard error is free text for people, by the protocol")]
fn complain(text: &str) {
    eprintln!("{text}");
}
