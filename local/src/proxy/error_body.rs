//! An AWS error as each protocol writes it, so that the SDK's own classification decides whether to try again.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;

/// The error in the protocol of the request.
pub(super) fn error(operation: &str, headers: &HeaderMap, status: StatusCode, code: &str) -> Response {
    let message = format!("{code} by the fault proxy");
    let (content_type, body) = if operation.starts_with("s3:") {
        ("application/xml", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"))
    } else if headers.contains_key("x-amz-target") {
        ("application/x-amz-json-1.1", json!({"__type": code, "message": message}).to_string())
    } else {
        let error = format!("<Error><Type>Receiver</Type><Code>{code}</Code><Message>{message}</Message></Error>");
        ("text/xml", format!("<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>"))
    };
    Response::builder().status(status).header("content-type", content_type).body(Body::from(body)).unwrap_or_default()
}
