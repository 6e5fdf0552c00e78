//! The Bot API stand-in over HTTP.

use reqwest::{Error, Response};

use super::{
    super::telegram::{Chance, Fault, Outcome, Rule},
    *,
};

const TOKEN: &str = "bot123456:AAExample-Token_x";

async fn call(simulator: &Simulator, method: &str, params: Value) -> Result<Response, Error> {
    let url = format!("{}/{TOKEN}/{method}", simulator.telegram_url());
    http().post(url).json(&params).timeout(Duration::from_secs(2)).send().await
}

/// A picture of one pixel, cut off after its head.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0";

fn upload() -> Vec<u8> {
    let chat = b"--X\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n42\r\n--X\r\n";
    let photo = b"Content-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\n\r\n";
    [chat, &photo[..], PNG, b"\r\n--X--\r\n"].concat()
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
    let url = format!("{}/{TOKEN}/sendPhoto", simulator.telegram_url());
    let upload = http().post(url).header("content-type", "multipart/form-data; boundary=X").body(upload());
    let photo: Value = upload.send().await.unwrap().json().await.unwrap();
    let file_id = photo["result"]["photo"][0]["file_id"].as_str().unwrap();
    let looked = http().get(format!("{}/photo/{file_id}", simulator.telegram_url())).send().await.unwrap();
    assert_eq!(looked.headers()["content-type"], "image/png");
    assert_eq!(looked.bytes().await.unwrap(), PNG);
    let kept = simulator.telegram().requests();
    assert_eq!(kept.iter().map(|kept| kept.method.as_str()).collect::<Vec<_>>(), ["getMe", "sendMessage", "sendPhoto"]);
    assert_eq!((kept[1].chat.as_deref(), kept[1].message_id, kept[1].delivered), (Some("42"), Some(1), true));
    assert_eq!(kept[2].params["photo"], json!({"bytes": PNG.len()}));
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
    assert_eq!(call(&simulator, "logOut", json!({})).await.unwrap().status(), 404);
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn a_long_poll_gets_what_is_said_and_ends_the_older_one() {
    let (simulator, shutdown) = quiet().await;
    let bot = simulator.telegram();
    let poll = |offset: i64| {
        let url = format!("{}/{TOKEN}/getUpdates", simulator.telegram_url());
        let params = json!({"offset": offset, "timeout": 50});
        tokio::spawn(async move { http().post(url).json(&params).send().await.unwrap().json::<Value>().await.unwrap() })
    };
    let url = format!("{}/control", simulator.telegram_url());
    let order = |body: Value| http().post(&url).json(&body).send();
    let older = poll(0);
    // Which of them comes first is open; the other one goes on.
    let mut newer = poll(0);
    let refused = async {
        while !older.is_finished() && !newer.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, refused).await.expect("one of them is refused");
    let refused =
        if older.is_finished() { older.await.unwrap() } else { std::mem::replace(&mut newer, older).await.unwrap() };
    assert_eq!((&refused["error_code"], &refused["ok"]), (&json!(409), &json!(false)));
    let said: Value = order(json!({"say": {"chat": 7, "text": "/mute BTC"}})).await.unwrap().json().await.unwrap();
    assert_eq!(said, json!({"ok": true, "message_id": 1}));
    let update = timeout(PATIENCE, newer).await.unwrap().unwrap()["result"][0].clone();
    assert_eq!((&update["message"]["text"], &update["message"]["from"]["id"]), (&json!("/mute BTC"), &json!(7)));
    let waiting = poll(update["update_id"].as_i64().unwrap() + 1);
    assert_eq!(order(json!({"webhook": "https://example.org"})).await.unwrap().status(), 200);
    let refused = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(refused["description"].as_str().unwrap().starts_with("Conflict: "), "{refused}");
    let info: Value = call(&simulator, "getWebhookInfo", json!({})).await.unwrap().json().await.unwrap();
    assert_eq!(
        (&info["result"]["url"], &info["result"]["pending_update_count"]),
        (&json!("https://example.org"), &json!(0))
    );
    assert_eq!(call(&simulator, "deleteWebhook", json!({})).await.unwrap().status(), 200);
    let kinds: Vec<_> = bot.requests().iter().map(|kept| (kept.kind, kept.status)).collect();
    assert_eq!(kinds.iter().filter(|kept| **kept == (Outcome::Refused, Some(409))).count(), 2, "{kinds:?}");
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn a_poll_that_waits_does_not_hold_up_the_end() {
    let (simulator, shutdown) = quiet().await;
    let url = format!("{}/{TOKEN}/getUpdates", simulator.telegram_url());
    let poll = tokio::spawn(http().post(url).json(&json!({"timeout": 50})).send());
    tokio::task::yield_now().await;
    stop(simulator, shutdown).await;
    // Answered with nothing, or never taken.
    let _ = timeout(PATIENCE, poll).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn chats_people_limits_and_chance_are_ordered_over_http() {
    let (simulator, shutdown) = quiet().await;
    let url = format!("{}/control", simulator.telegram_url());
    let order = async |body: Value| {
        let answer = http().post(&url).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let chat = json!({"id": -1_001_000_000_042_i64, "type": "supergroup", "title": "Desk", "topics": {"7": "Liquidations"},
        "members": [{"id": 11, "name": "Ada", "status": "creator"}]});
    assert_eq!(order(json!({"chat": chat})).await.0, 200);
    let keyboard = json!({"inline_keyboard": [[{"text": "Mute", "callback_data": "m"}]]});
    let sent =
        json!({"chat_id": -1_001_000_000_042_i64, "text": "x", "message_thread_id": 7, "reply_markup": keyboard});
    assert_eq!(call(&simulator, "sendMessage", sent).await.unwrap().status(), 200);
    let press = json!({"chat": -1_001_000_000_042_i64, "from": 11, "message_id": 1, "data": "m"});
    let pressed = order(json!({"press": press})).await.1;
    let answer = json!({"callback_query_id": pressed["callback_query_id"]});
    assert_eq!(call(&simulator, "answerCallbackQuery", answer).await.unwrap().status(), 200);
    let member = json!({"chat": 42, "status": "kicked"});
    assert_eq!(order(json!({"member": member})).await.0, 200);
    assert_eq!(call(&simulator, "sendMessage", message()).await.unwrap().status(), 403);
    assert_eq!(order(json!({"say": {"chat": 42, "text": "/start"}})).await.0, 200);
    assert_eq!(order(json!({"gone": 43})).await.0, 200);
    assert_eq!(order(json!({"migrate": {"from": -42, "to": -1_001_000_000_043_i64}})).await.0, 200);
    let migrated = call(&simulator, "sendMessage", json!({"chat_id": -42, "text": "x"})).await.unwrap();
    let migrated: Value = migrated.json().await.unwrap();
    assert_eq!(migrated["parameters"], json!({"migrate_to_chat_id": -1_001_000_000_043_i64}));
    for wrong in [
        json!({"press": {"chat": 42, "message_id": 1, "data": "m"}}),
        json!({"say": {"chat": 43, "text": "x"}}),
        json!({"chance": {"seed": 1, "reset": 2.0}}),
        json!({"chat": {"id": 5, "type": "group", "title": "x"}}),
        json!({"nonsense": 1}),
    ] {
        let (status, answer) = order(wrong).await;
        assert!(status == 400 && answer["error"].is_string(), "{answer}");
    }
    assert_eq!(order(json!({"limits": true})).await.0, 200);
    let mut limited = call(&simulator, "sendMessage", message()).await.unwrap();
    while limited.status() == 200 {
        limited = call(&simulator, "sendMessage", message()).await.unwrap();
    }
    assert_eq!((limited.status().as_u16(), limited.headers().contains_key("retry-after")), (429, true));
    let always = json!({"seed": 1, "bad_gateway": 1.0});
    assert_eq!(order(json!({"limits": false, "chance": always})).await.0, 200);
    assert_eq!(call(&simulator, "getMe", json!({})).await.unwrap().status(), 502);
    assert_eq!(order(json!({"chance": null})).await.0, 200);
    assert_eq!(call(&simulator, "getMe", json!({})).await.unwrap().status(), 200);
    assert!(simulator.telegram().set_chance(Some(Chance { reset: 1.5, ..Chance::default() })).is_err());
    let kinds: Vec<_> = simulator.telegram().requests().iter().map(|kept| kept.kind).collect();
    assert!(kinds.contains(&Outcome::Limited) && kinds.contains(&Outcome::Chance), "{kinds:?}");
    stop(simulator, shutdown).await;
}

#[tokio::test]
async fn requests_are_paged_and_chats_are_shown() {
    let (simulator, shutdown) = quiet().await;
    for _ in 0..3 {
        call(&simulator, "sendMessage", message()).await.unwrap();
    }
    let url = simulator.telegram_url();
    let page = get(&format!("{url}/requests?since=1")).await;
    assert_eq!((page.as_array().unwrap().len(), &page[0]["index"], &page[0]["bot"]), (2, &json!(1), &json!("123456")));
    assert_eq!(get(&format!("{url}/requests?since=3")).await, json!([]));
    let show = async |path: &str| http().get(format!("{url}{path}")).send().await.unwrap();
    let shown = show("/chat/42?theme=dark").await;
    assert_eq!(shown.headers()["content-type"], "text/html; charset=utf-8");
    let shown = shown.text().await.unwrap();
    assert!(shown.contains("class=\"dark\"") && shown.contains("<b>x</b>"), "{shown}");
    assert!(show("/").await.text().await.unwrap().contains("chat/42"));
    for missing in ["/chat/43", "/photo/none"] {
        assert_eq!(show(missing).await.status(), 404);
    }
    stop(simulator, shutdown).await;
}
