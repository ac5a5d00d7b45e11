//! What was refused last, with the time, for receipts. All of it is in the audit log, which no stick brings home.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use countersign_format::{ReceiptRefusal, limits};

use crate::admission::Refusal;
use crate::metrics;

/// Most that are kept: as many as a receipt has room for.
const KEPT: u64 = limits::MAX_RECEIPT_REFUSALS;

static LAST: Mutex<VecDeque<ReceiptRefusal>> = Mutex::new(VecDeque::new());

/// Counts and keeps a refusal of a service's component, or of a bundle where the name is empty.
pub(crate) fn note(service: &str, refusal: &Refusal) {
    metrics::refused(refusal);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    last.push_back(ReceiptRefusal {
        at: countersign_roots::system_time().as_secs(),
        service: service.to_owned(),
        code: refusal.code.unwrap_or_default().to_owned(),
        why: reason(&refusal.why),
    });
    while u64::try_from(last.len()).is_ok_and(|kept| kept > KEPT) {
        last.pop_front();
    }
}

/// Those that are kept, oldest first.
pub(crate) fn last() -> Vec<ReceiptRefusal> {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    last.iter().cloned().collect()
}

/// As much of a reason as a receipt has room for.
pub(crate) fn reason(why: &str) -> String {
    let most = usize::try_from(limits::MAX_RECEIPT_TEXT_BYTES).unwrap_or(usize::MAX);
    why[..why.floor_char_boundary(most)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn te29_the_last_refusals_are_kept_and_no_more() {
        let refusal = |number: usize| {
            let why = format!("{number} {}", "é".repeat(1_000));
            Refusal::without_code(why, "")
        };
        for number in 0..200 {
            note("pump", &refusal(number));
        }
        let kept = last();
        assert_eq!(u64::try_from(kept.len()), Ok(KEPT));
        let newest = kept.last().expect("one");
        assert!(newest.why.starts_with("199 é"), "{newest:?}");
        assert!(newest.why.len() <= 512 && newest.at > 0, "{newest:?}");
    }
}
