package main

import (
	"encoding/binary"
	"fmt"
	"syscall"
)

const stampBytes = 16

// speaker knows one protocol's frames.
type speaker interface {
	// hear takes what came, cut anywhere.
	hear(data []byte) error
	// ready: the peer has answered the opening.
	ready() bool
}

// connection is one socket. What comes is cut into messages, which begin with a time and a number.
type connection struct {
	load    *load
	socket  int
	speaker speaker
	// What is written once the present read is dealt with.
	out []byte
	// The message that is coming: what is missing of it, and its first bytes.
	missing int
	begun   int
	stamp   [stampBytes]byte
	// Of the present order.
	messageBytes int
	messages     int
	number       uint64
	sentAt       int64
	// Told of each message, and of the end of each call.
	onMessage func(*connection)
	onReady   func(*connection)
	wasReady  bool
}

var buffer [1 << 18]byte

// dial connects and says the opening.
func (l *load) dial() (*connection, error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	made := &connection{load: l, socket: socket}
	if err := made.connect(); err != nil {
		_ = syscall.Close(socket)
		return nil, err
	}
	switch l.protocol {
	case "h2":
		made.speaker = newHTTP2(made)
	case "websocket":
		made.speaker = &websocket{connection: made}
	default:
		made.speaker = &tcp{connection: made}
	}
	made.out = append(made.out, l.opening...)
	if err := made.flush(); err != nil {
		made.close()
		return nil, err
	}
	return made, l.poller.add(socket, made)
}

func (c *connection) connect() error {
	l := c.load
	if err := syscall.SetsockoptInt(c.socket, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1); err != nil {
		return err
	}
	// Closing resets, so that no port waits for late packets.
	linger := syscall.Linger{Onoff: 1}
	if err := syscall.SetsockoptLinger(c.socket, syscall.SOL_SOCKET, syscall.SO_LINGER, &linger); err != nil {
		return err
	}
	if l.addresses > 0 {
		place := l.opened % l.addresses
		source := syscall.SockaddrInet4{Addr: [4]byte{127, 1, byte(place / 250), byte(place%250 + 1)}}
		if err := syscall.Bind(c.socket, &source); err != nil {
			return err
		}
	}
	l.opened++
	if err := syscall.Connect(c.socket, &syscall.SockaddrInet4{
		Port: int(l.address.Port()), Addr: l.address.Addr().As4(),
	}); err != nil {
		return err
	}
	return syscall.SetNonblock(c.socket, true)
}

func (c *connection) close() {
	if c.socket >= 0 {
		c.load.poller.remove(c.socket)
		_ = syscall.Close(c.socket)
		c.socket = -1
	}
}

func (c *connection) readable() {
	count, err := syscall.Read(c.socket, buffer[:])
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return
	}
	if err != nil || count <= 0 {
		c.lost(fmt.Errorf("a connection was closed by the server"))
		return
	}
	if err := c.speaker.hear(buffer[:count]); err != nil {
		c.lost(err)
		return
	}
	if !c.wasReady && c.speaker.ready() {
		c.wasReady = true
		if c.onReady != nil {
			c.onReady(c)
		}
	}
	if len(c.out) > 0 {
		if err := c.flush(); err != nil {
			c.lost(err)
		}
	}
}

// lost gives the connection up, and with it this order and all that follow.
func (c *connection) lost(err error) {
	c.load.counts.fail("%v", err)
	if c.load.lost == nil {
		c.load.lost = err
	}
	c.close()
}

// flush writes what waits. It is little, and the server reads: what does not fit is an error.
func (c *connection) flush() error {
	if c.socket < 0 {
		return nil
	}
	count, err := syscall.Write(c.socket, c.out)
	if err != nil {
		return err
	}
	if count < len(c.out) {
		return fmt.Errorf("the server does not read")
	}
	c.out = c.out[:0]
	return nil
}

// begin says that a message of so many bytes comes now.
func (c *connection) begin(size int) error {
	if size != c.messageBytes || size < stampBytes {
		return fmt.Errorf("a message of %d bytes came instead of %d", size, c.messageBytes)
	}
	c.missing, c.begun = size, 0
	return nil
}

// body takes a part of the message and returns what is behind its end.
func (c *connection) body(data []byte) []byte {
	size := min(c.missing, len(data))
	if c.begun < stampBytes {
		c.begun += copy(c.stamp[c.begun:], data[:size])
	}
	c.missing -= size
	counts := &c.load.counts
	counts.bytes += int64(size)
	if c.missing == 0 {
		counts.messages++
		c.messages++
		if c.onMessage == nil {
			c.lost(fmt.Errorf("a message came that nobody asked for"))
		} else {
			c.onMessage(c)
		}
	}
	return data[size:]
}

// time is the message's own.
func (c *connection) time() int64 { return int64(binary.BigEndian.Uint64(c.stamp[:8])) }

// inOrder holds the message's number against the one before it.
func (c *connection) inOrder(stride uint64) {
	number := binary.BigEndian.Uint64(c.stamp[8:])
	if c.messages > 1 && number != c.number+stride {
		c.load.counts.fail("message %d came after %d: lost, repeated or out of order", number, c.number)
	}
	c.number = number
}

// greetingBytes is what a bare connection is welcomed with. The client thanks for it: the kernel treats clients
// that have answered something otherwise than silent ones, and those of the other protocols have answered.
const greetingBytes = 8

// tcp is no protocol: behind the greeting, messages of a known size, one behind the other.
type tcp struct {
	connection *connection
	greeted    int
}

func (t *tcp) ready() bool { return t.greeted == greetingBytes }

func (t *tcp) hear(data []byte) error {
	if !t.ready() {
		size := min(greetingBytes-t.greeted, len(data))
		t.greeted += size
		if t.ready() {
			t.connection.out = append(t.connection.out, "thanks.\n"...)
		}
		data = data[size:]
	}
	for len(data) > 0 {
		if t.connection.missing == 0 {
			if err := t.connection.begin(t.connection.messageBytes); err != nil {
				return err
			}
		}
		data = t.connection.body(data)
	}
	return nil
}
