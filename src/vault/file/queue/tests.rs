//! The queue alone, since what it does at a certain moment can't be seen from outside.

use std::fs::{self, File};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::*;

const DEADLINE: Duration = Duration::from_secs(60);

struct Scene {
    _directory: tempfile::TempDir,
    path: PathBuf,
    queues: LockQueues,
    runtime: Runtime,
    done: (Sender<u32>, Receiver<u32>),
}

impl Scene {
    /// A lock that somebody else holds.
    fn held() -> (Self, File) {
        let directory = tempfile::TempDir::new().unwrap();
        let path = directory.path().join("lock");
        let file = File::create(&path).unwrap();
        file.lock().unwrap();
        let (queues, runtime) = (LockQueues::default(), Runtime::new().unwrap());
        (Self { _directory: directory, path, queues, runtime, done: channel() }, file)
    }

    /// Queues; the work sends the number, if the lock is held meanwhile.
    fn wait(&self, number: u32) -> Ticket<u32, ()> {
        let (done, path) = (self.done.0.clone(), self.path.clone());
        let work = move |number, granted| {
            assert!(File::open(path).unwrap().try_lock().is_err(), "it is held");
            drop(granted);
            done.send(number).unwrap();
        };
        let _context = self.runtime.enter();
        self.queues.wait(&self.path, number, work).unwrap_or_else(|_| panic!("no thread"))
    }

    /// Waits until a thread waits for the lock.
    fn wait_until_queued(&self) {
        let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&self.path).unwrap());
        eventually(|| {
            let locks = fs::read_to_string("/proc/locks").unwrap();
            let of_waiter = |line: &&str| line.contains("->") && line.contains(&format!(":{inode} "));
            let waiters = locks.lines().filter(of_waiter).count();
            assert!(waiters <= 1, "{locks}");
            waiters == 1
        });
    }

    fn next(&self) -> u32 {
        self.done.1.recv_timeout(DEADLINE).unwrap()
    }

    /// Waits until nobody holds the lock and no thread is left.
    fn wait_until_idle(&self) {
        eventually(|| self.queues.lock().is_empty());
        File::open(&self.path).unwrap().try_lock().unwrap();
    }
}

fn eventually(mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < DEADLINE);
        thread::yield_now();
    }
}

#[test]
fn requests_get_the_lock_in_order_from_one_thread_even_if_nobody_polls() {
    let (scene, held) = Scene::held();
    let _tickets: Vec<_> = (0..20).map(|number| scene.wait(number)).collect();
    scene.wait_until_queued();
    drop(held);
    assert_eq!(scene.done.1.iter().take(20).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    scene.wait_until_idle();
}

#[test]
fn a_request_that_is_given_up_leaves_no_lock_and_the_thread_serves_the_next() {
    let (scene, held) = Scene::held();
    let first = scene.wait(0);
    scene.wait_until_queued();
    drop(first);
    for number in 0..10 {
        assert_eq!(scene.wait(number).withdraw().ok(), Some(number));
        drop(scene.wait(number));
    }
    let _ticket = scene.wait(10);
    assert_eq!(scene.queues.lock()[&scene.path].len(), 1, "those who gave up are forgotten");
    drop(held);
    assert_eq!(scene.next(), 10);
    scene.wait_until_idle();

    let held = File::open(&scene.path).unwrap();
    held.lock().unwrap();
    drop(scene.wait(11));
    drop(held);
    scene.wait_until_idle();
    assert!(scene.done.1.try_recv().is_err(), "nobody else has worked");
}

#[test]
fn a_lock_file_that_was_replaced_is_locked_anew() {
    let (scene, held) = Scene::held();
    let _ticket = scene.wait(1);
    scene.wait_until_queued();
    fs::remove_file(&scene.path).unwrap();
    let replaced = File::create(&scene.path).unwrap();
    replaced.lock().unwrap();
    drop(held);
    scene.wait_until_queued();
    assert!(scene.done.1.try_recv().is_err(), "it is held");
    drop(replaced);
    assert_eq!(scene.next(), 1);
    scene.wait_until_idle();
}

#[test]
fn a_panic_in_the_work_reaches_its_request_and_unlocks() {
    let (scene, held) = Scene::held();
    let _context = scene.runtime.enter();
    let mut ticket = scene
        .queues
        .wait(&scene.path, (), |(), _granted| -> () { std::panic::resume_unwind(Box::new("this")) })
        .unwrap_or_else(|()| panic!("no thread"));
    drop(held);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut done = None;
    eventually(|| {
        if let Poll::Ready(result) = ticket.poll(&mut cx) {
            done = Some(result);
        }
        done.is_some()
    });
    assert_eq!(done.unwrap().unwrap_err().downcast_ref(), Some(&"this"));
    scene.wait_until_idle();
}
