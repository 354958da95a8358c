//! Runs attacks, some at a time, each on a stage that it has for itself; prints and counts how they ended.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::stage::Stage;

/// Stages that are used at the same time.
const STAGES: usize = 4;
/// What takes longer is told.
const LONG_SECONDS: f64 = 5.0;

type Running<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One attack.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    /// `theme::what_it_tries`.
    pub(crate) name: &'static str,
    /// The theme's Python file, which has a function of the same name.
    pub(crate) source: &'static str,
    /// Tries it and panics if it succeeds.
    pub(crate) run: for<'a> fn(&'a mut Stage) -> Running<'a>,
}

impl Attack {
    /// True if its name has one of these parts, or there are none.
    pub(crate) fn is_any_of(&self, wanted: &[&str]) -> bool {
        wanted.is_empty() || wanted.iter().any(|part| self.name.contains(part))
    }

    /// The name of the Python function.
    pub(crate) fn function(&self) -> &'static str {
        self.name.rsplit("::").next().unwrap_or(self.name)
    }
}

/// The attacks of a theme: its Python file, and the functions that try and judge.
#[macro_export]
macro_rules! attacks {
    ($source:literal: $($name:ident),+ $(,)?) => {
        pub(crate) fn attacks() -> Vec<$crate::run::Attack> {
            let theme = module_path!().rsplit("::").next().unwrap_or_default();
            vec![$($crate::run::Attack {
                name: [theme, stringify!($name)].join("::").leak(),
                source: include_str!($source),
                run: |stage| Box::pin($name(stage)),
            }),+]
        }
    };
}

/// How many attacks ended in which way.
#[derive(Default)]
pub(crate) struct Done {
    /// The sandbox held.
    pub(crate) held: usize,
    /// It didn't, or the attack could not be tried.
    pub(crate) failed: usize,
}

impl Done {
    pub(crate) fn code(&self) -> ExitCode {
        if self.failed == 0 && self.held > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Runs them all.
pub(crate) fn all(attacks: Vec<Attack>) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(4).build().unwrap();
    let waiting = Arc::new(Mutex::new(attacks.into_iter()));
    let done = Arc::new(Mutex::new(Done::default()));
    runtime.block_on(async {
        let lanes: Vec<_> = (0..STAGES).map(|_| tokio::spawn(lane(waiting.clone(), done.clone()))).collect();
        for lane in lanes {
            lane.await.unwrap();
        }
    });
    std::mem::take(&mut done.lock().unwrap())
}

/// Runs attack after attack on one stage; after one that failed, on a new one.
async fn lane(waiting: Arc<Mutex<impl Iterator<Item = Attack>>>, done: Arc<Mutex<Done>>) {
    let mut stage: Option<Stage> = None;
    loop {
        let Some(attack) = waiting.lock().unwrap().next() else { return };
        let mut own = match stage.take() {
            Some(stage) => stage,
            None => Stage::set().await,
        };
        own.take(&attack);
        let began = Instant::now();
        let running = tokio::spawn(async move {
            (attack.run)(&mut own).await;
            if !own.is_unharmed().await {
                // Cleaning up has its time: on a machine that is busy just then the slot is replaced instead. Once more.
                println!("attack {} ... once more, as its slot was replaced", attack.name);
                own.take(&attack);
                (attack.run)(&mut own).await;
                assert!(own.is_unharmed().await, "{}: it costs the slot", attack.name);
            }
            own
        });
        let ended = running.await;
        let seconds = began.elapsed().as_secs_f64();
        let mut done = done.lock().unwrap();
        match ended {
            Ok(own) => {
                done.held += 1;
                stage = Some(own);
                if seconds > LONG_SECONDS {
                    println!("attack {} ... held ({seconds:.1} s)", attack.name);
                }
            }
            Err(_) => {
                done.failed += 1;
                println!("attack {} ... FAILED ({seconds:.1} s)", attack.name);
            }
        }
    }
}
