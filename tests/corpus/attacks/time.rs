//! Times: of certificates that have ended or not begun, and times that are none.

use countersign_testing::{Role, TestPki};
use countersign_trust_store::Code;

use super::chain::under;
use crate::attack::{Attack, attack, control};
use crate::der::{self, tlv};
use crate::good::{DAY, Good, LEAF, LOWER, UPPER};

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

const HOUR: i64 = 60 * 60;
const YEAR: i64 = 365 * DAY;

pub(super) fn attacks() -> Vec<Attack> {
    let mut all = bounds();
    all.extend(years());
    all.extend(forms());
    all
}

fn bounds() -> Vec<Attack> {
    let mut all = Vec::new();
    for (whose, place) in [
        ("the_device", LEAF),
        ("the_lower_authority", LOWER),
        ("the_upper_authority", UPPER),
    ] {
        for (word, ago) in [("a_second", 1), ("5_seconds", 5), ("a_year", YEAR)] {
            all.push(attack(
                format!("td01_the_certificate_of_{whose}_ended_{word}_ago"),
                "A certificate has expired.",
                Code::Expired,
                move |good| {
                    good.sign(&good.bent(place, |parts| {
                        parts.set_validity(good.at(-2 * YEAR), good.at(-ago))
                    }))
                },
            ));
        }
        for (word, ahead) in [("an_hour", HOUR), ("a_year", YEAR)] {
            all.push(attack(
                format!("td02_the_certificate_of_{whose}_begins_in_{word}"),
                "A certificate is not valid yet.",
                Code::NotYetValid,
                move |good| {
                    good.sign(&good.bent(place, |parts| {
                        parts.set_validity(good.at(ahead), good.at(2 * YEAR))
                    }))
                },
            ));
        }
        all.push(attack(
            format!("tc25_the_certificate_of_{whose}_never_ends"),
            "A certificate has no end, which only a device's initial identity may have.",
            Code::ValidityPeriod,
            move |good| {
                dated(
                    good,
                    place,
                    (UTC_TIME, "200101000000Z"),
                    (GENERALIZED_TIME, "99991231235959Z"),
                )
            },
        ));
    }
    all.push(attack(
        "tc25_the_last_second_but_one",
        "The device's certificate ends a second before that which means never.",
        Code::ValidityPeriod,
        |good| {
            dated(
                good,
                LEAF,
                (UTC_TIME, "200101000000Z"),
                (GENERALIZED_TIME, "99991231235958Z"),
            )
        },
    ));
    all.push(attack(
        "tc24_a_certificate_that_ends_before_it_begins",
        "The device's certificate ends before it begins.",
        Code::ValidityPeriod,
        |good| {
            dated(
                good,
                LEAF,
                (UTC_TIME, "300101000000Z"),
                (UTC_TIME, "200101000000Z"),
            )
        },
    ));
    all.push(attack(
        "td01_the_root_ended_a_minute_ago",
        "The trusted root has expired.",
        Code::Expired,
        |_| under(&TestPki::builder().valid(Role::Root, -DAY, -60).build()),
    ));
    all.push(attack(
        "td02_the_root_begins_in_an_hour",
        "The trusted root is not valid yet.",
        Code::NotYetValid,
        |_| under(&TestPki::builder().valid(Role::Root, HOUR, YEAR).build()),
    ));
    all
}

/// Years in which counters overflow.
fn years() -> Vec<Attack> {
    let mut all = Vec::new();
    for (word, tag, text) in [
        ("2038", UTC_TIME, "380119031408Z"),
        ("2049", UTC_TIME, "491231235959Z"),
        ("2050", GENERALIZED_TIME, "20500101000000Z"),
        ("2106", GENERALIZED_TIME, "21060207062816Z"),
        ("2262", GENERALIZED_TIME, "22620411234717Z"),
    ] {
        all.push(attack(
            format!("td06_a_certificate_from_{word}"),
            "The device's certificate begins at a time that a counter of 32 or 64 bits takes for long ago.",
            Code::NotYetValid,
            move |good| dated(good, LEAF, (tag, text), (GENERALIZED_TIME, "29991231235959Z")),
        ));
        all.push(control(
            format!("control_a_certificate_until_{word}"),
            "The device's certificate ends at a time that a counter of 32 or 64 bits takes for long ago.",
            move |good| dated(good, LEAF, (UTC_TIME, "200101000000Z"), (tag, text)),
        ));
    }
    all.push(attack(
        "td06_a_certificate_until_1950",
        "The device's certificate ends in the earliest year that its form of time can write, which some take for 2050; there were no such certificates.",
        Code::CertificateMalformed,
        |good| dated(good, LEAF, (UTC_TIME, "500101000000Z"), (UTC_TIME, "501231235959Z")),
    ));
    all
}

/// Times that are none, or not in the one form that they have.
fn forms() -> Vec<Attack> {
    [
        ("no_seconds", UTC_TIME, "3001010000Z"),
        ("no_zone", UTC_TIME, "300101000000"),
        ("another_zone", UTC_TIME, "300101000000+0100"),
        ("a_small_z", UTC_TIME, "300101000000z"),
        ("a_fraction", GENERALIZED_TIME, "20510101000000.5Z"),
        ("a_fraction_of_zero", GENERALIZED_TIME, "20510101000000.0Z"),
        (
            "a_general_time_before_2050",
            GENERALIZED_TIME,
            "20300101000000Z",
        ),
        (
            "a_general_time_without_seconds",
            GENERALIZED_TIME,
            "205101010000Z",
        ),
        (
            "a_general_time_of_another_zone",
            GENERALIZED_TIME,
            "20510101000000+0100",
        ),
        ("february_30", UTC_TIME, "300230000000Z"),
        ("february_29_in_a_common_year", UTC_TIME, "310229000000Z"),
        ("month_13", UTC_TIME, "301301000000Z"),
        ("month_0", UTC_TIME, "300001000000Z"),
        ("day_0", UTC_TIME, "300100000000Z"),
        ("hour_24", UTC_TIME, "300101240000Z"),
        ("minute_60", UTC_TIME, "300101006000Z"),
        ("a_leap_second", UTC_TIME, "301231235960Z"),
        (
            "five_digits_of_a_year",
            GENERALIZED_TIME,
            "100000101000000Z",
        ),
        ("a_negative_year", UTC_TIME, "-10101000000Z"),
        ("a_space", UTC_TIME, " 00101000000Z"),
        ("nothing", UTC_TIME, ""),
        ("a_text", 0x0c, "300101000000Z"),
    ]
    .into_iter()
    .map(|(word, tag, text)| {
        attack(
            format!("tc24_{word}"),
            "The end of the device's certificate is no time in the one form that times have.",
            Code::CertificateMalformed,
            move |good| dated(good, LEAF, (UTC_TIME, "200101000000Z"), (tag, text)),
        )
    })
    .collect()
}

/// The good file, a certificate valid between these times: tag and text.
fn dated(good: &Good, place: usize, from: (u8, &str), until: (u8, &str)) -> Vec<u8> {
    let time = |(tag, text): (u8, &str)| tlv(tag, text.as_bytes());
    let validity = der::sequence(&[&time(from), &time(until)]);
    good.sign(&good.bent(place, |parts| parts.validity = der::any(&validity)))
}
