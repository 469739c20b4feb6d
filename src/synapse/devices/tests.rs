//! The call against a main process that says what each test wants.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::synapse::{Client, Target, Transport};
use crate::upstream::ConnectionTimes;

/// What the process does with one request.
#[derive(Clone)]
enum Act {
    Answer(u16, Value),
    /// Says that the answer is at this URL.
    Redirect(String),
    /// Reads it and says nothing.
    Silence,
    /// Reads it and closes.
    Break,
}

/// A request as it came: the head, and the body.
type Heard = Arc<Mutex<Vec<(String, String)>>>;

async fn main_process(acts: Vec<Act>) -> (Devices, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    let acts = Arc::new(Mutex::new(VecDeque::from(acts)));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&acts), Arc::clone(&told)));
        }
    });
    let target = Target::new(address.parse().unwrap(), Transport::Plain, ConnectionTimes::default());
    let devices = Devices::new(Arc::new(Client::default()), target, Some(Secret::new("the-secret")));
    (devices.with_patience(Duration::from_millis(300)), heard)
}

async fn serve(mut stream: TcpStream, acts: Arc<Mutex<VecDeque<Act>>>, heard: Heard) {
    loop {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            let mut more = [0; 4096];
            match stream.read(&mut more).await {
                Ok(read) if read > 0 => bytes.extend_from_slice(&more[..read]),
                _ => return,
            }
            let text = String::from_utf8(bytes.clone()).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1).unwrap().lines().next().unwrap().to_owned();
            if body.len() == length.parse::<usize>().unwrap() {
                break (head.to_owned(), body.to_owned());
            }
        };
        heard.lock().unwrap().push((head, body));
        let act = acts.lock().unwrap().pop_front().unwrap();
        match act {
            Act::Break => return,
            Act::Silence => tokio::time::sleep(Duration::from_secs(60)).await,
            Act::Redirect(location) => {
                let head = format!("HTTP/1.1 307 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
            }
            Act::Answer(status, body) => {
                let body = body.to_string();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(head.as_bytes()).await.unwrap();
            }
        }
    }
}

fn registered() -> Act {
    Act::Answer(
        200,
        json!({"device_id": "D", "access_token": "syt_a", "valid_until_ms": 12, "refresh_token": "syr_b",
            "_INT_STREAM_POS": {"events": 3}}),
    )
}

fn matrix_error(status: u16, errcode: &str) -> Act {
    Act::Answer(status, json!({"errcode": errcode, "error": "…"}))
}

const REQUEST: DeviceRequest<'static> = DeviceRequest {
    user_id: "@ä/b:hs.example",
    device_id: None,
    initial_display_name: Some("Phone"),
    should_issue_refresh_token: true,
};

#[tokio::test]
async fn a_device_is_registered_as_a_worker_does_it() {
    let (devices, heard) = main_process(vec![registered()]).await;
    let device = devices.register(&REQUEST).await.unwrap();
    assert_eq!((device.device_id.as_str(), device.access_token.expose()), ("D", "syt_a"));
    assert_eq!((device.refresh_token.as_ref().map(Secret::expose), device.valid_until_ms), (Some("syr_b"), Some(12)));
    assert!(!format!("{device:?}").contains("sy"), "{device:?}");

    let (head, body) = heard.lock().unwrap()[0].clone();
    let path = head.split(' ').nth(1).unwrap();
    let (prefix, transaction) = path.rsplit_once('/').unwrap();
    assert_eq!(prefix, "/_synapse/replication/device_check_registered/%40%C3%A4%2Fb%3Ahs.example");
    assert_eq!(transaction.len(), 32);
    assert!(head.to_ascii_lowercase().contains("authorization: bearer the-secret"), "{head}");
    let expected = json!({"device_id": null, "initial_display_name": "Phone", "is_guest": false,
        "is_appservice_ghost": false, "should_issue_refresh_token": true, "auth_provider_id": null,
        "auth_provider_session_id": null});
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
}

#[tokio::test]
async fn what_an_answer_means() {
    let without = |key: &str| {
        let mut body = json!({"device_id": "D", "access_token": "a", "valid_until_ms": null, "refresh_token": null});
        body.as_object_mut().unwrap().remove(key);
        Act::Answer(200, body)
    };
    let table = [
        (without("nothing"), "ok"),
        (without("device_id"), "unusable 200"),
        (without("access_token"), "unusable 200"),
        (without("refresh_token"), "unusable 200"),
        (without("valid_until_ms"), "unusable 200"),
        (matrix_error(403, "M_RESOURCE_LIMIT_EXCEEDED"), "refused 403"),
        (matrix_error(400, "M_FORBIDDEN"), "refused 400"),
        (matrix_error(404, "M_UNRECOGNIZED"), "not reached"),
        (Act::Answer(404, json!([])), "unusable 404"),
        (matrix_error(500, "M_UNKNOWN"), "unusable 500"),
        (Act::Answer(302, json!({})), "unusable 302"),
    ];
    for (act, expected) in table {
        let (devices, heard) = main_process(vec![act]).await;
        let found = match devices.register(&REQUEST).await {
            Ok(_) => "ok".to_owned(),
            Err(RegisterError::NotReached(_)) => "not reached".to_owned(),
            Err(RegisterError::Refused { status, body }) => {
                assert!(errcode_is_there(&body));
                format!("refused {}", status.as_u16())
            }
            Err(RegisterError::Lost(_)) => "lost".to_owned(),
            Err(RegisterError::Unusable { status }) => format!("unusable {}", status.as_u16()),
        };
        assert_eq!(found, expected);
        assert_eq!(heard.lock().unwrap().len(), 1, "{expected}");
    }
}

