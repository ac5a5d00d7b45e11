//! The registry on SQLite and on PostgreSQL: the same tests on both.

mod carrying;
mod copies;
mod cut;
mod database;
mod disk;
mod issuing;
mod keeping;
mod made;
mod older;
mod purposes;
mod servers;
mod storage;
mod tokens;

use database::Database;

/// Each test twice.
macro_rules! on_both {
    ($($module:ident { $(#[test] fn $name:ident;)* })*) => {
        mod sqlite {
            $($(#[test] fn $name() { crate::run(crate::Database::sqlite(), crate::$module::$name); })*)*
        }
        mod postgresql {
            $($(#[test] fn $name() { crate::run(crate::Database::postgresql(), crate::$module::$name); })*)*
        }
    };
}

on_both! {
    issuing {
        #[test] fn tg02_one_serial_is_recorded_once;
        #[test] fn tg04_a_key_belongs_to_one_device;
        #[test] fn tg04_a_refused_request_claims_no_key;
        #[test] fn tg05_a_hundred_at_once_have_one_place;
        #[test] fn tg05_a_renewal_takes_the_place_of_the_current_one;
        #[test] fn tg05_what_expired_makes_room;
        #[test] fn tg12_what_a_dead_process_reserved_is_closed_and_its_serial_stays_taken;
        #[test] fn tg17_the_same_idempotency_key_gets_the_same_certificate;
        #[test] fn tg26_a_manufacturer_has_devices_of_its_own_orders;
        #[test] fn a_device_that_nobody_approved_gets_nothing;
        #[test] fn an_order_is_used_up_once_for_each_device;
    }
    carrying {
        #[test] fn what_is_exported_comes_back;
        #[test] fn tg24_what_contradicts_itself_or_what_is_here_is_not_imported;
        #[test] fn tg04_a_key_is_imported_for_one_device_and_purpose;
        #[test] fn tg23_a_revocation_is_imported_whatever_is_here;
        #[test] fn tg23_a_key_that_is_lost_is_imported_for_all_that_is_over_it;
        #[test] fn tg23_a_revocation_is_imported_over_a_certificate_that_was_not_finished_here;
        #[test] fn tg23_what_is_revoked_on_somebodys_word_is_exported;
        #[test] fn tg24_an_import_speaks_for_nobody_who_was_here;
        #[test] fn tg24_an_export_is_of_one_moment;
        #[test] fn a_quota_counts_what_is_imported;
    }
    copies {
        #[test] fn tg16_an_old_copy_is_noticed_and_issues_nothing_before_it_knows_what_the_log_has;
        #[test] fn tg16_what_was_imported_is_not_ended_by_the_log_that_tells_of_it_again;
        #[test] fn tg16_who_lost_the_log_says_so_and_goes_on;
        #[test] fn tg16_tg23_a_serial_that_is_not_recorded_is_revoked_on_somebodys_word;
    }
    older {
        #[test] fn tg32_a_schema_of_before_is_brought_up_to_date;
    }
    purposes {
        #[test] fn tg04_a_key_has_one_purpose;
        #[test] fn tg04_a_lost_key_gets_no_certificate_any_more;
        #[test] fn tg04_a_key_is_lost_also_where_its_certificate_was_revoked_before;
        #[test] fn tg05_what_changed_since_it_was_reserved_is_not_committed;
    }
    keeping {
        #[test] fn tg09_quotation_marks_are_kept_as_text;
        #[test] fn tg16_numbers_of_lists_rise_even_after_an_old_copy;
        #[test] fn tg23_a_second_revocation_changes_nothing;
        #[test] fn devices_are_found_and_paged;
        #[test] fn leaves_get_places_in_the_order_in_which_they_were_written;
    }
    tokens {
        #[test] fn a_token_passes_as_long_as_its_device_is_one;
        #[test] fn tables_and_devices_tables_are_kept_once_and_all_or_none;
        #[test] fn tg31_no_master_key_lies_open_and_no_validation_is_kept;
    }
    storage {
        #[test] fn tg32_a_newer_schema_is_refused;
        #[test] fn tg32_half_a_schema_is_refused;
        #[test] fn tg32_a_migration_that_fails_leaves_nothing;
        #[test] fn several_open_one_empty_database_at_once;
        #[test] fn whoever_asks_while_others_have_all_connections_gets_his_turn;
    }
}

fn run<F: Future<Output = ()>>(database: Database, test: impl FnOnce(Database) -> F) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test(database));
}
