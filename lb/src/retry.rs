//! Whether a failed attempt may be repeated on another backend. Pure: `proxy.rs` gathers the facts.

use http::Method;

/// Everything the decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Method of the request.
    pub method: &'a Method,
    /// Backends tried so far, the failed one included.
    pub tries: usize,
    /// Most backends for one request.
    pub max_tries: usize,
    /// A healthy backend is left that this request has not tried.
    pub has_untried: bool,
    /// Which try was the first to end in a read timeout: the backend took the request and kept silent.
    pub timed_out: Option<usize>,
    /// An earlier try was answered with an error that counts as one of the backend.
    pub answered: bool,
    /// How far the attempt came.
    pub phase: Phase,
}

/// How far an attempt came before it failed.
#[derive(Clone, Copy, Debug)]
pub enum Phase {
    /// No connection: the backend has seen nothing of the request.
    Connecting,
    /// Connected: the backend may have acted on the request.
    Proxying {
        /// The backend broke off or fell silent, rather than the client.
        upstream_failed: bool,
        /// The client has received part of a reply.
        reply_begun: bool,
        /// All of the body that was read so far is still in memory.
        body_kept: bool,
    },
    /// The backend has done its work and says that it failed.
    Answered {
        /// All of the body that was read so far is still in memory.
        body_kept: bool,
    },
}

/// Whether the request may be sent to another backend.
///
/// A request that never left may always be sent again. One that did may only if its method is safe by
/// definition and the client has seen nothing: PUT and DELETE are idempotent on paper, but a form is not where
/// we want to find out. After a read timeout there is one further try, whatever becomes of it: a backend that is
/// frozen must not cost a visitor the answer, but a request that is too slow must not be run, and waited for, on
/// every backend in turn. Unlike Pingora's default this also holds on a fresh connection, because a killed
/// front-end breaks fresh and reused connections alike.
///
/// After a reply that says that the backend failed there is one further try as well: one backend may be sick, but if two
/// say so it is the request, and the visitor may see it.
pub fn allowed(attempt: &Attempt<'_>) -> bool {
    if attempt.tries >= attempt.max_tries || !attempt.has_untried {
        return false;
    }
    if attempt.timed_out.is_some_and(|first| attempt.tries > first) {
        return false;
    }
    match attempt.phase {
        Phase::Connecting => true,
        Phase::Proxying {
            upstream_failed,
            reply_begun,
            body_kept,
        } => is_safe(attempt.method) && upstream_failed && !reply_begun && body_kept,
        Phase::Answered { body_kept } => is_safe(attempt.method) && !attempt.answered && body_kept,
    }
}

/// Whether a request may be run twice.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Phase = Phase::Proxying {
        upstream_failed: true,
        reply_begun: false,
        body_kept: true,
    };

    fn attempt(method: &Method, phase: Phase) -> Attempt<'_> {
        Attempt {
            method,
            tries: 1,
            max_tries: 3,
            has_untried: true,
            timed_out: None,
            answered: false,
            phase,
        }
    }

    #[test]
    fn what_was_never_sent_is_sent_again_whatever_the_method() {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::PATCH] {
            assert!(allowed(&attempt(&method, Phase::Connecting)), "{method}");
        }
    }

    #[test]
    fn only_safe_methods_are_replayed() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(allowed(&attempt(&method, LOST)), "{method}");
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            assert!(!allowed(&attempt(&method, LOST)), "{method}");
        }
    }

    #[test]
    fn nothing_is_replayed_once_the_client_saw_a_byte_or_the_body_is_lost_or_the_client_left() {
        let phase = |upstream_failed, reply_begun, body_kept| Phase::Proxying {
            upstream_failed,
            reply_begun,
            body_kept,
        };
        for phase in [
            phase(true, true, true),
            phase(true, false, false),
            phase(false, false, true),
        ] {
            assert!(!allowed(&attempt(&Method::GET, phase)), "{phase:?}");
        }
    }

    #[test]
    fn a_reply_that_says_the_backend_failed_is_believed_when_two_say_so() {
        let answered = |body_kept| Phase::Answered { body_kept };
        let second = |phase| Attempt {
            tries: 2,
            answered: true,
            ..attempt(&Method::GET, phase)
        };
        assert!(allowed(&attempt(&Method::GET, answered(true))));
        assert!(!allowed(&attempt(&Method::GET, answered(false))));
        assert!(!allowed(&attempt(&Method::POST, answered(true))));
        assert!(!allowed(&second(answered(true))));
        for phase in [LOST, Phase::Connecting] {
            assert!(allowed(&second(phase)), "{phase:?}");
        }
    }

    #[test]
    fn tries_are_bounded_and_need_a_backend() {
        let last = Attempt {
            tries: 3,
            ..attempt(&Method::GET, Phase::Connecting)
        };
        assert!(!allowed(&last));
        let alone = Attempt {
            has_untried: false,
            ..attempt(&Method::GET, LOST)
        };
        assert!(!allowed(&alone));
    }

    #[test]
    fn after_a_read_timeout_there_is_one_further_try() {
        let try_number = |tries, timed_out, phase| Attempt {
            tries,
            max_tries: 9,
            timed_out,
            ..attempt(&Method::GET, phase)
        };
        for first in [1, 2, 5] {
            assert!(allowed(&try_number(first, Some(first), LOST)), "{first}");
            for phase in [LOST, Phase::Connecting] {
                let next = try_number(first + 1, Some(first), phase);
                assert!(!allowed(&next), "{next:?}");
            }
        }
        let last = Attempt {
            max_tries: 2,
            ..try_number(2, Some(2), LOST)
        };
        assert!(!allowed(&last));
    }
}
