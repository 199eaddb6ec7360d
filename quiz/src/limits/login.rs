//! How often passwords may be tried: per account and address, per address, and per account.
//!
//! An attempt is counted before the password is looked at, so that many at once are not all let through; a right password
//! takes its own count back, so that only wrong ones count. Unknown accounts count like known ones.

use super::{Limit, Who, refuse};
use crate::app::App;
use crate::client::Client;
use crate::db;
use crate::error::Error;

/// An attempt that has been counted.
pub struct Attempt<'a> {
    app: &'a App,
    shares: [(Limit, [u8; 32]); 3],
}

impl<'a> Attempt<'a> {
    /// Counts an attempt, or refuses it and counts nothing. `account` is the name as the database
    /// [folds](crate::db::users::Named::folded) it: by any other rule some spellings would bring tries of their own.
    ///
    /// The address comes first: who has used it up makes no rows for ever more invented accounts.
    pub async fn begin(app: &'a App, client: Client, account: &str) -> Result<Self, Error> {
        let address = Who::Address(client.share());
        let pair = Who::AccountAt(account.to_owned(), client.share());
        let account = Who::Account(account.to_owned());
        let share = |limit: Limit, who: &Who| (limit, who.key(limit));
        let attempt = Self {
            app,
            shares: [
                share(Limit::LoginAddress, &address),
                share(Limit::Login, &pair),
                share(Limit::LoginAccount, &account),
            ],
        };
        for (place, (limit, key)) in attempt.shares.iter().enumerate() {
            let Some(pace) = limit.quota(app).pace() else {
                continue;
            };
            if let Err(wait) = db::throttles::take(&app.db, key, pace).await? {
                attempt.give_back(&attempt.shares[..place]).await?;
                return Err(refuse(app, *limit, wait));
            }
        }
        Ok(attempt)
    }

    /// The password was right: the account starts anew at this address, and elsewhere nothing has happened.
    pub async fn succeeded(self) -> Result<(), Error> {
        let [address, (_, pair), account] = self.shares;
        db::throttles::forget(&self.app.db, &pair).await?;
        self.give_back(&[address, account]).await
    }

    /// Nobody has looked at the password.
    pub async fn cancelled(self) -> Result<(), Error> {
        self.give_back(&self.shares).await
    }

    async fn give_back(&self, shares: &[(Limit, [u8; 32])]) -> Result<(), Error> {
        for (limit, key) in shares {
            if let Some(pace) = limit.quota(self.app).pace() {
                db::throttles::give_back(&self.app.db, key, pace).await?;
            }
        }
        Ok(())
    }
}
