//! Issuing as a whole, on SQLite and on PostgreSQL: requests in, certificates out, and what stands on record afterwards.

mod faults;
mod house;
mod killed;
mod lint;
mod log;
mod service;

use house::House;

/// Each test twice.
macro_rules! on_both {
    ($($module:ident { $(#[test] fn $name:ident;)* })*) => {
        mod sqlite {
            $($(#[test] fn $name() { crate::run(crate::House::sqlite(), crate::$module::$name); })*)*
        }
        mod postgresql {
            $($(#[test] fn $name() { crate::run(crate::House::postgresql(), crate::$module::$name); })*)*
        }
    };
}

on_both! {
    faults {
        #[test] fn tg19_a_key_whose_store_panics_ends_no_thread;
    }
    service {
        #[test] fn tg05_two_asks_of_one_device_in_one_batch_get_one_certificate;
        #[test] fn tg21_a_clock_that_was_ahead_once_is_no_measure_for_ever;
        #[test] fn tg02_a_batch_of_requests_gets_a_serial_each;
        #[test] fn tg03_a_request_that_its_key_did_not_sign_takes_nothing;
        #[test] fn tg05_a_hundred_at_once_get_one_certificate;
        #[test] fn tg17_a_lost_answer_is_given_again;
        #[test] fn tg20_what_hosts_would_refuse_leaves_no_reservation;
        #[test] fn tg21_nothing_is_issued_by_a_wrong_clock;
        #[test] fn tg22_numbers_of_lists_rise;
        #[test] fn certificates_begin_a_little_earlier_and_not_before_their_issuer;
        #[test] fn what_waits_is_answered_before_the_end;
    }
    log {
        #[test] fn tg24_every_certificate_is_in_the_log;
        #[test] fn tg16_a_log_ahead_of_the_registry_costs_no_leaf_its_place;
        #[test] fn tg16_a_registry_from_an_old_copy_catches_up_with_the_log;
        #[test] fn tg16_what_was_imported_since_the_copy_must_be_imported_again;
        #[test] fn tg16_a_log_of_another_registry_is_left_alone;
        #[test] fn tg16_a_log_that_the_registry_does_not_know_is_left_alone;
    }
    killed {
        #[test] fn tg12_killed_at_every_step;
        #[test] fn tg12_killed_at_any_moment;
    }
}

fn run<F: Future<Output = ()>>(house: House, test: impl FnOnce(House) -> F) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test(house));
}
