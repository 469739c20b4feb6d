//! The source itself: in which direction modules import, how long files and functions are, and what must or must not be
//! written in them. Nothing is started here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dendron::observe::table::TABLE;
use libtest_mimic::Failed;

use crate::harness::stacks::Stacks;
use crate::harness::{checkout, ensure, ensure_eq};

pub const TESTS: &[crate::Test] = &[
    ("tidy::imports_run_one_way", imports_run_one_way),
    ("tidy::every_source_file_says_what_it_is", every_source_file_says_what_it_is),
    ("tidy::files_and_functions_are_short", files_and_functions_are_short),
    ("tidy::every_metric_is_in_the_readme", every_metric_is_in_the_readme),
    ("tidy::nothing_is_left_to_do_in_the_text", nothing_is_left_to_do_in_the_text),
    ("tidy::no_package_host_is_named", no_package_host_is_named),
    ("tidy::there_is_one_http_parser", there_is_one_http_parser),
];

/// The modules from the ground floor up. A module may use only those before it: a reader who follows the imports of any
/// module comes down to the ground and never in a circle. `lib.rs` lists them the other way round, from the top, and
/// `main.rs` stands above them all.
const FROM_THE_GROUND: [&str; 26] = [
    "secret",
    "query",
    "endpoint",
    "duration",
    "credentials",
    "client_address",
    "reply",
    "exchange",
    "observe",
    "route",
    "upstream",
    "database",
    "synapse",
    "token",
    "replication",
    "answer",
    "quiet",
    "listener",
    "supervise",
    "proxy",
    "front",
    "admin",
    "config",
    "server",
    "explain",
    "args",
];

/// The most lines of a file, its tests included.
const FILE_LINES_MAX: usize = 500;
/// The most lines of a function.
const FUNCTION_LINES_MAX: usize = 70;

fn imports_run_one_way(_: &Stacks) -> Result<(), Failed> {
    let place = |module: &str| FROM_THE_GROUND.iter().position(|known| *known == module);
    let mut faults = Vec::new();
    for (path, text) in &rust_files(&["src"])? {
        let module = module_of(path);
        let own = match module.as_str() {
            "lib" => {
                let listed: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("pub mod ")).collect();
                let expected: Vec<String> = FROM_THE_GROUND.iter().rev().map(|module| format!("{module};")).collect();
                ensure_eq!(listed, expected, "the order of the modules in lib.rs");
                continue;
            }
            "main" => FROM_THE_GROUND.len(),
            module => match place(module) {
                Some(own) => own,
                None => {
                    faults.push(format!("{}: the module {module} has no place in the order", path.display()));
                    continue;
                }
            },
        };
        for (line, used) in uses(path, text) {
            match place(&used) {
                Some(below) if below <= own => {}
                Some(_) => faults.push(format!("{}:{line}: {module} uses {used}, which is above it", path.display())),
                None => faults.push(format!("{}:{line}: {used} has no place in the order", path.display())),
            }
        }
    }
    none(&faults)
}

/// The module that a file below `src` belongs to: its first step down from the crate's root.
fn module_of(path: &Path) -> String {
    let step = path.components().nth(1).map(|step| step.as_os_str().to_string_lossy().into_owned());
    step.unwrap_or_default().trim_end_matches(".rs").to_owned()
}

/// Which modules of the crate a file names, by line. Comments may speak of whatever they like.
fn uses(path: &Path, text: &str) -> Vec<(usize, String)> {
    // `main.rs` is a crate of its own and knows the library by its name.
    let root = if path == Path::new("src/main.rs") { "dendron::" } else { "crate::" };
    // Outside of inner modules, `super` is the root in a file that is a module of the root itself.
    let at_the_root = path.components().count() == 2 || path.components().count() == 3 && path.ends_with("mod.rs");
    let without_comments = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let code = without_comments.collect::<Vec<_>>().join("\n");
    let named = code.match_indices(root).filter(|(start, _)| !code[..*start].ends_with(is_part_of_a_name));
    let mut paths: Vec<(usize, &str)> = named.map(|(start, root)| (start, &code[start + root.len()..])).collect();
    if at_the_root {
        let supers = code.match_indices("\nuse super::");
        paths.extend(supers.map(|(start, text)| (start + 1, &code[start + text.len()..])));
    }
    let line = |start: usize| code[..start].matches('\n').count() + 1;
    let used = |(start, path)| named_first(path).into_iter().map(move |name| (start, name));
    paths.into_iter().flat_map(used).map(|(start, name)| (line(start), name)).collect()
}

