//! A session: what comes in is read to the end, what is asked is answered once, and in the end all goes.
//!
//! Three tasks: the reader (here), which only reads and so always sees a `cancel`; the worker, which
//! answers requests one at a time, or as they come where the provider is `concurrent`; the writer, behind
//! the [`Outbox`].

use std::future::Future;
use std::time::Duration;

use crabbox_protocol::{
    HostMessage, Incoming, LineBuffer, Method, Remote, RequestId, decode_host_line, feature,
};
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

/// Serves a session over any pair of streams, until the input ends. [`serve()`](crate::serve()) does this
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
        let _ = writer.await;
    }
}

/// A request on its way to the worker.
struct Call {
    id: RequestId,
    /// Method and parameters, unless the line was only good enough to tell whom to answer.
    request: Result<(String, Box<RawValue>)>,
    cancel: CancelToken,
}

/// Reads lines until they end.
async fn read(mut input: impl AsyncRead + Unpin, calls: &mpsc::Sender<Call>, requests: &Requests) {
    let mut lines = LineBuffer::new();
    loop {
        match input.read_buf(lines.input(16 * 1024)).await {
            Ok(1..) => {}
            // A last line without LF is a line.
            Ok(0) => match lines.take_rest() {
                Some(line) => return take(&line, calls, requests).await,
                None => return,
            },
            Err(_) => return,
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
    let (id, request) = match decode_host_line(line) {
        Ok(HostMessage::Request(id, method, params)) => (id, Ok((method, params))),
        Ok(HostMessage::Cancel(cancel)) => return requests.cancel(cancel.request, cancel.reason),
        Ok(HostMessage::Unknown(_)) => return,
        Err(Incoming { id: Some(id), message }) => {
            (id, Err(Error::internal("cannot read a request").cause(message)))
        }
        Err(Incoming { id: None, message }) => {
            return complain(&format!("a line from the host was ignored: {message}"));
        }
    };
    let _ = calls.send(Call { id, request, cancel: requests.open(id) }).await;
}

/// Answers requests until there are no more and each has its response.
async fn work<P: Provider>(mut queue: mpsc::Receiver<Call>, requests: Requests, outbox: Outbox) {
    let mut setup = Setup::<P>::new();
    let concurrent = setup.manifest().feature(feature::CONCURRENT);
    let mut under_way = JoinSet::new();
    while let Some(Call { id, request, cancel }) = queue.recv().await {
        let (requests, outbox) = (requests.clone(), outbox.clone());
        let (method, params) = match request {
            Ok(request) => request,
            Err(error) => {
                answer(id, async { Err(error) }, &requests, &outbox).await;
                continue;
            }
        };
        match method.parse() {
            Ok(Method::Initialize) => {
                answer(id, async { setup.initialize(&params) }, &requests, &outbox).await;
            }
            Ok(Method::Configure) => {
                answer(id, async { setup.configure(&params) }, &requests, &outbox).await;
            }
            _ => {
                let setup = setup.clone();
                let work = async move {
                    let context = Context::new(id, cancel, outbox.clone());
                    answer(id, begin(setup, method, params, context), &requests, &outbox).await;
                };
                if concurrent {
                    under_way.spawn(work);
                    while under_way.try_join_next().is_some() {}
                } else {
                    work.await;
                }
            }
        }
    }
    while under_way.join_next().await.is_some() {}
}

/// Calls the provider, unless the request was cancelled while it waited for its turn.
async fn begin<P: Provider>(
    setup: Setup<P>,
    method: String,
    params: Box<RawValue>,
    context: Context,
) -> Result<Box<RawValue>> {
    if !context.cancel().is_cancelled() {
        return setup.call(method, params, context).await;
    }
    let error = Error::cancelled(format!("`{method}` was cancelled before it began"));
    Err(match method.parse() {
        Ok(Method::Acquire) => error.created(false),
        Ok(Method::Run) => error.remote(Remote::Absent),
        _ => error,
    })
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

/// Says something to whoever reads the plugin's standard error.
#[expect(clippy::print_stderr, reason = "standard error is free text for people, by the protocol")]
fn complain(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests;
