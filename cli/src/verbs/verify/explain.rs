//! The checks told one by one, in the order in which a host makes them, each as a question and its answer.

use std::collections::BTreeSet;

use countersign_trust_store::{Anchors, Check, Outcome, Step, UnixTime};

use crate::shared::output::{Output, Paint};

/// Tells every check: what was asked, what was found, and which checks were not reached.
pub(in crate::verbs) fn print(
    checks: &[Check],
    steps: &[Step],
    anchors: &Anchors,
    time: UnixTime,
    output: &mut Output,
) {
    output.line(&format!("Judged as of {time}, with these roots:"));
    for anchor in anchors.iter() {
        let development = if anchor.is_development() {
            ", for development only"
        } else {
            ""
        };
        output.line(&format!(
            "  {}, valid {} to {}{development}",
            anchor.subject(),
            anchor.not_before(),
            anchor.not_after()
        ));
    }
    output.line("");
    let refused = steps
        .iter()
        .any(|step| matches!(step.outcome, Outcome::Refused(_)));
    let several = steps
        .iter()
        .filter_map(|step| step.signer)
        .collect::<BTreeSet<_>>()
        .len()
        > 1;
    for (index, check) in checks.iter().enumerate() {
        let mut answers: Vec<&Step> = steps.iter().filter(|step| step.check == *check).collect();
        // An answer that was taken back is not told.
        if let Some(refusal) = answers
            .iter()
            .copied()
            .find(|step| matches!(step.outcome, Outcome::Refused(_)))
        {
            answers.retain(|step| step.signer != refusal.signer || *step == refusal);
        }
        let (paint, word) = summary(&answers, refused);
        output.painted(
            paint,
            &format!("{word:<12}"),
            &format!("{:>2}. {}", index.saturating_add(1), check.question()),
        );
        for step in answers {
            let whose = match step.signer {
                Some(signer) if several => format!("signer {}: ", signer.saturating_add(1)),
                _ => String::new(),
            };
            output.painted(
                Paint::Dim,
                "                ",
                &format!("{whose}{}", step.detail),
            );
        }
    }
    output.line("");
}

/// One word for all answers to a question: the worst one. A question that nobody asked was not reached if the file
/// was refused before, and else had nothing to be asked of.
fn summary(answers: &[&Step], refused: bool) -> (Paint, &'static str) {
    if answers
        .iter()
        .any(|step| matches!(step.outcome, Outcome::Refused(_)))
    {
        (Paint::Bad, "REFUSED")
    } else if answers
        .iter()
        .any(|step| step.outcome == Outcome::NotCounted)
    {
        (Paint::Strong, "not counted")
    } else if !answers.is_empty() {
        (Paint::Good, "passed")
    } else if refused {
        (Paint::Dim, "not reached")
    } else {
        (Paint::Dim, "not asked")
    }
}
