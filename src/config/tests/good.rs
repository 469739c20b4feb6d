//! Complete configurations.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::homeserver::{Engine, RateLimit, Stream};
use super::super::{Config, SecretSource, Source, load};
use super::{HOMESERVER, WITH_WORKERS, folder, load_files};
use crate::answer::Offer;
use crate::endpoint::Class;
use crate::listener::ClientTimes;
use crate::observe::access_log::Target;
use crate::observe::logging::{Format, Level};
use crate::upstream::{Address, BackendSettings, Limits};

fn pools(config: &Config) -> BTreeMap<&str, String> {
    let backends = |backends: &[BackendSettings]| {
        backends.iter().map(|backend| format!("{}={}", backend.name, backend.address)).collect::<Vec<_>>().join(" ")
    };
    config.pools.iter().map(|pool| (pool.name.as_str(), backends(&pool.backends))).collect()
}

#[test]
fn the_pools_written_out_are_a_complete_configuration() {
    let text = "\
listeners:
  - address: 127.0.0.1:8080
admin: {address: 127.0.0.1:9180}
pools:
  main: [\"http://127.0.0.1:8008\"]
  sync: [\"http://127.0.0.1:8081\", \"unix:/run/synapse/sync2.sock\"]
";
    let (config, warnings) = load_files(&[("dendron.yaml", text)]).expect("a good configuration");
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(
        pools(&config),
        BTreeMap::from([
            ("main", "127.0.0.1:8008=127.0.0.1:8008".to_owned()),
            (
                "sync",
                "127.0.0.1:8081=127.0.0.1:8081 unix:/run/synapse/sync2.sock=unix:/run/synapse/sync2.sock".to_owned()
            ),
        ])
    );
    assert_eq!(config.listeners[0].address, "127.0.0.1:8080".parse().expect("an address"));
    assert_eq!(config.admin.address, "127.0.0.1:9180".parse().expect("an address"));
    assert_eq!((config.homeserver, config.supervise, config.threads), (None, None, None));
}

#[test]
fn synapses_files_are_a_complete_configuration() {
    let homeserver = format!("{HOMESERVER}{WITH_WORKERS}");
    let worker = "worker_app: synapse.app.generic_worker\nworker_name: sync1\nworker_listeners:\n\
                  - {path: /run/synapse/sync1.sock, type: http, resources: [{names: [client]}]}\n\
                  - {port: 9101, type: metrics}\n";
    let files = [
        (
            "dendron.yaml",
            "listeners: [{address: '[::1]:8080'}]\nsynapse: {config: [homeserver.yaml], workers: [workers/]}\n",
        ),
        ("homeserver.yaml", homeserver.as_str()),
        ("workers/sync1.yaml", worker),
        ("workers/logging.yaml", "version: 1\n"),
        ("workers/readme.txt", "{"),
    ];
    let (config, warnings) = load_files(&files).expect("a good configuration");
    assert!(warnings.is_empty(), "{warnings}");
    let sync1 = "sync1=unix:/run/synapse/sync1.sock";
    // Nobody else is there for initial syncs, and the main process should not have them.
    let expected = [("main", "main=127.0.0.1:8008"), ("sync", sync1), ("initial_sync", sync1), ("sliding_sync", sync1)];
    assert_eq!(pools(&config), expected.map(|(name, pool)| (name, pool.to_owned())).into());
    assert_eq!(config.homeserver.expect("facts").server_name, "example.org");
}

#[test]
fn homeserver_yaml_alone_is_a_complete_configuration_and_its_neighbours_are_read() {
    let listeners = HOMESERVER.split_once('\n').expect("two lines").1;
    let files = [
        ("homeserver.yaml", format!("{listeners}{WITH_WORKERS}")),
        // Debian's package keeps the name apart.
        ("conf.d/server_name.yaml", "server_name: debian.example\n".to_owned()),
        (
            "workers/generic.yaml",
            "worker_app: synapse.app.generic_worker\nworker_name: generic_worker1\nworker_listeners:\n\
             - {port: 8083, type: http, x_forwarded: on, resources: [{names: [client, federation]}]}\n"
                .to_owned(),
        ),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let (config, warnings) = load_files(&files).expect("a good configuration");
    assert!(warnings.is_empty(), "{warnings}");
    let expected = [
        ("main", "main=127.0.0.1:8008"),
        ("generic", "generic_worker1=127.0.0.1:8083"),
        ("federation", "generic_worker1=127.0.0.1:8083"),
    ];
    assert_eq!(pools(&config), expected.map(|(name, pool)| (name, pool.to_owned())).into());
    assert_eq!(config.homeserver.expect("facts").server_name, "debian.example");
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080");
}

/// A worker's file with a unix socket.
fn worker(name: &str, resources: &str) -> (String, String) {
    let text = format!(
        "worker_app: synapse.app.generic_worker\nworker_name: {name}\nworker_listeners:\n\
         - {{type: http, path: /run/synapse/{name}.sock, resources: [{{names: [{resources}]}}]}}\n\
         - {{type: http, path: /run/synapse/{name}-replication.sock, resources: [{{names: [replication]}}]}}\n"
    );
    (format!("workers/{name}.yaml"), text)
}

/// A Synapse with a worker for nearly everything.
fn large_synapse() -> Vec<(String, String)> {
    let workers = [
        ("sync1", "client"),
        ("sync2", "client"),
        ("initial_synchrotron1", "client"),
        ("generic_worker1", "client, federation"),
        ("generic_worker2", "client, federation"),
        ("client_reader1", "client"),
        ("event_creator1", "client"),
        ("event_persister1", "replication"),
        ("typing1", "client"),
        ("receipts1", "client"),
        ("receipts2", "client"),
        ("federation_reader1", "federation"),
        ("federation_inbound1", "federation"),
        ("federation_sender1", "health"),
        ("media1", "media"),
        ("user_dir1", "client"),
        ("pusher1", "health"),
    ];
    let instances: String =
        workers.iter().map(|(name, _)| format!("  {name}: {{path: /run/synapse/{name}-replication.sock}}\n")).collect();
    let homeserver = format!(
        "{HOMESERVER}{WITH_WORKERS}{instances}\
         stream_writers:\n  events: [event_persister1]\n  typing: typing1\n  receipts: [receipts1, receipts2]\n  \
         to_device: master\n  account_data: generic_worker2\n  quarantined_media_changes: [media1]\n\
         enable_media_repo: false\nmedia_instance_running_background_jobs: media1\n\
         update_user_directory_from_worker: user_dir1\nfederation_sender_instances: [federation_sender1]\n"
    );
    let mut files: Vec<(String, String)> = workers.iter().map(|(name, resources)| worker(name, resources)).collect();
    for (name, text) in &mut files {
        if name.contains("media1") {
            text.push_str("enable_media_repo: true\n");
        }
    }
    files.push(("homeserver.yaml".to_owned(), homeserver));
    files
}

#[test]
fn a_large_synapse_gets_a_pool_for_each_role() {
    let files = large_synapse();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (config, warnings) = load_files(&files).expect("a good configuration");
    assert!(warnings.is_empty(), "{warnings}");
    let unix = |names: &str| {
        let backend = |name| format!("{name}=unix:/run/synapse/{name}.sock");
        names.split(' ').map(backend).collect::<Vec<_>>().join(" ")
    };
    let expected = [
        ("generic", "generic_worker1 generic_worker2"),
        ("federation", "generic_worker1 generic_worker2"),
        ("sync", "sync1 sync2"),
        ("initial_sync", "initial_synchrotron1"),
        ("room_read", "client_reader1"),
        ("client_read", "client_reader1"),
        ("event_send", "event_creator1"),
        ("room_create", "event_creator1"),
        ("typing", "typing1"),
        ("account_data", "generic_worker2"),
        ("receipts", "receipts1 receipts2"),
        ("quarantine", "media1"),
        ("user_directory", "user_dir1"),
        ("media", "media1"),
        ("federation_transaction", "federation_inbound1"),
        ("federation_read", "federation_reader1"),
        ("federation_join", "federation_reader1"),
        ("federation_keys", "federation_reader1"),
    ];
    let mut expected: BTreeMap<&str, String> = expected.map(|(name, pool)| (name, unix(pool))).into();
    expected.insert("main", "main=127.0.0.1:8008".to_owned());
    assert_eq!(pools(&config), expected);
    let homeserver = config.homeserver.expect("facts");
    assert_eq!(homeserver.writers(Stream::ToDevice), [""; 0]);
    assert_eq!(homeserver.writers(Stream::Receipts), ["receipts1", "receipts2"]);
    assert_eq!(homeserver.federation_senders, ["federation_sender1"]);
}

#[test]
fn without_other_workers_a_reader_fills_the_pools_near_its_own() {
    let reader = worker("client_reader1", "client");
    let homeserver = format!("{HOMESERVER}{WITH_WORKERS}  client_reader1: {{path: /run/r.sock}}\n");
    let files = [("homeserver.yaml", homeserver.as_str()), (&reader.0, &reader.1)];
    let (config, _) = load_files(&files).expect("a good configuration");
    let names: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["main", "room_read", "client_read", "encryption", "login", "user_directory"]);
}

#[test]
fn a_federation_listener_of_its_own_at_the_main_process_is_found() {
    let homeserver = "server_name: a.example\nlisteners:\n\
        - {type: http, port: 8008, x_forwarded: true, resources: [{names: [client]}]}\n\
        - {type: http, port: 8448, x_forwarded: true, bind_addresses: ['::1'], resources: [{names: [federation]}]}\n";
    let (config, warnings) = load_files(&[("homeserver.yaml", homeserver)]).expect("a good configuration");
    let expected = [("main", "main=127.0.0.1:8008"), ("federation", "main=[::1]:8448")];
    assert_eq!(pools(&config), expected.map(|(name, pool)| (name, pool.to_owned())).into());
    assert!(
        warnings
            .to_string()
            .contains("homeserver.yaml:3: warning: listeners[0].resources: requests that no worker takes"),
        "{warnings}"
    );
}

#[test]
fn pools_of_dendron_yaml_replace_derived_ones() {
    let (generic, sync) = (worker("generic_worker1", "client, federation"), worker("sync1", "client"));
    let homeserver = format!("{HOMESERVER}{WITH_WORKERS}  generic_worker1: {{path: /r}}\n  sync1: {{path: /s}}\n");
    let dendron = "synapse: {config: [homeserver.yaml], workers: [workers]}\n\
                   pools: {sync: [generic_worker1, 'http://10.0.0.1:8083'], federation: [], \
                   login: [master], mas: ['127.0.0.1:8008']}\n";
    let files = [
        ("dendron.yaml", dendron),
        ("homeserver.yaml", homeserver.as_str()),
        (&generic.0, &generic.1),
        (&sync.0, &sync.1),
    ];
    let (config, warnings) = load_files(&files).expect("a good configuration");
    assert!(warnings.is_empty(), "{warnings}");
    let expected = [
        ("main", "main=127.0.0.1:8008"),
        ("generic", "generic_worker1=unix:/run/synapse/generic_worker1.sock"),
        ("sync", "generic_worker1=unix:/run/synapse/generic_worker1.sock 10.0.0.1:8083=10.0.0.1:8083"),
        ("login", "main=127.0.0.1:8008"),
        ("mas", "main=127.0.0.1:8008"),
    ];
    assert_eq!(pools(&config), expected.map(|(name, pool)| (name, pool.to_owned())).into());
}

#[test]
fn the_matrix_authentication_service_is_found_or_written_out() {
    let old = "experimental_features: {msc3861: {enabled: true, issuer: 'https://auth.example.org/'}}\n";
    let new = |endpoint: &str| format!("matrix_authentication_service: {{enabled: true, secret: x{endpoint}}}\n");
    let written = "pools: {authentication: ['unix:/run/mas.sock']}\n";
    let found = "10.0.0.2:80=10.0.0.2:80";
    let socket = "unix:/run/mas.sock=unix:/run/mas.sock";
    for (homeserver, dendron, expected) in [
        (String::new(), "", None),
        ("matrix_authentication_service: {enabled: false, endpoint: 'http://10.0.0.2/'}\n".to_owned(), "", None),
        (new(""), "", Some("localhost:8080=localhost:8080")),
        (new(", endpoint: 'http://10.0.0.2/'"), "", Some(found)),
        (new(", endpoint: 'http://10.0.0.2/'"), written, Some(socket)),
        (new(", endpoint: 'https://auth.example.org/'"), "", None),
        (new(", endpoint: 'https://auth.example.org/'"), written, Some(socket)),
        (new(", endpoint: 'http://10.0.0.2/'"), "pools: {authentication: []}\n", None),
        (old.to_owned(), "", None),
        (old.to_owned(), written, Some(socket)),
    ] {
        let homeserver = format!("{HOMESERVER}{homeserver}");
        let dendron =
            format!("listeners: [{{address: 127.0.0.1:80}}]\nsynapse: {{config: [homeserver.yaml]}}\n{dendron}");
        let files = [("dendron.yaml", dendron.as_str()), ("homeserver.yaml", homeserver.as_str())];
        let (config, _) = load_files(&files).expect("a good configuration");
        assert_eq!(pools(&config).get("authentication").map(String::as_str), expected, "{homeserver} {dendron}");
    }
}

#[test]
fn every_setting_is_read() {
    let dendron = "\
listeners:
- {address: 'unix:/tmp/dendron.sock', mode: '0600', serve: [admin, mas]}
- {address: 0.0.0.0:8443, tls: {certificate: tls/a.pem, key: tls/a.key}}
- {address: localhost:8444, tls: [{certificate: tls/a.pem, key: tls/a.key}, {certificate: tls/a.pem, key: tls/a.key}]}
pools: {main: [127.0.0.1:8008]}
trusted_proxies: [10.0.0.0/8, '::1']
backends: {in_flight: 200, wait: 5s}
timeouts: {connect: 500ms, idle: 30s, client: {idle: 2m}, classes: {room_join: 15m}}
log: {format: json, level: debug, access: off}
threads: 4
shutdown: {grace: 1m}
";
    let files = [
        ("dendron.yaml", dendron),
        ("tls/a.pem", "-----BEGIN CERTIFICATE-----"),
        ("tls/a.key", "-----BEGIN PRIVATE KEY-----"),
    ];
    let (config, warnings) = load_files(&files).expect("a good configuration");
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!(config.listeners[0].mode, 0o600);
    assert_eq!(config.listeners[0].offer, Offer { admin: true, mas: true });
    assert_eq!(config.listeners.iter().map(|listener| listener.certificates.len()).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(config.listeners[1].certificates[0].certificate.is_absolute());
    assert_eq!(config.listeners[2].address.to_string(), "127.0.0.1:8444");
    assert_eq!(config.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
    let times = config.connection_times;
    assert_eq!((times.connect, times.idle), (Duration::from_millis(500), Duration::from_secs(30)));
    let limits = Limits { in_flight: 200, wait: Duration::from_secs(5), ..Limits::default() };
    assert_eq!(config.limits, limits);
    let client_times = ClientTimes { idle: Duration::from_secs(120), ..ClientTimes::default() };
    assert_eq!(config.client_times, client_times);
    assert_eq!(config.patience, BTreeMap::from([(Class::RoomJoin, Duration::from_secs(900))]));
    assert_eq!((config.log.format, config.log.level, config.log.access), (Format::Json, Level::Debug, Target::Off));
    assert_eq!((config.threads, config.shutdown_grace), (Some(4), Duration::from_secs(60)));
}

#[test]
fn synapses_facts_are_read_as_synapse_reads_them() {
    let homeserver = format!(
        "{HOMESERVER}\
public_baseurl: https://matrix.example.org
max_upload_size: 100M
presence: {{enabled: no, sync_online_timeout: 1m}}
defaults: &limit {{per_second: 1, burst_count: 5.9}}
rc_login:
  address: *limit
  account: {{<<: *limit, burst_count: 7}}
database:
  name: psycopg2
  args: {{user: synapse, password: hunter2, dbname: synapse, host: /run/postgresql, port: 5433, cp_min: 5, sslpassword: hunter5}}
redis: {{enabled: on, host: redis.example, port: 6380, dbid: 3, password_path: redis.secret, use_tls: true}}
password_config: {{enabled: only_for_reauth, pepper: hunter3}}
bcrypt_rounds: 4
enable_registration: 'yes'
matrix_authentication_service: {{enabled: off}}
modules: [{{module: a.B}}]
worker_replication_secret: hunter4
"
    );
    let (config, _) = load_files(&[("homeserver.yaml", &homeserver)]).expect("a good configuration");
    assert!(!format!("{config:?}").contains("hunter"), "a secret is shown");
    let facts = config.homeserver.expect("facts");
    assert_eq!(facts.public_baseurl, "https://matrix.example.org/");
    assert_eq!(facts.media.upload_size_max, 100 << 20);
    assert_eq!((facts.presence.enabled, facts.presence.sync_online_timeout), (false, Duration::from_secs(60)));
    assert_eq!(facts.login_limits.address, RateLimit { per_second: 1.0, burst_count: 5 });
    assert_eq!(facts.login_limits.account, RateLimit { per_second: 1.0, burst_count: 7 });
    assert_eq!(facts.login_limits.failed_attempts, RateLimit { per_second: 0.17, burst_count: 3 });
    let database = facts.database.expect("a database");
    assert_eq!(database.engine, Engine::Postgres);
    let arguments = ["dbname=synapse", "host=/run/postgresql", "port=5433", "sslpassword=", "user=synapse"];
    assert_eq!(database.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(), arguments);
    assert_eq!(database.password.expect("a password").expose(), "hunter2");
    let redis = facts.redis.expect("Redis");
    assert_eq!(redis.address, Address::Tcp { host: "redis.example".to_owned(), port: 6380 });
    assert!(
        matches!(redis.password, Some(SecretSource::File(path)) if path.ends_with("redis.secret") && path.is_absolute())
    );
    assert_eq!((facts.password.login_enabled, facts.password.localdb_enabled), (false, true));
    assert_eq!((facts.password.pepper.expose(), facts.password.bcrypt_rounds), ("hunter3", 4));
    assert_eq!((facts.registration_enabled, facts.has_modules, facts.delegated_auth), (true, true, None));
}

#[test]
fn signed_tokens_are_made_only_where_synapse_takes_them() {
    let table = [
        ("", None),
        ("jwt_config: null", None),
        ("jwt_config: {enabled: off, secret: hunter2, algorithm: HS256}", None),
        ("jwt_config: {secret: hunter2, algorithm: HS256}", None),
        ("jwt_config: {enabled: on, secret: hunter2, algorithm: RS256}", None),
        ("jwt_config: {enabled: on, algorithm: HS256}", None),
        ("jwt_config: {enabled: on, secret: hunter2, algorithm: HS256, audiences: []}", None),
        ("jwt_config: {enabled: on, secret: hunter2, algorithm: HS256}", Some(("sub", None, None))),
        (
            "jwt_config: {enabled: on, secret: hunter2, algorithm: HS256, subject_claim: a, issuer: b, audiences: [c, d]}",
            Some(("a", Some("b"), Some("c"))),
        ),
    ];
    for (text, expected) in table {
        let (config, _) = load_files(&[("homeserver.yaml", &format!("{HOMESERVER}{text}\n"))]).expect(text);
        let jwt = config.homeserver.expect("facts").jwt;
        let found = jwt.as_ref().map(|jwt| {
            assert_eq!(jwt.secret.expose(), "hunter2");
            (jwt.subject_claim.as_str(), jwt.issuer.as_deref(), jwt.audience.as_deref())
        });
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn the_supervisor_gets_synapses_commands() {
    let sync = worker("sync1", "client");
    let homeserver = format!("{HOMESERVER}{WITH_WORKERS}  sync1: {{path: /s}}\n");
    let dendron = "synapse: {config: [homeserver.yaml], workers: [workers]}\n\
                   supervise: {python: sh, stop_timeout: 3s, runtime_directory: run}\n";
    let folder = folder(&[("dendron.yaml", dendron), ("homeserver.yaml", &homeserver), (&sync.0, &sync.1)]);
    let (config, _) = load(&Source::File(folder.path().join("dendron.yaml"))).expect("a good configuration");
    let plan = config.supervise.expect("a plan");
    let path = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!((plan.stop_timeout, plan.runtime_directory), (Duration::from_secs(3), folder.path().join("run")));
    let [main, worker] = plan.processes.as_slice() else { panic!("{:?}", plan.processes) };
    assert_eq!(main.command, ["sh", "-m", "synapse.app.homeserver", "--config-path", &path("homeserver.yaml")]);
    assert_eq!((main.main, main.health.as_ref().map(ToString::to_string)), (true, Some("127.0.0.1:8008".to_owned())));
    let configs = ["--config-path", &path("homeserver.yaml"), "--config-path", &path("workers/sync1.yaml")];
    assert_eq!(worker.command[3..], configs);
    assert_eq!(worker.working_directory.as_deref(), Some(folder.path()));
    assert_eq!(worker.health.as_ref().map(ToString::to_string), Some("unix:/run/synapse/sync1.sock".to_owned()));
}

#[test]
fn of_several_listeners_a_unix_socket_is_used_and_never_one_without_the_resource() {
    let listeners = "\
- {type: http, port: 8083, x_forwarded: true, tls: true, resources: [{names: [client]}]}
- {type: http, port: 8084, x_forwarded: true, resources: [{names: [client, media]}]}
- {type: http, path: /run/a.sock, resources: [{names: [replication]}]}
- {type: http, path: /run/b.sock, resources: [{names: [health]}, {names: [client, static]}]}
- {type: manhole, port: 8085}
";
    let worker = format!("worker_app: synapse.app.generic_worker\nworker_name: bert\nworker_listeners:\n{listeners}");
    let homeserver = format!("{HOMESERVER}{WITH_WORKERS}  bert: {{path: /run/a.sock}}\n");
    let (config, warnings) =
        load_files(&[("homeserver.yaml", &homeserver), ("workers/bert.yaml", &worker)]).expect("a good configuration");
    assert_eq!(warnings, "");
    let expected =
        [("main", "main=127.0.0.1:8008"), ("generic", "bert=unix:/run/b.sock"), ("media", "bert=127.0.0.1:8084")];
    assert_eq!(pools(&config), expected.map(|(name, pool)| (name, pool.to_owned())).into());
}

#[test]
fn main_stands_in_only_for_what_it_has_a_listener_for() {
    let main = |federation: &str| {
        format!(
            "server_name: example.org\nlisteners:\n\
             - {{port: 8008, type: http, bind_addresses: ['127.0.0.1'], x_forwarded: true, \
             resources: [{{names: [{federation}]}}]}}\n\
             - {{port: 8448, type: http, bind_addresses: ['127.0.0.1'], x_forwarded: true, \
             resources: [{{names: [federation]}}]}}\n"
        )
    };
    let elsewhere = "pools: {main: ['http://10.0.0.1:8008']}\nsynapse: {config: [homeserver.yaml]}\n";
    let own = "pools: {main: ['http://127.0.0.1:8008']}\nsynapse: {config: [homeserver.yaml]}\n";
    use Class::{FederationJoin, FederationKeys, FederationRead, FederationTransaction};
    let table: [(&str, &str, &[Class]); 4] = [
        (own, "client, federation", &[]),
        (own, "client, keys", &[FederationTransaction, FederationRead, FederationJoin]),
        (own, "client", &[FederationTransaction, FederationRead, FederationJoin, FederationKeys]),
        // Nobody knows what is served at an address of another machine's, so it is believed.
        (elsewhere, "client", &[]),
    ];
    for (dendron, resources, expected) in table {
        let homeserver = main(resources);
        let files = [("dendron.yaml", dendron), ("homeserver.yaml", homeserver.as_str())];
        let (config, _) = load_files(&files).expect("a good configuration");
        assert_eq!(config.main_lacks.iter().copied().collect::<Vec<_>>(), expected, "{dendron} {resources}");
    }
}
