//! Accounts: which one is meant, and its state.

pub(crate) mod allowance;
mod changes;
mod damage;
mod json;
mod left_out;
mod load;
mod pools;
mod quota;
mod read_once;
mod renewal;
mod select;
mod state;
mod tiers;
mod trouble;
mod unusable;
mod way_out;
mod why;

pub(crate) use changes::{Changes, LOOK_EVERY};
pub(crate) use damage::{damage_way_out, id_of, warn_of_damage, what_is_wrong, with_removal};
pub(crate) use json::Identity;
pub(crate) use left_out::{
    Choice, LeftOut, tell as tell_left_out, tell_of as tell_left_out_of,
    tell_of_stored as tell_left_out_of_stored, way_out as use_left_out,
};
pub(crate) use load::{load, load_selected};
pub(crate) use pools::{no_account, own_name, pools};
#[cfg(feature = "tui")]
pub(crate) use quota::QuotaOf;
pub(crate) use quota::Quotas;
pub(crate) use read_once::{ReadOnce, read_all};
pub(crate) use renewal::{LastRenewal, Unrenewable, last_renewals};
pub(crate) use select::{ambiguous, find, find_all, find_listed, find_some, matching};
pub(crate) use state::{Account, State, last_refusal, unread_response};
pub(crate) use tiers::Tiers;
pub(crate) use trouble::Trouble;
pub(crate) use unusable::Unusable;
pub(crate) use way_out::{login, renewal, set_models, setting, tell_unknown_providers};
pub(crate) use why::{Explained, Report as WhyReport};

pub(crate) use crate::naming::{kind, name, names, resumption, test};
