//! Tables are assigned without favour.

use std::collections::BTreeMap;

use countersign_privacy_tokens::{Assignment, Error, KeyIndex, TableId};
use getrandom::SysRng;

fn tables(count: u16) -> Vec<TableId> {
    (0..count).map(TableId::new).collect()
}

/// The sum of (seen - expected)² / expected.
fn chi_squared(counts: impl Iterator<Item = u32>, expected: f64) -> f64 {
    counts
        .map(|seen| (f64::from(seen) - expected).powi(2) / expected)
        .sum()
}

#[test]
fn every_three_of_ten_tables_are_as_likely_as_any_others() {
    let pool = tables(10);
    let mut seen: BTreeMap<[TableId; 3], u32> = BTreeMap::new();
    for _ in 0..60_000 {
        let drawn = Assignment::draw(&pool, &mut SysRng).unwrap();
        *seen.entry(*drawn.tables()).or_default() += 1;
    }
    // There are 120 ways; 119 degrees of freedom exceed 220 once in some ten million runs.
    assert_eq!(seen.len(), 120);
    let statistic = chi_squared(seen.into_values(), 500.0);
    assert!(statistic < 220.0, "{statistic}");
}

#[test]
fn every_table_of_2500_is_as_likely_as_any_other() {
    let pool = tables(2500);
    let mut seen = vec![0_u32; 2500];
    for _ in 0..50_000 {
        for table in Assignment::draw(&pool, &mut SysRng).unwrap().tables() {
            seen[usize::from(table.get())] += 1;
        }
    }
    // 2,499 degrees of freedom have a mean of 2,499 and a deviation of 71; drawn without replacement it is a little less.
    let statistic = chi_squared(seen.into_iter(), 60.0);
    assert!((2060.0..2940.0).contains(&statistic), "{statistic}");
}

#[test]
fn every_key_of_a_table_is_as_likely_as_any_other() {
    let mut seen = vec![0_u32; 1000];
    for _ in 0..60_000 {
        seen[usize::from(KeyIndex::draw(&mut SysRng).unwrap().get())] += 1;
    }
    // 999 degrees of freedom: mean 999, deviation 45.
    let statistic = chi_squared(seen.into_iter(), 60.0);
    assert!((730.0..1270.0).contains(&statistic), "{statistic}");
}

#[test]
fn a_device_has_three_different_tables() {
    for count in 0..3 {
        assert!(matches!(
            Assignment::draw(&tables(count), &mut SysRng),
            Err(Error::FewTables { have }) if have == usize::from(count)
        ));
    }
    // One table under the same number three times is one.
    let same = [TableId::new(4); 3];
    assert!(matches!(
        Assignment::draw(&same, &mut SysRng),
        Err(Error::FewTables { have: 1 })
    ));
    assert!(matches!(Assignment::new(same), Err(Error::Assignment)));
    let [a, b, c] = [7, 2, 5].map(TableId::new);
    assert!(matches!(Assignment::new([a, b, a]), Err(Error::Assignment)));
    assert_eq!(Assignment::new([a, b, c]).unwrap().tables(), &[b, c, a]);
    let all = Assignment::draw(&[a, b, c], &mut SysRng).unwrap();
    assert_eq!(all.tables(), &[b, c, a]);
}
