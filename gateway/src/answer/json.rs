//! JSON objects written member by member. A list of refusals may be fifty times as long as the body that it answers:
//! made of values first, it would take three times as long.

use serde::Serialize;

/// An object that is being written.
pub(super) struct Object<'a>(&'a mut Vec<u8>);

impl<'a> Object<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self(out)
    }

    /// A member; `name` needs no escapes.
    pub(super) fn member(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> &mut Self {
        self.name(name);
        _ = serde_json::to_writer(&mut *self.0, value); // texts and numbers never fail, nor does a vector
        self
    }

    /// A member that is a list of objects.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl Iterator<Item = T>,
        write: impl Fn(T, &mut Object<'_>),
    ) -> &mut Self {
        self.name(name);
        self.0.push(b'[');
        for item in items {
            if self.0.last() == Some(&b'}') {
                self.0.push(b',');
            }
            let mut object = Object::begin(self.0);
            write(item, &mut object);
            object.end();
        }
        self.0.push(b']');
        self
    }

    pub(super) fn end(self) {
        self.0.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}
