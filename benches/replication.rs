//! How many lines of Synapse's replication stream are read in a second.
//!
//! The mix is that of a busy homeserver: mostly messages with their receipts and typing, some state, presence and devices,
//! and the caches that go with them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dendron::replication::sequencer::Sequencer;
use dendron::token::TokenHasher;

/// Lines of each kind; `{n}` becomes the position.
const LINES: [&str; 14] = [
    r#"RDATA events events1 {n} ["ev",["$apsCyN8wtGwl4HMP-hrQqahmNHV_PK5jZqQ9DvM2hEA","!aeJG3AUYWN29aZMAg43EGEewrbRaceQt5lvR2Q7PRwE","m.room.message",null,null,null,null,false,false]]"#,
    r#"RDATA receipts writer1 {n} ["!aeJG3AUYWN29aZMAg43EGEewrbRaceQt5lvR2Q7PRwE","m.read","@alice:example.org","$rsFhcw0vuHfwVkQDpCj1HsGKJHSR09iEZen-P26dGpA",null,{"ts":1795398948646}]"#,
    r#"RDATA typing writer1 {n} ["!aeJG3AUYWN29aZMAg43EGEewrbRaceQt5lvR2Q7PRwE",["@alice:example.org"]]"#,
    r#"RDATA caches events1 {n} ["cs_cache_fake",["!aeJG3AUYWN29aZMAg43EGEewrbRaceQt5lvR2Q7PRwE","@bob:example.org"],1795398944092]"#,
    r#"RDATA events events1 batch ["ev",["$Sdw-H6INQdVHVc0-Hv6e67j5Cdj7e0wwxw0xU3sNocM","!aeJG3AUYWN29aZMAg43EGEewrbRaceQt5lvR2Q7PRwE","m.room.member","@bob:example.org",null,null,"invite",false,false]]"#,
    r#"RDATA events events1 {n} ["state",["!aeJG3AUYWN29aZMAg43EGEewrbRaceQt5lvR2Q7PRwE","m.room.member","@bob:example.org","$Sdw-H6INQdVHVc0-Hv6e67j5Cdj7e0wwxw0xU3sNocM"]]"#,
    r#"LOCK_RELEASED ["master","new_event_during_purge_lock","!aeJG3AUYWN29aZMAg43EGEewrbRaceQt5lvR2Q7PRwE"]"#,
    r#"RDATA presence writer1 {n} ["@bob:example.org","online",1795398944948,1795398944952,1795398944948,null,true]"#,
    r#"USER_SYNC KbehQ @bob:example.org BOB1 start 1795398944994"#,
    r#"RDATA to_device writer1 {n} ["@bob:example.org"]"#,
    r#"RDATA device_lists writer1 {n} ["@alice:example.org",false,false]"#,
    r#"RDATA account_data writer1 {n} ["@bob:example.org",null,"m.direct"]"#,
    r#"RDATA caches master {n} ["get_user_by_access_token",["syt_Ym9i_aaaaaaaaaaaaaaaaaaaa_bbbbbb"],1795398956692]"#,
    r#"POSITION events master {n} {n}"#,
];

fn lines(criterion: &mut Criterion) {
    let lines: Vec<String> =
        (0..10_000_usize).map(|place| LINES[place % LINES.len()].replace("{n}", &place.to_string())).collect();
    let mut group = criterion.benchmark_group("replication");
    group.throughput(Throughput::Elements(lines.len() as u64));
    group.bench_function("lines", |bencher| {
        bencher.iter(|| {
            let mut sequencer = Sequencer::new(Arc::new(TokenHasher::with_key([0; 32])));
            let mut changes = Vec::new();
            let now = Instant::now();
            for line in &lines {
                sequencer.line(line, now, &mut changes);
                black_box(&changes);
                changes.clear();
            }
        });
    });
    group.finish();
}

criterion_group!(benches, lines);
criterion_main!(benches);
