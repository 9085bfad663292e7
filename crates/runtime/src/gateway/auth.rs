//! Basic authentication, compared in a time that tells nothing of how much was right.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

/// The user and password that are asked for.
#[derive(Clone)]
pub struct Auth {
    /// As they are sent: with a colon between.
    credentials: Vec<u8>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

impl Auth {
    /// Asks for this user and password.
    pub fn new(user: &str, password: &str) -> Self {
        Self { credentials: format!("{user}:{password}").into_bytes() }
    }

    /// Whether a request has them.
    pub(super) fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(sent) = headers.get(AUTHORIZATION).and_then(|sent| sent.to_str().ok()) else {
            return false;
        };
        let Some((scheme, sent)) = sent.split_once(' ') else { return false };
        scheme.eq_ignore_ascii_case("basic")
            && STANDARD.decode(sent.trim()).is_ok_and(|sent| is_same(&self.credentials, &sent))
    }
}

/// Looks at all of what was sent, wherever it differs.
fn is_same(expected: &[u8], sent: &[u8]) -> bool {
    let mut difference = expected.len() ^ sent.len();
    for (at, byte) in sent.iter().enumerate() {
        // Never empty: it has a colon.
        difference |= usize::from(expected[at % expected.len()] ^ byte);
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: Option<&str>, allowed: bool) {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().unwrap());
        }
        assert_eq!(Auth::new("admin", "se:cret").allows(&headers), allowed, "{header:?}");
    }

    #[test]
    fn only_the_right_user_and_password_are_let_in() {
        let basic = |credentials: &str| format!("Basic {}", STANDARD.encode(credentials));
        check(Some(&basic("admin:se:cret")), true);
        check(Some(&basic("admin:se:cret").replace("Basic", "basic")), true);
        for wrong in [
            "admin:secret",
            "admin:se:cre",
            "admin:se:crett",
            "",
            ":",
            "admin:se:cretadmin:se:cret",
        ] {
            check(Some(&basic(wrong)), false);
        }
        check(None, false);
        check(Some("Basic"), false);
        check(Some("Basic %%%"), false);
        check(Some(&basic("admin:se:cret").replace("Basic", "Bearer")), false);
    }

    #[test]
    fn the_password_is_in_no_log() {
        assert_eq!(format!("{:?}", Auth::new("admin", "secret")), "Auth { .. }");
    }
}
