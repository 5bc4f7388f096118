//! The vault of a setup, in a directory or in an engine.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tower_service::Service;

use crate::vault::file::{FileFuture, FileVault};
#[cfg(feature = "redis")]
use crate::vault::redis::RedisBackend;
#[cfg(feature = "redis")]
use crate::vault::seal::{Seal, SealFuture};
use crate::vault::{VaultError, VaultRequest, VaultResponse};

/// The vault of a [`Setup`](super::Setup). A clone is the same vault.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SetupVault {
    /// A vault in a directory.
    Directory(FileVault),
    /// A vault of many hosts, in a Redis or Valkey.
    #[cfg(feature = "redis")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
    Engine(Seal<RedisBackend>),
}

impl SetupVault {
    /// Returns the vault in a directory, if it is one.
    pub fn files(&self) -> Option<&FileVault> {
        match self {
            Self::Directory(files) => Some(files),
            #[cfg(feature = "redis")]
            Self::Engine(_) => None,
        }
    }

    /// Checks that a secret could be stored now. For programs that are about to let somebody sign in. Leaves nothing behind.
    ///
    /// # Errors
    /// Those of [`FileVault::check_writable`]; [`VaultError::Unreachable`] if the engine is away or a read-only replica.
    pub async fn check_writable(&self) -> Result<(), VaultError> {
        match self {
            Self::Directory(files) => files.check_writable().await,
            #[cfg(feature = "redis")]
            Self::Engine(vault) => vault.get_ref().check_writable().await,
        }
    }
}

impl Service<VaultRequest> for SetupVault {
    type Response = VaultResponse;
    type Error = VaultError;
    type Future = SetupVaultFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), VaultError>> {
        match self {
            Self::Directory(files) => files.poll_ready(cx),
            #[cfg(feature = "redis")]
            Self::Engine(vault) => vault.poll_ready(cx),
        }
    }

    fn call(&mut self, request: VaultRequest) -> SetupVaultFuture {
        SetupVaultFuture {
            state: match self {
                Self::Directory(files) => State::Directory { response: files.call(request) },
                #[cfg(feature = "redis")]
                Self::Engine(vault) => State::Engine { response: vault.call(request) },
            },
        }
    }
}

pin_project! {
    /// The future of a [`SetupVault`]'s response.
    #[must_use = "a future does nothing unless polled"]
    pub struct SetupVaultFuture {
        #[pin]
        state: State,
    }
}

#[cfg(feature = "redis")]
pin_project! {
    #[project = StateProj]
    #[allow(clippy::large_enum_variant, reason = "there is one for each call, and a box would cost more")]
    enum State {
        Directory { #[pin] response: FileFuture },
        Engine { #[pin] response: SealFuture<RedisBackend> },
    }
}

#[cfg(not(feature = "redis"))]
pin_project! {
    #[project = StateProj]
    enum State {
        Directory { #[pin] response: FileFuture },
    }
}

impl Future for SetupVaultFuture {
    type Output = Result<VaultResponse, VaultError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Directory { response } => response.poll(cx),
            #[cfg(feature = "redis")]
            StateProj::Engine { response } => response.poll(cx),
        }
    }
}

impl fmt::Debug for SetupVaultFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetupVaultFuture").finish_non_exhaustive()
    }
}
