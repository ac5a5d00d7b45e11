//! An answer that holds for a while, so that many who ask cost no more than one.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// The last answer, and when it was given.
#[derive(Debug)]
pub(super) struct Recent<T> {
    life: Duration,
    last: Mutex<Option<(Instant, T)>>,
}

impl<T: Copy> Recent<T> {
    pub(super) fn new(life: Duration) -> Self {
        Self {
            life,
            last: Mutex::new(None),
        }
    }

    /// The last answer, or a new one when that is old. Who comes while one is found waits for it.
    pub(super) async fn get(&self, find: impl AsyncFnOnce() -> T) -> T {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = *last
            && at.elapsed() < self.life
        {
            return answer;
        }
        let answer = find().await;
        *last = Some((Instant::now(), answer));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn tg11_many_questions_are_one_until_the_answer_is_old() {
        let asked = Cell::new(0);
        let find = async || {
            asked.set(asked.get() + 1);
            asked.get()
        };
        let held = Recent::new(Duration::from_secs(3600));
        for _ in 0..3 {
            assert_eq!(held.get(find).await, 1);
        }
        let forgotten = Recent::new(Duration::ZERO);
        assert_eq!(forgotten.get(find).await, 2);
        assert_eq!(forgotten.get(find).await, 3);
    }
}
