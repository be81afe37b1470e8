//! The HTTP side: one port for all services, told apart by what the signature was made for.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::service::S3Service;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Inner;
use crate::accounts::KeyError;
use crate::api::{Answer, ApiError, Call, Caller};
use crate::clock::Clock;
use crate::sigv4::{self, SignatureError};
use crate::sts;

/// Bytes of a request other than S3's: PutLogEvents at its most escaped is the longest.
const BODY_BYTES_MAX: usize = 16 << 20;

type Reply = Response<Either<Full<Bytes>, s3s::Body>>;

/// Takes connections until `stop`.
pub(crate) async fn serve(
    cloud: Arc<Inner>,
    s3: S3Service,
    listener: TcpListener,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((connection, _)) = accepted else { continue };
        // Answers are small and waited for.
        let _without_nodelay = connection.set_nodelay(true);
        tasks.spawn(connected(Arc::clone(&cloud), s3.clone(), connection, stop.clone()));
    }
}

async fn connected(cloud: Arc<Inner>, s3: S3Service, connection: TcpStream, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let (cloud, s3) = (Arc::clone(&cloud), s3.clone());
        async move { Ok::<_, Infallible>(answer(&cloud, &s3, request).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(connection), service);
    // A client that goes away is no matter of ours.
    tokio::select! {
        _ended = serving => {}
        () = stop.cancelled() => {}
    }
}

async fn answer(cloud: &Arc<Inner>, s3: &S3Service, request: Request<Incoming>) -> Reply {
    let authorization = sigv4::parse(request.headers());
    // Pre-signed URLs and unsigned calls go to S3, which refuses what it must.
    let Some(authorization) = authorization.filter(|it| it.service != "s3") else {
        return match s3.call(request.map(s3s::Body::from)).await {
            Ok(response) => response.map(Either::Right),
            Err(_) => text(500, "application/xml", String::new()),
        };
    };
    let (parts, body) = request.into_parts();
    let service = authorization.service.clone();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return refusal(&service, &ApiError::new(413, "RequestEntityTooLarge", "the request is too large"));
    };
    let body = body.to_bytes();
    let caller = match who(cloud, &parts, &body, &authorization) {
        Ok(caller) => caller,
        Err(error) => return refusal(&service, &error),
    };
    let now_ms = cloud.clock.now_ms();
    if service == "sts" {
        let (action, answer) = sts::call(&cloud.accounts, &caller, now_ms, &body);
        cloud.count("sts", &action, &caller.account);
        return match answer {
            Ok(xml) => text(200, "text/xml", xml),
            Err(error) => refusal("sts", &error),
        };
    }
    let target = parts.headers.get("x-amz-target").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default();
    cloud.count(&service, operation, &caller.account);
    cloud.pass(operation, &caller.account).await;
    let call = Call { caller: &caller, region: &authorization.region, now_ms, operation, body: &body };
    let host = parts.headers.get("host").and_then(|it| it.to_str().ok()).unwrap_or_default();
    let answer: Answer = match service.as_str() {
        "sqs" => cloud.sqs.call(&call, host, || cloud.clock.now_ms()).await,
        "dynamodb" => cloud.dynamodb.call(&call),
        "logs" => cloud.logs.call(&call, &cloud.accounts),
        other => Err(ApiError::new(400, "UnknownOperationException", format!("service {other} does not exist here"))),
    };
    match answer {
        Ok(value) => text(200, content_type(&service), value.to_string()),
        Err(error) => refusal(&service, &error),
    }
}

/// The caller that the signature proves.
fn who(cloud: &Inner, parts: &Parts, body: &[u8], authorization: &sigv4::Authorization) -> Result<Caller, ApiError> {
    let codes = Codes::of(&authorization.service);
    let unknown =
        || ApiError::new(codes.status, codes.unknown, "The security token included in the request is invalid.");
    let secret = cloud.accounts.secret(&authorization.access_key).ok_or_else(unknown)?;
    sigv4::verify(parts, body, authorization, &secret, Clock::wall_ms()).map_err(|error| match error {
        SignatureError::Mismatch => {
            let text = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                Access Key and signing method.";
            ApiError::new(codes.status, codes.mismatch, text)
        }
        SignatureError::Skewed => ApiError::new(codes.status, codes.mismatch, "Signature expired or not yet current"),
    })?;
    let token = parts.headers.get("x-amz-security-token").and_then(|it| it.to_str().ok());
    cloud.accounts.caller(&authorization.access_key, token, cloud.clock.now_ms()).map_err(|error| match error {
        KeyError::Expired => {
            ApiError::new(codes.status, codes.expired, "The security token included in the request is expired")
        }
        KeyError::Token | KeyError::Unknown => unknown(),
    })
}

/// How a service names what is wrong with credentials.
struct Codes {
    status: u16,
    unknown: &'static str,
    mismatch: &'static str,
    expired: &'static str,
}

impl Codes {
    fn of(service: &str) -> Self {
        if service == "sts" {
            let (unknown, mismatch, expired) = ("InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken");
            return Self { status: 403, unknown, mismatch, expired };
        }
        let (unknown, mismatch, expired) =
            ("UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException");
        Self { status: 400, unknown, mismatch, expired }
    }
}

fn content_type(service: &str) -> &'static str {
    if service == "logs" { "application/x-amz-json-1.1" } else { "application/x-amz-json-1.0" }
}

fn refusal(service: &str, error: &ApiError) -> Reply {
    if service == "sts" {
        return text(error.status, "text/xml", sts::error(error));
    }
    let mut reply = text(error.status, content_type(service), error.json().to_string());
    if service == "sqs"
        && let Ok(value) = format!("{};Sender", error.code).parse()
    {
        reply.headers_mut().insert("x-amzn-query-error", value);
    }
    reply
}

fn text(status: u16, content_type: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *reply.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = reply.headers_mut();
    headers.insert("content-type", hyper::header::HeaderValue::from_static(content_type));
    headers.insert("x-amzn-requestid", hyper::header::HeaderValue::from_static("00000000-0000-4000-8000-000000000000"));
    reply
}
