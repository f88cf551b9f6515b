// Package rabbitmq measures the RabbitMQ adapter on a real server, beside the raw
// client (amqp091-go) and Watermill's AMQP.
//
// # Rules of the comparison
//
// All contenders run in one process and take turns on one quorum queue of one
// server. CPU, allocations and bytes are those of this process: the client.
//
// Consumers: the messages are in the queue before a contender starts. The meter
// runs while messages are in the queue and the prefetch is in use at both ends, so
// that neither connecting nor publishing is measured. Every handler does nothing
// but count. Afterwards the queue must be empty: what was not acknowledged would
// be in it again.
//
// Publishers: each call publishes a batch and returns when all of it is
// confirmed, the next call begins after that. All send persistent messages with
// an id.
package rabbitmq
