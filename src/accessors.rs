//! What every service around another one has: access to it.

/// Implements access to the service that is in this field.
macro_rules! accessors {
    ($service:ident, $($field:tt).+) => {
        impl<S> $service<S> {
            /// The inner service.
            pub fn get_ref(&self) -> &S {
                &self.$($field).+
            }

            /// The inner service.
            pub fn get_mut(&mut self) -> &mut S {
                &mut self.$($field).+
            }

            /// Gives the inner service back.
            pub fn into_inner(self) -> S {
                self.$($field).+
            }
        }
    };
}
pub(crate) use accessors;
