//! One request and its answer on a connection.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::connection::Connection;
use super::trouble::{Phase, Trouble};
use crate::definition::Method;

/// An answer, as far as it was read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Whether that is all of the body.
    pub(super) is_whole: bool,
    /// From the request to the last byte that was read.
    pub(super) took: Duration,
    /// From the request to the head of the answer.
    pub(super) first_byte: Duration,
}

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    pub(super) headers: HeaderMap,
    pub(super) body_bytes_max: usize,
    pub(super) deadline: Instant,
}

/// No answer. `untouched`: the connection ended before a byte of an answer, as a kept one does when the server has just closed it.
pub(super) struct Unanswered {
    pub(super) trouble: Trouble,
    pub(super) untouched: bool,
    pub(super) took: Duration,
}

pub(super) async fn exchange(connection: &mut Connection, question: &Question<'_>) -> Result<Answer, Unanswered> {
    let began = Instant::now();
    let failed = |trouble, untouched| Unanswered { trouble, untouched, took: began.elapsed() };
    let request = request(connection, question).map_err(|trouble| failed(trouble, false))?;
    connection.used += 1;
    let answer = timeout_at(question.deadline, connection.sender.send_request(request)).await;
    let answer = answer.map_err(|_| failed(Trouble::TimedOut(Phase::FirstByte), false))?;
    let answer = answer.map_err(|error| failed(Trouble::of_exchange(&error), !error.is_parse()))?;
    let first_byte = began.elapsed();
    let (head, mut body) = answer.into_parts();
    let (mut bytes, mut is_whole) = (Vec::new(), true);
    loop {
        let frame = timeout_at(question.deadline, body.frame()).await.map_err(|_| failed(Trouble::TimedOut(Phase::Body), false))?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| failed(Trouble::of_exchange(&error), false))?;
        let Some(data) = frame.data_ref() else { continue };
        let room = question.body_bytes_max - bytes.len();
        bytes.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            is_whole = false;
            break;
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body: bytes, is_whole, took: began.elapsed(), first_byte })
}

fn request(connection: &Connection, question: &Question<'_>) -> Result<Request<Empty<Bytes>>, Trouble> {
    let broken = |_| Trouble::Broken("the request cannot be written".to_owned());
    let url = question.url;
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let host = HeaderValue::from_str(&connection.origin.host_header()).map_err(|_| Trouble::Broken("the host cannot be written".to_owned()))?;
    let mut request = Request::builder().method(question.method.name()).uri(target).body(Empty::new()).map_err(broken)?;
    *request.headers_mut() = question.headers.clone();
    request.headers_mut().insert(HOST, host);
    Ok(request)
}
