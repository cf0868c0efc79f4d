//! Where the measured programs upload to: as much of S3 as they use, fast enough never to be what is waited for, and the two answers that the function
//! wants from Parameter Store and SNS. It checks no signature and computes no checksum; the Python cloud does, and would be the bottleneck.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde_json::{Value, json};
use shared::failure::{Context, Failure};
use tokio::task::JoinHandle;

use crate::aws_chunked::Decoder;

/// What becomes of the bytes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Only their number is kept.
    Size,
    /// They stay in memory.
    Bytes,
}

/// A stored object.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Its bytes in pieces, where they are kept.
    pub pieces: Vec<Bytes>,
}

#[derive(Debug, Default)]
struct Upload {
    key: String,
    parts: BTreeMap<u32, Object>,
}

#[derive(Debug, Default)]
struct Stored {
    /// By bucket and key: `bucket/key`.
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    /// Parameters with a value of their own.
    parameters: BTreeMap<String, String>,
    requests: u64,
}

#[derive(Clone)]
struct Shared {
    stored: Arc<Mutex<Stored>>,
    keep: Keep,
    parameter: Arc<str>,
}

/// A sink that serves. Dropping it ends it.
pub struct Sink {
    /// Its address.
    pub url: String,
    shared: Shared,
    serving: JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Sink {
    /// Starts to serve on any port. Every parameter that is asked for has this value, unless it is given one of its own.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(keep: Keep, parameter: String) -> Result<Self, Failure> {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.context("open a port")?;
        let url = format!("http://{}", listener.local_addr().context("open a port")?);
        let shared = Shared { stored: Arc::default(), keep, parameter: parameter.into() };
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let serving = tokio::spawn(async move {
            // Ends only when the task is aborted.
            let _ = axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), router).await;
        });
        Ok(Self { url, shared, serving })
    }

    /// The objects below a prefix (`bucket/…`), by their name without it.
    pub fn objects(&self, prefix: &str) -> BTreeMap<String, Object> {
        let stored = self.shared.lock();
        let below = stored.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        below.map(|(key, object)| (key[prefix.len()..].to_owned(), object.clone())).collect()
    }

    /// Gives a parameter a value of its own.
    pub fn parameter(&self, name: &str, value: &str) {
        self.shared.lock().parameters.insert(name.to_owned(), value.to_owned());
    }

    /// Forgets everything; says how many requests there were since the last time.
    pub fn clear(&self) -> u64 {
        std::mem::take(&mut *self.shared.lock()).requests
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    shared.lock().requests += 1;
    let (parts, body) = request.into_parts();
    let path = decode(parts.uri.path().trim_start_matches('/'));
    // A bucket is asked for with a slash at its end by some clients, and without by others.
    let path = path.strip_suffix('/').filter(|bucket| !bucket.contains('/')).map(str::to_owned).unwrap_or(path);
    let method = &parts.method;
    let query = query(&parts.uri);
    let has = |name: &str| query.contains_key(name);
    match (method, path.contains('/')) {
        (&Method::POST, false) if path.is_empty() => service(&shared, &parts.headers, body).await,
        (&Method::GET, false) if has("uploads") => list_uploads(&shared, &path),
        (&Method::GET, false) => list(&shared, &path, &query),
        (&Method::PUT, true) => put(&shared, path, &query, &parts.headers, body).await,
        (&Method::POST, true) if has("uploads") => begin(&shared, path),
        (&Method::POST, true) if has("uploadId") => complete(&shared, &path, &query, &parts.headers),
        (&Method::DELETE, true) if has("uploadId") => {
            shared.lock().uploads.remove(&query["uploadId"]);
            StatusCode::NO_CONTENT.into_response()
        }
        (&Method::HEAD | &Method::GET, true) => get(&shared, &path, method == Method::HEAD),
        _ => error(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
    }
}

async fn put(shared: &Shared, key: String, query: &BTreeMap<String, String>, headers: &HeaderMap, body: Body) -> Response {
    let chunked = text(headers, "content-encoding").contains("aws-chunked") || text(headers, "x-amz-content-sha256").starts_with("STREAMING-");
    let Some(object) = receive(body, chunked, shared.keep).await else {
        return error(StatusCode::BAD_REQUEST, "IncompleteBody");
    };
    let mut stored = shared.lock();
    let etag = format!("\"{:032x}\"", object.size_bytes);
    if let Some(id) = query.get("uploadId") {
        let Some(upload) = stored.uploads.get_mut(id) else { return error(StatusCode::NOT_FOUND, "NoSuchUpload") };
        let Some(number) = query.get("partNumber").and_then(|number| number.parse().ok()) else {
            return error(StatusCode::BAD_REQUEST, "InvalidArgument");
        };
        upload.parts.insert(number, object);
    } else {
        if !text(headers, "if-none-match").is_empty() && stored.objects.contains_key(&key) {
            return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
        stored.objects.insert(key, object);
    }
    ([("etag", etag)], StatusCode::OK).into_response()
}

/// Reads a body to its end; `None` when it is cut.
async fn receive(body: Body, chunked: bool, keep: Keep) -> Option<Object> {
    let mut object = Object::default();
    let mut decoder = Decoder::default();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let mut take = |bytes: Bytes| {
            object.size_bytes += bytes.len() as u64;
            if keep == Keep::Bytes {
                object.pieces.push(bytes);
            }
        };
        if chunked {
            decoder.decode(piece.ok()?, &mut take).ok()?;
        } else {
            take(piece.ok()?);
        }
    }
    (!chunked || decoder.is_complete()).then_some(object)
}

fn begin(shared: &Shared, key: String) -> Response {
    let id = format!("{:032x}", rand::random::<u128>());
    let answer = format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
    shared.lock().uploads.insert(id, Upload { key, parts: BTreeMap::new() });
    xml(answer)
}

fn complete(shared: &Shared, key: &str, query: &BTreeMap<String, String>, headers: &HeaderMap) -> Response {
    let mut stored = shared.lock();
    if !text(headers, "if-none-match").is_empty() && stored.objects.contains_key(key) {
        return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
    }
    let Some(upload) = stored.uploads.remove(&query["uploadId"]).filter(|upload| upload.key == key) else {
        return error(StatusCode::NOT_FOUND, "NoSuchUpload");
    };
    let mut object = Object::default();
    for part in upload.parts.into_values() {
        object.size_bytes += part.size_bytes;
        object.pieces.extend(part.pieces);
    }
    stored.objects.insert(key.to_owned(), object);
    xml("<CompleteMultipartUploadResult><ETag>\"0-1\"</ETag></CompleteMultipartUploadResult>".to_owned())
}

fn get(shared: &Shared, key: &str, head: bool) -> Response {
    let stored = shared.lock();
    let Some(object) = stored.objects.get(key) else { return error(StatusCode::NOT_FOUND, "NoSuchKey") };
    let headers = [("content-length", object.size_bytes.to_string()), ("etag", format!("\"{:032x}\"", object.size_bytes))];
    if head {
        return headers.into_response();
    }
    if object.pieces.is_empty() && object.size_bytes > 0 {
        return error(StatusCode::NOT_IMPLEMENTED, "NotImplemented");
    }
    let pieces = object.pieces.clone().into_iter().map(Ok::<Bytes, std::io::Error>);
    (headers, Body::from_stream(futures_util::stream::iter(pieces))).into_response()
}

fn list(shared: &Shared, bucket: &str, query: &BTreeMap<String, String>) -> Response {
    const PAGE: usize = 1_000;
    let prefix = format!("{bucket}/{}", query.get("prefix").map_or("", String::as_str));
    let after = query.get("continuation-token").map_or_else(String::new, |key| format!("{bucket}/{key}"));
    let stored = shared.lock();
    let mut below = stored.objects.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix)).skip_while(|(key, _)| **key <= after);
    let page: Vec<_> = below.by_ref().take(PAGE).collect();
    let truncated = below.next().is_some();
    let mut answer = format!("<ListBucketResult><IsTruncated>{truncated}</IsTruncated><KeyCount>{}</KeyCount>", page.len());
    for (key, object) in &page {
        let _ = write!(
            answer,
            "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"0\"</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
            escape(&key[bucket.len() + 1..]),
            object.size_bytes
        );
    }
    if let Some((key, _)) = page.last().filter(|_| truncated) {
        let _ = write!(answer, "<NextContinuationToken>{}</NextContinuationToken>", escape(&key[bucket.len() + 1..]));
    }
    xml(answer + "</ListBucketResult>")
}

