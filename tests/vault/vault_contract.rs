//! What the tests of the vaults put into them.

#![allow(unused_imports, reason = "each crate of tests uses a part")]

pub(crate) use tower_credentials::conformance::every_promise;
pub(crate) use tower_credentials::conformance::fixtures::{
    PLANTED, account, cooled, order, poll_once, pool, put_all, token, until,
};
