//! Lines in, changes out.

use proptest::prelude::*;

use super::*;

fn hasher() -> Arc<TokenHasher> {
    Arc::new(TokenHasher::with_key([0; 32]))
}

/// What the lines mean, as `stream writer after..position concerns`.
fn changes(lines: &[&str]) -> Vec<String> {
    changes_of(&mut Sequencer::new(hasher()), lines)
}

fn changes_of(sequencer: &mut Sequencer, lines: &[&str]) -> Vec<String> {
    let mut changes = Vec::new();
    for line in lines {
        sequencer.line(line, Instant::now(), &mut changes);
    }
    changes.iter().map(shown).collect()
}

fn shown(change: &Change) -> String {
    let Change { stream, writer, after, position, concerns, .. } = change;
    format!("{} {writer} {after}..{position} {concerns:?}", stream.name())
}

/// A sequencer that has followed for a while.
fn settled(lines: &[&str]) -> Sequencer {
    let mut sequencer = Sequencer::new(hasher());
    changes_of(&mut sequencer, lines);
    sequencer.settle();
    sequencer
}

#[test]
fn rows_become_changes() {
    let lines = [
        "POSITION to_device w 4 4",
        r#"RDATA to_device w 6 ["@u:a"]"#,
        "POSITION to_device w 6 9",
        r#"RDATA to_device w 10 ["@v:a"]"#,
        "REPLICATE ",
        "USER_SYNC KbehQ @bob:a None start 5",
        "PING 1",
        "",
    ];
    let expected = [r#"to_device w 4..6 User("@u:a")"#, "to_device w 6..9 Nobody", r#"to_device w 9..10 User("@v:a")"#];
    assert_eq!(changes(&lines), expected);
}

#[test]
fn a_batch_is_told_at_its_last_position_by_writer() {
    let lines = [
        "POSITION account_data w1 1 1",
        "POSITION account_data w2 1 1",
        r#"RDATA account_data w1 batch ["@u:a",null,"a"]"#,
        r#"RDATA account_data w2 batch ["@v:a",null,"a"]"#,
        r#"RDATA account_data w1 2 ["@w:a",null,"a"]"#,
        r#"RDATA account_data w2 3 ["@x:a",null,"a"]"#,
    ];
    let expected = [
        r#"account_data w1 1..2 User("@u:a")"#,
        r#"account_data w1 1..2 User("@w:a")"#,
        r#"account_data w2 1..3 User("@v:a")"#,
        r#"account_data w2 1..3 User("@x:a")"#,
    ];
    assert_eq!(changes(&lines), expected);
}

#[test]
fn what_is_not_understood_concerns_everybody() {
    let table = [
        ("NEWS a b", "unknown  0..0 Everybody(UnknownCommand)"),
        ("RDATA events w five []", "unknown  0..0 Everybody(MalformedCommand)"),
        (r#"RDATA news w 5 ["@u:a"]"#, "unknown w 4..5 Everybody(UnknownStream)"),
        ("RDATA events w 5 {}", "events w 4..5 Everybody(UnknownRow)"),
        ("RDATA events w 5 [", "events w 4..5 Everybody(UnknownRow)"),
        (r#"RDATA caches w 5 ["get_device",null,1]"#, "caches w 5..5 Everybody(UnknownRow)"),
    ];
    for (line, expected) in table {
        assert_eq!(changes(&[line]), [expected], "{line}");
    }
}

#[test]
fn what_may_be_missing_concerns_everybody() {
    let row = r#"RDATA typing w 1 ["!r:a",[]]"#;
    let batch = r#"RDATA typing w batch ["!r:a",[]]"#;
    let table: [(&[&str], &[&str]); 7] = [
        (&["POSITION typing w 8 9"], &["typing w 5..9 Everybody(Gap(Ahead))"]),
        (&["POSITION typing w 9 9"], &["typing w 5..9 Everybody(Gap(Heartbeat))"]),
        (&[row], &["typing w 1..1 Everybody(Gap(Backwards))", r#"typing w 1..1 Room("!r:a")"#]),
        (&[batch, "POSITION typing w 5 6"], &["typing w 5..6 Everybody(Gap(BatchCut))"]),
        (&["POSITION typing v 5 5"], &["typing v 5..5 Everybody(Gap(NewWriter))"]),
        (
            &[r#"RDATA typing v 5 ["!r:a",[]]"#],
            &["typing v 4..5 Everybody(UnknownWriter)", r#"typing v 4..5 Room("!r:a")"#],
        ),
        // Nothing was written, but the writer is further.
        (&["POSITION typing w 5 5", "POSITION typing w 5 7", "POSITION typing w 7 7"], &["typing w 5..7 Nobody"]),
    ];
    for (lines, expected) in table {
        let mut sequencer = settled(&["POSITION typing w 5 5"]);
        assert_eq!(changes_of(&mut sequencer, lines), expected, "{lines:?}");
    }
}

#[test]
fn an_unknown_streams_positions_are_kept_as_well() {
    let mut sequencer = settled(&["POSITION news w 5 5", "POSITION more w 1 1"]);
    let expected = ["unknown w 5..8 Everybody(Gap(Heartbeat))"];
    assert_eq!(changes_of(&mut sequencer, &["POSITION more w 1 1", "POSITION news w 8 8"]), expected);
}

#[test]
fn invalidated_caches_repeat_and_go_back() {
    let mut sequencer = settled(&["POSITION caches w 5 5"]);
    let lines = [
        r#"RDATA caches w 23 ["count_e2e_one_time_keys",["@u:a"],1]"#,
        r#"RDATA caches w 24 ["get_user_by_access_token",["syt_secret"],1]"#,
        r#"RDATA caches w 23 ["count_e2e_one_time_keys",["@u:a"],1]"#,
        r#"RDATA caches new 3 ["get_user_by_id",["@u:a"],1]"#,
        "POSITION caches w 5 9",
        "POSITION caches other 9 9",
    ];
    let told = changes_of(&mut sequencer, &lines);
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().all(|change| !change.contains("Everybody") && !change.contains("syt_")), "{told:?}");
    assert_eq!(told[1], "caches w 24..24 TokenEnded(TokenHash(…))");
}

#[test]
fn old_events_are_told_from_the_last_one_back() {
    let mut sequencer = settled(&["POSITION backfill w 5 5"]);
    let lines = [
        r#"RDATA backfill w 8 ["$c","!r:a","m.room.member","@u:b",null,null]"#,
        r#"RDATA backfill w 7 ["$b","!r:a","m.room.member","@v:b",null,null]"#,
        r#"RDATA backfill w 6 ["$a","!r:a","m.room.create","",null,null]"#,
        "POSITION backfill w 5 8",
        r#"RDATA backfill w 12 ["$d","!r:a","m.room.message",null,null,null]"#,
        "POSITION backfill w 9 9",
    ];
    let told = changes_of(&mut sequencer, &lines);
    assert!(told.iter().all(|change| change.ends_with(" Nobody")), "{told:?}");
}

#[test]
fn a_line_tells_what_it_was() {
    let mut sequencer = Sequencer::new(hasher());
    let mut line = |line: &str| sequencer.line(line, Instant::now(), &mut Vec::new());
    let row = |stream, committed_ms| Line::Row { stream, committed_ms };
    assert_eq!(
        line(r#"RDATA caches w 1 ["get_device",["@u:a"],1795398954751]"#),
        row(Stream::Caches, Some(1795398954751))
    );
    assert_eq!(line(r#"RDATA events w batch ["ev",[]]"#), row(Stream::Events, None));
    assert_eq!(line("POSITION events w 1 1"), Line::Position);
    assert_eq!(line("REPLICATE "), Line::Other);
}

#[test]
fn who_does_not_answer_is_forgotten() {
    let mut sequencer = settled(&["POSITION typing w 5 5", "POSITION typing v 7 7", "POSITION caches v 1 1"]);
    sequencer.begin_round();
    assert!(!sequencer.have_answered(&[]));
    changes_of(&mut sequencer, &["POSITION typing w 5 5"]);
    assert!(sequencer.have_answered(&[]) && sequencer.have_answered(&["w".to_owned()]));
    assert!(!sequencer.have_answered(&["w".to_owned(), "v".to_owned()]));
    let mut changes = Vec::new();
    sequencer.end_round(Instant::now(), &mut changes);
    let shown: Vec<String> = changes.iter().map(shown).collect();
    assert_eq!(shown, ["typing v 7..7 Everybody(Gap(WriterSilent))"]);
    // Back again, it may have written anything.
    let back = changes_of(&mut sequencer, &["POSITION typing v 7 7"]);
    assert_eq!(back, ["typing v 7..7 Everybody(Gap(NewWriter))"]);
}

#[test]
fn positions_are_told() {
    let sequencer = settled(&["POSITION typing w 5 5", r#"RDATA to_device v 6 ["@u:a"]"#, "POSITION caches w 1 1"]);
    let mut positions = sequencer.positions();
    positions.sort_by_key(|place| place.stream);
    let place = |stream, writer: &str, position| WriterPosition { stream, writer: writer.into(), position };
    assert_eq!(positions, [place(Stream::Typing, "w", 5), place(Stream::ToDevice, "v", 6)]);
}

proptest! {
    #[test]
    fn no_line_panics(lines in proptest::collection::vec(any::<String>(), 0..20)) {
        changes(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Whatever is in the middle of a stream that nobody knows concerns everybody.
    #[test]
    fn unknown_streams_concern_everybody(name in "[a-z_]{1,12}", json in "[\\[\\]\"a-z0-9, ]{0,20}") {
        prop_assume!(Stream::of_name(&name) == Stream::Unknown);
        let told = changes(&[&format!("RDATA {name} w 5 {json}")]);
        prop_assert_eq!(told, ["unknown w 4..5 Everybody(UnknownStream)"]);
    }

    /// However a writer's rows and positions are cut short, its next position tells.
    #[test]
    fn whatever_is_lost_at_the_end_is_noticed(rows in 1..20_i64, heard in 0..20_i64) {
        prop_assume!(heard < rows);
        let mut sequencer = settled(&["POSITION to_device w 0 0"]);
        for row in 1..=heard {
            changes_of(&mut sequencer, &[&format!(r#"RDATA to_device w {row} ["@u:a"]"#)]);
        }
        let told = changes_of(&mut sequencer, &[&format!("POSITION to_device w {rows} {rows}")]);
        prop_assert_eq!(told, [format!("to_device w {heard}..{rows} Everybody(Gap(Heartbeat))")]);
    }
}
