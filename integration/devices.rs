//! Devices, registered at the listener of a real main process the way a worker does it.

use std::sync::Arc;

use dendron::secret::Secret;
use dendron::synapse::devices::{Listener, Unready};
use dendron::synapse::{Client, DeviceRequest, Devices, RegisterError, Target, Transport};
use dendron::upstream::{Address, ConnectionTimes};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::Test;
use crate::harness::matrix::{User, encoded, expect_ok};
use crate::harness::stack::Stack;
use crate::harness::{ensure, ensure_eq};

pub const TESTS: &[Test] = &[
    ("devices::a_check_knows_the_listener_and_does_nothing", |stacks| stacks.on_workers(a_check_knows_the_listener)),
    ("devices::a_registered_device_is_like_any_other", |stacks| stacks.on_workers(a_device_is_like_any_other)),
    ("devices::what_the_main_process_refuses_is_passed_on", |stacks| stacks.on_workers(refusals_are_passed_on)),
];

/// The main process's listener for workers, and what it is to be shown.
struct Setting {
    runtime: tokio::runtime::Runtime,
    devices: Devices,
}

impl Setting {
    fn new(address: &Address, secret: Option<&str>) -> Result<Self, Failed> {
        let target = Target::new(address.clone(), Transport::Plain, ConnectionTimes::default());
        let devices = Devices::new(Arc::new(Client::default()), target, secret.map(Secret::new));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Setting { runtime, devices })
    }

    fn of(stack: &Stack) -> Result<Self, Failed> {
        Setting::new(&place(stack, "main", "replication")?, Some(&secret(stack)?))
    }

    fn check(&self) -> Listener {
        self.runtime.block_on(self.devices.check())
    }

    fn register(&self, request: &DeviceRequest<'_>) -> Result<dendron::synapse::Device, RegisterError> {
        self.runtime.block_on(self.devices.register(request))
    }
}

/// Where a process listens, for requests (`address`) or for other processes (`replication`).
fn place(stack: &Stack, process: &str, key: &str) -> Result<Address, Failed> {
    let processes = stack.facts["synapse"]["processes"].as_array().ok_or("stack.json names no processes")?;
    let found = processes.iter().find(|known| known["name"] == process).and_then(|known| known[key].as_str());
    Ok(found.ok_or_else(|| format!("{process} has no {key}"))?.parse()?)
}

fn secret(stack: &Stack) -> Result<String, Failed> {
    let path = stack.text(&["synapse", "replication_secret"]);
    Ok(std::fs::read_to_string(path)?.trim().to_owned())
}

fn a_check_knows_the_listener(stack: &mut Stack) -> Result<(), Failed> {
    let (address, secret) = (place(stack, "main", "replication")?, secret(stack)?);
    let (main, writer) = (place(stack, "main", "address")?, place(stack, "writer1", "replication")?);
    let free: Address = crate::harness::stack::free_address()?.parse()?;
    let ready = Listener::Ready { protected: true };
    let table = [
        (&address, Some(secret.as_str()), ready),
        (&address, Some("wrong"), Listener::Unready(Unready::WrongSecret)),
        (&address, None, Listener::Unready(Unready::WrongSecret)),
        (&address, Some("two\nlines"), Listener::Unready(Unready::SecretUnwritable)),
        // The listener for clients, and that of a worker for other workers.
        (&main, Some(&secret), Listener::Unready(Unready::NoRoute)),
        (&writer, Some(&secret), Listener::Unready(Unready::NoRoute)),
    ];
    for (address, secret, expected) in table {
        ensure_eq!(Setting::new(address, secret)?.check(), expected, "{address}");
    }
    let nobody = Setting::new(&free, Some(&secret))?.check();
    ensure!(matches!(nobody, Listener::Unready(Unready::Unreachable(_))), "{nobody:?}");
    Ok(())
}

