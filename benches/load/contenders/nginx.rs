//! nginx as a careful administrator sets it up before Synapse's workers: paths to pools by a map of regular expressions,
//! consistent hashing by user, room and server, connections to Synapse kept, answers and uploads passed on as they come,
//! a log that is written in blocks; preflights and versions answered by itself.

use std::fmt::Write;
use std::process::Command;

use super::{Ports, Stage, write};
use crate::fault::Outcome;
use crate::mix::VERSIONS;
use crate::process::Running;
use crate::routing::{Key, POOLS, RULES};
use crate::upstream::versions_document;

/// Starts it.
pub(super) fn start(stage: &Stage<'_>, ports: Ports) -> Outcome<Running> {
    let path = stage.folder.join("nginx.conf");
    write(&path, &configuration(stage, ports))?;
    let command = &mut Command::new("nginx");
    command.arg("-c").arg(&path).arg("-p").arg(stage.folder).arg("-e").arg(stage.folder.join("nginx-error.log"));
    Running::start("nginx", command, &stage.folder.join("nginx.log"))
}

fn configuration(stage: &Stage<'_>, ports: Ports) -> String {
    let mut pools = String::new();
    for (pattern, pool) in RULES {
        let _ = writeln!(pools, "        \"~{pattern}\" {pool};");
    }
    let upstreams = POOLS.iter().map(|pool| {
        let mut text = format!("    upstream {} {{\n", pool.name);
        text.push_str(match pool.key {
            Key::LeastBusy => "        least_conn;\n",
            Key::User => "        hash $user_key consistent;\n",
            Key::Sixth => "        hash $sixth consistent;\n",
            Key::Origin => "        hash $origin consistent;\n",
        });
        for (_, address) in stage.upstream.group(pool.group) {
            let _ = writeln!(text, "        server {address};");
        }
        text.push_str(
            "        keepalive 128;\n        keepalive_requests 1000000;\n        keepalive_timeout 45s;\n    }\n",
        );
        text
    });
    format!(
        "daemon off;
pid {folder}/nginx.pid;
worker_processes {threads};
worker_rlimit_nofile 65536;
events {{ worker_connections 32768; }}
http {{
    log_format matrix '$time_iso8601 $request_id $remote_addr $request_method $uri $status $request_length $bytes_sent $pool $upstream_addr $upstream_connect_time $upstream_header_time $request_time';
    access_log {folder}/access-nginx.log matrix buffer=64k flush=1s;
    keepalive_timeout 300s;
    keepalive_requests 1000000;
    client_max_body_size 200m;
    server_tokens off;
    map $uri $path_pool {{
        default main;
{pools}    }}
    map \"$path_pool:$arg_since:$arg_from\" $pool {{
        default $path_pool;
        \"sync::\" initial_sync;
    }}
    map \"$http_authorization $arg_access_token\" $user_key {{
        default \"$http_authorization$arg_access_token\";
        \"~syt_(?<localpart>[^_]+)_\" $localpart;
    }}
    map $http_authorization $origin {{
        default $remote_addr;
        \"~origin=\\\"?(?<server>[^\\\",]+)\" $server;
    }}
    map $uri $sixth {{
        default $uri;
        \"~^/[^/]*/[^/]*/[^/]*/[^/]*/(?<segment>[^/]+)\" $segment;
    }}
{upstreams}{server}}}
",
        folder = stage.folder.display(),
        threads = stage.threads,
        upstreams = upstreams.collect::<String>(),
        server = server(stage, ports),
    )
}

fn server(stage: &Stage<'_>, ports: Ports) -> String {
    let cors = "add_header Access-Control-Allow-Origin * always; \
                add_header Access-Control-Allow-Methods \"GET, HEAD, POST, PUT, DELETE, OPTIONS\" always; \
                add_header Access-Control-Allow-Headers \"X-Requested-With, Content-Type, Authorization, Date\" always;";
    format!(
        "    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl http2;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:tls:10m;
        proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Request-Id $request_id;
        proxy_connect_timeout 2s;
        proxy_read_timeout 180s;
        proxy_max_temp_file_size 0;
        proxy_request_buffering off;
        location /_synapse/replication {{ return 404; }}
        location /_synapse/metrics {{ return 404; }}
        location = {VERSIONS} {{
            {cors}
            if ($request_method = OPTIONS) {{ return 204; }}
            default_type application/json;
            return 200 '{document}';
        }}
        location / {{
            if ($request_method = OPTIONS) {{ {cors} return 204; }}
            proxy_pass http://$pool;
        }}
    }}
",
        plain = ports.plain,
        tls = ports.tls,
        certificate = stage.certificate.certificate.display(),
        key = stage.certificate.key.display(),
        document = versions_document(),
    )
}
