//! Accessors of the inner service, which every service around another one has.

/// Implements accessors of the inner service in this field.
macro_rules! accessors {
    ($service:ident, $($field:tt).+) => {
        impl<S> $service<S> {
            /// Returns the inner service.
            pub fn get_ref(&self) -> &S {
                &self.$($field).+
            }

            /// Returns the inner service, mutably.
            pub fn get_mut(&mut self) -> &mut S {
                &mut self.$($field).+
            }

            /// Returns the inner service, by value.
            pub fn into_inner(self) -> S {
                self.$($field).+
            }
        }
    };
}
pub(crate) use accessors;
