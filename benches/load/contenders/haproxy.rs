//! HAProxy as a careful administrator sets it up before Synapse's workers: paths to pools by a map of regular
//! expressions, consistent hashing by user, room and server, health checks, redispatch, one `X-Forwarded-For`, a name for
//! each request, the log over a socket; preflights and versions answered by itself.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use super::{Ports, Stage, swallow_log, write};
use crate::fault::Outcome;
use crate::mix::VERSIONS;
use crate::process::Running;
use crate::routing::{Key, POOLS, RULES};
use crate::upstream::versions_document;

/// Starts it.
pub(super) fn start(stage: &Stage<'_>, ports: Ports) -> Outcome<Running> {
    let folder = stage.folder;
    let rules = RULES.iter().map(|(pattern, pool)| format!("{pattern} {pool}\n"));
    write(&folder.join("haproxy-pools.map"), &rules.collect::<String>())?;
    write(&folder.join("versions.json"), &versions_document())?;
    swallow_log(&folder.join("haproxy-log.sock"))?;
    let path = folder.join("haproxy.cfg");
    write(&path, &configuration(stage, ports))?;
    let command = &mut Command::new("haproxy");
    Running::start("HAProxy", command.arg("-db").arg("-f").arg(&path), &folder.join("haproxy.log"))
}

fn configuration(stage: &Stage<'_>, ports: Ports) -> String {
    let backends = POOLS.iter().map(|pool| {
        let mut text = format!("backend {}\n    option httpchk GET /health\n", pool.name);
        text.push_str(match pool.key {
            Key::LeastBusy => "    balance leastconn\n",
            _ => "    balance hash var(txn.key)\n    hash-type consistent sdbm avalanche\n",
        });
        for (name, address) in stage.upstream.group(pool.group) {
            let _ = writeln!(text, "    server {name} {address} check");
        }
        text
    });
    format!("{}{}{}", head(stage.folder, stage.threads), frontend(stage, ports), backends.collect::<String>())
}

fn head(folder: &Path, threads: usize) -> String {
    format!(
        "global
    nbthread {threads}
    log {folder}/haproxy-log.sock len 1024 format raw local0
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    log global
    option httplog
    option redispatch
    option http-keep-alive
    timeout connect 2s
    timeout client 900s
    timeout http-keep-alive 300s
    timeout http-request 10s
    timeout queue 60s
    timeout server 180s
    default-server maxconn 20000 inter 2s
",
        folder = folder.display(),
    )
}

fn frontend(stage: &Stage<'_>, ports: Ports) -> String {
    format!(
        "frontend matrix
    bind 127.0.0.1:{plain}
    bind 127.0.0.1:{tls} ssl crt {both} alpn h2,http/1.1
    http-request return status 204 hdr Access-Control-Allow-Origin * hdr Access-Control-Allow-Methods \"GET, HEAD, POST, PUT, DELETE, OPTIONS\" hdr Access-Control-Allow-Headers \"X-Requested-With, Content-Type, Authorization, Date\" if METH_OPTIONS
    http-request return status 200 content-type application/json hdr Access-Control-Allow-Origin * file {folder}/versions.json if METH_GET {{ path {VERSIONS} }} !{{ req.hdr(authorization) -m found }}
    http-request deny deny_status 404 if {{ path_beg /_synapse/replication /_synapse/metrics }}
    unique-id-format %{{+X}}o%pid-%rt
    unique-id-header X-Request-Id
    http-request del-header X-Forwarded-For
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
    http-request set-var(txn.pool) path,map_reg({folder}/haproxy-pools.map,main)
    http-request set-var(txn.pool) str(initial_sync) if {{ var(txn.pool) -m str sync }} {{ path_end /sync }} !{{ query -m reg (^|&)since= }}
    http-request set-var(txn.key) path,field(6,/),url_dec
    http-request set-var(txn.key) req.hdr(authorization),word(2,_) if {{ var(txn.pool) -m str sync initial_sync encryption }}
    http-request set-var(txn.key) urlp(access_token),word(2,_) if {{ var(txn.pool) -m str sync initial_sync encryption }} {{ url_param(access_token) -m found }}
    http-request set-var(txn.key) req.hdr(authorization),field(2,=) if {{ var(txn.pool) -m str federation_transaction }}
    use_backend %[var(txn.pool)]
",
        plain = ports.plain,
        tls = ports.tls,
        both = stage.certificate.both.display(),
        folder = stage.folder.display(),
    )
}
