//! What is wrong, and what is said about it. `problems.txt` has the cases.

use super::super::{Source, load};
use super::{HOMESERVER, WITH_WORKERS, folder, load_files, shown};

/// The cases: a title after `=== `, files after `--- `, and what is said about them. `%usual` and `%workers` stand for
/// [`HOMESERVER`]'s four and [`WITH_WORKERS`]' three lines.
const CASES: &str = include_str!("problems.txt");

/// One case of the file.
struct Case<'text> {
    title: &'text str,
    files: Vec<(&'text str, String)>,
    said: &'text str,
}

impl Case<'_> {
    fn parse(text: &str) -> Case<'_> {
        let (title, rest) = text.split_once('\n').expect("a title");
        let mut files = Vec::new();
        let mut said = None;
        for part in rest.split("--- ").skip(1) {
            let (name, content) = part.split_once('\n').expect("a name");
            match name {
                "said" => said = Some(content),
                name => files.push((name, expand(content))),
            }
        }
        Case { title, files, said: said.unwrap_or_else(|| panic!("{title}: nothing is expected")) }
    }
}

fn expand(content: &str) -> String {
    content.replace("%usual\n", HOMESERVER).replace("%workers\n", WITH_WORKERS)
}

#[test]
fn every_problem_is_told_with_file_line_and_key() {
    let cases: Vec<Case<'_>> = CASES.split("=== ").skip(1).map(Case::parse).collect();
    assert!(cases.len() >= 60, "only {} cases were found", cases.len());
    for Case { title, files, said } in cases {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, content)| (*name, content.as_str())).collect();
        let found = match load_files(&files) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        assert_eq!(found, said, "{title}");
    }
}

#[test]
fn no_case_shows_a_secret() {
    let (given, said): (Vec<&str>, Vec<&str>) =
        CASES.split("=== ").skip(1).map(|case| case.split_once("--- said\n").expect("two parts")).unzip();
    assert!(given.iter().any(|given| given.contains("hunter2")), "no case has a secret");
    assert!(!said.iter().any(|said| said.contains("hunter2")));
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let folder = folder(&[("dendron.yaml.old", "")]);
    for (name, source) in [("dendron.yaml", Source::File as fn(_) -> _), ("homeserver.yaml", Source::Synapse)] {
        let problems = load(&source(folder.path().join(name))).expect_err("no file");
        assert_eq!(shown(&problems, folder.path()), format!("{name}: {name} does not exist\n"));
    }
}
