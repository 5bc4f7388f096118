//! The records of what was granted to whom.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::rules::{Rules, Vendor};

/// The requests that a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Code,
    Refresh,
    /// A device requests its code.
    Device,
    /// A device polls for its tokens.
    DevicePoll,
    /// An exchange of GitHub's token for Copilot's.
    Exchange,
    LinkPoll,
    Resource,
}

/// A refusal in the standard's words.
pub(super) type No = (&'static str, String);

pub(super) fn no(code: &'static str, words: impl Into<String>) -> No {
    (code, words.into())
}

/// Tokens that stem from one sign-in. They end together.
struct Family {
    person: String,
    revoked: bool,
    /// The last tokens, the refresh token that was exchanged for them, and when.
    last: Option<(Pair, String, Duration)>,
}

#[derive(Clone)]
pub(super) struct Pair {
    pub(super) access: String,
    pub(super) refresh: Option<String>,
    pub(super) person: String,
}

struct Code {
    challenge: String,
    redirect_uri: String,
    state: String,
    person: String,
    /// The family that it began.
    used: Option<usize>,
}

struct Device {
    user_code: String,
    challenge: Option<String>,
    /// Who has typed it in, and whether they consented.
    typed: Option<(String, bool)>,
    interval: Duration,
    asked_at: Option<Duration>,
    expires_at: Duration,
    used: bool,
}

struct Link {
    verifier: String,
    person: String,
}

pub(super) struct Books {
    resource_heads: Vec<HeaderMap>,
    began: Instant,
    older: Duration,
    families: Vec<Family>,
    codes: HashMap<String, Code>,
    devices: HashMap<String, Device>,
    links: HashMap<String, Link>,
    /// The family and the expiry of each access token.
    access: HashMap<String, (usize, Duration)>,
    /// The family of each refresh token, and whether it is spent.
    refresh: HashMap<String, (usize, bool)>,
    asked: HashMap<Kind, usize>,
    granted: HashMap<Kind, usize>,
    reuses: usize,
    issued: Vec<String>,
    token_requests: Vec<String>,
}

impl Books {
    pub(super) fn new() -> Self {
        Self {
            resource_heads: Vec::new(),
            began: Instant::now(),
            older: Duration::ZERO,
            families: Vec::new(),
            codes: HashMap::new(),
            devices: HashMap::new(),
            links: HashMap::new(),
            access: HashMap::new(),
            refresh: HashMap::new(),
            asked: HashMap::new(),
            granted: HashMap::new(),
            reuses: 0,
            issued: Vec::new(),
            token_requests: Vec::new(),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed() + self.older
    }

    pub(super) fn advance(&mut self, duration: Duration) {
        self.older += duration;
    }

    /// Records the head of a request for the resource.
    pub(super) fn resource_asked(&mut self, headers: &HeaderMap) {
        self.resource_heads.push(headers.clone());
    }

    pub(super) fn resource_heads(&self) -> &[HeaderMap] {
        &self.resource_heads
    }

    pub(super) fn ask(&mut self, kind: Kind) {
        *self.asked.entry(kind).or_default() += 1;
    }

    fn grant(&mut self, kind: Kind) {
        *self.granted.entry(kind).or_default() += 1;
    }

    pub(super) fn asked(&self, kind: Kind) -> usize {
        self.asked.get(&kind).copied().unwrap_or_default()
    }

    pub(super) fn granted(&self, kind: Kind) -> usize {
        self.granted.get(&kind).copied().unwrap_or_default()
    }

    pub(super) fn reuses(&self) -> usize {
        self.reuses
    }

    pub(super) fn issued(&self) -> &[String] {
        &self.issued
    }

    pub(super) fn token_requests(&self) -> &[String] {
        &self.token_requests
    }

    pub(super) fn token_request(&mut self, body: String) {
        self.token_requests.push(body);
    }

    pub(super) fn revoke_all(&mut self) {
        self.families.iter_mut().for_each(|family| family.revoked = true);
    }

    /// Returns a secret of this kind, different from all others.
    pub(super) fn issue(&mut self, sort: &str) -> String {
        let number = tower_credentials::CredentialId::random();
        let secret = format!("{sort}-{number}");
        self.issued.push(secret.clone());
        secret
    }

    pub(super) fn code(
        &mut self,
        challenge: String,
        redirect_uri: String,
        state: String,
        person: String,
    ) -> String {
        let code = self.issue("code");
        self.codes.insert(code.clone(), Code { challenge, redirect_uri, state, person, used: None });
        code
    }

    /// Exchanges a code (RFC 6749, section 4.1.3; RFC 7636, section 4.6). `state` if the vendor requires it.
    pub(super) fn exchange_code(
        &mut self,
        rules: &Rules,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
        state: Option<&str>,
    ) -> Result<Pair, No> {
        let known = self.codes.get(code).ok_or_else(|| no("invalid_grant", "no such code"))?;
        if let Some(family) = known.used {
            self.families[family].revoked = true;
            return Err(no("invalid_grant", format!("the code {code} was used before")));
        }
        if known.challenge != challenge(verifier)? {
            return Err(no("invalid_grant", format!("the verifier {verifier} is not this code's")));
        }
        if known.redirect_uri != redirect_uri {
            return Err(no("invalid_grant", "the redirect_uri is not this code's"));
        }
        if state.is_some_and(|state| state != known.state) {
            return Err(no("invalid_grant", "the state is not this code's"));
        }
        let pair = self.begin(rules, known.person.clone());
        let family = self.families.len() - 1;
        self.codes.get_mut(code).expect("it was there").used = Some(family);
        self.grant(Kind::Code);
        Ok(pair)
    }

    /// The first tokens of a new family.
    fn begin(&mut self, rules: &Rules, person: String) -> Pair {
        self.families.push(Family { person, revoked: false, last: None });
        let family = self.families.len() - 1;
        if rules.vendor == Vendor::Copilot && rules.github_lifetime.is_none() {
            return self.pair(rules, family, None);
        }
        let refresh = self.issue("refresh");
        self.pair(rules, family, Some(refresh))
    }

    fn pair(&mut self, rules: &Rules, family: usize, refresh: Option<String>) -> Pair {
        let access = self.issue("access");
        let lifetime = match rules.vendor {
            Vendor::Copilot => rules.github_lifetime.unwrap_or(Duration::from_secs(u32::MAX.into())),
            _ => rules.access_lifetime,
        };
        self.access.insert(access.clone(), (family, self.now() + lifetime));
        if let Some(refresh) = &refresh {
            self.refresh.insert(refresh.clone(), (family, false));
        }
        Pair { access, refresh, person: self.families[family].person.clone() }
    }

    /// Renews tokens (RFC 6749, section 6; RFC 9700, section 4.14.2).
    pub(super) fn refresh(&mut self, rules: &Rules, token: &str) -> Result<Pair, No> {
        let now = self.now();
        let known = self.refresh.get(token);
        let (family, spent) = *known.ok_or_else(|| no("invalid_grant", format!("unknown: {token}")))?;
        if self.families[family].revoked {
            return Err(no("invalid_grant", format!("the session of {token} has ended")));
        }
        if spent {
            let last = self.families[family].last.as_ref().filter(|(_, given_for, at)| {
                given_for == token && rules.grace.is_some_and(|grace| now <= *at + grace)
            });
            if let Some(pair) = last.map(|(pair, ..)| pair.clone()) {
                self.grant(Kind::Refresh);
                return Ok(pair);
            }
            self.reuses += 1;
            self.families[family].revoked = true;
            return Err(no("refresh_token_reused", format!("{token} was used before")));
        }
        let pair = if rules.rotates {
            self.refresh.insert(token.to_owned(), (family, true));
            let next = self.issue("refresh");
            self.pair(rules, family, Some(next))
        } else {
            self.pair(rules, family, None)
        };
        self.families[family].last = Some((pair.clone(), token.to_owned(), now));
        self.grant(Kind::Refresh);
        Ok(pair)
    }

    /// Returns whose valid access token this is.
    pub(super) fn whose(&self, access: &str) -> Option<&str> {
        let (family, expires_at) = self.access.get(access)?;
        let family = &self.families[*family];
        (!family.revoked && self.now() < *expires_at).then_some(&family.person)
    }

    /// Makes a device's code, and the code to type in.
    pub(super) fn device(&mut self, rules: &Rules, challenge: Option<String>) -> (String, String) {
        let device_code = self.issue("device");
        let user_code = format!("USER-{:04}", self.devices.len());
        let interval = Duration::from_secs(rules.device_interval.unwrap_or(5));
        let expires_at = self.now() + rules.device_lifetime;
        let device = Device {
            user_code: user_code.clone(),
            challenge,
            typed: None,
            interval,
            asked_at: Some(self.now()),
            expires_at,
            used: false,
        };
        self.devices.insert(device_code.clone(), device);
        self.grant(Kind::Device);
        (device_code, user_code)
    }

    pub(super) fn type_in(&mut self, user_code: &str, person: String, yes: bool) {
        let device = self.devices.values_mut().find(|device| device.user_code == user_code);
        device.expect("there is such a code").typed = Some((person, yes));
    }

    /// Polls for the tokens of a device (RFC 8628, section 3.5). A device that polls too soon is told to slow down, and
    /// must.
    pub(super) fn poll_device(
        &mut self,
        rules: &Rules,
        device_code: &str,
        verifier: Option<&str>,
    ) -> Result<Pair, No> {
        let now = self.now();
        let device = self.devices.get_mut(device_code);
        let device = device.ok_or_else(|| no("invalid_grant", "no such device code"))?;
        // The clock may be read a little early at either end.
        let is_early =
            device.asked_at.is_some_and(|at| now + Duration::from_millis(50) < at + device.interval);
        device.asked_at = Some(now);
        if device.used {
            return Err(no("invalid_grant", "the device code was used before"));
        }
        if now >= device.expires_at {
            return Err(no("expired_token", "the device code has expired"));
        }
        if let Some(expected) = &device.challenge {
            let verifier = verifier.ok_or_else(|| no("invalid_request", "no code_verifier"))?;
            if *expected != challenge(verifier)? {
                return Err(no("invalid_grant", "the verifier is not this device's"));
            }
        }
        if is_early {
            device.interval += Duration::from_secs(5);
            return Err(no("slow_down", "asked too soon"));
        }
        match device.typed.clone() {
            None => Err(no("authorization_pending", "nobody has typed it in")),
            Some((_, false)) => Err(no("access_denied", "the person said no")),
            Some((person, true)) => {
                device.used = true;
                let pair = self.begin(rules, person);
                self.grant(Kind::DevicePoll);
                Ok(pair)
            }
        }
    }

    /// A person has opened a link and signed in.
    pub(super) fn link(&mut self, uuid: &str, verifier: &str, person: String) {
        let link = Link { verifier: verifier.to_owned(), person };
        self.links.insert(uuid.to_owned(), link);
    }

    pub(super) fn poll_link(&mut self, rules: &Rules, uuid: &str, verifier: &str) -> Option<Pair> {
        if self.links.get(uuid)?.verifier != verifier {
            return None;
        }
        let link = self.links.remove(uuid)?;
        self.grant(Kind::LinkPoll);
        Some(self.begin(rules, link.person))
    }

    /// Exchanges GitHub's token for Copilot's.
    pub(super) fn exchange(&mut self, rules: &Rules, github: &str) -> Option<Pair> {
        self.whose(github)?;
        let family = self.access.get(github)?.0;
        let pair = self.pair(rules, family, None);
        self.access.insert(pair.access.clone(), (family, self.now() + rules.access_lifetime));
        self.grant(Kind::Exchange);
        Some(pair)
    }
}

/// Returns the challenge of a verifier (RFC 7636, section 4.2).
fn challenge(verifier: &str) -> Result<String, No> {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(is_unreserved) {
        return Err(no("invalid_request", "the code_verifier is none"));
    }
    Ok(BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)))
}
