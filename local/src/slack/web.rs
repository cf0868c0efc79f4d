//! The stand-in's HTTP side: an incoming webhook, `chat.postMessage`, `chat.update`, the page and the driver's own paths.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::{Fault, Message, Refused, Shared, check, page};
use crate::host::now;
use crate::http::unsent;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let slack = Router::new()
        .route("/services/{*rest}", post(webhook))
        .route("/api/chat.postMessage", post(post_message))
        .route("/api/chat.update", post(update))
        .layer(middleware::from_fn_with_state(shared.clone(), bad_day));
    slack.route("/", get(show)).route("/_messages", get(messages)).route("/_faults", post(plan)).with_state(shared)
}

async fn show(State(shared): State<Arc<Shared>>) -> Html<String> {
    let messages = shared.state().messages.clone();
    Html(page::page(&messages).into_string())
}

async fn messages(State(shared): State<Arc<Shared>>) -> Json<Vec<Message>> {
    Json(shared.state().messages.clone())
}

async fn plan(State(shared): State<Arc<Shared>>, Json(fault): Json<Fault>) -> StatusCode {
    shared.plan(&fault);
    StatusCode::NO_CONTENT
}

/// Does what was planned to the next request.
async fn bad_day(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let Some(fault) = shared.state().faults.pop_front() else { return next.run(request).await };
    let is_webhook = request.uri().path().starts_with("/services/");
    if fault.delay_seconds > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(fault.delay_seconds)).await;
    }
    let mut response = match (fault.status, fault.error) {
        (status, Some(error)) if is_webhook => (status_of(status.unwrap_or(400)), error).into_response(),
        (status, Some(error)) => (status_of(status.unwrap_or(200)), Json(json!({"ok": false, "error": error}))).into_response(),
        (Some(status), None) => (status_of(status), "a planned fault").into_response(),
        (None, None) => next.run(request).await,
    };
    if let Some(seconds) = fault.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if fault.drop { unsent() } else { response }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn webhook(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if request.uri().path() != shared.webhook_path {
        return (StatusCode::NOT_FOUND, "no_service").into_response();
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return unsent() };
    let Some(message) = payload(&parts.headers, &body) else { return (StatusCode::BAD_REQUEST, "invalid_payload").into_response() };
    match shared.take("webhook", "C00WEBHOOK", None, &message) {
        Ok(_) => "ok".into_response(),
        Err(Not::Refused(refused)) => (StatusCode::BAD_REQUEST, refused.code).into_response(),
        Err(Not::Yet(seconds)) => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds.to_string())], "rate_limited").into_response(),
    }
}

async fn post_message(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let (message, channel) = match shared.authorised(&headers, &body) {
        Ok(found) => found,
        Err(error) => return no(error, None),
    };
    let thread = message["thread_ts"].as_str().map(str::to_owned);
    if let Some(ts) = &thread
        && !shared.state().messages.iter().any(|kept| kept.ts == *ts && kept.channel == channel)
    {
        return no("thread_not_found", None);
    }
    match shared.take("api", &channel, thread, &message) {
        Ok(kept) => yes(&kept),
        Err(not) => not.into_response(),
    }
}

async fn update(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let (message, channel) = match shared.authorised(&headers, &body) {
        Ok(found) => found,
        Err(error) => return no(error, None),
    };
    if message["channel"].as_str() != Some(&channel) {
        // It takes an id, never a name.
        return no("channel_not_found", None);
    }
    if let Err(refused) = check(&message) {
        shared.state().refused.push(refused.clone());
        return Not::Refused(refused).into_response();
    }
    let mut state = shared.state();
    let Some(kept) = state.messages.iter_mut().find(|kept| Some(kept.ts.as_str()) == message["ts"].as_str() && kept.channel == channel) else {
        return no("message_not_found", None);
    };
    if kept.via != "api" {
        return no("cant_update_message", None);
    }
    kept.body = content(&message);
    kept.updates += 1;
    let answer = yes(kept);
    drop(state);
    shared.taken.send_modify(|count| *count += 1);
    answer
}

