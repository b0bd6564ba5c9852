package main

import (
	"encoding/hex"
	"fmt"
	"net/netip"
)

// plan says whom to load and in which words. Byte strings are hexadecimal.
type plan struct {
	Address  string `json:"address"`  // host:port, IPv4
	Protocol string `json:"protocol"` // h2, tcp or websocket
	Opening  string `json:"opening"`  // what every connection says first
	Message  string `json:"message"`  // what echo and unary send, framed as it goes on the wire
	StampAt  int    `json:"stamp_at"` // where its number of eight bytes stands in Message (echo)
	// The number of the first call's stream: 1, or what the opening leaves free (unary).
	FirstCall uint32 `json:"first_call"`
	// Where the connections come from: 127.0.0.1, or as many addresses from 127.1.0.1 on.
	Addresses int `json:"addresses"`
}

// order says what to do. The same fields mean the same in all of them.
type order struct {
	// open, sink, pace, echo, unary or churn.
	Do string `json:"do"`
	// open: how many more; echo, unary: how many of those that are open; churn: how many in turn.
	Connections int `json:"connections"`
	// sink, pace: how many messages each connection must get; echo, unary: how many to send in all.
	Messages int `json:"messages"`
	// The payload of each message that comes.
	MessageBytes int `json:"message_bytes"`
	// By how much the numbers in the messages of one connection grow (sink, pace).
	Stride uint64 `json:"stride"`
	// Calls in flight on each connection (unary), connections opened at a time (open, churn).
	AtOnce int `json:"at_once"`
	// pace: where the triggers go, how many of them, how many a second.
	TriggerAddress string  `json:"trigger_address"`
	Triggers       int     `json:"triggers"`
	PerSecond      float64 `json:"per_second"`
	// When to give up.
	LimitSeconds float64 `json:"limit_seconds"`
}

// answer is what came of an order. Times are from its first to its last message.
type answer struct {
	Failed     string             `json:"failed,omitempty"`
	Messages   int64              `json:"messages"`
	Bytes      int64              `json:"bytes"`
	Seconds    float64            `json:"seconds"`
	CPUSeconds float64            `json:"cpu_seconds"`
	LatencyMS  map[string]float64 `json:"latency_ms,omitempty"`
}

// load is what the orders work on.
type load struct {
	poller      *poller
	clock       clock
	address     netip.AddrPort
	protocol    string
	opening     []byte
	message     []byte
	stampAt     int
	addresses   int
	firstCall   uint32
	opened      int
	connections []*connection
	counts      counts
	// Why a connection is gone, whenever that was: no order can succeed any more.
	lost error
}

func newLoad(poller *poller, given plan) (*load, error) {
	address, err := netip.ParseAddrPort(given.Address)
	if err != nil {
		return nil, err
	}
	opening, err := hex.DecodeString(given.Opening)
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	message, err := hex.DecodeString(given.Message)
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	switch given.Protocol {
	case "h2", "tcp", "websocket":
	default:
		return nil, fmt.Errorf("%q is no protocol", given.Protocol)
	}
	return &load{
		poller:    poller,
		clock:     newClock(),
		address:   address,
		protocol:  given.Protocol,
		opening:   opening,
		message:   message,
		stampAt:   given.StampAt,
		addresses: given.Addresses,
		firstCall: given.FirstCall,
	}, nil
}

func (l *load) carryOut(given order) (answer, error) {
	if l.lost != nil {
		return answer{}, l.lost
	}
	switch given.Do {
	case "open":
		return l.open(given)
	case "sink":
		return l.sink(given)
	case "pace":
		return l.pace(given)
	case "echo":
		return l.echo(given)
	case "unary":
		return l.unary(given)
	case "churn":
		return l.churn(given)
	}
	return answer{}, fmt.Errorf("%q is no order", given.Do)
}
