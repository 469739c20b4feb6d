//! Dendron as it comes: its own routing, over the same pools.

use std::fmt::Write;
use std::process::Command;

use super::{Ports, Stage, write};
use crate::fault::Outcome;
use crate::process::Running;
use crate::routing::POOLS;

/// Starts it.
pub(super) fn start(stage: &Stage<'_>, ports: Ports) -> Outcome<Running> {
    let path = stage.folder.join("dendron.yaml");
    write(&path, &configuration(stage, ports))?;
    let command = &mut Command::new(stage.dendron);
    Running::start("dendron", command.arg("run").arg("--config").arg(&path), &stage.folder.join("dendron.log"))
}

fn configuration(stage: &Stage<'_>, ports: Ports) -> String {
    let mut pools = String::new();
    for pool in POOLS {
        let addresses = stage.upstream.group(pool.group);
        let addresses = addresses.iter().map(|(_, address)| format!("\"http://{address}\""));
        let _ = writeln!(pools, "  {}: [{}]", pool.name, addresses.collect::<Vec<_>>().join(", "));
    }
    format!(
        "listeners:
  - address: 127.0.0.1:{plain}
  - address: 127.0.0.1:{tls}
    tls: {{certificate: {certificate}, key: {key}}}
admin: {{address: \"unix:{folder}/admin.sock\"}}
threads: {threads}
log: {{access: {folder}/access-dendron.log}}
backends: {{in_flight: 20000}}
pools:
{pools}",
        plain = ports.plain,
        tls = ports.tls,
        certificate = stage.certificate.certificate.display(),
        key = stage.certificate.key.display(),
        threads = stage.threads,
        folder = stage.folder.display(),
    )
}
