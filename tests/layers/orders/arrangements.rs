//! Every order of every subset of the four layers.

use tower::Layer;
use tower::util::BoxCloneService;
use tower_credentials::{AuthHeaderLayer, CooldownPersistLayer, RefreshOn401Layer};

use super::model::Layers;
use super::world::{Client, World};

/// Defines `ARRANGEMENTS`, and `direct`, which builds one of them with each layer directly over the next.
macro_rules! arrangements {
    ($($($layer:ident)+,)+) => {
        /// Every order of every subset, outermost first.
        pub(super) const ARRANGEMENTS: &[&str] = &[$(concat!($(stringify!($layer)),+)),+];

        pub(super) fn direct(arrangement: &str, world: &World, client: Client) -> Client {
            $(if arrangement == concat!($(stringify!($layer)),+) {
                return BoxCloneService::new(arrangements!(@stack world, client, $($layer)+));
            })+
            unreachable!("{arrangement} is one of the arrangements");
        }
    };
    (@stack $world:ident, $client:ident,) => { $client };
    (@stack $world:ident, $client:ident, A $($rest:ident)*) => {
        AuthHeaderLayer::new($world.pool.clone()).layer(arrangements!(@stack $world, $client, $($rest)*))
    };
    (@stack $world:ident, $client:ident, R $($rest:ident)*) => {
        $world.rotate().layer(arrangements!(@stack $world, $client, $($rest)*))
    };
    (@stack $world:ident, $client:ident, F $($rest:ident)*) => {
        RefreshOn401Layer::new($world.pool.clone(), $world.refresher())
            .layer(arrangements!(@stack $world, $client, $($rest)*))
    };
    (@stack $world:ident, $client:ident, P $($rest:ident)*) => {
        CooldownPersistLayer::new($world.pool.clone())
            .layer(arrangements!(@stack $world, $client, $($rest)*))
    };
}

arrangements! {
    A,
    R,
    F,
    P,
    A R,
    A F,
    A P,
    R A,
    R F,
    R P,
    F A,
    F R,
    F P,
    P A,
    P R,
    P F,
    A R F,
    A R P,
    A F R,
    A F P,
    A P R,
    A P F,
    R A F,
    R A P,
    R F A,
    R F P,
    R P A,
    R P F,
    F A R,
    F A P,
    F R A,
    F R P,
    F P A,
    F P R,
    P A R,
    P A F,
    P R A,
    P R F,
    P F A,
    P F R,
    A R F P,
    A R P F,
    A F R P,
    A F P R,
    A P R F,
    A P F R,
    R A F P,
    R A P F,
    R F A P,
    R F P A,
    R P A F,
    R P F A,
    F A R P,
    F A P R,
    F R A P,
    F R P A,
    F P A R,
    F P R A,
    P A R F,
    P A F R,
    P R A F,
    P R F A,
    P F A R,
    P F R A,
}

/// The same with a boxed service between any two layers.
pub(super) fn boxed(arrangement: &str, world: &World, client: Client) -> Client {
    arrangement.chars().rev().fold(client, |client, layer| direct(&layer.to_string(), world, client))
}

pub(super) fn layers(arrangement: &str) -> Layers {
    Layers {
        auth_header: arrangement.contains('A'),
        rotate: arrangement.contains('R'),
        refresh: arrangement.contains('F'),
        persist: arrangement.contains('P'),
    }
}
