//! The Bot API stand-in over HTTP.

use reqwest::{Error, Response};

use super::{
    super::telegram::{Fault, Rule},
    *,
};

const TOKEN: &str = "bot123456:AAExample-Token_x";

async fn call(simulator: &Simulator, method: &str, params: Value) -> Result<Response, Error> {
    let url = format!("{}/{TOKEN}/{method}", simulator.telegram_url());
    http().post(url).json(&params).timeout(Duration::from_secs(2)).send().await
}

fn message() -> Value {
    json!({"chat_id": 42, "text": "<b>x</b>", "parse_mode": "HTML"})
}

#[tokio::test]
async fn messages_are_sent_and_kept_without_the_token() {
    let (simulator, shutdown) = quiet().await;
    let me: Value = call(&simulator, "getMe", json!({})).await.unwrap().json().await.unwrap();
    assert_eq!((&me["ok"], &me["result"]["is_bot"]), (&json!(true), &json!(true)));
    let sent: Value = call(&simulator, "sendMessage", message()).await.unwrap().json().await.unwrap();
    assert_eq!((&sent["result"]["text"], &sent["result"]["message_id"]), (&json!("x"), &json!(1)));
    let photo = json!({"chat_id": 42, "photo": "file", "caption": "c"});
    let photo: Value = call(&simulator, "sendPhoto", photo).await.unwrap().json().await.unwrap();
    assert_eq!(photo["result"]["photo"][0]["file_id"], "file");
    let kept = simulator.telegram().requests();
    assert_eq!(kept.iter().map(|kept| kept.method.as_str()).collect::<Vec<_>>(), ["getMe", "sendMessage", "sendPhoto"]);
    assert_eq!((kept[1].chat.as_deref(), kept[1].message_id, kept[1].delivered), (Some("42"), Some(1), true));
    let listed =
        http().get(format!("{}/requests", simulator.telegram_url())).send().await.unwrap().text().await.unwrap();
    assert!(listed.contains("sendMessage") && !listed.contains("AAExample"), "{listed}");
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn refusals_have_the_server_s_form() {
    let (simulator, shutdown) = quiet().await;
    let bot = simulator.telegram();
    for (fault, status, text) in [
        (Fault::RetryAfter(7), 429, "retry after 7"),
        (Fault::Blocked, 403, "bot was blocked by the user"),
        (Fault::ChatNotFound, 400, "chat not found"),
        (Fault::CantParseEntities, 400, "can't parse entities"),
        (Fault::Unauthorized, 401, "Unauthorized"),
    ] {
        bot.set_rules(vec![Rule::next(fault, 1)]);
        let answer = call(&simulator, "sendMessage", message()).await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        let header = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let body: Value = answer.json().await.unwrap();
        assert_eq!((&body["ok"], &body["error_code"]), (&json!(false), &json!(status)));
        assert!(body["description"].as_str().unwrap().contains(text), "{body}");
        if status == 429 {
            assert_eq!((header.as_deref(), &body["parameters"]["retry_after"]), (Some("7"), &json!(7)));
        }
        assert_eq!(call(&simulator, "sendMessage", message()).await.unwrap().status(), 200);
    }
    bot.set_rules(vec![Rule::next(Fault::BadGateway, 1)]);
    let answer = call(&simulator, "sendMessage", message()).await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(answer.text().await.unwrap().starts_with("<html>"));
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn ambiguous_answers_leave_the_message_delivered() {
    let (simulator, shutdown) = quiet().await;
    let bot = simulator.telegram();
    bot.set_rules(vec![Rule::next(Fault::Hang, 1)]);
    assert!(call(&simulator, "sendMessage", message()).await.unwrap_err().is_timeout());
    bot.set_rules(vec![Rule::next(Fault::Reset, 1)]);
    let error = call(&simulator, "sendMessage", message()).await.unwrap_err();
    assert!(!error.is_timeout() && !error.is_connect());
    bot.set_rules(vec![Rule::next(Fault::Truncated, 1)]);
    let answer = call(&simulator, "sendMessage", message()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.json::<Value>().await.is_err());
    let kept: Vec<_> = bot.requests().iter().map(|kept| (kept.status, kept.delivered)).collect();
    assert_eq!(kept, [(None, true); 3]);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn faults_are_scripted_over_http() {
    let (simulator, shutdown) = quiet().await;
    let url = format!("{}/control", simulator.telegram_url());
    let post = |body: &str| http().post(&url).body(body.to_owned()).send();
    let rules = r#"{"rules":[{"fault":{"retry_after":3},"chat":"42","times":1},{"fault":"blocked","chat":"42"}]}"#;
    assert_eq!(post(rules).await.unwrap().status(), 200);
    for status in [429, 403, 403] {
        assert_eq!(call(&simulator, "sendMessage", message()).await.unwrap().status().as_u16(), status);
    }
    assert_eq!(post(r#"{"rules":[{"fault":"explode"}]}"#).await.unwrap().status(), 400);
    assert_eq!(post(r#"{"rules":[]}"#).await.unwrap().status(), 200);
    assert_eq!(call(&simulator, "sendMessage", message()).await.unwrap().status(), 200);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn what_is_no_token_or_method_is_not_found() {
    let (simulator, shutdown) = quiet().await;
    let answer = http().post(format!("{}/botnonsense/getMe", simulator.telegram_url())).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(call(&simulator, "deleteWebhook", json!({})).await.unwrap().status(), 404);
    stop(simulator, shutdown).await;
}
