//! The queue and the inbox over AMQP 0.9.1.
