// Command streamload loads one server of streams over many connections from a single thread.
//
// The first line on standard input is its plan, every further line an order; each order is answered by one
// line on standard output. All are JSON (see orders.go). It ends with its input.
//
// It is one loop around epoll, since a goroutine for each connection would cost more than the servers it
// loads. What comes is counted message by message and held against the numbers in it; an order whose count
// is wrong fails.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

func main() {
	// Ctrl-C is for the one who gives the orders; this process ends with its input.
	signal.Ignore(os.Interrupt)
	runtime.LockOSThread()
	debug.SetGCPercent(800)
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "streamload:", err)
		os.Exit(1)
	}
}

// serve carries out orders until the input ends.
func serve() error {
	poller, err := newPoller()
	if err != nil {
		return err
	}
	input := &lines{poller: poller}
	if err := poller.add(syscall.Stdin, input); err != nil {
		return err
	}
	first, ok := input.next()
	if !ok {
		return nil
	}
	var given plan
	if err := json.Unmarshal(first, &given); err != nil {
		return fmt.Errorf("the plan: %w", err)
	}
	load, err := newLoad(poller, given)
	if err != nil {
		return fmt.Errorf("the plan: %w", err)
	}
	for {
		line, ok := input.next()
		if !ok {
			return nil
		}
		var given order
		var told answer
		if err := json.Unmarshal(line, &given); err != nil {
			told.Failed = "the order: " + err.Error()
		} else if told, err = load.carryOut(given); err != nil {
			told = answer{Failed: err.Error()}
		}
		if err := say(told); err != nil {
			return err
		}
	}
}

// say writes one line of answer.
func say(told answer) error {
	encoded, err := json.Marshal(told)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(encoded, '\n'))
	return err
}

// lines reads standard input as one of the polled files, so that connections are served while it is silent.
type lines struct {
	poller *poller
	rest   []byte
	ended  bool
}

// next waits for one line and serves connections meanwhile. False at the end of the input.
func (l *lines) next() ([]byte, bool) {
	for {
		if line, rest, found := bytes.Cut(l.rest, []byte("\n")); found {
			l.rest = rest
			return line, true
		}
		if l.ended {
			return nil, false
		}
		l.poller.poll(-1)
	}
}

func (l *lines) readable() {
	buffer := make([]byte, 1<<16)
	count, err := syscall.Read(syscall.Stdin, buffer)
	if err == syscall.EINTR || err == syscall.EAGAIN {
		return
	}
	if err != nil || count <= 0 {
		l.ended = true
		l.poller.remove(syscall.Stdin)
		return
	}
	l.rest = append(l.rest, buffer[:count]...)
}
