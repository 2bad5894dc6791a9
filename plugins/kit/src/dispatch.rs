//! From a request to the provider's method and back to a result.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crabbox_protocol::{
    CheckStatus, ConfigureParams, DoctorResult, ErrorKind, InitializeParams, Manifest, Method, Problem,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::configured::configure;
use crate::provider::check;
use crate::{Context, Error, Provider, Result};

/// What a session knows: who the provider is, and since `configure` how it is set up.
#[derive(Debug)]
pub(crate) struct Setup<P> {
    manifest: Arc<Manifest>,
    provider: Option<Arc<P>>,
    problems: Arc<Vec<Problem>>,
    configured: bool,
}

impl<P> Clone for Setup<P> {
    fn clone(&self) -> Self {
        Self {
            manifest: self.manifest.clone(),
            provider: self.provider.clone(),
            problems: self.problems.clone(),
            configured: self.configured,
        }
    }
}

impl<P: Provider> Setup<P> {
    pub(crate) fn new() -> Self {
        let manifest = Arc::new(P::about().manifest().clone());
        Self { manifest, provider: None, problems: Arc::default(), configured: false }
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Answers `initialize`.
    pub(crate) fn initialize(&self, params: &RawValue) -> Result<Box<RawValue>> {
        let params: InitializeParams = read(Method::Initialize, params)?;
        write(&P::about().answer::<P::Config>(&params))
    }

    /// Answers `configure`.
    pub(crate) fn configure(&mut self, params: &RawValue) -> Result<Box<RawValue>> {
        let params: ConfigureParams = read(Method::Configure, params)?;
        let configured = configure(&self.manifest.name, params, P::configure);
        self.provider = configured.provider.map(Arc::new);
        self.problems = Arc::new(configured.result.problems.clone());
        self.configured = true;
        write(&configured.result)
    }

    /// Answers every other method.
    pub(crate) async fn call(
        self,
        name: String,
        params: Box<RawValue>,
        context: Context,
    ) -> Result<Box<RawValue>> {
        let method = name.parse().ok().filter(|method| self.manifest.has(*method));
        let Some(method) = method else { return Err(Error::method_not_found(&name)) };
        if method == Method::Doctor {
            return self.doctor(&params, &context).await;
        }
        let provider = self.ready(method)?;
        macro_rules! verbs {
            ($($verb:ident = $variant:ident,)*) => {
                match method {
                    $(Method::$variant => {
                        write(&provider.$verb(read(method, &params)?, &context).await?)
                    })*
                    Method::Initialize | Method::Configure | Method::Doctor => Err(Error::not_there(method)),
                }
            };
        }
        verbs! {
            acquire = Acquire, resolve = Resolve, run = Run, put = Put, kill = Kill, release = Release,
            touch = Touch, list = List, bridge = Bridge, unbridge = Unbridge,
        }
    }

    /// Runs whatever `configure` said; its problems are rows.
    async fn doctor(&self, params: &RawValue, context: &Context) -> Result<Box<RawValue>> {
        let rows = self.problems.iter().map(|problem| {
            let mut row = check("config", CheckStatus::Fail, &problem.message);
            row.hint.clone_from(&problem.hint);
            if !problem.key.is_empty() {
                row.message = format!("`{}`: {}", problem.key, problem.message);
                row.details.insert("key".to_owned(), problem.key.clone().into());
            }
            row
        });
        let mut checks: Vec<_> = rows.collect();
        if let Some(provider) = &self.provider {
            checks.extend(provider.doctor(read(Method::Doctor, params)?, context).await?.checks);
        }
        write(&DoctorResult { checks })
    }

    /// The provider, if it can be used.
    fn ready(&self, method: Method) -> Result<&P> {
        if !self.configured {
            let message = format!("`{method}` came before `configure`, which has to be first");
            return Err(Error::internal(message));
        }
        match (&self.provider, self.problems.first()) {
            (Some(provider), None) => Ok(provider),
            (_, problem) => {
                let kind = problem.and_then(|problem| problem.kind).unwrap_or(ErrorKind::ConfigInvalid);
                let name = &self.manifest.name;
                let error = Error::new(kind, format!("provider `{name}` is not configured for `{method}`"));
                let causes = self.problems.iter().map(|problem| match problem.key.as_str() {
                    "" => problem.message.clone(),
                    key => format!("`{key}`: {}", problem.message),
                });
                Err(causes.fold(error, Error::cause).created(false))
            }
        }
    }
}

fn read<T: DeserializeOwned>(method: Method, params: &RawValue) -> Result<T> {
    let text = if params.get() == "null" { "{}" } else { params.get() };
    serde_json::from_str(text)
        .map_err(|error| Error::internal(format!("cannot read the params of `{method}`")).cause(error))
}

fn write(result: &impl Serialize) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(result)
        .map_err(|error| Error::internal("cannot write the result as JSON").cause(error))
}

/// Waits for `work`; a panic in it becomes an `internal` error, because the host waits for an answer.
pub(crate) async fn guarded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(panic) => Poll::Ready(Err(Error::internal("the plugin panicked").cause(text_of(&*panic)))),
    })
    .await
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it did not say why")
}