/// Why a message was not taken.
enum Not {
    Refused(Refused),
    /// `Retry-After`.
    Yet(u64),
}

impl IntoResponse for Not {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refused) => no(refused.code, Some(&refused.detail)),
            Self::Yet(seconds) => {
                let body = Json(json!({"ok": false, "error": "ratelimited"}));
                (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds.to_string())], body).into_response()
            }
        }
    }
}

fn no(error: &str, detail: Option<&str>) -> Response {
    let mut body = json!({"ok": false, "error": error});
    if let Some(detail) = detail {
        body["response_metadata"] = json!({"messages": [format!("[ERROR] {detail}")]});
    }
    Json(body).into_response()
}

fn yes(message: &Message) -> Response {
    Json(json!({"ok": true, "channel": message.channel, "ts": message.ts, "message": message.body})).into_response()
}

/// The message of a request: JSON, or a form whose lists are JSON themselves (a webhook's form: one field `payload`).
fn payload(headers: &HeaderMap, body: &[u8]) -> Option<Value> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return serde_json::from_slice(body).ok().filter(Value::is_object);
    }
    let query = format!("http://form/?{}", std::str::from_utf8(body).ok()?);
    let fields = reqwest::Url::parse(&query).ok()?;
    let fields: Map<String, Value> = fields
        .query_pairs()
        .map(|(name, value)| {
            let is_json = matches!(name.as_ref(), "blocks" | "attachments" | "metadata" | "payload");
            let value = if is_json { serde_json::from_str(&value).unwrap_or(Value::Null) } else { Value::from(value.into_owned()) };
            (name.into_owned(), value)
        })
        .collect();
    fields.get("payload").cloned().or(Some(Value::Object(fields)))
}

/// What is kept of a message: not its address.
fn content(message: &Value) -> Value {
    let mut content = message.as_object().cloned().unwrap_or_default();
    for name in ["channel", "token", "ts"] {
        content.remove(name);
    }
    Value::Object(content)
}

impl Shared {
    /// Checks token and channel of a Web API request; gives the message and the channel's id, or Slack's error.
    fn authorised(&self, headers: &HeaderMap, body: &[u8]) -> Result<(Value, String), &'static str> {
        let message = payload(headers, body).ok_or("invalid_json")?;
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
        match bearer.or(message["token"].as_str()) {
            None => return Err("not_authed"),
            Some(token) if token != self.token => return Err("invalid_auth"),
            Some(_) => {}
        }
        let wanted = message["channel"].as_str().unwrap_or_default();
        let found = self.channels.iter().find(|name| wanted.trim_start_matches('#') == name.as_str() || wanted == channel_id(name));
        let id = found.map(|name| channel_id(name)).ok_or("channel_not_found")?;
        Ok((message, id))
    }

    fn take(&self, via: &str, channel: &str, thread_ts: Option<String>, message: &Value) -> Result<Message, Not> {
        let mut state = self.state();
        if let Err(refused) = check(message) {
            state.refused.push(refused.clone());
            return Err(Not::Refused(refused));
        }
        if let Err(seconds) = state.rate.take(channel, Instant::now()) {
            state.rate_limited += 1;
            return Err(Not::Yet(seconds));
        }
        let n = state.messages.len() as u64 + 1;
        let ts = format!("{}.{n:06}", now().timestamp());
        let kept = Message { n, via: via.to_owned(), channel: channel.to_owned(), ts, thread_ts, updates: 0, body: content(message) };
        state.messages.push(kept.clone());
        drop(state);
        self.taken.send_modify(|count| *count += 1);
        Ok(kept)
    }
}

/// An id such as Slack gives: `C` and capitals.
fn channel_id(name: &str) -> String {
    format!("C0{}", name.to_uppercase().replace(|char: char| !char.is_ascii_alphanumeric(), "0"))
}
