//! Connections to the services, for all clients.
//!
//! hyper's client under the SDK's interface. The SDK's own lets hyper read as much of an answer at once as is there, into buffers
//! that grow to 680 KiB for each connection, outside of any budget and anew for each answer. Here a buffer is small, and its
//! bytes are copied to where they are accounted for.

use std::error::Error;
use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{
    CaptureConnection, Connect, HttpConnector as TcpConnector, capture_connection,
};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::error::Elapsed;
use tower_service::Service;

/// Longest wait for a connection, its encryption agreed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Idle connections are closed before the service closes them.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of an answer that a connection reads at once, at most. For each time its task and its reader wake each other; more
/// would be a mapping of its own each time (`allocator.rs`).
const READ_BYTES_MAX: usize = 60 << 10;

/// The services' connections, made by `C`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector<C> {
    client: Client<C, SdkBody>,
}

impl Connector<Dial> {
    /// Without a connection yet. Who is trusted by HTTPS is what the system says, or `SSL_CERT_FILE` or `SSL_CERT_DIR`.
    pub(super) fn new() -> Self {
        let mut roots = RootCertStore::empty();
        // By HTTP it goes without any; by HTTPS each call says then that nobody is trusted.
        let _added_and_left_out = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let Ok(tls) = tls.with_safe_default_protocol_versions() else { unreachable!("the provider has all versions") };
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        let mut tcp = TcpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        Self::over(Dial(
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp),
        ))
    }
}

impl<C> Connector<C>
where
    C: Connect + Clone,
{
    /// The same over connections that are made in another way.
    pub fn over(dial: C) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .http1_max_buf_size(READ_BYTES_MAX)
            .build(dial);
        Self { client }
    }
}

impl<C> HttpConnector for Connector<C>
where
    C: Connect + Clone + Debug + Send + Sync + 'static,
{
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        // The SDK has a connection closed that a call broke or did not wait for.
        if let Some(of_sdk) = request.extensions().get::<CaptureSmithyConnection>().cloned() {
            let captured = capture_connection(&mut request);
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

/// The SDK's word for a call that got no answer.
fn failure(error: ClientError) -> ConnectorError {
    let http = cause::<hyper::Error>(&error);
    let broken = http.is_some_and(|http| http.is_closed() || http.is_canceled());
    if cause::<Elapsed>(&error).is_some() {
        ConnectorError::timeout(error.into())
    } else if http.is_some_and(hyper::Error::is_user) {
        ConnectorError::user(error.into())
    } else if broken || error.is_connect() || cause::<io::Error>(&error).is_some() {
        ConnectorError::io(error.into())
    } else {
        // Of a connection that was closed while a call was on its way.
        let cut = http.is_some_and(hyper::Error::is_incomplete_message);
        ConnectorError::other(error.into(), cut.then_some(ErrorKind::TransientError))
    }
}

fn cause<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let causes = std::iter::successors(Some(error), |&error: &&'e (dyn Error + 'static)| error.source());
    causes.into_iter().find_map(|error| error.downcast_ref())
}

/// Makes connections over the network, each within four seconds.
#[derive(Clone, Debug)]
pub struct Dial(HttpsConnector<TcpConnector>);

impl Service<Uri> for Dial {
    type Response = <HttpsConnector<TcpConnector> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connection = tokio::time::timeout(CONNECT_TIMEOUT, self.0.call(to));
        Box::pin(async move { connection.await? })
    }
}
