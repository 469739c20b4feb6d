//! Files that the configuration names: whether they can be read, and are what they should be.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::key_path::KeyPath;
use super::problem::{Places, Problems};
use super::settings::Settings;
use super::synapse_file::cannot_read;
use crate::observe::access_log::Target;
use crate::upstream::Address;

/// Looks at every file that dendron itself will need.
pub(super) fn check(settings: &Settings, places: &dyn Places, problems: &mut Problems) {
    let root = KeyPath::root();
    for (number, listener) in settings.listeners.0.iter().enumerate() {
        let key = root.key("listeners").index(number);
        if let Address::Unix(path) = &listener.address {
            check_folder_of(path, &key.key("address"), places, problems);
        }
        let several = listener.tls.0.len() > 1;
        for (number, certificate) in listener.tls.0.iter().enumerate() {
            let tls = key.key("tls");
            // A single certificate may stand in a list or by itself; a key that is not there has its parent's line.
            let listed = several || places.place(&tls.index(0)).line != places.place(&tls).line;
            let tls = if listed { tls.index(number) } else { tls };
            let wanted = "-----BEGIN CERTIFICATE-----";
            check_pem(&certificate.certificate, wanted, "a PEM certificate", &tls.key("certificate"), places, problems);
            check_pem(&certificate.key, "PRIVATE KEY-----", "a PEM private key", &tls.key("key"), places, problems);
        }
    }
    if let Address::Unix(path) = &settings.admin.address {
        check_folder_of(path, &root.key("admin").key("address"), places, problems);
    }
    if let Target::File(path) = &settings.log.access {
        check_folder_of(path, &root.key("log").key("access"), places, problems);
    }
    if let Some(python) = settings.supervise.as_ref().and_then(|supervise| supervise.python.as_deref()) {
        let key = root.key("supervise").key("python");
        if !is_program(python) {
            problems.error(places.place(&key), format!("{} is no program that can be run", python.display()));
        }
    }
}

fn check_pem(file: &Path, wanted: &str, what: &str, key: &KeyPath, places: &dyn Places, problems: &mut Problems) {
    match std::fs::read(file) {
        Ok(content) if String::from_utf8_lossy(&content).contains(wanted) => {}
        Ok(_) => problems.error(places.place(key), format!("expected {what} in {}", file.display())),
        Err(error) => problems.error(places.place(key), cannot_read(file, &error)),
    }
}

fn check_folder_of(file: &Path, key: &KeyPath, places: &dyn Places, problems: &mut Problems) {
    if let Some(folder) = file.parent().filter(|folder| !folder.is_dir()) {
        problems.error(places.place(key), format!("the folder {} does not exist", folder.display()));
    }
}

/// Whether `program` is a file that can be run: at its path, or by its name in one of `PATH`'s folders.
fn is_program(program: &Path) -> bool {
    let runs = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if program.components().count() > 1 {
        return runs(program);
    }
    let folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    folders.iter().any(|folder| runs(&folder.join(program)))
}
