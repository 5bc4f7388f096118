//! Keeps the fields of spans.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

type Fields = BTreeMap<&'static str, String>;

/// The spans of one target, in the order in which they began. Cheap to clone; a clone keeps the same spans.
#[derive(Clone)]
pub struct Spans {
    target: &'static str,
    kept: Arc<Mutex<Vec<Fields>>>,
}

/// The place of a span among those that are kept.
struct Place(usize);

struct FieldsOf<'a>(&'a mut Fields);

impl Visit for FieldsOf<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Spans {
    pub fn of_target(target: &'static str) -> Self {
        Self { target, kept: Arc::default() }
    }

    pub fn all(&self) -> Vec<Fields> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fields>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().target() == self.target
            && let Some(span) = context.span(id)
        {
            let (mut kept, mut fields) = (self.lock(), Fields::new());
            attributes.record(&mut FieldsOf(&mut fields));
            span.extensions_mut().insert(Place(kept.len()));
            kept.push(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(Place(place)) = span.extensions().get()
        {
            values.record(&mut FieldsOf(&mut self.lock()[*place]));
        }
    }
}
