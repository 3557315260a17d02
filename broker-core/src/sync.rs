//! The locks of what the model checker looks at, outboxes, seats and where they are found: the shipped ones, or the checker's with
//! `--cfg loom`.

#[cfg(loom)]
pub(crate) use checked::{Map, Mutex};
#[cfg(not(loom))]
pub(crate) use parking_lot::Mutex;

/// A map that many use at once.
#[cfg(not(loom))]
pub(crate) type Map<K, V> = dashmap::DashMap<K, V, rustc_hash::FxBuildHasher>;

#[cfg(loom)]
mod checked {
    use loom::sync::MutexGuard;

    /// The model checker's lock with parking_lot's face: a panic ends the model anyway.
    #[derive(Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner())
        }
    }

    /// The map's face before one lock. What is in it comes in the order in which it was put there: in each run the same.
    pub(crate) struct Map<K, V>(Mutex<Vec<(K, V)>>);

    pub(crate) struct Entry<K, V>(K, V);

    impl<K: Clone + Eq, V: Clone> Map<K, V> {
        pub(crate) fn get(&self, key: &K) -> Option<Entry<K, V>> {
            self.iter().find(|entry| entry.key() == key)
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = Entry<K, V>> + use<K, V> {
            let all = self.0.lock().clone();
            all.into_iter().map(|(key, value)| Entry(key, value))
        }

        pub(crate) fn insert(&self, key: K, value: V) {
            let mut all = self.0.lock();
            all.retain(|(held, _)| *held != key);
            all.push((key, value));
        }

        pub(crate) fn remove_if(&self, key: &K, is: impl FnOnce(&K, &V) -> bool) {
            let mut all = self.0.lock();
            let index = all.iter().position(|(held, _)| held == key);
            if let Some(index) = index.filter(|index| is(key, &all[*index].1)) {
                all.remove(index);
            }
        }
    }

    impl<K, V> Default for Map<K, V> {
        fn default() -> Self {
            Self(Mutex::new(Vec::new()))
        }
    }

    impl<K, V> Entry<K, V> {
        pub(crate) fn key(&self) -> &K {
            &self.0
        }

        pub(crate) fn value(&self) -> &V {
            &self.1
        }
    }
}
