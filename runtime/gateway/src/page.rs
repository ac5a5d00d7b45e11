//! The status page: what runs, who signed it and until when; what was refused, why, and what to do.
//!
//! Made on the server, without scripts, for a screen of any width, and in words for whoever stands before the machine. It changes
//! nothing. What comes from a file is a stranger's: it is escaped twice, for the page and for what an eye cannot see.

use countersign_hosting::printable;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::service::{Doing, Status};
use crate::view::{Overview, Phase, Trust};

/// How often a browser asks again, in seconds.
const AGAIN: u32 = 30;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8885;--soft:#8881;--good:#2e7d4f;--wait:#8a6100;--bad:#b5372f}\
@media(prefers-color-scheme:dark){:root{--good:#6fcf97;--wait:#e5b75b;--bad:#f08a80}}\
*{box-sizing:border-box}\
body{font:16px/1.5 system-ui,sans-serif;margin:0;overflow-wrap:anywhere}\
main{max-width:48rem;margin:0 auto;padding:0 1rem 2rem}\
h1{font-size:1.5rem;margin:1rem 0 .25rem}h2{font-size:1.1rem;margin:1.75rem 0 .5rem}h3{font-size:1rem;margin:0}\
article{border:1px solid var(--line);border-left:.35rem solid var(--line);border-radius:.4rem;padding:.6rem .9rem;margin:.75rem 0;background:var(--soft)}\
article.good{border-left-color:var(--good)}article.wait{border-left-color:var(--wait)}article.bad{border-left-color:var(--bad)}\
.good strong{color:var(--good)}.wait strong{color:var(--wait)}.bad strong{color:var(--bad)}\
dl{display:grid;grid-template-columns:8rem 1fr;gap:.1rem .75rem;margin:.4rem 0 0}dt{font-size:.875rem}dd{margin:0}\
code{font:.875rem/1.5 ui-monospace,monospace}\
@media(max-width:30rem){dl{display:block}dt{margin-top:.3rem}}";

/// The page.
pub(crate) fn page(overview: &Overview, trust: &Trust) -> Markup {
    let is_refused = |service: &&Status| matches!(service.doing, Doing::Refused(_));
    let refused = overview.services.iter().filter(is_refused).count();
    let all = overview.services.len();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content=(AGAIN);
                title { "Countersign gateway" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Countersign gateway" }
                    p {
                        (match overview.phase {
                            Phase::Starting => "It is starting. ",
                            Phase::Running => "",
                            Phase::Reloading => "It is reading its configuration again. ",
                            Phase::Stopping => "It is stopping. ",
                        })
                        @if refused == 0 {
                            "Nothing was refused: all " (all) " services are looked after."
                        } @else {
                            (refused) " of " (all) " services were refused. Below is why, and what to do."
                        }
                    }
                    h2 { "Services" }
                    @for service in overview.services.iter().filter(is_refused) { (card(service)) }
                    @for service in overview.services.iter().filter(|service| !is_refused(service)) { (card(service)) }
                    h2 { "Whom this machine trusts" }
                    @for root in &trust.roots {
                        article {
                            h3 { (printable(&root.subject)) }
                            dl { (row("a root, until", &root.valid_until)) (row("key, SHA-256", &root.spki_sha256)) }
                        }
                    }
                    @for list in &trust.lists {
                        article {
                            h3 { "Revocation list of " (printable(&list.issuer)) }
                            dl { (row("number", &list.number)) (row("made", &list.made)) (row("good until", &list.valid_until)) }
                        }
                    }
                    h2 { "This machine" }
                    dl {
                        (row("time", &overview.now))
                        @if trust.clock.from != "clock" {
                            (row("clock", "wrong: it is behind a time that has certainly passed, which is used instead; set it"))
                        }
                        (row("certainly past", &overview.floor))
                        (row("file system", &overview.confinement.files.to_string()))
                        (row("system calls", &overview.confinement.calls.to_string()))
                        (row("version", env!("CARGO_PKG_VERSION")))
                    }
                }
            }
        }
    }
}

fn card(service: &Status) -> Markup {
    let (class, state) = match &service.doing {
        Doing::Starting => ("wait", "starts"),
        Doing::Running { healthy: true, .. } => ("good", "runs"),
        Doing::Running { healthy: false, .. } => ("wait", "runs, and has not proved healthy yet"),
        Doing::Waiting { .. } => ("wait", "ended, and will be started again"),
        Doing::Ended { .. } => ("wait", "ended"),
        Doing::Scheduled { .. } => ("good", "runs when it is due"),
        Doing::Refused(_) => ("bad", "refused: nothing of it runs"),
    };
    html! {
        article class=(class) {
            h3 { (service.name) ": " strong { (state) } }
            dl {
                @if let Doing::Refused(refusal) = &service.doing {
                    (row("why", &refusal.why))
                    (row("what to do", &refusal.next))
                    @if let Some(code) = refusal.code { dt { "code" } dd { code { (code) } } }
                }
                @if let Some(facts) = &service.facts {
                    (row("component", &format!("{} {}", facts.component, facts.version)))
                    (row("signed by", &facts.signers.join(" and ")))
                    (row("signature good until", &facts.valid_until))
                }
                @match &service.doing {
                    Doing::Running { since, .. } => { (row("since", since)) },
                    Doing::Waiting { ended, .. } | Doing::Ended { ended } => { (row("last time, it", ended)) },
                    Doing::Scheduled { due, ended, missed, .. } => {
                        @if let Some(due) = due { (row("due", due)) }
                        @if let Some(ended) = ended { (row("last time, it", ended)) }
                        @if *missed > 0 { (row("missed", &missed.to_string())) }
                    },
                    Doing::Starting | Doing::Refused(_) => {},
                }
                @if let Some(newer) = &service.newer { (row("note", newer)) }
                @if service.starts > 1 { (row("starts", &service.starts.to_string())) }
            }
        }
    }
}

fn row(name: &str, text: &str) -> Markup {
    html! { dt { (name) } dd { (printable(text)) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Refusal;

    #[test]
    fn te28_what_a_stranger_wrote_is_text_and_nothing_else() {
        let hostile = "<script>alert(1)</script>\u{202e}\u{1b}[2J\"'&";
        let status = Status {
            newer: Some(hostile.to_owned()),
            doing: Doing::Refused(Refusal {
                code: Some("expired"),
                ..Refusal::without_code(hostile.to_owned(), hostile)
            }),
            ..crate::service::refused("pump", Refusal::not_tried())
        };
        let text = card(&status).into_string();
        assert!(!text.contains("<script"), "{text}");
        assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text}");
        assert_eq!(text.matches("&lt;script&gt;").count(), 3, "{text}");
        assert!(
            text.contains("<strong>refused: nothing of it runs</strong>"),
            "{text}"
        );
    }
}