fn list_uploads(shared: &Shared, bucket: &str) -> Response {
    let mut answer = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>".to_owned();
    for (id, upload) in &shared.lock().uploads {
        if let Some(key) = upload.key.strip_prefix(bucket).and_then(|key| key.strip_prefix('/')) {
            let _ = write!(answer, "<Upload><Key>{}</Key><UploadId>{id}</UploadId></Upload>", escape(key));
        }
    }
    xml(answer + "</ListMultipartUploadsResult>")
}

/// Parameter Store and SNS.
async fn service(shared: &Shared, headers: &HeaderMap, body: Body) -> Response {
    let Ok(body) = axum::body::to_bytes(body, 1 << 20).await else { return error(StatusCode::BAD_REQUEST, "IncompleteBody") };
    if text(headers, "x-amz-target") == "AmazonSSM.GetParameter" {
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        let own = shared.lock().parameters.get(asked["Name"].as_str().unwrap_or_default()).cloned();
        let value = own.as_deref().unwrap_or(&shared.parameter);
        let parameter = json!({"Parameter": {"Name": asked["Name"], "Type": "SecureString", "Value": value, "Version": 1}});
        return ([("content-type", "application/x-amz-json-1.1")], parameter.to_string()).into_response();
    }
    if body.starts_with(b"Action=Publish&") {
        return xml("<PublishResponse><PublishResult><MessageId>0</MessageId></PublishResult></PublishResponse>".to_owned());
    }
    error(StatusCode::NOT_IMPLEMENTED, "NotImplemented")
}

#[expect(clippy::needless_pass_by_value, reason = "a body is made where it is handed over")]
fn xml(body: String) -> Response {
    ([("content-type", "application/xml")], format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}")).into_response()
}

fn error(status: StatusCode, code: &str) -> Response {
    (status, xml(format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"))).into_response()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn query(uri: &Uri) -> BTreeMap<String, String> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(name, value)| (decode(name), decode(&value.replace('+', " ")))).collect()
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
