//! The operator's page: devices, what ends soon, figures and the head of the audit log. It changes nothing.
//!
//! Made on the server, without scripts, for a screen of any width. Behind a password ([`login`]); a stranger is shown
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
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;margin:0}\
main{max-width:60rem;margin:0 auto;padding:1rem}\
nav a{margin-right:1rem}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #8884;vertical-align:top;overflow-wrap:anywhere}\
.wide{overflow-x:auto}\
input,button,select{font:inherit;padding:.3rem .5rem;max-width:100%;box-sizing:border-box}\
h2{font-size:1.1rem}pre{overflow-x:auto}.bar{fill:#4a7ebb}.bad{fill:#c0504d}.note{opacity:.7}";

/// Its routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/page", get(views::overview))
        .route("/page/devices", get(views::devices))
        .route("/page/devices/{serial}", get(views::device))
        .route("/page/login", get(login::form).post(login::enter))
        .route("/page/logout", get(login::leave))
}
