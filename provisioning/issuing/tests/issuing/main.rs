//! Issuing as a whole, on SQLite and on PostgreSQL: requests in, certificates out, and what stands on record afterwards.

mod house;
mod killed;
mod log;
mod service;

use house::House;

/// Each test twice.
macro_rules! on_both {
    ($($module:ident::$name:ident,)*) => {
        mod sqlite {
            $(#[test] fn $name() { crate::run(crate::House::sqlite(), crate::$module::$name); })*
        }
        mod postgresql {
            $(#[test] fn $name() { crate::run(crate::House::postgresql(), crate::$module::$name); })*
        }
    };
}

on_both! {
    service::tg02_a_batch_of_requests_gets_a_serial_each,
    service::tg03_a_request_that_its_key_did_not_sign_takes_nothing,
    service::tg05_a_hundred_at_once_get_one_certificate,
    service::tg17_a_lost_answer_is_given_again,
    service::tg20_what_hosts_would_refuse_leaves_no_reservation,
    service::tg21_nothing_is_issued_by_a_wrong_clock,
    service::tg22_numbers_of_lists_rise,
    service::what_waits_is_answered_before_the_end,
    log::tg24_every_certificate_is_in_the_log,
    log::tg16_a_log_that_the_registry_does_not_know_is_left_alone,
    killed::tg12_killed_at_every_step,
    killed::tg12_killed_at_any_moment,
}

fn run<F: Future<Output = ()>>(house: House, test: impl FnOnce(House) -> F) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test(house));
}
