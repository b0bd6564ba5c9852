package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
)

const (
	// How long nothing more may come once everything came.
	surplusNanoseconds = 20e6
	// How long sink lets messages gather. Woken by each one, it would cost as much as the server, and the server
	// would pay for waking it, which a client on another machine spares it.
	gatherNanoseconds = 500e3
)

// sink counts what the server sends by itself until every connection has its messages, and fails if one gets
// others, or more. It gives an empty answer as soon as it counts, the other one at the end.
func (l *load) sink(given order) (answer, error) {
	missing := l.expect(given, func(*connection) {})
	if err := say(answer{}); err != nil {
		return answer{}, err
	}
	deadline := l.deadline(given)
	gather := syscall.NsecToTimespec(gatherNanoseconds)
	for *missing > 0 {
		if err := l.wait(deadline, false); err != nil {
			return answer{}, l.shortOf(given, err)
		}
		// Cut short by a signal it just reads sooner.
		_ = syscall.Nanosleep(&gather, nil)
	}
	return l.finish()
}

// expect makes every connection count. The number answered is of messages that are still missing.
func (l *load) expect(given order, onMessage func(*connection)) *int {
	l.counts = counts{latencies: make([]uint32, 0, len(l.connections)*given.Messages)}
	missing := len(l.connections) * given.Messages
	for _, one := range l.connections {
		one.messages, one.messageBytes = 0, given.MessageBytes
		one.onMessage = func(c *connection) {
			if l.counts.messages == 1 {
				l.counts.first(l.clock.now())
			}
			c.inOrder(given.Stride)
			if c.messages > given.Messages {
				l.counts.fail("a connection got %d messages instead of %d", c.messages, given.Messages)
			}
			missing--
			onMessage(c)
		}
	}
	return &missing
}

// finish answers, after a while in which nothing more may come.
func (l *load) finish() (answer, error) {
	told := l.counts.answer(l.clock.now())
	until := l.clock.now() + surplusNanoseconds
	for l.clock.now() < until {
		l.poller.poll(5)
	}
	if l.counts.failed != "" {
		return answer{}, fmt.Errorf("%s", l.counts.failed)
	}
	for _, one := range l.connections {
		one.onMessage = nil
	}
	return told, nil
}

func (l *load) shortOf(given order, err error) error {
	short := 0
	for _, one := range l.connections {
		if one.messages != given.Messages {
			short++
		}
	}
	return fmt.Errorf("%w; %d of %d connections did not get their %d", err, short, len(l.connections), given.Messages)
}

// pace triggers the server at a given rate and takes the time until what it sends has come. A trigger is the
// eight bytes of the time at which it was due; the server puts them in front of its messages.
func (l *load) pace(given order) (answer, error) {
	trigger, err := dialTrigger(given.TriggerAddress)
	if err != nil {
		return answer{}, err
	}
	defer syscall.Close(trigger)
	missing := l.expect(given, func(c *connection) { l.counts.took(l.clock.now() - c.time()) })
	timer, err := newTimer(int64(1e9 / given.PerSecond))
	if err != nil {
		return answer{}, err
	}
	defer timer.close()
	interval := 1e9 / given.PerSecond
	start := l.clock.now()
	l.counts.first(start)
	startedCPU := l.counts.startedCPU
	sent := 0
	var due [8]byte
	timer.onTime = func() {
		for sent < given.Triggers {
			at := start + int64(float64(sent+1)*interval)
			if at > l.clock.now() {
				return
			}
			binary.BigEndian.PutUint64(due[:], uint64(at))
			if _, err := syscall.Write(trigger, due[:]); err != nil {
				l.counts.fail("the trigger: %v", err)
				return
			}
			sent++
		}
	}
	if err := l.poller.add(timer.file, timer); err != nil {
		return answer{}, err
	}
	defer l.poller.remove(timer.file)
	deadline := l.deadline(given)
	for *missing > 0 {
		if err := l.wait(deadline, false); err != nil {
			return answer{}, l.shortOf(given, err)
		}
	}
	l.counts.started, l.counts.startedCPU = start, startedCPU
	return l.finish()
}

func dialTrigger(address string) (int, error) {
	place, err := netip.ParseAddrPort(address)
	if err != nil {
		return -1, err
	}
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := syscall.SetsockoptInt(socket, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return -1, err
	}
	return socket, syscall.Connect(socket, &syscall.SockaddrInet4{Port: int(place.Port()), Addr: place.Addr().As4()})
}