fn a_device_is_like_any_other(stack: &mut Stack) -> Result<(), Failed> {
    let setting = Setting::of(stack)?;
    let user = User::register(&stack.client(), "devices")?;
    let made = expect_ok(&user.get("/_matrix/client/v3/devices")?, "devices")?;
    ensure!(setting.check().is_ready(), "the listener is not ready");
    ensure_eq!(expect_ok(&user.get("/_matrix/client/v3/devices")?, "devices")?, made, "the devices after a check");

    let request = DeviceRequest {
        user_id: &user.user_id,
        device_id: None,
        initial_display_name: Some("Ä phone"),
        should_issue_refresh_token: false,
    };
    let device = setting.register(&request)?;
    ensure_eq!(device.refresh_token, None, "a refresh token that nobody asked for");
    let on_device =
        User { device_id: device.device_id.clone(), token: device.access_token.expose().to_owned(), ..user.clone() };
    let whoami = expect_ok(&on_device.get("/_matrix/client/v3/account/whoami")?, "whoami")?;
    let expected = json!({"user_id": user.user_id, "device_id": device.device_id, "is_guest": false});
    ensure_eq!(whoami, expected, "whoami");
    let target = format!("/_matrix/client/v3/devices/{}", encoded(&device.device_id));
    let seen = expect_ok(&user.get(&target)?, "the device, seen by another")?;
    ensure_eq!(seen["display_name"], "Ä phone", "the device's name");

    // A named device, with a refresh token, twice: it stays one device.
    let request = DeviceRequest { device_id: Some("A/B é"), should_issue_refresh_token: true, ..request };
    let first = setting.register(&request)?;
    let second = setting.register(&request)?;
    ensure_eq!((first.device_id.as_str(), second.device_id.as_str()), ("A/B é", "A/B é"), "the device");
    ensure!(first.access_token != second.access_token, "two calls were taken for one");
    ensure!(second.valid_until_ms.is_some(), "a token that can be refreshed must end");
    let refresh = second.refresh_token.ok_or("no refresh token")?;
    let body = json!({"refresh_token": refresh.expose()}).to_string();
    let refreshed = stack.client().send("POST", "/_matrix/client/v3/refresh", &[], body.as_bytes())?;
    ensure!(expect_ok(&refreshed, "refresh")?["access_token"].is_string(), "no new token");
    let devices = expect_ok(&user.get("/_matrix/client/v3/devices")?, "devices")?;
    ensure_eq!(devices["devices"].as_array().map(Vec::len), Some(3), "the devices");
    Ok(())
}

fn refusals_are_passed_on(stack: &mut Stack) -> Result<(), Failed> {
    let setting = Setting::of(stack)?;
    let user = User::register(&stack.client(), "devices")?;
    let long = "x".repeat(101);
    let request = DeviceRequest {
        user_id: &user.user_id,
        device_id: None,
        initial_display_name: Some(&long),
        should_issue_refresh_token: false,
    };
    match setting.register(&request) {
        Err(RegisterError::Refused { status, body }) => {
            let body: Value = serde_json::from_slice(&body)?;
            ensure_eq!((status.as_u16(), &body["errcode"]), (400, &json!("M_TOO_LARGE")), "{body}");
        }
        other => return Err(format!("a long name: {other:?}").into()),
    }
    // A wrong secret cannot be told from a failure by the answer to a call, only by a check.
    let wrong = Setting::new(&place(stack, "main", "replication")?, Some("wrong"))?;
    let request = DeviceRequest { initial_display_name: None, ..request };
    let refused = wrong.register(&request);
    ensure!(matches!(&refused, Err(RegisterError::Unusable { status }) if status.as_u16() == 500), "{refused:?}");
    ensure!(!wrong.check().is_ready(), "a wrong secret was accepted");
    let refused = wrong.register(&request);
    ensure!(matches!(refused, Err(RegisterError::NotReached(_))), "{refused:?}");
    let log = stack.synapse_log("main")?;
    ensure!(!log.contains(&secret(stack)?), "Synapse's log holds the secret");
    Ok(())
}
