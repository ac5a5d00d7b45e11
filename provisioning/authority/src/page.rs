//! The operator's page: devices, what ends soon, figures and the head of the audit log. It changes nothing.
//!
//! Made on the server, without scripts, for a screen of any width. Behind a password; a stranger is shown
//! the form and nothing else.

mod login;
mod views;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::http::App;

pub use login::{Login, hash_password};

/// The style of every page.
pub const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8885;--soft:#8881;--issued:#2f6fb5;--refused:#b5472f}\
@media(prefers-color-scheme:dark){:root{--issued:#6ea8e6;--refused:#e08a73}}\
*{box-sizing:border-box}\
body{font:16px/1.5 system-ui,sans-serif;margin:0;overflow-wrap:anywhere}\
header{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;padding:.75rem 1rem;border-bottom:1px solid var(--line);background:var(--soft)}\
nav{display:flex;flex-wrap:wrap;gap:.25rem 1rem}\
main{max-width:64rem;margin:0 auto;padding:0 1rem 2rem}\
h1{font-size:1.5rem;margin:1rem 0}h2{font-size:1.1rem;margin:1.75rem 0 .5rem}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.4rem .75rem .4rem 0;border-bottom:1px solid var(--line);vertical-align:top;min-width:5rem}\
thead th{font-size:.875rem}.facts th{width:12rem}\
.wide{overflow-x:auto}pre{overflow-x:auto;padding:.75rem;background:var(--soft)}\
code,pre{font:.875rem/1.5 ui-monospace,monospace}\
input,button,select{font:inherit;padding:.4rem .6rem;max-width:100%}\
label{display:block}label input{display:block;width:100%}\
.filter{display:flex;flex-wrap:wrap;gap:.75rem;align-items:end;margin-bottom:1rem}\
.counts{display:flex;flex-wrap:wrap;gap:.75rem;list-style:none;padding:0;margin:0}\
.counts li{border:1px solid var(--line);border-radius:.4rem;padding:.5rem .9rem;background:var(--soft)}\
.counts strong{display:block;font-size:1.5rem;line-height:1.2}\
.state{border:1px solid var(--line);border-radius:.4rem;padding:0 .4rem;white-space:nowrap}\
.state.revoked,.state.retired{border-color:var(--refused)}.state.issued,.state.approved{border-color:var(--issued)}\
figure{margin:0;max-width:40rem}svg{display:block;width:100%;height:auto}line{stroke:#8888;stroke-width:.5}\
.issued{fill:var(--issued)}.refused{fill:var(--refused)}\
.key{display:inline-block;width:.8em;height:.8em;border-radius:.15em}\
.key.issued{background:var(--issued)}.key.refused{background:var(--refused)}\
.login{max-width:20rem}.axis{display:flex;justify-content:space-between;font-size:.875rem}\
@media(max-width:40rem){.wide thead{position:absolute;left:-999rem}.facts th{width:9rem}\
.wide tbody tr{display:block;border-bottom:1px solid var(--line);padding:.5rem 0}.wide td{display:block;border:0;padding:.1rem 0}\
.wide td:empty{display:none}.wide td[data-label]::before{content:attr(data-label) ': '}}";

/// Its routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/page", get(views::overview))
        .route("/page/devices", get(views::devices))
        .route("/page/devices/{serial}", get(views::device))
        .route("/page/login", get(login::form).post(login::enter))
        .route("/page/logout", get(login::leave))
}
