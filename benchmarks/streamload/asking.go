package main

import (
	"encoding/binary"
	"fmt"
)

// echo sends a message on each of the first connections, and the next one as soon as it has come back, until
// so many were sent in all. Each must come back with its number.
func (l *load) echo(given order) (answer, error) {
	if given.Connections > len(l.connections) {
		return answer{}, fmt.Errorf("%d connections are open", len(l.connections))
	}
	l.counts = counts{latencies: make([]uint32, 0, given.Messages)}
	sent := 0
	send := func(c *connection) {
		binary.BigEndian.PutUint64(l.message[l.stampAt:], uint64(sent))
		c.number = uint64(sent)
		sent++
		c.sentAt = l.clock.now()
		if framed, ok := c.speaker.(*http2); ok {
			framed.send(l.message, len(l.message)-headBytes)
		} else {
			c.out = append(c.out, l.message...)
		}
	}
	back := 0
	active := l.connections[:min(given.Connections, given.Messages)]
	for _, one := range active {
		one.messageBytes = given.MessageBytes
		one.onMessage = func(c *connection) {
			back++
			if got := binary.BigEndian.Uint64(c.stamp[8:]); got != c.number {
				l.counts.fail("message %d came back as %d", c.number, got)
			}
			l.counts.took(l.clock.now() - c.sentAt)
			if sent < given.Messages {
				send(c)
			}
		}
	}
	l.counts.first(l.clock.now())
	for _, one := range active {
		send(one)
		if err := one.flush(); err != nil {
			return answer{}, err
		}
	}
	deadline := l.deadline(given)
	for back < given.Messages {
		if err := l.wait(deadline, false); err != nil {
			return answer{}, err
		}
	}
	return l.finish()
}

// unary makes so many calls in all, each connection having so many in flight. Every answer must have one
// message of the given size.
func (l *load) unary(given order) (answer, error) {
	if given.Connections > len(l.connections) {
		return answer{}, fmt.Errorf("%d connections are open", len(l.connections))
	}
	l.counts = counts{}
	begun, done := 0, 0
	begin := func(framed *http2) {
		begun++
		framed.call(l.message)
	}
	l.counts.first(l.clock.now())
	for _, one := range l.connections[:given.Connections] {
		framed, ok := one.speaker.(*http2)
		if !ok {
			return answer{}, fmt.Errorf("calls need h2")
		}
		if framed.calls == nil {
			framed.calls = make(map[uint32]int)
		}
		framed.onAnswer = func(c *connection, got int) {
			done++
			l.counts.messages++
			if got != prefixBytes+given.MessageBytes {
				l.counts.fail("a call was answered with %d bytes instead of %d", got, prefixBytes+given.MessageBytes)
			}
			if begun < given.Messages {
				begin(framed)
			}
		}
		for count := 0; count < max(given.AtOnce, 1) && begun < given.Messages; count++ {
			begin(framed)
		}
		if err := one.flush(); err != nil {
			return answer{}, err
		}
	}
	deadline := l.deadline(given)
	for done < given.Messages {
		if err := l.wait(deadline, false); err != nil {
			return answer{}, err
		}
	}
	return l.finish()
}
