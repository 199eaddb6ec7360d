//! Operators who have signed in at the status page. Kept in memory: a restart signs them out.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A working day.
const LASTS: Duration = Duration::from_hours(12);

/// Who signs in when there are more signs out the one who did so first.
const MOST: usize = 64;

/// Those who are signed in.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Session>>);

#[derive(Clone, Debug)]
struct Session {
    /// Proves that a form is one of ours.
    form_token: String,
    until: Instant,
}

impl Sessions {
    /// Signs somebody in, and returns the secret of the cookie.
    pub(super) fn begin(&self, now: Instant) -> String {
        let mut sessions = self.all();
        sessions.retain(|_, session| session.until > now);
        if sessions.len() >= MOST {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.until);
            let oldest = oldest.map(|(id, _)| id.clone());
            oldest.and_then(|id| sessions.remove(&id));
        }
        let id = secret();
        let session = Session {
            form_token: secret(),
            until: now + LASTS,
        };
        sessions.insert(id.clone(), session);
        id
    }

    /// What the forms of this session carry, if there is one.
    pub(super) fn form_token(&self, id: &str, now: Instant) -> Option<String> {
        let sessions = self.all();
        let session = sessions.get(id).filter(|session| session.until > now)?;
        Some(session.form_token.clone())
    }

    /// Signs somebody out.
    pub(super) fn end(&self, id: &str) {
        self.all().remove(id);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn secret() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_itself_and_when_too_many_came_after_it() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let first = sessions.begin(now);
        assert!(sessions.form_token(&first, now).is_some());
        assert!(sessions.form_token(&first, now + LASTS).is_none());
        let second = sessions.begin(now + Duration::from_secs(1));
        for _ in 1..MOST {
            sessions.begin(now + Duration::from_secs(2));
        }
        assert!(sessions.form_token(&first, now).is_none());
        assert!(sessions.form_token(&second, now).is_some());
        sessions.end(&second);
        assert!(sessions.form_token(&second, now).is_none());
    }
}
