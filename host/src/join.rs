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

/// Does something with one helper, and with one more each time that `pause` is over and there is `more` to do, up to
/// `most` of them. Ends when all helpers have.
pub(crate) async fn several<P: Future, H: Future<Output = ()>>(
    most: usize,
    pause: impl Fn() -> P,
    more: impl Fn() -> bool,
    helper: impl Fn() -> H,
) {
    let mut helpers: Vec<Pin<Box<H>>> = vec![Box::pin(helper())];
    let mut called = 1;
    let mut waiting = Box::pin(pause());
    poll_fn(|context| {
        loop {
            helpers.retain_mut(|helper| helper.as_mut().poll(context).is_pending());
            if helpers.is_empty() {
                return Poll::Ready(());
            }
            if called == most || waiting.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if more() {
                helpers.push(Box::pin(helper()));
                called += 1;
            }
            waiting = Box::pin(pause());
        }
    })
    .await;
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

    #[tokio::test]
    async fn help_comes_where_it_takes_long_and_only_as_long_as_there_is_more_to_do() {
        let (left, helpers) = (Cell::new(20), Cell::new(0));
        let work = |slow: bool| {
            let (left, helpers) = (&left, &helpers);
            async move {
                helpers.set(helpers.get() + 1);
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    if slow {
                        tokio::task::yield_now().await;
                    }
                }
            }
        };
        several(3, tokio::task::yield_now, || left.get() > 0, || work(false)).await;
        assert_eq!((left.get(), helpers.get()), (0, 1));
        left.set(20);
        helpers.set(0);
        several(3, tokio::task::yield_now, || left.get() > 0, || work(true)).await;
        assert_eq!((left.get(), helpers.get()), (0, 3));
        // One that never ends is waited for, and the others do the rest.
        left.set(5);
        let stuck = Cell::new(true);
        let one = || {
            let stuck = stuck.replace(false);
            let work = work(true);
            async move {
                match stuck {
                    true => std::future::pending().await,
                    false => work.await,
                }
            }
        };
        let all = several(2, tokio::task::yield_now, || left.get() > 0, one);
        let soon = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, all).await.is_err());
        assert_eq!(left.get(), 0);
    }
}