/// The first names of a path or of a group of paths: `a::b` has `a`, `{a::b, c}` has `a` and `c`.
fn named_first(path: &str) -> Vec<String> {
    let name =
        |text: &str| -> String { text.trim().chars().take_while(|character| is_part_of_a_name(*character)).collect() };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    for (place, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                names.push(name(&group[start..place]));
                start = place + 1;
                if character == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn is_part_of_a_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn every_source_file_says_what_it_is(_: &Stacks) -> Result<(), Failed> {
    let files = rust_files(&["src", "integration", "examples"])?;
    let silent = files.iter().filter(|(_, text)| !text.starts_with("//! "));
    none(&silent.map(|(path, _)| format!("{}: begins without a module doc", path.display())).collect::<Vec<_>>())
}

fn files_and_functions_are_short(_: &Stacks) -> Result<(), Failed> {
    let mut faults = Vec::new();
    let mut functions_seen = 0;
    for (path, text) in &rust_files(&["src", "integration", "examples"])? {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(format!("{}: {lines} lines", path.display()));
        }
        for (line, name, lines) in functions(text) {
            functions_seen += 1;
            if lines > FUNCTION_LINES_MAX {
                faults.push(format!("{}:{line}: {name} has {lines} lines", path.display()));
            }
        }
    }
    ensure!(functions_seen > 300, "only {functions_seen} functions were found: the matcher has gone blind");
    none(&faults)
}

/// The functions of a file: line, name and length. `rustfmt` puts the closing brace under the line that begins it.
fn functions(text: &str) -> Vec<(usize, &str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indentation = &line[..line.len() - line.trim_start().len()];
        let Some((qualifiers, rest)) = line.trim_start().split_once("fn ") else { continue };
        let is_qualifier = |word: &str| word.starts_with("pub") || matches!(word, "const" | "async" | "in" | "super)");
        if !qualifiers.split_whitespace().all(is_qualifier) {
            continue;
        }
        let name = rest.split(['(', '<']).next().unwrap_or_default();
        // A function on one line ends where it begins, and a declaration has no body.
        let is_short = line.ends_with('}') || line.ends_with(';');
        let is_end = |line: &&str| {
            let own = line.strip_prefix(indentation).unwrap_or_default();
            own == "}" || own.ends_with(';') && !own.starts_with(' ')
        };
        let behind = lines[start..].iter().position(|line| is_short || is_end(line));
        found.push((start + 1, name, behind.map_or(lines.len() - start, |end| end + 1)));
    }
    found
}

fn every_metric_is_in_the_readme(_: &Stacks) -> Result<(), Failed> {
    let readme = std::fs::read_to_string(checkout().join("README.md"))?;
    let missing: Vec<&str> = TABLE.iter().map(|row| row.name).filter(|name| !has_word(&readme, name)).collect();
    ensure!(missing.is_empty(), "README.md does not name {missing:?}");
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    TABLE.iter().for_each(|row| *rows.entry(row.name).or_default() += 1);
    let twice: Vec<&str> = rows.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect();
    ensure!(twice.is_empty(), "metrics with two rows: {twice:?}");
    Ok(())
}

/// Whether a text names a metric, and not only a longer one.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(start, _)| {
        let (before, after) = (&text[..start], &text[start + word.len()..]);
        !before.ends_with(is_part_of_a_name) && !after.starts_with(is_part_of_a_name)
    })
}

fn nothing_is_left_to_do_in_the_text(_: &Stacks) -> Result<(), Failed> {
    // Put together here, so that this file passes its own test.
    let marks = [["FIX", "ME"], ["TO", "DO"], ["dbg", "!("]].map(|parts| parts.concat());
    none(&lines_with(&marks)?)
}

/// Nobody should have to believe that a build needs one certain host: what is fetched, and from where, is said by the
/// user's own configuration of cargo, pip and npm.
fn no_package_host_is_named(_: &Stacks) -> Result<(), Failed> {
    let hosts = [
        ("crates", "io"),
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("deb.debian", "org"),
    ];
    let names: Vec<String> = hosts.iter().map(|(name, domain)| format!("{name}.{domain}")).collect();
    none(&lines_with(&names)?)
}

/// Pingora's and dendron's own requests must be read by the same code: two parsers that differ in what they accept are
/// how requests are smuggled.
fn there_is_one_http_parser(_: &Stacks) -> Result<(), Failed> {
    let lock = std::fs::read_to_string(checkout().join("Cargo.lock"))?;
    let found = lock.lines().filter(|line| *line == "name = \"httparse\"").count();
    ensure_eq!(found, 1, "packages named httparse in Cargo.lock");
    Ok(())
}

fn none(faults: &[String]) -> Result<(), Failed> {
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

/// Where any of these words stands in a text of the checkout.
fn lines_with(words: &[String]) -> Result<Vec<String>, Failed> {
    let files = texts()?;
    ensure!(files.len() > 50, "only {} files were found", files.len());
    let mut found = Vec::new();
    for (path, text) in files {
        for (number, line) in text.lines().enumerate() {
            let named = words.iter().filter(|word| line.contains(word.as_str()));
            found.extend(named.map(|word| format!("{}:{}: {word}", path.display(), number + 1)));
        }
    }
    Ok(found)
}

/// The Rust files below these folders, by their path in the checkout.
fn rust_files(folders: &[&str]) -> Result<Vec<(PathBuf, String)>, Failed> {
    let mut files = texts()?;
    files.retain(|(path, _)| {
        path.extension().is_some_and(|extension| extension == "rs")
            && folders.iter().any(|folder| path.starts_with(folder))
    });
    for folder in folders {
        ensure!(files.iter().any(|(path, _)| path.starts_with(folder)), "there are no Rust files in {folder}");
    }
    Ok(files)
}

/// Every text that people wrote, by its path in the checkout: not what was built, installed or locked.
fn texts() -> Result<Vec<(PathBuf, String)>, Failed> {
    let mut found = Vec::new();
    let mut folders = vec![checkout().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_made = ["target", "node_modules", "__pycache__", ".git", ".dev", "corpus", "artifacts"];
            if is_made.contains(&name.as_str()) || name == "Cargo.lock" {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file()
                && let Ok(text) = std::fs::read_to_string(entry.path())
            {
                found.push((entry.path().strip_prefix(checkout())?.to_owned(), text));
            }
        }
    }
    found.sort();
    Ok(found)
}
