//! Sign-in with another site: there and back.

use anyhow::anyhow;
use axum::extract::State;
use axum::response::Response;
use sqlx::Connection;

use super::Name;
use crate::app::App;
use crate::db;
use crate::db::users::Credentials;
use crate::error::Error;
use crate::flash::Flash;
use crate::params::Params;
use crate::sign_in::{ATTEMPT_TTL, Attempt, Failure, Profile, Provider};
use crate::visitor::Visitor;

/// Longest code of a provider's error that is logged; RFC 6749 has none longer than `unsupported_response_type`.
const MAX_LOGGED_CHARS: usize = 40;

/// `GET /auth/{provider}`: sends the visitor to the provider's page.
pub async fn start(
    State(app): State<App>,
    Name(provider): Name,
    visitor: Visitor,
) -> Result<Response, Error> {
    let provider = app.sign_in.provider(&provider).ok_or(Error::NotFound)?;
    match provider.start().await {
        Ok((url, attempt)) => Ok(visitor.leave_for(url.as_str(), attempt.text(), ATTEMPT_TTL)),
        Err(failure) => Ok(refuse(visitor, provider, &failure)),
    }
}

/// `GET /auth/{provider}/callback`: the provider sends the visitor back, with a code or with an error.
pub async fn callback(
    State(app): State<App>,
    Name(provider): Name,
    params: Params,
    mut visitor: Visitor,
) -> Result<Response, Error> {
    let provider = app.sign_in.provider(&provider).ok_or(Error::NotFound)?;
    let attempt = visitor.take_attempt();
    let profile = match read(provider, attempt.as_deref(), &params) {
        Ok((attempt, code)) => provider.finish(attempt, code).await,
        Err(failure) => Err(failure),
    };
    let profile = match profile {
        Ok(profile) => profile,
        Err(failure) => return Ok(refuse(visitor, provider, &failure)),
    };
    let Some(user_id) = find_or_create(&app, provider, &profile).await? else {
        tracing::info!(
            provider = provider.id,
            "signed in by somebody without an account"
        );
        return Ok(visitor.redirect("/login", &[Flash::NoAccount]));
    };
    let user = Credentials {
        user_id,
        password_hash: None,
    };
    if !visitor.log_in(&user).await? {
        // Deleted in this very moment.
        return Ok(visitor.redirect("/login", &[Flash::LoginFailed]));
    }
    Ok(visitor.redirect("/goback", &[Flash::Welcome]))
}

/// The attempt of this browser and the code that the provider gave for it.
fn read<'p>(
    provider: &Provider,
    attempt: Option<&str>,
    params: &'p Params,
) -> Result<(Attempt, &'p str), Failure> {
    let refused = |reason: String| Failure::Refused(anyhow!(reason));
    let attempt = attempt
        .and_then(Attempt::parse)
        .ok_or_else(|| refused("this browser has made no attempt".to_owned()))?;
    attempt.check(provider, params.get("state").unwrap_or_default())?;
    if let Some(error) = params.get("error") {
        let error: String = error.chars().take(MAX_LOGGED_CHARS).collect();
        return Err(refused(format!("the provider says {error:?}")));
    }
    let code = params.get("code");
    let code = code.ok_or_else(|| refused("there is no code".to_owned()))?;
    Ok((attempt, code))
}

async fn find_or_create(
    app: &App,
    provider: &Provider,
    profile: &Profile,
) -> Result<Option<i64>, Error> {
    let mut connection = app.db.acquire().await?;
    let mut transaction = connection.begin().await?;
    let user_id = db::identities::find_or_create(
        &mut transaction,
        provider.id,
        &profile.subject,
        &profile.name,
        app.sign_in.creates_accounts,
    )
    .await?;
    transaction.commit().await?;
    Ok(user_id)
}

/// Back to the log-in page, not to the provider: who refuses there would be asked again for ever.
fn refuse(visitor: Visitor, provider: &Provider, failure: &Failure) -> Response {
    let provider = provider.id;
    let message = match failure {
        Failure::Unavailable(reason) => {
            tracing::warn!(provider, error = format!("{reason:#}"), "{failure}");
            Flash::ProviderUnavailable
        }
        Failure::Refused(reason) => {
            tracing::info!(provider, error = format!("{reason:#}"), "{failure}");
            Flash::LoginFailed
        }
    };
    visitor.redirect("/login", &[message])
}
