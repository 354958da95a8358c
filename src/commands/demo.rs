//! `sortie demo`: starts what `serve` starts, publishes three actions, runs them, and says at each step what
//! happens. Then it leaves the server up.

mod service;
mod tour;

use std::path::Path;

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::render;
use crate::run::{self, Running};
use crate::settings::{Log, Settings};
use crate::shutdown::Signals;
use crate::{announce, telemetry};

use service::Service;

/// Runs the demo; with `exit` it ends after the tour.
pub(crate) async fn run(settings: Settings, exit: bool) -> Result<Exit, Failure> {
    let service = Service::start().await?;
    let settings = for_the_demo(settings, &service);
    telemetry::start_logging(&settings.log);
    let mut signals = Signals::install()?;
    let running = tokio::select! {
        running = Running::start(&settings) => running?,
        _ = signals.next() => return Ok(Exit::Ok),
    };
    announce::started(&settings, &running);
    let went_well = tokio::select! {
        went_well = guided(&running, &service) => went_well,
        _ = signals.next() => {
            running.stop().await;
            return Ok(Exit::Ok);
        }
    };
    if exit || went_well.is_err() {
        running.stop().await;
        return went_well;
    }
    render::line(&next(&settings, &running))?;
    run::until_signal(running, &mut signals).await
}

/// What the demo needs besides: its own service may be called, and the log doesn't talk over the tour.
fn for_the_demo(mut settings: Settings, service: &Service) -> Settings {
    settings.egress_allow.push(service.range());
    if settings.log == Log::default() {
        settings.log.filter = "warn".into();
    }
    settings
}

async fn guided(running: &Running, service: &Service) -> Result<Exit, Failure> {
    let key = running.admin_key.as_ref().map(|(key, _)| key.clone());
    let key = key.ok_or_else(|| Failure::new(Exit::Unexpected, "the demo needs a dispatcher"))?;
    tour::run(&Client::local(&running.url(), key)?, service).await
}

fn next(settings: &Settings, running: &Running) -> String {
    // However we were called is how the next command can be called.
    let program = std::env::args().next().unwrap_or_else(|| "sortie".into());
    let program = if Path::new(&program).is_absolute() { "sortie".to_owned() } else { program };
    format!(
        "The server stays up: Ctrl-C stops it. Next, in another terminal:

  {}
  {program} submit demo.count --input '{{\"to\": 5}}' --follow
  {program} submit demo.count --input '{{\"to\": \"many\"}}'        # refused: the input does not fit the schema
  {program} jobs list
  {program} actions get demo.weather
  {program} explain input_invalid",
        announce::environment(settings, running)
    )
}