fn errcode_is_there(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).unwrap()["errcode"].is_string()
}

/// The secret is for one listener: whatever that says, nobody else is called.
#[tokio::test]
async fn the_secret_goes_to_no_other_server() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = format!("http://{}/", other.local_addr().unwrap());
    let (devices, heard) = main_process(vec![Act::Redirect(location)]).await;
    assert!(matches!(devices.register(&REQUEST).await, Err(RegisterError::Unusable { .. })));
    assert_eq!(heard.lock().unwrap().len(), 1);
    let called = tokio::time::timeout(Duration::from_millis(100), other.accept()).await;
    assert!(called.is_err(), "the other server was called");
}

#[tokio::test]
async fn a_call_without_an_answer_is_repeated_under_its_name() {
    for first in [Act::Silence, Act::Break] {
        let (devices, heard) = main_process(vec![first, registered()]).await;
        devices.register(&REQUEST).await.unwrap();
        let heard = heard.lock().unwrap().clone();
        assert_eq!(heard.len(), 2);
        assert_eq!(heard[0], heard[1]);
    }
    let (devices, heard) = main_process(vec![Act::Silence, Act::Break, Act::Silence]).await;
    let error = devices.register(&REQUEST).await.unwrap_err();
    assert!(matches!(error, RegisterError::Lost(_)), "{error}");
    assert_eq!(heard.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn nobody_there_means_that_nothing_was_done() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = Target::new(free.to_string().parse().unwrap(), Transport::Plain, ConnectionTimes::default());
    let devices = Devices::new(Arc::new(Client::default()), target, None);
    for _ in 0..2 {
        let error = devices.register(&REQUEST).await.unwrap_err();
        assert!(matches!(error, RegisterError::NotReached(_)), "{error}");
        assert!(matches!(*devices.listener(), Listener::Unready(Unready::Unreachable(_))));
    }
}

#[tokio::test]
async fn a_check_tells_what_the_listener_is_like() {
    let not_json = || matrix_error(400, "M_NOT_JSON");
    let refused = || matrix_error(500, "M_UNKNOWN");
    let table = [
        (vec![not_json(), refused()], Listener::Ready { protected: true }),
        (vec![not_json(), not_json()], Listener::Ready { protected: false }),
        (vec![refused()], Listener::Unready(Unready::WrongSecret)),
        (vec![matrix_error(404, "M_UNRECOGNIZED")], Listener::Unready(Unready::NoRoute)),
        (vec![Act::Answer(200, json!({}))], Listener::Unready(Unready::Strange(200))),
        (vec![Act::Silence], Listener::Unready(Unready::Unreachable("it did not answer in time".to_owned()))),
    ];
    for (acts, expected) in table {
        let count = acts.len();
        let (devices, heard) = main_process(acts).await;
        assert_eq!(devices.check().await, expected);
        let heard = heard.lock().unwrap().clone();
        assert_eq!(heard.len(), count);
        // The secret is not sent beside a wrong one, and nothing that is sent can make a device.
        let secrets = heard.iter().filter(|(head, _)| head.contains("the-secret")).count();
        assert_eq!(secrets, 1);
        assert!(heard.iter().all(|(_, body)| serde_json::from_str::<Value>(body).is_err()));
    }
}

#[tokio::test]
async fn a_check_without_a_secret_finds_no_protection() {
    let (mut devices, heard) = main_process(vec![matrix_error(400, "M_NOT_JSON")]).await;
    devices.secret = None;
    assert_eq!(devices.check().await, Listener::Ready { protected: false });
    assert!(!heard.lock().unwrap()[0].0.to_ascii_lowercase().contains("authorization"));
}

#[tokio::test]
async fn a_listener_that_came_back_is_found() {
    let (devices, _) = main_process(vec![
        matrix_error(404, "M_UNRECOGNIZED"),
        matrix_error(404, "M_UNRECOGNIZED"),
        matrix_error(400, "M_NOT_JSON"),
        matrix_error(500, "M_UNKNOWN"),
        registered(),
    ])
    .await;
    let error = devices.register(&REQUEST).await.unwrap_err();
    assert!(matches!(error, RegisterError::NotReached(_)), "{error}");
    let watched = async {
        while !devices.listener().is_ready() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = devices.watch() => unreachable!(),
        found = tokio::time::timeout(CHECK_INTERVAL * 3, watched) => found.unwrap(),
    }
    assert!(devices.register(&REQUEST).await.is_ok());
}
