//! The daemon's own connections over the simulated network.

use std::future::{Ready, ready};
use std::io;
use std::sync::Weak;
use std::task::{Context, Poll};

use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use hyper::Uri;
use hyper_util::rt::TokioIo;
use localcloud::Cloud;
use millrace::aws::connector::Connector;
use tower_service::Service;

use crate::net::{Host, Link};

/// A connector of `host`, by which `cloud` is reached whatever the name is.
pub(crate) fn client(host: &Host, cloud: Weak<Cloud>) -> SharedHttpConnector {
    SharedHttpConnector::new(Connector::over(Dial { host: host.clone(), cloud }))
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
