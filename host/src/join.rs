//! Waiting for several things at once, but not for too many.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

enum Slot<'a, T> {
    Open(Boxed<'a, T>),
    Done(T),
}

/// The results of all futures, in their order. At most `most` are under way at any moment.
pub(crate) async fn join<'a, T: 'a>(
    most: usize,
    futures: impl IntoIterator<Item = impl Future<Output = T> + 'a>,
) -> Vec<T> {
    let mut slots: Vec<Slot<'_, T>> =
        futures.into_iter().map(|future| Slot::Open(Box::pin(future) as Boxed<'_, T>)).collect();
    poll_fn(|context| {
        let mut open = 0;
        for slot in &mut slots {
            if open == most {
                break;
            }
            if let Slot::Open(future) = slot {
                match future.as_mut().poll(context) {
                    Poll::Ready(result) => *slot = Slot::Done(result),
                    Poll::Pending => open += 1,
                }
            }
        }
        if open == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let done = slots.into_iter().filter_map(|slot| match slot {
        Slot::Done(result) => Some(result),
        Slot::Open(_) => None,
    });
    done.collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn all_are_done_in_order_and_few_at_once() {
        let (now, peak) = (Cell::new(0), Cell::new(0));
        let one = |n: usize| {
            let (now, peak) = (&now, &peak);
            async move {
                now.set(now.get() + 1);
                peak.set(peak.get().max(now.get()));
                for _ in 0..n % 5 {
                    tokio::task::yield_now().await;
                }
                now.set(now.get() - 1);
                n
            }
        };
        let results = join(3, (0..20).map(one)).await;
        assert_eq!(results, (0..20).collect::<Vec<_>>());
        assert_eq!(peak.get(), 3);
        assert!(join(3, Vec::<std::future::Ready<()>>::new()).await.is_empty());
    }
}
