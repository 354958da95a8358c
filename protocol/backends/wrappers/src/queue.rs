//! The operations of a wrapped queue. Deliveries pass through untouched.

use async_trait::async_trait;
use protocol::id::Lane;
use protocol::job::JobSpec;
use protocol::ports::{Capabilities, Consumer, Delivery, Depth, PortError, Queue};

use crate::around::{Around, Wrapped};

#[async_trait]
impl<A: Around> Queue for Wrapped<dyn Queue, A> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn publish(&self, job: &JobSpec) -> Result<(), PortError> {
        self.around.call("queue.publish", self.inner.publish(job)).await
    }

    async fn publish_together(&self, job: &JobSpec, number: usize) -> Result<(), PortError> {
        self.around.call("queue.publish", self.inner.publish_together(job, number)).await
    }

    async fn consume(&self, lanes: &[Lane], ceiling: u16) -> Result<Box<dyn Consumer>, PortError> {
        let inner = self.around.call("queue.consume", self.inner.consume(lanes, ceiling)).await?;
        Ok(Box::new(WrappedConsumer { inner, around: self.around.clone() }))
    }

    async fn depth(&self, lane: &Lane) -> Result<Depth, PortError> {
        self.around.call("queue.depth", self.inner.depth(lane)).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.around.call("queue.ping", self.inner.ping()).await
    }
}

struct WrappedConsumer<A> {
    inner: Box<dyn Consumer>,
    around: A,
}

#[async_trait]
impl<A: Around> Consumer for WrappedConsumer<A> {
    async fn next(&mut self) -> Delivery {
        self.around.before_next().await;
        self.inner.next().await
    }

    fn set_ceiling(&mut self, ceiling: u16) {
        self.inner.set_ceiling(ceiling);
    }
}
