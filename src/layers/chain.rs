//! Layers that stand directly one on the other.
//!
//! Nothing can happen between two of them, so it does not matter which of them does a job. The
//! outermost one that can send again does them all, and the others only pass the request through: four
//! layers cost little more than one. Which layers those are it learns from its first request, on which
//! each does its own job, and which comes to the same.

use std::sync::{Arc, Mutex, PoisonError};

use super::context::Roles;
use super::duty::sealed;
use super::refresh_on_401::RefreshOptions;
use super::rotate_on_429::RotateOptions;

/// Whether a service is one of our layers, by the name of its type: then its `call` is ours, and what
/// it must know can be passed without a place in the request. A wrong no only costs time.
pub(super) fn is_ours<S>() -> bool {
    let name = std::any::type_name::<S>();
    [
        concat!(env!("CARGO_CRATE_NAME"), "::layers::auth_header::AuthHeader<"),
        concat!(env!("CARGO_CRATE_NAME"), "::layers::rotate_on_429::RotateOn429<"),
        concat!(env!("CARGO_CRATE_NAME"), "::layers::refresh_on_401::RefreshOn401<"),
        concat!(env!("CARGO_CRATE_NAME"), "::layers::cooldown_persist::CooldownPersist<"),
        concat!(env!("CARGO_CRATE_NAME"), "::layers::credentials::Credentials<"),
    ]
    .iter()
    .any(|ours| name.starts_with(ours))
}

/// What the layers of a chain do together. Fixed with their services' types and settings.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) roles: Roles,
    pub(super) rotate: Option<RotateOptions>,
    pub(super) refresh: Option<RefreshOptions>,
}

/// A chain that its layers are asked for, from the outermost to the innermost.
#[derive(Clone, Debug)]
pub(crate) struct Survey(Arc<Mutex<Chain>>);

impl Survey {
    pub(super) fn begin<D: sealed::Duty>(options: &D::Options) -> Self {
        let survey =
            Self(Arc::new(Mutex::new(Chain { roles: Roles::NONE, rotate: None, refresh: None })));
        survey.add::<D>(options);
        survey
    }

    /// Adds what a layer does. Of two that do the same, the outer one's settings count.
    pub(super) fn add<D: sealed::Duty>(&self, options: &D::Options) {
        self.add_chain(&Chain {
            roles: D::ROLES,
            rotate: D::rotate(options).cloned(),
            refresh: D::refresh(options).cloned(),
        });
    }

    /// Adds what a layer drives already.
    pub(super) fn add_chain(&self, inner: &Chain) {
        let mut chain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chain.roles = chain.roles.with(inner.roles);
        chain.rotate = chain.rotate.take().or_else(|| inner.rotate.clone());
        chain.refresh = chain.refresh.take().or_else(|| inner.refresh.clone());
    }

    pub(super) fn end(&self) -> Chain {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
