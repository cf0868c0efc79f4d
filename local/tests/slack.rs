//! The Slack stand-in by real requests.

use local::slack::{Options, Slack};
use reqwest::{Client, Response};
use serde_json::{Value, json};

async fn start(burst: u32) -> (Slack, Client) {
    let slack = Slack::start(&Options { burst, per_second: 0.001, ..Options::default() }).await.expect("start");
    (slack, Client::builder().no_proxy().build().expect("client"))
}

async fn api(slack: &Slack, client: &Client, method: &str, token: &str, body: &Value) -> Value {
    let request = client.post(format!("{}/{method}", slack.api_url)).bearer_auth(token).json(body);
    request.send().await.expect("answer").json().await.expect("JSON")
}

async fn hook(client: &Client, url: &str, body: &Value) -> Response {
    client.post(url).json(body).send().await.expect("answer")
}

#[tokio::test]
async fn the_web_api_posts_threads_and_updates() {
    let (slack, client) = start(100).await;
    let posted = api(&slack, &client, "chat.postMessage", &slack.token, &json!({"channel": "#ops", "text": "one"})).await;
    assert_eq!(posted["ok"], true, "{posted}");
    let (channel, ts) = (&posted["channel"], &posted["ts"]);
    let reply = json!({"channel": channel, "text": "two", "thread_ts": ts});
    assert_eq!(api(&slack, &client, "chat.postMessage", &slack.token, &reply).await["ok"], true);
    let update = json!({"channel": channel, "ts": ts, "text": "one, changed"});
    assert_eq!(api(&slack, &client, "chat.update", &slack.token, &update).await["ok"], true);
    let kept: Vec<Value> = client.get(format!("{}/_messages", slack.url)).send().await.expect("answer").json().await.expect("JSON");
    assert_eq!(kept.len(), 2);
    assert_eq!((&kept[0]["body"]["text"], &kept[0]["updates"]), (&json!("one, changed"), &json!(1)));
    assert_eq!(&kept[1]["threadTs"], ts);
    let page = client.get(&slack.url).send().await.expect("answer").text().await.expect("page");
    assert!(page.contains("one, changed") && page.contains("two"), "{page}");
}

#[tokio::test]
async fn web_api_errors_come_with_status_200() {
    let (slack, client) = start(100).await;
    let good = json!({"channel": "ops", "text": "x"});
    let cases = [
        ("xoxb-wrong", good.clone(), "invalid_auth"),
        (slack.token.as_str(), json!({"channel": "nowhere", "text": "x"}), "channel_not_found"),
        (slack.token.as_str(), json!({"channel": "ops"}), "no_text"),
        (slack.token.as_str(), json!({"channel": "ops", "blocks": [{"type": "nonsense"}]}), "invalid_blocks"),
    ];
    for (token, body, error) in cases {
        let answer = api(&slack, &client, "chat.postMessage", token, &body).await;
        assert_eq!((&answer["ok"], &answer["error"]), (&json!(false), &json!(error)));
    }
    let update = json!({"channel": "#ops", "ts": "1.1", "text": "x"});
    assert_eq!(api(&slack, &client, "chat.update", &slack.token, &update).await["error"], "channel_not_found", "a name is no id");
    assert!(slack.messages().is_empty());
    assert_eq!(slack.refused().len(), 2);
}

#[tokio::test]
async fn a_webhook_answers_in_words_and_at_its_pace() {
    let (slack, client) = start(2).await;
    let answer = hook(&client, &slack.webhook_url, &json!({"text": "x"})).await;
    assert_eq!((answer.status().as_u16(), answer.text().await.expect("text").as_str()), (200, "ok"));
    let answer = hook(&client, &slack.webhook_url, &json!({"blocks": [{"type": "nonsense"}]})).await;
    assert_eq!((answer.status().as_u16(), answer.text().await.expect("text").as_str()), (400, "invalid_blocks"));
    let answer = hook(&client, &format!("{}x", slack.webhook_url), &json!({"text": "x"})).await;
    assert_eq!((answer.status().as_u16(), answer.text().await.expect("text").as_str()), (404, "no_service"));
    hook(&client, &slack.webhook_url, &json!({"text": "y"})).await;
    let answer = hook(&client, &slack.webhook_url, &json!({"text": "too fast"})).await;
    assert_eq!(answer.status().as_u16(), 429);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!((slack.messages().len(), slack.rate_limited()), (2, 1));
}

#[tokio::test]
async fn planned_faults_hit_the_next_requests_only() {
    let (slack, client) = start(100).await;
    let plan = |fault: Value| client.post(format!("{}/_faults", slack.url)).json(&fault).send();
    plan(json!({"status": 500, "count": 2})).await.expect("planned");
    plan(json!({"drop": true})).await.expect("planned");
    for _ in 0..2 {
        assert_eq!(hook(&client, &slack.webhook_url, &json!({"text": "x"})).await.status().as_u16(), 500);
    }
    assert!(slack.messages().is_empty());
    let lost = client.post(&slack.webhook_url).json(&json!({"text": "taken"})).send().await;
    assert!(lost.is_err(), "the reply is lost");
    assert_eq!(slack.messages().len(), 1, "and the message taken");
    assert_eq!(hook(&client, &slack.webhook_url, &json!({"text": "y"})).await.status().as_u16(), 200);
}
