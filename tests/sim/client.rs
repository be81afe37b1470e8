//! The SDK's HTTP client over the simulated network: the same hyper client and pool as in production, and the same reading of
//! its errors.

use std::error::Error;
use std::future::{Ready, ready};
use std::io;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use hyper::Uri;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use localcloud::Cloud;
use tower_service::Service;

use crate::net::{Host, Link};

/// As in production: idle connections are closed before the service closes them.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// A connector of `host`, by which `cloud` is reached whatever the name is.
pub(crate) fn client(host: &Host, cloud: Weak<Cloud>) -> SharedHttpConnector {
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .build(Dial { host: host.clone(), cloud });
    SharedHttpConnector::new(Connector { client })
}

#[derive(Clone, Debug)]
struct Dial {
    host: Host,
    cloud: Weak<Cloud>,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Link>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<Link>>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _to: Uri) -> Self::Future {
        let connected = self.host.connect().and_then(|(here, there)| {
            let cloud = self.cloud.upgrade().ok_or(io::ErrorKind::ConnectionRefused)?;
            cloud.take(there);
            Ok(TokioIo::new(here))
        });
        ready(connected)
    }
}

#[derive(Debug)]
struct Connector {
    client: Client<Dial, SdkBody>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        // The SDK has a connection closed that a call broke or did not wait for.
        let captured = capture_connection(&mut request);
        if let Some(of_sdk) = request.extensions().get::<CaptureSmithyConnection>() {
            of_sdk.set_connection_retriever(move || Some(metadata(&captured)));
        }
        let answer = self.client.request(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(failure)?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

fn metadata(captured: &CaptureConnection) -> ConnectionMetadata {
    let captured = captured.clone();
    let poison = move || {
        if let Some(connection) = captured.connection_metadata().as_ref() {
            connection.poison();
        }
    };
    ConnectionMetadata::builder().proxied(false).poison_fn(poison).build()
}

/// What aws-smithy-http-client makes of hyper's errors.
fn failure(error: legacy::Error) -> ConnectorError {
    let io = source::<io::Error>(&error).is_some();
    let hyper = source::<hyper::Error>(&error);
    let broken = hyper.is_some_and(|it| it.is_closed() || it.is_canceled());
    let cut = hyper.is_some_and(hyper::Error::is_incomplete_message);
    if io || broken || error.is_connect() {
        ConnectorError::io(error.into())
    } else {
        ConnectorError::other(error.into(), cut.then_some(ErrorKind::TransientError))
    }
}

fn source<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let causes = std::iter::successors(Some(error), |&error: &&'e (dyn Error + 'static)| error.source());
    causes.into_iter().find_map(|error| error.downcast_ref())
}
