//! Which AWS operation a request is, from its method, path, query, headers and body: `s3:UploadPart`, `ssm:GetParameter`.

use axum::http::{HeaderMap, Method};

/// `service:Operation` of a request; the service from the signature's scope, `unknown` for what is not signed.
pub fn operation(method: &Method, path: &str, query: Option<&str>, headers: &HeaderMap, body: &[u8]) -> String {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let service = header("authorization").split_once("Credential=").and_then(|(_, scope)| scope.split('/').nth(3)).unwrap_or("unknown");
    let target = header("x-amz-target");
    if let Some((_, operation)) = target.rsplit_once('.') {
        return format!("{service}:{operation}");
    }
    if header("content-type").starts_with("application/x-www-form-urlencoded") {
        let mut fields = std::str::from_utf8(body).unwrap_or_default().split('&');
        let action = fields.find_map(|field| field.strip_prefix("Action=")).unwrap_or("Unknown");
        return format!("{service}:{action}");
    }
    if service == "s3" {
        let copies = headers.contains_key("x-amz-copy-source");
        return format!("s3:{}", s3(method, path, query.unwrap_or_default(), copies));
    }
    // smithy-rpc-v2-cbor: /service/NAME/operation/OPERATION
    let last = path.rsplit('/').next().unwrap_or_default();
    let named = if service == "lambda" { lambda(method, last) } else { last };
    format!("{service}:{named}")
}

/// Lambda's operations on a function (Lambda API Reference) by the last part of the path, which is the name of the others.
fn lambda<'a>(method: &Method, last: &'a str) -> &'a str {
    match (method.as_str(), last) {
        ("GET", "configuration") => "GetFunctionConfiguration",
        ("PUT", "configuration") => "UpdateFunctionConfiguration",
        ("POST", "invocations") => "Invoke",
        _ => last,
    }
}

/// S3's operations with path-style addresses (S3 API Reference). Those that nothing here uses have the name of their method.
fn s3<'a>(method: &'a Method, path: &str, query: &str, copies: bool) -> &'a str {
    let has = |name: &str| query.split('&').any(|field| field.split('=').next() == Some(name));
    let is_object = path.trim_matches('/').contains('/');
    match (method.as_str(), is_object) {
        ("PUT", true) if has("partNumber") && copies => "UploadPartCopy",
        ("PUT", true) if has("partNumber") => "UploadPart",
        ("PUT", true) if copies => "CopyObject",
        ("PUT", true) if has("retention") => "PutObjectRetention",
        ("PUT", true) if has("tagging") => "PutObjectTagging",
        ("PUT", true) => "PutObject",
        ("POST", true) if has("uploads") => "CreateMultipartUpload",
        ("POST", true) if has("uploadId") => "CompleteMultipartUpload",
        ("DELETE", true) if has("uploadId") => "AbortMultipartUpload",
        ("DELETE", true) => "DeleteObject",
        ("GET", true) if has("uploadId") => "ListParts",
        ("GET", true) => "GetObject",
        ("HEAD", true) => "HeadObject",
        ("GET", false) if has("uploads") => "ListMultipartUploads",
        ("GET", false) if has("versions") => "ListObjectVersions",
        ("GET", false) if has("list-type") => "ListObjectsV2",
        ("POST", false) if has("delete") => "DeleteObjects",
        ("PUT", false) if query.is_empty() => "CreateBucket",
        ("HEAD", false) => "HeadBucket",
        _ => method.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s3_is_known_by_method_path_and_query() {
        let cases = [
            ("PUT", "/b/k", "", "PutObject"),
            ("PUT", "/b/k", "partNumber=2&uploadId=x&x-id=UploadPart", "UploadPart"),
            ("POST", "/b/k", "uploads", "CreateMultipartUpload"),
            ("POST", "/b/k/l", "uploadId=x", "CompleteMultipartUpload"),
            ("DELETE", "/b/k", "uploadId=x&x-id=AbortMultipartUpload", "AbortMultipartUpload"),
            ("GET", "/b/", "list-type=2&prefix=p%2F", "ListObjectsV2"),
            ("GET", "/b", "uploads&prefix=x", "ListMultipartUploads"),
            ("HEAD", "/b/k", "", "HeadObject"),
        ];
        let mut headers = HeaderMap::new();
        let scope = "AWS4-HMAC-SHA256 Credential=AKIA/20261123/eu-central-1/s3/aws4_request, SignedHeaders=host, Signature=0";
        headers.insert("authorization", scope.parse().expect("header"));
        for (method, path, query, expected) in cases {
            let method = method.parse().expect("method");
            assert_eq!(operation(&method, path, Some(query), &headers, b""), format!("s3:{expected}"), "{method} {path}?{query}");
        }
    }

    #[test]
    fn lambda_is_known_by_method_and_path() {
        let mut headers = HeaderMap::new();
        let scope = "AWS4-HMAC-SHA256 Credential=AKIA/20261123/eu-central-1/lambda/aws4_request, SignedHeaders=host, Signature=0";
        headers.insert("authorization", scope.parse().expect("header"));
        let path = "/2015-03-31/functions/name/configuration";
        assert_eq!(operation(&Method::PUT, path, None, &headers, b"{}"), "lambda:UpdateFunctionConfiguration");
        assert_eq!(operation(&Method::GET, path, None, &headers, b""), "lambda:GetFunctionConfiguration");
        assert_eq!(operation(&Method::POST, "/2015-03-31/functions/name/invocations", None, &headers, b"{}"), "lambda:Invoke");
    }

    #[test]
    fn json_and_query_protocols_name_their_operation() {
        let mut headers = HeaderMap::new();
        let scope = "AWS4-HMAC-SHA256 Credential=AKIA/20261123/eu-central-1/sns/aws4_request, SignedHeaders=host, Signature=0";
        headers.insert("authorization", scope.parse().expect("header"));
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().expect("header"));
        assert_eq!(operation(&Method::POST, "/", None, &headers, b"Action=Publish&Version=2010-03-31"), "sns:Publish");
        headers.insert("x-amz-target", "AmazonSSM.GetParameter".parse().expect("header"));
        assert_eq!(operation(&Method::POST, "/", None, &headers, b"{}"), "sns:GetParameter");
    }
}
