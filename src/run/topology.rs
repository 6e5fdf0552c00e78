//! `foreshock topology`: streams, consumers and buckets as they should be against as they are.

use anyhow::Context as _;
use nats::{Action, Change};

use crate::{
    cli,
    exit::ExitCode,
    run::{Context, connect, stdout},
};

/// `plan` exits 1 when something differs, so that a script can ask.
pub(super) async fn run(context: &Context, command: &cli::Topology) -> anyhow::Result<ExitCode> {
    let bus = connect(context, "topology").await?;
    let (changes, code) = match command {
        cli::Topology::Plan => {
            let changes = bus.plan_topology().await.context("the topology cannot be compared")?;
            let equal = changes.iter().all(|change| change.action == Action::Equal);
            (changes, if equal { ExitCode::Done } else { ExitCode::Failed })
        }
        cli::Topology::Apply => (bus.apply_topology().await.context("the topology cannot be applied")?, ExitCode::Done),
    };
    let text = if context.json { serde_json::to_string(&changes)? } else { lines(&changes) };
    writeln!(stdout(), "{text}").context("stdout cannot be written")?;
    bus.close().await;
    Ok(code)
}

fn lines(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
