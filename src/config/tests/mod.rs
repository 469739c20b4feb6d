//! Whole configurations: files in, problems or pools out.
//!
//! - [`bad`]: what is wrong, and what is said about it.
//! - [`good`]: complete configurations, and the pools of a large Synapse.
//! - [`reference`]: `conf/dendron.yaml` against the code.

mod bad;
mod good;
mod login;
mod reference;
mod sync;

use std::path::Path;

use super::{Config, Problems, Source, load};

/// A homeserver.yaml that is right, to which the tests add.
const HOMESERVER: &str = "\
server_name: example.org
listeners:
- {port: 8008, type: http, bind_addresses: ['127.0.0.1'], x_forwarded: true, resources: [{names: [client, federation]}]}
- {port: 9093, type: http, bind_addresses: ['127.0.0.1'], resources: [{names: [replication]}]}
";

/// What a homeserver with workers has besides.
const WITH_WORKERS: &str = "\
redis: {enabled: yes}
instance_map:
  main: {host: 127.0.0.1, port: 9093}
";

/// Writes files into a folder of their own.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("a file");
    }
    folder
}

/// Loads `dendron.yaml` of these files; without one, `homeserver.yaml`. What is said comes as it is shown.
pub(super) fn load_files(files: &[(&str, &str)]) -> Result<(Config, String), String> {
    let folder = folder(files);
    let source = match files.iter().any(|(name, _)| *name == "dendron.yaml") {
        true => Source::File(folder.path().join("dendron.yaml")),
        false => Source::Synapse(folder.path().join("homeserver.yaml")),
    };
    match load(&source) {
        Ok((config, warnings)) => Ok((config, shown(&warnings, folder.path()))),
        Err(problems) => Err(shown(&problems, folder.path())),
    }
}

/// The problems as they are shown, without the temporary folder's name.
fn shown(problems: &Problems, folder: &Path) -> String {
    problems.to_string().replace(&format!("{}/", folder.display()), "")
}
