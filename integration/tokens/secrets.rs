//! Tokens are told to nobody, whatever becomes of them: a dendron that logs all that it can has some of every kind pass
//! by, asks about one, and hears on the stream of the end of others.

use libtest_mimic::Failed;
use serde_json::json;

use super::{SYNC, log_in_at, ok, sql};
use crate::harness::ensure;
use crate::harness::eventually::{SOON, eventually};
use crate::harness::http::Client;
use crate::harness::matrix::User;
use crate::harness::metrics::Metrics;
use crate::harness::stack::Stack;
use crate::login::edge::Edge;
use crate::login::synapse_address;

pub fn no_token_is_told(stack: &mut Stack) -> Result<(), Failed> {
    // One process by two names, so that there is a choice and it is of use to know whose a token is.
    let address = synapse_address(stack);
    let port = address.rsplit(':').next().unwrap_or_default();
    let settings = format!(
        "trusted_proxies: ['127.0.0.1']\npools: {{authentication: [], sync: ['127.0.0.1:{port}', 'localhost:{port}']}}\n"
    );
    let mut edge = Edge::with(stack, "tokens-secret", "", &settings)?;
    let client = Client::new(&format!("http://{}", edge.address));
    let user = User::register(&client, "secret")?;
    let refreshing = log_in_at(&user, &client, json!({ "refresh_token": true }))?;
    let known = log_in_at(&user, &client, json!({}))?;
    let opaque = User { token: format!("mct_opaque_{}", user.localpart()), ..known.clone() };
    sql(stack, &format!("UPDATE access_tokens SET token = '{}' WHERE token = '{}'", opaque.token, known.token))?;
    let wrong = User { token: "mct_nobodys_token".to_owned(), ..known.clone() };

    ok(&opaque, "GET", SYNC, &json!(null))?;
    client.get(&format!("{SYNC}&access_token={}", refreshing.token))?;
    ensure!(wrong.get(SYNC)?.status == 401, "a token of nobody's was taken");
    eventually(SOON, || {
        let learned = Metrics::scrape(edge.admin())?.sum("dendron_token_questions_total", &[("outcome", "learned")]);
        if learned > 0.0 { Ok(()) } else { Err("nothing was asked yet".into()) }
    })?;
    // Past the edge, which hears the token itself on the stream.
    let ended =
        || Ok::<_, Failed>(Metrics::scrape(edge.admin())?.sum("dendron_tokens_forgotten_total", &[("what", "token")]));
    let before = ended()?;
    ok(&opaque.through(&stack.client()), "POST", "/_matrix/client/v3/logout", &json!({}))?;
    eventually(SOON, || if ended()? > before { Ok(()) } else { Err("the logout was not heard of yet".into()) })?;
    ok(&refreshing, "POST", "/_matrix/client/v3/logout", &json!({}))?;

    let tokens = [user, refreshing, known, opaque, wrong].map(|user| user.token);
    edge.tells_none_of(&tokens).map(drop)
}
