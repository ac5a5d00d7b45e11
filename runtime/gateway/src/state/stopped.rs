//! What stopped the compiler: a component that would keep it busy for minutes again is refused at once.
//!
//! It stands in the sealed memory, by what was compiled and what that was allowed: another file, another build and other settings
//! are tried. Time on the clock passes while others compute, so it counts only when it was too short again and again.

use std::collections::BTreeMap;

use countersign_runtime::CompileLimit;
use serde::{Deserialize, Serialize};

/// Most of them that are remembered.
const MOST: usize = 256;

/// How often the time on the clock must have been too short.
const TIMES: u32 = 3;

/// What stopped the compiler, by what it compiled and was allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stopped(BTreeMap<String, Once>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Once {
    why: String,
    times: u32,
    /// Whether it would be so again.
    certain: bool,
    /// Which writing of the memory it came with.
    order: u64,
}

impl Stopped {
    /// Puts down that `work` was stopped, with the writing `order` of the memory. What another program on the machine may have
    /// caused is not put down.
    pub(super) fn note(&mut self, work: &str, why: &str, by: CompileLimit, order: u64) {
        let certain = match by {
            CompileLimit::Cpu | CompileLimit::Memory => true,
            CompileLimit::Time => false,
            _ => return,
        };
        let once = self.0.entry(work.to_owned()).or_insert(Once {
            why: String::new(),
            times: 0,
            certain: false,
            order,
        });
        why.clone_into(&mut once.why);
        once.times = once.times.saturating_add(1);
        once.certain |= certain;
        once.order = order;
        while self.0.len() > MOST {
            let oldest = self.0.iter().min_by_key(|(_, once)| once.order);
            let Some(oldest) = oldest.map(|(work, _)| work.clone()) else {
                return;
            };
            self.0.remove(&oldest);
        }
    }

    /// What stopped this, if it is not to be tried again.
    pub(super) fn of(&self, work: &str) -> Option<&str> {
        let once = self.0.get(work)?;
        (once.certain || once.times >= TIMES).then_some(&*once.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn te14_what_stopped_the_compiler_is_remembered_if_it_would_again() {
        let mut stopped = Stopped::default();
        stopped.note("a", "processor time", CompileLimit::Cpu, 1);
        assert_eq!(stopped.of("a"), Some("processor time"));
        assert_eq!(stopped.of("b"), None);
        stopped.note("b", "killed", CompileLimit::System, 2);
        for time in 0..TIMES {
            assert_eq!(stopped.of("b"), None, "{time}");
            stopped.note("b", "time", CompileLimit::Time, 3);
        }
        assert_eq!(stopped.of("b"), Some("time"));
        // The oldest go.
        for order in 0..300 {
            stopped.note(&format!("c{order}"), "x", CompileLimit::Memory, 10 + order);
        }
        assert_eq!((stopped.0.len(), stopped.of("a")), (MOST, None));
        assert_eq!(stopped.of("c299"), Some("x"));
    }
}
